"""Products of rows with the matrix of the group they belong to, without padding to a capacity.

Rows are put in an order in which each group fills whole blocks; then every block is multiplied with
one matrix. Shapes are static, no row is dropped, and the work is that of the rows plus at most one
block per group. `jax.lax.ragged_dot` computes every group densely on a CPU: with 32 groups it takes
8 to 11 times as long and 9 times the memory.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int, wide
from transformers_jax.nn.derivative import both_ways
from transformers_jax.shard import varying

BLOCK = 64
"""Rows of a block at most; with 128, gradients took half as long again on a CPU."""


class Blocks(NamedTuple):
    """M rows in N blocks of b slots each, one group a block.

    Attributes:
        slot: the slot of each row, [M]; N b for rows of no group.
        row: the row in each slot, [N b]; M where there is none.
        group: the group of each block, [N]; the number of groups for an empty block.
    """

    slot: Int[Array, " M"]
    row: Int[Array, " S"]
    group: Int[Array, " N"]


def arrange(group: Int[Array, " M"], groups: int) -> Blocks:
    """Blocks for rows of which each belongs to one of `groups`, or (any other number) to none."""
    M = group.shape[0]
    size = block_size(M, groups)
    N = min((M + groups * (size - 1)) // size, M)
    group = jnp.where((group >= 0) & (group < groups), group, groups)
    order = jnp.argsort(group, stable=True)
    in_order = group[order]
    count = jnp.bincount(group, length=groups + 1)
    blocks = -(-count[:groups] // size)
    first = jnp.concatenate([jnp.zeros(1, blocks.dtype), jnp.cumsum(blocks)])  # block of a group
    before = jnp.cumsum(count) - count
    slot = first[in_order] * size + jnp.arange(M) - before[in_order]
    slot = jnp.where(in_order < groups, slot, N * size).astype(jnp.int32)
    row = jnp.full(N * size, M, jnp.int32).at[slot].set(order.astype(jnp.int32), mode="drop")
    owner = jnp.searchsorted(first[1:], jnp.arange(N), side="right").astype(jnp.int32)
    return Blocks(jnp.zeros(M, jnp.int32).at[order].set(slot), row, owner)


def block_size(rows: int, groups: int) -> int:
    """Few rows make small blocks: a block that is nearly empty costs as much as a full one."""
    size = 8
    while size < BLOCK and size * groups < rows:
        size *= 2
    return size


def by_group(
    x: Float[Array, "N b D"],
    weight: Float[Array, "G D F"],
    group: Int[Array, " N"],
    mixed: bool = False,
) -> Float[Array, "N b F"]:
    """Each block times the matrix of its group; zero for blocks of no group.

    With `mixed`, operands are rounded to bfloat16 and the result is float32, forward and backward.
    """
    if jax.default_backend() != "cpu":
        return _ragged(x, weight, group, mixed)
    dtype = jnp.bfloat16 if mixed else x.dtype
    return _by_group(dtype, x, weight, group)


def _ragged(x: Array, weight: Array, group: Array, mixed: bool) -> Array:
    """By the primitive of accelerators, to which blocks of a group are one run of rows."""
    (N, size, D), G = x.shape, weight.shape[0]
    sizes = jnp.bincount(group, length=G + 1)[:G].astype(jnp.int32) * size
    dtype = jnp.bfloat16 if mixed else x.dtype
    rows = x.reshape(N * size, D).astype(dtype)
    y = jax.lax.ragged_dot(rows, weight.astype(dtype), sizes, preferred_element_type=wide(x))
    return y.reshape(N, size, -1).astype(x.dtype)


def _times(x: Array, weight: Array, group: Array, dtype: jnp.dtype, equation: str) -> Array:
    """One block after the other; none is copied, and empty ones cost nothing."""
    G, out = weight.shape[0], weight.shape[2 if equation.endswith("bf") else 1]

    def one(block):
        rows, number = block
        matrix = jax.lax.dynamic_index_in_dim(weight, jnp.minimum(number, G - 1), 0, False)
        times = lambda: jnp.einsum(
            equation, rows.astype(dtype), matrix, preferred_element_type=wide(x)
        ).astype(x.dtype)
        return jax.lax.cond(number < G, times, lambda: jnp.zeros((x.shape[1], out), x.dtype))

    return jax.lax.map(one, (x, group))


def _forward(dtype, x: Array, weight: Array, group: Array) -> Array:
    return _times(x, weight.astype(dtype), group, dtype, "bd,df->bf")


def _tangent(dtype, saved, tangents):
    (x, weight, group), (of_x, of_weight) = saved[0], tangents
    of_rows = _times(of_x, weight.astype(dtype), group, dtype, "bd,df->bf")
    return of_rows + _times(x, of_weight.astype(dtype), group, dtype, "bd,df->bf")


def _backward(dtype, saved, g):
    x, weight, group = saved[0]
    of_x = _times(g, weight.astype(dtype), group, dtype, "bf,df->bd")

    def add(total, block):
        rows, cotangent, number = block
        part = jnp.einsum(
            "bd,bf->df",
            rows.astype(dtype),
            cotangent.astype(dtype),
            preferred_element_type=wide(x),
        )
        return total.at[number].add(part, mode="drop"), None

    start = varying(jnp.zeros(weight.shape, wide(x)), x, g, group)
    total, _ = jax.lax.scan(add, start, (x, g, group))
    return of_x, total.astype(weight.dtype)


_by_group = both_ways(_forward, _tangent, _backward, static=1, linear=2)
