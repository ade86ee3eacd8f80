"""The loop: steps until the last or a signal; each is recorded, some are evaluated and saved."""

from __future__ import annotations

import math
import time
from typing import Any

import jax

from transformers_jax.data.batches import fill, prefetched, shorten
from transformers_jax.data.stream import Position
from transformers_jax.training.clock import Clock
from transformers_jax.training.config import at_stage
from transformers_jax.training.console import Console
from transformers_jax.training.devices import place
from transformers_jax.training.evaluate import evaluator
from transformers_jax.training.finish import exportable, sample
from transformers_jax.training.flops import utilisation
from transformers_jax.training.metrics import Speed, memory
from transformers_jax.training.prepare import Run
from transformers_jax.training.state import TrainState
from transformers_jax.training.stop import Stop
from transformers_jax.training.trackers import Composite
from transformers_jax.training.watchdog import Watchdog

OVER = 50  # steps over which speed is measured
START_GRACE = 10.0  # seconds for a signal while nothing can be lost yet
PROFILED = range(10, 15)  # steps after the start that a profile shows


class Loop:
    """What changes from step to step."""

    def __init__(self, run: Run, screen: Console, trackers: Composite, stop: Stop, clock: Clock):
        self.run, self.screen, self.trackers = run, screen, trackers
        self.stop, self.clock = stop, clock
        self.state, self.position = run.take_state(), run.position
        self.evaluate = evaluator(run)
        self.pace = Pace(run)
        self.pending: tuple[int, Any, dict[str, Any]] | None = None
        self.saved, self.checked, self.in_a_row = run.start, run.start, 0
        self.writing: int | None = None
        self.tracing = False
        clock.resume(run.start)
        self.names = [
            jax.tree_util.keystr(path, simple=True, separator=".")
            for path, _ in jax.tree_util.tree_leaves_with_path(self.state.params)
        ]

    def train(self) -> TrainState:
        """The state after the last step."""
        run, config, stop = self.run, self.run.config, self.stop
        batches = prefetched(
            run.stream, self.position, run.rows_at, first=run.start, limit=run.limit
        )
        # without a limit nothing would ever be late
        watchdog = Watchdog(run.folder.path, least=config.watchdog or 1e9)
        with watchdog, self.clock("steps"):
            for number in range(run.start + 1, config.steps + 1):
                if stop.agreed() or self.out_of_time():
                    break
                self.profile(number)
                if number == config.debug.stall_at:
                    time.sleep(1e9)
                self.step(number, batches)
                self.note_saved()
                watchdog.beat(number)
                self.clock.step(number)
                if self.due(number):
                    with watchdog.patient(f"what follows step {number}"):
                        self.milestone(number)
            with watchdog.patient("the end of the run"):
                self.profile(None)
                self.settle()
                done = int(self.state.step)
                if done > self.saved and (stop.by or self.out_of_time()):
                    self.save(done)
                with self.clock("saving"):
                    run.checkpoints.wait()
                self.note_saved()
        if self.out_of_time() and not stop.by:
            self.screen.say(
                f"stopped after step {done}: no better evaluation in {config.evaluation.patience}"
            )
        if stop.by:
            what = f"saved step {self.saved}" if self.saved else "nothing to save"
            self.screen.say(f"{stop.by.name}: {what}")
        return self.state

    def step(self, number: int, batches: Any) -> None:
        """Gives the devices a step, then reads the metrics of the one before."""
        began = time.perf_counter()
        with self.clock("input"):
            batch, position = next(batches)
        seen = self.seen(batch, position, time.perf_counter() - began)
        batch = place(self.cut(batch, number), self.run.mesh)
        if number == self.run.start + 1:
            self.screen.status("compiling")
            with self.clock("compile"), self.stop.hurry(START_GRACE):
                self.state, metrics = self.run.step(self.state, batch)
        else:
            self.state, metrics = self.run.step(self.state, batch)
        self.settle()
        self.pending, self.position = (number, metrics, seen), position
        self.run.checkpoints.check()

    # ------------------------------------------------------------ milestones

    def due(self, number: int) -> bool:
        """Whether something follows a step."""
        config = self.run.config
        return (
            number == config.steps
            or bool(self.stop.by)
            or self.stop.save
            or number % config.save_every == 0
            or _every(number, config.evaluation.every)
            or _every(number, config.sample.every)
        )

    def milestone(self, number: int) -> None:
        """What some steps are followed by: an evaluation, samples, a checkpoint."""
        config, stop, clock = self.run.config, self.stop, self.clock
        last = number == config.steps
        assert self.pending is not None
        self.check_finite(number, self.pending[1])
        found: dict[str, float] = {}
        if last or _every(number, config.evaluation.every):
            self.screen.status("evaluating")
            with clock("evaluation"):
                averaged = self.run.averaged(self.state)
                found = self.evaluate(averaged, last, stop)
            self.remember(found)
        self.settle(found)
        self.screen.status("")
        if _every(number, config.sample.every) and not last:
            with clock("sampling"):
                sample(self.run, exportable(self.run, self.state), number, self.trackers)
        if last or stop.by or stop.save or number % config.save_every == 0:
            self.save(number, found.get("eval_loss"))
            stop.save = False
        self.pace.pause()

    def save(self, number: int, metric: float | None = None) -> None:
        """Begins to save the state, and where the stream is."""
        with self.clock("saving"):
            self.run.checkpoints.save(self.state, self.run.meta(self.position), metric)
        self.saved = self.writing = number
        self.screen.saving(number)

    def note_saved(self) -> None:
        """Says when a checkpoint is complete."""
        if self.writing is not None and self.run.checkpoints.saved == self.writing:
            self.screen.saved(self.writing)
            self.writing = None

    # ------------------------------------------------------------ batches

    def cut(self, batch: dict[str, Any], number: int) -> dict[str, Any]:
        """The batch at the length of its stage."""
        whole = self.run.config.data.length
        length = at_stage(self.run.config.length_warmup, number - 1, whole)
        return batch if length == whole else shorten(batch, whole, length)

    def seen(self, batch: dict[str, Any], position: Position, waited: float) -> dict[str, Any]:
        """What is known of a batch before it is used."""
        filled = fill(batch)
        return {
            "places": (places := self.run.places(batch)),
            "tokens": round(places * filled),
            "fill": filled,
            "epoch": round(self.run.stream.epoch(position), 4),
            "waited": waited,
        }

    def profile(self, number: int | None) -> None:
        """Begins and ends the trace of a few steps; None: there are no more steps."""
        if not self.run.config.profile:
            return
        place = None if number is None else number - self.run.start
        if place == PROFILED.start:
            jax.profiler.start_trace(str(self.run.folder.path / "profile"))
            self.tracing = True
        elif self.tracing and (place is None or place >= PROFILED.stop):
            jax.block_until_ready(self.state)
            jax.profiler.stop_trace()
            self.tracing = False
            self.screen.say(f"a trace of {len(PROFILED)} steps is in profile/ (TensorBoard)")

    # ------------------------------------------------------------ metrics, a step late

    def settle(self, extra: dict[str, Any] | None = None) -> None:
        """Records the step before; waits until it has been computed."""
        if self.pending is None:
            return
        number, metrics, seen = self.pending
        self.pending = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self.check_finite(number, values)
        line: dict[str, Any] = {"step": number, "loss": values["loss"]}
        line["loss_hex"] = values["loss"].hex()
        hidden = ("loss", "finite", "first_nonfinite", "skipped")
        line |= {k: v for k, v in values.items() if k not in hidden}
        if values["skipped"]:
            line["skipped"] = int(values["skipped"])
        line |= self.pace.tick(seen)
        line |= extra or {}
        self.trackers.log(number, {k: v for k, v in line.items() if k != "step"})
        self.screen.step(line)

    def check_finite(self, number: int, metrics: dict[str, Any]) -> None:
        """Ends the run where a step was not finite, or where too many in a row were skipped.

        Raises:
            FloatingPointError: the step, and the first gradient that was not finite.
        """
        if number == self.checked:
            return
        self.checked = number
        if bool(metrics["finite"]):
            self.in_a_row = 0
            return
        config = self.run.config
        loss, bad = float(metrics["loss"]), int(metrics["first_nonfinite"])
        where = f", first in the gradient of {self.names[bad]}" if bad >= 0 else ""
        what = f"the loss of step {number} is {loss}{where}"
        if math.isfinite(loss):
            what = f"the gradient of step {number} is not finite{where}"
        if math.isfinite(loss) and math.isfinite(metrics["gradient_norm"]):
            where = f", first in {self.names[bad]}" if bad >= 0 else ", in the optimizer's state"
            what = f"the update of step {number} is not finite{where}"
        self.in_a_row += 1
        if config.on_nonfinite == "abort":
            raise FloatingPointError(
                f"{what}; its update was not applied and the last checkpoint is intact. Lower "
                "--optimizer.peak or --clip, or pass --on-nonfinite skip"
            )
        self.screen.say(f"WARNING: {what}; skipped")
        if self.in_a_row > config.max_skipped:
            raise FloatingPointError(
                f"{what}; {self.in_a_row} steps in a row were skipped (--max-skipped "
                f"{config.max_skipped}), the last checkpoint is intact"
            )

    # ------------------------------------------------------------ early stopping

    def remember(self, found: dict[str, float]) -> None:
        """Counts evaluations that did not improve."""
        progress = self.run.progress
        if "eval_loss" not in found:
            return
        if found["eval_loss"] < progress.get("best", math.inf):
            progress |= {"best": found["eval_loss"], "worse": 0}
        else:
            progress["worse"] = progress.get("worse", 0) + 1

    def out_of_time(self) -> bool:
        """Whether the loss has not improved for as long as the config is patient."""
        patience = self.run.config.evaluation.patience
        return bool(patience) and self.run.progress.get("worse", 0) >= patience


