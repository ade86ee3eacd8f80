"""Questions of a table, and the prompts that put them: examples with their answers in front.

A record has a question (`question` or `prompt`) and an answer. With `choices` the answer is one of
them, by its number from 0 or by its text; without, a text, or a list of texts that are all right.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transformers_jax.data.tables import Records
from transformers_jax.spelling import nearest

QUESTIONS, CHOICES = ("question", "prompt"), "choices"
TEMPLATE = "Q: {question}\nA: {answer}"
ANSWER = "{answer}"


@dataclass(frozen=True)
class Question:
    """A question of a table.

    Attributes:
        where: the place of its record.
        text: the question, by which equal ones are known.
        values: the columns of its record, as a template writes them.
        choices: possible answers; () where an answer is free.
        right: the number of the right choice; 0 of free answers.
        answers: the texts that are right.
    """

    where: str
    text: str
    values: Mapping[str, str]
    choices: tuple[str, ...]
    right: int
    answers: tuple[str, ...]


def read_questions(records: Records, text: str | None, label: str) -> list[Question]:
    """The questions of a table, read strictly.

    Args:
        text: the column of questions; by default `question`, else `prompt`.
        label: the column of answers.

    Raises:
        ValueError: a column that is missing, a record that cannot be read, with its place, and what
            was expected.
    """
    named = text or next((name for name in QUESTIONS if name in records.columns), QUESTIONS[0])
    texts, answers = records.texts(named, "text"), records.column(label, "label")
    with_choices = CHOICES in records.columns
    choices = records.column(CHOICES, CHOICES) if with_choices else [()] * len(texts)
    found = []
    for number, where in enumerate(records.places):
        if not texts[number].strip():
            raise ValueError(f"{where}: {named!r} is empty")
        some = _choices(where, choices[number]) if with_choices else ()
        right, accepted = _answer(where, label, answers[number], some)
        values = {name: _written(value) for name, value in records.records[number].items()}
        values = {**values, "question": texts[number]}
        found.append(Question(where, texts[number], values, some, right, accepted))
    return found


def _choices(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        raise ValueError(f"{where}: 'choices' holds {value!r:.60}; expected a list of two or more")
    if wrong := [one for one in value if not isinstance(one, str) or not one.strip()]:
        raise ValueError(f"{where}: 'choices' holds {wrong[0]!r:.40} among texts; expected texts")
    if len({*value}) < len(value):
        raise ValueError(f"{where}: 'choices' holds a text twice; each is a choice of its own")
    return tuple(value)


def _answer(
    where: str, label: str, value: Any, choices: tuple[str, ...]
) -> tuple[int, tuple[str, ...]]:
    """(the number of the right choice, the texts that are right)."""
    if not choices:
        some = value if isinstance(value, (list, tuple)) else [value]
        if not some or any(not isinstance(one, str) or not one.strip() for one in some):
            raise ValueError(
                f"{where}: {label!r} holds {value!r:.60}; expected a text, or a list of those that "
                "are right (where 'choices' has the possible answers, the number of one)"
            )
        return 0, tuple(some)
    if isinstance(value, str) and value in choices:
        value = choices.index(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(choices):
        raise ValueError(
            f"{where}: {label!r} holds {value!r:.40}; expected the number of a choice, from 0 to "
            f"{len(choices) - 1}, or its text"
        )
    return value, (choices[value],)


def _written(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


# ---------------------------------------------------------------- prompts


def check_template(template: str, columns: Sequence[str]) -> str:
    """The template, with `\\n` and `\\t` as a command line has them; it ends with {answer}.

    Raises:
        ValueError: one that does not, or that names what is no column.
    """
    template = template.replace("\\n", "\n").replace("\\t", "\t")
    if not template.endswith(ANSWER) or template.count(ANSWER) > 1:
        raise ValueError(f"template {template!r} must end with {ANSWER}, which is predicted")
    known = dict.fromkeys(["question", *columns, "answer"])
    try:
        fields = [part[1] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"template {template!r} cannot be read: {error}") from None
    for name in fields:
        if name not in known:
            raise ValueError(
                f"template {template!r} names {name!r}{nearest(name, known)}; there are "
                f"{', '.join(known)}"
            )
    return template


def shots_of(
    questions: Sequence[Question],
    pool: Sequence[Question],
    count: int,
    seed: int,
) -> list[list[Question]]:
    """The examples in front of each question: drawn anew for each, by the seed and its number, from
    those of the pool that ask something else.

    Raises:
        ValueError: a pool that has fewer.
    """
    found = []
    for number, question in enumerate(questions):
        others = [one for one in pool if one.text != question.text] if count else []
        if len(others) < count:
            raise ValueError(
                f"{question.where}: shots={count}, and {len(others)} records ask something else; "
                "give fewer, or further records (--examples FILE)"
            )
        chosen = np.random.default_rng((seed, number)).permutation(len(others))[:count]
        found.append([others[n] for n in chosen])
    return found


def prompt_of(question: Question, shots: Sequence[Question], template: str, between: str) -> str:
    """The examples with their answers, and the question up to its answer."""
    asked = template.removesuffix(ANSWER)
    parts = [asked.format_map(one.values) + one.answers[0] for one in shots]
    return between.join([*parts, asked.format_map(question.values)])
