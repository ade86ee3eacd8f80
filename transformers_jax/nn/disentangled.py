"""Disentangled attention: content and relative position have score terms of their own.

    score(t, s) = scale * (q_t . k_s + q_t . K[d] + k_s . Q[d])        d = row of the distance t - s

K and Q are projections of one table of relative positions, which all layers share (He et al. 2020,
section 3.1, equations 2 to 4). The first product is attention's own; here are the other two, and
their parameters: `RelativeTable` is the table, `Disentangled` a layer's projections of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, Int, Key, is_symbolic, wide
from transformers_jax.graph import Nodes
from transformers_jax.nn.affine import affine
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param

# ---------------------------------------------------------------- which row a distance reads


def rows_of(reach: int, far: int | None) -> Int[np.ndarray, " n"]:
    """The row of the table that each distance t - s reads, for distances -N ... N.

    Distances beyond N read the first and the last row. Without `far` a row is a distance;
    with it, distances up to reach / 2 have a row each and those up to `far` share the rest in equal
    steps of the logarithm (He et al. 2021, section 2.1, which took it from T5).
    """
    if far is None:
        return np.arange(2 * reach + 1, dtype=np.int32).clip(max=2 * reach - 1)
    half, last = reach // 2, far - 1
    # where the logarithm passes the last row; odd tables end a little behind `far`
    end = half * (last / half) ** ((reach + 1 - half) / max(half - 1, 1))
    distance = np.arange(1, min(math.ceil(end), 2**20) + 2)
    # float32 in the order of the reference: at the edges of buckets the last bit decides
    ratio = np.log(np.maximum(distance, half).astype(np.float32) / np.float32(half))
    steps = np.ceil(ratio / np.log(np.float32(last / half)) * np.float32(half - 1)).astype(int)
    beyond = np.where(distance <= half, distance, half + steps)
    bucket = np.concatenate([-beyond[::-1], [0], beyond])
    return np.clip(bucket + reach, 0, 2 * reach - 1).astype(np.int32)


# ---------------------------------------------------------------- the rule


@dataclass(frozen=True)
class DisentangledRule(ScoreRule):
    """scale * (q_t . K[d] + k_s . Q[d]); `params` may have "key" K and "query" Q, [R H K]."""

    reach: int
    far: int | None
    scale: float

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs):
        if not params:
            return jnp.zeros((1, 1, 1, 1))
        index = qn.tag("index"), kn.tag("index")
        runs = _run(index[0], qn.valid, index[1], kn.valid)
        sizes = q.shape[1], k.shape[1]
        if is_symbolic(*sizes) or sum(sizes) - 1 > 2 * self.reach:
            # more distances than rows, or unknown: products with rows are fewer
            runs = np.False_
        if isinstance(runs, np.bool_):
            return (self._of_run if runs else self._of_any)(params, q, k, *index)
        return jax.lax.cond(runs, self._of_run, self._of_any, params, q, k, *index)

    def rows(self, distance: Int[Array, "*n"]) -> Int[Array, "*n"]:
        """The rows of the table that these distances read."""
        known = rows_of(self.reach, self.far)
        xp: Any = np if isinstance(distance, np.ndarray) else jnp
        far = len(known) // 2
        return xp.take(known, xp.clip(distance, -far, far) + far, axis=0)

    def _of_run(self, params, q, k, of_q, of_k):
        """Consecutive tokens: products with one vector per distance, of which there are t + s - 1,
        then each row shifted. No gather over t x s, and no scatter in the backward pass."""
        t, s = of_q.shape[1], of_k.shape[1]
        distance = of_q[:1, :1] - of_k[:1, :1] + np.arange(1 - s, t)[None]
        read, score = self.rows(distance)[0], 0.0
        if "key" in params:
            rows = jnp.take(params["key"], read[::-1], axis=0)
            score += skewed(_products(q, rows), s)
        if "query" in params:
            rows = jnp.take(params["query"], read, axis=0)
            score += jnp.swapaxes(skewed(_products(k, rows), t), -1, -2)
        return score * self.scale

    def _of_any(self, params, q, k, of_q, of_k):
        """Tokens in any order: products with all rows of the table; each pair reads one of them."""
        read, score = self.rows(of_q[:, :, None] - of_k[:, None, :])[:, None], 0.0
        if "key" in params:
            score += jnp.take_along_axis(_products(q, params["key"]), read, axis=3)
        if "query" in params:
            every = jnp.swapaxes(_products(k, params["query"]), -1, -2)
            score += jnp.take_along_axis(every, read, axis=2)
        return score * self.scale


def _products(x: Float[Array, "b t G K"], rows: Float[Array, "R H K"]) -> Float[Array, "b H t R"]:
    """Each token times each row, in float32; a head of x is used for H / G heads of the rows."""
    groups = rows.reshape(len(rows), x.shape[2], -1, x.shape[3]).astype(x.dtype)
    products = jnp.einsum("btgk,rghk->bghtr", x, groups, preferred_element_type=wide(x))
    return products.reshape(x.shape[0], -1, *products.shape[3:])


def skewed(x: Float[Array, "*b t n"], s: int) -> Float[Array, "*b t s"]:
    """Row i of t, moved left by t - 1 - i, and cut to s = n + 1 - t columns."""
    *lead, t, n = x.shape
    # read in rows that are one shorter, every row begins one column later
    flat = jnp.pad(x, [(0, 0)] * (len(lead) + 1) + [(0, 1)]).reshape(*lead, t * (n + 1))
    return flat[..., t - 1 : t - 1 + t * n].reshape(*lead, t, n)[..., :s]


def _run(of_q, valid_q, of_k, valid_k) -> Bool[Array, ""]:
    """Whether both sides are consecutive tokens, the same in every row; those that are not valid
    may be anything, because nothing reads their scores."""
    runs: Any = np.True_
    for index, valid in ((of_q, valid_q), (of_k, valid_k)):
        numpy = jnp if is_symbolic(index.shape[1]) else np
        follows = index == numpy.arange(index.shape[1])[None] + index[:1, :1]
        if valid is not None and not isinstance(follows, np.ndarray):
            follows = follows | ~valid
        runs = runs & follows.all()
    return runs


# ---------------------------------------------------------------- parameters


class RelativeTable(nnx.Module):
    """The table of relative positions, which all layers of a stack read, and its norm."""

    def __init__(self, table: spec.RelativeTable, width: int, initial: spec.Initial):
        sizes = {"position": table.rows, "embed": width}
        draw = initial.draw("table", sizes)
        self.table = param("position embed", sizes, draw) if table.rows else None
        self.norm = Norm(table.norm, width) if table.norm else None

    def __call__(self, nodes: Nodes | None = None) -> Float[Array, "R D"] | None:
        """One vector per row, or None where there is no table."""
        if self.table is None:
            return None
        return self.table[...] if self.norm is None else self.norm(self.table[...])


class Disentangled(nnx.Module):
    """A layer's projections of the table: to keys, for products with queries (c2p), and to queries,
    for products with keys (p2c). Where they are shared, the attention's own are used."""

    def __init__(
        self,
        score: spec.Disentangled,
        attention: spec.OpSpec,
        width: int,
        initial: spec.Initial,
    ):
        self.spec = score
        scale = attention.kv**-0.5 if attention.scale is None else attention.scale
        self.rule = DisentangledRule(score.reach, score.far, scale)
        sizes = {"embed": width, "heads": attention.heads, "kv": attention.kv}

        owned = () if score.shared else score.terms

        def weight(role: str):
            draw = initial.draw(role, sizes)
            return param("embed heads kv", sizes, draw) if role in owned else None

        def bias(role: str):
            own = role in owned and role in score.bias
            return param("heads kv", sizes, spec.ZEROS) if own else None

        self.key, self.query = weight("key"), weight("query")
        self.key_bias, self.query_bias = bias("key"), bias("query")

    def __call__(
        self,
        table: Float[Array, "R D"],
        content: Any,
        key: Key | None = None,
        nodes: Nodes | None = None,
    ) -> Score | None:
        """The score of a layer; `content` is its attention, whose projections may be shared."""
        if not self.spec.terms:
            return None
        owner = content if self.spec.shared else self
        table = dropout(table, self.spec.dropout, key)
        params = {}
        for role in self.spec.terms:
            weight, bias = getattr(owner, role), getattr(owner, f"{role}_bias")
            params[role] = affine("rd,dhk->rhk", table, weight, bias)
        return Score(self.rule, params)
