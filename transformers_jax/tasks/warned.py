"""What a person should not miss of the rows of a table: before the first step, or with a figure."""

from __future__ import annotations

from transformers_jax.tasks.rows import Rows

WARNING = "WARNING: "
"""How a note begins that a person should not miss."""
FEW = 10  # records, of fewer than which a figure says little


def warnings_of(rows: Rows) -> list[str]:
    """What a person should know of the figures of these rows: which records were left out, what
    their notes warn of, and whether they are few."""
    records = rows.records
    lines = [records.note] if records.left_out else []
    lines += [one.removeprefix(WARNING) for one in rows.notes if one.startswith(WARNING)]
    return [*lines, *few_records(rows)]


def few_records(rows: Rows, advice: str = "") -> list[str]:
    """A line where there are so few records that figures of them say little; else none."""
    records, count = rows.records, len(rows.records)
    if (count if rows.asked is None else rows.asked) >= FEW:
        return []
    number = f"{count} record{'s' * (count > 1)}"
    return [f"{records.name}: {number}; a figure of fewer than {FEW} says little{advice}"]
