"""Everything before the first step: text, model, state. What can be wrong is found here."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.sharding import Mesh

from transformers_jax.arrays import Params
from transformers_jax.data.corpus import Corpus
from transformers_jax.data.packing import Batch
from transformers_jax.data.stream import Position, Stream
from transformers_jax.data.verification import Verification
from transformers_jax.models.base import Model
from transformers_jax.nn.param import combine, partition
from transformers_jax.objectives import Example, Objective, Vocabulary
from transformers_jax.optim import Optimizer
from transformers_jax.tasks.corpus import TaskCorpus
from transformers_jax.training import disk, flops, rates
from transformers_jax.training.checkpoint import Checkpoints
from transformers_jax.training.clock import Clock
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.devices import agree_on_folder
from transformers_jax.training.evaluation_sets import (
    Criterion,
    criterion,
    held_out,
)
from transformers_jax.training.folder import RunFolder, check_same_run, record
from transformers_jax.training.initial import (
    check_tokenizer,
    new_model,
    random_features,
    start_model,
    with_adapter,
    with_task,
)
from transformers_jax.training.reference import load_reference, starts_as_reference
from transformers_jax.training.resolve import (
    Say,
    flops_per_step,
    newest_record,
    resolve,
    tokens_per_row,
)
from transformers_jax.training.state import TrainState, init_state
from transformers_jax.training.step import TrainStep


@dataclass
class Run:
    """A run that is ready for its next step.

    Attributes:
        evaluation: the batches of each held-out set; "" is the main one, and what is measured only
            at the end is called `final`, or NAME/final.
        limit: rows of the whole run, where the config has `epochs`.
        words: tokens of the vocabulary that can be answers.
        frozen: the parameters that an adapter leaves as they are; {} without one.
        reference: the second model that the objective reads, which stays as it is; None without.
        verification: of the files of tokens, which goes on while the run trains.
        progress: what else a checkpoint remembers: the best evaluation, and how many were worse.
        initial: what run.json says of the weights that the run starts from, as it starts.
    """

    config: TrainConfig
    folder: RunFolder
    checkpoints: Checkpoints
    corpus: Corpus | TaskCorpus
    stream: Stream
    evaluation: dict[str, Sequence[Batch]]
    vocabulary: Vocabulary
    mesh: Mesh | None
    model: Model
    loss: Objective
    optimizer: Optimizer
    state: TrainState
    step: TrainStep
    schedule_steps: int
    position: Position
    limit: int | None
    words: int
    verification: Verification
    frozen: Params
    reference: Model | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    start: int = 0
    initial: dict[str, Any] | None = None

    def __repr__(self) -> str:
        first = repr(self.model).splitlines()[0]
        return f"Run({self.folder.path}, from step {self.start} of {self.config.steps}; {first})"

    @property
    def tokens_per_step(self) -> int:
        """Positions of a batch, on both sides."""
        return tokens_per_row(self.config, self.stream) * self.config.data.batch

    @functools.cached_property
    def flops(self) -> float:
        """FLOPs of a step."""
        return flops_per_step(self.model, self.config, self.stream)

    @functools.cached_property
    def peak_flops(self) -> float | None:
        """FLOP/s that all devices of the run can do at most; None if that is not known."""
        peak = flops.peak(jax.devices()[0].device_kind)
        return peak and peak * (1 if self.mesh is None else self.mesh.size)

    def take_state(self) -> TrainState:
        """The state, once: the first step takes its memory over."""
        state = self.state
        del self.state
        return state

    def averaged(self, state: TrainState) -> Params:
        """The parameters that are evaluated, sampled and exported."""
        return combine(self.optimizer.averaged(state.opt, state.params), self.frozen)

    def examples(self, count: int) -> list[Example]:
        """The first examples of the held-out text."""
        assert isinstance(self.corpus, Corpus)
        part = held_out(self.config, self.corpus.shown, self.vocabulary)
        return [part.example(0, number) for number in range(min(count, part.pieces.count))]

    @property
    def criterion(self) -> Criterion:
        """The figure by which the best evaluation is chosen."""
        return criterion(self.config.objective)

    def meta(self, position: Position) -> dict[str, Any]:
        """What a checkpoint records in addition to the state."""
        identity = record(self.config, self.corpus.fingerprint, self.schedule_steps)
        where = {"position": position.to_json(), "progress": self.progress}
        return {**identity, "words": self.words, **where}


def prepare(
    config: TrainConfig, folder: RunFolder, checkpoints: Checkpoints, say: Say, clock: Clock
) -> Run:
    """From a config to a run that is ready for its next step.

    Raises:
        ValueError: whatever makes the run impossible, before anything is compiled.
    """
    agree_on_folder(folder, checkpoints.steps())
    steps = [checkpoints.folder / str(step) for step in checkpoints.steps()]
    saved = newest_record(steps)
    resolved = resolve(config, folder.path, saved, say, owner=folder.owner)
    config, mesh, corpus = resolved.config, resolved.mesh, resolved.corpus
    vocabulary, stream = resolved.vocabulary, resolved.stream
    initial: dict[str, Any] | None = None
    anew = config.adapter is not None or starts_as_reference(config)  # also where it is continued
    if not config.starts or (saved is not None and not anew):
        model = new_model(config, mesh, folder.path, say)
    else:
        check_tokenizer(config, corpus.tokenizer, say)
        model, initial = start_model(config, mesh, say)
        config = config.replace(model=model.config)  # the checkpoint says what is tied
    reference = load_reference(config, model, mesh, say)
    model = with_task(model, config.objective, corpus.tokenizer)
    if config.adapter is not None and initial is not None:
        model = with_adapter(config, model, initial["drawn"])
        if warning := random_features(config, initial["drawn"]):
            say(f"WARNING: {warning}")
    loss, optimizer, step = resolved.training(model, reference)
    state = init_state(model, optimizer, jax.random.key(config.seed + 1), mesh=mesh)
    run = Run(
        config, folder, checkpoints, corpus, stream, resolved.evaluation, vocabulary, mesh,
        model.abstract(), loss, optimizer, state, step, resolved.schedule_steps, stream.start,
        resolved.limit, resolved.words, Verification(corpus.expected), partition(model)[1],
        reference, initial=initial if saved is None else None,
    )  # fmt: skip
    resolved.check(step, folder.path, disk.size_of(state))
    with clock("restoring"):
        _restore(run, say)
    return run


def _restore(run: Run, say: Say) -> None:
    """Puts the run where its newest good checkpoint is, if it has one."""
    strict, fingerprint = run.config.resume == "strict", run.corpus.fingerprint
    newest = run.checkpoints.newest(run.state, strict=strict, say=say)
    if newest is None:
        return
    run.state, meta = newest
    run.start, run.progress = int(meta["step"]), dict(meta["progress"])
    updates = run.start - int(run.state.skipped)
    if warning := rates.going_on(run.config, run.schedule_steps, meta, updates):
        say(f"WARNING: {warning}")
    check_same_run(run.config, fingerprint, meta)
    if meta["data"] == fingerprint:
        run.position = Position.from_json(meta["position"])
    else:
        say(f"the text is another one than at step {run.start}: it is read from its beginning")
