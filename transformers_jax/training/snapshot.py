"""What of a TrainState is saved: plain arrays on the host, checked before anything is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformers_jax.json_files import with_digest
from transformers_jax.training import spikes
from transformers_jax.training.checksums import names
from transformers_jax.training.recorded import LACKING, spell
from transformers_jax.training.state import TrainState


def plain(state: TrainState) -> dict[str, Any]:
    """Plain containers and arrays only: named tuples by field, keys as their numbers, no None."""
    fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    fields = {name: value for name, value in fields.items() if value is not None}
    return {**fields, "key": jax.random.key_data(state.key)}


def laid_out(like: TrainState, record: dict[str, Any]) -> dict[str, Any]:
    """What to read of a checkpoint, as `plain` gives it: the fields of `like` that its format has,
    and a window if one was saved, whether or not this run looks for spikes."""
    lacking = LACKING[record["format"]] | {"window"}
    fields = {name: part for name, part in plain(like).items() if name not in lacking}
    if any(name.startswith("window.") for name in record["checksums"]):
        fields["window"] = jax.device_put(spikes.empty(), like.step.sharding)
    return fields


def spelled(tree: Any) -> dict[str, str]:
    """{"params.w": "float32[64,128]", ...}"""
    return {name: spell(leaf) for name, leaf in zip(names(tree), jax.tree.leaves(tree))}


def check_leaves(tree: Any) -> None:
    """Orbax hangs for minutes on what it cannot write."""
    wrong = [
        f"{name} is {type(leaf).__name__}" + (f" of {leaf.dtype}" if hasattr(leaf, "dtype") else "")
        for name, leaf in zip(names(tree), jax.tree.leaves(tree))
        if not isinstance(leaf, (jax.Array, np.ndarray)) or leaf.dtype.itemsize not in (1, 2, 4)
    ]
    if wrong:
        raise ValueError(
            "a checkpoint holds arrays of 1, 2 or 4 bytes a number, and here "
            f"{'; '.join(wrong)}; make them with jnp.asarray"
        )


def check_same_leaves(path: Path, record: dict[str, Any], tree: Any) -> None:
    """Raises ValueError for a checkpoint whose arrays are not those of the tree."""
    now = spelled(tree)
    saved = record.get("arrays") or {name: now.get(name, "?") for name in record["checksums"]}
    wrong = [
        f"{name} was {saved.get(name, 'not there')} and is {now.get(name, 'not there')}"
        for name in sorted({*now, *saved})
        if now.get(name) != saved.get(name)
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"checkpoint {path} is of another model: {'; '.join(wrong[:5])}{more}")


def on_host(tree: Any) -> Any:
    """NumPy arrays. On a CPU these are views, which jax does not give to a donated result."""
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array):
            leaf.copy_to_host_async()
    return jax.tree.map(np.asarray, tree)


def completed(record: dict[str, Any], measured: Any) -> dict[str, Any]:
    """The record with the checksums of its arrays.

    Raises:
        FloatingPointError: numbers that no run could continue from.
    """
    sums, finite = jax.device_get(measured)
    wrong = [name for name, good in zip(record["arrays"], finite) if not good]
    if wrong:
        raise FloatingPointError(
            f"the state of step {record['step']} is not saved, it is not finite in "
            f"{', '.join(wrong[:5])}{f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''}; "
            "the checkpoints before it are intact"
        )
    return with_digest({**record, "checksums": dict(zip(record["arrays"], map(int, sums)))})
