"""The token-wise phase of a layer: after tokens have communicated, each computes by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Key
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.param import add, contract, param
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
class FeedForwardSpec(OpSpec):
    """The token-wise phase: act(x up) down; gated: (act(x gate) * (x up)) down (Shazeer 2020)."""

    hidden: int
    activation: str = "gelu"
    gated: bool = False
    bias: bool = True
    dropout: float = 0.0  # of the activations

    def build(self, width: int, initial: Initial, source: str | None = None) -> Mlp:
        return Mlp(self, width, initial)

    def flops(self, width, queries, keys, edges) -> OpFlops:
        return OpFlops(2.0 * width * self.hidden * (3 if self.gated else 2) * queries)

    def describe(self) -> str:
        return f"{'gated ' if self.gated else ''}{self.activation}, hidden {self.hidden:,}"


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
        act = activation(self.ffn.activation)
        hidden = add(contract("btd,df->btf", x, self.up), self.up_bias)
        if self.gate is None:
            hidden = act(hidden)
        else:
            hidden = act(add(contract("btd,df->btf", x, self.gate), self.gate_bias)) * hidden
        hidden = constrain(dropout(hidden, self.ffn.dropout, key), "batch length mlp")
        return add(contract("btf,fd->btd", hidden, self.down), self.down_bias)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        return OpResult(self(x, key=key))
