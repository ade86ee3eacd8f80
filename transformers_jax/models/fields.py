"""What the values of a config may be: of the type that is declared, and in its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from transformers_jax.models.frozen import freeze
from transformers_jax.settings import checked
from transformers_jax.sizes import check_probability, check_rate

MAY_BE_ZERO = (
    *("mask_time_min_masks", "mask_feature_min_masks"),
    *("num_register_tokens", "auxiliary_num_convs", "max_window_layers"),
    *("first_k_dense_replace", "num_self_attends_per_block"),
)
"""Numbers of things of which there may be none, or the least of something."""

PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")


def wrong_type(name: str, hint: Any, value: Any) -> list[str]:
    """What is wrong with a value that is not of the declared type of its field."""
    problems: list[str] = []
    checked(freeze(value), hint, name, problems)
    return problems


def out_of_range(config: Any) -> list[str]:
    """What is wrong with sizes below one, rates that are none, and an unknown problem type."""
    fields = [(f.name, f.type, getattr(config, f.name)) for f in dataclasses.fields(config)]
    numbers = [
        (name, value)
        for name, _, value in fields
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    sizes = [(name, value) for name, kind, value in fields if kind == "int"]
    small = [f"{name}={value}" for name, value in sizes if value < (name not in MAY_BE_ZERO)]
    problems = [", ".join(small) + ": sizes are at least 1"] if small else []
    problems += [text for name, value in numbers if "drop" in name for text in _rate(name, value)]
    problems += [
        f"{name}={value}: a number that keeps from dividing by zero is not negative"
        for name, value in numbers
        if name.endswith(("eps", "epsilon")) and not value >= 0
    ]
    if (problem := config.problem_type) is not None and problem not in PROBLEMS:
        problems += [f"problem_type={problem!r}: expected one of {', '.join(PROBLEMS)}"]
    return problems


def _rate(name: str, value: float) -> list[str]:
    """What is wrong with a rate of dropout, or with the probability of leaving a layer out."""
    try:
        (check_probability if "layerdrop" in name else check_rate)(name, value)
    except ValueError as error:
        return [str(error)]
    return []


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
