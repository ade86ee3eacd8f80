"""A model as a table: every parameter with its shape, its axes, its bytes and its sharding."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import NamedSharding
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from transformers_jax.models.base import Model, check_model
from transformers_jax.nn.param import axes, flatten, params

WIDE = 120  # columns


@dataclass(frozen=True)
class Parameter:
    """One array of parameters.

    Attributes:
        axes: (name, length) of each axis; `layers` are those of a stack.
        sharding: the mesh axes that cut it, by the axes they cut; empty if every device has all.
        device_bytes: what one device holds of it; `bytes` for a model without arrays.
    """

    path: str
    axes: tuple[tuple[str, int], ...]
    parameters: int
    bytes: int
    dtype: str
    sharding: str
    device_bytes: int


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary(model)` returns: rows as values; `str` and `repr` are the table."""

    title: str
    rows: tuple[Parameter, ...]

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(row.parameters for row in self.rows)

    def __str__(self) -> str:
        table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
        on_device = sum(row.device_bytes for row in self.rows)
        total = sum(row.bytes for row in self.rows)
        share = f"{decimal(on_device)} a device" if on_device != total else ""
        table.add_column("parameter", overflow="fold")
        table.add_column("axes", overflow="fold")
        table.add_column("parameters", f"{self.parameters:,}", overflow="fold", justify="right")
        table.add_column("bytes", decimal(total), overflow="fold", justify="right")
        table.add_column("dtype", overflow="fold")
        table.add_column("sharding", share, overflow="fold")
        for row in self.rows:
            sides = ", ".join(f"{name} {length}" for name, length in row.axes)
            cells = (row.path, sides, f"{row.parameters:,}", decimal(row.bytes), row.dtype)
            table.add_row(*map(Text, cells), Text(row.sharding))
        out = io.StringIO()
        Console(file=out, width=WIDE, no_color=True, highlight=False).print(table)
        lines = [line.rstrip() for line in out.getvalue().splitlines()]
        return "\n".join([self.title, *(line for line in lines if line)])

    __repr__ = __str__


def summary(model: Model) -> Summary:
    """The parameters of a model as a table: axes, numbers, bytes, dtype, sharding, and their sums.

    Raises:
        TypeError: it is no model.
    """
    check_model(model, "summary")
    names, arrays = flatten(axes(model)), flatten(params(model))
    rows = tuple(_row(path, names[path], leaf) for path, leaf in arrays.items())
    return Summary(repr(model).splitlines()[0], rows)


def _row(path: str, names: tuple[str, ...], leaf: Any) -> Parameter:
    count = math.prod(leaf.shape)
    size = on_device = count * leaf.dtype.itemsize
    cut = ""
    placed = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
    if placed and isinstance(leaf.sharding, NamedSharding):
        parts = zip(names, leaf.sharding.spec)
        cut = ", ".join(f"{name} by {part}" for name, part in parts if part)
        on_device = math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    sides = tuple(zip(names, map(int, leaf.shape)))
    return Parameter(path, sides, count, size, leaf.dtype.name, cut, on_device)
