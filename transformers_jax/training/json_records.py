"""Records of settings as JSON has them, and back.

A field such as `optimizer` holds one of several records; in JSON its key `kind` says which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args

from transformers_jax.data.config import Table
from transformers_jax.models import load_config
from transformers_jax.models.adapters.records import ADAPTERS
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.frozen import Frozen, freeze, thaw
from transformers_jax.objectives import OBJECTIVES
from transformers_jax.objectives.distillation import DISTILLED
from transformers_jax.optim import OPTIMIZERS, SCHEDULES
from transformers_jax.settings import hints_of
from transformers_jax.spelling import nearest
from transformers_jax.tasks import TASKS

KINDS: dict[str, Any] = {**OBJECTIVES, **DISTILLED, **OPTIMIZERS, **SCHEDULES, "Table": Table}
KINDS |= {task.__name__: task for task in TASKS.values()}
KINDS |= {adapter.__name__: adapter for adapter in ADAPTERS}
"""The classes of records of which a field holds one, by the name that JSON has as `kind`."""


def plain(value: Any) -> Any:
    """A record, or a value in it, as JSON has it."""
    if isinstance(value, FamilyConfig):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": kind, **fields} if kind in KINDS else fields
    if isinstance(value, Frozen):
        return thaw(value)
    return [plain(part) for part in value] if isinstance(value, tuple) else value


def read_record(record: Any, values: Any, prefix: str, problems: list[str]) -> Any:
    """A record of values as JSON has them; what is wrong with them is added to the problems."""
    if not isinstance(values, Mapping):
        problems.append(f"{prefix.rstrip('.') or 'the file'} must be an object")
        return None
    before, hints = len(problems), hints_of(record)
    fields: dict[str, Any] = {}
    for key, value in values.items():
        if key in hints:
            default = getattr(record, key, None)
            fields[key] = _read_field(value, hints[key], default, prefix + key, problems)
        elif key != "kind" or value != record.__name__:
            problems.append(f"unknown key {prefix + key!r}{nearest(key, hints, prefix=prefix)}")
    if len(problems) > before:
        return None
    try:
        return record(**fields)
    except ValueError as error:
        problems.append(str(error))
        return None


def _read_field(value: Any, hint: Any, default: Any, where: str, problems: list[str]) -> Any:
    """The value of a field: a record where its type is one, or one of several, by its `kind`."""
    if hint is Frozen:
        return freeze(value)
    declared: tuple[Any, ...] = get_args(hint) or (hint,)
    records: list[Any] = [kind for kind in declared if dataclasses.is_dataclass(kind)]
    if not records or value is None:
        return value
    if records == [FamilyConfig]:
        return _read_model(value, problems)
    kinds = {record.__name__: record for record in records}
    kind = type(default).__name__ if default is not None else next(iter(kinds))
    if isinstance(value, Mapping):
        kind = value.get("kind", kind)
    if not isinstance(kind, str) or kind not in kinds:
        problems.append(f"{where}.kind {kind!r} is unknown{nearest(str(kind), kinds)}")
        return None
    return read_record(kinds[kind], value, f"{where}.", problems)


def _read_model(values: Any, problems: list[str]) -> Any:
    if not isinstance(values, Mapping):  # a text would be a path
        problems.append("model must be an object")
        return None
    try:
        return load_config(values)
    except ValueError as error:
        problems.append(str(error))
        return None
