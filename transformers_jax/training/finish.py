"""What a run produces beside figures: samples, and the model in Hugging Face's format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax

from transformers_jax import processes
from transformers_jax.adapting import merge_adapter
from transformers_jax.adapting.files import save_adapter
from transformers_jax.arrays import Params
from transformers_jax.data.corpus import Corpus
from transformers_jax.embedding.plan import EmbeddingPlan
from transformers_jax.models.base import Model, rebuilt
from transformers_jax.models.masks import masks_of
from transformers_jax.nn.param import bind, params
from transformers_jax.objectives import MaskedDiffusion
from transformers_jax.processing.readers import Readers
from transformers_jax.saving import save_pretrained
from transformers_jax.tasks import Task
from transformers_jax.tasks.corpus import TaskCorpus
from transformers_jax.training import samples
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.console import Console
from transformers_jax.training.disk import cause, line_of, reason
from transformers_jax.training.prepare import Run
from transformers_jax.training.provenance import note_export
from transformers_jax.training.recorded import Damaged
from transformers_jax.training.resolve import Say
from transformers_jax.training.routing import write_routing
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
    run: Run, model: Model, step: int, trackers: Composite, say: Say, now: int | None = None
) -> list[str]:
    """Texts that the model generates after a step; they are written to samples/ as well. Of several
    processes, the one that writes has them. Trackers, which only go forward, get them as of the
    step `now`. An error is said, and costs only the samples."""
    if isinstance(run.corpus, TaskCorpus):  # what it writes is in its predictions
        return []
    if processes.several() and is_whole(model):
        texts = _draw(run, lambda: own_copy(model), say) if run.folder.owner else []
        processes.wait_for_all("samples")
    else:  # parts of the model are elsewhere: all processes draw the same
        texts = _draw(run, lambda: model, say)
    if not run.folder.owner:
        return []
    try:
        samples.save_samples(texts, run.folder.path, step)
    except OSError as error:
        say(f"WARNING: samples of step {step} are not written: {reason(error)}")
    for number, text in enumerate(texts):
        trackers.text(f"sample/{number}", step if now is None else now, text)
    return texts


def _draw(run: Run, model: Callable[[], Model], say: Say) -> list[str]:
    assert isinstance(run.corpus, Corpus)
    settings = run.config.sample
    try:
        return samples.draw_samples(
            model(),
            run.config.objective.head,
            settings,
            prompt=samples.prompt_ids(settings, run.corpus.tokenizer, run.corpus.shown.ids),
            examples=run.examples(settings.count),
            tokenizer=run.corpus.tokenizer,
            seed=run.config.seed,
            mask=_mask_of(run),
        )
    except Exception as error:
        say(f"WARNING: no samples: {cause(error)}")
        return []


def _mask_of(run: Run) -> int | None:
    """The mask token of a run whose model writes by masks."""
    written = isinstance(run.config.objective, MaskedDiffusion)
    return run.vocabulary.special["mask"] if written else None


def is_whole(model: Model) -> bool:
    """Whether every device holds all parameters."""
    return all(leaf.is_fully_replicated for leaf in jax.tree.leaves(params(model)))


def own_copy(model: Model) -> Model:
    """The model on one device of this process, of parameters that each device holds whole."""
    return bind(model, jax.tree.map(lambda leaf: leaf.addressable_data(0), params(model)))


def finish(
    run: Run, state: TrainState, screen: Console, trackers: Composite
) -> tuple[Model, TrainState]:
    """Writes the model with its readers, and then samples; of the best step, if so configured.
    What was exported is in run.json.

    Returns:
        The model, and the state that it is from.
    """
    last, owner = int(state.step), run.folder.owner
    step, why = last, "the last"
    if run.config.keep_best:
        step, why, state = best_state(run, state, screen.say)
    model = exportable(run, state)
    if isinstance(run.config.objective, Task):
        model = run.config.objective.finished(model, run.corpus)
    write_result(run, model)
    write_routing(run, run.averaged(state), step)
    model = _with_tokenizer(model, run.folder.path / "model")
    if owner:
        note_export(run.folder.path, step, why)
    texts = sample(run, model, step, trackers, screen.say, now=last)
    for number, text in enumerate(texts, 1):
        screen.say(samples.marked(text, f"sample {number} of {len(texts)}, step {step:,}"))
    return model, state


def best_state(run: Run, state: TrainState, say: Say) -> tuple[int, str, TrainState]:
    """(step, which it is in words, state) of the best evaluation that is saved intact; a damaged
    checkpoint is said and passed over, and where none is left it is the last step."""
    last, among = int(state.step), ""
    for step in run.checkpoints.best_steps():
        why = run.criterion.describe(run.checkpoints.meta(step)["metric"]) + among
        if step == last:
            return last, why if among else "the last", state
        good, problem = None, Damaged(f"checkpoint {step}: another process could not read it")
        try:
            good = run.checkpoints.restore(step, state)
        except Damaged as error:
            problem = error
        if processes.all_agree(good is not None):
            assert good is not None
            say(f"exporting step {step}, {why}")
            return step, why, good
        say(f"WARNING: {line_of(problem)}; the next best step is exported, or the last")
        among = " of the steps that are intact"
    return last, "the last", state


def write_result(run: Run, model: Model) -> None:
    """Writes what a run was for: its model, or its adapter, and the model with it merged if so
    configured."""
    readers, folder = run.corpus.readers if run.folder.owner else Readers(), run.folder.path
    if model.plan.adapter is None:
        write_model(model, readers, folder / "model")
        return
    results = run.config.results
    if run.folder.owner and "adapter" in results:
        save_adapter(model, folder / "adapter")
    if "model" in results:
        write_model(merge_adapter(model), readers, folder / "model")


def _with_tokenizer(model: Model, folder: Path) -> Model:
    """The model that was written into a folder; one of sentences finds its tokenizer there."""
    plan = model.plan
    if not isinstance(plan, EmbeddingPlan) or not folder.is_dir():
        return model
    sentence = dataclasses.replace(plan.sentence, source=str(folder))
    return rebuilt(model, dataclasses.replace(plan, sentence=sentence))


def write_model(model: Model, readers: Readers, folder: Path) -> None:
    """Writes a model (ELECTRA's pair: the discriminator, and the generator in it) as
    `save_pretrained` does, with its tokenizer and its processor."""
    for name, part in model.exports().items():
        save_pretrained(part, folder / name)
    readers.save(folder)
