"""What a model knows as it is: questions behind a few examples with their answers, and no training.

By likelihood: of the choices the one that the model finds likeliest behind the prompt; as longer
texts are less likely, also by the log-probability for each character, byte and token. The figures
`acc`, `acc_norm` (characters) and `acc_bytes` are those of lm-evaluation-harness. By generation:
what the model writes, up to a line break, is compared with the answer.

Each figure has a 95 % confidence interval, of Wilson 1927: of a share of records, it lies between 0
and 1 also where all are right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from transformers_jax.data.tables import Records
from transformers_jax.evaluation.questions import (
    TEMPLATE,
    Question,
    check_template,
    prompt_of,
    read_questions,
    shots_of,
)
from transformers_jax.evaluation.writing import write_answers
from transformers_jax.models.base import Model
from transformers_jax.scoring.continuations import read_of, scores_of
from transformers_jax.scoring.pairs import check_writes, pairs_of, rows_of
from transformers_jax.scoring.windows import longest
from transformers_jax.settings import Settings
from transformers_jax.sizes import check_count

Z = 1.959963984540054  # of a normal distribution, 95 % lie within so many deviations


@dataclass(frozen=True)
class InContext(Settings):
    """How questions are put to a model."""

    shots: int = 0
    """examples with their answers in front of each question"""
    seed: int = 0
    """of the choice of examples"""
    template: str = TEMPLATE
    """a question and its answer: names of columns in braces, and {answer} at the end"""
    separator: str = "\n\n"
    """between examples"""
    by: Literal["likelihood", "generation"] | None = None
    """how an answer is read; by default by likelihood where there are choices"""
    text: str | None = None
    """the column of questions; by default question, else prompt"""
    label: str = "answer"
    """the column of answers"""
    batch: int = 16
    """prompts that are computed together"""
    max_new_tokens: int = 32
    """most tokens of an answer that is written"""
    until: tuple[str, ...] = ("\n",)
    """strings that end an answer that is written"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("shots", self.shots, 0)
        check_count("batch", self.batch)
        check_count("max_new_tokens", self.max_new_tokens)


@dataclass(frozen=True)
class Answered:
    """A question with what the model said: its answer, whether that is right, and its scores."""

    question: Question
    answer: str
    right: bool


def evaluate_in_context(
    model: Model,
    tokenizer: Any,
    records: Records,
    settings: InContext,
    examples: Records | None = None,
) -> tuple[dict[str, float], list[Answered]]:
    """(figures, each question with the model's answer); of several ways to compare choices, the
    answers are those of the log-probability.

    Args:
        examples: the records that examples are drawn from; by default the others of the table.

    Raises:
        ValueError: a model that continues no texts; a record that cannot be read, with its place; a
            prompt that is longer than the model reads; choices that are needed and are not there.
    """
    check_writes(model, "in_context")
    questions = read_questions(records, settings.text, settings.label)
    pool = questions
    if examples is not None:
        pool = read_questions(examples, settings.text, settings.label)
    template = check_template(settings.template, records.columns)
    between = settings.separator.replace("\\n", "\n")
    shots = shots_of(questions, pool, settings.shots, settings.seed)
    prompts = [prompt_of(q, some, template, between) for q, some in zip(questions, shots)]
    by = settings.by or ("likelihood" if questions[0].choices else "generation")
    if by == "likelihood":
        if not questions[0].choices:
            raise ValueError(
                f"{records.name} has no column 'choices', which by='likelihood' compares: give "
                "them, or by='generation'"
            )
        shares, answered = _by_likelihood(model, tokenizer, questions, prompts, settings)
    else:
        shares, answered = _by_generation(model, tokenizer, questions, prompts, settings)
    figures: dict[str, float] = {}
    for name, right in shares.items():
        low, high = wilson(int(np.sum(right)), len(right))
        figures |= {name: float(np.mean(right)), f"{name}_low": low, f"{name}_high": high}
    if by == "likelihood":
        figures["chance"] = float(np.mean([1 / len(q.choices) for q in questions]))
    return {**figures, "shots": settings.shots, "records": len(questions)}, answered


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, of Wilson 1927."""
    share, z2 = right / count, Z * Z
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    spread = Z / (1 + z2 / count)
    spread *= math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def _by_likelihood(
    model: Model,
    tokenizer: Any,
    questions: Sequence[Question],
    prompts: Sequence[str],
    settings: InContext,
) -> tuple[dict[str, list[bool]], list[Answered]]:
    texts, places = [], []
    for question, prompt in zip(questions, prompts):
        spaces = len(prompt) - len(prompt.rstrip())
        gap = "" if model.is_encoder_decoder else prompt[len(prompt) - spaces :]
        texts += [(prompt.rstrip(), gap + choice) for choice in question.choices]
        places += [question.where] * len(question.choices)
    pairs = pairs_of(model, texts, tokenizer, True)
    _check_lengths(model, places, [read_of(model, p) for p in pairs], settings)
    if model.is_encoder_decoder:
        _check_lengths(model, places, [len(p.context) for p in pairs], settings)
    each, _ = scores_of(model, pairs, settings.batch)
    shares: dict[str, list[bool]] = {n: [] for n in ("acc", "acc_norm", "acc_bytes", "acc_tokens")}
    answered, start = [], 0
    for question in questions:
        rows = each[start : start + len(question.choices)]
        start += len(rows)
        sums = np.array([row.sum() for row in rows])
        lengths = {
            "acc": [1] * len(rows),
            "acc_norm": [len(choice) for choice in question.choices],
            "acc_bytes": [len(choice.encode()) for choice in question.choices],
            "acc_tokens": [len(row) for row in rows],
        }
        chosen = {name: int(np.argmax(sums / np.array(size))) for name, size in lengths.items()}
        for name, number in chosen.items():
            shares[name].append(number == question.right)
        answer = question.choices[chosen["acc"]]
        answered.append(Answered(question, answer, chosen["acc"] == question.right))
    return shares, answered


def _by_generation(
    model: Model,
    tokenizer: Any,
    questions: Sequence[Question],
    prompts: Sequence[str],
    settings: InContext,
) -> tuple[dict[str, list[bool]], list[Answered]]:
    rows = rows_of(tokenizer, [p.rstrip() for p in prompts], True, model.is_encoder_decoder)
    count = settings.max_new_tokens
    lengths = [len(row) + (0 if model.is_encoder_decoder else count) for row in rows]
    _check_lengths(model, [q.where for q in questions], lengths, settings)
    until = tuple(one.replace("\\n", "\n") for one in settings.until)
    written = write_answers(
        model, tokenizer, rows, until=until, max_new_tokens=count, batch_size=settings.batch,
        do_sample=False,
    )  # fmt: skip
    right = [text.strip() in map(str.strip, q.answers) for text, q in zip(written, questions)]
    answered = [Answered(q, text, ok) for q, text, ok in zip(questions, written, right)]
    return {"exact_match": right}, answered


def _check_lengths(
    model: Model, places: Sequence[str], lengths: Sequence[int], settings: InContext
) -> None:
    """Raises ValueError for a prompt that, with its answer, is longer than the model reads."""
    try:
        most = longest(model)
    except ValueError:  # texts of any length
        return
    for where, length in zip(places, lengths):
        if length > most:
            raise ValueError(
                f"{where}: with {settings.shots} examples in front and its answer, the prompt has "
                f"{length} tokens, and the model reads {most}; give fewer --shots"
            )
