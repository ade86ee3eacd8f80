"""Tables that are made on the spot, on any machine: `generated:NAME` as a source of records.

A table is a function of the split, "train", "validation" or "test", that returns records. It draws
from a fixed seed or reads the running interpreter, writes no file, and returns the same whenever it
is called. Splits share nothing: `splits.split_of` puts what a record is about on one side.

splits.py      on which side a record is
packages.py    docstrings, and the package of the standard library that each is from
entities.py    docstrings, and the names of modules, classes, functions and parameters in them
function_names.py  docstrings, and the names that they describe
facts.py       contexts about invented people, and questions
dates.py       dates as people write them, and as ISO 8601 does
numbers.py     numbers in words and in digits
sums.py        sums of two numbers, with what is written on the way or without
docstrings.py  functions, and the first lines of their docstrings
spoken.py      digits as espeak-ng speaks them
tones.py       numbers as they are dialled and letters in Morse code, as sound in noise
preferences.py docstrings.py's, each with a line that is preferred and one that is not
glyphs.py      characters as pictures, and their names in Unicode
digits.py      handwritten digits as pictures; all of them, by writer, and ten of each class
imports.py     the modules of the standard library, and which imports which, as a graph
cartpole.py    episodes of CartPole, by policies of mixed quality
generalist.py  a picture, a text and an episode in each record
coevolution.py  proteins of an invented family, whose contacts are known
two_pictures.py  two shapes, and a question about one of them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from transformers_jax.data.generated.splits import SPLITS
from transformers_jax.data.prepared import named_split
from transformers_jax.data.records import Placed
from transformers_jax.spelling import nearest


def generated_records(name: str) -> dict[str, Iterator[Placed]]:
    """NAME: what is trained on and what is held out; NAME[SPLIT]: one split alone, as "train".

    Raises:
        ValueError: there is no such table, or no such split.
    """
    table, only = named_split(name)
    if table not in TABLES:
        raise ValueError(
            f"generated:{name}: there is no table {table!r}{nearest(table, TABLES)}; those that "
            f"are made here are {', '.join(TABLES)}"
        )
    if only and only not in SPLITS:
        raise ValueError(
            f"generated:{table} has no split {only}{nearest(only, SPLITS)}; it has "
            f"{', '.join(SPLITS)}: give generated:{table}, or generated:{table}[test]"
        )
    chosen = {"train": only} if only else {split: split for split in SPLITS[:2]}
    return {
        split: _placed(f"generated:{table}, {one}", TABLES[table](one))
        for split, one in chosen.items()
    }


def _placed(where: str, records: list[dict[str, Any]]) -> Iterator[Placed]:
    return ((f"{where} {number}", record) for number, record in enumerate(records))


def _entities(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import entities

    return entities.records(split)


def _facts(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import facts

    return facts.records(split)


def _dates(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import dates

    return dates.records(split)


def _dotted_dates(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import dates

    return dates.records(split, "%d.%m.%Y")


def _docstrings(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import docstrings

    return docstrings.records(split)


def _numbers(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import numbers

    return numbers.records(split)


def _sums(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import sums

    return sums.records(split)


def _sums_in_steps(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import sums

    return sums.records(split, in_steps=True)


def _function_names(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import function_names

    return function_names.records(split)


def _packages(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import packages

    return packages.records(split)


def _preferences(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import preferences

    return preferences.records(split)


def _dtmf(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import tones

    return tones.dtmf(split)


def _morse(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import tones

    return tones.morse(split)


def _coevolution(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import coevolution

    return coevolution.records(split)


def _independent(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import coevolution

    return coevolution.records(split, coupled=False)


def _glyphs(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import glyphs

    return glyphs.records(split)


def _digits(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import digits

    return digits.records(split)


def _digits_by_writer(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import digits

    return digits.by_writer(split)


def _digits_few(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import digits

    return digits.few(split)


def _spoken_digits(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import spoken

    return spoken.digits(split)


def _imports(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import imports

    return imports.records(split)


def _cartpole(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import cartpole

    return cartpole.records(split)


def _generalist(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import generalist

    return generalist.records(split)


def _two_pictures(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import two_pictures

    return two_pictures.records(split)


def _two_pictures_swapped(split: str) -> list[dict[str, Any]]:
    from transformers_jax.data.generated import two_pictures

    return two_pictures.records(split, swapped=True)


TABLES: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    "packages": _packages,
    "entities": _entities,
    "facts": _facts,
    "function_names": _function_names,
    "dates": _dates,
    "dotted_dates": _dotted_dates,
    "numbers": _numbers,
    "sums": _sums,
    "sums_in_steps": _sums_in_steps,
    "docstrings": _docstrings,
    "preferences": _preferences,
    "dtmf": _dtmf,
    "morse": _morse,
    "spoken_digits": _spoken_digits,
    "coevolution": _coevolution,
    "independent": _independent,
    "glyphs": _glyphs,
    "digits": _digits,
    "digits_by_writer": _digits_by_writer,
    "digits_few": _digits_few,
    "imports": _imports,
    "cartpole": _cartpole,
    "generalist": _generalist,
    "two_pictures": _two_pictures,
    "two_pictures_swapped": _two_pictures_swapped,
}
"""The tables by name; the module of each is imported when it is made."""
