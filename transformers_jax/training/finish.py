"""What a run produces beside figures: samples, and the model in Hugging Face's format."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import processes
from transformers_jax.models.base import Model, rebuilt
from transformers_jax.models.masks import masks_of
from transformers_jax.nn.param import bind, params
from transformers_jax.saving import save_pretrained
from transformers_jax.training import samples
from transformers_jax.training.console import Console
from transformers_jax.training.prepare import Run
from transformers_jax.training.state import TrainState
from transformers_jax.training.trackers import Composite


def exportable(run: Run, state: TrainState) -> Model:
    """The model that is evaluated, as it will be used: without the masks of packed rows."""
    mask = masks_of(run.config.objective.mask(packed=False))
    trained = bind(run.model, run.averaged(state))
    return rebuilt(trained, dataclasses.replace(run.model.plan, mask=mask))


def sample(run: Run, model: Model, step: int, trackers: Composite) -> list[str]:
    """Texts that the model generates after a step; they are written to samples/ as well. Of several
    processes, the one that writes has them, and the others wait."""
    model = gathered(run, model)
    if not run.folder.owner:
        processes.wait_for_all("samples")
        return []
    settings, tokenizer = run.config.sample, run.corpus.tokenizer
    prompt: Any = [] if tokenizer is None else tokenizer.encode(settings.prompt)
    texts = samples.draw_samples(
        model,
        run.config.objective.head,
        settings,
        prompt=np.asarray(prompt if len(prompt) else run.corpus.shown.ids[:1], np.int32),
        examples=run.examples(settings.count),
        tokenizer=tokenizer,
        seed=run.config.seed,
    )
    samples.save_samples(texts, run.folder.path, step)
    for number, text in enumerate(texts):
        trackers.text(f"sample/{number}", step, text)
    processes.wait_for_all("samples")
    return texts


def gathered(run: Run, model: Model) -> Model:
    """The model on a device of this process, if several hold it; only the one that writes keeps
    what it gets, an array after the other."""
    if not run.config.sample.count or not processes.several():
        return model
    keep = jnp.asarray if run.folder.owner else lambda array: jnp.zeros((), array.dtype)
    own = jax.tree.map(lambda leaf: keep(processes.on_host(leaf)), params(model))
    return bind(model, own) if run.folder.owner else model


def finish(
    run: Run, state: TrainState, screen: Console, trackers: Composite
) -> tuple[Model, TrainState]:
    """Writes samples, and the model with its tokenizer; of the best step, if so configured.

    Returns:
        The model, and the state that it is from.
    """
    last = int(state.step)
    best = run.checkpoints.best_step() if run.config.keep_best else None
    if best is not None and best != last:
        screen.say(f"exporting step {best}, which has the lowest evaluation loss")
        state = run.checkpoints.restore(best, state)
    model = exportable(run, state)
    for text in sample(run, model, last, trackers):
        screen.say(f"--- sample ---\n{text}")
    folder = run.folder.path / "model"
    for name, part in model.exports().items():
        save_pretrained(part, folder / name)
    if run.corpus.tokenizer is not None and run.folder.owner:
        run.corpus.tokenizer.save(folder)
    return model, state
