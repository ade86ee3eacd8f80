"""Flags of commands, parsed by tyro: one for every field of a record, dotted for records in it.

A wrong flag is one line of an error, which names the nearest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers_jax.spelling import nearest


class Misuse(ValueError):
    """The arguments are no command with its flags; commands exit with 2 then, not with 1."""


def override(config: Any, arguments: Sequence[str], program: str) -> Any:
    """The config with the flags' values; `_` is `-`, and `--a=1` is `--a 1`.

    Raises:
        Misuse: an unknown flag, with the nearest, or a value that its field cannot take.
        SystemExit: after --help.
    """
    return _with_mappings(parse(type(config), arguments, program, default=config), config)


def parse(record: type, arguments: Sequence[str], program: str, **options: Any) -> Any:
    """A record of this type with the flags' values; `options` are tyro's, such as a `default` or a
    `description`. Raises as `override`."""
    known = flags(options.get("default", record))
    for argument in arguments:
        name = argument.split("=")[0].replace("_", "-")
        if argument in ("-h", "--help"):
            arguments = ["--help"]  # tyro leaves arguments that were given out of the usage
            break
        if name.startswith("--") and name not in known:
            raise Misuse(f"unknown flag {name}{nearest(name, known)}")
    return _run(record, arguments, prog=program, **options)


def parse_known(record: type, arguments: Sequence[str]) -> tuple[Any, list[str]]:
    """A record with the values of its own flags, and the arguments that are none of them."""
    return _run(record, arguments, return_unknown_args=True, add_help=False)


def flag_of(record: Any, name: str, value: str) -> str:
    """The flag that sets a field of a record, or of one in it ("optimizer.peak"), to the value that
    a text means: `--x=value`, and for a boolean `--x` or `--no-x`.

    Raises:
        Misuse: another value of a boolean than True and False.
    """
    *path, last = name.replace("-", "_").split(".")
    for part in path:
        record = getattr(record, part, None)
    fields = dataclasses.fields(record) if dataclasses.is_dataclass(record) else ()
    spell = lambda last: "--" + ".".join([*path, last]).replace("_", "-")
    if not any(field.name == last and field.type in (bool, "bool") for field in fields):
        return f"{spell(last)}={value}"
    if value not in ("True", "False"):
        raise Misuse(f"{name} is a boolean; expected True or False, not {value!r}")
    return spell(last if value == "True" else f"no_{last}")


def _run(record: type, arguments: Sequence[str], **options: Any) -> Any:
    import tyro

    markers = (tyro.conf.AvoidSubcommands, tyro.conf.PositionalMetavarFromFieldName)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(record, args=list(arguments), config=markers, **options)
    except SystemExit as stopped:
        if stopped.code in (0, None):
            raise
        lines = [line.strip(" │") for line in complaint.getvalue().splitlines()[1:]]  # a title
        text = " ".join(line for line in lines if line.strip("─-╰╯"))
        text = text.partition(" For full helptext")[0]
        if choice := re.match(r"invalid choice '(.*)' for .* one of \('(.*)'\)", text):
            text = text.rstrip(".") + nearest(choice[1], choice[2].split("', '"))
        raise Misuse(text[:400]) from None


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


def flags(record: Any, prefix: str = "") -> list[str]:
    """All flags of a record, or of a type of records; `--no-x` is the other value of a `--x`."""
    names = []
    for field in dataclasses.fields(record):
        value, name = getattr(record, field.name, None), field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            names += flags(value, f"{prefix}{name}.")
        else:
            names.append(f"--{prefix}{name}")
            names += [f"--{prefix}no-{name}"] if isinstance(value, bool) else []
    return names
