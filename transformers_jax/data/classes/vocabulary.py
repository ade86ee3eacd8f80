"""A vocabulary, read from files: tokens with ids or scores, merges, a table of characters."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, models

from transformers_jax.data.classes.options import cached_json
from transformers_jax.data.sentencepiece import CONTROL, PAIRS, UNIGRAM, USER, cuts, parse
from transformers_jax.json_files import json_text

Scored = list[tuple[str, float]]
Merges = list[tuple[str, str]]


@dataclass
class Vocab:
    """What a tokenizer's model is built from.

    Attributes:
        ids: token -> id, of models without scores.
        scored: tokens with scores, in the order of their ids (SentencePiece's Unigram).
        merges: pairs of tokens, in the order in which they are merged.
        charsmap: SentencePiece's compiled table of characters, or nothing.
        post_processor: of a tokenizer.json, or None.
        tokens: control and user-defined pieces of a SentencePiece model, which become tokens.
        padding: the "padding" of a tokenizer.json: side and token, or None.
    """

    ids: dict[str, int] = field(default_factory=dict)
    scored: Scored = field(default_factory=list)
    merges: Merges = field(default_factory=list)
    charsmap: bytes = b""
    post_processor: Any = None
    tokens: list[Any] = field(default_factory=list)
    padding: dict[str, Any] | None = None


def from_json(file: Path) -> Vocab:
    """The model of a tokenizer.json, with its post-processor and table of characters.

    Raises:
        ValueError: it is no tokenizer.json, or one that the Rust library cannot read.
    """
    whole = cached_json(file)
    model = whole["model"]
    small = {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}  # fast to build
    rest = json_text({**whole, "model": small, "added_tokens": []})
    inner = tokenizers.Tokenizer.from_str(rest)
    vocab = Vocab(post_processor=inner.post_processor, padding=inner.padding)
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        vocab.scored = [(piece, float(score)) for piece, score in vocabulary]
        vocab.ids = {piece: number for number, (piece, _) in enumerate(vocab.scored)}
    else:
        vocab.ids = dict(vocabulary)
    for pair in model.get("merges") or []:
        left, right = pair.split(" ") if isinstance(pair, str) else pair
        vocab.merges.append((left, right))
    vocab.charsmap = _charsmap(whole.get("normalizer"))
    return vocab


def kind_of(file: Path) -> str:
    """The kind of model in a tokenizer.json, "BPE", "Unigram", "WordPiece" or "WordLevel"; older
    files do not say it, but lists of pieces with scores are Unigram's."""
    model = cached_json(file).get("model")
    if not isinstance(model, dict):
        return "none"
    pairs = "BPE" if "merges" in model else "WordPiece"
    return str(model.get("type") or ("Unigram" if isinstance(model.get("vocab"), list) else pairs))


def _charsmap(normalizer: Any) -> bytes:
    steps = normalizer or {}
    steps = steps.get("normalizers", [steps]) if isinstance(steps, dict) else []
    for step in steps:
        if step.get("type") == "Precompiled":
            return base64.b64decode(step["precompiled_charsmap"])
    return b""


def from_lines(file: Path) -> Vocab:
    """BERT's vocab.txt: one token a line, its line the id."""
    return Vocab(ids=models.WordPiece.read_file(str(file)))


def from_merges(file: Path) -> Vocab:
    """vocab.json, with merges.txt in the same folder.

    Raises:
        ValueError: there are no merges in its folder, or its tokens are not those of bytes.
    """
    merges = file.with_name("merges.txt")
    if not merges.is_file():
        raise ValueError("merges.txt is not in the same folder")
    ids, pairs = models.BPE.read_file(str(file), str(merges))
    if any(token.endswith("</w>") for token in ids):
        raise ValueError(
            "its tokens end with </w>: no byte-level BPE; save tokenizer.json with the library "
            "that it comes from"
        )
    return Vocab(ids=ids, merges=list(pairs))


def from_pieces(file: Path, number: Callable[[Scored], Scored], merged: bool) -> Vocab:
    """A SentencePiece model, numbered as a class numbers it.

    Args:
        number: pieces in the order of the model -> pieces in the order of the class's ids.
        merged: whether the class merges pairs, whose order is the one of the pieces that they make.

    Raises:
        ValueError: it is no SentencePiece model, or not of the kind that the class reads.
    """
    model = parse(file.read_bytes())
    if model.type != (PAIRS if merged else UNIGRAM):
        kinds = {UNIGRAM: "unigram", PAIRS: "BPE"}
        raise ValueError(
            f"it is a model of type {kinds.get(model.type, 'word or char')}, and its class reads "
            f"{'BPE' if merged else 'unigram'}; without a class it is read as it is"
        )
    scored = [(piece, score) for piece, score, _ in model.pieces]
    ids = {piece: number for number, (piece, _) in enumerate(scored)}
    merges = [pair for piece in ids for pair in cuts(piece, ids)] if merged else []
    scored = number(scored)
    return Vocab(
        ids={piece: number for number, (piece, _) in enumerate(scored)},
        scored=scored,
        merges=merges,
        charsmap=model.charsmap,
        tokens=[
            AddedToken(piece, normalized=False, special=kind == CONTROL)
            for piece, _, kind in model.pieces
            if kind in (CONTROL, USER)
        ],
    )


def byte_symbols() -> list[str]:
    """The characters that stand for the bytes 0 to 255 in byte-level BPE: printable ones for
    themselves, the rest from U+0100 on (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 0x100 + rest.index(byte)) for byte in range(256)]
