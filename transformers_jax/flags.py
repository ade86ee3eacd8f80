"""Flags of commands, parsed by tyro: one for every field of a record, dotted for records in it.

A field that holds one of several records is a flag as well: `--optimizer Muon` chooses the kind,
`--optimizer.momentum` is then a setting of it. A wrong flag is one line of an error, which names
the nearest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

from transformers_jax.spelling import nearest


class Misuse(ValueError):
    """The arguments are no command with its flags; commands exit with 2 then, not with 1."""


def override(
    config: Any, arguments: Sequence[str], program: str, beside: type | None = None
) -> Any:
    """The config with the flags' values; `_` is `-`, and `--a=1` is `--a 1`.

    A kind that the config does not have already begins with its own defaults. `beside` is a record
    whose flags the command has as well.

    Raises:
        Misuse: an unknown flag or kind, with the nearest, or a value that its field cannot take.
        SystemExit: after --help.
    """
    config, arguments = with_kinds(config, arguments)
    options = dict(default=config, description=describe_kinds(config))
    others = () if beside is None else flags(beside)
    return _with_mappings(parse(type(config), arguments, program, others, **options), config)


def parse(
    record: type,
    arguments: Sequence[str],
    program: str,
    others: Sequence[str] = (),
    **options: Any,
) -> Any:
    """A record of this type with the flags' values; `options` are tyro's, such as a `default` or a
    `description`; `others` are flags of which an unknown one may be a misspelling. Raises as
    `override`."""
    known = flags(options.get("default", record))
    arguments = [_without_alias(record, argument) for argument in arguments]
    for argument in arguments:
        name = argument.split("=")[0].replace("_", "-")
        if argument in ("-h", "--help"):
            arguments = ["--help"]  # tyro leaves arguments that were given out of the usage
            break
        if name.startswith("--") and name not in known:
            near = nearest_flag(name, (*others, *known))
            hint = of_another_kind(options.get("default"), name) or near
            raise Misuse(f"unknown flag {name}{hint}")
    return _run(record, arguments, prog=program, **options)


def nearest_flag(flag: str, known: Sequence[str]) -> str:
    """ "; did you mean '--steps'?", or nothing; the hyphens in front, which all flags have, make no
    two alike."""
    bare = [name.removeprefix("--") for name in known]
    return nearest(flag.removeprefix("--"), bare, prefix="--", cutoff=0.65)


def _without_alias(record: type, argument: str) -> str:
    """An argument with the flag's own name where it is written with the name of a record in front:
    `--data.length=5` as `--length=5`, by ALIASES of the command."""
    name, equals, value = argument.partition("=")
    place, dot, last = name.removeprefix("--").partition(".")
    fields = getattr(record, "ALIASES", {}).get(place, ())
    if not (dot and name.startswith("--") and last.replace("-", "_") in fields):
        return argument
    return f"--{last}{equals}{value}"


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
    spell = lambda last: _flag(".".join([*path, last]))
    if not any(field.name == last and field.type in (bool, "bool") for field in fields):
        return f"{spell(last)}={value}"
    if value not in ("True", "False"):
        raise Misuse(f"{name} is a boolean; expected True or False, not {value!r}")
    return spell(last if value == "True" else f"no_{last}")


# ---------------------------------------------------------------- one of several records


def kinds(record: Any, prefix: str = "") -> dict[str, dict[str, type]]:
    """{"optimizer": {"AdamW": AdamW, ...}, "optimizer.schedule": {...}}: the fields of a record,
    and of those in it, that hold one of several records, and which."""
    found: dict[str, dict[str, type]] = {}
    hints = get_type_hints(type(record))
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if not dataclasses.is_dataclass(value):
            continue
        several = get_args(hints[field.name])
        if len(several) > 1 and all(map(dataclasses.is_dataclass, several)):
            found[f"{prefix}{field.name}"] = {kind.__name__: kind for kind in several}
        found |= kinds(value, f"{prefix}{field.name}.")
    return found


def kind_named(name: str, known: Mapping[str, type], flag: str) -> type:
    """The record that a name means: `MaskedLM`, `masked_lm` and `masked-lm` are the same.

    Raises:
        Misuse: none of them, with those that there are.
    """
    folded = {fold(kind): record for kind, record in known.items()}
    if fold(name) not in folded:
        listed = ", ".join(known)
        raise Misuse(f"{flag} {name!r} is none of {listed}{nearest(name, known)}")
    return folded[fold(name)]


def fold(name: str) -> str:
    """A name without capitals, hyphens and underscores."""
    return name.replace("-", "").replace("_", "").casefold()


def with_kinds(config: Any, arguments: Sequence[str]) -> tuple[Any, list[str]]:
    """The config with the kinds that flags choose, and the arguments without these flags. Of a flag
    that is there twice, the last counts."""
    rest = list(arguments)
    done: set[str] = set()
    while waiting := [path for path in kinds(config) if path not in done]:
        path = waiting[0]  # what a chosen record has in it comes after it
        name, rest = _taken(rest, _flag(path))
        if name is not None:
            chosen = kind_named(name, kinds(config)[path], _flag(path))
            config = _with_kind(config, path.split("."), chosen)
        done.add(path)
    return config, rest


def _taken(arguments: list[str], flag: str) -> tuple[str | None, list[str]]:
    """The value of a flag (None: it is not there), and the other arguments.

    Raises:
        Misuse: the flag without a value.
    """
    value, rest = None, list[str]()
    words = iter(arguments)
    for word in words:
        name, equals, after = word.partition("=")
        if name.replace("_", "-") != flag:
            rest.append(word)
            continue
        value = after if equals else next(words, "")
        if not value or value.startswith("-"):
            raise Misuse(f"{flag} needs the name of a kind")
    return value, rest


def _with_kind(record: Any, path: Sequence[str], kind: type) -> Any:
    """The record in which the field at a path is of a kind; one that it has already stays."""
    first, *deeper = path
    before = getattr(record, first)
    if deeper:
        return dataclasses.replace(record, **{first: _with_kind(before, deeper, kind)})
    return record if type(before) is kind else dataclasses.replace(record, **{first: kind()})


def of_another_kind(config: Any, flag: str) -> str:
    """ "; it is a setting of Muon (--optimizer Muon)", for a flag that no chosen record has."""
    path, _, name = flag.removeprefix("--").replace("-", "_").rpartition(".")
    known = kinds(config).get(path, {}) if dataclasses.is_dataclass(config) else {}
    fields = {kind: {field.name for field in dataclasses.fields(known[kind])} for kind in known}
    having = [kind for kind in known if name in fields[kind]]
    if not having:
        return ""
    return f"; it is a setting of {' and '.join(having)} ({_flag(path)} {having[0]})"


def describe_kinds(config: Any) -> str | None:
    """What --help says of flags that choose a kind; None where there are none."""
    lines = []
    for path, known in kinds(config).items():
        own = functools.reduce(getattr, path.split("."), config)
        others = ", ".join(known)
        lines.append(f"{_flag(path)} KIND (now {type(own).__name__}): {others}")
    if not lines:
        return None
    head = (
        f"{(type(config).__doc__ or '').splitlines()[0]}\n\nKinds, each with settings of its own:"
    )
    return "\n".join([head, *lines])


def _flag(path: str) -> str:
    """--data.eval-path of data.eval_path."""
    return f"--{path}".replace("_", "-")


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
    if not isinstance(record, type) and not prefix:
        names += [_flag(path) for path in kinds(record)]
    for field in dataclasses.fields(record):
        value, name = getattr(record, field.name, None), field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            names += flags(value, f"{prefix}{name}.")
        else:
            names.append(f"--{prefix}{name}")
            names += [f"--{prefix}no-{name}"] if isinstance(value, bool) else []
    return names
