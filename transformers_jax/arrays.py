"""The letters, the array types and the dtypes that every file of the package shares.

One legend, used alike in annotations (``Float[Array, "B T D"]``), in einsum equations (lower case)
and in weight tables:

    B batch     T queries    S keys       D width     H query heads    G key/value heads
    K head width             U value width            F hidden         V vocabulary
    L layers    E experts    C channels   P patch     b  B, or 1 where all rows agree

Axis *names*, by which parameters and activations are sharded, are names: ``layers embed heads
kv_heads kv mlp vocab position type label batch length``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array as Array
from jaxtyping import Bool as Bool
from jaxtyping import Float as Float
from jaxtyping import Int as Int
from jaxtyping import UInt32 as UInt32

Key = Array  # a jax.random.key
Params = dict[str, Any]  # nested, string keys, arrays as leaves

MASKED = -1e30
"""Score of an absent edge: large and finite, because -inf gives NaN in a row without edges."""


def is_traced(*trees: Any) -> bool:
    """Whether any leaf of the trees is a tracer: are we inside a JAX transformation?"""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def is_symbolic(*sizes: Any) -> bool:
    """Whether any of these lengths is a variable of `jax.export`: it has no value yet."""
    return not all(isinstance(size, (int, np.integer)) for size in sizes)


def check_counted(length: Any) -> None:
    """Raises ValueError for a length without a value, where rows are cut into blocks."""
    if is_symbolic(length):
        raise ValueError(
            f"a length of {length}: this model cuts its rows into blocks, which must be counted; "
            "export it once for each length (the batch may be symbolic)"
        )


@contextlib.contextmanager
def ordinary() -> Iterator[None]:
    """JAX's usual rules for ranks and dtypes, by which this package is written.

    `jax_numpy_rank_promotion="raise"` and `jax_numpy_dtype_promotion="strict"` are for the code of
    those who set them; where they are not set, nothing changes.
    """
    with contextlib.ExitStack() as stack:
        for name, usual in (("rank", "allow"), ("dtype", "standard")):
            if str(getattr(jax.config, f"jax_numpy_{name}_promotion")) != usual:
                stack.enter_context(getattr(jax, f"numpy_{name}_promotion")(usual))
        yield


def wide(*arrays: Any) -> np.dtype:
    """The dtype in which softmax, norms and losses of these arrays are computed: float32, or
    float64 where they are float64 themselves."""
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def capped(x: Any, softcap: float | None) -> Any:
    """softcap * tanh(x / softcap), or x: scores and logits within +-softcap."""
    return x if softcap is None else softcap * jnp.tanh(x / softcap)


def check_key(value: Any, name: str = "key") -> None:
    """Noise and first weights are drawn from one key, not from a number or an array of keys.

    Raises:
        ValueError: anything but one `jax.random.key` (or `PRNGKey`, which is its raw numbers).
    """
    if isinstance(value, int):
        raise ValueError(f"{name}={value}: expected a key; give {name}=jax.random.key({value})")
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    is_raw = dtype == np.uint32 and shape is not None and len(shape) == 1 and shape[0] in (2, 4)
    if not is_raw and (dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key) or shape):
        came = f"{value!r:.60}" if dtype is None else f"{dtype}{list(shape or ())}"
        raise ValueError(f"{name} is {came}; expected one key, such as jax.random.key(0)")


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
    if dtype.itemsize == 8 and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"dtype {name!r}: JAX computes with 32 bits by default; use 'float32', or "
            "jax.config.update('jax_enable_x64', True) before anything else"
        )
    return dtype


def top_k(x: Array, count: int) -> tuple[Array, Array]:
    """`jax.lax.top_k`, of which a part may be read: for a slice of its result XLA sorts whole rows
    on a CPU, a hundred times as long for 50 of 50,000 numbers."""
    best, index = jax.lax.top_k(x, count)
    # One barrier each: XLA aborts on one around both, within a shard_map.
    return jax.lax.optimization_barrier(best), jax.lax.optimization_barrier(index)
