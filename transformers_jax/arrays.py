"""The letters, the array types and the dtypes that every file of the package shares.

One legend, used alike in annotations (``Float[Array, "B T D"]``), in einsum equations (lower case)
and in weight tables:

    B batch     T queries    S keys       D width     H query heads    G key/value heads
    K head width             U value width            F hidden         V vocabulary
    L layers    E experts    C channels   P patch     b  B, or 1 where all rows agree

Axis *names*, by which parameters and activations are sharded, are words: ``layers embed heads
kv_heads kv mlp vocab position type label batch length``.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

__all__ = [
    "MASKED",
    "Array",
    "Bool",
    "Float",
    "Int",
    "Key",
    "Params",
    "UInt32",
    "is_traced",
    "mix",
    "to_dtype",
]

Key = Array  # a jax.random.key
Params = dict[str, Any]  # nested, string keys, arrays as leaves

MASKED = -1e30
"""Score of an absent edge: large and finite, because -inf gives NaN in a row without edges."""


def is_traced(*trees: Any) -> bool:
    """Whether any leaf of the trees is a tracer: are we inside a JAX transformation?"""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A bijection of 32 bits in which every output bit depends on every input bit.

    Two multiply-xorshift rounds (the "lowbias32" constants of C. Wellons' hash prospector). NumPy
    arrays stay such.
    """
    x = x ^ (x >> 16)
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> 15)
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


def to_dtype(name: Any) -> np.dtype:
    """The dtype called `name` ("float32", "bf16", "torch.float16", jnp.bfloat16, ...).

    Raises:
        ValueError: if it is not a floating-point dtype that models can be computed in.
    """
    short = {"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "fp32": "float32"}
    text = name.removeprefix("torch.") if isinstance(name, str) else name
    try:
        dtype = jnp.dtype(short.get(text, text) if isinstance(text, str) else text)
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"dtype {name!r} is not a floating-point type; use 'float32', 'bfloat16' or 'float16'"
        )
    return dtype
