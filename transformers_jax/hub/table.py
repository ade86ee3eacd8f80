"""The two-way weight table: one row says which tensor of theirs is which parameter of ours.

    transformer.h.{i}.attn.c_attn.weight | stack.blocks.0.self.query ... | d (n h k) -> n d h k

Import reads a row left to right, export right to left; a family has no other export code. Here are
names and shapes only: `check` compares a file with a model before any tensor is read.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from transformers_jax.hub.layout import Part, Shape
from transformers_jax.hub.row import BACKBONE, Row, rows, slots

__all__ = [
    "BACKBONE",
    "Computed",
    "Fill",
    "Piece",
    "Report",
    "Row",
    "Table",
    "Tying",
    "rows",
    "slots",
]


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` (axis 0) of a tensor of theirs; `part` says what they are."""

    part: Part
    start: int
    stop: int
    sizes: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Fill:
    """One tensor of theirs, complete: its name, its shape and where its pieces belong.

    `name` is the name in the file, `canonical` the one that export writes; `lead` indexes the
    leading (layers, experts) axes of our parameters.
    """

    name: str
    canonical: str
    row: Row
    lead: tuple[int, ...]
    shape: Shape
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Tying:
    """Two names on disk of one array.

    `name` is a row's, so export writes it, and it is read where a file has both. Usually `copy`
    has no parameter of its own: it is read where a file lacks `name`, and ignored elsewhere. With
    `apart` both names have one, and where a file holds one of the two, either is filled from it.
    """

    name: str
    copy: str
    apart: bool = False

    def renamed(self, name: Callable[[str], str]) -> Tying:
        """The same tying under other names."""
        return replace(self, name=name(self.name), copy=name(self.copy))


@dataclass(frozen=True)
class Computed:
    """A tensor that files hold although a formula gives it (sinusoids): no parameter of ours. It is
    compared on import and written on export."""

    name: str
    shape: Shape
    value: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Report:
    """What `Table.check` found. `str(report)` lists all of it."""

    fills: tuple[Fill, ...] = ()
    missing: tuple[str, ...] = ()  # their names that the model needs and the file lacks
    unexpected: tuple[str, ...] = ()  # names of the file that no parameter takes
    misshaped: tuple[tuple[str, Shape, Shape], ...] = ()  # name, shape in the file, shape expected
    repeated: tuple[tuple[str, ...], ...] = ()  # names of the file that mean the same tensor
    unfilled: tuple[str, ...] = ()  # our paths that no row of the table mentions
    left_out: tuple[str, ...] = ()  # names that belong to groups which the model does not have
    ignored: tuple[str, ...] = ()
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # group -> our paths
    computed: Mapping[str, Computed] = field(default_factory=dict)  # name in the file -> formula

    @property
    def ok(self) -> bool:
        """Whether file and model fit; wholly absent groups (a new head) are the caller's matter."""
        return not (
            self.missing or self.unexpected or self.misshaped or self.repeated or self.unfilled
        )

    def __str__(self) -> str:
        def lines(title: str, items: Iterable[str]) -> list[str]:
            found = list(items)
            return [f"{title} ({len(found)}):", *(f"  {item}" for item in found)] if found else []

        shapes = (f"{n}: got {list(a)}, expected {list(b)}" for n, a, b in self.misshaped)
        text = lines("missing", self.missing)
        text += lines("unexpected", self.unexpected)
        text += lines("wrong shape", shapes)
        text += lines("several names for one tensor", map(" = ".join, self.repeated))
        text += lines("parameters without a row in the table", self.unfilled)
        absent = (f"{group}: {' '.join(paths)}" for group, paths in self.absent.items())
        text += lines("absent groups", absent)
        text += lines("left out, not part of this model", self.left_out)
        text += lines("ignored", self.ignored)
        return "\n".join(text) or "everything fits"


