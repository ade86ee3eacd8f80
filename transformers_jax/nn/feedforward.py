"""The token-wise phase of a layer: after tokens have communicated, each computes by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Key
from transformers_jax.nn.affine import affine
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.param import param
from transformers_jax.shard import constrain
from transformers_jax.spec import ZEROS, Initial, OpFlops, OpSpec, Sizes

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": partial(jax.nn.gelu, approximate=True),
    "gelu_python_tanh": partial(jax.nn.gelu, approximate=True),
    "gelu_fast": partial(jax.nn.gelu, approximate=True),
    "gelu_accurate": partial(jax.nn.gelu, approximate=True),
    "gelu_python": partial(jax.nn.gelu, approximate=False),
    "gelu_10": lambda x: jnp.clip(jax.nn.gelu(x, approximate=False), -10, 10),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "mish": jax.nn.mish,
    "hardswish": jax.nn.hard_swish,
    "laplace": lambda x: jax.scipy.stats.norm.cdf(x, 0.707107, 0.282095),  # Ma et al. 2022, eq. 16
    "sqrtsoftplus": lambda x: jnp.sqrt(jax.nn.softplus(x)),
    "linear": lambda x: x,
}


def activation(name: str) -> Callable[[Array], Array]:
    """The function that Hugging Face calls `name`.

    Raises:
        ValueError: if there is none; the known ones are listed.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


@dataclass(frozen=True)
class ClampedSwiglu:
    """The gated activation of gpt-oss: gate * sigmoid(alpha * gate) * (up + 1), where gates are at
    most `limit` and the others lie between -limit and limit (OpenAI 2025, the released code)."""

    alpha: float = 1.702
    limit: float = 7.0

    def __call__(self, gate: Array, up: Array) -> Array:
        gate, up = jnp.minimum(gate, self.limit), jnp.clip(up, -self.limit, self.limit)
        return gate * jax.nn.sigmoid(self.alpha * gate) * (up + 1)

    def __str__(self) -> str:
        return "clamped swiglu"


@dataclass(frozen=True)
class FeedForwardSpec(OpSpec):
    """The token-wise phase: act(x up) down; gated: (act(x gate) * (x up)) down (Shazeer 2020), or
    what a `ClampedSwiglu` makes of the two, which has an activation of its own."""

    hidden: int
    activation: str = "gelu"
    gated: bool | ClampedSwiglu = False
    bias: bool = True
    dropout: float = 0.0  # of the activations

    def build(self, width: int, initial: Initial, source: str | None = None) -> Mlp:
        return Mlp(self, width, initial)

    def flops(self, width, queries, keys, edges) -> OpFlops:
        return OpFlops(2.0 * width * self.hidden * (3 if self.gated else 2) * queries)

    def describe(self) -> str:
        own = isinstance(self.gated, ClampedSwiglu)
        act = str(self.gated) if own else f"{'gated ' if self.gated else ''}{self.activation}"
        return f"{act}, hidden {self.hidden:,}"


def hidden_units(ffn: FeedForwardSpec, up: Array, gate: Array | None) -> Array:
    """The hidden units of what enters them, through the gate if there is one."""
    act = activation(ffn.activation)
    if gate is None:
        return act(up)
    return ffn.gated(gate, up) if isinstance(ffn.gated, ClampedSwiglu) else act(gate) * up


class FeedForward(Op):
    """The parameters of a feed-forward network, or of several along the `leading` axis."""

    def __init__(self, ffn: FeedForwardSpec, sizes: Sizes, initial: Initial, leading: str = ""):
        self.ffn = ffn
        activation(ffn.activation)  # refuse an unknown one before any work

        def weight(role: str, axes: str):
            return param(leading + axes, sizes, initial.draw(role, sizes))

        def bias(axis: str):
            return param(leading + axis, sizes, ZEROS) if ffn.bias else None

        self.up, self.up_bias = weight("up", "embed mlp"), bias("mlp")
        self.gate = weight("gate", "embed mlp") if ffn.gated else None
        self.gate_bias = bias("mlp") if ffn.gated else None
        self.down, self.down_bias = weight("down", "mlp embed"), bias("embed")


class Mlp(FeedForward):
    """act(x up) down, or act(x gate) * (x up) down."""

    def __init__(self, ffn: FeedForwardSpec, width: int, initial: Initial):
        super().__init__(ffn, {"embed": width, "mlp": ffn.hidden}, initial)

    def __call__(
        self, x: Float[Array, "B T D"], *, key: Key | None = None
    ) -> Float[Array, "B T D"]:
        hidden, gate = affine("btd,df->btf", x, self.up, self.up_bias), None
        if self.gate is not None:
            gate = affine("btd,df->btf", x, self.gate, self.gate_bias)
        hidden = hidden_units(self.ffn, hidden, gate)
        hidden = constrain(dropout(hidden, self.ffn.dropout, key), "batch length mlp")
        return affine("btf,fd->btd", hidden, self.down, self.down_bias)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        return OpResult(self(x, key=key))
