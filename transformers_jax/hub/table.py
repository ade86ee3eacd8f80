"""The two-way weight table: one row says which tensor of theirs is which parameter of ours.

    transformer.h.{i}.attn.c_attn.weight | stack.blocks.0.self.query ... | d (n h k) -> n d h k

Import reads a row left to right, export right to left; a family has no other export code. Here are
names and shapes only: `check` compares a file with a model before any tensor is read.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from transformers_jax.hub.fill import Fill as Fill
from transformers_jax.hub.fill import by_layer, fill_of
from transformers_jax.hub.layout import Shape
from transformers_jax.hub.row import BACKBONE as BACKBONE
from transformers_jax.hub.row import Row as Row
from transformers_jax.hub.row import rows as rows
from transformers_jax.hub.row import slots as slots


@dataclass(frozen=True)
class Tying:
    """Two names on disk of one array.

    `name` is a row's, so export writes it, and it is read where a file has both. Usually `copy`
    has no parameter of its own: it is read where a file lacks `name`, and ignored elsewhere. With
    `separate` both names have a parameter, and where a file holds one of the two, both are filled
    from it.
    """

    name: str
    copy: str
    separate: bool = False

    def renamed(self, name: Callable[[str], str]) -> Tying:
        """The same tying under other names."""
        return replace(self, name=name(self.name), copy=name(self.copy))


@dataclass(frozen=True)
class Computed:
    """A tensor that files hold although a formula gives it (sinusoids): no parameter of ours. It is
    compared on import and written on export. `stored` is its dtype where it is no table of
    floating-point numbers, and has that of the parameters."""

    name: str
    shape: Shape
    value: Callable[[], np.ndarray]
    stored: str = ""


@dataclass(frozen=True)
class Report:
    """How a file fits a model, as `Table.check` gives it. `str(report)` lists all of it."""

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
        """Whether file and model fit; wholly absent groups (a new head) are left to the caller."""
        return not (
            self.missing or self.unexpected or self.misshaped or self.repeated or self.unfilled
        )

    def findings(self) -> dict[str, tuple[str, ...]]:
        """What does not go from the file to the model, and what the model lacks, by kind."""
        kinds: dict[str, Iterable[str]] = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "wrong shape": (
                f"{n}: got {list(a)}, expected {list(b)}" for n, a, b in self.misshaped
            ),
            "several names for one tensor": map(" = ".join, self.repeated),
            "parameters without a row in the table": self.unfilled,
            "not in the file, to be drawn": itertools.chain.from_iterable(self.absent.values()),
            "left out (other heads)": self.left_out,
            "ignored": self.ignored,
        }
        listed = {kind: tuple(names) for kind, names in kinds.items()}
        return {kind: names for kind, names in listed.items() if names}

    def brief(self, most: int = 3) -> str:
        """The findings as one line, with so many names of each kind at most."""
        texts = []
        for kind, names in self.findings().items():
            more = f" and {len(names) - most} more" if len(names) > most else ""
            texts.append(f"{kind} ({len(names)}): {', '.join(names[:most])}{more}")
        return "; ".join(texts)

    def __str__(self) -> str:
        lines = (
            line
            for kind, names in self.findings().items()
            for line in (f"{kind} ({len(names)}):", *(f"  {name}" for name in names))
        )
        return "\n".join(lines) or "everything fits"


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
            return sum(table._row(table._canonical(name, {})) is not None for name in names)

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
        `sizes` gives lengths of letters that do not follow from our shapes.

        Raises:
            ValueError: the table itself is wrong: a path or a name twice, or a pattern that does
                not fit a parameter's shape.
        """
        fills: dict[str, Fill] = {}
        taken: dict[str, str] = {}
        active = [row for row in self.rows if any(path in ours for path in row.ours)]
        for row in active:
            if absent := [path for path in row.ours if path not in ours]:
                raise ValueError(f"table row {row.theirs!r}: the model has no {' '.join(absent)}")
            for path in row.ours:
                if path in taken:
                    raise ValueError(f"{path} is filled by {taken[path]!r} and by {row.theirs!r}")
                taken[path] = row.theirs
        for row, lead in by_layer(active, ours):
            fill = fill_of(row, lead, ours, sizes or {})
            if fill.canonical in fills:
                raise ValueError(f"{fill.canonical} is named by two rows of the table")
            fills[fill.canonical] = fill
        return fills

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
        stored, unassigned = self._assign(rest, fills, ours)
        filled = [replace(fills[name], name=stored[name][0]) for name in fills if name in stored]
        present = {BACKBONE, *(fill.row.group for fill in filled)}
        absent: dict[str, dict[str, None]] = {}  # ordered sets
        for fill in fills.values():
            if fill.row.group not in present:
                absent.setdefault(fill.row.group, {}).update(dict.fromkeys(fill.row.ours))
        shaped = [(fill.name, fill.shape) for fill in filled]
        shaped += [(name, each.shape) for name, each in computed.items()]
        report = Report(
            fills=tuple(filled),
            missing=tuple(name for name, fill in fills.items()
                          if name not in stored and fill.row.group in present),
            misshaped=tuple((name, tuple(theirs[name]), shape)
                            for name, shape in shaped if tuple(theirs[name]) != shape),
            repeated=tuple(tuple(names) for names in stored.values() if len(names) > 1),
            unfilled=tuple(sorted(set(ours) - {p for row in self.rows for p in row.ours})),
            absent={group: tuple(paths) for group, paths in absent.items()},
            computed=computed,
            **{kind: tuple(names) for kind, names in unassigned.items()},
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
    ) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """{canonical name: its names in the file} of the tensors that are read, and the names that
        are not, by the field of `Report` for them."""
        present = {row.group for row in self.rows if any(path in ours for path in row.ours)}
        stored: dict[str, list[str]] = {}  # canonical name -> the names that the file has for it
        for name in theirs:
            stored.setdefault(self._canonical(name, fills), []).append(name)
        self._tie(stored, fills)
        ignored = (*self.ignore, *(tie.copy for tie in self.ties if not tie.separate))
        unassigned: dict[str, list[str]] = {"unexpected": [], "left_out": [], "ignored": []}
        for canonical, names in stored.items():
            if canonical in fills:
                continue
            row = self._row(canonical)
            for name in names:
                stray = any(fnmatch.fnmatchcase(n, p) for n in (name, canonical) for p in ignored)
                if stray or (row is not None and not row.ours):
                    kind = "ignored"
                else:
                    kind = "unexpected" if row is None or row.group in present else "left_out"
                unassigned[kind].append(name)
        return {name: stored[name] for name in stored if name in fills}, unassigned

    def _tie(self, stored: dict[str, list[str]], fills: Mapping[str, Fill]) -> None:
        """Gives each tensor that the file lacks the names of what is the same array."""
        for tie in self.ties:
            pairs = [(tie.name, tie.copy), (tie.copy, tie.name)]
            for absent, other in pairs if tie.separate else pairs[:1]:
                if absent not in fills or absent in stored or other not in stored:
                    continue
                if tie.separate:
                    stored[absent] = stored[other][:1]
                elif other not in fills:
                    stored[absent] = stored.pop(other)

    def spelled(self, name: str, fills: Mapping[str, Fill]) -> str:
        """The name among `fills` for a name that a file may have, or the name itself."""
        return self._canonical(name, fills)

    def _canonical(self, name: str, fills: Mapping[str, Fill]) -> str:
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
        return next((text for text in spellings if self._row(text) is not None), name)

    def _row(self, name: str) -> Row | None:
        """The row that a name belongs to."""
        near = self._patterns.get(re.sub(r"\d+", "#", name), ())
        return next((row for pattern, row in near if pattern.fullmatch(name)), None)

    @functools.cached_property
    def _patterns(self) -> dict[str, list[tuple[re.Pattern[str], Row]]]:
        """The rows and what their names look like, by the name with # for every number."""
        patterns: dict[str, list[tuple[re.Pattern[str], Row]]] = {}
        for row in self.rows:
            pieces = re.split(r"{[^}]+}", row.theirs)
            pattern = re.compile(r"\d+".join(map(re.escape, pieces)))
            key = re.sub(r"\d+", "#", "0".join(pieces))
            patterns.setdefault(key, []).append((pattern, row))
        return patterns
