"""Fine-tuning: a task, a model and a table become a run of the engine that pretrains.

    recipe (a few flags)  ->  TrainConfig  ->  any other flag over it  ->  fit

The run's config.json is the whole TrainConfig: the same command, or the file, continues it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers_jax import flags
from transformers_jax.data.config import Data, Table
from transformers_jax.data.tables import stored
from transformers_jax.flags import Misuse
from transformers_jax.models.adapters.records import (
    IA3,
    Adapter,
    BitFit,
    LoRA,
    PrefixTuning,
    Probe,
    PromptTuning,
)
from transformers_jax.models.base import Model
from transformers_jax.nn.param import unflatten
from transformers_jax.objectives import CausalLM, MaskedLM, SpanCorruption
from transformers_jax.objectives.distillation import DistilledCausalLM, DistilledMaskedLM
from transformers_jax.optim import AdamW
from transformers_jax.optim.schedules import Linear
from transformers_jax.runs.configured import in_steps, overridden
from transformers_jax.runs.fit import Fitted, fit
from transformers_jax.spelling import nearest
from transformers_jax.tasks import TASKS, Task
from transformers_jax.training.config import Evaluation, Sample, TrainConfig, load
from transformers_jax.training.initial import with_checkpoint
from transformers_jax.training.metrics import is_hidden, read
from transformers_jax.training.provenance import read_run

OF_TEXT: dict[str, Any] = {
    "masked_lm": MaskedLM,
    "causal_lm": CausalLM,
    "span_corruption": SpanCorruption,
    "masked_lm_distillation": DistilledMaskedLM,
    "causal_lm_distillation": DistilledCausalLM,
}
"""Tasks that go on with pretraining, on text of one's own."""
ADAPTERS: Mapping[str, Any] = {
    "none": None, "lora": LoRA(), "dora": LoRA(dora=True), "ia3": IA3(), "bitfit": BitFit(),
    "probe": Probe(), "prompt": PromptTuning(), "prefix": PrefixTuning(),
}  # fmt: skip
WHOLE = 1_000_000  # batches: evaluations of a task are of all that is held out
FOR_TEXT = {
    "data.train": "data.path",
    "data.validation": "data.eval_path",
    "data.validation_fraction": "data.eval_fraction",
    "data.text": "data.field",
}
"""The settings of a table, as those of text are called."""


@dataclass(frozen=True)
class Recipe:
    """The few settings of fine-tuning; all others are those of a run."""

    task: str | None = None
    """what the model is to do: sequence_classification, regression, ..."""
    model: str | None = None
    """a directory, a run, or a hub id"""
    learning_rate: float | None = None
    """at the top of the schedule: optimizer.peak"""
    batch: int | None = None
    """rows of a step: data.batch"""
    adapter: str | None = None
    """what is trained: lora, dora, ia3, bitfit, prompt, prefix, probe (the last layer alone), or
    none for the whole model; its settings are adapter.rank and so on"""
    out: str | None = None
    """folder of the run"""

    def config(self) -> TrainConfig:
        """The run that it stands for, with the settings of the papers: AdamW, 10 % of warm-up, a
        straight line to 0, three epochs, the best of an evaluation after each (Devlin et al. 2018,
        appendix A.3).

        Raises:
            ValueError: no task or model, or an unknown task.
        """
        names = (*TASKS, *OF_TEXT)
        if self.task is None or self.model is None:
            lacking = "--task NAME" if self.task is None else "--model DIR_OR_ID"
            raise Misuse(f"{lacking} is missing; tasks are {', '.join(names)}")
        if (name := self.task.replace("-", "_")) not in names:
            raise Misuse(
                f"--task {self.task!r} is none of {', '.join(names)}{nearest(name, names)}"
            )
        text = name in OF_TEXT
        own = Task if text else TASKS[name]
        config = TrainConfig(
            init_from=self.model,
            objective=OF_TEXT[name]() if text else TASKS[name](),
            data=Data() if text else Table(too_long=own.too_long),
            optimizer=AdamW(
                peak=own.peak if self.learning_rate is None else self.learning_rate,
                schedule=Linear(warmup=0.1),
                weight_decay=0.01,
                b2=0.999,
            ),
            epochs=3,
            evaluation=Evaluation(batches=WHOLE, per_epoch=1),
            sample=Sample(count=0),
            keep_best=True,
            out=self.out or "runs/finetune",
            adapter=self.chosen_adapter(),
        )
        batch = 32 if self.batch is None else self.batch
        config = config.replace(data=dataclasses.replace(config.data, batch=batch))
        return with_checkpoint(config, Path(config.out), always=True)

    def chosen_adapter(self) -> Any:
        """What is trained beside or in place of the weights; None for all of them.

        Raises:
            Misuse: an unknown name.
        """
        if self.adapter is not None and self.adapter not in ADAPTERS:
            raise Misuse(
                f"--adapter {self.adapter!r} is none of {', '.join(ADAPTERS)}"
                f"{nearest(self.adapter, ADAPTERS)}"
            )
        return ADAPTERS[self.adapter or "none"]


