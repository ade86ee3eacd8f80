"""Tokenizers that a run learns from its own text.

Without roles, byte, character and bpe have no special tokens at all. What an objective needs
is added: roles before the words that are learned (behind bytes and characters, which keep
their ids), modes and sentinels at the end, <extra_id_0> last, as T5 has them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from transformers_jax.data.classes import residues, table
from transformers_jax.data.classes.make import put_template
from transformers_jax.data.classes.options import Options
from transformers_jax.data.classes.table import ANGLES
from transformers_jax.data.classes.vocabulary import byte_symbols
from transformers_jax.data.special import MODES
from transformers_jax.data.tokenizer import MADE, Tokenizer
from transformers_jax.data.wrapped import refusing
from transformers_jax.objectives.vocabulary import ROLES

BERT = {role: f"[{role.upper()}]" for role in ("pad", "unk", "bos", "eos", "cls", "sep", "mask")}
FIM = {role: f"<|{role}|>" for role in ("fim_prefix", "fim_middle", "fim_suffix")}


def train_tokenizer(
    kind: str,
    texts: Iterable[str],
    vocab_size: int,
    roles: Iterable[str] = (),
    sentinels: int = 0,
    modes: Iterable[str] = (),
) -> Tokenizer:
    """A tokenizer of a kind, from the texts that it is for.

    byte, character: one token each. bpe: byte pairs as in GPT-2 (Radford et al. 2019, section
    2.2). wordpiece: BERT's, cased (Devlin et al. 2018, section 4.1). unigram: the unigram language
    model (Kudo 2018, section 3.2), over bytes, so that every text comes back. residues: the letters
    of proteins, those of ESM-2, whatever the texts are.

    Args:
        vocab_size: all tokens of a learned vocabulary, special ones too; bytes and characters are
            as many as there are.
        roles: what special tokens are for: pad, unk, bos, eos, cls, sep, mask, fim_prefix, ...
        sentinels: how many <extra_id_0>, <extra_id_1>, ... there are.
        modes: UL2's modes, of R, S and X.

    Raises:
        ValueError: an unknown kind, role or mode, or a vocabulary that is too small.
    """
    modes = tuple(modes)
    if kind not in MADE:
        raise ValueError(f"tokenizer {kind!r} is unknown; it is one of {', '.join(MADE)} or a path")
    if kind == "residues":
        inner, files = residues.known()
        return Tokenizer(inner, kind, residues.ROLES, tokenizer_class=residues.NAME, files=files)
    roles = [*roles, *(["unk"] if kind in ("wordpiece", "unigram") else [])]
    unknown = [r for r in roles if r not in ROLES] + [m for m in modes if m not in MODES]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: no role of {', '.join(ROLES)}, nor mode of {', '.join(MODES)}"
        )
    # without [CLS] and [SEP], as in RoBERTa: one token starts a text, one ends it
    spelled = {**(BERT if kind == "wordpiece" else ANGLES), **FIM}
    special = {role: spelled[role] for role in ROLES if role in roles}
    first = list(dict.fromkeys(special.values()))
    last = [MODES[mode][0] for mode in modes]
    last += [f"<extra_id_{n}>" for n in reversed(range(sentinels))]
    if kind in ("byte", "character"):
        inner = _of_symbols(kind, texts)
    else:
        inner = _train(kind, texts, vocab_size - len(last), first)
    inner.add_special_tokens([*first, *last])
    if {"cls", "sep"} <= special.keys():  # `batch` puts them around a text, `encode` does not
        ends = {role: (special[role], inner.token_to_id(special[role])) for role in ("cls", "sep")}
        put_template(inner, table.BERT, Options(), **ends)
    return Tokenizer(inner, kind, special)


def _of_symbols(kind: str, texts: Iterable[str]) -> Any:
    """Bytes, or the characters of the texts, none of them merged."""
    byte = kind == "byte"
    symbols = byte_symbols() if byte else sorted(set(itertools.chain.from_iterable(texts)))
    if not symbols:
        raise ValueError("a character tokenizer is learned from text; there is none")
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    if byte:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel() if byte else decoders.Fuse()
    return inner


def _train(kind: str, texts: Iterable[str], size: int, first: list[str]) -> Any:
    """WordPiece; or byte pairs or unigrams, both over GPT-2's bytes, so that nothing is unknown."""
    least = len(first) + (1 if kind == "wordpiece" else 256)
    if size < least:
        raise ValueError(
            f"data.vocab_size leaves {size} tokens to a {kind} tokenizer; it must be at least "
            f"{least}: {len(first)} special tokens and {least - len(first)} more"
        )
    options: dict[str, Any] = dict(vocab_size=size, special_tokens=first, show_progress=False)
    if kind == "wordpiece":
        inner = tokenizers.Tokenizer(models.WordPiece(unk_token=BERT["unk"]))
        inner.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        inner.decoder = decoders.WordPiece(cleanup=False)
        trainer: Any = trainers.WordPieceTrainer(**options, limit_alphabet=max(size // 2, 1))
    else:
        options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
        if kind == "bpe":
            model, trainer = models.BPE(), trainers.BpeTrainer(**options)
        else:
            options["unk_token"] = ANGLES["unk"]
            model, trainer = models.Unigram(), trainers.UnigramTrainer(**options)
        inner = tokenizers.Tokenizer(model)
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
    with refusing(f"a {kind} tokenizer cannot be learned from these texts"):
        inner.train_from_iterator(texts, trainer)
    return inner
