"""The config of a command: that of a file, with flags over it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers_jax import flags
from transformers_jax.training.config import TrainConfig


@dataclass(frozen=True)
class Starting:
    """The flags that decide which model the other flags are about."""

    init_from: str | None = None
    out: str | None = None


def configured(config: TrainConfig, arguments: Sequence[str], program: str) -> TrainConfig:
    """The config with the flags' values. With --init-from the model and the tokenizer are the
    checkpoint's, over which the flags are laid.

    Raises:
        ValueError: see `flags.override` and `initial.with_checkpoint`.
    """
    starting, _ = flags.parse_known(Starting, arguments)
    if starting.init_from is not None:
        from transformers_jax.training.initial import with_checkpoint

        config = config.replace(init_from=starting.init_from)
        config = with_checkpoint(config, Path(starting.out or config.out), always=True)
    return overridden(config, arguments, program)


def overridden(
    config: TrainConfig, arguments: Sequence[str], program: str, beside: type | None = None
) -> TrainConfig:
    """`flags.override`, where --steps takes the place of a config's passes."""
    said = {argument.split("=")[0].removeprefix("--") for argument in arguments}
    return flags.override(in_steps(config, said), arguments, program, beside)


def in_steps(config: TrainConfig, said: Collection[str]) -> TrainConfig:
    """The config, whose length is counted in steps if these settings, which are said over it, have
    `steps` and no `epochs`; evaluations are then as `evaluation.every` says."""
    if "steps" not in said or "epochs" in said or config.epochs is None:
        return config
    evaluation = replace(config.evaluation, per_epoch=0)
    return config.replace(epochs=None, evaluation=evaluation)
