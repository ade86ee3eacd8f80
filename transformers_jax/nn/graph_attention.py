"""Attention of graph networks, as torch_geometric's layers compute it: what heads give stands side
by side, or is averaged, where other attentions project it; what a node is itself may be added.

    TransformerConv  scaled products, and features of edges in keys and values  (Shi et al. 2020)
    GATv2Conv        v . leaky_relu(query + key)                                (Brody et al. 2021)
    GATConv          leaky_relu(a . query + b . key)                       (Velickovic et al. 2017)

Each is `nn.attention.Attention` with another value in the slot of its scores. GAT's score needs one
number of each end of an edge: its queries and keys are one number wide, and its values are what
these are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.nn.affine import affine
from transformers_jax.nn.attend import Message, Score
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.edge_scores import AdditiveRule, EdgeKeyRule, EdgeValueRule
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.noise import dropout, numbered_key
from transformers_jax.nn.param import add, param
from transformers_jax.nn.relation import into_heads
from transformers_jax.sizes import check_count

ENTERING = 2**31 - 1
"""What the key of a layer has folded in for the dropout of what enters it."""


@dataclass(frozen=True)
class GraphAttentionSpec(AttentionSpec):
    """TransformerConv: scaled products along the edges of a list.

    Attributes:
        entering: the width of the tokens, which layers change; the stream's is not read.
        concat: whether heads stand side by side; else they are averaged.
        features: (the name of the features of edges, how many numbers they are); None: none.
        root: what is made of the node itself: nothing, a projection that is "added", or one that is
            "gated" with the messages (Shi et al. 2020, equation 5).
        root_read: whether it is; else files hold it, and nothing reads it.
        activation: of the result.
        entering_dropout: of the tokens.
    """

    entering: int = 0
    concat: bool = True
    features: tuple[str, int] | None = None
    root: Literal["none", "added", "gated"] = "none"
    root_bias: bool = False
    root_read: bool = True
    activation: str | None = None
    entering_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_count("GraphAttentionSpec.entering", self.entering)
        if self.activation is not None:
            activation(self.activation)  # refuse an unknown one before any work

    @property
    def leaving(self) -> int:
        """The width of what it gives."""
        return (self.heads if self.concat else 1) * (self.value or self.kv)

    def build(self, width, initial, source=None) -> GraphAttention:
        return GraphAttention(self, initial)

    def flops(self, width, queries, keys, edges):
        counted = super().flops(self.entering, queries, keys, edges)
        of_out = 2.0 * self.heads * (self.value or self.kv) * self.entering * queries
        root = 0.0 if self.root == "none" else 2.0 * self.entering * self.leaving * queries
        return counted._replace(projections=counted.projections - of_out + root)

    def describe(self) -> str:
        joined = "side by side" if self.concat else "averaged"
        return f"{super().describe()}, {joined}, {self.entering} to {self.leaving}"


def weight_of(a: GraphAttentionSpec, initial: spec.Initial, role: str, axes: str) -> nnx.Param:
    """A parameter of a layer."""
    sizes = {"embed": a.entering, "heads": a.heads, "kv": a.kv, "inner": a.leaving, "parts": 3}
    sizes |= {} if a.features is None else {"features": a.features[1]}
    named = {name: sizes[name] for name in axes.split()}
    return param(axes, sizes, initial.draw(role, {"embed": a.entering, **named}))


class GraphAttention(Attention):
    """See `GraphAttentionSpec`."""

    spec: GraphAttentionSpec

    def __init__(self, attention: GraphAttentionSpec, initial: spec.Initial):
        a = attention
        super().__init__(a, a.entering, initial)
        self.out = None  # the bias is of what stands side by side
        bias = lambda there: param("inner", {"inner": a.leaving}, spec.ZEROS) if there else None
        self.out_bias, rooted = bias("out" in a.bias), a.root != "none"
        self.skip: Any = weight_of(a, initial, "skip", "embed inner") if rooted else None
        self.skip_bias = bias(rooted and a.root_bias)
        gates = a.root == "gated"
        self.gate: Any = weight_of(a, initial, "gate", "parts inner") if gates else None
        has = a.features is not None
        self.edge: Any = weight_of(a, initial, "edge", "features heads kv") if has else None

    def messages(self, q, k, v, edges, *, score, **options):
        features = self.spec.features
        if features is not None:
            (name, _), params = features, {"edges": self.edge[...]}
            score = Score(EdgeKeyRule(name, self.spec.kv**-0.5), params)
            options["message"] = Message(EdgeValueRule(name), params)
        return super().messages(q, k, v, edges, score=score, **options)

    def output(self, y: Float[Array, "B T H U"]) -> Float[Array, "B T E"]:
        joined = y.reshape(*y.shape[:2], -1) if self.spec.concat else y.mean(2)
        return add(joined, self.out_bias)

    def apply(self, x, context, *, cache=None, key=None):
        a = self.spec
        if key is not None:
            x = dropout(x, a.entering_dropout, numbered_key(key, ENTERING))
        result = super().apply(x, context, cache=cache, key=key)
        y = result.delta
        if self.skip is not None and a.root_read:
            own = affine("btd,de->bte", x, self.skip, self.skip_bias)
            y = y + own if self.gate is None else self._gated(y, own)
        return result._replace(delta=y if a.activation is None else activation(a.activation)(y))

    def _gated(self, y: Float[Array, "B T E"], own: Float[Array, "B T E"]) -> Float[Array, "B T E"]:
        """As much of the node itself as a number says that is computed of both."""
        parts = jnp.stack([y, own, y - own], 2)
        gate = jax.nn.sigmoid(jnp.einsum("btpe,pe->bt", parts, self.gate[...].astype(y.dtype)))
        return gate[..., None] * own + (1 - gate[..., None]) * y


@dataclass(frozen=True)
class GatSpec(GraphAttentionSpec):
    """GATConv, whose scores are sums of a number of each end of an edge; or GATv2Conv (`dynamic`),
    whose scores are computed of sums of vectors: which key is the best depends on the query.

    Attributes:
        leak: the rectifier multiplies what is below 0 by it.
    """

    leak: float = 0.2
    dynamic: bool = False

    def build(self, width, initial, source=None):
        return (DynamicGat if self.dynamic else Gat)(self, initial)

    @property
    def additive(self) -> spec.Additive:
        """The rule of its scores."""
        return spec.Additive(self.leak, self.features)


class Gat(GraphAttention):
    """See `GatSpec`: one matrix makes the values; queries and keys are a number of each."""

    spec: GatSpec

    def __init__(self, attention: GatSpec, initial: spec.Initial):
        super().__init__(attention, initial)
        self.query = self.key = None
        self.target = weight_of(attention, initial, "score", "heads kv")
        self.source_end = weight_of(attention, initial, "score", "heads kv")
        vector = None if self.edge is None else weight_of(attention, initial, "score", "heads kv")
        self.edge_end: Any = vector

    def queries(self, x, rotation=None):
        return self._scored(self.values_of(x), self.target)

    def project(self, source, rotation=None):
        values = self.values_of(source)
        return self._scored(values, self.source_end), values

    def _scored(self, values: Array, vector: Any) -> Float[Array, "B T H 1"]:
        return jnp.einsum("bthk,hk->bth", values, vector[...].astype(values.dtype))[..., None]

    def messages(self, q, k, v, edges, *, score, **options):
        params = {}
        if self.edge is not None:
            weight = jnp.einsum("fhk,hk->fh", self.edge[...], self.edge_end[...])
            params["edges"] = weight[..., None]
        score = Score(AdditiveRule(self.spec.additive), params)
        return Attention.messages(self, q, k, v, edges, score=score, **options)


class DynamicGat(GraphAttention):
    """See `GatSpec`: keys are values."""

    spec: GatSpec

    def __init__(self, attention: GatSpec, initial: spec.Initial):
        super().__init__(attention, initial)
        self.value = self.value_bias = None
        self.vector = weight_of(attention, initial, "score", "heads kv")

    def project(self, source, rotation=None):
        keys = into_heads(source, self.key, self.key_bias)
        return keys, keys

    def messages(self, q, k, v, edges, *, score, **options):
        params = {"vector": self.vector[...]}
        params |= {} if self.edge is None else {"edges": self.edge[...]}
        score = Score(AdditiveRule(self.spec.additive), params)
        return Attention.messages(self, q, k, v, edges, score=score, **options)


class InitialGlorot(spec.Initial):
    """Uniform within sqrt(6 / (numbers in + numbers out)) (Glorot and Bengio 2010), as graph
    networks are drawn."""

    def draw(self, role: str, sizes: spec.Sizes) -> spec.Draw:
        if role == "score":
            fans = sizes["heads"] + sizes["kv"]
        else:
            fans = sizes.get("features", sizes["embed"])
            fans += sizes.get("inner", sizes.get("heads", 1) * sizes.get("kv", 1))
        return spec.Draw("uniform", (6.0 / fans) ** 0.5)
