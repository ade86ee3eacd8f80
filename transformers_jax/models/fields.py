"""What the values of a config may be: of the type that is declared, and in its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")
KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "tuple": (list, tuple),
    "Frozen": (Mapping,),
    "FamilyConfig": (Mapping,),
    "None": (type(None),),
}


def wrong_type(field: dataclasses.Field, value: Any) -> list[str]:
    """What is wrong with a value that has none of the declared types of its field."""
    names = [part.split("[")[0].strip() for part in _alternatives(str(field.type))]
    if not set(names) <= set(KINDS):
        return []
    kinds = tuple(kind for name in names for kind in KINDS[name])
    if "FamilyConfig" in names and hasattr(value, "model_type"):
        return []
    flag_for_number = isinstance(value, bool) and bool not in kinds
    if isinstance(value, kinds) and not flag_for_number:
        return []
    declared = str(field.type).replace("Frozen", "dict")
    return [f"{field.name}={value!r} should be of type {declared}"]


def _alternatives(text: str) -> list[str]:
    """["int", "tuple[int | str, ...]"] of "int | tuple[int | str, ...]"."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def out_of_range(config: Any) -> list[str]:
    """What is wrong with sizes below one, rates outside [0, 1], and an unknown problem type."""
    fields = [(f.name, f.type, getattr(config, f.name)) for f in dataclasses.fields(config)]
    numbers = [(name, value) for name, _, value in fields if isinstance(value, (int, float))]
    small = [f"{name}={value}" for name, kind, value in fields if kind == "int" and value < 1]
    problems = [", ".join(small) + ": sizes are at least 1"] if small else []
    problems += [
        f"{name}={value}: a rate of dropout lies in [0, 1]"
        for name, value in numbers
        if "drop" in name and not 0 <= value <= 1
    ]
    problems += [
        f"{name}={value}: a number that keeps from dividing by zero is not negative"
        for name, value in numbers
        if name.endswith(("eps", "epsilon")) and not value >= 0
    ]
    if (problem := config.problem_type) is not None and problem not in PROBLEMS:
        problems += [f"problem_type={problem!r}: expected one of {', '.join(PROBLEMS)}"]
    return problems


def label_names(count: Any) -> dict[str, str]:
    """{"0": "LABEL_0", ...}, as Hugging Face names labels.

    Raises:
        ValueError: no number of labels.
    """
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1:
        raise ValueError(f"num_labels={count!r}: expected a whole number, at least 1")
    return {str(i): f"LABEL_{i}" for i in range(count)}


def labelled(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of a config, in which `id2label` and `label2id` say the same.

    Raises:
        ValueError: another number of labels than are named, names of others, or numbers with gaps.
    """
    rest = dict(changes)
    names, ids = rest.get("id2label"), rest.get("label2id")
    if names is None and isinstance(ids, Mapping):
        names = {number: name for name, number in ids.items()}
    if "num_labels" in rest:
        usual = label_names(rest.pop("num_labels"))
        names = usual if names is None else names
        if isinstance(names, Mapping) and len(names) != len(usual):
            raise ValueError(f"num_labels={len(usual)}, but {len(names)} labels are named: {names}")
    if not isinstance(names, Mapping):
        return rest
    numbers = {str(name): int(number) for number, name in names.items()}
    if sorted(numbers.values()) != list(range(len(names))):
        raise ValueError(f"id2label={names}: expected a name of its own for each of 0, 1, 2, ...")
    if ids is not None and dict(ids) != numbers:
        raise ValueError(f"id2label={names} and label2id={ids} name different labels")
    return rest | {"id2label": names, "label2id": numbers}
