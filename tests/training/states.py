"""States that are cheap to save, and helpers for the tests of checkpoints."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.training.checkpoint import Checkpoints
from transformers_jax.training.state import TrainState


def state(step, seed=0):
    """Incompressible numbers, so that a flipped bit on disk is a flipped bit in the array."""
    numbers = np.random.default_rng(seed + step).integers(0, 2**30, (64, 128), np.int32)
    return TrainState(
        step=jnp.int32(step),
        params={"w": jnp.asarray(numbers).view(jnp.float32), "b": jnp.arange(5.0)},
        opt=({"mu": jnp.asarray(numbers[0])}, jnp.int32(step)),
        key=jax.random.key(7),
    )


def bits(leaf):
    """The bytes of an array, or of a key's numbers."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


def same(a, b):
    pairs = zip(jax.tree.leaves(dataclasses.asdict(a)), jax.tree.leaves(dataclasses.asdict(b)))
    return all(bits(x) == bits(y) for x, y in pairs)


def write(folder, steps=(2, 4, 6), keep=2):
    """Saves these steps, each with its number as a note."""
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(state(step), {"note": step})
    checkpoints.wait()
    checkpoints.close()
    return folder


def newest(folder, strict=False):
    messages = []
    checkpoints = Checkpoints(folder, keep=2)
    try:
        return (
            checkpoints.newest(state(0), strict=strict, say=messages.append),
            messages,
            checkpoints.steps(),
        )
    finally:
        checkpoints.close()


def damage(folder, step):
    """Flips one bit in the middle of the largest file of a step, which holds the arrays."""
    file = max(
        (folder / str(step)).rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
