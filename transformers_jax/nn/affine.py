"""A product with a parameter, and its bias."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

from transformers_jax.arrays import Array, Float
from transformers_jax.nn.param import add, contract
from transformers_jax.nn.product import mixed_einsum


def affine(equation: str, x: Float[Array, "..."], weight: Any, bias: Any) -> Float[Array, "..."]:
    """`contract`, and a bias where there is one. In bfloat16 the sum is rounded once, as it is in
    PyTorch, and not the product before it."""
    if bias is None or x.dtype != jnp.bfloat16 or isinstance(weight, nnx.Module):
        return add(contract(equation, x, weight), bias)
    y = mixed_einsum(equation, x, weight[...])
    return (y + bias[...].astype(y.dtype)).astype(x.dtype)
