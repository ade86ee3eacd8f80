"""The config of a command: that of a file, with flags over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    return flags.override(config, arguments, program)