@dataclass(frozen=True)
class Table:
    """The rows of a family, and the other spellings that are understood on import.

    `rows` are written as names stand on disk today. `prefix` ("transformer.") is in front of the
    backbone's rows and may be missing in a file; `bare=True` exports without it, as models without
    a head are saved. `prefixes` are further ones that a file may have. `aliases` are (regular
    expression, replacement) pairs for older names, `ignore` are shell patterns of stray names,
    `ties` are names of one array. `computed` are tensors that a formula gives; files may lack them.
    `variants` are tables of the same parameters that other files fit, where tensors are cut in
    other ways; the one that knows most of a file's names reads it. Export only writes the names of
    the rows.
    """

    rows: tuple[Row, ...]
    prefix: str = ""
    prefixes: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()
    ties: tuple[Tying, ...] = ()
    computed: tuple[Computed, ...] = ()
    variants: tuple[Table, ...] = ()

    def fitting(self, theirs: Iterable[str]) -> Table:
        """The table or the variant that knows most of a file's names."""
        if not self.variants:
            return self
        names = tuple(theirs)

        def known(table: Table) -> int:
            index = _Index(table.rows)
            return sum(index.find(table._canonical(name, {}, index)) is not None for name in names)

        return max((replace(self, variants=()), *self.variants), key=known)

    def with_rows(self, more: Iterable[Row]) -> Table:
        """The table and its variants with further rows."""
        added = tuple(more)
        others = tuple(replace(each, rows=(*each.rows, *added)) for each in self.variants)
        return replace(self, rows=(*self.rows, *added), variants=others)

    def fills(
        self, ours: Mapping[str, Sequence[int]], sizes: Mapping[str, int] | None = None
    ) -> dict[str, Fill]:
        """{their name: Fill} of every tensor that a model with parameters {path: shape} has.

        In the order of the layers. Rows whose parameters the model does not have are skipped.
        `sizes` gives letters that our shapes alone do not tell.

        Raises:
            ValueError: the table itself is wrong: a path or a name twice, or a pattern that does
                not fit a parameter's shape.
        """
        found: dict[str, Fill] = {}
        taken: dict[str, str] = {}
        active = [row for row in self.rows if any(path in ours for path in row.ours)]
        for row in active:
            if absent := [path for path in row.ours if path not in ours]:
                raise ValueError(f"table row {row.theirs!r}: the model has no {' '.join(absent)}")
            for path in row.ours:
                if path in taken:
                    raise ValueError(f"{path} is filled by {taken[path]!r} and by {row.theirs!r}")
                taken[path] = row.theirs
        for row, lead in _by_layer(active, ours):
            fill = _fill(row, lead, ours, sizes or {})
            if fill.canonical in found:
                raise ValueError(f"{fill.canonical} is named by two rows of the table")
            found[fill.canonical] = fill
        return found

    def check(
        self,
        theirs: Mapping[str, Sequence[int]],
        ours: Mapping[str, Sequence[int]],
        *,
        sizes: Mapping[str, int] | None = None,
        strict: bool = True,
    ) -> Report:
        """Compares the {name: shape} of a file with the {path: shape} of a model; reads no weights.

        Every path must be filled exactly once, every name used exactly once, every shape equal.
        Two exceptions, both in the report: names of a group (a head) of which the model has no
        parameter are left out, and a group of the model of which the file has nothing is `absent`.

        Raises:
            ValueError: with `strict`, one error that lists everything that does not fit.
        """
        if self.variants:
            return self.fitting(theirs).check(theirs, ours, sizes=sizes, strict=strict)
        fills = self.fills(ours, sizes)
        computed = self._computed(theirs)
        rest = {name: shape for name, shape in theirs.items() if name not in computed}
        found, repeated, unexpected, left_out, ignored = self._assign(rest, fills, ours)
        got = [replace(fills[canon], name=name) for canon, name in found.items()]
        groups = Counter(fill.row.group for fill in got)
        absent: dict[str, tuple[str, ...]] = {}
        for fill in fills.values():
            if fill.row.group != BACKBONE and not groups[fill.row.group]:
                paths = absent.get(fill.row.group, ())
                absent[fill.row.group] = tuple(dict.fromkeys((*paths, *fill.row.ours)))
        shaped = [(fill.name, fill.shape) for fill in got]
        shaped += [(name, each.shape) for name, each in computed.items()]
        order = {canon: place for place, canon in enumerate(fills)}
        report = Report(
            fills=tuple(sorted(got, key=lambda fill: order[fill.canonical])),
            missing=tuple(canon for canon, fill in fills.items()
                          if canon not in found and fill.row.group not in absent),
            unexpected=unexpected,
            misshaped=tuple((name, tuple(theirs[name]), shape)
                            for name, shape in shaped if tuple(theirs[name]) != shape),
            repeated=repeated,
            unfilled=tuple(sorted(set(ours) - {p for row in self.rows for p in row.ours})),
            left_out=left_out,
            ignored=ignored,
            absent=absent,
            computed=computed,
        )  # fmt: skip
        if strict and not report.ok:
            raise ValueError(f"the checkpoint does not fit the model\n{report}")
        return report

    def _computed(self, theirs: Iterable[str]) -> dict[str, Computed]:
        """The names of a file that a formula gives; the prefix may be missing."""
        known = {c.name: c for c in self.computed}
        known |= {c.name.removeprefix(self.prefix): c for c in self.computed}
        known |= {f"{self.prefix}{c.name}": c for c in self.computed}
        return {name: known[name] for name in theirs if name in known}

    def bare(self, canonical: str, group: str = BACKBONE) -> str:
        """Their name as a model without a head is saved: the backbone loses its prefix."""
        return canonical.removeprefix(self.prefix) if group == BACKBONE else canonical

    def _assign(
        self,
        theirs: Mapping[str, Sequence[int]],
        fills: Mapping[str, Fill],
        ours: Mapping[str, Sequence[int]],
    ) -> tuple[dict[str, str], tuple[tuple[str, ...], ...], *tuple[tuple[str, ...], ...]]:
        """Which name of the file is which tensor, and what becomes of all other names."""
        index = _Index(self.rows)
        present = {row.group for row in self.rows if any(path in ours for path in row.ours)}
        stored: dict[str, list[str]] = {}  # canonical name -> the names that the file has for it
        for name in theirs:
            stored.setdefault(self._canonical(name, fills, index), []).append(name)
        self._tie(stored, fills)
        copies = {tie.copy for tie in self.ties if not tie.apart}
        rest: dict[str, list[str]] = {"unexpected": [], "left_out": [], "ignored": []}
        for canonical, names in stored.items():
            if canonical in fills:
                continue
            row = index.find(canonical)
            for name in names:
                stray = any(
                    fnmatch.fnmatchcase(n, p) for n in (name, canonical) for p in self.ignore
                )
                if stray or canonical in copies or (row is not None and not row.ours):
                    kind = "ignored"
                else:
                    kind = "unexpected" if row is None or row.group in present else "left_out"
                rest[kind].append(name)
        claims = {canonical: names for canonical, names in stored.items() if canonical in fills}
        repeated = tuple(tuple(names) for names in claims.values() if len(names) > 1)
        found = {canonical: names[0] for canonical, names in claims.items()}
        return (found, repeated, *(tuple(names) for names in rest.values()))

    def _tie(self, stored: dict[str, list[str]], fills: Mapping[str, Fill]) -> None:
        """Gives each tensor that the file lacks the names of what is the same array."""
        for tie in self.ties:
            pairs = [(tie.name, tie.copy), (tie.copy, tie.name)]
            for absent, other in pairs if tie.apart else pairs[:1]:
                if absent not in fills or absent in stored or other not in stored:
                    continue
                if tie.apart:
                    stored[absent] = stored[other][:1]
                elif other not in fills:
                    stored[absent] = stored.pop(other)

    def _canonical(self, name: str, fills: Mapping[str, Fill], index: _Index) -> str:
        """The name as the rows spell it, or unchanged where none of the spellings is known."""
        alias = name
        for pattern, new in self.aliases:
            alias = re.sub(pattern, new, alias)
        spellings = [name, alias]
        every = [prefix for prefix in (self.prefix, *self.prefixes) if prefix]
        for one in dict.fromkeys((name, alias)):
            short = [one.removeprefix(prefix) for prefix in every if one.startswith(prefix)]
            spellings += [*short, *(self.prefix + text for text in (one, *short))]
        for spelling in spellings:
            if spelling in fills:
                return spelling
        return next((text for text in spellings if index.find(text) is not None), name)


