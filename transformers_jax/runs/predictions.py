"""What a model predicts for the records of a table, and how good that is.

Records are read some thousands at a time; rows of like length are in a batch, and the order of the
records is restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers_jax.data.damaged import NothingRead, count_failed
from transformers_jax.data.tables import Records
from transformers_jax.models.base import Model
from transformers_jax.runs.answering import Answering, opened
from transformers_jax.runs.asking import asked, asks
from transformers_jax.runs.asking import records_of as records_of
from transformers_jax.tasks import Task
from transformers_jax.tasks.figures import Figure

ERROR = "error"
TOGETHER = 1024  # records that are read and sorted together, at least


def predict(
    model: str | Path | Model,
    records: Any,
    *,
    task: str | Task | None = None,
    tokenizer: Any = None,
    processor: Any = None,
    show: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """A prediction for each record: {"label": "pos", "score": 0.98, ...}, by its task. With
    damaged="skip" that of a record whose picture or recording cannot be read is {"error": ...}.

    Args:
        model: a directory, a run, or a hub id; or a model, with its `tokenizer` or `processor`.
        records: the path of a table, records (a list of dicts), columns, a frame; or texts, or the
            pictures themselves.
        task: its name or its record, where it is not that of the run or of the model's head.
        settings: of `Table`, of the task and of `Sampling`, by name (text="sentence", batch=64).

    Raises:
        ValueError: a record that cannot be read, with its place; a model of no task; with
            damaged="skip", none that can be read.
        TypeError: an unknown setting.
    """
    answering = opened(model, task, tokenizer, settings, processor)
    if isinstance(records, (list, tuple)) and records and not isinstance(records[0], Mapping):
        records = [{answering.column: value} for value in records]
    found = predictions(answering, records_of(records, "records", answering.data.encoding), show)
    lines = [one for some in found for one in some]
    errors = errors_in(lines)
    count_failed(len(errors), len(lines), "records", "".join(errors[:1]))
    return lines


def predictions(
    answering: Answering, records: Records, show: Callable[[str], None], first: int = 0
) -> Iterator[list[dict[str, Any]]]:
    """Those of some records at a time, whole batches of them, from the `first` on; `show` gets how
    far it is, after each batch."""
    total, batch = len(records), answering.data.batch
    span = -(-TOGETHER // batch) * batch
    for start in range(first // span * span, total, span):
        some = records.select(range(start, min(start + span, total)))
        said = lambda share: show(
            f"predicted {start + int(share * len(some)):,} of {total:,} records"  # noqa: B023
        )
        made: list[dict[str, Any]] = []
        try:
            answers, rows, form = answering.answers(some, answered=False, show=said, first=start)
        except NothingRead as error:
            wrong = error.left_out
        else:
            made, wrong = answering.task.predictions(answers, rows, form), rows.records.left_out
        yield _in_place(made, wrong)[max(first - start, 0) :]
        said(1.0)


def _in_place(made: Sequence[dict[str, Any]], wrong: Mapping[int, str]) -> list[dict[str, Any]]:
    """Predictions, with the errors of the records between them that were left out."""
    if not wrong:
        return list(made)
    rest = iter(made)
    every = range(len(made) + len(wrong))
    return [{ERROR: wrong[number]} if number in wrong else next(rest) for number in every]


def errors_in(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the records that have an error in place of a prediction."""
    return [one[ERROR] for one in lines if one.keys() == {ERROR}]


def evaluate(
    model: str | Path | Model,
    records: Any,
    *,
    task: str | Task | None = None,
    tokenizer: Any = None,
    processor: Any = None,
    **settings: Any,
) -> dict[str, float]:
    """How good the predictions for these records are, by the metrics of the task; arguments are
    those of `predict`.

    Raises:
        ValueError: as of `predict`; a record without what is to be predicted.
    """
    named: Any = {"task": task, "tokenizer": tokenizer, "processor": processor}
    return measured(model, records, **named, **settings)[0]


def measured(
    model: str | Path | Model,
    records: Any,
    *,
    task: str | Task | None = None,
    tokenizer: Any = None,
    processor: Any = None,
    **settings: Any,
) -> tuple[dict[str, float], Figure | None]:
    """(what `evaluate` gives, what a report shows of the answers)."""
    if asks(model, task):
        return asked(model, records, tokenizer, settings)
    answering = opened(model, task, tokenizer, settings, processor)
    table = records_of(records, "records", answering.data.encoding)
    if not answering.task.scored:
        return answering.losses(table), None
    answered = answering.answers(table, answered=True)
    return answering.task.metrics(*answered), answering.task.figure(*answered)
