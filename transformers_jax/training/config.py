"""What a run is: frozen records, from a Python file's `config()` or from a run's config.json."""

from __future__ import annotations

import dataclasses
import hashlib
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union

import optax

from transformers_jax.arrays import to_dtype
from transformers_jax.data.config import Data, Table
from transformers_jax.json_files import as_json, errors_of, json_text, read_json
from transformers_jax.models.adapters.records import (
    IA3,
    AnyAdapter,
    BitFit,
    LoRA,
    PrefixTuning,
    Probe,
    PromptTuning,
)
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.nn.param import flatten
from transformers_jax.objectives import OBJECTIVES, CausalLM, Loss
from transformers_jax.objectives.distillation import DISTILLED
from transformers_jax.optim import OPTIMIZERS, AdamW
from transformers_jax.settings import Settings, unknown_fields
from transformers_jax.spec import Execution
from transformers_jax.spelling import nearest
from transformers_jax.tasks import TASKS, Task
from transformers_jax.training.config_parts import Debug as Debug
from transformers_jax.training.config_parts import Evaluation as Evaluation
from transformers_jax.training.config_parts import MeshShape as MeshShape
from transformers_jax.training.config_parts import Sample as Sample
from transformers_jax.training.config_parts import Stages, check_stages
from transformers_jax.training.config_parts import at_stage as at_stage
from transformers_jax.training.json_records import plain, read_record
from transformers_jax.training.spikes import DEVIATIONS, OnSpike, Spikes
from transformers_jax.training.statistics import Kind
from transformers_jax.training.trackers import TRACKERS

AT_LEAST_ONE = """steps accumulate save_every log_every keep max_skipped schedule_steps
    epochs""".split()
MOST_STEPS = 2**31 - 1
"""Steps are counted in int32 on the devices."""


