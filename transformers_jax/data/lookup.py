"""Texts whose tokens are bytes or characters: looked up in NumPy, with no Rust."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from transformers_jax.arrays import Int


@dataclass
class Record:
    """A row of tokens, with the fields of the Rust library's Encoding that rows are made from; -1
    stands for None."""

    ids: Int[np.ndarray, " T"]
    type_ids: Int[np.ndarray, " T"]
    offsets: Int[np.ndarray, "T 2"]
    word_ids: Int[np.ndarray, " T"]
    sequence_ids: Int[np.ndarray, " T"]
    special_tokens_mask: Int[np.ndarray, " T"]
    overflowing: list[Record] = field(default_factory=list)


class Spans(NamedTuple):
    """The tokens of one text: ids, the characters of each, and the number of its word."""

    ids: Int[np.ndarray, " T"]
    starts: Int[np.ndarray, " T"]
    ends: Int[np.ndarray, " T"]
    words: Int[np.ndarray, " T"]


@dataclass(frozen=True)
class Lookup:
    """The ids of texts, for tokenizers whose tokens are bytes or characters.

    Attributes:
        inner: the Rust library's tokenizer.
        kind: "byte" or "character".
        unknown: the id of characters that were never seen; None if they are an error.
    """

    inner: Any
    kind: str
    unknown: int | None = None

    def ids(self, text: str, parse_special: bool = True) -> Int[np.ndarray, " T"]:
        """Bytes and characters are looked up all at once; special tokens stand between them."""
        one = self._bytes if self.kind == "byte" else self._characters
        if not parse_special or self._added is None:
            return one(text)
        rows, place = [np.zeros(0, np.int32)], 0
        for found in self._added.finditer(text):
            added = self._vocabulary[found.group()]
            rows += [one(text[place : found.start()]), np.array([added], np.int32)]
            place = found.end()
        return np.concatenate([*rows, one(text[place:])]).astype(np.int32)

    def ends(self, text: str) -> Int[np.ndarray, " T"]:
        """For each token, the place of the character behind it; special tokens are not parsed."""
        if self.kind == "character":
            return np.arange(1, len(text) + 1)
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        sizes = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)
        return np.repeat(np.arange(1, len(text) + 1), sizes)

    def spans(self, text: str | Sequence[str]) -> Spans:
        """The tokens of a text, or of a text that is split into words."""
        if not isinstance(text, str):
            parts = [(number, word, 0) for number, word in enumerate(text)]
        else:  # special tokens are words of their own
            pieces = [(0, text)] if self._added is None else list(_split(self._added, text))
            parts = [(number, piece, start) for number, (start, piece) in enumerate(pieces)]
        columns = [np.zeros((4, 0), np.int64)]
        for number, piece, start in parts:
            ids = self.ids(piece)
            whole = len(ids) == 1 and len(piece) > 1
            ends = np.array([len(piece)]) if whole else self.ends(piece)
            if len(ends) != len(ids):  # special tokens within a word
                inner = self.spans(piece)
                ids, starts, ends = inner.ids, inner.starts, inner.ends
            else:
                starts = np.zeros(1, np.int64) if whole else ends - 1
            columns.append(np.stack([ids, starts + start, ends + start, np.full(len(ids), number)]))
        return Spans(*np.concatenate(columns, axis=1))

    def _bytes(self, text: str) -> Int[np.ndarray, " T"]:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def _characters(self, text: str) -> Int[np.ndarray, " T"]:
        known, ids = self._letters
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        place = np.searchsorted(known, points).clip(max=len(known) - 1)
        found = ids[place]
        if (wrong := known[place] != points).any():
            if self.unknown is None:
                first = int(np.argmax(wrong))
                raise ValueError(
                    f"character {text[first]!r} at {first} does not occur in the text that this "
                    "character tokenizer was made from; use tokenizer 'byte' or 'bpe'"
                )
            found = np.where(wrong, self.unknown, found)
        return found.astype(np.int32)

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return self.inner.get_vocab(with_added_tokens=True)

    @cached_property
    def _letters(self) -> tuple[np.ndarray, np.ndarray]:
        letters = self.inner.get_vocab(with_added_tokens=False)
        order = sorted(letters, key=ord)
        known = np.array([ord(c) for c in order], np.uint32)
        return known, np.array([letters[c] for c in order], np.int32)

    @cached_property
    def _added(self) -> re.Pattern[str] | None:
        added = [token.content for token in self.inner.get_added_tokens_decoder().values()]
        longest_first = sorted(added, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))) if added else None


def _split(pattern: re.Pattern[str], text: str) -> list[tuple[int, str]]:
    """(where it starts, what) of a text cut around all matches; nothing empty."""
    found, place = [], 0
    for match in pattern.finditer(text):
        found += [(place, text[place : match.start()]), (match.start(), match.group())]
        place = match.end()
    return [(start, piece) for start, piece in [*found, (place, text[place:])] if piece]


# ---------------------------------------------------------------- rows


class Frame(NamedTuple):
    """What is put around a text, or two: [CLS] a [SEP] b [SEP]; None for nothing."""

    cls: int
    sep: int


def framed(sides: Sequence[Spans], frame: Frame | None) -> Record:
    """One row of one text or of two."""
    parts: list[np.ndarray] = []  # (id, type, start, end, word, side, special) of each token

    def special(token: int, side: int) -> np.ndarray:
        return np.array([[token], [side], [0], [0], [-1], [-1], [1]])

    if frame is not None:
        parts.append(special(frame.cls, 0))
    for side, one in enumerate(sides):
        whose = np.full(len(one.ids), side)
        text = [one.ids, whose, one.starts, one.ends, one.words, whose, np.zeros_like(whose)]
        parts.append(np.stack(text))
        if frame is not None:
            parts.append(special(frame.sep, side))
    ids, types, starts, ends, words, owners, mask = np.concatenate(parts, axis=1)
    return Record(ids, types, np.stack([starts, ends], axis=1), words, owners, mask)


def windows(side: Spans, length: int, stride: int, direction: str) -> list[Spans]:
    """A text in pieces of at most `length` tokens, of which `stride` are those of the piece before.

    The first is what truncation keeps: of the right end, the first tokens; of the left, the last.
    """
    size = len(side.ids)
    if size <= length:
        return [side]
    if length == 0:
        return [Spans(*(column[:0] for column in side))]
    found, step = [], length - stride
    for start in range(0, size, step):
        low, high = start, min(start + length, size)
        if direction == "left":
            low, high = size - high, size - low
        found.append(Spans(*(column[low:high] for column in side)))
        if start + length >= size:
            break
    return found


# ---------------------------------------------------------------- texts that are none


def refuse_surrogates(texts: Sequence[Any]) -> None:
    """No text, of a pair or of several words, may hold what UTF-8 cannot."""
    for number, text in enumerate(texts):
        for part in _strings(text):
            try:
                part.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"text {number} has a lone surrogate ({part[error.start]!r}) at {error.start}, "
                    "which no UTF-8 text has; replace it, or read the file with errors='strict'"
                ) from None


def _strings(text: Any) -> Iterator[str]:
    if isinstance(text, str):
        yield text
    else:
        for part in text:
            yield from _strings(part)
