"""Flax's msgpack files, as transformers wrote them up to its version 4: flax_model.msgpack.

Nested maps of names, at whose ends arrays lie as extension values: msgpack again, of a shape, the
name of a dtype and bytes; beyond a gigabyte as a map of chunks. A file is walked once, past the
bytes of its arrays, and every length in it is checked against the file, so that nothing is in
memory until it is read, and nothing is ever executed.

Flax's modules call `kernel`, `embedding` and `scale` what PyTorch's call `weight`, and keep the
transpose of a Linear's; with that said, names are those of PyTorch's files, which the tables know.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.hub.header import (
    DTYPES,
    MAX_NAME,
    MAX_TENSORS,
    Tensor,
    check_name,
    open_regular,
    read_array,
)

SINGLE = "flax_model.msgpack"
INDEX = "flax_model.msgpack.index.json"

WEIGHTS = ("kernel", "embedding", "scale")
"""What PyTorch calls `weight`, at the end of a name."""
DEEPEST = 64  # maps within maps; models have about ten
CHUNKED = "__msgpack_chunked_array__"
NDARRAY, SCALAR = 1, 3  # Flax's codes of extension values; 2 is a complex number


@dataclass(frozen=True, slots=True)
class FlaxTensor(Tensor):
    """A tensor in a msgpack file: `parts` are (offset, bytes) of its chunks, one after the other.

    `shape` is PyTorch's; `turned` says that the file holds the transpose.
    """

    parts: tuple[tuple[int, int], ...] = ()
    turned: bool = False

    def read(self, path: Path, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows `start` to `stop`, or all of it. Of a transpose the whole is read and cut."""
        if not self.shape or self.turned:
            whole = self._bytes(path, 0, self.nbytes).view(self.dtype)
            whole = whole.reshape(self.shape[::-1]).T
            return np.ascontiguousarray(whole[start:stop] if self.shape else whole)
        stop = self.shape[0] if stop is None else stop
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        raw = self._bytes(path, start * row, stop * row)
        return raw.view(self.dtype).reshape(stop - start, *self.shape[1:])

    def _bytes(self, path: Path, begin: int, end: int) -> np.ndarray:
        """The bytes from `begin` to `end` of all parts together."""
        chunks, place = [], 0
        for offset, size in self.parts:
            first, last = max(begin - place, 0), min(end - place, size)
            if first < last:
                chunks.append(read_array(path, offset + first, (last - first,), np.dtype(np.uint8)))
            place += size
        if len(chunks) == 1:
            return chunks[0]
        return np.concatenate([np.empty(0, np.uint8), *chunks])


def read_names(path: Path) -> dict[str, Tensor]:
    """{PyTorch's name: FlaxTensor} of the arrays of a msgpack file.

    Raises:
        ValueError: anything about the file that is not as it should be.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            walk = _Walk(file, size)
            tree = walk.value(0)
            if not isinstance(tree, dict) or walk.place != size:
                raise ValueError(
                    "not a msgpack file of Flax parameters: it is no map of names from its first "
                    "byte to its last (a Git LFS pointer is fetched with git lfs pull)"
                )
            if set(tree) == {"params"}:  # as Flax's `init` gives them
                tree = tree["params"]
            arrays: dict[str, Tensor] = {}
            _named(tree, (), arrays)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return arrays


def torch_name(path: str) -> str:
    """ "model.norm.weight" of "model/norm/scale"."""
    *parents, last = path.split("/")
    return ".".join([*parents, "weight" if last in WEIGHTS else last])


def _named(tree: Any, path: tuple[str, ...], arrays: dict[str, Tensor]) -> None:
    """Puts the arrays below a node into `arrays`, by PyTorch's names."""
    if isinstance(tree, dict) and CHUNKED in tree:
        tree = _joined(tree, ".".join(path))
    if isinstance(tree, dict):
        for name, below in tree.items():
            _named(below, (*path, name), arrays)
        return
    if not isinstance(tree, FlaxTensor):
        raise ValueError(f"{'.'.join(path)[:100]!r} is no array of parameters")
    name, last = torch_name("/".join(path)), path[-1] if path else ""
    check_name(name)
    if name in arrays:
        raise ValueError(f"tensor {name!r} is there under two names of Flax's")
    if last == "kernel":
        if len(tree.shape) != 2:
            raise ValueError(
                f"{'.'.join(path)} has the shape {list(tree.shape)}; a kernel of a Linear has two "
                "sides, and no family here has another"
            )
        shape = tree.shape[::-1]
        tree = FlaxTensor(shape, tree.dtype, tree.offset, tree.parts, turned=True)
    arrays[name] = tree


