"""The devices of a run: their mesh, and how a batch gets onto them."""

from __future__ import annotations

import dataclasses

import jax
from jax.sharding import Mesh

from transformers_jax import shard
from transformers_jax.data.packing import Batch
from transformers_jax.training.config import TrainConfig


def make_mesh(config: TrainConfig) -> Mesh | None:
    """The mesh of a config; None for one device."""
    mesh = shard.make_mesh(dataclasses.asdict(config.mesh))
    return None if mesh.size == 1 else mesh


def check_batch(batch: int, accumulate: int, mesh: Mesh | None) -> None:
    """Checks that the batch divides into micro-batches and over the mesh.

    Raises:
        ValueError: it does not, with the nearest that would.
    """
    shards = 1 if mesh is None else shard.batch_shards(mesh)
    need = shards * accumulate
    if batch % need:
        raise ValueError(
            f"data.batch ({batch}) must be a multiple of data x fsdp x experts ({shards}) x "
            f"accumulate ({accumulate}) = {need}; the nearest are {shard.nearest(batch, need)}; "
            "or set the mesh, e.g. --mesh.data 1"
        )


def to_devices(batch: Batch, mesh: Mesh | None) -> Batch:
    """The batch on the devices. Every process makes the whole batch and keeps its own rows."""
    if mesh is None:
        return jax.device_put(batch)
    sharding = shard.batch_sharding(mesh)
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    return jax.tree.map(
        lambda rows: jax.make_array_from_callback(
            rows.shape, sharding, lambda part, rows=rows: rows[part]
        ),
        batch,
    )
