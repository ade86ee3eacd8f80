"""Products of activations and weights, in the dtype of the activations or of bfloat16 operands."""

from __future__ import annotations

import jax.numpy as jnp

from transformers_jax.arrays import Array, Float
from transformers_jax.nn.derivative import both_ways


def product(
    equation: str, x: Float[Array, "..."], weight: Array, mixed: bool
) -> Float[Array, "..."]:
    """An einsum of activations and an array, computed in the dtype of the activations, or from
    bfloat16 operands if it is `mixed`."""
    if mixed:
        return mixed_einsum(equation, x, weight).astype(x.dtype)
    return jnp.einsum(equation, x, weight.astype(x.dtype))


def mixed_einsum(
    equation: str, x: Float[Array, "..."], y: Float[Array, "..."]
) -> Float[Array, "..."]:
    """An einsum of two arrays as bfloat16, its result float32; so are its gradients, whose
    cotangent is rounded to bfloat16 as well.

    only `preferred_element_type` would leave the backward products float32 times bfloat16, and
    nothing would be gained: these are two thirds of the work.
    """
    if "..." in equation:
        axes = "zyxwuq"[: x.ndim - len(equation.split(",")[0].replace("...", ""))]
        equation = equation.replace("...", axes)
    operands, out = equation.split("->")
    return _mixed_einsum(*operands.split(","), out, x, y)


def _mixed_forward(first: str, second: str, out: str, x: Array, y: Array) -> Array:
    return _of_halves(f"{first},{second}->{out}", x, y)


def _mixed_tangent(first: str, second: str, out: str, saved, tangents) -> Array:
    (x, y), (of_x, of_y) = saved[0], tangents
    equation = f"{first},{second}->{out}"
    return _of_halves(equation, of_x, y) + _of_halves(equation, x, of_y)


def _mixed_backward(first: str, second: str, out: str, saved, g: Array):
    x, y = saved[0]
    of_x, of_y = f"{out},{second}->{first}", f"{first},{out}->{second}"
    return _of_halves(of_x, g, y).astype(x.dtype), _of_halves(of_y, x, g).astype(y.dtype)


def _of_halves(equation: str, x: Array, y: Array) -> Float[Array, "..."]:
    halves = x.astype(jnp.bfloat16), y.astype(jnp.bfloat16)
    return jnp.einsum(equation, *halves, preferred_element_type=jnp.float32)


_mixed_einsum = both_ways(_mixed_forward, _mixed_tangent, _mixed_backward, static=3, linear=2)
