"""A softmax over a vocabulary in chunks: forward by an online softmax, backward by computing each
chunk again, so that memory does not depend on V.

The table is reshaped to [S V/S D], S being the parts into which the mesh cuts the vocabulary: every
device computes the statistics of its own rows, and these are combined once, at the end.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Float, capped, wide
from transformers_jax.nn.derivative import both_ways
from transformers_jax.nn.unembedding import Unembedding
from transformers_jax.shard import constrain, cuts, varying

Statistics = tuple[Array, Array, Array, Array]
"""Of each token: log Z, the label's logit, the mean and the largest logit."""


def product(output: Unembedding, equation: str, x: Array, y: Array) -> Float[Array, "..."]:
    """An einsum with operands in the dtype of the features (or bfloat16), result in `wide`."""
    dtype = jnp.bfloat16 if output.mixed else output.features.dtype
    return jnp.einsum(
        equation,
        x.astype(dtype),
        y.astype(dtype),
        preferred_element_type=wide(output.features),
    )


def _forward(chunk: int, real: int, output: Unembedding, labels: Array) -> Statistics:
    parts, starts, logits_of = _slices(chunk, real, output)
    zeros = varying(jnp.zeros((*labels.shape, parts), wide(output.features)), output, labels)

    def step(statistics, start):
        largest, total, picked, mean = statistics
        y, exists, ids, _ = logits_of(start)
        logits = jnp.where(exists, y, MASKED)
        top = jnp.maximum(largest, logits.max(-1))
        total = total * jnp.exp(largest - top) + jnp.exp(logits - top[..., None]).sum(-1)
        mine = (ids == labels[..., None, None]) & exists
        picked = picked + jnp.where(mine, y, 0.0).sum(-1)
        return (top, total, picked, mean + jnp.where(exists, y, 0.0).sum(-1)), None

    first = (zeros + MASKED, zeros, zeros, zeros)
    (largest, total, picked, mean), _ = jax.lax.scan(step, first, starts)
    best = largest.max(-1)
    log_z = best + jnp.log((total * jnp.exp(largest - best[..., None])).sum(-1))
    inside = (labels >= 0) & (labels < real)
    return log_z, jnp.where(inside, picked.sum(-1), jnp.nan), mean.sum(-1) / real, best


def _tangent(chunk: int, real: int, saved, tangents) -> Statistics:
    """The tangents of the statistics of each token; the largest logit is taken as a constant."""
    (output, labels), (log_z, *_) = saved
    parts, starts, _ = _slices(chunk, real, output)
    zero = varying(jnp.zeros((*labels.shape, parts), log_z.dtype), output, labels, tangents)

    def add(sums, start):
        logits = lambda output: _slices(chunk, real, output)[2](start)[0]
        _, exists, ids, _ = _slices(chunk, real, output)[2](start)
        y, dy = jax.jvp(logits, (output,), tangents)
        dy = jnp.where(exists, dy, 0.0)
        of_z, of_picked, of_mean = sums
        mine = ids == labels[..., None, None]
        return (
            of_z + (jnp.exp(y - log_z[..., None, None]) * dy).sum(-1),
            of_picked + jnp.where(mine, dy, 0.0).sum(-1),
            of_mean + dy.sum(-1),
        ), None

    sums, _ = jax.lax.scan(add, (zero, zero, zero), starts)
    of_z, of_picked, of_mean = (x.sum(-1) for x in sums)
    return of_z, of_picked, of_mean / real, jnp.zeros_like(log_z)


def _backward(chunk: int, real: int, saved, cotangents):
    (output, labels), (log_z, *_) = saved
    of_z, of_picked, of_mean, _ = (g[..., None, None] for g in cotangents)
    parts, starts, logits_of = _slices(chunk, real, output)
    rows, width = output.table.shape
    like = output, labels, cotangents
    zeros = lambda *shape: varying(jnp.zeros(shape, log_z.dtype), *like)

    def step(grads, start):
        y, exists, ids, table = logits_of(start)
        p = jnp.exp(y - log_z[..., None, None])
        g = of_z * p + of_mean / real + jnp.where(ids == labels[..., None, None], of_picked, 0.0)
        if output.softcap is not None:
            g = g * (1 - jnp.square(y / output.softcap))
        g = jnp.where(exists, g, 0.0)
        of_x = grads[0] + product(output, "btsc,scd->btd", g, table)
        of_rows = product(output, "btsc,btd->scd", g, output.features)
        of_table = _add_at(grads[1], of_rows, start)
        of_bias = _add_at(grads[2], g.sum((0, 1)), start)
        return (of_x, of_table, of_bias), None

    first = (
        zeros(*output.features.shape),
        constrain(zeros(parts, rows // parts, width), "vocab rest embed"),
        zeros(parts, rows // parts),
    )
    (x, table, bias), _ = jax.lax.scan(step, first, starts)
    bias = None if output.bias is None else bias.reshape(rows).astype(output.bias.dtype)
    grads = replace(
        output,
        features=x.astype(output.features.dtype),
        table=table.reshape(rows, width).astype(output.table.dtype),
        bias=bias,
    )
    return (grads,)


chunked = both_ways(_forward, _tangent, _backward, static=2, linear=1)
"""chunked(chunk, real, output, labels) -> Statistics, one chunk of the vocabulary after another."""


def _slices(chunk: int, real: int, output: Unembedding):
    """(parts of the vocabulary, where chunks start in a part, a function of such a start).

    It gives the chunk's logits [B T S C], which of its rows no earlier chunk has [S C], their ids
    and vectors: where C does not divide the part, the last chunk overlaps the one before.
    """
    rows, width = output.table.shape
    parts = cuts("vocab", (rows,))[0]
    size = min(chunk, rows // parts)
    table = output.table if output.mixed else output.table.astype(output.features.dtype)
    table = constrain(table.reshape(parts, rows // parts, width), "vocab rest embed")
    bias = output.bias
    bias = None if bias is None else bias.reshape(parts, -1).astype(wide(output.features))

    def logits_of(start):
        first = jnp.minimum(start, rows // parts - size)
        chunk_of_table = jax.lax.dynamic_slice_in_dim(table, first, size, 1)
        y = product(output, "btd,scd->btsc", output.features, chunk_of_table)
        if bias is not None:
            y = y + jax.lax.dynamic_slice_in_dim(bias, first, size, 1)
        row = first + jnp.arange(size)
        ids = jnp.arange(parts)[:, None] * (rows // parts) + row
        return capped(y, output.softcap), (row >= start) & (ids < real), ids, chunk_of_table

    return parts, jnp.arange(0, rows // parts, size), logits_of


def _add_at(whole: Array, part: Array, start: Array) -> Array:
    """`part` added along the second axis, from `start` or from as far before it as it needs."""
    first = jnp.minimum(start, whole.shape[1] - part.shape[1])
    old = jax.lax.dynamic_slice_in_dim(whole, first, part.shape[1], 1)
    return jax.lax.dynamic_update_slice_in_dim(whole, old + part, first, 1)
