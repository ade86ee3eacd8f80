"""Flags: every field of a config is one, dotted, by tyro; a wrong one is one line of an error."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers_jax.spelling import nearest
from transformers_jax.training.config import TrainConfig


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
            raise ValueError(f"unknown flag {name}{nearest(name, known)}")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            chosen = tyro.cli(
                type(config),
                prog=program,
                default=config,
                args=list(arguments),
                config=(tyro.conf.AvoidSubcommands,),
            )
        return _with_mappings(chosen, config)
    except SystemExit as stopped:
        if stopped.code in (0, None):
            raise
        text = re.sub(r"[╭╮╰╯│─]+", " ", complaint.getvalue())
        raise ValueError(" ".join(text.split())[:400]) from None


def _with_mappings(chosen: Any, config: Any) -> Any:
    """Mappings such as rope_parameters as they were: no flag sets them, and tyro empties them."""
    mappings = {}
    for field in dataclasses.fields(config):
        before, now = getattr(config, field.name), getattr(chosen, field.name)
        if isinstance(before, Mapping):
            mappings[field.name] = before
        elif dataclasses.is_dataclass(before) and type(now) is type(before):
            mappings[field.name] = _with_mappings(now, before)
    return dataclasses.replace(chosen, **mappings) if mappings else chosen


def flags(config: object, prefix: str = "") -> list[str]:
    """All flags of a config; `--no-x` is the other value of a boolean `--x`."""
    names = []
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value, name = getattr(config, field.name), field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            names += flags(value, f"{prefix}{name}.")
        else:
            names.append(f"--{prefix}{name}")
            names += [f"--{prefix}no-{name}"] if isinstance(value, bool) else []
    return names
