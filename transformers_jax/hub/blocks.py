"""Runs of rows of a file's tensor, and how NumPy puts them into parameters on the host."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.hub.files import Checkpoint
from transformers_jax.hub.fill import Fill, Piece
from transformers_jax.hub.header import ALIGNED, aligned_bytes


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


def fill_host(
    checkpoint: Checkpoint,
    fill: Fill,
    piece: Piece,
    arrays: Mapping[str, np.ndarray],
    budget: int,
) -> bool:
    """Moves one piece of a tensor into NumPy arrays, `budget` bytes at a time; False if something
    in it was not finite."""
    axis, finite = piece.axis, True
    for start, stop in blocks(piece, fill, checkpoint, piece.stop - piece.start, budget):
        block = checkpoint.read(fill.name, start, stop)
        first = (start - piece.start) // piece.unit
        for path, values in zip(piece.paths, piece.ours(block)):
            where: tuple[Any, ...] = (*fill.lead, ...)  # a view, of one number too
            _copy(values, arrays[path][where], axis, first)
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
