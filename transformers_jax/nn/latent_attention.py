"""Multi-head latent attention: keys and values of all heads are computed of one short vector.

    latent_s = norm(W_down x_s)      r_s = rotate(W_r x_s)      one of each a token, for all heads
    key_s[h] = [W_key[h] latent_s, r_s]                         value_s[h] = W_value[h] latent_s

A cache holds latents and rotated keys alone: `rank + turned` numbers a token and layer, however
many heads there are (Liu et al. 2024, DeepSeek-V2, section 2.1). Scores and messages are linear in
the latents, so that W_key may multiply the query and W_value the message instead: then no key is
ever made. The two ways differ by rounding alone, and a call takes that with fewer products.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, is_symbolic
from transformers_jax.graph import FULL, Edges, Mask
from transformers_jax.nn.affine import affine
from transformers_jax.nn.attend import attend, reference
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.param import contract, param
from transformers_jax.nn.position import rotate
from transformers_jax.shard import constrain
from transformers_jax.sizes import check_count, check_rate


@dataclass(frozen=True)
class LatentAttentionSpec(spec.OpSpec):
    """Attention of `heads` heads whose keys and values are computed of latents.

    Attributes:
        heads: H.
        plain, turned: how many numbers of queries and keys are not rotated, and are.
        value: U, how many numbers a value has.
        rank: how many numbers a latent has.
        query_rank: the same of the queries' latent; None: queries are computed of the stream.
        rotary: the rotation of the `turned` numbers.
        norm: of latents.
        scale: multiplies q . k; default 1 / sqrt(plain + turned).
        bias: whether the projections from the stream to latents, and the output, have one.
        dropout: of the attention weights.
    """

    heads: int
    plain: int
    turned: int
    value: int  # type: ignore[assignment]
    rank: int
    rotary: spec.Rotary  # type: ignore[assignment]
    query_rank: int | None = None
    mask: Mask = FULL
    norm: spec.Norm = spec.RMSNorm(1e-6)
    scale: float | None = None
    bias: bool = False
    dropout: float = 0.0

    collects = frozenset({"weights"})

    def __post_init__(self):
        for name in ("heads", "plain", "turned", "value", "rank"):
            check_count(f"LatentAttentionSpec.{name}", getattr(self, name))
        check_rate("dropout of an attention", self.dropout)
        if self.turned % 2:
            raise ValueError(f"a rotation turns pairs: turned ({self.turned}) must be even")

    @property
    def kv(self) -> int:  # type: ignore[override]
        """K, how many numbers queries and keys have."""
        return self.plain + self.turned

    @property
    def groups(self) -> int:  # type: ignore[override]
        """G: each head has keys of its own."""
        return self.heads

    @property
    def rotated(self) -> int:
        return self.turned

    @property
    def cached(self):
        return (1, self.turned), (1, self.rank)

    @property
    def masks(self) -> tuple[Mask, ...]:  # type: ignore[override]
        return (self.mask,)

    def at(self, layer: int) -> Self:
        return replace(self, mask=self.mask.at(layer))

    def build(self, width: int, initial: spec.Initial, source: str | None = None):
        if source is not None:
            raise ValueError(f"latent attention is self-attention, and has no source ({source!r})")
        return LatentAttention(self, width, initial)

    def flops(self, width, queries, keys, edges) -> spec.OpFlops:
        """Those of keys and values that are made of the latents."""
        into = width if self.query_rank is None else self.query_rank
        query = width * (self.query_rank or 0) + into * self.heads * self.kv
        out = self.heads * self.value * width
        made = width * (self.rank + self.turned) + self.rank * self.heads * self.made
        attention = 2.0 * self.heads * (self.kv + self.value) * edges(self.mask)
        return spec.OpFlops(2.0 * ((query + out) * queries + made * keys), attention)

    @property
    def made(self) -> int:
        """How many numbers of a head's key and value are made of a latent."""
        return self.plain + self.value

    def absorbs(self, queries: Any, keys: Any) -> bool:
        """Whether it takes fewer products to attend to latents than to make keys and values of
        them, for so many queries and keys of a row."""
        if is_symbolic(queries, keys):
            return False
        made = keys * self.rank * self.made + queries * keys * (self.kv + self.value)
        into = queries * self.rank * self.made + queries * keys * (self.turned + 2 * self.rank)
        return into < made

    def describe(self) -> str:
        return f"{self.heads} heads of {self.kv}, of latents of {self.rank}"