def configured(arguments: Sequence[str], program: str) -> TrainConfig:
    """The config of a command: of a file if the first argument is one, else of a recipe; with the
    flags over it.

    Raises:
        ValueError: no such file, task or model; a wrong flag.
    """
    recipe, rest = flags.parse_known(Recipe, arguments)
    if arguments and not arguments[0].startswith("-"):
        given = {name: value for name, value in vars(recipe).items() if value is not None}
        if wrong := given.keys() & {"task", "model"}:
            raise Misuse(f"--{min(wrong)} and a config exclude each other: the config has it")
        config = load(arguments[0])
        if "adapter" in given:
            given["adapter"] = recipe.chosen_adapter()
            given["merge"] = config.merge and given["adapter"] is not None
        config = with_settings(config, given)
        return overridden(config, [one for one in rest if one != arguments[0]], program, Recipe)
    config = recipe.config()
    return overridden(config, _spelled_for(config, rest), program, Recipe)


def _spelled_for(config: TrainConfig, arguments: Sequence[str]) -> list[str]:
    """The flags of a table, as text has them, where the task is one of text."""
    if isinstance(config.data, Table):
        return list(arguments)
    spelled = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        setting = name.removeprefix("--").replace("-", "_")
        other = FOR_TEXT.get(setting) if name.startswith("--") else None
        spelled.append(argument if other is None else f"--{other}{equals}{value}")
    return spelled


# ---------------------------------------------------------------- from Python


@dataclass(frozen=True)
class Finetuned:
    """What `finetune` leaves.

    Attributes:
        model: with the best parameters.
        metrics: of what was held out, by name: {"accuracy": 0.93, "loss": 0.21, ...}; of the step
            that was exported.
        folder: of the run, with report.md and model/.
    """

    model: Model
    metrics: Mapping[str, float]
    folder: Path
    fitted: Fitted = field(repr=False)