@dataclass(frozen=True)
class TrainConfig(Settings):
    """A training run."""

    init_from: str | None = None
    """a checkpoint whose weights the run starts from: a directory, a run, or a hub id; model and
    tokenizer are its own, unless their flags say otherwise"""
    from_scratch: bool = False
    """only model and tokenizer are those of init_from: every weight is drawn from the seed"""
    reinitialise_layers: int = 0
    """so many layers at the top of every stack, and the pooler, are drawn from the seed in place of
    the weights of init_from (Zhang et al. 2021, section 5)"""
    model: FamilyConfig = field(default_factory=GPT2Config)
    objective: Union[(*OBJECTIVES.values(), *DISTILLED.values(), *TASKS.values())] = CausalLM()  # type: ignore[valid-type]
    """what is learned: of texts, or a task, of the records of a table"""
    adapter: AnyAdapter | None = None
    """what is trained in place of all parameters: of weights that the run starts from"""
    merge: bool = False
    """the model is exported with its adapter merged into it, beside adapter/"""
    loss: Loss = Loss()
    data: Data | Table = Data()
    optimizer: Union[tuple(OPTIMIZERS.values())] = AdamW()  # type: ignore[valid-type]  # noqa: UP007
    steps: int = 1000
    epochs: int | None = None
    """passes over the data, in place of steps"""
    schedule_steps: int | None = None
    """length of the learning-rate schedule; steps by default"""
    accumulate: int = 1
    """micro-batches per step"""
    clip: float | None = 1.0
    """largest global norm of the gradient; None: any"""
    batch_warmup: Stages = ()
    """(step, rows): up to this step batches have so many rows; afterwards data.batch"""
    length_warmup: Stages = ()
    """(step, length): up to this step rows are cut to this length, and there are more of them"""
    stochastic_depth: float = 0.0
    """chance that the last layer is left out for a row; earlier ones less"""
    statistics: Kind = "batch"
    """what batch norms normalise with: those of each batch, which the stored ones follow, or those
    that are stored, and stay"""
    on_nonfinite: Literal["abort", "skip"] = "abort"
    """what becomes of a step whose loss or gradient is not finite"""
    on_spike: OnSpike = "off"
    """what becomes of a step whose loss or gradient norm is far above those before"""
    spike_deviations: float = DEVIATIONS
    """standard deviations above the mean of the last 128 updates that are far"""
    max_skipped: int = 5
    """skipped steps in a row, not finite or spikes, after which a run ends"""
    seed: int = 0
    dtype: str = "float32"
    """of the parameters"""
    compute_dtype: str | None = None
    """of the activations, e.g. bfloat16; by default that of the parameters; mixed: bfloat16
    operands and float32 results of matrix products"""
    remat: str | None = None
    """what the backward pass recomputes to save memory: full, dots, or a policy of JAX"""
    mesh: MeshShape = MeshShape()
    evaluation: Evaluation = Evaluation()
    sample: Sample = Sample()
    out: str = "runs/pretrain"
    """folder of the run; of a config.json that a run has written, by default the folder it is in"""
    save_every: int = 500
    """steps between checkpoints; the last step is always saved"""
    keep: int = 3
    """the newest checkpoints that stay on disk, at least 2"""
    keep_best: bool = False
    """an evaluation that is the best so far is saved, and the best stays; it is what is exported"""
    log_every: int = 10
    trackers: tuple[Literal[tuple(TRACKERS)], ...] = ()  # type: ignore[valid-type]
    """wandb, trackio: beside metrics.jsonl and TensorBoard"""
    profile: bool = False
    """write a trace of a few steps into profile/"""
    watchdog: float = 120.0
    """seconds without a step after which a stuck run ends, at least ten of its steps; 0 never"""
    resume: Literal["auto", "strict", "never"] = "auto"
    """auto: from the newest good checkpoint of out; strict: only from the newest; never: refuse a
    folder that is not empty"""
    allow_schedule_change: bool = False
    allow_change: tuple[str, ...] = ()
    """settings that may differ from those of the run that is continued, by name, or data"""
    debug: Debug = Debug()

    @property
    def starts(self) -> bool:
        """Whether the run starts from weights."""
        return self.init_from is not None and not self.from_scratch

    def __post_init__(self) -> None:
        if isinstance(self.optimizer, optax.GradientTransformation):
            raise ValueError(
                "optimizer is a transformation of optax: two functions, which config.json cannot "
                f"record, so that the run could not be continued from it; choose one of "
                f"{', '.join(OPTIMIZERS)}, or give it to tj.make_step, in a loop of your own"
            )
        super().__post_init__()
        self.at_least("", **dict.fromkeys(AT_LEAST_ONE, 1), watchdog=0, reinitialise_layers=0)
        for name in ("steps", "schedule_steps"):
            if (getattr(self, name) or 0) > MOST_STEPS:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at most 2^31 - 1")
        if not 0 <= self.seed < 2**63 - 1:  # seed + 1 draws the noise of the steps
            raise ValueError(f"seed ({self.seed}) must be from 0 to 2^63 - 2")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"clip ({self.clip}) must be above 0, or None for no clipping")
        to_dtype(self.dtype)
        Execution(remat=self.remat, compute=self.compute_dtype, drop_path=self.stochastic_depth)
        for name in ("batch_warmup", "length_warmup"):
            check_stages(name, getattr(self, name))
        Spikes(self.on_spike, self.spike_deviations)  # which checks them
        if isinstance(self.objective, Task):
            object.__setattr__(self, "objective", self.objective.of_family(self.model))
        if isinstance(self.data, Table) != isinstance(self.objective, Task):
            wanted = "a Table" if isinstance(self.objective, Task) else "Data"
            raise ValueError(
                f"data is {type(self.data).__name__}, and the objective "
                f"{type(self.objective).__name__} is learned from {wanted}"
            )
        _check_start(self)
        if self.merge and self.adapter is None:
            raise ValueError("merge is of an adapter, and there is none")
        if self.merge and isinstance(self.adapter, (PromptTuning, PrefixTuning)):
            raise ValueError("merge is of changed weights, and virtual tokens change none")
        if self.evaluation.per_epoch and self.epochs is None:
            raise ValueError(
                "evaluation.per_epoch counts in passes; give epochs, or evaluation.every"
            )
        if any(self.data.length % length for _, length in self.length_warmup):
            raise ValueError(f"lengths of length_warmup must divide data.length {self.data.length}")
        if self.length_warmup and (
            self.data.rows not in ("stream", "crops") or self.objective.sides == 2
        ):
            raise ValueError(
                "length_warmup cuts rows of one side: data.rows must be stream or crops, and the "
                "objective one of decoders or encoders"
            )
        if self.batch_warmup and isinstance(self.objective, Task) and self.objective.apart:
            raise ValueError(
                "batch_warmup changes the batches in which no text is to be twice: leave it out, "
                "or pass --objective.no-no-duplicates"
            )
        if self.batch_warmup and self.data.rows == "bucketed":
            raise ValueError("batch_warmup and data.rows=bucketed exclude each other")

    @property
    def text(self) -> Data:
        """What is read, of a run of text."""
        assert isinstance(self.data, Data), "a run of text"
        return self.data

    @property
    def results(self) -> list[str]:
        """The folders that the run writes at its end: of the model, of its adapter."""
        apart = self.adapter is not None and not isinstance(self.adapter, Probe)
        return ["adapter"] * apart + ["model"] * (self.merge or not apart)

    def replace(self, **changes: Any) -> TrainConfig:
        """This config with other values."""
        return dataclasses.replace(self, **changes)


