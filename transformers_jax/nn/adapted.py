"""What stands in the place of an adapted parameter: the parameter itself, and what an adapter adds.

`nn.param.contract` applies it to activations, so that no gradient of the whole weight is ever made;
read as `weight[...]` it is the merged weight, for tables, grouped products and convolutions. The
parameter keeps its path: what is added to `stack.norm.scale` is called `stack.norm.scale_adapter`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax.arrays import Array, Float, wide
from transformers_jax.nn.param import contract, part, product

Positions = tuple[int, ...]
"""Axes of a parameter, counted from the last (-1): a leading `layers` may be there or not."""


class Adapted(nnx.Module):
    """A parameter and what an adapter adds to it.

    Attributes:
        base: the parameter.
        scale: how strongly the adapter counts, per layer (and expert); where it is 0, what is read
            is the parameter itself. It is not learned.
        inputs: the axes of the parameter along which activations are summed over.
        outputs: its other axes, without layers and experts.
    """

    def __init__(self, base: nnx.Param, inputs: Positions, outputs: Positions):
        self.inputs, self.outputs = inputs, outputs
        self.mixed = bool(getattr(base, "mixed", False))
        lead = self._lead(base)
        self.base = base
        base.set_metadata(adapted="base")
        self.scale = part(base, lead, base.get_value().shape[: len(lead)], 1.0, frozen=True)

    def merged(self) -> Array:
        """The parameter with what is added to it, in its dtype."""
        raise NotImplementedError

    def contract(self, equation: str, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """`nn.param.contract` of the merged parameter."""
        return product(equation, x, self.merged(), self.mixed)

    def __getitem__(self, index: Any) -> Array:
        return self.merged()[index]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the parameter."""
        return self.base[...].shape

    def _lead(self, base: nnx.Param) -> tuple[str, ...]:
        """The names of the axes in front: layers, experts."""
        return base.axes[: len(base.axes) - len(self.inputs) - len(self.outputs)]

    def _sides(self, equation: str) -> tuple[str, str, str, str, str] | None:
        """(letters of x, of the result, of the parameter, of those its inputs, and its outputs);
        None for an equation that sums over other axes than `inputs`."""
        operands, out = equation.split("->")
        x, weight = operands.split(",")
        letter = lambda axes: "".join(weight[axis] for axis in axes)
        if len(weight) != len(self.inputs) + len(self.outputs):
            return None
        inputs, outputs = letter(self.inputs), letter(self.outputs)
        summed = all(c in x and c not in out for c in inputs)
        if not summed or any(c in x or c not in out for c in outputs):
            return None
        return x, out, weight, inputs, outputs

    def _along(self, value: Array) -> Array:
        """A value per layer (and expert), to be multiplied with the parameter."""
        return value.reshape(*value.shape, *[1] * (self.base[...].ndim - value.ndim))

    def _spread(self, vector: Array, axes: Positions) -> Array:
        """A value per layer and along these axes, to be multiplied with the parameter."""
        shape = self.base[...].shape
        lead = len(shape) - len(self.inputs) - len(self.outputs)
        own = [shape[axis] if axis in axes else 1 for axis in range(lead - len(shape), 0)]
        return vector.reshape(*shape[:lead], *own)


def without_adapter(weight: Any) -> Any:
    """The parameter itself, of what may stand in its place."""
    return weight.base if isinstance(weight, Adapted) else weight


