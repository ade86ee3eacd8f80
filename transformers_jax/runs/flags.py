"""Flags: every field of a config is one, dotted, by tyro; a wrong one is told in one line."""

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
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
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
        words = re.sub(r"[╭╮╰╯│─]+", " ", said.getvalue())
        raise ValueError(" ".join(words.split())[:400]) from None


def _with_mappings(chosen: Any, config: Any) -> Any:
    """What no flag can say, such as rope_parameters, as it was: tyro empties it."""
    kept = {}
    for field in dataclasses.fields(config):
        before, now = getattr(config, field.name), getattr(chosen, field.name)
        if isinstance(before, Mapping):
            kept[field.name] = before
        elif dataclasses.is_dataclass(before) and type(now) is type(before):
            kept[field.name] = _with_mappings(now, before)
    return dataclasses.replace(chosen, **kept) if kept else chosen


def sweeps(arguments: Sequence[str]) -> tuple[dict[str, list[str]], int, list[str]]:
    """({name: values} of every --sweep NAME=V1,V2, the number of --sweep-jobs, what is left).

    Raises:
        ValueError: a sweep without a name or values, or a number of jobs that is none.
    """
    grid: dict[str, list[str]] = {}
    jobs, rest, words = 1, [], list(arguments)
    while words:
        word = words.pop(0)
        flag, has_value, value = word.partition("=")
        if flag not in ("--sweep", "--sweep-jobs", "--sweep_jobs"):
            rest.append(word)
            continue
        if not has_value:
            value = words.pop(0) if words else ""
        if flag == "--sweep":
            name, _, values = value.partition("=")
            if not name or not all(values.split(",")):
                raise ValueError(f"--sweep {value!r}: expected NAME=V1,V2,...")
            grid[name.removeprefix("--").replace("-", "_")] = values.split(",")
        elif not value.isdigit() or int(value) < 1:
            raise ValueError(f"--sweep-jobs {value!r}: expected a number of processes, at least 1")
        else:
            jobs = int(value)
    return grid, jobs, rest


def check_sweep(config: TrainConfig, grid: dict[str, list[str]], program: str) -> None:
    """Every value of a sweep is one that its setting can take, before the first run starts.

    Raises:
        ValueError: the first that is not.
    """
    for name, values in grid.items():
        for value in values:
            override(config, [f"--{name}={value}"], program)


def without(arguments: Sequence[str], flag: str) -> list[str]:
    """The arguments without a flag and its value."""
    kept, words = [], list(arguments)
    while words:
        word = words.pop(0)
        if word == flag:
            words[:1] = []
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept


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
