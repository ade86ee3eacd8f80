"""What becomes of the learning rate when a run goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from transformers_jax.nn.param import unflatten
from transformers_jax.optim import Optimization
from transformers_jax.training.config import TrainConfig, from_dict


def going_on(
    config: TrainConfig, schedule_steps: int, saved: Mapping[str, Any], updates: int
) -> str | None:
    """A sentence about a schedule that has ended, or that is another one than before; None: it goes
    on as it began.

    Args:
        schedule_steps: of the schedule from now on.
        saved: what the checkpoint records of the run.
        updates: that were made so far.
    """
    optimizer, before = config.optimizer, saved_optimizer(saved)
    first, last = int(saved["step"]) + 1, config.steps
    if before is None or last < first:
        return None
    old = lambda step: rate_at(before, saved["schedule_steps"], step)
    new = lambda steps, step: rate_at(optimizer, steps, step)
    begins = new(schedule_steps, updates)
    if (before.schedule, before.peak, saved["schedule_steps"]) != (
        *(optimizer.schedule, optimizer.peak),
        schedule_steps,
    ):
        return (
            f"the schedule was {describe(before, saved['schedule_steps'])} and is "
            f"{describe(optimizer, schedule_steps)}: the learning rate of step {first:,} is "
            f"{begins:.3g}, and that of the step before was {old(max(updates - 1, 0)):.3g}"
        )
    if last <= schedule_steps or config.schedule_steps is not None:  # as the run was made, or asked
        return None
    after = new(schedule_steps, max(updates, schedule_steps))
    end, stretched = new(schedule_steps, last), new(last, updates)
    course = f"stays {after:.3g}" if after == end else f"goes from {after:.3g} to {end:.3g}"
    nothing = ", so that nothing is learned" if after == end == 0 else ""
    return (
        f"the schedule of {schedule_steps:,} steps is shorter than the run of {last:,}: from step "
        f"{max(first, schedule_steps + 1):,} on the learning rate {course} (its peak: "
        f"{optimizer.peak:.3g}){nothing}. With --schedule-steps {last} --allow-schedule-change it "
        f"would jump from {begins:.3g} to {stretched:.3g} at step {first:,}"
    )


def saved_optimizer(saved: Mapping[str, Any]) -> Optimization | None:
    """The optimizer of the run that made a checkpoint; None if this version does not know it."""
    flat = {n: v for n, v in saved["identity"].items() if n.startswith("optimizer.")}
    with contextlib.suppress(ValueError, TypeError):
        return from_dict(unflatten(flat)).optimizer
    return None


def rate_at(optimizer: Optimization, steps: int, step: int) -> float:
    """The learning rate of a step, counted from 0, of a schedule of `steps`."""
    return float(optimizer.schedule.rate(optimizer.peak, steps)(jnp.asarray(step)))


def describe(optimizer: Optimization, steps: int) -> str:
    """ "Cosine(warmup=10, final=0.1) over 500 steps to 0.003" """
    return f"{optimizer.schedule} over {steps:,} steps with a peak of {optimizer.peak:.3g}"
