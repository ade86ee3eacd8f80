"""fit: a whole run of pretraining.

text -> ids -> rows -> model -> state (new, or the newest good checkpoint) -> steps -> report
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_jax import processes
from transformers_jax.models.base import Model
from transformers_jax.models.frozen import freeze, thaw
from transformers_jax.processes import PEER_TIMEOUT
from transformers_jax.runs.card import write_card
from transformers_jax.runs.report import write_report
from transformers_jax.tasks.corpus import TaskCorpus
from transformers_jax.tasks.parts import ApartPart
from transformers_jax.training.checkpoint import Checkpoints
from transformers_jax.training.clock import Clock
from transformers_jax.training.config import TrainConfig, to_dict, to_file
from transformers_jax.training.console import Console, Quiet, console
from transformers_jax.training.devices import agree_on_config, devices_of
from transformers_jax.training.evaluation_sets import describe_evaluation
from transformers_jax.training.finish import exportable, finish
from transformers_jax.training.folder import RunFolder
from transformers_jax.training.initial import GENERATION
from transformers_jax.training.loop import START_GRACE, Loop
from transformers_jax.training.metrics import read, show_bytes
from transformers_jax.training.peers import Peers
from transformers_jax.training.prepare import Run, prepare
from transformers_jax.training.probe import is_solved
from transformers_jax.training.provenance import State, end_run, start_run
from transformers_jax.training.solving import Solving
from transformers_jax.training.state import TrainState
from transformers_jax.training.stop import Stop
from transformers_jax.training.trackers import ALWAYS, Composite, Tracker, make_trackers


@dataclass(frozen=True)
class Fitted:
    """What `fit` leaves.

    Attributes:
        exit_code: 0: finished; 143, 130: saved and stopped by a signal.
        model: with the parameters that are evaluated and exported (averaged, or the best, if so
            configured).
        state: after the last step (the best, if so configured).
        folder: of the run.
    """

    exit_code: int
    model: Model
    state: TrainState
    folder: Path

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A record for each step."""
        return read(self.folder / "metrics.jsonl")

    def __repr__(self) -> str:
        ended = f"stopped, exit code {self.exit_code}" if self.exit_code else "finished"
        losses = [line["loss"] for line in self.metrics if "loss" in line]
        loss = f", loss {losses[-1]:.4g}" if losses else ""
        first = repr(self.model).splitlines()[0]
        return f"Fitted({ended} after step {int(self.state.step)}{loss}; {first}; {self.folder})"


