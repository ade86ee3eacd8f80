"""Pictures of a table that cannot be read: all are named and counted, and refused or left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from transformers_jax.data.pictures import Picture, in_column
from transformers_jax.data.tables import Records
from transformers_jax.data.threads import in_threads

SHOWN = 5  # damaged pictures that a message names
Damaged = Literal["error", "skip"]


def check_pictures(
    records: Records, column: str, damaged: Damaged = "error"
) -> tuple[Records, list[str]]:
    """(the records whose picture can be read, what is wrong with each of the others).

    Args:
        damaged: "skip" leaves out records with a damaged picture, and says so in their `note`;
            "error" refuses the table, naming them all at once.

    Raises:
        ValueError: a damaged picture and no "skip"; none that can be read; what is no picture.
    """
    if damaged not in ("error", "skip"):
        raise ValueError(f"damaged is {damaged!r}; expected 'error' or 'skip'")
    values = records.column(column, "data.image")
    pictures = [in_column(value, where, column) for where, value in zip(records.places, values)]
    found = in_threads(_wrong_with, pictures)
    whole = [number for number, error in enumerate(found) if error is None]
    wrong = [error for error in found if error is not None]
    if not wrong:
        return records, []
    more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    said = f"{len(wrong)} of {len(records)} pictures are damaged: {'; '.join(wrong[:SHOWN])}{more}"
    if damaged == "error":
        raise ValueError(f"{records.name}: {said} (damaged='skip' leaves them out)")
    if not whole:
        raise ValueError(f"{records.name}: no picture can be read; {said}")
    note = "; ".join(filter(None, [records.note, f"left out, {said}"]))
    return replace(records.select(whole), note=note), wrong


def _wrong_with(picture: Picture) -> str | None:
    try:
        picture.read()
    except ValueError as error:
        return str(error)
    return None
