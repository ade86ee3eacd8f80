"""Attention, the module: message passing along the edges of a graph whose nodes are tokens.

    out = W_o . attend(W_q x, W_k source, W_v source)        source = x: self-attention

Whether this is an encoder, a decoder or a cross-attention is decided by the edges and by where
keys and values come from, nowhere else. MHA, GQA and MQA differ in the number G alone.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key
from transformers_jax.graph import Edges
from transformers_jax.nn.attend import Score, attend, reference
from transformers_jax.nn.cache import KeyValues
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import add, contract, param
from transformers_jax.nn.position import rotate
from transformers_jax.shard import constrain


class Attended(NamedTuple):
    """What an attention gives back: the new stream, its memory, and its weights if asked for."""

    x: Float[Array, "B T D"]
    cache: KeyValues | None
    weights: Float[Array, "B H T S"] | None


class Attention(nnx.Module):
    """Multi-head attention over arbitrary edges (Vaswani et al. 2017, section 3.2).

    Built abstractly; `nn.initialise(Attention(...), key)` draws its parameters.
    """

    def __init__(
        self, attention: spec.AttentionSpec, width: int, initial: spec.Initial | None = None
    ):
        self.spec = attention
        initial = initial or spec.Initial()
        a, K = attention, attention.kv
        sizes = {"embed": width, "heads": a.heads, "kv_heads": a.groups, "kv": K}
        of_values = {**sizes, "kv": a.value or K}

        def weight(role: str, axes: str, sizes, source: int | None = None):
            return param(axes, {**sizes, "embed": source or width}, initial.draw(role, sizes))

        def bias(role: str, axes: str, sizes):
            return param(axes, sizes, spec.ZEROS) if role in a.bias else None

        self.query = weight("query", "embed heads kv", sizes)
        self.key = weight("key", "embed kv_heads kv", sizes, a.source)
        self.value = weight("value", "embed kv_heads kv", of_values, a.value_source or a.source)
        self.out = param("heads kv embed", of_values, initial.draw("out", of_values))
        self.query_bias = bias("query", "heads kv", sizes)
        self.key_bias = bias("key", "kv_heads kv", sizes)
        self.value_bias = bias("value", "kv_heads kv", of_values)
        self.out_bias = bias("out", "embed", sizes)
        self.query_norm = Norm(a.norm, K, "kv") if a.norm else None
        self.key_norm = Norm(a.norm, K, "kv") if a.norm else None
        self.sinks = param("heads", sizes, spec.ZEROS) if a.sinks else None
        learned = "learned" in a.extra
        self.extra_key = param("kv_heads kv", sizes, spec.Draw("normal", 1.0)) if learned else None
        self.extra_value = (
            param("kv_heads kv", of_values, spec.Draw("normal", 1.0)) if learned else None
        )

    def __call__(
        self,
        x: Float[Array, "B T D"],
        edges: Edges,
        *,
        source: Float[Array, "B S E"] | None = None,
        value_source: Float[Array, "B S E"] | None = None,
        turn: tuple[Array, Array] | None = None,
        score: Score | None = None,
        cache: KeyValues | None = None,
        key: Key | None = None,
        how: str = "auto",
        with_weights: bool = False,
    ) -> Attended:
        """Messages along `edges` into the tokens of `x`.

        Args:
            source: what keys are computed from (and values, unless `value_source` is given);
                None for self-attention.
            turn: the rotation of the tokens of `x` (`nn.position.rotation`).
            cache: keys computed earlier; `edges` must lead from them as well.
            with_weights: also return the weights, which forces the reference backend.
        """
        q = add(contract("btd,dhk->bthk", x, self.query), self.query_bias)
        q = q if self.query_norm is None else self.query_norm(q)
        q = constrain(q if turn is None else rotate(q, turn), "batch length heads kv")
        if cache is not None and cache.kind == "cross":
            k, v = cache.key, cache.value
        else:
            k, v = self.project(x if source is None else source, value_source, turn)
            if cache is not None:
                k, v, cache = cache.extend(k, v, edges.q.tag("index")[0, 0])
                k, v = k.astype(x.dtype), v.astype(x.dtype)
        k, v = self._append(k, v)
        scale = self.spec.kv**-0.5 if self.spec.scale is None else self.spec.scale
        options = dict(scale=scale, score=score, softcap=self.spec.softcap, key=key)
        options |= dict(
            dropout=self.spec.dropout, sinks=None if self.sinks is None else self.sinks[...]
        )
        if with_weights:
            y, weights = reference.attend_with_weights(q, k, v, edges, **options)
        else:
            y, weights = attend(q, k, v, edges, how=how, **options), None
        y = constrain(y, "batch length heads kv")
        return Attended(add(contract("bthk,hkd->btd", y, self.out), self.out_bias), cache, weights)

    def project(
        self,
        source: Array,
        value_source: Array | None = None,
        turn: tuple[Array, Array] | None = None,
    ) -> tuple[Float[Array, "B S G K"], Float[Array, "B S G U"]]:
        """Keys (turned, if a rotation is given) and values of a source."""
        values_from = source if value_source is None else value_source
        k = add(contract("bsd,dgk->bsgk", source, self.key), self.key_bias)
        v = add(contract("bsd,dgk->bsgk", values_from, self.value), self.value_bias)
        k = k if self.key_norm is None else self.key_norm(k)
        k = k if turn is None else rotate(k, turn)
        return constrain(k, "batch length kv_heads kv"), constrain(v, "batch length kv_heads kv")

    def _append(self, k: Array, v: Array) -> tuple[Array, Array]:
        """The keys and values of `spec.extra`, behind those of the source."""
        for kind in self.spec.extra:
            if kind == "learned":
                more = self.extra_key[...], self.extra_value[...]
            else:
                more = jnp.zeros(k.shape[2:]), jnp.zeros(v.shape[2:])
            k, v = (
                jnp.concatenate(
                    [old, jnp.broadcast_to(new.astype(old.dtype), (old.shape[0], 1, *new.shape))], 1
                )
                for old, new in zip((k, v), more)
            )
        return k, v
