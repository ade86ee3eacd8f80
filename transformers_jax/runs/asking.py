"""Evaluation in context: a model is asked the questions of a table as it is (evaluation/)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers_jax.auto import AutoConfig
from transformers_jax.data.tables import Records, of_python, open_table
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.embedding.directory import MODULES
from transformers_jax.evaluation.in_context import Answered, InContext, evaluate_in_context
from transformers_jax.hub.download import resolve
from transformers_jax.models.base import Model
from transformers_jax.pretrained import from_pretrained, head_of
from transformers_jax.runs.recipe import settings_of
from transformers_jax.scoring.pairs import HEADS
from transformers_jax.tasks.figures import Listing, cell
from transformers_jax.training.exported import model_folder

TASK = "in_context"
ALSO = "few_shot"  # of a model that continues texts; of another it is the task of that name
SHOWN = 20


def records_of(source: Any, name: str, encoding: str = "utf-8") -> Records:
    """The records of a path, or of Python's lists and frames; of several splits, of the one that
    is to be evaluated."""
    if not isinstance(source, (str, Path)):
        return of_python(name, source)
    splits = open_table(str(source), name, encoding)
    return next(splits[split] for split in ("test", "validation", "train") if split in splits)


def asks(model: str | Path | Model, task: Any) -> bool:
    """Whether a task is this one for a model: `in_context`, or `few_shot` of a model that
    continues texts."""
    if task != ALSO:
        return task == TASK
    if isinstance(model, Model):
        return getattr(model.plan, "head", None) in HEADS
    folder = resolve(model_folder(str(model)))
    if (folder / MODULES).is_file():
        return False
    return head_of(AutoConfig.from_pretrained(folder), None) in HEADS


def asked(
    model: str | Path | Model, records: Any, tokenizer: Any, settings: Mapping[str, Any]
) -> tuple[dict[str, float], Listing]:
    """(the figures, some of the answers).

    Args:
        settings: of `InContext`, `encoding`, and `examples`: the records that examples are drawn
            from.

    Raises:
        ValueError: as of `evaluate_in_context`; a model without its tokenizer.
        TypeError: an unknown setting.
    """
    settings = dict(settings)
    examples, encoding = settings.pop("examples", None), settings.pop("encoding", "utf-8")
    chosen = settings_of({TASK: InContext()}, settings)[TASK]
    if not isinstance(model, Model):
        folder = resolve(model_folder(str(model)))
        tokenizer = load_tokenizer(folder) if tokenizer is None else tokenizer
        model = from_pretrained(folder)
    if tokenizer is None:
        raise ValueError("questions are texts: pass tokenizer=tj.load_tokenizer(path)")
    table = records_of(records, "records", encoding)
    pool = None if examples is None else records_of(examples, "examples", encoding)
    figures, answered = evaluate_in_context(model, tokenizer, table, chosen, pool)
    return figures, _listing(answered)


def _listing(answered: list[Answered]) -> Listing:
    """The first answers, wrong ones before right ones."""
    some = sorted(answered, key=lambda one: one.right)[:SHOWN]
    rows = [
        [cell(text) for text in (one.question.text, one.answer, one.question.answers[0])]
        for one in some
    ]
    return Listing("Answers, wrong ones first", ("question", "answer", "right answer"), rows)
