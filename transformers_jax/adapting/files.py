"""Adapter files of PEFT: adapter_config.json and adapter_model.safetensors, read and written."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformers_jax import processes
from transformers_jax.adapting import check_bare, stacked, with_parts
from transformers_jax.adapting.config import record_of, same_as_read, values_of
from transformers_jax.adapting.tensors import cells, is_optional, prefix_of, shape_of
from transformers_jax.adapting.virtual import TENSOR, rows_of, sizes_of
from transformers_jax.hub.download import resolve
from transformers_jax.hub.files import Checkpoint, Entry, open_checkpoint, write_file
from transformers_jax.json_files import errors_of, json_text, read_json
from transformers_jax.models.adapters.install import scales
from transformers_jax.models.adapters.records import Adapter, LoRA
from transformers_jax.models.adapters.resolve import Resolved, resolved
from transformers_jax.models.base import Model, check_model, rebuilt
from transformers_jax.nn.param import ADAPTER, flatten, params
from transformers_jax.processes import on_host
from transformers_jax.publish import publish

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

log = logging.getLogger("transformers_jax")


def load_adapter(
    model: Model,
    path: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Model:
    """The model with the adapter of a directory, or of the hub, as PEFT saves them. It has the
    arrays of the model, not copies: several adapters may be loaded over one model.

    `lora_dropout` is kept for PEFT and not computed; one line says so.

    Raises:
        ValueError: a kind of adapter or a setting that is not computed here; tensors that are
            missing, unexpected or mis-shaped, all at once; a model that has an adapter already.
    """
    check_model(model, "load_adapter")
    check_bare(model)
    folder = resolve(
        path,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
    )
    file = folder / CONFIG
    values = read_json(file, advice="a directory of an adapter of PEFT is needed")
    with errors_of(file):
        adapter = record_of(values)
        plan = dataclasses.replace(model.plan, adapter=adapter)
        known = resolved(plan, adapter)
    if isinstance(adapter, LoRA) and adapter.dropout:
        log.warning("%s: lora_dropout=%s is kept, and not computed", file, adapter.dropout)
    checkpoint = open_checkpoint(folder / WEIGHTS)
    shapes = {name: leaf.shape for name, leaf in flatten(params(stacked(plan))).items()}
    expected: dict[str, Any] = tensors(adapter, known, shapes)
    names = _named(model, known, checkpoint, expected)
    arrays: dict[str, np.ndarray] = {}
    for name, each in expected.items():
        if name not in names:
            continue
        tensor = checkpoint.read(names[name])
        for cell in each:
            for where in cell.paths:
                if where not in arrays:
                    arrays[where] = np.zeros(shapes[where], tensor.dtype)
            cell.read(tensor, arrays)
    _check_finite(checkpoint, arrays)
    whole = {where: arrays.pop(where) for where in [*arrays] if ADAPTER not in where}
    rest = {p: np.ones(s, np.float32) for p, s in shapes.items() if ADAPTER in p}
    return with_parts(model, plan, known, {**rest, **arrays, **scales(known, shapes)}, whole)


def _named(
    model: Model, known: Resolved, checkpoint: Checkpoint, expected: Mapping[str, list[Any]]
) -> dict[str, str]:
    """{name that we would write: name in the file}.

    Raises:
        ValueError: tensors that are missing, unexpected or mis-shaped, all at once.
    """
    names = {_canonical(model, known, name, expected): name for name in checkpoint.shapes}
    needed = [name for name in expected if not is_optional(name)]
    wrong = [f"missing {name}" for name in needed if name not in names]
    wrong += [f"unexpected {name}" for own, name in names.items() if own not in expected]
    for name, each in expected.items():
        if name in names and checkpoint.shapes[names[name]] != shape_of(each):
            got = list(checkpoint.shapes[names[name]])
            wrong.append(f"{names[name]} has shape {got}, expected {list(shape_of(each))}")
    if wrong:
        more = f"\n  ... {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise ValueError(
            f"{checkpoint.path} does not fit the model:\n  " + "\n  ".join(wrong[:20]) + more
        )
    return names


def _canonical(model: Model, known: Resolved, name: str, expected: Mapping[str, list[Any]]) -> str:
    """A name in a file as we write it: its module by the family's other spellings, if need be."""
    prefix = prefix_of(known)
    if name in expected or not name.startswith(prefix):
        return name
    for part in (".lora_", ".ia3_l"):
        module, found, rest = name.removeprefix(prefix).partition(part)
        if found:
            spelled = model.plan.table.spelled(f"{module}.weight", known.fills)
            return f"{prefix}{spelled.removesuffix('.weight')}{part}{rest}"
    return prefix + model.plan.table.spelled(name.removeprefix(prefix), known.fills)


def _check_finite(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray]) -> None:
    wrong = [p for p, x in arrays.items() if not np.isfinite(x.astype(np.float32)).all()]
    if wrong:
        raise ValueError(f"{checkpoint.path}: NaN or infinity in {', '.join(wrong)}")


def save_adapter(model: Model, directory: str | Path) -> None:
    """Writes adapter_config.json and adapter_model.safetensors, which PEFT reads: what the adapter
    adds, and what it trains as a whole. One that was loaded is written as it was, byte for byte.

    If the devices of several processes hold the parameters, each of these calls this, and process 0
    writes. PEFT has no `BitFit`, `Freeze`, `Train` and `Probe`: files of these are read here only.

    Raises:
        ValueError: a model without an adapter.
    """
    check_model(model, "save_adapter")
    plan, folder = model.plan, Path(directory)
    if plan.adapter is None:
        raise ValueError("this model has no adapter to save: tj.adapt gives it one")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; an adapter is saved in a directory")
    known = resolved(plan, plan.adapter)
    entries = {name: Entry.of(tensor) for name, tensor in tensors_of(model).items()}
    shared = not all(leaf.is_fully_addressable for leaf in jax.tree.leaves(params(model)))
    if processes.is_first() or not shared:  # all of them have gathered the tensors
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / WEIGHTS, entries, {"format": "pt"})
        config: Any = values_of(plan.adapter, known, plan.head)
        if known.added and not same_as_read(plan.adapter):
            config |= sizes_of(model, plan.adapter)
        publish(folder / CONFIG, json_text(config, indent=2, sort_keys=True))
    if shared:
        processes.wait_for_all("saved")


def tensors_of(model: Model) -> dict[str, np.ndarray]:
    """The tensors of a model's adapter, by their names in a file."""
    plan, uniform = model.plan, model.plan.uniform
    assert plan.adapter is not None
    whole = model if uniform is plan else rebuilt(model, uniform)
    values = flatten(params(whole.with_layers("stacked")))
    shapes = {path: leaf.shape for path, leaf in values.items()}
    parts = tensors(plan.adapter, resolved(plan, plan.adapter), shapes)
    read = {path for each in parts.values() for cell in each for path in cell.paths}
    arrays = {path: on_host(values[path]) for path in sorted(read)}
    return {
        name: np.ascontiguousarray(_joined([cell.written(arrays) for cell in each]))
        for name, each in parts.items()
    }


def tensors(
    adapter: Adapter, known: Resolved, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, list[Any]]:
    """What every tensor of a file consists of (`Cell`s, or the `Rows` of virtual tokens)."""
    parts: dict[str, list[Any]] = {**cells(adapter, known, {*shapes})}
    return {TENSOR: [rows_of(known, shapes)], **parts} if known.added else parts


def _joined(rows: list[np.ndarray]) -> np.ndarray:
    return rows[0] if len(rows) == 1 else np.concatenate(rows)
