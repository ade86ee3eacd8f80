"""Rows of the weight table as families write them: text, one tensor of theirs a line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers_jax.hub.layout import Part, parts
from transformers_jax.json_files import errors_of

BACKBONE = "backbone"
COUNT = "num_batches_tracked"
INDEX = re.compile(r"{(\w)(?:(//|%)(\d+))?}")


@dataclass(frozen=True)
class Row:
    """One tensor of theirs (one per layer, with `{i}`) and the parameters of ours that it holds.

    `{i}` and `{e}` (any single letter) are indices in their name; our parameters then have one
    leading axis each, in the order of the letters. The first index of theirs is
    `start + step * n` for the n-th layer of ours. `{i//3}` and `{i%3}` are layers numbered by group
    and within a group of three. Empty `ours`: ignored, and never written. `stored` is the dtype
    that their tensor has whatever that of the parameters is (a count in int64).
    """

    theirs: str
    ours: tuple[str, ...] = ()
    layout: str = ""
    group: str = BACKBONE
    start: int = 0
    step: int = 1
    stored: str = ""
    parts: tuple[Part, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with errors_of(f"table row {self.theirs!r}"):
            split = parts(self.ours, self.layout) if self.ours else ()
        object.__setattr__(self, "parts", split)

    @property
    def letters(self) -> tuple[str, ...]:
        """The index letters of their name, in order."""
        return tuple(dict.fromkeys(match[1] for match in INDEX.finditer(self.theirs)))

    def name(self, lead: Sequence[int]) -> str:
        """Their name of the tensor with our indices `lead`."""
        first = tuple(self.start + self.step * n for n in lead[:1])
        values = dict(zip(self.letters, (*first, *lead[1:])))

        def index(match: re.Match[str]) -> str:
            letter, operator, count = match.groups()
            group, member = divmod(values[letter], int(count or 1))
            return str(member if operator == "%" else group)

        return INDEX.sub(index, self.theirs)


def rows(text: str, *, group: str = BACKBONE, start: int = 0, step: int = 1) -> tuple[Row, ...]:
    """One row a line: `their name | our path(s) | pattern theirs -> ours`.

    An empty pattern is the identity. Empty paths: the name is ignored. Lines that begin with `#`
    are comments. A slot that holds the layers s, s + P, ... is `rows(text, start=s, step=P)`. What
    torch counts (`num_batches_tracked`) is stored as int64.

    Raises:
        ValueError: a line that is not a row.
    """
    table = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.strip() and not line.strip().startswith("#"):
            if len(cells) > 3:
                raise ValueError(f"table row {line.strip()!r} has more than three columns")
            theirs, ours, layout = (cells + ["", ""])[:3]
            stored = "int64" if theirs.endswith(COUNT) else ""
            row = Row(theirs, tuple(ours.split()), layout, group, start, step, stored=stored)
            table.append(row)
    return tuple(table)


def slots(
    text: str, layers: Sequence[range] = (range(1),), *, group: str = BACKBONE
) -> tuple[Row, ...]:
    """The rows of all slots of a stack; `{slot}` in our paths is the slot's number.

    `layers` says for each slot which layers it holds (`StackSpec.slots`); where all layers of a
    stack are alike there is one slot.
    """
    each = (
        rows(
            text.replace("{slot}", str(number)), group=group, start=numbers.start, step=numbers.step
        )
        for number, numbers in enumerate(layers)
    )
    return tuple(itertools.chain.from_iterable(each))