def _check_start(config: TrainConfig) -> None:
    """Raises ValueError for weights to start from that are none, or are drawn twice."""
    anew = {"from_scratch": config.from_scratch, "reinitialise_layers": config.reinitialise_layers}
    named = [name for name, value in anew.items() if value]
    if named and config.init_from is None:
        raise ValueError(f"{named[0]} is of a checkpoint, and none is named: give init_from")
    if len(named) > 1:
        raise ValueError("from_scratch draws all layers: leave reinitialise_layers out")
    if config.adapter is None:
        return
    if config.init_from is None:
        raise ValueError("an adapter changes weights that there are: name them with init_from")
    if config.from_scratch and isinstance(config.adapter, Probe):
        raise ValueError(
            "a probe reads what a checkpoint has learned, and from_scratch draws its weights anew: "
            "leave from_scratch out, or train the whole model, --adapter none"
        )
    if named and isinstance(config.adapter, (LoRA, IA3, BitFit, PromptTuning, PrefixTuning)):
        raise ValueError(
            f"{named[0]} draws weights that {type(config.adapter).__name__} would leave as they "
            "are drawn: train the whole model, --adapter none"
        )


NOT_THE_RUN = frozenset(
    """steps epochs schedule_steps mesh evaluation sample out save_every keep keep_best log_every
    trackers profile watchdog resume allow_schedule_change allow_change debug
    on_nonfinite on_spike spike_deviations max_skipped merge""".split()
)
"""Fields that may differ when a run is continued: they do not change what a step computes (the
schedule does, and is checked by itself)."""

# ---------------------------------------------------------------- as JSON


FORMAT = 1
"""Of config.json, which says it; a file without one is of the releases before, and is read too.

A setting that is added needs no new format: a run from before it goes on with the default, which
must therefore be what was before. The number rises where that cannot be, with what is to be read
otherwise in older files.
"""


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """The settings as JSON has them."""
    return plain(config)


def to_file(config: TrainConfig) -> dict[str, Any]:
    """The content of the config.json in a run's folder: without that folder, so that a copy trains
    where it is."""
    settings = {name: value for name, value in to_dict(config).items() if name != "out"}
    return {"format": FORMAT, **settings}


def from_dict(values: Mapping[str, Any], where: str = "config.json") -> TrainConfig:
    """The config of a run's config.json.

    Raises:
        ValueError: keys that no config has, with the nearest names, and values that no field takes,
            all at once; a file of a later format.
    """
    check_format(values, where)
    problems: list[str] = []
    settings = {key: value for key, value in values.items() if key != "format"}
    config = read_record(TrainConfig, settings, "", problems)
    if problems:
        raise ValueError(f"{where}: " + "; ".join(problems))
    return config


def check_format(values: Mapping[str, Any], where: Any) -> None:
    """Raises ValueError for the content of a config.json that a later release has written."""
    written = values.get("format", 0)
    if type(written) is not int or not 0 <= written <= FORMAT:
        raise ValueError(
            f"{where} is of format {written!r}, and this release of transformers_jax knows those "
            f"up to {FORMAT}; go on with the release that wrote it, or a later one"
        )


def fingerprint(identity: Mapping[str, Any]) -> str:
    """A digest of the settings that decide what a step computes; sweeps of 0.1.0 recorded it."""
    return hashlib.sha256(json_text(identity, sort_keys=True).encode()).hexdigest()[:16]


def identity(config: TrainConfig) -> dict[str, Any]:
    """{"model.n_layer": 4, ...}: what must be the same when a run is continued."""
    values = {k: v for k, v in to_dict(config).items() if k not in NOT_THE_RUN}
    return as_json(flatten(values))


# ---------------------------------------------------------------- from files


def load(path: str | Path) -> TrainConfig:
    """The config of a Python file with `config()`, of a config.json, or of a run's folder.

    Raises:
        ValueError: there is none, or it is not a config.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "config.json"
    if not file.is_file():
        others = [p.as_posix() for p in file.parent.glob("*") if p.suffix in (".py", ".json")]
        raise ValueError(
            f"config {str(path)!r} does not exist{nearest(file.as_posix(), sorted(others))}; it is "
            "a Python file with config(), or the config.json of a run"
        )
    if file.suffix == ".json":
        return _read_file(file)
    return _run_file(file)


def _read_file(file: Path) -> TrainConfig:
    """A run's folder may have been copied since the config was written."""
    values = read_json(file, unique=True)
    config = from_dict(values, str(file))
    copied = file.name == "config.json" and (
        "out" not in values or (file.parent / "run.json").is_file()
    )
    return config.replace(out=str(file.parent)) if copied else config


def _run_file(file: Path) -> TrainConfig:
    if file.suffix != ".py":
        raise ValueError(f"{file} is not a Python file; a config is one with config()")
    with errors_of(file), unknown_fields(Settings, FamilyConfig):
        make = runpy.run_path(str(file)).get("config")
        if not callable(make):
            raise ValueError("there is no function config()")
        config = make()
    if not isinstance(config, TrainConfig):
        raise ValueError(f"{file}: config() returned {type(config).__name__}, not a TrainConfig")
    return config
