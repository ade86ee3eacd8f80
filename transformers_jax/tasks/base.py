"""Task: what a model is asked of each record, and how good its answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Key
from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.graph import Mask
from transformers_jax.models.base import Model
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.plan import Plan
from transformers_jax.nn.loss import cross_entropy
from transformers_jax.objectives.losses import supervised
from transformers_jax.objectives.metrics import Batch, LossAndMetrics, Objective
from transformers_jax.settings import Settings
from transformers_jax.tasks.figures import Figure
from transformers_jax.tasks.rows import NUMBER, READ, ROLES, Form, Rows

Answers = Mapping[str, np.ndarray]
"""What a model says of each example, [N ...] by name."""


class Task(Settings):
    """What is asked; each record of this package is one.

    Class attributes:
        head: of the model.
        metric: the figure by which the best checkpoint is chosen, and early stopping goes, where
            settings say no other.
        lower: whether less of it is better.
        reads: what stands in the columns: "text", of which a tokenizer makes ids; "images", of
            which a processor makes pixel values; "sound".
        needed: roles of columns that the table must have.
        usual: role -> usual names of its column, where the config names none.
        further: roles that the task looks for in ways of its own.
        answered: fields of the model's output that predictions are made of.
        too_long: what becomes of long texts where the config does not say it.
        withheld: entries of a batch that the model does not read.
        writes: whether answers are texts that the model writes.
        peak: the learning rate at the top of the schedule where the config does not say it.
        scorer: (module, what it computes) of the extra `eval`, if the metrics need one.
    """

    head: ClassVar[str]
    metric: ClassVar[str]
    lower: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ("text",)
    needed: ClassVar[tuple[str, ...]]
    usual: ClassVar[Mapping[str, tuple[str, ...]]]
    further: ClassVar[tuple[str, ...]] = ()
    answered: ClassVar[tuple[str, ...]] = ("logits",)
    too_long: ClassVar[Literal["truncate", "stride"]] = "truncate"
    writes: ClassVar[bool] = False
    peak: ClassVar[float] = 2e-5
    scorer: ClassVar[tuple[str, str] | None] = None
    withheld: ClassVar[tuple[str, ...]] = (NUMBER,)
    loss: ClassVar[str] = "supervised"
    sides: ClassVar[int] = 1
    single: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        """The figure by which the best checkpoint is chosen."""
        return self.metric

    @property
    def scored(self) -> bool:
        """Whether answers are compared with references, beside the loss."""
        return self.writes or bool(self.answered)

    @property
    def apart(self) -> bool:
        """Whether no text may be twice in a batch, as its rows are compared with one another."""
        return False

    # ------------------------------------------------------------ data

    @property
    def learns_labels(self) -> bool:
        """Whether what is to be predicted is text, which a tokenizer has to know."""
        return self.head in ("causal_lm", "seq2seq_lm")

    @property
    def roles(self) -> tuple[str, ...]:
        """Special tokens of a tokenizer that is learned for the task."""
        return ("pad", "eos") if self.learns_labels else ("pad", "cls", "sep", "mask")

    def learned_tokenizer(self, kind: str, texts: Sequence[str], size: int) -> Tokenizer:
        """A tokenizer of a kind that is learned from texts; `size` as of `train_tokenizer`."""
        return train_tokenizer(kind, texts, size, self.roles)

    def columns(self, data: Table, records: Records, *, answered: bool = True) -> dict[str, str]:
        """role -> column: those that the config names, else the first of the usual names that the
        table has.

        Args:
            answered: whether what is to be predicted must be there.

        Raises:
            ValueError: one that is needed is not found, or one is named that the task does not
                read.
        """
        columns = {}
        read = {*self.usual, *self.further}
        for role in sorted(ROLES - read):
            if getattr(data, role) is not None:
                flags = " ".join(f"--data.{name.replace('_', '-')}" for name in sorted(read))
                raise ValueError(
                    f"data.{role} names {getattr(data, role)!r}, a column that "
                    f"{type(self).__name__} does not read: leave it out (it reads {flags})"
                )
        if data.target_length is not None and not self.writes:
            raise ValueError(
                f"data.target_length is {data.target_length}, and {type(self).__name__} has no "
                "texts to write: leave it out"
            )
        for role, names in self.usual.items():
            named = getattr(data, role, None)
            if named is not None:
                if answered or role in READ:
                    for name in self.names_in(role, named):
                        records.check_column(name, f"data.{role.replace('_', '-')}")
                columns[role] = named
            elif found := [name for name in names if name in records.columns]:
                columns[role] = found[0]
            elif role in self.needed and (answered or role in READ):
                flag = f"--data.{role.replace('_', '-')}"
                raise ValueError(
                    f"{records.name} has the columns {', '.join(map(repr, records.columns))}, and "
                    f"none of {', '.join(map(repr, names))}: {records.naming(flag)}"
                )
        return columns

    def names_in(self, role: str, named: str) -> list[str]:
        """The columns that are named for a role: one, where a task does not take several."""
        return [named]

    def of_family(self, family: FamilyConfig) -> Task:
        """This task, as models of a family do it."""
        return self

    def added_tokens(self, family: FamilyConfig) -> tuple[str, ...]:
        """Special tokens that a tokenizer which is learned for such a model has besides."""
        return ()

    def tabled(self, data: Table) -> Table:
        """The settings of a table as this task has them."""
        return data

    def classes(self, form: Form, records: Records) -> tuple[str, ...]:
        """The names of the classes, by number, of what is trained on; () where there are none."""
        return ()

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        """Records as rows.

        Raises:
            ValueError: a value that is none of its column, with the place of the record.
        """
        raise NotImplementedError

    def learned(self, rows: Rows, form: Form) -> Task:
        """This task with what it takes from the rows that are trained on."""
        return self

    def used(self, train: Rows, held_out: Rows | None) -> tuple[Rows, Rows | None]:
        """What is trained on and what is evaluated on, of the rows of the two tables."""
        return train, held_out

    def finished(self, model: Model, corpus: Any) -> Model:
        """The model that is exported, of one that was trained on a `TaskCorpus`."""
        return model

    def held_together(self, data: Table) -> tuple[str, ...]:
        """Names of columns, of which the first that there is keeps records on one side where a part
        of them is held out: those with the same value; () if each is by itself."""
        return ()

    @property
    def languages(self) -> dict[str, str]:
        """The languages of the tokenizer, as `load_tokenizer` takes them; {} leaves them as the
        files have them."""
        return {}

    def generation(self, tokenizer: Tokenizer) -> dict[str, int]:
        """Settings of generation that the model of this task has; {} leaves its own."""
        return {}

    def fitted(self, model: FamilyConfig, classes: Sequence[str]) -> FamilyConfig:
        """The config of a model that answers with these classes."""
        return model

    def planned(self, plan: Plan) -> Plan:
        """The plan of a model of this task, from that of its family and head."""
        return plan

    def equipped(self, model: Model) -> Model:
        """A model that was loaded, as the settings of the task have it."""
        return model

    # ------------------------------------------------------------ training

    def mask(self, packed: bool) -> Mask | dict[str, Mask] | None:
        """The mask to build the model with; None: the family's own."""
        return None

    def width(self, length: int) -> int:
        """Columns of a row of at most so many tokens."""
        return length

    @property
    def objective(self) -> Objective:
        """The loss, as an objective of a training step."""
        return TaskObjective(self)

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The arguments of the model, its labels with them if its head computes the loss."""
        given = {name: value for name, value in batch.items() if name not in self.withheld}
        if NUMBER in batch and "attention_mask" in given:
            given["attention_mask"] = _with_a_token(given["attention_mask"], batch[NUMBER])
        return given

    def compare(self, output: Any, batch: Batch) -> LossAndMetrics:
        """(loss, what is reported) of an output of the model: by default its head's own loss."""
        return supervised(lambda **_: output, {}, None)

    def output(self, model: Any, batch: Batch, key: Key | None) -> Any:
        """The output of the model for a batch."""
        return model(**self.inputs(batch), key=key)

    def minimise(self, model: Any, batch: Batch, key: Key | None) -> LossAndMetrics:
        """(loss, what is reported) of a batch."""
        return self.compare(self.output(model, batch, key), batch)

    def measure(self, model: Any, batch: Batch) -> tuple[Any, dict[str, Array]]:
        """(sums and weights of what is reported, answers with the number of each row's example) of
        a batch, without noise."""
        output = self.output(model, batch, None)
        return self.compare(output, batch)[1], {**self.answers(output), NUMBER: batch[NUMBER]}

    @property
    def generates(self) -> bool:
        """Whether predictions are texts that the model writes."""
        return self.writes or not self.scored

    def respond(self, model: Any, batch: Batch) -> Answers:
        """What the model says of the rows of a batch."""
        if self.generates:
            return self.write(model, batch)
        answers = jax.device_get(self.answers(self.output(model, batch, None)))
        return {**answers, NUMBER: np.asarray(batch[NUMBER])}

    def write(self, model: Any, batch: Batch, **options: Any) -> dict[str, np.ndarray]:
        """Answers that are written token by token: of a task that `generates`. The likeliest tokens
        are taken, unless the options, which are those of `generate`, say otherwise."""
        raise NotImplementedError

    def answers(self, output: Any) -> dict[str, Array]:
        """What predictions are made of, [B ...] by name."""
        return {name: output[name] for name in self.answered}

    def watch(self, number: int, figures: Mapping[str, float], model: FamilyConfig) -> None:
        """Raises FloatingPointError for figures of a step with which a run need not go on."""

    # ------------------------------------------------------------ answers

    def metrics(self, answers: Answers, rows: Rows, form: Form) -> dict[str, float]:
        """How good the answers to all rows are, by the metrics of the task."""
        raise NotImplementedError

    def predictions(self, answers: Answers, rows: Rows, form: Form) -> list[dict[str, Any]]:
        """A prediction for each record, as JSON has it."""
        raise NotImplementedError

    def figure(self, answers: Answers, rows: Rows, form: Form) -> Figure | None:
        """What the report shows of the answers to all rows; None: nothing."""
        return None


