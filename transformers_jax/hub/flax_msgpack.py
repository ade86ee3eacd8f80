"""Flax's msgpack files, as transformers wrote them up to its version 4: flax_model.msgpack.

Nested maps of names, whose leaves are extension values: msgpack again, of an array's shape, the
name of its dtype and its bytes; an array beyond a gigabyte is a map of its parts. A file is walked
once, past the bytes of its arrays, and every length in it is checked against the file, so that
nothing is in memory until it is read, and nothing is ever executed.

Flax's modules call `kernel`, `embedding` and `scale` what PyTorch's call `weight`, and keep the
transpose of a Linear's; with that said, names are those of PyTorch's files, which the tables know.
"""

from __future__ import annotations

import mmap
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack

from transformers_jax.hub.header import (
    DTYPES,
    MAX_NAME,
    MAX_TENSORS,
    Tensor,
    check_name,
    open_regular,
)
from transformers_jax.json_files import errors_of

SINGLE = "flax_model.msgpack"
INDEX = "flax_model.msgpack.index.json"

WEIGHTS = ("kernel", "embedding", "scale")
"""What PyTorch calls `weight`, at the end of a name."""
DEEPEST = 64  # maps within maps; models have about ten
IN_PARTS = "__msgpack_chunked_array__"  # Flax's mark of an array that is a map of its parts
ARRAYS = (1, 3)  # Flax's codes of arrays and of scalars among extension values


def read_names(path: Path) -> dict[str, Tensor]:
    """{PyTorch's name: Tensor} of the arrays of a msgpack file.

    Raises:
        ValueError: anything about the file that is not as it should be.
    """
    with open_regular(path) as file, errors_of(path):
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            walk = _Walk(path, data)
            tree = walk.value()
            if not isinstance(tree, dict) or walk.offset != len(data):
                raise ValueError(
                    "not a msgpack file of Flax parameters: it is no map of names from its first "
                    "byte to its last (a Git LFS pointer is fetched with git lfs pull)"
                )
        if set(tree) == {"params"}:  # as Flax's `init` gives them
            tree = tree["params"]
        arrays: dict[str, Tensor] = {}
        _collect(tree, (), arrays)
    return arrays


def torch_name(path: str) -> str:
    """ "model.norm.weight" of "model/norm/scale"."""
    *parents, last = path.split("/")
    return ".".join([*parents, "weight" if last in WEIGHTS else last])


def _collect(tree: Any, path: tuple[str, ...], arrays: dict[str, Tensor]) -> None:
    """Puts the arrays below a node into `arrays`, by PyTorch's names."""
    if isinstance(tree, dict) and IN_PARTS in tree:
        tree = _joined(tree, ".".join(path))
    if isinstance(tree, dict):
        for name, below in tree.items():
            _collect(below, (*path, name), arrays)
        return
    if not isinstance(tree, Tensor):
        raise ValueError(f"{'.'.join(path)[:100]!r} is no array of parameters")
    name = torch_name("/".join(path))
    check_name(name)
    if name in arrays:
        raise ValueError(f"tensor {name!r} is there under two names of Flax's")
    if path[-1] == "kernel":
        if len(tree.shape) != 2:
            raise ValueError(
                f"{'.'.join(path)} has the shape {list(tree.shape)}; a kernel of a Linear has two "
                "sides, and no family here has another"
            )
        tree = replace(tree, shape=tree.shape[::-1], transposed=True)
    arrays[name] = tree


def _joined(tree: dict[str, Any], name: str) -> Tensor:
    """The array of which a map holds shape and parts, both numbered by text."""
    lists: list[list[Any]] = [
        list(part.values())
        if isinstance(part, dict) and list(part) == [str(n) for n in range(len(part))]
        else [None]
        for part in (tree.get("shape"), tree.get("chunks"))
    ]
    sides, members = lists
    if not all(type(n) is int for n in sides) or not members or not all(
        isinstance(part, Tensor) and part.dtype == members[0].dtype for part in members
    ):  # fmt: skip
        raise ValueError(f"{name[:100]!r} is in chunks that cannot be joined")
    parts = tuple(run for part in members for run in part.parts)
    whole = replace(members[0], shape=tuple(sides), parts=parts)
    if whole.nbytes != sum(size for _, size in parts):
        raise ValueError(f"{name[:100]!r}: its chunks do not have the bytes of {list(sides)}")
    return whole