class Pace:
    """The figures of a step that are not the model's: speed, waiting, memory, compute."""

    def __init__(self, run: Run) -> None:
        self.flops, self.peak, self.progress = run.flops, run.peak_flops, run.progress
        self.flops_per_place = (run.flops or 0.0) / run.tokens_per_step
        self._began = time.perf_counter()
        self._speed = Speed(run.tokens_per_step, OVER)

    def tick(self, seen: dict[str, Any]) -> dict[str, Any]:
        """Call when a step has ended; figures of speed are there once there are two."""
        rate = self._speed.tick(seen["waited"], seen["tokens"])
        steps = self._speed.steps_per_second
        found: dict[str, Any] = {"tokens_per_second": rate, "steps_per_second": steps}
        if self.flops and steps:
            of_step = self.flops_per_place * seen["places"]
            found["mfu"] = utilisation(of_step, 1 / steps, self.peak)
        found |= {"input_wait": self._speed.input_wait, "epoch": seen["epoch"]}
        found["fill"] = round(seen["fill"], 4) if seen["fill"] < 1 else None
        self.progress["tokens"] = self.progress.get("tokens", 0) + seen["tokens"]
        found["tokens"] = self.progress["tokens"]
        self.progress["places"] = self.progress.get("places", 0) + seen["places"]
        found["flops"] = self.flops_per_place * self.progress["places"] if self.flops else None
        found |= {"memory": memory(), "seconds": round(time.perf_counter() - self._began, 3)}
        return {name: value for name, value in found.items() if value is not None}

    def pause(self) -> None:
        """The next step does not follow at once."""
        self._speed.pause()


def _every(number: int, every: int) -> bool:
    return bool(every) and number % every == 0