class LowRank(Adapted):
    """base + scale * a b, of rank r (Hu et al. 2022, LoRA, section 4.1), and with a `magnitude`
    (Liu et al. 2024, DoRA, equation 5) that times its direction, a unit vector for each output.

    `a` has the axes of the inputs and `rank`, `b` has `rank` and the axes of the outputs. The norm
    that divides has no gradient (DoRA, section 4.3). Factors whose rank is larger than a layer's
    own hold zeros there, and keep them: the gradient of either is a multiple of the other.

    Args:
        first: the factor `a` of another part of the same matrix, which this one shares.
        table: rows are looked up: `a` begins at 0 and `b` is drawn, as in PEFT.
    """

    def __init__(
        self,
        base: nnx.Param,
        inputs: Positions,
        outputs: Positions,
        rank: int,
        *,
        magnitude: bool = False,
        table: bool = False,
        first: nnx.Param | None = None,
    ):
        super().__init__(base, inputs, outputs)
        names, shape = base.axes, base.get_value().shape
        lead = self._lead(base)
        of = lambda axes: tuple((names[axis], shape[axis]) for axis in axes)
        front = tuple(zip(lead, shape))
        bound = 1 / math.sqrt(math.prod(length for _, length in of(inputs)))

        def factor(axes: tuple[tuple[str, int], ...], draw: float, kind: Any) -> nnx.Param:
            names, lengths = zip(*axes)
            return part(base, names, lengths, draw, kind)

        drawn = (0.0, "constant") if table else (bound, "uniform")
        first_axes = (*front, *of(inputs), ("rank", rank))
        self.a = factor(first_axes, *drawn) if first is None else first
        second = (1.0, "normal") if table else (0.0, "constant")
        self.b = factor((*front, ("rank", rank), *of(outputs)), *second)
        self.magnitude = factor((*front, *of(outputs)), 1.0, "constant") if magnitude else None

    def contract(self, equation, x):
        if (sides := self._sides(equation)) is None:
            return super().contract(equation, x)
        of_x, out, _, inputs, outputs = sides
        middle = "".join(c for c in of_x if c not in inputs) + "R"
        y = contract(f"{of_x},{inputs}R->{middle}", x, self.a)
        y = contract(f"{middle},R{outputs}->{out}", y, self.b)
        y = contract(equation, x, self.base) + self.scale[...].astype(y.dtype) * y
        if self.magnitude is None:
            return y
        return jnp.einsum(f"{out},{outputs}->{out}", y, self._gain().astype(y.dtype))

    def merged(self):
        base, total = self.base[...], self._sum()
        if self.magnitude is not None:
            total = total * self._spread(self._gain(), self.outputs)
        return total.astype(base.dtype)

    def norms(self) -> Array:
        """The norm of the direction, for each output: an adapter begins with this magnitude."""
        total = jax.lax.stop_gradient(self._sum())
        axes = tuple(axis % total.ndim for axis in self.inputs)
        return jnp.sqrt(jnp.square(total).sum(axes))

    def _sum(self) -> Array:
        """base + scale * a b, in float32 or wider."""
        base = self.base[...]
        letters = "abcdefghijkl"[: base.ndim]
        lead = letters[: base.ndim - len(self.inputs) - len(self.outputs)]
        first = "".join(letters[axis] for axis in self.inputs)
        last = "".join(letters[axis] for axis in self.outputs)
        equation = f"{lead}{first}R,{lead}R{last}->{letters}"
        a, b = (x[...].astype(wide(x[...])) for x in (self.a, self.b))
        scale = self._along(self.scale[...])
        return base.astype(a.dtype) + scale.astype(a.dtype) * jnp.einsum(equation, a, b)

    def _gain(self) -> Array:
        """magnitude / norm for each output, and 1 where the adapter has no part."""
        assert self.magnitude is not None
        magnitude, scale = self.magnitude[...], self.scale[...]
        on = scale.reshape(*scale.shape, *[1] * (magnitude.ndim - scale.ndim)) != 0
        return jnp.where(on, magnitude / jnp.where(on, self.norms(), 1.0), 1.0)


class Scaled(Adapted):
    """A parameter times a learned vector along some of its axes (Liu et al. 2022, (IA)^3, section
    3.3): along its outputs, as its bias then is too, or along its inputs.

    Args:
        axes: those along which it is scaled: all of `inputs`, or all of `outputs`.
        vector: that of the weight whose bias this is, which is shared.
    """

    def __init__(
        self,
        base: nnx.Param,
        inputs: Positions,
        outputs: Positions,
        axes: Positions,
        vector: nnx.Param | None = None,
    ):
        super().__init__(base, inputs, outputs)
        lead, shape = self._lead(base), base.get_value().shape
        self.axes = axes
        names = (*lead, *(base.axes[axis] for axis in axes))
        lengths = (*shape[: len(lead)], *(shape[axis] for axis in axes))
        self.vector = part(base, names, lengths, 1.0) if vector is None else vector

    def contract(self, equation, x):
        if (sides := self._sides(equation)) is None:
            return super().contract(equation, x)
        of_x, out, _, inputs, outputs = sides
        vector = self._vector().astype(x.dtype)
        if self.axes == self.inputs:
            return contract(equation, jnp.einsum(f"{of_x},{inputs}->{of_x}", x, vector), self.base)
        return jnp.einsum(f"{out},{outputs}->{out}", contract(equation, x, self.base), vector)

    def merged(self):
        base = self.base[...]
        return (base * self._spread(self._vector(), self.axes)).astype(base.dtype)

    def _vector(self) -> Array:
        """The vector, and ones where the adapter has no part."""
        vector, scale = self.vector[...], self.scale[...]
        on = scale.reshape(*scale.shape, *[1] * (vector.ndim - scale.ndim)) != 0
        return jnp.where(on, vector, 1.0)
