"""Question answering: SQuAD's exact match and F1 of answers that are texts."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from transformers_jax.metrics.checks import lists_of_texts, named, numbers, same_length, texts

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalized(answer: str) -> str:
    """The answer in lower case, without ASCII punctuation, articles and repeated spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def squad(predicted: Sequence[str], expected: Sequence[Sequence[str]]) -> dict[str, float]:
    """SQuAD 1.1's exact match and F1 over tokens, in percent: of the best of several references.

    Args:
        predicted: an answer for each question.
        expected: for each question the answers that are right.
    Raises:
        ValueError: lengths differ, there is no question, or one has no answer (`squad_v2`).
    Source:
        evaluate-v1.1.py of Rajpurkar et al. 2016. An answer that is normalised to nothing, such as
        "the", has the F1 0 even if it is right; version 2.0 gives 1.
    """
    predicted, answers = _read(predicted, expected)
    if unanswerable := [f"expected[{n}]" for n, each in enumerate(answers) if not each]:
        raise ValueError(
            f"questions without an answer: {named(unanswerable)}; squad_v2 takes these"
        )
    exact = [max(_exact(a, p) for a in each) for p, each in zip(predicted, answers)]
    f1 = [max(_f1(a, p) for a in each) for p, each in zip(predicted, answers)]
    return {"exact_match": _percent(np.array(exact)), "f1": _percent(np.array(f1))}


def squad_v2(
    predicted: Sequence[str],
    expected: Sequence[Sequence[str]],
    no_answer: Float[np.ndarray, " N"] | None = None,
    threshold: float = 1.0,
) -> dict[str, float]:
    """SQuAD 2.0's scores in percent, where a question may have no answer.

    Args:
        predicted: an answer for each question; "" for none.
        expected: for each question the answers that are right; an empty list for none.
        no_answer: for each question the probability that it has no answer, or another number that
            rises with it.
        threshold: questions whose `no_answer` is above it count as answered by "".
    Returns:
        `exact`, `f1`, `total`; the same of the questions that have an answer (`HasAns_exact`, ...)
        and of those that have none (`NoAns_exact`, ...), if there are any; with `no_answer` the
        scores at the best thresholds (`best_exact`, `best_f1`) and these (`best_exact_thresh`,
        `best_f1_thresh`).
    Raises:
        ValueError: lengths differ, there is no question, or a probability is not finite.
    Source:
        evaluate-v2.0.py of Rajpurkar et al. 2018. Among questions of equal `no_answer` it puts the
        threshold at one of them, by their order.
    """
    predicted, answers = _read(predicted, expected)
    answerable = np.array([bool(each) for each in answers])
    references = [[a for a in each if normalized(a)] or [""] for each in answers]
    raw = {
        "exact": np.array([max(_exact(a, p) for a in r) for p, r in zip(predicted, references)]),
        "f1": np.array([max(_f1_v2(a, p) for a in r) for p, r in zip(predicted, references)]),
    }
    scores = raw
    if no_answer is not None:
        no_answer = numbers("no_answer", no_answer)
        same_length(predicted=predicted, no_answer=no_answer.tolist())
        none = no_answer > threshold
        scores = {name: np.where(none, ~answerable, values) for name, values in raw.items()}
    result = _summary(scores, "")
    for prefix, chosen in (("HasAns_", answerable), ("NoAns_", ~answerable)):
        if chosen.any():
            result |= _summary({name: values[chosen] for name, values in scores.items()}, prefix)
    if no_answer is not None:
        given = np.array([bool(p) for p in predicted])
        for name, values in raw.items():
            best = _best(values, given, answerable, no_answer)
            result |= dict(zip((f"best_{name}", f"best_{name}_thresh"), best))
    return result


def _read(
    predicted: Sequence[str], expected: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    answers = lists_of_texts("expected", expected, "lists of answers, one list for each question")
    predicted = texts("predicted", predicted)
    same_length(predicted=predicted, expected=answers)
    return predicted, answers


def _exact(answer: str, predicted: str) -> float:
    return float(normalized(answer) == normalized(predicted))


def _f1(answer: str, predicted: str) -> float:
    """The harmonic mean of precision and recall over tokens, as version 1.1 has it."""
    right, said = normalized(answer).split(), normalized(predicted).split()
    common = (Counter(right) & Counter(said)).total()
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(right)
    return 2 * precision * recall / (precision + recall)


def _f1_v2(answer: str, predicted: str) -> float:
    """As `_f1`; if one of them has no tokens, whether neither has."""
    right, said = normalized(answer), normalized(predicted)
    return _f1(answer, predicted) if right and said else float(right == said)


def _percent(scores: np.ndarray) -> float:
    return 100.0 * sum(scores.tolist()) / len(scores)


def _summary(scores: dict[str, np.ndarray], prefix: str) -> dict[str, float]:
    total = len(scores["exact"])
    summary = {f"{prefix}{name}": _percent(values) for name, values in scores.items()}
    return {**summary, f"{prefix}total": float(total)}


def _best(
    scores: Float[np.ndarray, " N"],
    given: Bool[np.ndarray, " N"],
    answerable: Bool[np.ndarray, " N"],
    no_answer: Float[np.ndarray, " N"],
) -> tuple[float, float]:
    """The highest score of any threshold, and the lowest such threshold.

    First no question is answered; then, from the least `no_answer` upwards, one more after another:
    an answerable one adds its score, another loses its point if an answer was given.
    """
    order = np.argsort(no_answer, kind="stable")
    gains = np.where(answerable, scores, -given.astype(float))[order]
    sums = np.cumsum([float((~answerable).sum()), *gains])
    best = int(np.argmax(sums))
    return 100.0 * float(sums[best]) / len(scores), float(
        no_answer[order[best - 1]]
    ) if best else 0.0
