"""Steps, rows and passes: how many of one are how many of another."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from transformers_jax.data.stream import Stream
from transformers_jax.training.config import MOST_STEPS, TrainConfig
from transformers_jax.training.probe import is_solved, of_one_step


def with_steps(config: TrainConfig, stream: Stream) -> tuple[TrainConfig, int | None]:
    """The config with its passes as steps, and the rows of these passes."""
    if is_solved(config):
        return of_one_step(config), None
    if config.epochs is None:
        return config, None
    passes = config.epochs
    if (
        sum(stream.groups_of(1)) * passes > 2 * MOST_STEPS * config.data.batch
    ):  # passes are counted below
        raise ValueError(f"epochs ({passes}) are more steps than a run may have ({MOST_STEPS:,})")
    groups = stream.groups_of(passes)
    steps = steps_of(config, groups)
    if steps > MOST_STEPS:
        raise ValueError(f"epochs ({passes}) are {steps:,} steps; at most {MOST_STEPS:,} are")
    config = config.replace(steps=steps)
    if per_epoch := config.evaluation.per_epoch:
        every = max(1, -(-steps // (passes * per_epoch)))
        evaluation = dataclasses.replace(config.evaluation, every=every)
        config = config.replace(evaluation=evaluation, save_every=every)
    return config, sum(groups)


def steps_of(config: TrainConfig, groups: Sequence[int]) -> int:
    """Steps after which so many rows have been read, by the stages of `batch_warmup`.

    Args:
        groups: rows that no batch crosses, so that a smaller batch ends each.
    """
    steps = 0
    for left in groups:
        for until, batch in (*config.batch_warmup, (sys.maxsize, config.data.batch)):
            taken = max(min(until - steps, -(-left // batch)), 0)
            steps, left = steps + taken, left - taken * batch
    return steps


def rows_of_steps(config: TrainConfig) -> int:
    """Rows of all steps of a run, by the stages of `batch_warmup`."""
    steps = rows = 0
    for until, batch in (*config.batch_warmup, (config.steps, config.data.batch)):
        rows += max(min(until, config.steps) - steps, 0) * batch
        steps = max(steps, min(until, config.steps))
    return rows
