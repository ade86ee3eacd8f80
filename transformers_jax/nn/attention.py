"""Attention: message passing along the edges of a graph whose nodes are tokens.

    out = W_o . attend(W_q x, W_k source, W_v source)        source = x: self-attention

Whether this is an encoder, a decoder or a cross-attention is decided by the edges and by where
keys and values come from, nowhere else. MHA, GQA and MQA differ in the number G alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, Self, get_args

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key
from transformers_jax.graph import FULL, Edges, Mask, Nodes
from transformers_jax.nn.affine import affine
from transformers_jax.nn.attend import attend, attend_with_weights, linear
from transformers_jax.nn.extend import Summaries
from transformers_jax.nn.key_values import KeyValues, apart, side_by_side
from transformers_jax.nn.noise import numbered_key
from transformers_jax.nn.operation import OpResult
from transformers_jax.nn.param import param
from transformers_jax.nn.position import score_module
from transformers_jax.nn.relation import Relation
from transformers_jax.shard import constrain
from transformers_jax.sizes import check_count, check_positive, check_rate

PROJECTIONS = ("query", "key", "value", "out")

Projection = Literal["separate", "shared", "none"]


@dataclass(frozen=True)
class AttentionSpec(spec.OpSpec):
    """One attention: which tokens attend to which (`mask`), with how many heads and what positions.

    Attributes:
        heads, kv, kv_heads, value: H, K, G (default H) and U (default K).
        source: width of what keys and values are computed from, if not the stream.
        scale: multiplies q . k; default 1 / sqrt(K).
        projection: what makes queries and keys of tokens: a matrix for each, one that both share,
            or nothing (`nn.relation`).
        bias: which projections have one, of query, key, value, out; that of a shared one is
            called query.
        relations: masks of further relations. Each has queries, keys and values of its own, and the
            messages of all are added before the output projection (Longformer).
        score: what positions add to the scores, learned by this layer; the result of the stack's
            score is its input. None: the stack's score, if any.
        extend: keys beyond those of the source, computed from it: summaries, or memory.
        norm: normalises queries and keys: each head alike, or as `spec.OfHeads` says.
        softcap: scores become softcap * tanh(scores / softcap).
        sinks: a learned logit per head that takes weight and has no value.
        dropout: of the attention weights.
    """

    heads: int
    kv: int
    kv_heads: int | None = None
    value: int | None = None
    source: int | None = None
    mask: Mask = FULL
    scale: float | None = None
    projection: Projection = "separate"
    rotary: spec.Rotary | None = None
    bias: tuple[str, ...] = ()
    relations: tuple[Mask, ...] = ()
    score: spec.ScoreSpec | None = None
    extend: spec.Summaries | spec.Recurrence | None = None
    norm: spec.Norm | spec.OfHeads | None = None
    softcap: float | None = None
    sinks: bool = False
    dropout: float = 0.0

    def __post_init__(self):
        for name in ("heads", "kv", "kv_heads"):
            if name != "kv_heads" or self.kv_heads is not None:
                check_count(f"AttentionSpec.{name}", getattr(self, name))
        check_rate("dropout of an attention", self.dropout)
        if not isinstance(self.bias, tuple) or set(self.bias) - {*PROJECTIONS}:
            known = ", ".join(map(repr, PROJECTIONS))
            raise ValueError(
                f"bias of an attention is {self.bias!r}; expected a tuple of the projections that "
                f"have one, of {known}"
            )
        if self.softcap is not None:
            check_positive("softcap of an attention", self.softcap)
        if self.rotary is not None:
            self.rotary.check(self.kv)
        if self.heads % self.groups:
            raise ValueError(
                f"heads ({self.heads}) must be a multiple of kv_heads ({self.groups}): "
                "each key/value head serves the same number of query heads"
            )
        self._check_projection()

    def _check_projection(self) -> None:
        """Raises ValueError for a projection that there is not, and for what it leaves out."""
        if self.projection not in get_args(Projection):
            choices = ", ".join(map(repr, get_args(Projection)))
            raise ValueError(f"projection of an attention is {self.projection!r}; not {choices}")
        if self.projection == "separate":
            return
        absent = {"key"} if self.projection == "shared" else {"query", "key"}
        shared = isinstance(self.score, spec.Disentangled) and self.score.shared
        refused = {
            f"bias={self.bias}": absent.intersection(self.bias),
            f"kv_heads={self.kv_heads} of {self.heads} heads": self.groups != self.heads,
            f"source={self.source}": self.source is not None,
            "Disentangled(shared=True)": shared,
        }
        if given := [name for name, there in refused.items() if there]:
            raise ValueError(
                f"projection={self.projection!r}: keys have no projection of their own, which "
                f"{', '.join(given)} needs; leave it out, or projection='separate'"
            )

    @property
    def masks(self) -> tuple[Mask, ...]:  # type: ignore[override]
        """The masks of all relations."""
        return (self.mask, *self.relations)

    def at(self, layer: int) -> Self:
        relations = tuple(mask.at(layer) for mask in self.relations)
        return replace(self, mask=self.mask.at(layer), relations=relations)

    @property
    def groups(self) -> int:  # type: ignore[override]
        """G, the number of key/value heads."""
        return self.kv_heads or self.heads

    def build(self, width: int, initial: spec.Initial, source: str | None = None) -> Attention:
        return Attention(self, width, initial, source)

    def flops(self, width, queries, keys, edges) -> spec.OpFlops:
        values, keys_from = self.value or self.kv, self.source or width
        made = {"none": 0, "shared": max(queries, keys), "separate": queries}[self.projection]
        projected = width * self.heads * self.kv * made
        of_keys = self.kv if self.projection == "separate" else 0
        projected += self.groups * keys_from * (of_keys + values) * keys
        projected *= 1 + len(self.relations)
        dense = 2.0 * (projected + self.heads * values * width * queries)
        attention = 2.0 * self.heads * (self.kv + values) * sum(map(edges, self.masks))
        if isinstance(self.score, spec.Kernel) and all(map(linear.is_order, self.masks)):
            attention = 2.0 * self.kv * values * (self.groups * keys + self.heads * queries)
            attention *= len(self.masks)  # sums of keys, and what queries read of them
        if isinstance(self.score, spec.Disentangled):  # products with the rows of a table
            rows = min(2 * self.score.reach, 2 * queries - 1)
            attention += 2.0 * self.heads * self.kv * len(self.score.terms) * queries * rows
        return spec.OpFlops(dense, attention)

    def describe(self) -> str:
        heads = f"{self.heads} heads of {self.kv}"
        if self.groups != self.heads:
            heads += f" sharing {self.groups} key/value heads"
        more: dict[str, Any] = {"soft cap": self.softcap, "sinks": self.sinks}
        more["queries and keys by one projection"] = self.projection == "shared"
        more["additive scores"] = isinstance(self.score, spec.Additive)
        more["linear"] = isinstance(self.score, spec.Kernel)
        more["tokens as queries and keys"] = self.projection == "none"
        if isinstance(self.extend, spec.Recurrence):
            more[f"memory before segments of {self.extend.size}"] = True
        return ", ".join([heads, *(name for name, value in more.items() if value)])

    collects = frozenset({"weights"})


class AttentionOutput(NamedTuple):
    """The result of an attention: its output, its cache, and its weights if requested."""

    x: Float[Array, "B T D"]
    cache: KeyValues | None
    weights: Float[Array, "B H T S"] | None


class Attention(Relation):
    """Multi-head attention over arbitrary edges (Vaswani et al. 2017, section 3.2).

    Built abstractly; `nn.initialise(Attention(...), key)` draws its parameters.
    """

    def __init__(
        self,
        attention: AttentionSpec,
        width: int,
        initial: spec.Initial | None = None,
        source: str | None = None,
    ):
        initial, a, self.source = initial or spec.Initial(), attention, source
        super().__init__(a, width, initial)
        sizes = {"embed": width, "heads": a.heads, "kv_heads": a.groups, "kv": a.kv}
        of_values = {**sizes, "kv": a.value or a.kv}
        out = initial.draw("out", of_values)
        self.out: Any = param("heads kv embed", of_values, out)
        self.out_bias = param("embed", sizes, spec.ZEROS) if "out" in a.bias else None
        self.relations = nnx.List(Relation(a, width, initial) for _ in a.relations)
        self.score = score_module(a.score, a, width, initial) if a.score else None
        self.extend = Summaries(a.extend, width) if isinstance(a.extend, spec.Summaries) else None
        self.sinks = param("heads", sizes, spec.ZEROS) if a.sinks else None

    def __call__(
        self,
        x: Float[Array, "B T D"],
        edges: Edges,
        *,
        more: tuple[Edges, ...] = (),
        source: Float[Array, "B S E"] | tuple[Array, ...] | None = None,
        nodes: Nodes | None = None,
        rotation: tuple[Array, Array] | None = None,
        score: Any = None,
        cache: KeyValues | None = None,
        prefix: tuple[Array, Array] | None = None,
        key: Key | None = None,
        how: str = "auto",
        with_weights: bool = False,
    ) -> AttentionOutput:
        """Messages along `edges` into the tokens of `x`: project, attend, output.

        Args:
            more: the edges of `spec.relations`.
            source: what keys and values are computed from; None for self-attention.
            nodes: the nodes of the source, from which `spec.extend` makes more keys.
            rotation: that of the tokens of `x` (`nn.position.rotation`).
            score: the stack's `Score`, or the stack's input of this layer's own score.
            cache: keys computed earlier; `edges` must lead from them as well.
            prefix: learned keys and values of virtual tokens.
            with_weights: also return the weights, which forces the reference backend, or, for
                a graph that is a list, that of edges.

        Raises:
            ValueError: a rotation or edges of relations that are missing, or that the spec has not.
        """
        self._check_call(more, rotation)
        own_score = self._score(score, key, nodes)
        tokens = self._keys_from(x if source is None else source, nodes)
        y: Any = None
        weights: Any = None
        for number, (relation, graph) in enumerate(zip((self, *self.relations), (edges, *more))):
            q = relation.queries(x, rotation)
            k, v, cache = relation.keys(tokens, graph, cache, rotation, prefix)
            own_key = numbered_key(key, number) if number else key
            message, own = self.messages(
                q, k, v, graph, score=own_score, key=own_key, how=how, with_weights=with_weights
            )
            y = message if y is None else y + message
            weights = own if weights is None or own is None else weights + own
        return AttentionOutput(self.output(constrain(y, "batch length heads kv")), cache, weights)

    def _check_call(self, more: tuple[Edges, ...], rotation: Any) -> None:
        if len(more) != len(self.relations):
            raise ValueError(
                f"this attention has {len(self.relations)} relations beside its mask, and the "
                f"edges of {len(more)} came (more=)"
            )
        if (rotation is None) != (self.spec.rotary is None):
            which = "needs a" if rotation is None else "has no rotary position, and takes no"
            raise ValueError(f"this attention {which} rotation (nn.position.rotation)")

    def _score(self, score: Any, key: Key | None, nodes: Nodes | None) -> Any:
        """The score of this layer; the stack's, if it has none of its own."""
        own = numbered_key(key, 0)
        return score if self.score is None else self.score(score, self, own, nodes=nodes)

    def _keys_from(self, tokens: Any, nodes: Nodes | None) -> Any:
        """What keys and values are computed from: the tokens, and those that extend them."""
        if self.extend is None:
            return tokens
        assert nodes is not None  # of the tokens that are summarised
        return jnp.concatenate([tokens, self.extend(tokens, nodes)], 1)

    def messages(
        self, q, k, v, edges: Edges, *, score, key, how: str, with_weights: bool, message=None
    ):
        """(output of each head Float[B T H U], the weights Float[B H T S] if requested, else None):
        a hook of families, which may add a `message` to the values of edges."""
        engine: Any = partial(attend_with_weights if with_weights else attend, how=how)
        scale = self.spec.kv**-0.5 if self.spec.scale is None else self.spec.scale
        sinks = None if self.sinks is None else self.sinks[...]
        options = dict(softcap=self.spec.softcap, sinks=sinks, dropout=self.spec.dropout, key=key)
        options |= {} if message is None else {"message": message}
        result = engine(q, k, v, edges, scale=scale, score=score, **options)
        return result if with_weights else (result, None)

    def output(self, y: Float[Array, "B T H U"]) -> Float[Array, "B T D"]:
        """The stream of what the heads give: a hook of families."""
        return affine("bthk,hkd->btd", y, self.out, self.out_bias)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        op, source = self.spec, self.source
        edges, *more = (context.edges[source, mask, op.extend] for mask in op.masks)
        attended = self(
            side_by_side(x, edges.q),
            edges,
            more=tuple(more),
            source=None if source is None else context.sources.get(source),
            nodes=context.nodes,
            rotation=None if op.rotary is None else context.rotations[op.rotary, op.kv],
            score=context.scores.get(source),
            cache=cache,
            prefix=context.prefix if source is None else None,
            key=key,
            how=context.how,
            with_weights="weights" in context.collect,
        )
        y, weights = apart(attended.x, attended.weights, x)
        return OpResult(y, attended.cache, {} if weights is None else {"weights": weights})
