"""Tokenizers of characters, as models of connectionist temporal classification have them
(Wav2Vec2CTCTokenizer): vocab.json, with a symbol in place of the spaces between words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, decoders, models, normalizers

from transformers_jax.data.classes.make import Loaded
from transformers_jax.data.classes.models import assembled
from transformers_jax.data.classes.options import CONFIG, Options, add_tokens, text
from transformers_jax.data.classes.table import ANGLES
from transformers_jax.json_files import json_text, read_json

NAME, VOCAB, DELIMITER = "Wav2Vec2CTCTokenizer", "vocab.json", "word_delimiter_token"
ROLES = ("bos", "eos", "unk", "pad")
GAP = "|"
"""The delimiter of words where no file names one."""


def wav2vec2_ctc(folder: Path, options: Options) -> Loaded:
    """The tokenizer of a folder: a character is a token, unknown ones are <unk>.

    Raises:
        ValueError: no vocab.json, one of several languages without `target_lang`, or one without
            the delimiter of words.
    """
    file = folder / VOCAB
    content = read_json(file, advice="a model of this kind keeps its characters there")
    # a word delimiter is no special token: it stands for a space
    named = read_json(folder / CONFIG, optional=True)
    gap = text(named.get(DELIMITER, GAP))
    if options.extra:
        options.extra = [one for one in options.extra if text(one) != gap]
    ids = _of_language(content, options.get("target_lang"), file)
    options.default({role: ANGLES[role] for role in ROLES}, {})
    for role in ROLES:
        if options.token(role) not in ids and role != "pad":
            options.values.pop(f"{role}_token", None)
    inner = built(ids, gap, options.token("unk"), bool(options.get("do_lower_case", False)))
    add_tokens(inner, options, options.extra or [])
    return Loaded(inner, options, files={VOCAB: file.read_bytes()})


def learned(texts: Iterable[str], roles: Mapping[str, str]) -> tuple[Any, bytes]:
    """(a tokenizer of the characters of texts, its vocab.json): special tokens first, padding, the
    blank, before all.

    Args:
        roles: role -> special token.

    Raises:
        ValueError: no character, or one that is the delimiter of words.
    """
    found = sorted({character for one in texts for character in one})
    if not found or GAP in found:
        raise ValueError(
            f"the texts hold {GAP!r}, which stands for spaces between words: replace it"
            if found
            else "a character tokenizer is learned from text; there is none"
        )
    tokens = [*roles.values(), *(GAP if one == " " else one for one in found)]
    ids = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    inner = built(ids, GAP if GAP in ids else None, roles.get("unk"), False)
    inner.add_special_tokens([*roles.values()])
    return inner, json_text(ids, ensure_ascii=False, indent=2).encode()


def built(ids: Mapping[str, int], gap: str | None, unknown: str | None, lower: bool) -> Any:
    """A tokenizer of the Rust library, without added tokens.

    Args:
        gap: what stands for a space.
        lower: whether texts are written in small letters, which the vocabulary has not.
    """
    model = models.BPE(dict(ids), merges=[], unk_token=unknown, fuse_unk=False)
    steps: list[Any] = []
    joined: list[Any] = []
    if lower:  # the library has no step that makes capitals
        capitals = [(one.lower(), one) for one in ids if len(one) == 1 and one.lower() != one]
        steps += [normalizers.Replace(small, capital) for small, capital in capitals]
        joined += [decoders.Replace(capital, small) for small, capital in capitals]
    joined.append(decoders.Fuse())  # an empty text makes the library's Strip panic, so Replace
    if gap is not None:
        steps.append(normalizers.Replace(" ", gap))
        joined += [decoders.Replace(gap, " "), decoders.Replace(Regex("^ | $"), "")]
    inner = assembled(model, None, decoders.Sequence(joined))
    if steps:
        inner.normalizer = normalizers.Sequence(steps)
    return inner


def _of_language(content: Mapping[str, Any], language: Any, file: Path) -> dict[str, int]:
    """The characters of one language, where a file has those of several (MMS).

    Raises:
        ValueError: none is named, or there is no such one; ids that are no numbers.
    """
    if any(isinstance(value, dict) for value in content.values()):
        if language not in content:
            known = ", ".join(sorted(content)[:8])
            raise ValueError(
                f"{file} has the characters of {len(content)} languages ({known}, ...), and "
                f"tokenizer_config.json names target_lang={language!r}; set it to one of them"
            )
        content = content[language]
    if not all(isinstance(number, int) and number >= 0 for number in content.values()):
        raise ValueError(f"{file}: expected an id, from 0 on, for each character")
    return dict(content)
