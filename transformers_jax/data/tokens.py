"""Documents as token ids, in memory or memory-mapped from a folder of shards.

A folder of tokens has, for each shard, ids-00000.bin (raw, little-endian), starts-00000.npy and,
where sentences are known, sentences-00000.npy; and meta.json, written last, which makes it whole.
token_folders.py writes and reads them; here is what they are once they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.texts import digest

DTYPES = ("uint16", "uint32", "int32")
CHUNK = 1 << 22  # ids that are read together


class Joined:
    """Several flat arrays, say the memory maps of shards, read as if they were one.

    `ids[a:b]` copies only where it crosses from one array to the next.
    """

    ndim = 1

    def __init__(self, parts: Sequence[Any], dtype: Any = None):
        self.parts = tuple(part for part in parts if len(part))
        self.dtype = np.dtype(dtype or np.result_type(*(p.dtype for p in self.parts), np.uint16))
        self.ends = np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: slice) -> np.ndarray:
        start, stop, step = index.indices(len(self))
        assert step == 1, "np.asarray(ids) is an array"
        parts = self.between(start, stop)
        if len(parts) == 1:
            return np.asarray(parts[0])
        return np.concatenate([np.zeros(0, self.dtype), *parts]).astype(self.dtype, copy=False)

    def between(self, start: int, stop: int) -> list[Any]:
        """The parts of the arrays that hold the ids from start to stop, not copied."""
        stop = max(start, stop)
        first, last = np.searchsorted(self.ends, [start + 1, stop])
        return [
            part[max(start - end, 0) : stop - end]
            for part, end in zip(self.parts[first - 1 : last], self.ends[first - 1 : last].tolist())
        ]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


class Tokens:
    """Documents as ids, in order.

    Attributes:
        ids: Int["N"], all documents one after the other; an array, a memory map, or `Joined`.
        starts: Int64["D+1"]; document d is ids[starts[d]:starts[d + 1]].
        sentences: Int64["M"], ascending positions in ids where a sentence starts; every document
            that is not empty starts one. None: not known.
        text_bytes: UTF-8 bytes of the text that the ids stand for; None if there was no text.

    Raises:
        ValueError: starts or sentences that do not fit the ids.
    """

    def __init__(
        self,
        ids: Any,
        starts: Int[np.ndarray, " D+1"] | None = None,
        sentences: Int[np.ndarray, " M"] | None = None,
        *,
        fingerprint: str | None = None,
        text_bytes: int | None = None,
    ):
        if getattr(ids, "ndim", None) != 1 or np.dtype(ids.dtype).kind not in "iu":
            shape = list(getattr(ids, "shape", ()))
            raise ValueError(
                f"tokens are one row of integers; these are {getattr(ids, 'dtype', '?')}{shape}"
            )
        self.ids = ids
        starts = np.array([0, len(ids)]) if starts is None else starts
        self.starts = np.asarray(starts, np.int64)
        self.sentences = None if sentences is None else np.asarray(sentences, np.int64)
        self.text_bytes = text_bytes
        self._fingerprint = fingerprint
        self._check()

    def _check(self) -> None:
        starts, n = self.starts, len(self.ids)
        if starts.ndim != 1 or not len(starts) or starts[0] != 0 or starts[-1] != n:
            raise ValueError(f"document starts must run from 0 to {n}, the ids; got {starts}")
        if (np.diff(starts) < 0).any():
            document = int(np.argmax(np.diff(starts) < 0))
            raise ValueError(f"document starts must not fall; they do after document {document}")
        if (marks := self.sentences) is None:
            return
        if (np.diff(marks) <= 0).any() or (len(marks) and not 0 <= marks[0] <= marks[-1] < n):
            raise ValueError(f"sentence starts must rise and lie in [0, {n})")
        firsts = starts[:-1][np.diff(starts) > 0]
        if len(unmarked := np.setdiff1d(firsts, marks)):
            raise ValueError(f"a document starts at {unmarked[0]} and no sentence does")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __repr__(self) -> str:
        return f"Tokens({len(self):,} documents, {len(self.ids):,} ids of {self.ids.dtype})"

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of ids, starts and sentences: the same in memory and from any shards."""
        return self._fingerprint or fingerprint(self.ids, self.starts, self.sentences)


