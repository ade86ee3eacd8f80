"""The arguments of a call, before they are checked: names, flags, lists, dtypes, and which arrays
have values that can be read."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import check_key, is_traced

FLAGS = (
    "output_hidden_states",
    "output_attentions",
    "output_router_logits",
    "output_unembedding",
    "interpolate_pos_encoding",
    "return_loss",
    "use_itm_head",
)
BY_NAME = ("tags", "decoder_tags", "pairs")
OTHERWISE = {  # arguments of Hugging Face's models, and what to pass here
    "return_dict": "the output is always a record: out.logits, out['logits'] or out[0]",
    "use_cache": "give cache=tj.init_cache(model, batch, length)",
    "past_key_values": "give cache=, made by tj.init_cache or the .cache of the call before",
    **dict.fromkeys(
        ("training", "train", "deterministic"),
        "a call with key=jax.random.key(n) has dropout, one without has none",
    ),
    "dropout_rng": "noise is drawn from key=",
    "rngs": "noise is drawn from key=",
}
LOADING = {  # the same for from_pretrained and from_config
    "torch_dtype": "that is dtype= here",
    "ignore_mismatched_sizes": "strict=False with key=jax.random.key(n) draws anew what is of "
    "another shape",
    "config": "fields of the config are options by name; tj.from_config builds from a config",
    "device_map": "give mesh=tj.make_mesh({'data': -1}); without one, all is on the first device",
    "attn_implementation": "give attention='auto', or the name of an engine",
    "low_cpu_mem_usage": "leave it out: host memory never grows with the model",
    "use_safetensors": "leave it out: nothing else is read",
    **dict.fromkeys(
        ("load_in_8bit", "load_in_4bit"), "parameters are floating-point: give dtype='bfloat16'"
    ),
    **dict.fromkeys(("from_tf", "from_flax", "from_pt"), "only safetensors are read"),
    "subfolder": "give the path of that folder",
    "output_hidden_states": "that is an argument of a call: model(..., output_hidden_states=True)",
    "output_attentions": "that is an argument of a call: model(..., output_attentions=True)",
    "use_cache": "give a call cache=tj.init_cache(model, batch, length)",
}


def check_options(overrides: Iterable[str], fields: Iterable[str]) -> None:
    """Raises TypeError for an option of Hugging Face's that has another name here."""
    for name in overrides:
        if name in LOADING and name not in fields:
            raise TypeError(f"there is no option {name!r}; {LOADING[name]}")


def flag(name: str, value: Any) -> bool:
    """A flag chooses a program, so that it is known before anything is compiled."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return bool(value)
    came = "a traced array" if is_traced(value) else repr(value)
    raise ValueError(
        f"{name} is {came}; expected True or False (under jax.jit, close over it or make it static)"
    )


def traceable(name: str, value: Any) -> Any:
    """An argument inside of a transformation; a list that is an argument of it holds tracers."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields") and is_traced(value):
        raise ValueError(
            f"{name} is a {type(value).__name__} under a transformation of JAX, which would trace "
            f"each of its numbers; give an array, such as np.array({name})"
        )
    return concrete(name, value)


def concrete(name: str, value: Any) -> Any:
    """Lists and scalars as NumPy arrays; arrays, keys and records as they are."""
    if name in ("key", "noise") and np.ndim(value) < 2:  # torch's attention has keys called so
        check_key(value, name)
    if name in BY_NAME and not isinstance(value, Mapping):
        raise ValueError(
            f"{name} is {kind_of(value)}; expected a dict of arrays, by the names that the "
            "mask reads"
        )
    if isinstance(value, (list, tuple, int, float, np.generic)) and not hasattr(value, "_fields"):
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.array(None)
        if array.dtype == object:
            mask = " and give attention_mask, 1 for a token and 0 for padding"
            raise ValueError(
                f"{name}: rows of different lengths; pad them to one width"
                f"{mask if name == 'input_ids' else ''}"
            )
        return array
    return value


def narrow(value: Any) -> Any:
    """Arrays in the dtypes that JAX computes with (checked before): whole numbers of 32 bits, where
    in uint8 a class 156 would be equal to -100; floats of 32, or with `jax_enable_x64` what they
    are, because a model may be of 64 bits."""
    if type(value) is dict:
        parts = {name: v if is_traced(v) else concrete(name, v) for name, v in value.items()}
        return {name: narrow(part) for name, part in parts.items()}
    whole = isinstance(value, (np.ndarray, jax.Array)) and jnp.issubdtype(value.dtype, jnp.integer)
    if whole and (value.dtype.itemsize < 4 or value.dtype == np.int64):
        return value.astype(jnp.int32)
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(jax.dtypes.canonicalize_dtype(value.dtype))
    return value


# ---------------------------------------------------------------- values and dtypes of arrays


def readable(value: Any) -> np.ndarray | None:
    """The numbers of an array, or None where only shape and dtype are known: of tracers, of
    `jax.ShapeDtypeStruct`, and of arrays of which other hosts hold a part."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (jax.core.Tracer, jax.ShapeDtypeStruct)):
        return None
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        return None
    return np.asarray(value)


def dtype_of(value: Any) -> np.dtype:
    """The dtype of an array, a tracer or a list."""
    dtype = getattr(value, "dtype", None)
    return np.asarray(value).dtype if dtype is None else dtype


def kind_of(value: Any) -> str:
    """What a value is, in an error: an array is called so whether it is traced or not."""
    arrays = (jax.Array, jax.ShapeDtypeStruct)
    return "Array" if isinstance(value, arrays) else type(value).__name__


def holds(value: Any, *kinds: Any) -> bool:
    """Whether the dtype is of one of the kinds, such as jnp.integer."""
    return _is(dtype_of(value), kinds)


@functools.lru_cache(maxsize=256)
def _is(dtype: Any, kinds: tuple[Any, ...]) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def at_hand(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with only the values that can be read without waiting: an array that is on an
    accelerator or still being computed is replaced by its shape and dtype."""

    def known(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):  # a key, whose numbers nobody reads
            return leaf
        local: Any = leaf  # jax declares no is_ready of arrays
        if all(device.platform == "cpu" for device in leaf.devices()) and local.is_ready():
            return leaf
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)

    return jax.tree.map(known, dict(inputs))
