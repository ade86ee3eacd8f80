"""The header of a safetensors file, read with suspicion before anything else opens the file.

A file from the internet may have wrong numbers anywhere. The safetensors library refuses what the
format forbids; `read_header` refuses first what the format allows but no checkpoint needs: huge
headers, hundreds of thousands of tensors, one name twice, names that look like paths. Every refusal
is one ValueError with file and reason; none takes more than a second or a few hundred megabytes.
"""

from __future__ import annotations

import gc
import math
import os
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from transformers_jax.json_files import errors_of, parse_json

MAX_HEADER = 25 * 10**6
MAX_TENSORS = 200_000
MAX_NAME = 1024
ALIGNED = 64  # bytes

# In the order in which the format's own writer ranks them, which decides the order of tensors.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "I16": np.dtype(np.int16),
    "U16": np.dtype(np.uint16),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I32": np.dtype(np.int32),
    "U32": np.dtype(np.uint32),
    "F32": np.dtype(np.float32),
    "C64": np.dtype(np.complex64),
    "F64": np.dtype(np.float64),
    "I64": np.dtype(np.int64),
    "U64": np.dtype(np.uint64),
}
RANK = {dtype: rank for rank, dtype in enumerate(DTYPES.values())}
CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a file: `parts` are (offset, bytes) in its file, one after the other.

    `transposed` says that the file holds the transpose of this shape.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    path: Path
    parts: tuple[tuple[int, int], ...]
    transposed: bool = False

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(
        self, start: int = 0, stop: int | None = None, memory: np.ndarray | None = None
    ) -> np.ndarray:
        """Rows `start` to `stop` (all, of a scalar its number), aligned for use without a copy if
        they are of one part. Of a transpose the whole is read and cut.

        Args:
            memory: bytes that may be overwritten; what fits is read into them, the rest into memory
                of its own.

        Raises:
            ValueError: the file has become shorter.
        """
        if not self.shape:
            return self._bytes(0, self.nbytes, memory).view(self.dtype).reshape(())
        stop = self.shape[0] if stop is None else stop
        assert 0 <= start <= stop <= self.shape[0], (start, stop, self.shape)
        if self.transposed:
            whole = self._bytes(0, self.nbytes).view(self.dtype).reshape(self.shape[::-1])
            return np.ascontiguousarray(whole.T[start:stop])
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        rows = self._bytes(start * row, stop * row, memory).view(self.dtype)
        return rows.reshape(stop - start, *self.shape[1:])

    def _bytes(self, begin: int, end: int, memory: np.ndarray | None = None) -> np.ndarray:
        """The bytes from `begin` to `end` of all parts together."""
        runs, before = [], 0
        for offset, size in self.parts:
            first, last = max(begin - before, 0), min(end - before, size)
            if first < last or len(self.parts) == 1:
                mine = memory if len(self.parts) == 1 else None
                runs.append(_read_bytes(self.path, offset + first, last - first, mine))
            before += size
        return runs[0] if len(runs) == 1 else np.concatenate([np.empty(0, np.uint8), *runs])


@dataclass(frozen=True, eq=False)
class HeldTensor(Tensor):
    """A tensor in memory that stands for one of a file."""

    values: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @staticmethod
    def of(values: np.ndarray, path: Path) -> HeldTensor:
        """An array in the place of a tensor of the file at `path`."""
        return HeldTensor(values.shape, values.dtype, path, (), values=values)

    def read(self, start=0, stop=None, memory=None):
        return self.values[start:stop] if self.shape else self.values


def aligned_bytes(size: int) -> np.ndarray:
    """Zeros on a boundary of 64 bytes: the memory of such host arrays XLA takes as it is; others it
    copies."""
    memory = np.zeros(size + ALIGNED, np.uint8)
    return memory[-memory.ctypes.data % ALIGNED :][:size]


def _read_bytes(path: Path, offset: int, size: int, memory: np.ndarray | None) -> np.ndarray:
    data = aligned_bytes(size) if memory is None or size > memory.size else memory[:size]
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        done = 0
        while done < size:
            count = file.readinto(data[done:].data)
            if not count:
                raise ValueError(f"{path}: ends at byte {offset + done}, within a tensor")
            done += count
    return data


