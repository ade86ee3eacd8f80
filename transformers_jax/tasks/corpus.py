"""The tables of a run as rows: what is trained on and what it is measured on, in place of text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from transformers_jax.data import packing
from transformers_jax.data.config import Table
from transformers_jax.data.packing import Layout
from transformers_jax.data.tables import Records, read_tables
from transformers_jax.data.texts import digest
from transformers_jax.data.tokenizers import Tokenizer
from transformers_jax.extras import need
from transformers_jax.models.base import Model
from transformers_jax.models.composite import words_of
from transformers_jax.processing.processor import Processor
from transformers_jax.processing.readers import Readers
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.classes import lacking
from transformers_jax.tasks.parts import ApartPart, TaskPart
from transformers_jax.tasks.rows import Form, Rows
from transformers_jax.tasks.warned import WARNING, few_records

UNIT = 32  # tokens by which the widths of batches differ: a program is compiled for each
TRAIN, VALIDATION = "train", "validation"
MORE = ": give more, --data.validation FILE or a higher --data.validation-fraction"


@dataclass(frozen=True)
class TaskCorpus:
    """The rows of a task: what `data.corpus.Corpus` is of a text.

    Attributes:
        task: with what it takes from the data, such as the weights of classes.
        form: how records became rows.
        train: what is trained on.
        evaluation: by name; "" is what is held out.
    """

    task: Task
    form: Form
    train: Rows
    evaluation: Mapping[str, Rows]
    expected: tuple[Any, ...] = ()
    trained_tokenizer: bool = False

    @property
    def tokenizer(self) -> Tokenizer | None:
        """That of the model; None where the task reads no text."""
        return self.form.tokenizer

    @property
    def readers(self) -> Readers:
        """What made rows of the values of the table."""
        return Readers(self.form.tokenizer, self.form.processor)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is told before the first step: classes, lengths, what is cut."""
        columns = ", ".join(f"{role} from {name!r}" for role, name in self.form.columns.items())
        rows = (self.train, *self.evaluation.values())
        sources = dict.fromkeys(some.records.note for some in rows if some.records.note)
        notes = [note for some in rows for note in some.notes]
        numbers = () if self.train.references is None else self.train.references
        if self.form.classes and all(isinstance(one, int) for one in numbers):
            absent = lacking(numbers, self.form.classes)
            notes += [f"{WARNING}{self.train.records.name}: {line}" for line in absent]
        for some in self.evaluation.values():
            notes += [f"{WARNING}{line}" for line in few_records(some, MORE)]
        return (*sources, f"columns: {columns}", *notes)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits: which rows these are."""
        parts = [self.train.fingerprint]
        parts += [f"{name} {rows.fingerprint}" for name, rows in self.evaluation.items()]
        return digest("\n".join(parts))

    @property
    def origin(self) -> str:
        """The sources and their sizes, for people."""
        held_out = ", ".join(f"{len(rows.records):,}" for rows in self.evaluation.values())
        return (
            f"{self.train.records.name}: {len(self.train.records):,} records to train on, "
            f"{held_out or 'none'} held out"
        )

    @property
    def bytes_per_token(self) -> dict[str, float | None]:
        """Not known: bits per byte are figures of texts."""
        return {}

    def part(self, rows: Rows, seed: int, *, shuffle: bool = True) -> TaskPart:
        """Rows as a stream reads them."""
        kind = ApartPart if self.task.apart and rows.references is not None else TaskPart
        return kind(rows, self.form.data, layout_of(self, rows), seed, shuffle=shuffle)

    def check_ids(self, size: int) -> None:
        """Raises ValueError for ids that the model does not have."""
        if self.tokenizer is not None and self.tokenizer.max_id >= size:
            raise ValueError(
                f"the tokenizer's largest id ({self.tokenizer.max_id}) is not in the model's "
                f"vocabulary of {size:,}; name the tokenizer that the model was trained with: "
                "--data.tokenizer DIR"
            )


def tables_of(data: Table, task: Task) -> dict[str, Records]:
    """What a task is trained on and evaluated on, by split.

    Raises:
        ValueError: as of `read_tables`.
    """
    names = task.held_together(data)
    return read_tables(data, names) if names else read_tables(data)


def learn_tokenizer(
    data: Table, task: Task, train: Records, added: tuple[str, ...] = ()
) -> Tokenizer:
    """A tokenizer of the kind `data.tokenizer`, from the texts that a task reads, with these
    special tokens `added`.

    Raises:
        ValueError: as of `train_tokenizer`; a column that is needed is not found.
    """
    columns = task.columns(data, train)
    read = [
        name
        for role, name in columns.items()
        if role not in ("image", "audio") and (role != "label" or task.learns_labels)
    ]
    names = [
        one for name in read for one in (name, *name.split(","))
    ]  # several have commas between
    texts = [text for name in names for one in train.records for text in _texts(one.get(name))]
    tokenizer = task.learned_tokenizer(data.tokenizer, texts, data.vocab_size)
    if added:
        tokenizer.add_special_tokens({"additional_special_tokens": [*added]})
    return tokenizer


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value of a column."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def read_task(
    data: Table,
    task: Task,
    tokenizer: Tokenizer | None,
    model: Model,
    reference: Model | None = None,
    tables: Mapping[str, Records] | None = None,
    processor: Processor | None = None,
) -> TaskCorpus:
    """Reads the tables, and makes their records rows.

    Args:
        model, reference: without arrays.
        tables: by split; None: they are read.
        tokenizer, processor: None where the task reads no texts, or no pictures.

    Raises:
        ValueError: a source, column or value that is none, with its place; the library of the
            task's metrics is not installed.
    """
    if task.single and data.rows == "packed":
        raise ValueError(
            f"{type(task).__name__} answers one question per row: data.rows must be padded or "
            "bucketed, not packed"
        )
    if task.scorer is not None:  # before the first step, not at the first evaluation
        need(task.scorer[0], "eval", task.scorer[1])
    tables = tables_of(data, task) if tables is None else tables
    train = tables[TRAIN]
    columns = task.columns(data, train)
    form = Form(data, tokenizer, model, columns, reference=reference, processor=processor)
    form = dataclasses.replace(form, classes=task.classes(form, train))
    form = limited(form)
    rows = {split: task.read(form, records) for split, records in tables.items()}
    form = with_lengths(form, rows.values())
    train_rows, held_out = task.used(rows[TRAIN], rows.get(VALIDATION))
    evaluation = {} if held_out is None else {"": held_out}
    return TaskCorpus(task.learned(rows[TRAIN], form), form, train_rows, evaluation)


def limited(form: Form) -> Form:
    """The form with the lengths of the config; without one, rows have what the model allows.

    Raises:
        ValueError: a length beyond that.
    """
    length, limit = form.data.length, form.limit
    if limit is not None and length > limit:
        if told := form.told_by_tokenizer:
            raise ValueError(
                f"data.length ({length}) is more than {limit} ({told}): lower --data.length, or "
                "raise it there"
            )
        raise ValueError(
            f"data.length ({length}) is more than this model reads ({limit}); lower --data.length"
        )
    most = form.data.target_length or 0
    return dataclasses.replace(form, length=length or limit or 0, target_length=most)


def with_lengths(form: Form, splits: Iterable[Rows]) -> Form:
    """The form with the lengths of the longest of these rows, where the config has none."""
    longest = np.max([rows.lengths.max(0) for rows in splits], 0).tolist()
    length, target = form.data.length or longest[0], form.data.target_length or longest[1]
    return dataclasses.replace(form, length=length, target_length=target)


def layout_of(corpus: TaskCorpus, rows: Rows | None = None) -> Layout:
    """The shape of a batch of these rows, or of those that are trained on."""
    model: Any = corpus.form.model.config
    pad = model.pad_token_id
    if pad is None:
        pad = getattr(words_of(model), "pad_token_id", None)
    layout = packing.Layout(
        width=corpus.task.width(corpus.form.length),
        target=corpus.form.target_length if corpus.task.sides == 2 else 0,
        pad=int(np.ravel([0 if pad is None else pad])[0]),
        packed=corpus.form.data.rows == "packed",
        masked=True,
        unit=UNIT,
    )
    parts = (corpus.train if rows is None else rows).examples[0].parts
    return dataclasses.replace(layout, parts=dict.fromkeys(parts, layout))