def chunks(ids: Any) -> Iterator[tuple[int, np.ndarray]]:
    """(start, ids from there on) in pieces that fit into memory."""
    for start in range(0, len(ids), CHUNK):
        yield start, np.asarray(ids[start : start + CHUNK])


def fingerprint(ids: Any, starts: np.ndarray, sentences: np.ndarray | None) -> str:
    """16 hex digits that do not depend on the ids' dtype, nor on how they are cut into shards."""
    content = hashlib.sha256(f"{len(ids)} {len(starts)} {sentences is not None}".encode())
    for _, part in chunks(ids):
        content.update(part.astype("<u4").tobytes())
    for positions in (starts, *([] if sentences is None else [sentences])):
        content.update(positions.astype("<i8").tobytes())
    return content.hexdigest()[:16]


class Encoded(NamedTuple):
    """One document: its ids, its sentence starts, and its size in UTF-8 bytes."""

    ids: np.ndarray
    breaks: np.ndarray | None = None
    text_bytes: int = 0


def collect(encoded: Iterable[Encoded], dtype: str | None, sentences: bool) -> Tokens:
    """Tokens in memory, of documents in order: all but its ids is freed.

    Args:
        dtype: of the ids; None: as they are.
    """
    ids: list[np.ndarray] = [np.zeros(0, dtype or np.uint16)]
    starts, breaks, text_bytes = [0], [np.zeros(0, np.int64)], 0
    for one in encoded:
        if sentences and one.breaks is not None:
            breaks.append(one.breaks + starts[-1])
        ids.append(one.ids if dtype is None else one.ids.astype(dtype))
        starts.append(starts[-1] + len(one.ids))
        text_bytes += one.text_bytes
    return Tokens(
        np.concatenate(ids if dtype or len(ids) == 1 else ids[1:]),
        np.array(starts),
        np.concatenate(breaks) if sentences else None,
        text_bytes=text_bytes or None,
    )


def smallest_dtype(largest_id: int) -> str:
    """uint16 where it holds the largest id, else uint32."""
    return "uint16" if largest_id < 2**16 else "uint32"


def join(several: Sequence[Tokens]) -> Tokens:
    """Documents of several, in order; nothing is copied."""
    if len(several) == 1:
        return several[0]
    offsets = np.cumsum([0, *(len(one.ids) for one in several)])
    starts = [one.starts[:-1] + offset for one, offset in zip(several, offsets)]
    sentences = None
    if all(one.sentences is not None for one in several):
        sentences = np.concatenate([one.sentences + o for one, o in zip(several, offsets)])
    sizes = [one.text_bytes for one in several]
    return Tokens(
        Joined([one.ids for one in several]),
        np.concatenate([*starts, offsets[-1:]]),
        sentences,
        fingerprint=digest("".join(one.fingerprint for one in several)),
        text_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
    )


def cut_documents(tokens: Tokens, low: int, high: int) -> Tokens:
    """Documents low to high; nothing is copied but their starts."""
    a, b = int(tokens.starts[low]), int(tokens.starts[high])
    ids, sentences = tokens.ids, tokens.sentences
    if sentences is not None:
        sentences = sentences[np.searchsorted(sentences, a) : np.searchsorted(sentences, b)] - a
    return Tokens(
        Joined(ids.between(a, b), ids.dtype) if isinstance(ids, Joined) else ids[a:b],
        tokens.starts[low : high + 1] - a,
        sentences,
        fingerprint=f"{tokens.fingerprint}[{low}:{high}]",
    )
