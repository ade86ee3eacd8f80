"""Losses of pairs: each row is compared with every candidate of the batch, of which one is its own.

A batch of B rows has B x B scores. With a `chunk` they are computed for so many rows at a time, and
again in the backward pass, so that memory is linear in B: the scores of all rows are nowhere. Where
a batch is cut along devices every chunk has rows of each of them, and each device compares its own
rows with the candidates of all. Losses and gradients are those of the whole matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Bool, Float, wide
from transformers_jax.shard import constrain
from transformers_jax.sizes import nearest_divisors


class Pairs(NamedTuple):
    """Rows and their candidates.

    Attributes:
        rows: what is compared, as it enters the dot products.
        candidates: with what; the own one of row i is candidate i.
        scale: multiplies the dot products.
        bias: is added to them; None: nothing.
        known: which of the first B candidates, and which rows, count; candidates beyond B count as
            the row of the same number does (negatives of row i are B + i, 2 B + i, ...). None: all.
    """

    rows: Float[Array, "B E"]
    candidates: Float[Array, "M E"]
    scale: Float[Array, ""] | float = 1.0
    bias: Float[Array, ""] | None = None
    known: Bool[Array, " B"] | None = None


Sums = tuple[Float[Array, ""], Float[Array, ""]]
"""The sum of the losses of rows, and how many of them have their own candidate as the best."""


def softmax_loss(pairs: Pairs, chunk: int | None = None) -> Sums:
    """-log p of each row's own candidate, where p is the softmax over all candidates (van den Oord
    et al. 2018, equation 4)."""
    return _over_rows(softmax_losses, pairs, chunk)


def sigmoid_loss(pairs: Pairs, chunk: int | None = None) -> Sums:
    """-log of the probability that each candidate of a row is judged rightly, its own as belonging
    to it and every other as not, by the logistic function (Zhai et al. 2023, section 3.2)."""
    return _over_rows(sigmoid_losses, pairs, chunk)


def softmax_losses(scores: Float[Array, "N M"], own: Array) -> Float[Array, " N"]:
    """-log p of the own column of each row."""
    picked = jnp.take_along_axis(scores, own[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(scores, axis=1) - picked


def sigmoid_losses(scores: Float[Array, "N M"], own: Array) -> Float[Array, " N"]:
    """The sum over the columns of each row of -log p(what is right: the own one, and no other)."""
    is_own = own[:, None] == jnp.arange(scores.shape[1])[None]
    return -jax.nn.log_sigmoid(jnp.where(is_own, scores, -scores)).sum(1)


def _over_rows(loss: Callable[[Array, Array], Array], pairs: Pairs, chunk: int | None) -> Sums:
    count = len(pairs.rows)
    known = jnp.ones(count, bool) if pairs.known is None else pairs.known
    part = (pairs.rows, jnp.arange(count), known)
    if chunk is None or chunk >= count:
        return _sums(loss, part, pairs)
    if chunk < 1 or count % chunk:
        raise ValueError(
            f"chunk={chunk}: {count} rows are compared, which it must divide; "
            f"{nearest_divisors(chunk, count)} would"
        )
    whole = constrain(pairs.candidates, "candidates rest")  # gathered once, not for each chunk
    pairs = pairs._replace(candidates=whole)
    one = jax.checkpoint(lambda part, pairs: _sums(loss, part, pairs))
    add = lambda sums, part: (jax.tree.map(jnp.add, sums, one(part, pairs)), None)
    zeros = jnp.zeros((), wide(pairs.rows)), jnp.zeros((), jnp.float32)
    parts = jax.tree.map(lambda x: _cut(x, count // chunk), part)
    return jax.lax.scan(add, zeros, parts)[0]


def _sums(loss: Callable[[Array, Array], Array], part: Any, pairs: Pairs) -> Sums:
    """The sums over some rows, of (vectors, numbers, whether they count)."""
    rows, own, known = part
    scores = jnp.einsum("ne,me->nm", rows, pairs.candidates, precision="highest") * pairs.scale
    scores = constrain(scores, "batch candidates")
    scores = scores if pairs.bias is None else scores + pairs.bias
    if pairs.known is not None:
        times = len(pairs.candidates) // len(pairs.rows)
        # so that neither loss counts the candidate: p is 0, and log(1 - p) too
        scores = jnp.where(jnp.tile(pairs.known, times)[None], scores, MASKED)
    losses = jnp.where(known, loss(scores, own), 0.0)
    right = (scores.argmax(1) == own) & known
    return losses.sum(), right.sum().astype(jnp.float32)


def _cut(x: Array, count: int) -> Array:
    """[count, B / count, ...]: each part has rows of every device."""
    parts = jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
    return constrain(parts, " ".join(["chunk", "batch", *["rest"] * (x.ndim - 1)]))
