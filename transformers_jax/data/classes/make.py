"""The tokenizer of a directory, built as its class does it, or as its tokenizer.json says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import processors

from transformers_jax.data.classes import vocabulary
from transformers_jax.data.classes.options import Options, add_tokens, text
from transformers_jax.data.classes.table import Template, TokenizerClass
from transformers_jax.data.classes.vocabulary import Vocab
from transformers_jax.data.sentencepiece import read_model

Token = tuple[str, int]  # its text and its id
BEFORE = Template("language A eos", "language A B eos")
BEHIND = Template("A eos language", "A B eos language")


@dataclass
class Loaded:
    """What becomes a `Tokenizer`.

    Attributes:
        inner: a tokenizer of the Rust library, or what has its face.
        options: what the files said, with the class's special tokens.
        padding_side: where the class fills rows, unless the files say it.
        languages: code -> id of its token.
        target: the same for texts of the target language, where they are read in another way.
        files: those that it was read from, where no tokenizer.json can hold it: name -> content.
    """

    inner: Any
    options: Options
    padding_side: str = "right"
    languages: Mapping[str, int] = field(default_factory=dict)
    target: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict)


def generic(file: Path, options: Options) -> Loaded:
    """A tokenizer.json, with the tokens that the other files of its folder add.

    Raises:
        ValueError: the Rust library cannot read it.
    """
    inner = tokenizers.Tokenizer.from_file(str(file))
    side = _padding(inner.padding, options)
    add_tokens(inner, options, options.extra or [])
    return Loaded(inner, options, side or "right")


def of_pieces(file: Path, options: Options) -> Loaded:
    """A SentencePiece model with its own ids, and nothing around a text unless the files say so.

    Raises:
        ValueError: it is none, or one of words or of characters.
    """
    inner = read_model(file, options)
    add_tokens(inner, options, options.extra or [])
    put_template(inner, _ends(options), options)
    return Loaded(inner, options)


def of_class(one: TokenizerClass, file: Path, options: Options) -> Loaded:
    """A tokenizer of a vocabulary (or of the one in a tokenizer.json) as a class makes it.

    Raises:
        ValueError: the file is not what the class reads, or lacks a token that it needs.
    """
    options.default(one.special, one.flags)
    vocab = _vocab(one, file, options)
    side = _padding(vocab.padding, options)
    inner = one.build(vocab, options)
    extra = options.extra
    add_tokens(inner, options, one.extra(vocab.tokens or None, options) if extra is None else extra)
    loaded = Loaded(inner, options, side or one.padding_side)
    if one.languages:
        _between_languages(one, loaded)
    elif one.template is not None:
        put_template(inner, one.template, options)
    elif vocab.post_processor is not None:
        inner.post_processor = vocab.post_processor
    else:
        put_template(inner, _ends(options), options)
    return loaded


def _vocab(one: TokenizerClass, file: Path, options: Options) -> Vocab:
    if file.suffix == ".model":
        number = lambda pieces: one.number(pieces, options)
        return vocabulary.from_pieces(file, number, one.kind == "BPE")
    if file.suffix == ".txt":
        return vocabulary.from_lines(file)
    from_file = vocabulary.from_merges if file.name == "vocab.json" else vocabulary.from_json
    return from_file(file)


def _padding(padding: Any, options: Options) -> str | None:
    """The side and the token of a tokenizer.json that fills rows."""
    if not padding:
        return None
    options.values.setdefault("pad_token", padding["pad_token"])
    return str(padding["direction"])


def _ends(options: Options) -> Template:
    """bos and eos, as `add_bos_token` and `add_eos_token` say; a tokenizer.json has its own."""
    adds = lambda role: options.get(f"add_{role}_token") and options.token(role)
    bos, eos = (
        f"{role} " if adds(role) and not options.has_json else "" for role in ("bos", "eos")
    )
    single = f"{bos}A {eos}"
    return Template(single, single + f"{bos}B {eos}".replace(" ", ":1 "))


def put_template(inner: Any, template: Template, options: Options, **tokens: Token) -> None:
    """Makes a tokenizer put special tokens around texts; `tokens`: those that are no role's.

    Raises:
        ValueError: a role of the template has no token.
    """
    parts = f"{template.single} {template.pair}".split()
    roles = {part.split(":")[0] for part in parts} - {"A", "B"}
    tokens |= {role: _need(inner, options, role) for role in sorted(roles - tokens.keys())}
    if template.trim:
        inner.post_processor = processors.RobertaProcessing(
            tokens["sep"],
            tokens["cls"],
            trim_offsets=bool(options.get("trim_offsets", True)),
            add_prefix_space=bool(options.get("add_prefix_space", False)),
        )
        return
    inner.post_processor = processors.TemplateProcessing(
        single=[_piece(part, tokens) for part in template.single.split()],
        pair=[_piece(part, tokens) for part in template.pair.split()],
        special_tokens=sorted(set(tokens.values())),
    )


def _piece(part: str, tokens: Mapping[str, Token]) -> str:
    role, _, kind = part.partition(":")
    shown = f"${role}" if role in ("A", "B") else tokens[role][0]
    return f"{shown}:{kind or 0}"


def _need(inner: Any, options: Options, role: str) -> Token:
    content = options.token(role)
    number = None if content is None else inner.token_to_id(content)
    if content is None or number is None:
        raise ValueError(
            f"its class puts {role}_token around texts, and there is none; name one in "
            f"tokenizer_config.json ({role}_token)"
        )
    return content, number


# ------------------------------------------------------------ translation


def _between_languages(one: TokenizerClass, loaded: Loaded) -> None:
    """The token of the source language around a text, and a second tokenizer for the target's."""
    inner, options = loaded.inner, loaded.options
    codes = {*one.languages, *(text(token) for token in options.extra or [])}
    ids = {code: inner.token_to_id(code) for code in sorted(filter(None, codes))}
    loaded.languages = {code: number for code, number in ids.items() if number is not None}
    source = options.get("src_lang", one.default_language)
    target = options.get("tgt_lang", source)
    suffix = one.suffix or bool(options.get("legacy_behaviour", False))
    loaded.target = inner
    if target != source:
        loaded.target = tokenizers.Tokenizer.from_str(inner.to_str())
    for tokenizer, code in ((inner, source), (loaded.target, target)):
        put_language(tokenizer, code, loaded.languages, options, suffix)


def put_language(
    inner: Any, code: str, languages: Mapping[str, int], options: Options, suffix: bool
) -> None:
    """The template of a translation model: the language before a text or behind </s>.

    Raises:
        ValueError: the vocabulary has no token of the language.
    """
    if code not in languages:
        raise ValueError(
            f"{code!r} is none of its languages ({', '.join(sorted(languages)[:6])}, ...); "
            "src_lang and tgt_lang are codes of them"
        )
    number = languages[code]
    template = BEHIND if suffix else BEFORE
    put_template(inner, template, options, language=(inner.id_to_token(number), number))
