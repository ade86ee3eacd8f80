"""Runs of rows of a file's tensor, and how NumPy puts them into parameters on the host."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.hub.files import Checkpoint
from transformers_jax.hub.fill import Fill, Piece
from transformers_jax.hub.header import Tensor, aligned_bytes


def blocks(
    piece: Piece, fill: Fill, checkpoint: Checkpoint, local: int, budget: int
) -> list[tuple[int, int]]:
    """Runs of rows of equal length, each within one shard; the last of a shard may overlap.

    Equal lengths mean one compiled program; written twice is written the same.
    """
    if piece.axis is None or piece.stop == piece.start:
        return [(piece.start, piece.stop)]
    unit = piece.unit
    tensor = checkpoint.tensors[fill.name]
    row = max(1, tensor.nbytes // max(1, fill.shape[0]))
    count = max(1, min(local // unit, budget // (row * unit)))
    length = count * unit
    runs = []
    for shard in range(piece.start, piece.stop, local):
        starts = [*range(shard, shard + local - length, length), shard + local - length]
        runs += [(start, start + length) for start in starts]
    return runs


def host_zeros(target: jax.ShapeDtypeStruct) -> np.ndarray:
    """Zeros in memory that a CPU device can take over without a copy."""
    dtype = np.dtype(target.dtype)
    size = math.prod(target.shape) * dtype.itemsize
    return aligned_bytes(size).view(dtype).reshape(target.shape)


def largest(block: np.ndarray) -> Any:
    """The largest magnitude in a block of floating-point numbers, of their dtype; NaN if there is
    one, and 0 of an empty block or of integers.

    Without their signs, floating-point numbers are in the order of their bits read as integers:
    numbers, infinity, NaN. NumPy compares integers at once, and bfloat16 one by one. The greatest
    signed integer is the largest number that is not negative, and the greatest unsigned one the
    largest magnitude of those that are, if there are any: so nothing is copied without its sign.
    """
    if not jnp.issubdtype(block.dtype, jnp.floating):
        return block.dtype.type(0)
    plain, signed = (np.dtype(f"{kind}{block.dtype.itemsize}") for kind in "ui")
    bits = np.ascontiguousarray(block).reshape(-1).view(plain)
    negative = int(bits.max(initial=0)) & int(np.iinfo(signed).max)
    most = max(int(bits.view(signed).max(initial=0)), negative)
    return np.array(most, plain).view(block.dtype)[()]


def fill_host(
    checkpoint: Checkpoint,
    fill: Fill,
    piece: Piece,
    arrays: Mapping[str, np.ndarray],
    spare: np.ndarray,
) -> Any:
    """Moves one piece of a tensor into NumPy arrays, as many bytes at a time as `spare` has, which
    are overwritten; returns the largest magnitude in it."""
    tensor, axis, most = checkpoint.tensors[fill.name], piece.axis, []
    runs = blocks(piece, fill, checkpoint, piece.stop - piece.start, spare.size)
    row = tensor.nbytes // max(1, tensor.shape[0] if tensor.shape else 1)
    whole = _memory_of(fill, piece, tensor, arrays)
    for start, stop in runs:
        memory = spare
        if whole is not None:
            memory = whole[(start - piece.start) * row : (stop - piece.start) * row]
        block = checkpoint.read(fill.name, start, stop, memory)
        most.append(largest(block))
        if whole is None:
            first = piece.first + (start - piece.start) // piece.unit
            for path, values in zip(piece.paths, piece.ours(block)):
                where: tuple[Any, ...] = (*fill.lead, ...)  # a view, of one number too
                _copy(values, arrays[path][where], axis, first)
    return largest(np.array(most, tensor.dtype))


def _memory_of(
    fill: Fill, piece: Piece, tensor: Tensor, arrays: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """The bytes of a parameter that are those of the file, so that they are read into their place;
    None where they are in another order or dtype."""
    ours = arrays[piece.paths[0]]
    order = [[*itertools.chain(*side)] for side in (piece.left, piece.right)]
    straight = len(piece.paths) == 1 and order[0] == order[1] and ours.dtype == tensor.dtype
    if not straight or tensor.transposed or len(tensor.parts) != 1:
        return None
    where: tuple[Any, ...] = (*fill.lead, *piece.inside(piece.axes), ...)
    return ours[where].reshape(-1).view(np.uint8)


def _copy(values: np.ndarray, ours: np.ndarray, axis: int | None, first: int) -> None:
    """Writes values into ours, behind the first few along an axis.

    NumPy copies dtypes that it does not know one by one, so equal ones are copied as integers, and
    bfloat16, the first half of float32, is moved there. What a dtype cannot hold becomes infinity
    here, and is refused by the largest magnitude.
    """
    if values.dtype == ours.dtype and ours.dtype.kind == "V":
        plain = np.dtype(f"u{ours.dtype.itemsize}")
        values, ours = values.view(plain), ours.view(plain)
    if axis is not None:
        before = (slice(None),) * axis
        ours = ours[(*before, slice(first, first + values.shape[axis]))]
    values = _in_order(values)
    if (values.dtype, ours.dtype) == (jnp.bfloat16, np.float32):
        np.left_shift(values.view(np.uint16), np.uint32(16), out=ours.view(np.uint32))
        return
    with np.errstate(over="ignore"):
        ours[...] = values


def _in_order(values: np.ndarray) -> np.ndarray:
    """The same values, one behind another. XLA transposes in tiles, which is three times as fast as
    NumPy's number by number; what its device does not hold (64 bits) is left to NumPy."""
    if values.flags.c_contiguous:
        return values
    if values.itemsize > 4 or jax.default_backend() != "cpu":
        return np.ascontiguousarray(values)
    plain = values.view(np.dtype(f"u{values.itemsize}"))
    return np.asarray(jax.device_put(plain)).view(values.dtype)
