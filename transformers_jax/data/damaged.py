"""Pictures and recordings of a table that cannot be read: all are named and counted, and refused or
left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from transformers_jax.data.pictures import in_column
from transformers_jax.data.tables import Records
from transformers_jax.data.threads import in_threads

SHOWN = 5  # damaged ones that a message names
Damaged = Literal["error", "skip"]
SKIP = "--data.damaged skip (in Python, damaged='skip') leaves them out"


class NothingRead(ValueError):
    """Not one record of a table can be read.

    Attributes:
        left_out: {number of the record: what is wrong with it}.
    """

    def __init__(self, text: str, left_out: Mapping[int, str]):
        super().__init__(text)
        self.left_out = left_out


def check_pictures(
    records: Records, column: str, damaged: Damaged = "error"
) -> tuple[Records, list[str]]:
    """(the records whose picture can be read, what is wrong with each of the others).

    Args:
        damaged: "skip" leaves out records with a damaged picture, and says so in their `note`;
            "error" refuses the table, naming them all at once.

    Raises:
        ValueError: a damaged picture, or what is none, and no "skip"; none that can be read.
    """

    def wrong_with(placed: tuple[str, Any]) -> str | None:
        where, value = placed
        try:
            in_column(value, where, column).read()
        except ValueError as error:
            return str(error)
        return None

    values = zip(records.places, records.column(column, "data.image"))
    kept = leave_out(records, in_threads(wrong_with, values), "pictures", damaged)
    return kept, [*kept.left_out.values()]


def leave_out(
    records: Records, errors: Sequence[str | None], what: str, damaged: Damaged
) -> Records:
    """The records without those that have an error, which their `note` names and counts.

    Args:
        errors: of each record; None where it can be read.
        what: the records hold, such as "pictures".

    Raises:
        ValueError: an error, and `damaged` is not "skip".
        NothingRead: each has one.
    """
    if damaged not in ("error", "skip"):
        raise ValueError(f"damaged is {damaged!r}; expected 'error' or 'skip'")
    wrong = {number: error for number, error in enumerate(errors) if error is not None}
    if not wrong:
        return replace(records, left_out={})
    more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    shown = "; ".join([*wrong.values()][:SHOWN])
    said = f"{len(wrong)} of {len(records)} {what} cannot be read: {shown}{more}"
    if damaged == "error":
        raise ValueError(f"{records.name}: {said}; {SKIP}")
    if len(wrong) == len(records):
        raise NothingRead(f"{records.name}: {said}", wrong)
    return without(records, wrong, f"{records.name}: left out, {said}")


def without(records: Records, wrong: Mapping[int, str], note: str) -> Records:
    """The records without some of them, by their numbers.

    Args:
        wrong: {number: what is wrong with it}.
        note: what is said of them.

    Raises:
        NothingRead: none is left.
    """
    whole = [number for number in range(len(records)) if number not in wrong]
    if not whole:
        raise NothingRead(note, wrong)
    note = "; ".join(filter(None, [records.note, note]))
    return replace(records.select(whole), note=note, left_out=wrong)


def count_failed(failed: int, every: int, what: str, advice: str) -> str:
    """How many files or records could not be read, of those that a command has answered; "" if all
    could.

    Args:
        what: they are, such as "files".
        advice: what is said where none could.

    Raises:
        ValueError: none could.
    """
    if failed and failed == every:
        raise ValueError(f"none of the {every:,} {what} could be read: {advice}")
    return f"{failed:,} of {every:,} {what} could not be read, and are left out" * bool(failed)
