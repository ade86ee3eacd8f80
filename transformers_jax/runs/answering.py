"""A model with its task, and what is needed to answer records; predictions.py uses it."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from transformers_jax.adapting.files import load_adapter
from transformers_jax.data.config import Table
from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.data.tables import Records
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.embedding.directory import MODULES
from transformers_jax.embedding.plan import EmbeddingPlan
from transformers_jax.hub.download import resolve
from transformers_jax.models.base import Model
from transformers_jax.nn.param import merge, split
from transformers_jax.objectives.metrics import means
from transformers_jax.objectives.reference import WithReference
from transformers_jax.pretrained import from_pretrained
from transformers_jax.processing.processor import Processor
from transformers_jax.processing.readers import Readers
from transformers_jax.runs.recipe import settings_of
from transformers_jax.runs.sampling import Sampling, check_written
from transformers_jax.tasks import TASKS, Captioning, FewShot, Reranking, Task, Transcription
from transformers_jax.tasks import classes as names
from transformers_jax.tasks.base import Answers, in_order
from transformers_jax.tasks.corpus import UNIT, TaskCorpus, TaskPart, limited, with_lengths
from transformers_jax.tasks.few_shot import classifies
from transformers_jax.tasks.reranking import is_reranker
from transformers_jax.tasks.rows import Form, Rows
from transformers_jax.tasks.warned import warnings_of
from transformers_jax.training.config import TrainConfig, load
from transformers_jax.training.exported import model_folder
from transformers_jax.training.initial import start_model, with_task
from transformers_jax.training.readers import readers_beside
from transformers_jax.training.reference import read_reference, reference_of_run

log = logging.getLogger("transformers_jax")
PROBLEMS = {"multi_label_classification": "multi_label", "regression": "regression"}


@dataclass(frozen=True)
class Answering:
    """A model with its task: what is needed to answer records.

    Attributes:
        reference: the second model that the answers of the task are made with; None without one.
        sampling: how the tokens of a task that writes are drawn.
    """

    model: Model
    task: Task
    tokenizer: Tokenizer | None
    data: Table
    reference: Model | None = None
    sampling: Sampling = Sampling()
    processor: Processor | None = None

    @property
    def column(self) -> str:
        """The column that a text, a picture or a recording without a name is taken for."""
        others = {"images": "image", "sound": "audio"}
        role = next((others[one] for one in self.task.reads if one in others), "text")
        return getattr(self.data, role) or role

    def read(self, records: Records, *, answered: bool) -> tuple[Rows, Form]:
        """(these records as rows, how they became that). Of those that are `answered`, warns of
        records that are left out, and of what makes figures say little."""
        columns = self.task.columns(self.data, records, answered=answered)
        classes = names.of(self.model.config)
        model = self.model.abstract()
        form = Form(self.data, self.tokenizer, model, columns, classes, processor=self.processor)
        form = limited(form)
        rows = self.task.read(form, records, answered=answered)
        for line in warnings_of(rows) if answered else ():
            log.warning("%s", line)
        return rows, with_lengths(form, [rows])

    def part(self, rows: Rows, form: Form) -> TaskPart:
        """The rows as batches take them. Their widths are multiples of a few tokens whatever the
        longest row is: for others, every thousand records would have a program of its own."""
        if not form.data.length:
            width = -(-form.length // UNIT) * UNIT
            form = dataclasses.replace(form, length=min(width, form.limit or width))
        return TaskCorpus(self.task, form, rows, {}).part(rows, 0, shuffle=False)

    def answers(
        self,
        records: Records,
        *,
        answered: bool,
        show: Callable[[float], None] = lambda share: None,
        first: int = 0,
    ) -> tuple[Answers, Rows, Form]:
        """(answers, the rows that they answer, how these were made) of some records; `show` is told
        which share of them is done, and tokens are drawn by the number of the `first`."""
        rows, form = self.read(records, answered=answered)
        found: list[Any] = []
        batches = evaluation_batches(self.part(rows, form), records.name)
        for number, batch in enumerate(batches):
            show(number / len(batches))
            if options := self.sampling.options(first, number):
                found.append(self.task.write(self.model, batch, **options))
                continue
            if self.reference is None:
                found.append(self.task.respond(self.model, batch))
                continue
            definitions, values = zip(split(self.model), split(self.reference))  # of both
            answer = _measured(self.task, *definitions, values, batch)
            found.append(jax.device_get(answer))
        return *in_order(found, rows), form

    def losses(self, records: Records) -> dict[str, float]:
        """The means of what a task reports that compares no answers."""
        if self.sampling.draws:
            raise ValueError("temperature and top_p are of texts, and the loss is of none")
        rows, form = self.read(records, answered=True)
        part = self.part(rows, form)
        definition, values = split(self.model)
        batches = evaluation_batches(part, records.name)
        sums = [jax.device_get(_sums(self.task, definition, values, one)) for one in batches]
        added = jax.tree.map(lambda *parts: float(sum(parts)), *sums)
        return {name: float(value) for name, value in means(added).items()}


def opened(
    model: str | Path | Model,
    task: str | Task | None,
    tokenizer: Any,
    settings: Mapping[str, Any],
    processor: Any = None,
) -> Answering:
    """A model and its task: the one that is named, else that of the run, else that of its head.

    Args:
        model: a directory, a run, a hub id; or a model, with its tokenizer or its processor.
        settings: of `Table`, of the task and of `Sampling`, by name.

    Raises:
        ValueError: a model of no task, or without a tokenizer or an image processor that the task
            needs; how texts are written, of another.
        TypeError: an unknown setting.
    """
    config = None if isinstance(model, Model) else _of_run(Path(model).expanduser())
    start: Model | None = None
    source: Path | None = None
    if not isinstance(model, Model):
        named = task if isinstance(task, str) else getattr(task, "head", None)
        where = Path(model).expanduser()
        model, start = _loaded(model, config, named, settings)
        source = where if config else resolve(model_folder(str(where)))
    if isinstance(task, str):
        if task not in TASKS:
            raise ValueError(f"task {task!r} is none of {', '.join(TASKS)}")
        task = TASKS[task]()
    own = config.objective if config is not None and isinstance(config.objective, Task) else None
    chosen: Any = (task or own or _of_head(model)).of_family(model.config)
    data = config.data if config is not None and isinstance(config.data, Table) else Table()
    data = dataclasses.replace(data, train="", too_long=data.too_long if own else chosen.too_long)
    data = chosen.tabled(data)
    if "sound" in chosen.reads:  # the longest that was trained on limits no recording
        data = dataclasses.replace(data, length=0)
    if not chosen.scored:  # what is written stands behind a row of its own
        data = dataclasses.replace(data, rows="bucketed")
    check_written(chosen, settings)
    records = settings_of({"data": data, "task": chosen, "sampling": Sampling()}, settings)
    reference = _reference(records["task"], config, start)
    readers = readers_beside(records["task"], Readers(tokenizer, processor), source)
    model = with_task(records["task"].equipped(model), records["task"], readers.tokenizer)
    return Answering(
        model, tokenizer=readers.tokenizer, reference=reference, processor=readers.processor,
        **records,
    )  # fmt: skip


def _loaded(
    path: str | Path, config: TrainConfig | None, task: str | None, settings: Mapping[str, Any]
) -> tuple[Model, Model | None]:
    """(the model of a directory or a run, that which its adapter stands over, if it has one)."""
    adapter = Path(path).expanduser() / "adapter"
    if config is None or config.adapter is None or not adapter.is_dir():
        folder = resolve(model_folder(str(path)))
        if task != "embedding" and not (folder / MODULES).is_file():
            return from_pretrained(folder), None
        return from_pretrained(folder, head="embedding", pooling=settings.get("pooling")), None
    start = start_model(config, None, lambda line: None)[0]
    return load_adapter(start, adapter), start


def _reference(task: Any, config: TrainConfig | None, start: Model | None) -> Model | None:
    """The second model that the answers of a task are made with; None where it needs none.

    Args:
        start: the model that the run started from, if it has been read.

    Raises:
        ValueError: it is not known, or not what it was in the run.
    """
    if not isinstance(task, WithReference) or not task.answers_with:
        return None
    own: Any = None if config is None else config.objective
    if config is not None and isinstance(own, WithReference) and task.second in ("", own.second):
        return reference_of_run(config, start)
    if not task.second:
        raise ValueError(
            f"the answers of {type(task).__name__} are compared with those of a second model: name "
            f"its directory with {task.role}="
        )
    return read_reference(task)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sums(task: Any, model: Any, values: Any, batch: Any) -> Any:
    """{name: (sum, weight)} of a batch, by the definition of a model and its parameters."""
    return task.measure(merge(model, values), batch)[0]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _measured(task: Any, model: Any, reference: Any, values: Any, batch: Any) -> Any:
    """The answers of a task to a batch, by the definitions of two models and their parameters."""
    return task.measure(merge(model, values[0]), batch, merge(reference, values[1]))[1]


def _of_run(folder: Path) -> TrainConfig | None:
    """The config of a run's folder; None where it is none."""
    return load(folder) if (folder / "run.json").is_file() else None


def _of_head(model: Model) -> Task:
    """The task of the head of a model.

    Raises:
        ValueError: there is none.
    """
    if model.plan.head == Reranking.head and is_reranker(model.config):
        return Reranking()
    problem = PROBLEMS.get(model.config.problem_type or "")
    if classifies(model):
        return FewShot()
    if fitting := [own for own in (Transcription, Captioning) if own.trains(model)]:
        return fitting[0]()
    head = "embedding" if isinstance(model.plan, EmbeddingPlan) else model.plan.head
    for name, task in TASKS.items():
        if head == task.head and (problem is None or name == problem):
            return task()
    raise ValueError(
        f"the head {head!r} of this model is that of no task; say with --task (in Python, "
        f"task=) which it was trained on: {', '.join(TASKS)}"
    )