def _with_a_token(mask: Array, numbers: Array) -> Array:
    """The mask, in which a row that fills up a batch has its first token: a mean over none is NaN,
    and so would be the gradient, whatever the row's weight."""
    none = (numbers < 0).reshape(-1, *[1] * (mask.ndim - 1))
    return mask | (none & (np.arange(mask.shape[-1]) == 0))


class OfClasses(Task):
    """A task whose loss, over classes, is computed here and not by the head of the model."""

    withheld: ClassVar[tuple[str, ...]] = (NUMBER, "labels")

    def compare(self, output, batch):
        """(mean cross-entropy over the labels, with the accuracy) of an output of the model."""
        labels = batch["labels"]
        total, count = cross_entropy(output.logits, labels)
        right = (output.logits.argmax(-1) == labels).sum().astype(jnp.float32)
        return total / jnp.maximum(count, 1), {"loss": (total, count), "accuracy": (right, count)}


@dataclass(frozen=True)
class TaskObjective:
    """The loss of a task, as an objective of a training step."""

    task: Task

    def __call__(
        self, model: Any, batch: Batch, key: Key | None, *reference: Any
    ) -> LossAndMetrics:
        return self.task.minimise(model, batch, key, *reference)

    def inputs(self, model: Any, batch: Batch) -> list[Batch]:
        """What the model is called with."""
        return [self.task.inputs(batch)]


def in_order(batches: Sequence[Answers], rows: Rows) -> tuple[Answers, Rows]:
    """The answers of batches in the order of the examples, and the rows that they answer; batches
    may be some of all that there are."""
    numbers = np.concatenate([batch[NUMBER] for batch in batches])
    order = np.argsort(numbers, kind="stable")[int((numbers < 0).sum()) :]
    names = [name for name in batches[0] if name != NUMBER]
    answers = {name: joined([batch[name] for batch in batches])[order] for name in names}
    return answers, rows.some(numbers[order].tolist())


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays behind one another; those whose rows are of unlike width are filled up with the least
    number, as scores of positions that are not there."""
    widths = {array.shape[1:] for array in arrays}
    if len(widths) == 1:
        return np.concatenate(arrays)
    widest = np.max([*widths], axis=0)
    fill = np.finfo(arrays[0].dtype).min if arrays[0].dtype.kind == "f" else -1
    wide = []
    for array in arrays:
        room = [(0, 0), *((0, int(most - own)) for most, own in zip(widest, array.shape[1:]))]
        wide.append(np.pad(array, room, constant_values=fill))
    return np.concatenate(wide)
