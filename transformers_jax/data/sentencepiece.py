"""SentencePiece models: pieces, scores and how text is normalized.

A .model is a protocol buffer. Its few fields that matter are read here, so that neither protobuf
nor sentencepiece is needed: ModelProto in sentencepiece_model.proto of github.com/google/
sentencepiece names and numbers them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

if TYPE_CHECKING:
    from transformers_jax.data.classes.options import Options

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)  # SentencePiece.Type
UNIGRAM, PAIRS = 1, 2  # TrainerSpec.ModelType


@dataclass
class Model:
    """What a .model says."""

    pieces: list[tuple[str, float, int]] = field(default_factory=list)  # text, score, type
    type: int = UNIGRAM
    byte_fallback: bool = False
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True


def parse(content: bytes) -> Model:
    """The fields of a ModelProto.

    Raises:
        ValueError: no protocol buffer, or one without pieces.
    """
    model = Model()
    for number, value in _fields(content):
        if number == 1:
            piece: dict[int, Any] = {3: NORMAL, 2: 0.0, **dict(_fields(value))}
            score = piece[2] if isinstance(piece[2], float) else 0.0
            model.pieces.append((piece[1].decode(), score, piece[3]))
        elif number == 2:
            trainer: dict[int, Any] = dict(_fields(value))
            model.type = trainer.get(3, UNIGRAM)
            model.byte_fallback = bool(trainer.get(35, 0))
        elif number == 3:
            normalizer: dict[int, Any] = dict(_fields(value))
            model.charsmap = normalizer.get(2, b"")
            model.add_dummy_prefix = bool(normalizer.get(3, 1))
            model.remove_extra_whitespaces = bool(normalizer.get(4, 1))
            model.escape_whitespaces = bool(normalizer.get(5, 1))
    if not model.pieces:
        raise ValueError("there are no pieces in it; is it a SentencePiece model?")
    return model


def read_model(file: Path, options: Options) -> Any:
    """A SentencePiece model as a tokenizer of the Rust library, with the same ids, and nothing
    around a text; its unknown, start, end and padding pieces get their roles in `options`.

    Raises:
        ValueError: a model of words or characters, or no SentencePiece model.
    """
    model = parse(file.read_bytes())
    inner = tokenizer_of(model)
    special = [text for text, _, kind in model.pieces if kind in (CONTROL, UNKNOWN)]
    inner.add_special_tokens(special)
    inner.add_tokens([text for text, _, kind in model.pieces if kind == USER])
    for role, text in {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"}.items():
        if text in special:
            options.values.setdefault(f"{role}_token", text)
    return inner


def tokenizer_of(model: Model) -> Any:
    """The model as a tokenizer of the Rust library, without added tokens.

    Raises:
        ValueError: it is one of words or of characters.
    """
    if model.type not in (UNIGRAM, PAIRS):
        raise ValueError("it is a model of words or characters; unigram and BPE can be read")
    texts = [text for text, _, _ in model.pieces]
    unknown = next((i for i, (_, _, kind) in enumerate(model.pieces) if kind == UNKNOWN), None)
    if model.type == UNIGRAM:
        scored = [(text, score) for text, score, _ in model.pieces]
        inner = models.Unigram(scored, unk_id=unknown, byte_fallback=model.byte_fallback)
    else:  # pieces have scores, BPE has merges: in the order of the scores of what they make
        ids = {text: number for number, text in enumerate(texts)}
        merges = [
            (-score, ids[left], ids[right], (left, right))
            for text, score, kind in model.pieces
            if kind in (NORMAL, UNUSED)
            for left, right in cuts(text, ids)
        ]
        inner = models.BPE(
            ids,
            [pair for *_, pair in sorted(merges)],
            unk_token=None if unknown is None else texts[unknown],
            fuse_unk=True,
            byte_fallback=model.byte_fallback,
        )
    tokenizer = tokenizers.Tokenizer(inner)
    _prepare(tokenizer, model)
    return tokenizer


def cuts(piece: str, ids: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Every two pieces that a piece can be merged from."""
    for cut in range(1, len(piece)):
        if piece[:cut] in ids and piece[cut:] in ids:
            yield piece[:cut], piece[cut:]


def _prepare(inner: Any, model: Model) -> None:
    """Characters by the model's own table, then spaces as ▁; and back."""
    steps: list[Any] = []
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.remove_extra_whitespaces:  # at the end also those that are ▁ already
        steps += [normalizers.Replace(Regex(r"\A +|[ ▁]+\z"), "")]
        steps += [normalizers.Replace(Regex(" {2,}"), " ")]
    if model.escape_whitespaces:
        steps.append(normalizers.Replace(" ", "▁"))
    if model.add_dummy_prefix:  # the pre-tokenizer puts none before one that is there
        steps.append(normalizers.Replace(Regex(r"\A▁"), "▁▁"))
    if steps:
        inner.normalizer = normalizers.Sequence(steps)
    # text behind a special token in the text gets its ▁ too, as in the tokenizers of Hugging Face
    scheme = "always" if model.add_dummy_prefix else "never"
    # Unigram is cut into words for speed, which changes nothing: no piece has ▁ inside; byte pairs
    # may have ▁▁, so they see the whole text
    split = model.type == UNIGRAM
    inner.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=split)
    inner.decoder = pieces_to_text(model.add_dummy_prefix)


def pieces_to_text(prefix: bool) -> Any:
    """Pieces and bytes joined, ▁ as a space; `prefix`: without the one in front."""
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if prefix else [])])


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of the fields of a message: int, float, or bytes (texts and messages)."""
    at, end = 0, len(content)
    while at < end:
        tag, at = _varint(content, at)
        number, form = tag >> 3, tag & 7
        if form == 0:
            value, at = _varint(content, at)
        elif form in (1, 2, 5):
            size = {1: 8, 5: 4}.get(form, 0)
            if form == 2:
                size, at = _varint(content, at)
            value = content[at : at + size]
            if len(value) != size:
                raise ValueError("it ends in the middle; is it a SentencePiece model?")
            at += size
            value = struct.unpack("<f", value)[0] if form == 5 else value
        else:
            raise ValueError("it is no protocol buffer; is it a SentencePiece model?")
        yield number, value


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it is no protocol buffer; is it a SentencePiece model?")
