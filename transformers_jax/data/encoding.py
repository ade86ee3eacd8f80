"""Documents of a source as ids: split, marked with sentences, and encoded on all cores."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from transformers_jax.data.texts import Source, Texts
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokens import Encoded

TOGETHER = 1 << 20  # characters that are encoded together
CLOSING, OPENING = r"\"'\u201d\u2019)\]", r"\"'\u201c\u2018(\["  # quotes and brackets
SENTENCE = re.compile(
    rf"[.!?][{CLOSING}]*\s+(?=[{OPENING}]*[A-Z0-9\u00c0-\u00de\"'\u201c\u2018])|\n[ \t]*\n\s*"
)
"""Behind . ! or ? and a space, before a capital, a digit or a quote; and behind a blank line."""


def is_held_out(text: str | bytes, fraction: float) -> bool:
    """Whether a document is for evaluation: by its hash, so that duplicates are on one side."""
    content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return int.from_bytes(hashlib.sha256(content).digest()[:8]) < fraction * 2**64


def split_source(source: Source, fraction: float | None) -> tuple[dict[str, Texts], bool]:
    """The splits train and validation, and whether they are halves of a single document.

    A source's own split is used; several documents are split by their hashes; a single one is cut
    near its end. With no fraction all is to train on.
    """
    train = source.splits["train"]
    if "validation" in source.splits:
        return {"train": train, "validation": source.splits["validation"]}, False
    several = len(list(itertools.islice(iter(train), 2))) > 1
    if fraction is None:
        return {"train": train}, not several
    if several:
        key = (lambda d: np.asarray(d).tobytes()) if source.ids else (lambda d: d)
        pick = lambda held: Texts(
            lambda: (d for d in train if is_held_out(key(d), fraction) is held)
        )
        return {"train": pick(False), "validation": pick(True)}, False

    def half(first: bool) -> Iterator[Any]:
        for text in train:
            cut = int(len(text) * (1 - fraction))
            yield text[:cut] if first else text[cut:]

    return {"train": Texts(lambda: half(True)), "validation": Texts(lambda: half(False))}, True


def sentence_starts(text: str) -> list[int]:
    """Positions of characters where sentences start; the first is 0."""
    return [0, *(m.end() for m in SENTENCE.finditer(text) if m.end() < len(text))]


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts together until they have TOGETHER characters."""
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text) + 1
        if size >= TOGETHER:
            yield some
            some, size = [], 0
    if some:
        yield some


def encode_batch(
    tokenizer: Tokenizer, texts: list[str], tail: str, eos: int | None, sentences: bool
) -> list[Encoded]:
    """Documents as ids, each with `tail`, or the token eos, behind it."""
    whole = [text + tail for text in texts]
    breaks: list[Any] = [None] * len(texts)
    if sentences:
        marked = tokenizer.encode_marked(whole, [sentence_starts(text) for text in texts])
        rows, breaks = [ids for ids, _ in marked], [marks for _, marks in marked]
    else:
        rows = tokenizer.encode_many(whole, parse_special=False)
    if eos is not None:
        rows = [np.append(ids, np.int32(eos)) for ids in rows]
    if sentences:  # whatever became of its first character, a document starts a sentence
        first = np.zeros(1, np.int64)
        breaks = [np.union1d(first[: len(ids)], marks) for ids, marks in zip(rows, breaks)]
    return [Encoded(r, b, len(t.encode())) for r, b, t in zip(rows, breaks, whole)]


def encode_texts(
    texts: Iterable[str], encode: Callable[[list[str]], list[Encoded]]
) -> Iterator[Encoded]:
    """Documents as ids, one by one."""
    for some in batches(texts):
        yield from encode(some)
