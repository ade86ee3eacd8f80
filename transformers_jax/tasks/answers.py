"""Question answering: the part of a text that answers a question, or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.tables import Records
from transformers_jax.metrics import squad, squad_v2
from transformers_jax.metrics.answers import normalized
from transformers_jax.objectives.example import Example
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.figures import MOST_ROWS, Listing, cell
from transformers_jax.tasks.rows import Form, Rows, numbered
from transformers_jax.tasks.sequences import softmax


class Window(NamedTuple):
    """A row: a question and a part of its context.

    Attributes:
        offsets: characters of the context of each token, from and to; -1 elsewhere.
        none: the token that stands for no answer: the first special one.
    """

    offsets: Int[np.ndarray, "T 2"]
    none: int


class Candidate(NamedTuple):
    """An answer that a row may have: characters of the context, and its score."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """The span of a context that answers a question: its first and its last token (Devlin et al.
    2018, section 4.2), or none (section 4.3: the span of the first token).

    A record has a question, a context and its answers, as SQuAD has them: {"text": [...],
    "answer_start": [...]}, or one answer with its start; without any, the question has none. A long
    context is read in windows, which share `data.stride` tokens.
    """

    head: ClassVar[str] = "question_answering"
    metric: ClassVar[str] = "f1"
    needed: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": ("question",),
        "text_pair": ("context", "passage", "paragraph"),
        "label": ("answers", "answer"),
    }
    answered: ClassVar[tuple[str, ...]] = ("start_logits", "end_logits")
    too_long: ClassVar[Literal["truncate", "stride"]] = "stride"

    best: int = 20
    """first and last tokens that are tried, the likeliest ones"""
    longest_answer: int = 30
    """tokens"""
    allows_none: bool = False
    """whether the answer may be none; so it is if a question that is trained on has none"""
    none_threshold: float = 0.0
    """how much likelier no answer must be than the best one (a difference of scores)"""

    # ------------------------------------------------------------ data

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        questions, contexts = form.texts(records, "text"), form.texts(records, "text_pair")
        windows = self._windows(form, records, questions, contexts)
        owners = windows.pop("overflow_to_sample_mapping")
        offsets = [
            np.where(sides[:, None] == 1, places, -1)
            for places, sides in zip(windows.pop("offset_mapping"), windows.pop("sequence_ids"))
        ]
        special = windows.pop("special_tokens_mask")
        details = [Window(o, int(np.argmax(mask))) for o, mask in zip(offsets, special)]
        del windows["attention_mask"]
        sides = [dict(zip(windows, row)) for row in zip(*windows.values())]
        notes = [f"{records.name}: {len(records):,} questions are {len(sides):,} rows"]
        references, examples = None, [Example(side) for side in sides]
        if answered:
            references = self._answers(form, records, contexts)
            none = sum(not some for some in references)
            notes += [f"{records.name}: {none:,} questions have no answer"] if none else []
            examples = [
                Example(side, once=_positions(detail, references[owner]))
                for side, detail, owner in zip(sides, details, owners)
            ]
        return Rows(records, numbered(examples), owners, references, details, tuple(notes))

    def _windows(self, form, records, questions, contexts) -> dict[str, Any]:
        """Rows of a question and a window of its context.

        Raises:
            ValueError: a question that leaves no room for its context.
        """
        options: dict[str, Any] = dict(padding=False, return_offsets_mapping=True)
        options |= dict(return_sequence_ids=True, return_special_tokens_mask=True)
        if not form.typed:
            options["return_token_type_ids"] = False
        if not form.length:
            batch = form.tokenizer.batch(questions, contexts, **options)
            return {**batch, "overflow_to_sample_mapping": np.arange(len(questions))}
        options |= dict(truncation="only_second", max_length=form.length)
        stride = form.data.stride if form.data.too_long != "truncate" else 0
        if form.data.too_long != "truncate":
            options |= dict(return_overflowing_tokens=True, stride=min(stride, form.length // 2))
        batch = form.tokenizer.batch(questions, contexts, **options)
        batch.setdefault("overflow_to_sample_mapping", np.arange(len(questions)))
        return batch

    def _answers(self, form: Form, records: Records, contexts: Sequence[str]):
        """The answers of each question: (text, first character); [] where it has none.

        Raises:
            ValueError: an answer that is not in its context.
        """
        column, found = form.columns["label"], []
        for where, value, context in zip(records.places, form.values(records, "label"), contexts):
            answers = _read_answers(value, f"{where}: {column!r}")
            for text, start in answers:
                if context[start : start + len(text)] != text:
                    raise ValueError(
                        f"{where}: the answer {text!r:.60} is not at character {start} of its "
                        f"context, which has {context[start : start + len(text)]!r:.60} there"
                    )
            found.append(answers)
        return found

    def learned(self, rows, form):
        """The task, which allows none where a question that is trained on has no answer."""
        unanswered = any(not some for some in rows.references)
        return dataclasses.replace(self, allows_none=self.allows_none or unanswered)

    # ------------------------------------------------------------ answers

    def _best(self, answers, rows) -> list[tuple[list[Candidate], float]]:
        """(candidates, the best first, and the score of none) of each question, over its
        windows."""
        found: list[tuple[list[Candidate], float]] = [
            ([], np.inf) for _ in range(len(rows.records))
        ]
        scores = zip(answers["start_logits"], answers["end_logits"])
        for owner, detail, (starts, ends) in zip(rows.owners, rows.details, scores):
            candidates, none = found[owner]
            width = len(detail.offsets)
            candidates += self._candidates(detail, starts[:width], ends[:width])
            found[owner] = candidates, min(none, float(starts[detail.none] + ends[detail.none]))
        return [(sorted(some, key=lambda c: -c.score), none) for some, none in found]

    def _candidates(self, detail: Window, starts: np.ndarray, ends: np.ndarray) -> list[Candidate]:
        inside = detail.offsets[:, 0] >= 0
        first = [n for n in np.argsort(-starts, kind="stable")[: self.best] if inside[n]]
        last = [n for n in np.argsort(-ends, kind="stable")[: self.best] if inside[n]]
        return [
            Candidate(
                int(detail.offsets[a, 0]), int(detail.offsets[b, 1]), float(starts[a] + ends[b])
            )
            for a in first
            for b in last
            if a <= b < a + self.longest_answer
        ]

    def predictions(self, answers, rows, form):
        contexts, predicted = form.texts(rows.records, "text_pair"), []
        for (candidates, none), context in zip(self._best(answers, rows), contexts):
            best = candidates[: self.best] or [Candidate(0, 0, none)]
            scores = softmax(np.array([*(one.score for one in best), none]))
            entries = [
                dict(
                    text=context[one.start : one.end], start=one.start, end=one.end, score=float(p)
                )
                for one, p in zip(best, scores)
            ]
            answerless = self.allows_none and none - best[0].score > self.none_threshold
            predicted.append({
                "answer": "" if answerless else entries[0]["text"],
                "start": entries[0]["start"], "end": entries[0]["end"],
                "score": entries[0]["score"], "no_answer": float(scores[-1]),
                "best": entries[:5],
            })  # fmt: skip
        return predicted

    def metrics(self, answers, rows, form):
        predicted = self.predictions(answers, rows, form)
        texts = [one["answer"] for one in predicted]
        references = [[text for text, _ in some] for some in rows.references]
        if all(references):
            return squad(texts, references)
        none = np.array([one["no_answer"] for one in predicted])
        return squad_v2(texts, references, none)

    def figure(self, answers, rows, form):
        predicted, questions = (
            self.predictions(answers, rows, form),
            form.texts(rows.records, "text"),
        )
        references = [[text for text, _ in some] or [""] for some in rows.references]
        wrong = [
            n
            for n, (one, some) in enumerate(zip(predicted, references))
            if normalized(one["answer"]) not in {*map(normalized, some)}
        ]
        sure = lambda n: predicted[n]["score" if predicted[n]["answer"] else "no_answer"]
        shown = [
            [cell(questions[n]), cell(predicted[n]["answer"]), cell(references[n][0]),
             f"{sure(n):.3f}"]
            for n in sorted(wrong, key=sure, reverse=True)[:MOST_ROWS]
        ]  # fmt: skip
        title = f"The surest of {len(wrong):,} wrong answers to {len(predicted):,} questions"
        return Listing(title, ["question", "answered", "expected", "probability"], shown)


def _read_answers(value: Any, where: str) -> list[tuple[str, int]]:
    """(text, first character) of the answers of a question.

    Raises:
        ValueError: they are none.
    """
    if value is None or value == []:
        return []
    texts: Any = None
    starts: Any = None
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
    elif isinstance(value, (list, tuple)) and all(isinstance(one, Mapping) for one in value):
        texts = [one.get("text") for one in value]
        starts = [one.get("answer_start", one.get("start")) for one in value]
    texts = [texts] if isinstance(texts, str) else texts
    starts = [starts] if isinstance(starts, int) else starts
    good = isinstance(texts, (list, tuple)) and isinstance(starts, (list, tuple))
    if (
        not good
        or len(texts) != len(starts)
        or not all(
            isinstance(text, str) and isinstance(start, int) and start >= 0
            for text, start in zip(texts, starts)
        )
    ):
        raise ValueError(
            f'{where} holds {value!r:.80}; expected {{"text": [...], "answer_start": [...]}}'
        )
    return list(dict.fromkeys(zip(texts, starts)))


def _positions(window: Window, answers: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The first and last token of the first answer, or that of none where the window does not hold
    all of it."""
    none = {"start_positions": window.none, "end_positions": window.none}
    if not answers:
        return none
    text, start = answers[0]
    end, places = start + len(text), window.offsets
    inside = np.flatnonzero(places[:, 0] >= 0)
    if not len(inside) or places[inside[0], 0] > start or places[inside[-1], 1] < end:
        return none
    first = int(inside[np.flatnonzero(places[inside, 1] > start)[0]])
    last = int(inside[np.flatnonzero(places[inside, 0] < end)[-1]])
    return {"start_positions": first, "end_positions": last}
