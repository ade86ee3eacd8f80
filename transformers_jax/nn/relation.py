"""Queries, keys and values: what tokens say of themselves to those that attend to them.

    separate   q = W_q x     k = W_k source                (Vaswani et al. 2017, section 3.2)
    shared     q = W x       k = W source                  (Kitaev et al. 2020, Reformer, section 2)
    none       q = x         k = source                    scores are the Gram matrix of the tokens

Values are W_v source in each of them. Norms, rotations, scores, masks and the cache come after it
and are the same.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.lax import stop_gradient

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.graph import Edges
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.virtual import with_prefix
from transformers_jax.nn.key_values import KeyValues
from transformers_jax.nn.norm import head_norm
from transformers_jax.nn.operation import Op
from transformers_jax.nn.param import param
from transformers_jax.nn.position import rotate
from transformers_jax.shard import constrain


class Relation(Op):
    """Queries, keys and values of one relation between tokens; `attention` is the `AttentionSpec`
    of the layer.

    Raises:
        ValueError: tokens that are queries themselves, and whose heads do not fill their width.
    """

    def __init__(self, attention: Any, width: int, initial: spec.Initial):
        self.spec = attention
        a, K = attention, attention.kv
        if a.projection == "none" and a.heads * K != width:
            raise ValueError(
                f"tokens are their own queries and keys (projection='none'), {a.heads} heads of "
                f"{K} of a stream of {width}: heads times kv must be that width, so give kv="
                f"{width} / heads, or a projection ('shared', 'separate')"
            )
        sizes = {"embed": width, "heads": a.heads, "kv_heads": a.groups, "kv": K}
        of_values = {**sizes, "kv": a.value or K}

        def weight(role: str, axes: str, sizes, source: int | None = None):
            return param(axes, {**sizes, "embed": source or width}, initial.draw(role, sizes))

        def bias(role: str, axes: str, sizes):
            return param(axes, sizes, spec.ZEROS) if role in a.bias else None

        projected, own = a.projection != "none", a.projection == "separate"
        self.query: Any = weight("query", "embed heads kv", sizes) if projected else None
        self.key: Any = weight("key", "embed kv_heads kv", sizes, a.source) if own else None
        self.value: Any = weight("value", "embed kv_heads kv", of_values, a.source)
        self.query_bias = bias("query", "heads kv", sizes)
        self.key_bias = bias("key", "kv_heads kv", sizes) if own else None
        self.value_bias = bias("value", "kv_heads kv", of_values)
        self.query_norm = head_norm(a.norm, a.heads, K, "heads")
        self.key_norm = head_norm(a.norm, a.groups, K, "kv_heads")

    def queries(
        self, x: Array, rotation: tuple[Array, Array] | None = None
    ) -> Float[Array, "B T H K"]:
        """Queries of the tokens of `x`, rotated if there is a rotation."""
        q = self._queries_of(x)
        q = q if self.query_norm is None else self.query_norm(q)
        return constrain(self._rotated(q, rotation), "batch length heads kv")

    def project(
        self, source: Array, rotation: tuple[Array, Array] | None = None
    ) -> tuple[Float[Array, "B S G K"], Float[Array, "B S G U"]]:
        """Keys, rotated if there is a rotation, and values of a source."""
        return self.keys_of(source, rotation), self.values_of(source, rotation)

    def keys_of(
        self, source: Array, rotation: tuple[Array, Array] | None = None
    ) -> Float[Array, "B S G K"]:
        """The keys of a source, rotated if there is a rotation."""
        own = self.spec.projection == "separate"
        k = into_heads(source, self.key, self.key_bias) if own else self._queries_of(source)
        k = self._rotated(k if self.key_norm is None else self.key_norm(k), rotation)
        return constrain(k, "batch length kv_heads kv")

    def values_of(
        self, source: Array, rotation: tuple[Array, Array] | None = None
    ) -> Float[Array, "B S G U"]:
        """The values of a source, rotated where the rotation is of values, too."""
        v = into_heads(source, self.value, self.value_bias)
        v = self._rotated(v, rotation) if self.spec.rotary and self.spec.rotary.values else v
        return constrain(v, "batch length kv_heads kv")

    def keys(self, tokens, edges: Edges, cache: KeyValues | None, rotation, prefix: Any = None):
        """(keys, values, cache) of all nodes that `edges` lead from: those of the tokens, behind
        those in the cache; those of a source that is cached are computed once."""
        if cache is not None and cache.kind == "cross":
            return *cache.read(tokens.dtype), cache
        k, v = self.project(tokens, rotation)
        k, v = (k, v) if prefix is None else with_prefix(k, v, prefix, edges.q)
        if cache is None and isinstance(self.spec.extend, spec.Recurrence):
            memory = self.project(stop_gradient(tokens), rotation)
            k, v = (jnp.concatenate(pair, 1) for pair in zip((k, v), memory))
        if cache is None:
            return k, v, None
        k, v, cache = cache.extend(k, v, edges.q)
        return k.astype(tokens.dtype), v.astype(tokens.dtype), cache

    def _queries_of(self, tokens: Array) -> Float[Array, "B T H K"]:
        """The projection of tokens to queries; without one, the tokens themselves in heads."""
        if self.spec.projection == "none":
            return tokens.reshape(*tokens.shape[:2], self.spec.heads, self.spec.kv)
        return into_heads(tokens, self.query, self.query_bias)

    def _rotated(self, x: Array, rotation: tuple[Array, Array] | None) -> Array:
        interleaved = self.spec.rotary is not None and self.spec.rotary.interleaved
        return x if rotation is None else rotate(x, rotation, interleaved)


def into_heads(
    x: Float[Array, "B T D"], weight: nnx.Param, bias: nnx.Param | None
) -> Float[Array, "B T H K"]:
    """The projection of a stream into heads."""
    return affine("btd,dhk->bthk", x, weight, bias)
