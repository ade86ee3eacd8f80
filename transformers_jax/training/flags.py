"""Flags: every field of a config is one, dotted, by tyro; a wrong one is told in one line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import Sequence

from transformers_jax.training.config import TrainConfig, did_you_mean


def override(config: TrainConfig, arguments: Sequence[str], program: str) -> TrainConfig:
    """The config with the flags' values; `_` is `-`, and `--a=1` is `--a 1`.

    Raises:
        ValueError: an unknown flag, with the nearest, or a value that its field cannot take.
        SystemExit: after --help.
    """
    import tyro

    known = flags(config)
    for argument in arguments:
        name = argument.split("=")[0].replace("_", "-")
        if argument in ("-h", "--help"):
            break
        if name.startswith("--") and name not in known:
            raise ValueError(f"unknown flag {name}{did_you_mean(name, known)}")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(config),
                prog=program,
                default=config,
                args=list(arguments),
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit as stopped:
        if stopped.code in (0, None):
            raise
        words = re.sub(r"[╭╮╰╯│─]+", " ", said.getvalue())
        raise ValueError(" ".join(words.split())[:400]) from None


def flags(config: object, prefix: str = "--") -> list[str]:
    """All flags of a config; `--no-x` is the other value of a boolean `--x`."""
    found = []
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value, name = getattr(config, field.name), field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            found += flags(value, f"{prefix}{name}.")
            continue
        found.append(prefix + name)
        if isinstance(value, bool):
            *parents, last = (prefix + name)[2:].split(".")
            found.append("--" + ".".join([*parents, f"no-{last}"]))
    return found
