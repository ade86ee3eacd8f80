"""A saved step of a run, finished or not, as a model that anything can load.

Nothing is written into the run, which may be going on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from transformers_jax.adapting import merge_adapter
from transformers_jax.adapting.files import save_adapter
from transformers_jax.arrays import Params
from transformers_jax.inspection.conversion import check_target
from transformers_jax.models.base import Model
from transformers_jax.nn.param import combine, partition, trained_axes
from transformers_jax.processing.readers import saved_readers
from transformers_jax.runs.card import write_card
from transformers_jax.tasks import FewShot
from transformers_jax.training.checksums import names
from transformers_jax.training.config import TrainConfig, load
from transformers_jax.training.exported import is_model
from transformers_jax.training.finish import as_used, write_model
from transformers_jax.training.initial import (
    abstract_model,
    start_model,
    with_adapter,
    with_generation,
)
from transformers_jax.training.recorded import Damaged, find_steps, read_leaf, read_record


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Attributes:
        folders: what was written: the folder itself, or those of an adapter and of a merged model.
        model: with the parameters that the run evaluates (averaged, if so configured).
        damaged: messages about newer steps that were passed over.
    """

    folder: Path
    folders: tuple[Path, ...]
    step: int
    model: Model
    damaged: tuple[str, ...]


def export(
    run: str | Path,
    out: str | Path,
    *,
    step: int | None = None,
    overwrite: bool = False,
    merge: bool = False,
) -> Exported:
    """Writes the model of a saved step to `out` as `save_pretrained` does, with the run's tokenizer
    or image processor and a card; of a run that trains an adapter, the adapter to `out`/adapter.

    Each array is compared with its checksum. What no model needs is not read, such as the state of
    an optimizer that averages no parameters: it may be damaged, though no run would go on there.

    Args:
        step: a saved one; by default the newest whose parameters are intact.
        merge: the model with the adapter merged into it is written too, to `out`/model.

    Raises:
        ValueError: no run, or one of few_shot; `merge` of a run without an adapter; a step that is
            not saved or is damaged, with those that there are; `out` holds files already
            (`overwrite=True` replaces them), or lies in the run.
    """
    path, folder = Path(run).expanduser(), Path(out).expanduser()
    if not (path / "config.json").is_file() or is_model(path / "config.json"):
        raise ValueError(f"{run} is not a run of pretraining: it has no config.json of one")
    if folder.resolve().is_relative_to(path.resolve()):
        raise ValueError(f"{out} lies in the run, which is not touched; give another directory")
    check_target(folder, overwrite)
    config = load(path)
    if isinstance(config.objective, FewShot):
        raise ValueError(
            f"{run} ends with a regression on the vectors of its examples, and saved steps have "
            "none: the same command goes on to its end, and writes model/"
        )
    if merge and config.adapter is None:
        raise ValueError(f"{run} trains the whole model: there is no adapter to merge")
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        begun = _begun(config, path)
        taken, values, damaged = _newest_good(config, path, step, begun)
        if config.adapter is not None:
            values = combine(jax.device_put(values), partition(begun)[1])
        model = as_used(config, begun, values)
        readers = saved_readers(path)
        folders = [folder]
        if config.adapter is None:
            write_model(model, readers, folder)
        else:
            folders = [folder / "adapter", *[folder / "model"] * merge]
            save_adapter(model, folders[0])
            if merge:
                write_model(merge_adapter(model), readers, folders[1])
    for each in folders:
        write_card(path, each, taken)
    return Exported(folder, tuple(folders), taken, model, damaged)


def _begun(config: TrainConfig, run: Path) -> Model:
    """The model of a run without arrays; of one that trains an adapter, as the run began with it:
    what is frozen is not in its checkpoints.

    Raises:
        ValueError: the weights that the adapter is over are not there.
    """
    if config.adapter is None:
        return with_generation(abstract_model(config), run)
    model, facts = start_model(config, None, lambda line: None)
    return with_adapter(config, model, facts["drawn"])


def _newest_good(
    config: TrainConfig, run: Path, step: int | None, model: Model
) -> tuple[int, Params, tuple[str, ...]]:
    """(step, its parameters, what was wrong with newer ones); of the step that is asked for, if one
    is."""
    steps = {int(folder.name): folder for folder in find_steps(run)}
    if step is not None and step not in steps:
        saved = ", ".join(map(str, steps))
        raise ValueError(f"{run} has not saved step {step}; there are {saved}")
    damaged: list[str] = []
    for number in [step] if step is not None else sorted(steps, reverse=True):
        try:
            return number, evaluated(config, steps[number], model), tuple(damaged)
        except Damaged as error:
            damaged.append(str(error))
    more = f"; there are {', '.join(map(str, steps))}" if step is not None else ""
    raise ValueError("; ".join(damaged) + more)


def evaluated(config: TrainConfig, folder: Path, model: Model) -> Params:
    """The parameters of a saved step that the run would evaluate, as far as they are trained; each
    array is verified.

    Raises:
        ValueError: the step is damaged (`Damaged`), or of another model.
    """
    record, trained = read_record(folder), partition(model)[0]
    optimizer = config.optimizer.build(trained_axes(model), record["schedule_steps"])
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    tree: dict[str, Any] = {"params": jax.tree.map(shape, trained)}
    if optimizer.averages:
        tree["opt"] = jax.eval_shape(optimizer.transformation.init, tree["params"])
    leaves = [read_leaf(folder, record, name) for name in names(tree)]
    saved = jax.tree.unflatten(jax.tree.structure(tree), leaves)
    return (
        optimizer.averaged(saved["opt"], saved["params"]) if optimizer.averages else saved["params"]
    )
