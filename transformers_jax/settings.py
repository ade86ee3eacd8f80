"""Records of settings: each value has the type that its field declares, or the record is refused.

Flags, Python and JSON make the same records, so that all of them are checked here, by the
annotations. typeguard, which checks annotations of functions, takes True for a number, names no
nearest word and cannot turn the lists of JSON into tuples.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from transformers_jax.spelling import closest, nearest

LONGEST = 80  # characters of a value in a message
WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "a text",
    type(None): "None",
}


class Settings:
    """A frozen dataclass whose values are checked when it is made, before a check of its own reads
    them. Lists become tuples, paths texts, and NumPy's numbers Python's.

    Raises:
        ValueError: values of other types than the fields declare, all of them at once.
    """

    def __post_init__(self) -> None:
        problems: list[str] = []
        for name, hint in hints_of(type(self)).items():
            value = checked(getattr(self, name), hint, name, problems)
            object.__setattr__(self, name, value)
        if problems:
            raise ValueError(f"{type(self).__name__}: " + "; ".join(problems))

    def at_least(self, prefix: str, **least: int) -> None:
        """Raises ValueError for fields below the least value of each; `prefix` is of their names
        in a message."""
        values = {name: getattr(self, name) for name in least}
        wrong = [
            f"{prefix}{name} ({value}) must be at least {least[name]}"
            for name, value in values.items()
            if value is not None and value < least[name]
        ]
        if wrong:
            raise ValueError("; ".join(wrong))


@contextlib.contextmanager
def unknown_fields(*kinds: type) -> Iterator[None]:
    """A record, derived from one of these, that is made with a field that it does not have is a
    ValueError with the nearest name, and not Python's TypeError."""
    try:
        yield
    except TypeError as error:
        match = re.search(
            r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error)
        )
        records: dict[str, Any] = {}
        for kind in kinds:
            records |= _records(kind)
        record = match and records.get(match[1])
        if not (match and record):
            raise
        known = [field.name for field in dataclasses.fields(record)]
        raise ValueError(
            f"{match[1]} has no field {match[2]!r}{nearest(match[2], known)}; it has "
            f"{', '.join(known)}"
        ) from None


def _records(kind: Any) -> dict[str, Any]:
    """The dataclasses derived from a class, by name."""
    records: dict[str, Any] = {}
    for derived in kind.__subclasses__():
        records |= {**_records(derived), derived.__name__: derived}
    return records


def hints_of(record: Any) -> dict[str, Any]:
    """The declared types of the fields of a dataclass, or of a named tuple."""
    return _hints(record)


@functools.cache
def _hints(record: Any) -> dict[str, Any]:
    hints = get_type_hints(record)
    names = getattr(record, "_fields", None) or [f.name for f in dataclasses.fields(record)]
    return {name: hints[name] for name in names}


def checked(value: Any, hint: Any, where: str, problems: list[str]) -> Any:
    """The value as its declared type has it; what is wrong with it is added to the problems."""
    value = value.item() if isinstance(value, np.generic) else value
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return _one_of(value, arguments, where, problems)
    if get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        each = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(each) == len(value):
            parts = enumerate(zip(value, each))
            return tuple(checked(v, h, f"{where}[{n}]", problems) for n, (v, h) in parts)
    elif get_origin(hint) is not None and _is_mapping(hint) and isinstance(value, Mapping):
        keys = [checked(key, arguments[0], f"a key of {where}", problems) for key in value]
        parts = [checked(v, arguments[1], f"{where}[{k!r}]", problems) for k, v in value.items()]
        return value if not isinstance(value, dict) else dict(zip(keys, parts))
    elif hasattr(hint, "_fields") and isinstance(value, (list, tuple)):
        return _named_tuple(value, hint, where, problems)
    elif hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    elif _is(value, hint):
        return value
    problems.append(f"{where} should be {described(hint)}, not {_came(value, hint)}")
    return value


def _one_of(value: Any, options: tuple[Any, ...], where: str, problems: list[str]) -> Any:
    """The value as the first of the types has it that it fits."""
    found: list[list[str]] = []
    for option in options:
        found.append([])
        result = checked(value, option, where, found[-1])
        if not found[-1]:
            return result
    inside = [texts for texts in found if not texts[0].startswith(f"{where} should")]
    hint = Union[options]  # noqa: UP007
    own = [f"{where} should be {described(hint)}, not {_came(value, hint)}"]
    problems += inside[0] if len(inside) == 1 else own
    return value


def _named_tuple(value: Any, record: Any, where: str, problems: list[str]) -> Any:
    """A named tuple of values, in their order; those that are left out have their defaults."""
    hints = list(hints_of(record).items())
    needed = len(hints) - len(record._field_defaults)
    if not needed <= len(value) <= len(hints):
        problems.append(f"{where} should be {described(record)}, not {_came(value, record)}")
        return value
    return record(*(checked(v, h, f"{where}.{n}", problems) for v, (n, h) in zip(value, hints)))


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of a type that holds no others."""
    if get_origin(hint) is Literal:
        return any(value == known and type(value) is type(known) for known in get_args(hint))
    kind = get_origin(hint) or hint
    if kind is Any or not isinstance(kind, type):
        return True
    if kind in (int, float) and isinstance(value, bool):
        return False
    if issubclass(kind, Settings):  # config.json names the class: one derived from it is another
        return type(value) is kind
    if kind is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    return isinstance(value, kind)


def _is_mapping(hint: Any) -> bool:
    return isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping)


def described(hint: Any) -> str:
    """A declared type in words: "a whole number or None"."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return _either([described(option) for option in arguments])
    if get_origin(hint) is Literal:
        return _either([repr(known) for known in arguments])
    if get_origin(hint) is tuple:
        several = arguments[1:] == (...,)
        each = [described(option) for option in (arguments[:1] if several else arguments)]
        return f"a tuple whose entries are {each[0]}" if several else f"a tuple ({', '.join(each)})"
    if hasattr(hint, "_fields"):
        return f"{hint.__name__}({', '.join(hint._fields)})"
    if isinstance(hint, type) and issubclass(hint, Mapping):
        return "a dict"
    return WORDS[hint] if hint in WORDS else str(getattr(hint, "__name__", hint))


def _either(words: list[str]) -> str:
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def _came(value: Any, hint: Any) -> str:
    """What came in place of a value of this type, with the nearest of the names that may be."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    words = [known for option in options for known in get_args(option) if option is not tuple]
    names = [word for word in words if isinstance(word, str)]
    records = [o.__name__ for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)]
    if isinstance(value, type):
        return f"the class {value.__name__} itself: write {value.__name__}(...)"
    text = repr(value)
    came = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    if isinstance(value, str) and (record := closest(value, records)) and value not in names:
        return f"the text {came}: write {record[0]}(), the record"
    return came + nearest(value, names) if isinstance(value, str) else came
