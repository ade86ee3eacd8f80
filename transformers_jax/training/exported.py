"""The model that a run has exported: where it is, and what its folder may be called by."""

from __future__ import annotations

from pathlib import Path

from transformers_jax.json_files import json_or_empty
from transformers_jax.training.provenance import read_run


def model_folder(path: str) -> Path:
    """The folder of a model: the path itself, or the model that a run of pretraining exported.

    Raises:
        ValueError: a run that has exported none.
    """
    folder = Path(path).expanduser()
    if not (folder / "metrics.jsonl").exists() or is_model(folder / "config.json"):
        return Path(path)
    exports = [file for file in folder.glob("*/config.json") if is_model(file)]
    if not exports and (folder / "adapter").is_dir():
        raise ValueError(
            f"{path} is a run that has trained an adapter, and no model of its own; write one with "
            f"transformers-jax export {path} --merge --out DIR, and name DIR/model"
        )
    if not exports:
        raise ValueError(
            f"{path} is a run without an exported model, so it has not ended; continue it with "
            f"transformers-jax pretrain {folder / 'config.json'} --out {path}, or take what it has "
            f"saved with transformers-jax export {path} --out DIR"
        )
    return max(exports, key=lambda file: file.stat().st_mtime).parent


def exported_step(path: str) -> str:
    """ " (its model is step 600, the last)" of a run; "" of another folder, or an id of the hub."""
    run = read_run(Path(path).expanduser())
    exported = run.get("exported")
    if not isinstance(exported, dict):
        return ""
    step, last = exported.get("step"), run.get("step")
    more = f", {exported.get('why')}" if step == last else f" of {last}"
    return f" (its model is step {step}{more})"


def is_model(path: Path) -> bool:
    """Whether a config.json is that of a model, not of a run."""
    return not {"model_type", "module", "architecture"}.isdisjoint(json_or_empty(path))  # of timm
