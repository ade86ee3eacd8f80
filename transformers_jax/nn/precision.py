"""Parameters that are held in float32 in a model of half precision: those that decide."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx


def precise(parameter: nnx.Param) -> nnx.Param:
    """The abstract parameter, marked as one that is held in float32."""
    parameter.set_metadata(precise=True)
    return parameter


def held(parameter: Any, dtype: Any) -> jnp.dtype:
    """The dtype of a parameter in a model of this dtype."""
    wide = getattr(parameter, "precise", False)
    return jnp.promote_types(dtype, "float32") if wide else jnp.dtype(dtype)


def dtypes(module: nnx.Module, dtype: Any) -> dict[str, jnp.dtype]:
    """The dtype of each parameter, by its path, in a model of this dtype without adapters."""
    leaves = nnx.to_flat_state(nnx.state(module))
    return {".".join(map(str, path)): held(leaf, dtype) for path, leaf in leaves}