def finetune(
    model: str | Path,
    task: Any,
    train: Any = None,
    validation: Any = None,
    **settings: Any,
) -> Finetuned:
    """Fine-tunes a model on a task; the same as the command `train.finetune`.

    Args:
        model: a directory, a run, or a hub id.
        task: its name, such as "sequence_classification", or its record with settings.
        train, validation: the path of a table, records (a list of dicts), columns (a dict of
            lists), or a frame. Without the second a part of the first is held out.
        settings: of the run, by name: those of `Recipe`, of `Table` (text="sentence"), of the
            task, and of `TrainConfig`; of records in it with a dot or two underscores
            (`optimizer__weight_decay=0.1`).

    Raises:
        ValueError: whatever does not fit, before anything is compiled.
        TypeError: an unknown setting, with the nearest.
    """
    if isinstance(model, Model):
        raise TypeError(
            "finetune takes the directory of a model, with its tokenizer: write it with "
            "tj.save_pretrained(model, DIR) and tokenizer.save(DIR)"
        )
    named = (
        task
        if isinstance(task, str)
        else next(
            (name for name, record in TASKS.items() if type(task) is record), type(task).__name__
        )
    )
    adapter = settings.pop("adapter", None)
    if not isinstance(adapter, (str, Adapter, type(None))):
        raise TypeError(
            f"adapter is {adapter!r:.60}; expected a record, such as tj.LoRA(rank=8), or one of "
            f"{', '.join(ADAPTERS)}"
        )
    known = adapter if isinstance(adapter, str) else None
    config = Recipe(named, str(model), out=settings.get("out"), adapter=known).config()
    if isinstance(adapter, Adapter):
        config = config.replace(adapter=adapter)
    if not isinstance(task, str):
        config = config.replace(objective=task)
    sources = {"train": train, "validation": validation}
    tables = {name: _stored(name, one) for name, one in sources.items() if one is not None}
    text = {} if isinstance(config.data, Table) else FOR_TEXT
    named = {
        text.get(f"data.{name}", name): value for name, value in {**tables, **settings}.items()
    }
    spelled = {_path_of(config, name): value for name, value in named.items()}
    fitted = fit(with_settings(in_steps(config, spelled), spelled))
    return Finetuned(fitted.model, exported_metrics(fitted.folder), fitted.folder, fitted)


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """The config with other values of settings, by their paths ("data.batch"), all at once: they
    are checked against each other."""
    names = {"learning_rate": "optimizer.peak", "batch": "data.batch"}
    return _replaced(config, unflatten({names.get(p, p): value for p, value in settings.items()}))


def _replaced(record: Any, changes: Mapping[str, Any]) -> Any:
    values = {
        name: _replaced(getattr(record, name), value)
        if isinstance(value, dict) and dataclasses.is_dataclass(getattr(record, name))
        else value
        for name, value in changes.items()
    }
    return dataclasses.replace(record, **values)


def _path_of(config: TrainConfig, name: str) -> str:
    """Where a setting is, by its own name or by its path.

    Raises:
        TypeError: there is none of this name.
    """
    path = name.replace("__", ".")
    if path in ("learning_rate", "batch"):
        return path
    # the first that has it: `loss` is a task's own, where it has one, and not that of texts
    records = {"objective.": config.objective, "": config, "data.": config.data}
    records |= {"optimizer.": config.optimizer, "evaluation.": config.evaluation}
    for prefix, record in records.items():
        if path in {one.name for one in dataclasses.fields(record)}:
            return prefix + path
    whole = flags.flags(config)
    if f"--{path.replace('_', '-')}" in whole:
        return path
    known = [one.removeprefix("--").replace("-", "_") for one in whole]
    known += ["learning_rate", "batch", *(one.split(".")[-1] for one in known)]
    raise TypeError(f"finetune has no setting {name!r}{nearest(path, known)}")


def settings_of(records: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The records with other values of their settings, each by its own name.

    Raises:
        TypeError: a setting that none of them has, with the nearest.
    """
    changed, fields = dict(records), dict[str, str]()
    for place, record in records.items():
        fields |= {one.name: place for one in dataclasses.fields(record)}
    for name, value in settings.items():
        if name not in fields:
            raise TypeError(f"there is no setting {name!r}{nearest(name, fields)}")
        place = fields[name]
        changed[place] = dataclasses.replace(changed[place], **{name: value})
    return changed


def _stored(name: str, source: Any) -> str:
    """The path of a table: the one given, or that of a file with the records given."""
    return str(source) if isinstance(source, (str, Path)) else stored(name, source)


def exported_metrics(folder: Path) -> dict[str, float]:
    """The figures of the evaluation of the step that a run exported; {} if it was not evaluated, or
    nothing is exported yet."""
    step = (read_run(folder).get("exported") or {}).get("step")
    start, found = "eval_", dict[str, float]()
    for line in read(folder / "metrics.jsonl"):
        if line["step"] == step:
            found |= {
                n.removeprefix(start): v
                for n, v in line.items()
                if n.startswith(start) and not is_hidden(n)
            }
    return found