class _Index:
    """Finds the row of a name; rows are sorted by their name with all numbers blotted out."""

    def __init__(self, rows: Iterable[Row]):
        self.rows: dict[str, list[tuple[re.Pattern[str], Row]]] = {}
        for row in rows:
            pieces = re.split(r"{[^}]+}", row.theirs)
            pattern = re.compile(r"\d+".join(map(re.escape, pieces)))
            blot = re.sub(r"\d+", "#", "0".join(pieces))
            self.rows.setdefault(blot, []).append((pattern, row))

    def find(self, name: str) -> Row | None:
        near = self.rows.get(re.sub(r"\d+", "#", name), ())
        return next((row for pattern, row in near if pattern.fullmatch(name)), None)


def _by_layer(
    active: Sequence[Row], ours: Mapping[str, Sequence[int]]
) -> Iterator[tuple[Row, tuple[int, ...]]]:
    """Rows and indices, all tensors of a layer together, as they stand in a model."""

    def stack(row: Row) -> tuple[str, int, int, Shape]:
        layers = tuple(ours[row.ours[0]][: len(row.letters[:1])])
        return row.theirs.split("{")[0], row.start, row.step, layers

    for (*_, layers), group in itertools.groupby(active, stack):
        members = list(group)
        for n in np.ndindex(*layers):
            for row in members:
                inner = tuple(ours[row.ours[0]][len(n) : len(row.letters)])
                yield from ((row, (*n, *rest)) for rest in np.ndindex(*inner))


def _fill(
    row: Row,
    lead: tuple[int, ...],
    ours: Mapping[str, Sequence[int]],
    sizes: Mapping[str, int],
) -> Fill:
    pieces, start, tail = [], 0, None
    for part in row.parts:
        for path in part.paths:
            shape = tuple(ours[path][len(lead) :])
            if shape != tuple(ours[part.paths[0]][len(lead) :]):
                raise ValueError(f"table row {row.theirs!r}: {path} has another shape, {shape}")
        shape = tuple(ours[part.paths[0]][len(lead) :])
        try:
            whole = part.shape(shape, sizes)
            letters = {} if part.left is None else part.sizes(shape, sizes)
        except ValueError as error:
            raise ValueError(f"table row {row.theirs!r}: {error}") from None
        if len(row.parts) > 1 and (not whole or tail not in (None, whole[1:])):
            raise ValueError(f"table row {row.theirs!r}: the parts differ beyond axis 0")
        tail, rows_here = whole[1:], whole[0] if whole else 1
        known = tuple((k, v) for k, v in letters.items() if k != "1")
        pieces.append(Piece(part, start, start + rows_here, known))
        start += rows_here
    shape = (start, *tail) if len(row.parts) > 1 else whole
    name = row.name(lead)
    return Fill(name, name, row, lead, shape, tuple(pieces))
