"""The loop: steps until the last or a signal; each is recorded, some are evaluated and saved.

The devices are given a step before the metrics of the one before are read, so that they never wait
for the host; a thread makes the batches ahead.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from transformers_jax import processes
from transformers_jax.allocator import give_back
from transformers_jax.data.packing import held, positions, rows_of, shorten
from transformers_jax.data.prefetch import prefetched
from transformers_jax.data.stream import Position
from transformers_jax.tasks import Task
from transformers_jax.tasks.figures import to_json
from transformers_jax.training.checksums import names
from transformers_jax.training.clock import Clock
from transformers_jax.training.config import at_stage
from transformers_jax.training.console import Console
from transformers_jax.training.evaluate import FIGURE, Measured, evaluator
from transformers_jax.training.finish import exportable, sample
from transformers_jax.training.flops import utilisation
from transformers_jax.training.left_out import LeftOut
from transformers_jax.training.metrics import COUNTS, Speed, memory
from transformers_jax.training.prepare import Run
from transformers_jax.training.state import TrainState
from transformers_jax.training.stop import Stop
from transformers_jax.training.trackers import Composite
from transformers_jax.training.watchdog import STACKS, Watchdog

OVER = 50  # steps over which speed is measured
START_GRACE = 10.0  # seconds for a signal while nothing can be lost yet
PROFILED = range(10, 15)  # steps after the start that a profile shows
NOT_RECORDED = frozenset("loss finite first_nonfinite skipped spike spikes".split())


class Loop:
    """The state of a run from step to step."""

    def __init__(self, run: Run, screen: Console, trackers: Composite, stop: Stop, clock: Clock):
        self.run, self.screen, self.trackers = run, screen, trackers
        self.stop, self.clock = stop, clock
        self.state, self.position = run.take_state(), run.position
        self.evaluate, self.pace = evaluator(run), Pace(run)
        self.pending: tuple[int, Any, dict[str, Any]] | None = None
        """(number, metrics, input figures) of the step whose metrics have not been read"""
        self.left_out = LeftOut(run.config, run.start, names(self.state.params), screen.say)
        self.saved = run.start
        self.writing: int | None = None
        self.tracing = False
        self.compiled: set[tuple[tuple[int, ...], ...]] = set()
        """shapes of the batches so far: a step is compiled for each"""
        clock.resume(run.start)

    def train(self) -> TrainState:
        """The state after the last step."""
        run, config = self.run, self.run.config
        batches = prefetched(
            run.stream, self.position, self.rows_at, first=run.start, limit=run.limit
        )
        least = config.watchdog or 1e9  # 0: nothing is late
        watchdog = Watchdog(run.folder.path, least=least, stacks=processes.mine(STACKS))
        with watchdog, self.clock("steps"):
            with self.clock("compile"):
                processes.wait_for_all("steps")  # a collective has less patience
                self.stop.agreed()
            for number in range(run.start + 1, config.steps + 1):
                if self.stop.agreed() or self.out_of_patience():
                    break
                self.profile(number)
                if number == config.debug.stall_at:
                    time.sleep(1e9)
                self.step(number, batches)
                self.report_saved()
                watchdog.step_finished(number)
                self.clock.step(number)
                if self.due(number):
                    with watchdog.allow(f"what follows step {number}"):
                        self.milestone(number)
            with watchdog.allow("the end of the run"):
                self.end()
        return self.state

    def step(self, number: int, batches: Any) -> None:
        """Gives the devices a step, then reads the metrics of the one before."""
        began = time.perf_counter()
        with self.clock("input"):
            batch, position = next(batches)
        waited, rows = time.perf_counter() - began, self.rows_at(number - 1)
        placed = self.to_devices(batch, number, rows)
        with self.compiling(placed):
            inputs = self.input_figures(batch, placed, position, rows, waited)
            self.state, metrics = self.run.step(self.state, placed)
        self.record_pending()
        self.pending, self.position = (number, metrics, inputs), position
        self.run.checkpoints.check()
        self.check_files()

    def check_files(self, show: Callable[[str], None] | None = None) -> None:
        """Ends the run once a file of its tokens is found damaged; with `show`, waits for it."""
        try:
            if show is None:
                self.run.verification.check()
            else:
                self.run.verification.wait(show)
        except ValueError as error:
            since = f"checkpoints after step {self.run.start} may have been trained on it"
            raise ValueError(f"{error}; {since}") from None

    @contextlib.contextmanager
    def compiling(self, batch: dict[str, Any]) -> Iterator[None]:
        """Within this a step is made; of the first batch of its shapes, it is compiled first."""
        shapes = tuple(array.shape for array in jax.tree.leaves(batch))
        if shapes in self.compiled:
            yield
            return
        self.screen.status("" if self.compiled else "compiling")
        with self.clock("compile"), contextlib.ExitStack() as stack:
            if not self.compiled:
                stack.enter_context(self.stop.short_grace(START_GRACE))
            self.compiled.add(shapes)
            yield

    def end(self) -> None:
        """After the last step, or a signal: saves what is not saved, and says why it ended."""
        self.profile(None)
        self.record_pending()
        done, stop = int(self.state.step), self.stop
        if not stop.by:
            self.check_files(self.screen.progress)
        if done > self.saved and (stop.by or self.out_of_patience()):
            self.save(done)
        with self.clock("saving"):
            self.run.checkpoints.wait()
        self.run.folder.check()
        self.report_saved()
        if stop.by:
            what = f"saved step {self.saved}" if self.saved else "nothing to save"
            self.screen.say(f"{stop.by.name}: {what}; the same command continues the run")
        elif self.out_of_patience():
            patience = self.run.config.evaluation.patience
            self.screen.say(f"stopped after step {done}: no better evaluation in {patience}")

    # ------------------------------------------------------------ milestones

    def due(self, number: int) -> set[str]:
        """What follows a step, by the config and the signals so far: evaluation, sample, save."""
        config, stop = self.run.config, self.stop
        last = number == config.steps
        every = dict(evaluation=config.evaluation.every, sample=config.sample.every)
        due = {what for what, steps in every.items() if steps and number % steps == 0}
        if last:
            due.discard("sample")  # samples of the end are drawn from the exported model
            due |= set() if config.evaluation.final_batches == 0 else {"evaluation"}
        if not self.run.evaluation:
            due.discard("evaluation")
        if last or stop.by or stop.save or number % config.save_every == 0:
            due.add("save")
        return due

    def milestone(self, number: int) -> None:
        """An evaluation, samples, a checkpoint: each if it is due."""
        due, clock, last = self.due(number), self.clock, number == self.run.config.steps
        assert self.pending is not None
        self.left_out.check(number, self.pending[1])
        measured, pace, best = Measured(), self.pace.tick(self.pending[2]), False
        if "evaluation" in due:
            with clock("evaluation"):
                params, show = self.run.averaged(self.state), self.screen.progress
                measured = self.evaluate(params, last, self.stop, show)
            best = self.count_evaluation(measured.values)
            self.keep_figure(number, measured, best, "save" in due)
        self.record_pending(measured.values, pace)
        self.screen.status("")
        if "sample" in due:
            with clock("sampling"):
                model = exportable(self.run, self.state)
                sample(self.run, model, number, self.trackers, self.screen.say)
        if best and self.run.config.keep_best:  # it is kept, wherever saves fall
            due.add("save")
        if "save" in due | self.due(number):  # a signal may have come meanwhile
            loss = self.run.criterion.loss(measured.values)
            self.save(number, loss if loss is None or math.isfinite(loss) else None)
            self.stop.save = False
        self.pace.speed.pause()

    def keep_figure(self, number: int, measured: Measured, best: bool, saved: bool) -> None:
        """Writes the picture of an evaluation, if its step may be the one that is exported: of
        steps that are equally good the last one is."""
        loss, least = self.run.criterion.loss(measured.values), self.run.progress.get("best")
        equal = saved and loss is not None and least is not None and loss <= least
        if measured.figure is not None and (best or equal or not self.run.config.keep_best):
            self.run.folder.write_json(FIGURE, {"step": number, **to_json(measured.figure)})

    def save(self, number: int, metric: float | None = None) -> None:
        """Begins to save the state, and the position in the data."""
        self.run.folder.check()
        with self.clock("saving"):
            self.run.checkpoints.save(self.state, self.run.meta(self.position), metric)
        self.saved = self.writing = number
        self.screen.saving(number)

    def report_saved(self) -> None:
        """Says when a checkpoint is complete, and lets go of the memory that it took."""
        if self.writing is not None and self.run.checkpoints.saved == self.writing:
            self.screen.saved(self.writing)
            self.writing = None
            give_back()

    def profile(self, number: int | None) -> None:
        """Begins and ends the trace of a few steps; None: there are no more steps."""
        if not (self.run.config.profile and self.run.folder.owner):
            return
        after = None if number is None else number - self.run.start
        if after == PROFILED.start:
            jax.profiler.start_trace(str(self.run.folder.path / "profile"))
            self.tracing = True
        elif self.tracing and (after is None or after >= PROFILED.stop):
            with self.clock("other"):
                jax.block_until_ready(self.state)
                jax.profiler.stop_trace()
            self.tracing = False
            self.screen.say(f"a trace of {len(PROFILED)} steps is in profile/ (TensorBoard)")

    # ------------------------------------------------------------ batches

    def rows_at(self, step: int) -> int:
        """Rows of the batch of a step, counted from 0."""
        config = self.run.config
        return at_stage(config.batch_warmup, step, config.data.batch)

    def to_devices(self, batch: dict[str, Any], number: int, rows: int) -> dict[str, Any]:
        """The batch on the devices, at the length of its stage; of so many rows if uncut, of which
        this process has its own."""
        whole = self.run.config.data.length
        length = at_stage(self.run.config.length_warmup, number - 1, whole)
        if length != whole:
            batch, rows = shorten(batch, whole, length), rows * (whole // length)
        return processes.to_devices(batch, self.run.mesh, rows)

    def input_figures(
        self,
        batch: dict[str, Any],
        placed: dict[str, Any],
        position: Position,
        rows: int,
        waited: float,
    ) -> dict[str, Any]:
        """The figures of a batch of so many rows, of which this process has its own, before it is
        used. `held` is the number of its tokens, or None if all positions hold one; counted on the
        devices if no process has all rows."""
        own, data = rows_of(batch), self.run.config.data
        extra = self.run.config.objective.width(data.length) - data.length
        count, size = held(batch if own == rows else placed)
        return {
            "places": positions(batch, extra, data.length)
            // own
            * rows,  # the name that checkpoints have
            "held": count,
            "size": size,
            "epoch": round(self.run.stream.epoch(position), 4),
            "waited": waited,
        }

    # ------------------------------------------------------------ metrics, a step late

    def record_pending(
        self, evaluation: dict[str, float] | None = None, pace: dict[str, Any] | None = None
    ) -> None:
        """Records the step before; waits until it has been computed.

        Args:
            pace: its speed, where other things have been done since it ended.
        """
        if self.pending is None:
            return
        self.run.folder.check()
        (number, metrics, inputs), self.pending = self.pending, None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self.left_out.check(number, values)
        if isinstance(task := self.run.config.objective, Task):
            task.watch(number, values, self.run.config.model)
        line: dict[str, Any] = {"loss": values["loss"], "loss_hex": values["loss"].hex()}
        line |= {name: value for name, value in values.items() if name not in NOT_RECORDED}
        line |= {name: int(values[name]) for name in COUNTS if values.get(name)}
        line |= {**(self.pace.tick(inputs) if pace is None else pace), **(evaluation or {})}
        self.trackers.log(number, line)
        self.screen.step({"step": number, **line})

    # ------------------------------------------------------------ early stopping

    def count_evaluation(self, evaluation: dict[str, float]) -> bool:
        """Whether this evaluation is the best so far; counts those that did not improve."""
        progress, loss = self.run.progress, self.run.criterion.loss(evaluation)
        if loss is not None and loss < progress.get("best", math.inf):
            progress |= {"best": loss, "worse": 0}
            return True
        if loss is not None:
            progress["worse"] = progress.get("worse", 0) + 1
        return False

    def out_of_patience(self) -> bool:
        """Whether as many evaluations in a row as the config allows did not improve."""
        patience = self.run.config.evaluation.patience
        return bool(patience) and self.run.progress.get("worse", 0) >= patience


class Pace:
    """The figures of a step that are not the model's: speed, waiting, memory, compute."""

    def __init__(self, run: Run) -> None:
        self.run, self.speed = run, Speed(OVER)
        self._began = time.perf_counter()

    def tick(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Call when a step has ended; figures of speed are there once there are two."""
        run, progress = self.run, self.run.progress
        places, count = inputs["places"], inputs["held"]
        filled = 1.0 if count is None else float(count) / inputs["size"]
        tokens = round(places * filled)
        progress["tokens"] = progress.get("tokens", 0) + tokens
        progress["places"] = progress.get("places", 0) + places
        flops = run.flops / run.tokens_per_step  # of a position
        speed = self.speed.tick(inputs["waited"], tokens)
        steps = speed.get("steps_per_second")
        figures = {
            **speed,
            "mfu": steps and utilisation(flops * places, 1 / steps, run.peak_flops),
            "epoch": inputs["epoch"],
            "fill": None if count is None else round(filled, 4),
            "tokens": progress["tokens"],
            "flops": flops * progress["places"],
            "memory": memory(),
            "seconds": round(time.perf_counter() - self._began, 3),
        }
        return {name: value for name, value in figures.items() if value is not None}
