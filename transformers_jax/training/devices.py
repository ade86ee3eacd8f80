"""The devices and processes of a run: its mesh, and what all processes must have in common."""

from __future__ import annotations

import dataclasses

import jax
from jax.sharding import Mesh

from transformers_jax import __version__, processes, shard
from transformers_jax.json_files import as_json
from transformers_jax.nn.param import flatten
from transformers_jax.sizes import nearest_multiples
from transformers_jax.training.config import TrainConfig, to_dict
from transformers_jax.training.folder import SHARED, RunFolder


def make_mesh(config: TrainConfig) -> Mesh | None:
    """The mesh of a config; None for one device.

    Raises:
        ValueError: it leaves out devices of a run of several processes.
    """
    mesh = shard.make_mesh(dataclasses.asdict(config.mesh))
    if processes.several() and mesh.size < jax.device_count():
        raise ValueError(
            f"a mesh of {mesh.size} devices leaves out some of the {jax.device_count()} that the "
            f"{jax.process_count()} processes have; give -1 for one axis, such as --mesh.data -1"
        )
    return None if mesh.size == 1 else mesh


def devices_of(mesh: Mesh | None) -> str:
    """ "data 4 x fsdp 2 x experts 1 x tensor 1", or "one device"."""
    if mesh is None:
        return "one device"
    return " x ".join(f"{name} {size}" for name, size in mesh.shape.items())


def agree_on_config(config: TrainConfig) -> None:
    """Every process of the run was started with the same settings and versions.

    Raises:
        ValueError: in every process, with the settings that differ, and whose they are.
    """
    local = ("debug.", "data.path", "data.eval_path")  # texts are compared by their fingerprints
    settings = as_json(flatten(to_dict(config))).items()
    versions = {"transformers_jax": __version__, "jax": jax.__version__}
    same = {name: value for name, value in settings if not name.startswith(local)}
    processes.agree("settings", {**same, **versions})


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
            f"accumulate ({accumulate}) = {need}; the nearest are {nearest_multiples(batch, need)};"
            " or set the mesh, e.g. --mesh.data 1"
        )


def agree_on_folder(folder: RunFolder, steps: list[int]) -> None:
    """Every process sees the folder that process 0 holds, with its saved steps.

    Raises:
        ValueError: in every process, with what each of them sees.
    """
    seen = {f"the holder of {folder.path}": folder.holder(), "its checkpoints": steps}
    processes.agree("their disk", seen, SHARED)