class _Walk:
    """The values of a msgpack file in their order; of an array its offset. The library's own
    reader would take the bytes of all arrays into memory, so it reads only what is between them."""

    def __init__(self, path: Path, data: mmap.mmap):
        self.path, self.data, self.offset, self.values = path, data, 0, 0

    def value(self, depth: int = 0) -> Any:
        """The next value: a map, text, a count, a truth value, or the offset of an array."""
        self.values += 1
        if depth > DEEPEST or self.values > 4 * MAX_TENSORS:
            raise ValueError("nested too deeply, or more values than a model has parameters")
        tag = self.tag()
        if 0x80 <= tag <= 0x8F or tag in (0xDE, 0xDF):
            tree: dict[str, Any] = {}
            for _ in range(self.unpack("read_map_header")):
                name = self.value(depth + 1)
                if not isinstance(name, str) or name in tree:
                    raise ValueError(f"{str(name)[:100]!r} is no name, or is there twice")
                tree[name] = self.value(depth + 1)
            return tree
        if 0xD4 <= tag <= 0xD8:  # an extension value of 1, 2, 4, 8 or 16 bytes
            self.offset += 1
            return self.array(1 << tag - 0xD4)
        return self.array(self.count(tag - 0xC7)) if 0xC7 <= tag <= 0xC9 else self.unpack()

    def tag(self) -> int:
        """The byte that says what kind of value comes next."""
        if self.offset >= len(self.data):
            raise ValueError(f"truncated at byte {len(self.data)}")
        return self.data[self.offset]

    def array(self, length: int) -> Tensor:
        """The array in an extension value of `length` bytes: [shape, dtype's name, bytes]."""
        begin, stop = self.offset, self.offset + 1 + length
        if stop > len(self.data) or self.data[begin] not in ARRAYS:
            raise ValueError(f"an extension value at byte {begin} that is no array, or reaches "
                             "beyond the file")  # fmt: skip
        self.offset += 1
        if self.unpack("read_array_header") != 3:
            raise ValueError(f"an array at byte {begin} without shape, dtype and bytes")
        shape, name = self.unpack(), self.unpack()
        dtype = next((dtype for dtype in DTYPES.values() if dtype.name == name), None)
        sides = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
        if not sides or len(shape) > 32 or dtype is None:
            raise ValueError(f"an array at byte {begin} of the shape {str(shape)[:40]} and the "
                             f"dtype {str(name)[:20]!r}, which is not known")  # fmt: skip
        size = self.count(self.tag() - 0xC4)
        tensor = Tensor(tuple(shape), dtype, self.path, ((self.offset, size),))
        if tensor.nbytes != size or self.offset + size != stop:
            raise ValueError(f"an array at byte {begin} of {name} and shape {shape} does not have "
                             f"{tensor.nbytes} bytes")  # fmt: skip
        self.offset = stop
        return tensor

    def count(self, kind: int) -> int:
        """The length behind a tag: of 1, 2 or 4 bytes for the kinds 0, 1 and 2."""
        if not 0 <= kind <= 2:
            raise ValueError(f"no bytes of an array at byte {self.offset}")
        begin, self.offset = self.offset + 1, self.offset + 1 + (1 << kind)
        return int.from_bytes(self.data[begin : self.offset], "big")

    def unpack(self, method: str = "unpack") -> Any:
        """What msgpack's own reader gives of the next bytes."""
        reader = msgpack.Unpacker(max_map_len=4 * MAX_TENSORS)
        reader.feed(self.data[self.offset : self.offset + 2 * MAX_NAME])
        try:
            value = getattr(reader, method)()
        except (msgpack.UnpackException, ValueError) as error:
            raise ValueError(
                f"no name, count or array at byte {self.offset}, or truncated ({error!r})"
            ) from None
        self.offset += reader.tell()
        return value
