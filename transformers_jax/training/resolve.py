"""A config with what its text decides: tokenizer and vocabulary, rows, steps."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from transformers_jax import processes
from transformers_jax.data import corpus as corpora
from transformers_jax.data.config import Table
from transformers_jax.data.corpus import Corpus
from transformers_jax.data.packing import Batch
from transformers_jax.data.stream import Part, Stream
from transformers_jax.data.texts import RULES
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.models.base import Model
from transformers_jax.models.composite import words_of
from transformers_jax.nn.param import trained_axes
from transformers_jax.objectives import Objective, Vocabulary, objective
from transformers_jax.objectives.distillation import DistilledText
from transformers_jax.optim import Optimizer
from transformers_jax.tasks import Task
from transformers_jax.tasks.corpus import TaskCorpus, read_task, tables_of
from transformers_jax.training import disk, flops
from transformers_jax.training.compatible import check_objective, check_positions
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.devices import check_batch, make_mesh
from transformers_jax.training.evaluation_sets import check_evaluation, evaluation_sets
from transformers_jax.training.folder import TOKENIZER, check_release, check_same_run
from transformers_jax.training.initial import abstract_model, with_checkpoint
from transformers_jax.training.modules import with_modules
from transformers_jax.training.passes import with_steps
from transformers_jax.training.readers import readers_of, with_own_generation
from transformers_jax.training.recorded import read_record
from transformers_jax.training.reference import (
    abstract_reference,
    check_reference,
    with_fingerprint,
)
from transformers_jax.training.samples import check_prompt
from transformers_jax.training.step import TrainStep, make_step
from transformers_jax.training.trackers import check_installed
from transformers_jax.training.vocabulary import (
    check_loss,
    fit_vocabulary,
    model_for,
    vocabulary_of,
)

Say = Callable[[str], None]
"""Prints a line."""

PART_SEED = 1_000_003  # parts of a mixture have noise of their own


@dataclass(frozen=True)
class Resolved:
    """A config with what its text decides: vocabulary, rows, steps.

    Attributes:
        config: with the vocabulary of the tokenizer, and passes as steps.
        words: tokens of the vocabulary that can be answers; beyond them it is padded.
        evaluation: the batches of each held-out set, as `Run.evaluation`.
        limit: rows of the whole run, where the config has `epochs`.
        reference: the second model that the objective reads, without arrays; None without one.
    """

    config: TrainConfig
    mesh: Mesh | None
    corpus: Corpus | TaskCorpus
    vocabulary: Vocabulary
    words: int
    stream: Stream
    evaluation: dict[str, Sequence[Batch]]
    limit: int | None
    schedule_steps: int
    reference: Model | None

    def check(self, step: TrainStep, run: Path, size: int) -> None:
        """The last checks of a start, and of a dry run: the first batch fits the step, and two
        checkpoints of `size` bytes the disk of the run.

        Raises:
            ValueError: they do not.
        """
        disk.room(run, size)
        step.check(self.stream.batch(self.stream.start, self.config.data.batch, self.limit)[0])

    def training(
        self, model: Model, reference: Model | None = None
    ) -> tuple[Objective, Optimizer, TrainStep]:
        """What a step of the model needs: objective, optimizer, and the step itself; `reference`,
        which the objective reads, is by default without arrays."""
        config = self.config
        optimizer = config.optimizer.build(trained_axes(model), self.schedule_steps)
        loss = self._loss()
        step = make_step(
            model,
            loss,
            optimizer,
            mesh=self.mesh,
            accumulate=config.accumulate,
            clip=config.clip,
            compute_dtype=config.compute_dtype,
            reference=reference or self.reference,
            on_nonfinite=config.on_nonfinite,
            on_spike=config.on_spike,
            spike_deviations=config.spike_deviations,
            statistics=config.statistics,
            nan_at=config.debug.nan_at,
            spike_at=config.debug.spike_at,
        )
        return loss, optimizer, step

    def _loss(self) -> Objective:
        if isinstance(self.config.objective, (Task, DistilledText)):
            return self.config.objective.objective
        whole, settings = self.words == self.vocabulary.size, self.config.loss
        settings = settings if whole else dataclasses.replace(settings, vocab=self.words)
        return objective(self.config.objective.loss, settings)


def resolve(
    config: TrainConfig, run: Path, saved: dict[str, Any] | None, say: Say, *, owner: bool = True
) -> Resolved:
    """Reads the text, and checks the config against it.

    Args:
        run: the folder of the run.
        owner: whether this process writes into it.
        saved: what its newest checkpoint records; None: it has none.

    Raises:
        ValueError: what does not fit.
    """
    check_release(run)
    config = with_modules(with_checkpoint(config, run), run)
    check_objective(config)
    check_installed(config.trackers)
    config = with_fingerprint(config)
    reference = abstract_reference(config)
    mesh = make_mesh(config)
    for rows in {config.data.batch, *(rows for _, rows in config.batch_warmup)}:
        check_batch(rows, config.accumulate, mesh)
    if isinstance(config.objective, Task):
        config, corpus = _table(config, run, saved, reference)
    else:
        corpus = _corpus(config, run, owner, saved)
    processes.agree("data", {f"the data ({config.data.path})": corpus.fingerprint})
    check_evaluation(config, corpus)
    if isinstance(corpus, TaskCorpus):
        size = known = getattr(words_of(config.model), "vocab_size", 0)
        corpus.check_ids(known)
    else:
        config, known = fit_vocabulary(config, corpus, mesh, saved)
        size = config.model.vocab_size  # type: ignore[attr-defined]
        if known < size:
            padded = f"the vocabulary of {known:,} is padded to {size:,}"
            say(f"{padded}; what is added is never an answer")
        corpora.check_ids(corpus, known, config.data.path)
        check_loss(config, corpus, size)
        check_prompt(config.sample, config.objective.head, config.model, corpus.tokenizer)
    if reference is not None:
        check_reference(config, reference, corpus.tokenizer)
    vocabulary = vocabulary_of(corpus.tokenizer, size)
    own = functools.partial(processes.own_rows, mesh=mesh)
    stream = make_stream(config, corpus, vocabulary, own)
    config, limit = with_steps(config, stream)
    if saved is not None:
        check_same_run(config, corpus.fingerprint, saved)
    schedule_steps = _schedule_steps(config, saved, say)
    check_positions(config, stream)
    evaluation = evaluation_sets(config, corpus, vocabulary, own)
    return Resolved(
        config, mesh, corpus, vocabulary, known, stream, evaluation, limit, schedule_steps,
        reference,
    )  # fmt: skip


def tokens_per_row(config: TrainConfig, stream: Stream) -> int:
    """Positions of a row, on both sides, or in all of its parts."""
    parts = stream.layout.parts
    return config.data.length * max(len(parts), 1) + stream.layout.target


def flops_per_step(model: Model, config: TrainConfig, stream: Stream) -> float:
    """FLOPs of a step of a whole batch."""
    data, target = config.data, stream.layout.target or None
    rows = data.batch * max(len(stream.layout.parts), 1) * getattr(config.objective, "copies", 1)
    length: flops.Length = data.length
    if model.has_separate_towers:  # what one of them reads is no text
        length = {"text": data.length, "vision": stream.parts[0].example(0, 0).size}
    return flops.flops_per_step(model, rows, length, target)


def _schedule_steps(config: TrainConfig, saved: dict[str, Any] | None, say: Say) -> int:
    """The length of the learning-rate schedule: unless set, it stays that of the saved run."""
    if config.schedule_steps is None and saved and saved["schedule_steps"] != config.steps:
        if config.steps < saved["schedule_steps"]:
            say(f"the schedule stays {saved['schedule_steps']} steps")
        return saved["schedule_steps"]
    return config.schedule_steps or config.steps


# ---------------------------------------------------------------- tables


def _table(
    config: TrainConfig, run: Path, saved: dict[str, Any] | None, reference: Model | None
) -> tuple[TrainConfig, TaskCorpus]:
    """The tables of a task as rows, and the config with what they decide: the classes and weights
    of the task, and the length of rows."""
    task = config.objective
    assert isinstance(task, Task)
    assert isinstance(config.data, Table)
    data = task.tabled(config.data)
    tables = tables_of(data, task)
    readers = readers_of(config, None if saved is None else run, tables["train"])
    if readers.tokenizer is not None:
        config = config.replace(model=model_for(config, readers.tokenizer))
    model = with_own_generation(config, abstract_model(config), run)
    corpus = read_task(
        data, task, readers.tokenizer, model, reference, tables, processor=readers.processor
    )
    form = corpus.form
    target_length = form.target_length or None
    data = dataclasses.replace(data, length=form.length, target_length=target_length)
    model = corpus.task.fitted(config.model, form.classes)
    return config.replace(objective=corpus.task, data=data, model=model), corpus


# ---------------------------------------------------------------- text


def _corpus(config: TrainConfig, run: Path, owner: bool, saved: dict[str, Any] | None) -> Corpus:
    """The text; a run that is continued has its tokenizer already. Of several processes the first
    prepares the text, and learns the tokenizer, before the others read both."""
    known = run if saved is not None and (run / "tokenizer.json").exists() else None
    if not processes.several():
        return _read_corpus(config, known, saved)
    shared = run / TOKENIZER
    corpus = None
    if owner:
        corpus = _read_corpus(config, known, saved)
        if corpus.trained_tokenizer:
            shared.mkdir(exist_ok=True)
            corpus.tokenizer.save(shared)  # type: ignore[union-attr]
    processes.wait_for_all("text")
    if corpus is None:
        corpus = _read_corpus(config, shared if shared.exists() else known, saved)
    processes.wait_for_all("tokenizer")
    if owner:
        shutil.rmtree(shared, ignore_errors=True)
    return corpus


def _read_corpus(
    config: TrainConfig, tokenizer: Path | None, saved: dict[str, Any] | None
) -> Corpus:
    """The text, with the tokenizer of a folder or the config's; of a run that is continued, as the
    version that began it read it."""
    target, documents = config.objective, config.data.rows not in ("stream", "crops")
    load = functools.partial(
        corpora.load_corpus,
        config.text,
        roles=target.learned_roles(documents),
        sentinels=target.sentinels,
        modes=target.modes,
        sentences=target.sentences,
        eos=target.ends(documents),
        tokenizer=None if tokenizer is None else load_tokenizer(tokenizer),
        learns=config.init_from is None,
    )
    read = functools.cache(lambda rules: load(rules=rules))
    begun = None if saved is None else saved["data"]
    for rules in range(RULES, 0, -1) if begun is not None else ():
        with contextlib.suppress(ValueError):  # which is raised below, if no rules fit
            if read(rules).fingerprint == begun:
                return read(rules)
    return read(RULES)


def make_stream(
    config: TrainConfig,
    corpus: Corpus | TaskCorpus,
    vocabulary: Vocabulary,
    own: Callable[[int], Sequence[int]] = range,
) -> Stream:
    """The batches of a run; `own` as of a `Stream`."""
    data = config.data
    if isinstance(corpus, TaskCorpus):
        stream = Stream([corpus.part(corpus.train, config.seed)], [1.0], data, own)
        stream.check(1)  # the last batch of a pass may be filled up
        return stream
    data = config.text
    parts = [
        Part(part.tokens, data, config.objective, vocabulary, config.seed + PART_SEED * number)
        for number, part in enumerate(corpus.parts)
    ]
    stream = Stream(parts, [part.share for part in corpus.parts], data, own)
    stream.check(data.batch)
    return stream


def newest_record(steps: Sequence[Path]) -> dict[str, Any] | None:
    """What the newest of these saved steps that can still be read says about its run."""
    for step in reversed(steps):
        with contextlib.suppress(ValueError):
            return read_record(step)
    return None
