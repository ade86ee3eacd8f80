"""Runs of rows of a file's tensor, and how NumPy puts them into parameters on the host."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from transformers_jax.hub.files import Checkpoint
from transformers_jax.hub.table import Fill, Piece

ALIGNED = 64  # bytes: what the CPU's runtime asks of memory that it takes over


def read_block(checkpoint: Checkpoint, fill: Fill, start: int, stop: int) -> np.ndarray:
    """The rows of a tensor from `start` up to `stop`."""
    if not fill.shape:
        return checkpoint.read(fill.name)
    return checkpoint.read_rows(fill.name, start, stop)


def rows_per_step(piece: Piece) -> int:
    """How many rows of theirs make one step along the axis of ours that they follow."""
    if piece.part.left is None:
        return 1
    sizes = dict(piece.sizes)
    return math.prod(sizes.get(letter, 1) for letter in piece.part.left[0][1:])


def blocks(
    piece: Piece, fill: Fill, checkpoint: Checkpoint, local: int, budget: int
) -> list[tuple[int, int]]:
    """Runs of rows of equal length, each within one shard; the last of a shard may overlap.

    Equal lengths mean one compiled program; written twice is written the same.
    """
    if not fill.shape or piece.stop == piece.start or piece.part.rows_are() is None:
        return [(piece.start, piece.stop)]
    unit = rows_per_step(piece)
    tensor = checkpoint.tensors[fill.name][1]
    row = max(1, tensor.nbytes // max(1, fill.shape[0]))
    count = max(1, min(local // unit, budget // (row * unit)))
    length = count * unit
    found = []
    for shard in range(piece.start, piece.stop, local):
        starts = [*range(shard, shard + local - length, length), shard + local - length]
        found += [(start, start + length) for start in starts]
    return found


def host_zeros(target: jax.ShapeDtypeStruct) -> np.ndarray:
    """Zeros in memory that a CPU device can take over without a copy."""
    dtype = np.dtype(target.dtype)
    size = math.prod(target.shape) * dtype.itemsize
    memory = np.zeros(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].view(dtype).reshape(target.shape)


def fill_host(
    checkpoint: Checkpoint,
    fill: Fill,
    piece: Piece,
    arrays: Mapping[str, np.ndarray],
    budget: int,
) -> bool:
    """Moves one piece of a tensor into NumPy arrays, `budget` bytes at a time; False if something
    in it was not finite."""
    part, finite = piece.part, True
    axis = part.rows_are() if fill.shape else None
    unit = rows_per_step(piece) if axis is not None else 1
    moving = part.left[0][0] if part.left and axis is not None else ""
    known = {letter: size for letter, size in piece.sizes if letter != moving}
    for start, stop in blocks(piece, fill, checkpoint, piece.stop - piece.start, budget):
        values = block = read_block(checkpoint, fill, start, stop)
        if part.left is not None:
            values = rearrange(block, part.pattern(), **known)
        first = 0 if axis is None else (start - piece.start) // unit
        for n, path in enumerate(part.paths):
            where: tuple[Any, ...] = (*fill.lead, ...)  # a view, of one number too
            _copy(values[n] if part.fused else values, arrays[path][where], axis, first)
        finite &= _is_finite(block)
    return finite


def _copy(values: np.ndarray, ours: np.ndarray, axis: int | None, first: int) -> None:
    """Writes values into ours, behind the first few along an axis.

    A transposed copy takes one line of the cache at a time of ours: whole, it is five times slower.
    NumPy copies dtypes that it does not know one by one, so equal ones are copied as integers.
    """
    if values.dtype == ours.dtype and ours.dtype.kind == "V":
        plain = np.dtype(f"u{ours.dtype.itemsize}")
        values, ours = values.view(plain), ours.view(plain)
    if axis is None:
        ours[...] = values
        return
    count, before = values.shape[axis], (slice(None),) * axis
    step = count
    if not values.flags.c_contiguous:
        behind = math.prod(ours.shape[axis + 1 :]) * ours.dtype.itemsize
        step = max(1, ALIGNED // max(1, behind))
    for start in range(0, count, step):
        stop = min(start + step, count)
        ours[(*before, slice(first + start, first + stop))] = values[(*before, slice(start, stop))]


def _is_finite(block: np.ndarray) -> bool:
    """Whether there is neither NaN nor infinity; bfloat16 and its like are not numbers to NumPy."""
    if not jnp.issubdtype(block.dtype, jnp.inexact):
        return True
    return bool(np.isfinite(block.astype(np.float32) if block.dtype.kind == "V" else block).all())
