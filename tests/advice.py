"""Finds the advice in the package's messages: calls, options and flags that one would type."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import transformers_jax as tj
from transformers_jax.cli import COMMANDS
from transformers_jax.data.config import Table
from transformers_jax.flags import flags
from transformers_jax.models.adapters.records import Probe
from transformers_jax.objectives import OBJECTIVES
from transformers_jax.runs.pretrain import Joining, Sweeping
from transformers_jax.tasks import TASKS
from transformers_jax.training.config import TrainConfig

PACKAGE = Path(tj.__file__).parent
HOLE = "…"  # what a sentence fills in
OTHER_PROGRAMS = re.compile(r"transformers-cli|tfds |pip install|python -c")
OF_A_RUN = {  # flags of `pretrain` that are read before its config
    *(*flags(Joining), *flags(Sweeping), *flags(Table, "data."), "--debug", "--help"),
    *("--resume", "--allow-change", "--allow-schedule-change", "--steps", "--epochs", "--out"),
}


def sentences() -> Iterator[tuple[str, str]]:
    """(place, text) of every text of the package that may reach a person: those in `raise`, and
    the hints in tables (`OTHERWISE`, `LOADING`)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        where = str(path.relative_to(PACKAGE))
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and node.exc is not None:
                yield f"{where}:{node.lineno}", text_of(node.exc)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
                if names and ("OTHERWISE" in names[0] or names[0] == "LOADING"):
                    yield f"{where}:{node.lineno}", text_of(node.value)


def text_of(node: ast.AST) -> str:
    """The texts in an expression, those that are put together joined."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or HOLE for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return HOLE
    return " ".join(filter(None, map(text_of, ast.iter_child_nodes(node))))


def wrong(text: str) -> list[str]:
    """Names in a message that do not exist: a public name, an option of a call, a flag."""
    if OTHER_PROGRAMS.search(text):
        return []
    unknown = [f"tj.{n}" for n in re.findall(r"\btj\.(\w+)", text) if not hasattr(tj, n)]
    for name, arguments in re.findall(r"\b(?:tj\.)?(\w+)\(((?:[^()]|\([^()]*\))*)\)", text):
        function = getattr(tj, name, None) if name in tj.__all__ else None
        if function is None or not callable(function):
            continue
        parameters = inspect.signature(function).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters) and name not in ("from_pretrained",):
            continue
        bare = re.sub(r"\([^()]*\)", "", arguments)
        keywords = re.findall(r"\b(\w+)=", bare)
        unknown += [f"{name}({n}=)" for n in keywords if n not in {p.name for p in parameters}]
    named = re.findall(r"(?<![\w-])--([a-z][\w.-]*\w)(?![\w.-]*…)", text)
    return unknown + [f"--{n}" for n in named if f"--{n}" not in known_flags()]


def known_flags() -> set[str]:
    """The flags of every command, those of a run's config included."""
    own = {flag for command in COMMANDS.values() for flag in flags(command)}
    settings = set(flags(TrainConfig()))
    for record in (*OBJECTIVES.values(), *TASKS.values()):
        names = (field.name for field in dataclasses.fields(record))
        settings |= {f"--objective.{name.replace('_', '-')}" for name in names}
    for place, record in (("data", Table), ("adapter", Probe)):
        names = (field.name for field in dataclasses.fields(record))
        settings |= {f"--{place}.{name.replace('_', '-')}" for name in names}
    settings |= {"--objective.no-no-duplicates"}  # tyro's word for False
    return own | settings | OF_A_RUN
