"""The weights in a folder, and whether a model of a run can hold them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from transformers_jax import shard
from transformers_jax.arrays import Key
from transformers_jax.hub.files import open_checkpoint
from transformers_jax.hub.table import Report
from transformers_jax.image_sizes import resampled
from transformers_jax.models import load_config
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.plan import Plan
from transformers_jax.nn.param import axes, bind, flatten, params
from transformers_jax.pretrained import Loaded, from_pretrained, head_of, resolve_ties
from transformers_jax.resize import resize_embeddings
from transformers_jax.tasks.classes import of, stored
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.redrawn import of_classes, redrawn

MAY_LACK = ("head", "pooler")  # parts of a model that a checkpoint of its family may lack
OF_FILES = ("dtype", "architectures")  # fields of a checkpoint's config about its files


def model_options(config: TrainConfig) -> dict[str, Any]:
    """The options with which the model of a run is made."""
    mask = config.objective.mask(config.data.rows == "packed")
    return dict(dtype=config.dtype, mask=mask, remat=config.remat)


def check_family(name: str, found: FamilyConfig, model: FamilyConfig) -> None:
    """Raises ValueError for a checkpoint of another family than that of the config."""
    if type(found) is not type(model):
        raise ValueError(
            f"init_from: {name} is of the family {found.model_type}, and the config's model of "
            f"{model.model_type}; choose a config of {found.model_type}"
        )


@dataclass(frozen=True)
class Fit:
    """How weights fit the model of a run.

    Attributes:
        report: without the rows of classes that are drawn anew.
        body: parameters that the weights lack, and that no run draws.
        anew: parameters of a head whose classes are others than those of the run.
    """

    report: Report
    body: set[str]
    anew: set[str]


@dataclass(frozen=True)
class Weights:
    """The weights in a folder, and the model that is to hold them.

    Attributes:
        name: of the checkpoint, as the config has it.
        model: its config, with as many words as the folder has.
        changes: fields that the folder's own config has otherwise, and their values here.
        words: how many the model of the run has, where some are added; otherwise None.
    """

    name: str
    folder: Path
    head: str
    model: FamilyConfig
    changes: Mapping[str, Any]
    words: int | None

    def check(self) -> None:
        """Raises ValueError where the model cannot hold the weights, or they lack more than a head.
        Only the header of the file is read."""
        fit = self._fit()
        if not (fit.body or fit.report.misshaped or fit.report.unexpected):
            return
        differing = ", ".join(
            f"model.{name} is {value!r} and {getattr(self.own, name)!r} there"
            for name, value in self.changes.items()
        )
        raise ValueError(
            f"init_from: the weights of {self.name} do not fit this run's model"
            f"{f' ({differing})' if differing else ''}: {fit.report.brief()}"
        )

    def _fit(self) -> Fit:
        checkpoint = open_checkpoint(self.folder)
        config = resolve_ties(self.model, checkpoint)
        plan = Plan(config, head_of(config, self.head))
        model = plan.build()
        shapes = {name: leaf.shape for name, leaf in flatten(params(model)).items()}
        table = plan.table.fitting(checkpoint.shapes)
        checkpoint = resampled(checkpoint, table, model, self.own, self.changes)
        report = table.check(checkpoint.shapes, shapes, strict=False)
        fills = table.fills(shapes)
        lacking = {path for name in report.missing for path in fills[name].row.ours}
        body = {path for path in lacking if path.split(".")[0] not in MAY_LACK}
        if "id2label" not in self.changes:
            return Fit(report, body, set())
        rows, here, there = of_classes(model), stored(self.model), stored(self.own)
        held = {fill.name: {*fill.row.ours} for fill in report.fills if {*fill.row.ours} <= rows}
        misshaped = tuple(one for one in report.misshaped if one[0] not in held)
        other = len(misshaped) < len(report.misshaped) or (here and there and here != there)
        anew = {path for paths in held.values() for path in paths} if other else set()
        return Fit(dataclasses.replace(report, misshaped=misshaped), body, anew)

    @property
    def own(self) -> FamilyConfig:
        """The folder's own config."""
        return load_config(self.folder, reader=type(self.model))

    def load(self, config: TrainConfig, mesh: Mesh | None) -> Loaded:
        """The model with the weights, and more words if there are to be, on the mesh."""
        self.check()
        anew = self._fit().anew
        options: dict[str, Any] = dict(key=jax.random.key(config.seed), **model_options(config))
        head = self.head if self.head == "embedding" else self.model.architecture(self.head)
        options |= dict(head=head, strict=False, return_report=True)
        if self.words is None:
            loaded = from_pretrained(self.folder, mesh=mesh, **options, **self.changes)
            return _without(loaded, anew, options["key"])
        # the mesh may divide only the larger vocabulary
        on_host = jax.default_device(jax.local_devices(backend="cpu")[0])
        with contextlib.nullcontext() if mesh is None else on_host:
            loaded = from_pretrained(self.folder, **options, **self.changes)
            model = resize_embeddings(loaded.model, self.words, key=options["key"])
        if mesh is not None:
            placed = shard.shardings(axes(model), params(model), mesh)
            model = bind(model, jax.device_put(params(model), placed))
        return _without(dataclasses.replace(loaded, model=model), anew, options["key"])

    @property
    def head_note(self) -> str:
        """What is said of a head whose classes are others than those of the run; "" of others."""
        anew = sorted(self._fit().anew)
        if not anew:
            return ""
        return (
            f"the head of {self.name} is of {_counted(of(self.own))}, and the data has "
            f"{_counted(of(self.model))}: {', '.join(anew)} are drawn anew"
        )


def _counted(classes: Sequence[str]) -> str:
    """ "3 classes (entailment, neutral, contradiction)"."""
    some = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    return f"{len(classes)} class{'es' * (len(classes) != 1)} ({some})"


def _without(loaded: Loaded, anew: Iterable[str], key: Key) -> Loaded:
    """What was loaded, with these parameters as drawn from the key."""
    more = sorted({*anew} - {*loaded.initialised})
    model = redrawn(loaded.model, dict.fromkeys(more), key)
    return dataclasses.replace(loaded, model=model, initialised=(*loaded.initialised, *more))


def weights_of(name: str, folder: Path, head: str, model: FamilyConfig) -> Weights:
    """The weights in a folder for a model with this config.

    Raises:
        ValueError: they are of another family.
    """
    found = load_config(folder, reader=type(model))
    check_family(name, found, model)
    here, there = (getattr(each, "vocab_size", 0) for each in (model, found))
    grows = here > there > 0
    within = model.replace(vocab_size=there) if grows else model
    changes = {
        field: value
        for field, value in vars(within).items()
        if value != getattr(found, field) and field not in OF_FILES
    }
    return Weights(name, folder, head, within, changes, here if grows else None)
