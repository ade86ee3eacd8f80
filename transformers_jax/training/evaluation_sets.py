"""The batches on which a run is evaluated: always the same ones, and at the end perhaps more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers_jax import processes
from transformers_jax.data.corpus import Corpus
from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.data.packing import Batch
from transformers_jax.data.stream import Part
from transformers_jax.data.tokens import Tokens
from transformers_jax.objectives import Vocabulary
from transformers_jax.tasks import Task
from transformers_jax.tasks.corpus import TaskCorpus
from transformers_jax.training.config import Evaluation, TrainConfig

FINAL = "final"


def evaluation_sets(
    config: TrainConfig,
    corpus: Corpus | TaskCorpus,
    vocabulary: Vocabulary,
    own: Callable[[int], Sequence[int]],
) -> dict[str, Sequence[Batch]]:
    """The batches of each held-out set, as `Run.evaluation` has them; `own` is as of a `Stream`.

    Raises:
        ValueError: a set that makes no row, or that is called as those of the end are.
    """
    settings, sets = config.evaluation, dict[str, Sequence[Batch]]()
    if wrong := [name for name in corpus.evaluation if is_final(name)]:
        raise ValueError(f"data.eval_sets: {wrong[0]!r} is what the batches of the end are called")
    if not settings.every and settings.final_batches == 0:
        return sets
    for name in corpus.evaluation:
        if isinstance(corpus, TaskCorpus):
            part: Part = corpus.part(corpus.evaluation[name], 0, shuffle=False)
            readings = 1
        else:
            part = held_out(config, corpus.evaluation[name], vocabulary)
            readings = config.objective.readings
        where = name or config.data.path
        batches = evaluation_batches(part, where, own, readings)
        counts = {name: settings.batches}
        if settings.final_batches not in (None, 0, settings.batches):
            counts[f"{name}/{FINAL}".lstrip("/")] = settings.final_batches
        sets |= {key: spread(batches, count) for key, count in counts.items()}
    return sets


def spread(batches: Sequence[Batch], count: int) -> Sequence[Batch]:
    """At most so many of the batches, at equal distances."""
    return batches[:: max(1, len(batches) // count)][:count]


def is_final(name: str) -> bool:
    """Whether a set is measured only at the end."""
    return name.rpartition("/")[2] == FINAL


def held_out_name(name: str) -> str:
    """What a set is made of, by its name in the corpus."""
    return name.removesuffix(FINAL).rstrip("/") if is_final(name) else name


def held_out(config: TrainConfig, tokens: Tokens, vocabulary: Vocabulary) -> Part:
    """A held-out text as rows, in order and always alike."""
    data = config.text
    if data.rows == "crops":
        data = dataclasses.replace(data, rows="stream")
    return Part(tokens, data, config.objective, vocabulary, 0, shuffle=False)


def check_evaluation(config: TrainConfig, corpus: Corpus | TaskCorpus) -> None:
    """Raises ValueError where the best evaluation is asked for, and there is none."""
    settings = config.evaluation
    if isinstance(config.objective, Task) and config.objective.writes and processes.several():
        raise ValueError(
            "evaluations in which a model writes texts are of one process: start a single one, "
            "with --mesh.data N for its devices"
        )
    asked = {"keep_best": config.keep_best, "evaluation.patience": settings.patience}
    off = "" not in corpus.evaluation or (not settings.every and settings.final_batches == 0)
    fraction, source = "--data.eval-fraction", "--data.eval-path"
    if isinstance(config.objective, Task):
        fraction, source = "--data.validation-fraction", "--data.validation"
    if names := [name for name, value in asked.items() if value and off]:
        raise ValueError(
            f"{' and '.join(names)} go by what is held out, and it is not measured: raise "
            f"{fraction} above 0, give {source}, or set --evaluation.every"
        )


@dataclass(frozen=True)
class Criterion:
    """The figure of an evaluation by which the best one is chosen.

    Attributes:
        name: in metrics.jsonl.
        sign: 1 where less of it is better, -1 where more is.
    """

    name: str
    sign: int

    def loss(self, evaluation: Mapping[str, float]) -> float | None:
        """A number of which less is better; None if it was not measured."""
        value = evaluation.get(self.name)
        return None if value is None else self.sign * value

    def describe(self, loss: float) -> str:
        """ "which has the lowest eval_loss (2.3456)"."""
        best = "lowest" if self.sign > 0 else "highest"
        return f"which has the {best} {self.name} ({self.sign * loss:.4f})"


def criterion(target: Any) -> Criterion:
    """That of an objective of texts, the loss; or that of a task, its metric."""
    if isinstance(target, Task):
        return Criterion(f"eval_{target.criterion}", 1 if target.lower else -1)
    return Criterion("eval_loss", 1)


def describe_evaluation(settings: Evaluation, sets: Mapping[str, Sequence[Batch]]) -> str:
    """When a run is evaluated, and on how much."""
    if not sets:
        off = not settings.every and settings.final_batches == 0
        return f"no evaluation: {'it is switched off' if off else 'nothing is held out'}"
    when = [f"every {settings.every} steps"] if settings.every else []
    when += [] if settings.final_batches == 0 else ["at the end"]
    counts = (f"{len(some)}{f' ({name})' * bool(name)}" for name, some in sets.items())
    return f"evaluated {' and '.join(when)}; batches: {', '.join(counts)}"