class LatentAttention(Op):
    """Multi-head latent attention over arbitrary edges (Liu et al. 2024, DeepSeek-V2, 2.1)."""

    def __init__(self, attention: LatentAttentionSpec, width: int, initial: spec.Initial):
        self.spec = a = attention
        sizes = {"embed": width, "heads": a.heads, "kv": a.kv, "latent": a.rank}

        def weight(role: str, axes: str, **changes: int) -> Any:
            own = {**sizes, **changes}
            return param(axes, own, initial.draw(role, own))

        def bias(axis: str, size: int) -> Any:
            return param(axis, {axis: size}, spec.ZEROS) if a.bias else None

        direct, short = a.query_rank is None, a.query_rank or 0
        of_query = {**sizes, "latent": short}
        into = lambda axes: (
            None if direct else param(axes, of_query, initial.draw("query", of_query))
        )
        self.query: Any = weight("query", "embed heads kv") if direct else None
        self.query_down, self.query_up = into("embed latent"), into("latent heads kv")
        self.query_down_bias = None if direct else bias("latent", short)
        self.query_norm = None if direct else Norm(a.norm, short, "latent")
        self.down, self.down_bias = weight("value", "embed latent"), bias("latent", a.rank)
        self.key, self.key_bias = weight("key", "embed kv", kv=a.turned), bias("kv", a.turned)
        self.latent_norm = Norm(a.norm, a.rank, "latent")
        self.up = weight("key", "latent heads kv", kv=a.made)
        self.out, self.out_bias = weight("out", "heads kv embed", kv=a.value), bias("embed", width)

    def queries(
        self, x: Float[Array, "B T D"], rotation: tuple[Array, Array]
    ) -> tuple[Float[Array, "B T H N"], Float[Array, "B T H R"]]:
        """The numbers of queries that are not rotated, and those that are."""
        if self.query_norm is None:
            q = contract("btd,dhk->bthk", x, self.query)
        else:
            latent = affine("btd,dr->btr", x, self.query_down, self.query_down_bias)
            q = contract("btr,rhk->bthk", self.query_norm(latent), self.query_up)
        q = constrain(q, "batch length heads kv")
        plain, turned = jnp.split(q, [self.spec.plain], -1)
        return plain, rotate(turned, rotation, self.spec.rotary.interleaved)

    def latents(
        self, x: Float[Array, "B T D"], rotation: tuple[Array, Array]
    ) -> tuple[Float[Array, "B T 1 R"], Float[Array, "B T 1 r"]]:
        """The rotated key that all heads share, and the latent: what is cached of a token."""
        key = affine("btd,dk->btk", x, self.key, self.key_bias)[:, :, None]
        latent = self.latent_norm(affine("btd,dr->btr", x, self.down, self.down_bias))
        return rotate(key, rotation, self.spec.rotary.interleaved), latent[:, :, None]

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        op = self.spec
        if context.prefix is not None:
            raise ValueError(
                "latent attention has no keys and values of each head to put in front of a row; "
                "PromptTuning has vectors for the layers of such a model"
            )
        edges = context.edges[None, op.mask, None]
        rotation = context.rotations[op.rotary, op.turned]
        turned, latent = self.latents(x, rotation)
        if cache is not None:
            turned, latent, cache = cache.extend(turned, latent, edges.q)
            turned, latent = turned.astype(x.dtype), latent.astype(x.dtype)
        weights = "weights" in context.collect
        engine: Any = reference.attend_with_weights if weights else partial(attend, how=context.how)
        scale = op.kv**-0.5 if op.scale is None else op.scale
        engine = partial(engine, scale=scale, dropout=op.dropout, key=key)
        way = self.absorbed if op.absorbs(x.shape[1], latent.shape[1]) else self.expanded
        result = way(engine, self.queries(x, rotation), turned, latent, edges)
        y, collected = (result[0], {"weights": result[1]}) if weights else (result, {})
        return OpResult(y, cache, collected)

    def expanded(self, engine: Any, query, turned, latent, edges: Edges) -> Any:
        """Every head attends to keys and values of its own, made of the latents."""
        made = contract("bsr,rhk->bshk", latent[:, :, 0], self.up)
        key, value = jnp.split(constrain(made, "batch length heads kv"), [self.spec.plain], -1)
        shared = jnp.broadcast_to(turned, (*key.shape[:-1], self.spec.turned))
        q, k = (jnp.concatenate(parts, -1) for parts in (query, (key, shared)))
        return self._output(engine(q, k, value, edges), lambda y: y)

    def absorbed(self, engine: Any, query, turned, latent, edges: Edges) -> Any:
        """All heads attend to the latents, with queries that W_key has multiplied."""
        up = self.up[...].astype(latent.dtype)
        of_key, of_value = jnp.split(up, [self.spec.plain], -1)
        plain = jnp.einsum("bthk,rhk->bthr", query[0], of_key)
        q, k = (jnp.concatenate(x, -1) for x in ((plain, query[1]), (latent, turned)))
        values = lambda y: jnp.einsum("bthr,rhu->bthu", y, of_value)
        return self._output(engine(q, k, latent, edges), values)

    def _output(self, result: Any, values: Any) -> Any:
        """The stream of what the engine gives: messages, or they and their weights."""
        y, *weights = result if isinstance(result, tuple) else (result,)
        y = affine("bthk,hkd->btd", values(y), self.out, self.out_bias)
        return (y, *weights) if weights else y