def fit(
    config: TrainConfig,
    command: str = "",
    timeout: float = PEER_TIMEOUT,
    notes: Sequence[str] = (),
) -> Fitted:
    """Trains as the config says, or continues the run in its folder.

    Several processes each call it with the same config; process 0 writes for all.

    Args:
        command: for run.json.
        timeout: seconds after which a process that does not answer, or does not come along, ends
            the run; 0: never.
        notes: lines for the console, once all that could be refused has not been.

    Raises:
        ValueError: a config that cannot be run, before anything is compiled or written.
        TypeError: no config.
        FloatingPointError: a loss that is not finite; the state before it stays saved.
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"fit takes a TrainConfig, not {config!r:.80}")
    with contextlib.ExitStack() as stack:
        peers = stack.enter_context(Peers(Path(config.out).expanduser(), timeout))
        agree_on_config(config)
        folder = RunFolder(config.out, config.resume, owner=processes.is_first())
        stack.callback(folder.close)
        clock = Clock(folder.path, owner=folder.owner)
        stop = stack.enter_context(Stop(folder=folder.path))
        clock.announce = peers.at
        say = (Console if folder.owner else Quiet)(config.steps).say
        checkpoints = Checkpoints(folder.checkpoints, config.keep, best=config.keep_best, say=say)
        stack.callback(checkpoints.close)
        with stop.short_grace(START_GRACE), folder.untouched_on_error():
            run = prepare(config, folder, checkpoints, say, clock)
        stack.callback(run.verification.close)
        _begin(run, say, notes)
        stack.callback(lambda: folder.is_own() and clock.save())
        screen = console(run.config.steps, run.start, run.config.log_every, title=folder.path.name)
        with _recorded(run, stop, screen, command) as trackers:
            loop = Solving if is_solved(run.config) else Loop
            state = loop(run, screen, trackers, stop, clock).train()
            with clock("sampling"):
                model = exportable(run, state)
                if not stop.by:
                    model, state = finish(run, state, screen, trackers)
        folder.check()
        clock.save()
        if not stop.by and folder.owner:
            results = [folder.path / name for name in run.config.results]
            for result in results:
                write_card(folder.path, result)
            screen.say(f"finished: {write_report(folder.path)}, {', '.join(map(str, results))}")
        processes.wait_for_all("end")
        return Fitted(stop.exit_code, model, state, folder.path)


def _begin(run: Run, say: Callable[[str], None], notes: Sequence[str]) -> None:
    """Writes into the folder what the run is: all that could be refused has not been."""
    run.folder.write_json("config.json", to_file(run.config))
    if run.initial is not None and run.model.generation_config:
        run.folder.write_json(GENERATION, thaw(freeze(run.model.generation_config)))
    if run.folder.owner:
        run.corpus.readers.save(run.folder.path)
    _describe(run, say, notes)


def _describe(run: Run, say: Callable[[str], None], notes: Sequence[str]) -> None:
    config, mesh = run.config, run.mesh
    shape = devices_of(mesh)
    say(f"{run.corpus.origin}; text {run.corpus.fingerprint}")
    moved = [part.note for part in run.stream.parts if isinstance(part, ApartPart) and part.note]
    for note in (*run.corpus.notes, *moved, *notes):
        say(note)
    if run.verification.size:
        say(f"verifying {show_bytes(run.verification.size)} of tokens in the background")
    say(
        f"{config.model.model_type}: {run.model.parameter_count:,} parameters, {config.dtype}, "
        f"{type(config.objective).__name__}, on {shape}"
    )
    say(describe_evaluation(config.evaluation, run.evaluation))
    if run.limit is not None:
        short = -run.limit % config.data.batch
        last = f"; the last batch is filled with {short} empty rows" if short else ""
        epochs = f"{config.epochs} epoch{'s' * (config.epochs != 1)}"
        say(f"{epochs}: {run.limit:,} rows, {config.steps:,} steps{last}")
    say(f"continuing from step {run.start}" if run.start else f"starting in {run.folder.path}")


@contextlib.contextmanager
def _recorded(run: Run, stop: Stop, screen: Console, command: str) -> Iterator[Composite]:
    """The trackers of a run. At the end run.json says how it ended, and all figures are on disk,
    whatever happens."""
    config, folder, began = run.config, run.folder.path, time.perf_counter()
    if not run.folder.owner:
        yield Composite(Tracker(), (), config.log_every)
        return
    names = (*ALWAYS, *config.trackers)
    trackers = make_trackers(names, folder, run.start, config.log_every, screen.say)
    corpus = run.corpus
    tokenizer = corpus.tokenizer and corpus.tokenizer.fingerprint
    about = {
        "model_type": config.model.model_type,
        "objective": snake_case(type(config.objective).__name__),
        "parameters": run.model.parameter_count,
        "steps": config.steps,
        "tokens_per_step": run.tokens_per_step,
        "flops_per_step": run.flops,
        "evaluation_batches": {name or "held-out": len(b) for name, b in run.evaluation.items()},
        **({} if run.initial is None else {"init_from": run.initial}),
        "data": {
            "origin": corpus.origin,
            "fingerprint": corpus.fingerprint,
            "tokenizer": tokenizer,
            **({"columns": corpus.form.columns} if isinstance(corpus, TaskCorpus) else {}),
        },
    }
    record = start_run(folder, command, start=run.start, about=about)
    trackers.start({**record, "config": to_dict(config)})
    state: State = "failed"
    why = ""
    try:
        yield trackers
        state, why = ("stopped", stop.by.name) if stop.by else ("finished", "")
    except BaseException as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise
    finally:
        screen.close()
        trackers.finish()
        if run.folder.is_own():  # else there is nothing left to write to
            lines = read(folder / "metrics.jsonl")
            end_run(folder, state, lines[-1]["step"] if lines else run.start, why)
        if stop.by:
            screen.say(f"{stop.by.name}: stopped after {time.perf_counter() - began:.1f} s")


def snake_case(name: str) -> str:
    """MaskedLM -> masked_lm."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
