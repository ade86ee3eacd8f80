"""Every optimizer, parameters of every kind, and how the tests train them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from transformers_jax.nn.param import flatten, unflatten
from transformers_jax.optim import (
    Adafactor,
    AdamW,
    Constant,
    Lion,
    Muon,
    ScheduleFreeAdamW,
)
from transformers_jax.optim.layers import path_of

RECORDS = {
    "adamw": AdamW(peak=0.01, schedule=Constant(0), average=0.9),
    "adafactor": Adafactor(peak=0.01, smallest=4, weight_decay=0.1),
    "lion": Lion(peak=0.01, schedule=Constant(0)),
    "muon": Muon(peak=0.01, schedule=Constant(0)),
    "schedule_free": ScheduleFreeAdamW(peak=0.01, schedule=Constant(3)),
}
STACKED = {
    "embed.table": (("vocab", "embed"), (11, 6)),
    "stack.blocks.0.self.query": (("layers", "embed", "heads", "kv"), (3, 6, 2, 4)),
    "stack.blocks.0.self.out": (("layers", "heads", "kv", "embed"), (3, 2, 4, 6)),
    "stack.blocks.0.ffn.up": (("layers", "experts", "embed", "mlp"), (3, 2, 6, 7)),
    "stack.blocks.0.self.query_bias": (("layers", "heads", "kv"), (3, 2, 4)),
}


def tree(pick):
    return unflatten({path: pick(*entry) for path, entry in STACKED.items()})


def gradients(step):
    """The same random numbers for the parameters (step 0) and for each gradient."""
    rng = np.random.default_rng(step)
    return {
        path: jnp.asarray(
            rng.normal(size=shape)
            * 0.1
            * (1 + np.arange(shape[0]))[(slice(None),) + (None,) * (len(shape) - 1)],
            jnp.float32,
        )
        for path, (_, shape) in STACKED.items()
    }  # layers of different sizes, so that mixing them shows


def unstacked(flat):
    """Each layer's and expert's parameter by itself, as a plain matrix or vector."""
    leaves = {}
    for path, value in flat.items():
        names = STACKED[path][0]
        lead = [n for n, name in enumerate(names) if name in ("layers", "experts")]
        for index in np.ndindex(*(value.shape[n] for n in lead)):
            one = value[index]
            own = [name for name in names if name not in ("layers", "experts")]
            if path.endswith("bias"):
                one = one.reshape(-1)
            elif "heads" in own:
                one = one.reshape(6, -1) if own[0] == "embed" else one.reshape(-1, 6)
            leaves[".".join([path, *map(str, index)])] = one
    return leaves


def unstacked_axes(flat):
    return {path: ("mlp",) if leaf.ndim == 1 else ("embed", "mlp") for path, leaf in flat.items()}


def with_state(transformation, values, *fields):
    """The parameters (of those moments) that have arrays in the state."""
    flat, _ = jax.tree_util.tree_flatten_with_path(jax.eval_shape(transformation.init, values))
    return {
        name
        for path, _ in flat
        for name in flatten(values)
        if path_of(path).endswith(name)
        and (not fields or any(getattr(entry, "name", None) in fields for entry in path))
    }


def train(built, flat, every):
    state, values = jax.jit(built.transformation.init)(unflatten(flat)), unflatten(flat)
    update = jax.jit(built.transformation.update)
    for grads in every:
        updates, state = update(unflatten(grads), state, values)
        values = optax.apply_updates(values, updates)
    return flatten(values), flatten(jax.jit(built.averaged)(state, values))
