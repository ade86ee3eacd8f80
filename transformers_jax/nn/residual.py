"""How the result of a branch joins the stream: added, gated, scaled, or modulated by a condition.

A residual is a value of a branch (`spec.Branch.residual`): a frozen record that builds its module.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.nn.affine import affine
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.param import param

GATES = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "identity": lambda g: g}
PARTS = 3  # that a condition decides: shift, scale and gate


@dataclass(frozen=True)
class Gate(spec.ResidualSpec):
    """x + act(g) y, with a learned number g that begins at zero: a pretrained model is unchanged at
    first (Alayrac et al. 2022, Flamingo, section 2.2).

    Attributes:
        channels: whether there is a number for each channel.
        begins: what g is drawn from.
    """

    activation: Literal["tanh", "sigmoid", "identity"] = "tanh"
    channels: bool = False
    begins: spec.Draw = spec.ZEROS

    def __post_init__(self):
        if self.activation not in GATES:
            known = ", ".join(map(repr, GATES))
            raise ValueError(f"the activation of a gate is {self.activation!r}; not {known}")

    def build(self, width, initial):
        return Gated(self, width)


@dataclass(frozen=True)
class LayerScale(spec.ResidualSpec):
    """x + s y, with a learned number for each channel that begins at `value` (Touvron et al. 2021,
    CaiT, section 2)."""

    value: float

    def __post_init__(self):
        if not isinstance(self.value, Real):
            raise ValueError(
                f"the value of LayerScale is {self.value!r}; expected the number with which every "
                "channel begins"
            )

    def build(self, width, initial):
        return Scaled(self, width)


@dataclass(frozen=True)
class Factor(spec.ResidualSpec):
    """x + value y, with a number that is not learned (Granite; Yang et al. 2022, muP)."""

    value: float

    def build(self, width, initial):
        return Multiplied(self)


@dataclass(frozen=True)
class Modulate(spec.ResidualSpec):
    """x + g op((1 + s) norm(x) + b), where shift b, scale s and gate g are linear in act(condition)
    and begin at zero (Peebles and Xie 2022, DiT, section 3.2, "adaLN-Zero").

    Attributes:
        condition: E, the width of what the stack is conditioned on.
    """

    condition: int
    activation: str = "silu"

    def build(self, width, initial):
        return Modulated(self, width)

    def flops(self, width):
        return 2.0 * self.condition * PARTS * width


@dataclass(frozen=True)
class Instead(spec.ResidualSpec):
    """y in place of x, which it need not be as wide as: layers without a residual connection, such
    as those of GAT (Velickovic et al. 2017, section 3.3)."""

    def build(self, width, initial):
        return Replaced()


class Residual(nnx.Module):
    """x + y; what else a residual does is a subclass."""

    def enter(self, x: Float[Array, "B T D"], context: Any) -> Float[Array, "B T D"]:
        """The input of the operation, from the (normalised) stream."""
        return x

    def __call__(
        self, x: Float[Array, "B T D"], y: Float[Array, "B T D"], context: Any
    ) -> Float[Array, "B T D"]:
        """The stream with the result of the operation."""
        return x + y


class Gated(Residual):
    """See `Gate`."""

    def __init__(self, gate: Gate, width: int):
        self.spec = gate
        self.gate = param("embed" if gate.channels else "", {"embed": width}, gate.begins)

    def __call__(self, x, y, context):
        return x + GATES[self.spec.activation](self.gate[...]).astype(y.dtype) * y


class Multiplied(Residual):
    """See `Factor`."""

    def __init__(self, factor: Factor):
        self.spec = factor

    def __call__(self, x, y, context):
        return x + y * self.spec.value


class Replaced(Residual):
    """See `Instead`."""

    def __call__(self, x, y, context):
        return y


class Scaled(Residual):
    """See `LayerScale`."""

    def __init__(self, scale: LayerScale, width: int):
        self.scale = param("embed", {"embed": width}, spec.Draw("constant", scale.value))

    def __call__(self, x, y, context):
        return x + self.scale[...].astype(y.dtype) * y


class Modulated(Residual):
    """See `Modulate`."""

    def __init__(self, modulate: Modulate, width: int):
        self.spec = modulate
        sizes = {"condition": modulate.condition, "parts": PARTS, "embed": width}
        self.weight = param("condition parts embed", sizes, spec.ZEROS)
        self.bias = param("parts embed", sizes, spec.ZEROS)

    def _parts(self, context: Any) -> Float[Array, "3 B 1 D"]:
        """Shift, scale and gate of each row."""
        condition = activation(self.spec.activation)(context.condition)
        parts = affine("be,epd->bpd", condition, self.weight, self.bias)
        return jnp.moveaxis(parts, 1, 0)[:, :, None]

    def enter(self, x, context):
        shift, scale, _ = self._parts(context)
        return x * (1 + scale) + shift

    def __call__(self, x, y, context):
        return x + self._parts(context)[2] * y