def read_header(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors ({name: Tensor}) and the metadata of a safetensors file, in the file's order.

    Raises:
        ValueError: anything about the file that is not as it should be.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        (length,) = struct.unpack("<Q", start) if len(start) == 8 else (0,)
        raw = file.read(length) if 2 <= length <= min(size - 8, MAX_HEADER) else b""
        if raw[:1] != b"{" and (problem := _what_else(start)):
            raise ValueError(f"{path}: {problem}")
        if not raw:
            raise ValueError(
                f"{path}: not a safetensors file, or truncated: a header of {length} bytes in a "
                f"file of {size} (at most {MAX_HEADER} are accepted)"
            )
    collecting = gc.isenabled()
    gc.disable()  # nothing here is cyclic, and looking for cycles doubles the time of a huge header
    try:
        with errors_of(path):
            return _parse(path, raw, 8 + length)
    finally:
        if collecting:
            gc.enable()


def open_regular(path: Path) -> Any:
    """Opens a regular file to read bytes; a pipe or a device would block or never end.

    Raises:
        ValueError: there is no such file, or it is something else.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path}: not a regular file")
        return open(path, "rb")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None


def parse_header(raw: bytes, what: str) -> Any:
    """Parses JSON of bounded size and depth in which no key comes twice.

    Raises:
        ValueError: a key that comes twice, too many of anything, or no valid JSON.
    """
    if len(raw) > MAX_HEADER:
        raise ValueError(f"{what} has {len(raw)} bytes, at most {MAX_HEADER} are accepted")
    for mark, most in ((b"{", 1), (b"[", 2), (b'":', 4), (b",", 16)):
        if raw.count(mark) > most * MAX_TENSORS + 1000:
            raise ValueError(f"{what} describes more than {MAX_TENSORS} tensors")

    return parse_json(raw, what, unique=True)


def check_name(name: str) -> None:
    """Refuses names that no tensor of a model has, and that could hurt where names become paths.

    Raises:
        ValueError: empty or very long names, control characters, backslashes, absolute paths, `..`.
    """
    odd = not name or len(name) > MAX_NAME or name.startswith("/") or ".." in name.split("/")
    if odd or re.search(r"[\x00-\x1f\x7f\\\ud800-\udfff]", name):
        raise ValueError(f"{name[:100]!r} is not a name that a tensor may have")


def _parse(path: Path, raw: bytes, begin: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    header = parse_header(raw, "the header")
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if len(header) > MAX_TENSORS:
        raise ValueError(f"{len(header)} tensors, at most {MAX_TENSORS} are accepted")
    for name in header:
        check_name(name)
    try:  # numbers, offsets and sizes are checked by the library
        with safe_open(path, framework="numpy") as file:
            agreed = set(file.keys()) == set(header)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"refused by safetensors ({error}): it is truncated or damaged; download it anew"
        ) from None
    if not agreed:
        raise ValueError("safetensors reads other names in it")
    tensors = {}
    for name, entry in header.items():
        shape, dtype = tuple(entry["shape"]), DTYPES.get(entry["dtype"])
        # without sides of zero, with which a shape of any size takes no bytes
        huge = math.prod(side for side in shape if side) >= 2**60
        if dtype is None or huge or len(entry) > 3:
            raise ValueError(f"tensor {name!r} is {str(entry)[:200]}; expected dtype, shape and "
                             f"data_offsets, of the dtypes {', '.join(DTYPES)}")  # fmt: skip
        first, last = entry["data_offsets"]
        tensors[name] = Tensor(shape, dtype, path, ((begin + first, last - first),))
    return tensors, metadata


def _what_else(start: bytes) -> str:
    """What a file is that does not begin as a safetensors file does, if its first bytes say so."""
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "this is a pickle (torch.save), not safetensors; it is not opened"
    if start == b"version ":
        return "this is a Git LFS pointer, not the file; fetch it with git lfs pull"
    return ""
