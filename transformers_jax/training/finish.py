"""What a run produces beside figures: samples, and the model in Hugging Face's format."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformers_jax import processes
from transformers_jax.arrays import Params
from transformers_jax.data.corpus import Corpus
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.models.base import Model, rebuilt
from transformers_jax.models.masks import masks_of
from transformers_jax.nn.param import bind, params
from transformers_jax.saving import save_pretrained
from transformers_jax.tasks.corpus import TaskCorpus
from transformers_jax.training import samples
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.console import Console
from transformers_jax.training.prepare import Run
from transformers_jax.training.provenance import note_export
from transformers_jax.training.state import TrainState
from transformers_jax.training.trackers import Composite


def exportable(run: Run, state: TrainState) -> Model:
    """The model that is evaluated, as it will be used."""
    return as_used(run.config, run.model, run.averaged(state))


def as_used(config: TrainConfig, model: Model, values: Params) -> Model:
    """A model of a run with these parameters, without the masks of packed rows."""
    mask = masks_of(config.objective.mask(packed=False))
    return rebuilt(bind(model, values), dataclasses.replace(model.plan, mask=mask))


def sample(
    run: Run, model: Model, step: int, trackers: Composite, now: int | None = None
) -> list[str]:
    """Texts that the model generates after a step; they are written to samples/ as well. Of several
    processes, the one that writes has them. Trackers, which only go forward, get them as of the
    step `now`."""
    if isinstance(run.corpus, TaskCorpus):  # what it writes is in its predictions
        return []
    if processes.several() and is_whole(model):
        texts = _draw(run, own_copy(model)) if run.folder.owner else []
        processes.wait_for_all("samples")
    else:  # parts of the model are elsewhere: all processes draw the same
        texts = _draw(run, model)
    if not run.folder.owner:
        return []
    samples.save_samples(texts, run.folder.path, step)
    for number, text in enumerate(texts):
        trackers.text(f"sample/{number}", step if now is None else now, text)
    return texts


def _draw(run: Run, model: Model) -> list[str]:
    assert isinstance(run.corpus, Corpus)
    settings, tokenizer = run.config.sample, run.corpus.tokenizer
    prompt: Any = [] if tokenizer is None else tokenizer.encode(settings.prompt)
    return samples.draw_samples(
        model,
        run.config.objective.head,
        settings,
        prompt=np.asarray(prompt if len(prompt) else run.corpus.shown.ids[:1], np.int32),
        examples=run.examples(settings.count),
        tokenizer=tokenizer,
        seed=run.config.seed,
    )


def is_whole(model: Model) -> bool:
    """Whether every device holds all parameters."""
    return all(leaf.is_fully_replicated for leaf in jax.tree.leaves(params(model)))


def own_copy(model: Model) -> Model:
    """The model on one device of this process, of parameters that each device holds whole."""
    return bind(model, jax.tree.map(lambda leaf: leaf.addressable_data(0), params(model)))


def finish(
    run: Run, state: TrainState, screen: Console, trackers: Composite
) -> tuple[Model, TrainState]:
    """Writes samples, and the model with its tokenizer; of the best step, if so configured. What
    was exported is in run.json.

    Returns:
        The model, and the state that it is from.
    """
    last = int(state.step)
    best = run.checkpoints.best_step() if run.config.keep_best else None
    step, why = last, "the last"
    if best is not None and best != last:
        step, why = best, run.criterion.describe(run.checkpoints.meta(best)["metric"])
        screen.say(f"exporting step {step}, {why}")
        state = run.checkpoints.restore(step, state)
    model = exportable(run, state)
    for text in sample(run, model, step, trackers, now=last):
        screen.say(f"--- sample ---\n{text}")
    owner = run.folder.owner
    write_model(model, run.corpus.tokenizer if owner else None, run.folder.path / "model")
    if owner:
        note_export(run.folder.path, step, why)
    return model, state


def write_model(model: Model, tokenizer: Tokenizer | None, folder: Path) -> None:
    """Writes a model (ELECTRA's pair: the discriminator, and the generator in it) as
    `save_pretrained` does, and its tokenizer."""
    for name, part in model.exports().items():
        save_pretrained(part, folder / name)
    if tokenizer is not None:
        tokenizer.save(folder)
