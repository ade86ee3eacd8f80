"""The names of classes, and the numbers that they have in a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from transformers_jax.models.config import FamilyConfig
from transformers_jax.spelling import nearest

MANY = 5  # absent classes that a message names
MOST = 1000  # classes beyond which a column is more likely one of numbers or of texts


def name_of(value: Any, where: str, column: str) -> str:
    """The name of a class: a text, or a whole number as it is written.

    Raises:
        ValueError: no value, or one that names no class.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) or (isinstance(value, str) and value.strip()):
        return str(value).strip()
    came = "nothing" if value is None or value == "" else repr(value)[:60]
    raise ValueError(f"{where}: {column!r} holds {came}; expected the name or number of a class")


def learned(names: Iterable[str]) -> tuple[str, ...]:
    """The classes of a table, in their order: of whole numbers by size, else of the alphabet.

    Raises:
        ValueError: a single one, or more than any model tells apart.
    """
    known = {*names}
    numbers = all(name.removeprefix("-").isdecimal() for name in known)
    classes = tuple(sorted(known, key=int) if numbers else sorted(known))
    if twice := _written_twice(classes):
        raise ValueError(
            f"the classes {twice[0]!r} and {twice[1]!r} are the same number: write it alike in all "
            "records, or add a letter to names that only look like numbers"
        )
    if len(classes) < 2:
        raise ValueError(_alone(*classes))
    if len(classes) > MOST:
        raise ValueError(
            f"there are {len(classes):,} different values, such as {', '.join(classes[:3])}; more "
            f"than {MOST} classes are likely a mistake: is it the column of the labels, or is the "
            "task a regression?"
        )
    return classes


def _alone(name: str = "") -> str:
    return (
        f"there is one class alone, {name!r}: nothing can be learned; give records of two classes "
        "at least"
    )


def lacking(numbers: Iterable[int], classes: Sequence[str]) -> list[str]:
    """A line where records have not all of the classes; else none."""
    found = {*numbers}
    absent = [name for number, name in enumerate(classes) if number not in found]
    if not absent:
        return []
    some = f"{', '.join(absent[:MANY])}{' ...' * (len(absent) > MANY)}"
    return [
        f"the model tells {len(classes)} classes apart, and no record to train on is of {some}: it "
        "learns to answer with the others alone"
    ]


def _written_twice(classes: Sequence[str]) -> tuple[str, str] | None:
    """Two classes that are one number, such as "1" and "1.0", where all are numbers."""
    try:
        values = [float(name) for name in classes]
    except ValueError:  # a name
        return None
    first: dict[float, str] = {}
    for value, name in zip(values, classes):
        if (other := first.setdefault(value, name)) != name:
            return other, name
    return None


def of(config: FamilyConfig) -> tuple[str, ...]:
    """The classes of a model, by number; () where it has none."""
    names = {int(number): str(name) for number, name in (config.id2label or {}).items()}
    return tuple(names[number] for number in sorted(names))


def stored(config: FamilyConfig) -> tuple[str, ...]:
    """The classes that a model names, by number; () if they are LABEL_0 and so on, or none."""
    classes = of(config)
    return () if classes == tuple(f"LABEL_{n}" for n in range(len(classes))) else classes


def chosen(
    config: FamilyConfig,
    names: Iterable[str],
    source: Sequence[str] = (),
    *,
    several: bool = False,
) -> tuple[str, ...]:
    """The classes of a run: those of the model if it names all that the table has, else those of
    the table, numbered as its source says.

    Args:
        several: whether a record has one class, so that a table of a single one teaches nothing.

    Raises:
        ValueError: as of `learned`.
    """
    found = {*names}
    if several and len(found) == 1:
        raise ValueError(_alone(next(iter(found))))
    for known in (stored(config), tuple(source)):
        if known and found <= {*known}:
            return known
    return learned(found)


def number_of(name: str, classes: Sequence[str], where: str) -> int:
    """The number of a class.

    Raises:
        ValueError: the class is unknown.
    """
    try:
        return classes.index(name)
    except ValueError:
        some = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        raise ValueError(
            f"{where}: the class {name!r} is unknown{nearest(name, classes)}; those to train on "
            f"have {some}"
        ) from None


def counts(numbers: Iterable[int], classes: Sequence[str]) -> str:
    """How often each class occurs, in a line, the most frequent first."""
    found = Counter(numbers)
    ordered = found.most_common()
    total = sum(found.values())
    parts = [f"{classes[number]} {count:,} ({count / total:.0%})" for number, count in ordered[:10]]
    more = f", and {len(ordered) - 10} more" if len(ordered) > 10 else ""
    absent = [name for number, name in enumerate(classes) if number not in found]
    none = f"; none of {', '.join(absent[:MANY])}{' ...' * (len(absent) > MANY)}" * bool(absent)
    return ", ".join(parts) + more + none