def _joined(tree: dict[str, Any], name: str) -> FlaxTensor:
    """The array of which a map holds chunks and shape, both numbered by text."""
    sides, parts = (_listed(tree.get(key)) for key in ("shape", "chunks"))
    if not parts or not all(type(n) is int for n in sides) or not all(
        isinstance(part, FlaxTensor) and part.dtype == parts[0].dtype for part in parts
    ):  # fmt: skip
        raise ValueError(f"{name[:100]!r} is in chunks that cannot be put together")
    whole = FlaxTensor(
        tuple(sides),
        parts[0].dtype,
        parts[0].offset,
        tuple(p for part in parts for p in part.parts),
    )
    if whole.nbytes != sum(size for _, size in whole.parts):
        raise ValueError(f"{name[:100]!r}: its chunks do not have the bytes of {list(sides)}")
    return whole


def _listed(tree: Any) -> list[Any]:
    """The values of a map whose names are "0", "1", ...; [None] of anything else."""
    if not isinstance(tree, dict) or list(tree) != [str(n) for n in range(len(tree))]:
        return [None]
    return list(tree.values())


class _Walk:
    """Values of a msgpack file in their order; arrays by their places."""

    def __init__(self, file: Any, size: int):
        self.file, self.end, self.place, self.values = file, size, 0, 0

    def value(self, depth: int) -> Any:
        """The next value: a map, text, a count, a truth value, or the place of an array."""
        self.values += 1
        if depth > DEEPEST or self.values > 4 * MAX_TENSORS:
            raise ValueError("nested too deeply, or more values than a model has parameters")
        tag = self.count(1)
        if tag < 0x80:
            return tag
        if 0xCC <= tag <= 0xCF:
            return self.count(1 << tag - 0xCC)
        if tag in (0xC2, 0xC3):
            return tag == 0xC3
        if (length := self.length(tag, 0xA0, 0xBF, 0xD9)) is not None:
            return self.text(length)
        if (length := self.length(tag, 0x80, 0x8F, 0xDE, smallest=2)) is not None:
            return self.map(length, depth)
        if tag in (0xC7, 0xC8, 0xC9):
            return self.array(self.count(1 << tag - 0xC7))
        if 0xD4 <= tag <= 0xD8:
            return self.array(1 << tag - 0xD4)
        raise ValueError(f"a value of the kind {tag:#x} at byte {self.place - 1}, where names and "
                         "arrays are expected")  # fmt: skip

    def map(self, length: int, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for _ in range(length):
            name = self.value(depth + 1)
            if not isinstance(name, str) or name in entries:
                raise ValueError(f"{str(name)[:100]!r} is no name, or is there twice")
            entries[name] = self.value(depth + 1)
        return entries

    def array(self, length: int) -> FlaxTensor:
        """The array in an extension value of `length` bytes: [shape, dtype's name, bytes]."""
        code = self.count(1)
        stop = self.place + length
        if code not in (NDARRAY, SCALAR) or stop > self.end:
            raise ValueError(f"an extension value of kind {code} at byte {self.place}, which is no "
                             "array, or reaches beyond the file")  # fmt: skip
        if self.length(self.count(1), 0x90, 0x9F, 0xDC, smallest=2) != 3:
            raise ValueError(f"an array at byte {self.place} without shape, dtype and bytes")
        sides = self.length(self.count(1), 0x90, 0x9F, 0xDC, smallest=2)
        shape = tuple(self.value(DEEPEST) for _ in range(min(sides or 0, 33)))
        name = self.value(DEEPEST)
        size = self.length(self.count(1), 1, 0, 0xC4)
        dtype = next((d for d in DTYPES.values() if d.name == name), None)
        if sides is None or len(shape) > 32 or dtype is None or size is None or not all(
            type(n) is int for n in shape
        ):  # fmt: skip
            raise ValueError(f"an array before byte {self.place} of the shape {list(shape)[:9]} "
                             f"and the dtype {str(name)[:20]!r}, which is not known")  # fmt: skip
        tensor = FlaxTensor(shape, dtype, self.place, ((self.place, size),))
        if tensor.nbytes != size or self.place + size != stop:
            raise ValueError(
                f"an array of {name} and shape {list(shape)} has {tensor.nbytes} bytes; {size} are "
                f"at byte {self.place}"
            )
        self.place = stop
        self.file.seek(stop)
        return tensor

    def length(self, tag: int, first: int, last: int, longer: int, smallest: int = 1) -> int | None:
        """How long what a tag begins is, of a kind whose short tags are `first` to `last`, and
        whose tags from `longer` on are followed by a length; None for another kind."""
        if first <= tag <= last:
            return tag - first
        widths = [width for width in (1, 2, 4) if width >= smallest]
        if longer <= tag < longer + len(widths):
            return self.count(widths[tag - longer])
        return None

    def count(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def text(self, length: int) -> str:
        if length > MAX_NAME:
            raise ValueError(f"a name of {length} bytes at byte {self.place}")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise ValueError(f"a name at byte {self.place} that is not UTF-8") from None

    def take(self, length: int) -> bytes:
        if length > self.end - self.place:
            raise ValueError(f"truncated at byte {self.end}")
        self.place += length
        return bytes(self.file.read(length))
