"""What is measured: a module a subject, a case a setting, a side a way to compute it.

A module of `TIMED` has `CASES: {name: setting}`, `SIDES: {side: (setting, folder) -> Side}`, the
unit that its `work` counts, and optionally `prepare(setting, folder)`, which our side runs first to
write what both sides read, `UNITS` of cases that count something else, and `LEAST_RUNS` of a round
where one takes long. Modules import JAX or PyTorch inside the sides that need them: the two
live in different interpreters.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TIMED = (
    *("training", "shapes", "finetuning", "forward", "decoding", "window", "long"),
    *("serving", "vision", "speech", "processors", "graphs"),
)


@dataclass(frozen=True)
class Side:
    """A program that is ready to run.

    Attributes:
        run: does the work once and waits for the result.
        work: how many units one run does.
        answer: numbers that the sides must agree on, so that the same work is timed.
    """

    run: Callable[[], Any]
    work: float
    answer: list[float]


def module_of(case: str) -> Any:
    """The module that has a case.

    Raises:
        ValueError: an unknown case; the known ones are listed.
    """
    for name in TIMED:
        module = importlib.import_module(f"benchmarks.cases.{name}")
        if case in module.CASES:
            return module
    raise ValueError(f"no case {case!r}; there are {', '.join(all_cases())}")


def all_cases() -> list[str]:
    """The names of all timed cases, in the order of the report."""
    modules = [importlib.import_module(f"benchmarks.cases.{name}") for name in TIMED]
    return [case for module in modules for case in module.CASES]
