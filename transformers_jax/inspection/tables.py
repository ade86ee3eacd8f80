"""A description on a terminal: tables in colour, or plain lines where there is none."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from transformers_jax.inspection.description import Description, Weight

WIDE = 120  # columns, at most, of a line that goes to a file or a pipe
BAD = ("missing", "unexpected", "wrong shape", "several names for one tensor")
SHOWN = 12  # names of a kind, beyond which they are only counted


def console() -> Console:
    """Colours and the width of the terminal; none, and lines of a fixed width, elsewhere."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=WIDE, no_color=True, highlight=False)


def show(description: Description, out: Console) -> None:
    """The whole description; in a file or a pipe, no line ends in spaces."""
    if out.is_terminal:
        return draw(description, out)
    with out.capture() as text:
        draw(description, out)
    print("\n".join(line.rstrip() for line in text.get().splitlines()))


def draw(description: Description, out: Console) -> None:
    """The same, padded to the width of its tables."""
    tables = [overview(description), parameters(description)]
    if description.layers:
        tables += [layers(description), graphs(description)]
    for table in (*tables, mapping(description)):
        out.print(table)
        out.print()
    problems(description, out)


def overview(d: Description) -> Table:
    """Family, head, sizes, positions and what is stored, a line each."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    dtypes = ", ".join(f"{dtype} ({count:,})" for dtype, count in d.stored.items())
    stored = f"{dtypes}; {decimal(d.file_bytes)}" if dtypes else "no weights here: this is a config"
    lines = {
        "source": d.source,
        "family": f"{d.family} ({d.config_class})",
        "model": f"{d.architecture}, head {d.head}",
        "heads": ", ".join(d.heads),
        "sizes": ", ".join(f"{name} {size:,}" for name, size in d.sizes.items()),
        "positions": d.positions,
        "parameters": f"{d.total:,}",
        "stored": stored,
    }
    if d.modules:
        lines["sentences"] = " -> ".join(d.modules) + " (head='embedding')"
    for name, text in lines.items():
        grid.add_row(name, Text(text))
    return grid


def parameters(d: Description) -> Table:
    """Parameters by part, with their share."""
    table = new_table("parameters", "part", "count>", "share>")
    for part in d.parts:
        table.add_row(part.name, f"{part.count:,}", f"{part.count / d.total:.1%}")
    return table


def layers(d: Description) -> Table:
    """What the layers do, and which token may attend to which in them."""
    table = new_table("layers", "stack", "layers", "branch", "mask", "what it does", "positions")
    for group in d.layers:
        numbers = f"{group.first}-{group.last}" if group.last > group.first else str(group.first)
        masks = dict(group.masks)
        for row, (kind, words) in enumerate(group.branches):
            name, number = (group.stack, numbers) if row == 0 else ("", "")
            position = group.position if kind == "self" else ""
            table.add_row(name, number, kind, Text(masks.get(kind, "")), words, position)
    return table


def graphs(d: Description) -> Any:
    """Every mask over a few tokens: a row is a query, a column a key."""
    pictures = []
    for mask, drawing in d.drawings.items():
        text = Text(mask + "\n", style="bold")
        text.append(drawing.replace("1", "■").replace(".", "·"), style="not bold cyan")
        pictures.append(text)
    return Columns([*pictures, ""], padding=(1, 6))


def mapping(d: Description) -> Table:
    """Every tensor of theirs, and the parameters of ours that it fills."""
    table = new_table("weights", "on disk, and here", "shape", "layout, and axes here")
    for w in d.weights:  # two lines each, so that a terminal is wide enough
        names = Text(w.theirs)
        for path in w.ours:
            names.append(f"\n  {path}", style="cyan")
        shape = Text(extent(w)).append(f"\n{w.dtype or ''}", style="dim")
        table.add_row(names, shape, Text(w.layout or "as it is").append(f"\n{axes(w)}", "cyan"))
    return table


def extent(weight: Weight) -> str:
    """768x2304, and how many of them."""
    times = f" x{weight.tensors}" if weight.tensors > 1 else ""
    return "x".join(map(str, weight.shape)) + times


def axes(weight: Weight) -> str:
    """layers 12, embed 768, ..."""
    return ", ".join(f"{name} {size}" for name, size in zip(weight.axes, weight.our_shape))


def problems(d: Description, out: Console) -> None:
    """What the model lacks, what it does not take: nothing, if file and model are the same."""
    for kind, names in d.report.items():
        style = "bold red" if kind in BAD else "bold yellow"
        out.print(Text(f"{kind} ({len(names)})", style=style))
        for name in names[:SHOWN]:
            out.print(Text(f"  {name}"))
        if len(names) > SHOWN:
            out.print(Text(f"  and {len(names) - SHOWN} more"))
    if not d.report and d.stored:
        out.print(Text("every tensor has its place, every parameter its tensor", style="green"))


# ---------------------------------------------------------------- pieces


def new_table(title: str, *columns: str) -> Table:
    """An empty table; a column whose name ends in > is aligned to the right."""
    fancy = Console().is_terminal
    table = Table(
        title=title.upper() if not fancy else title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if fancy else None,
        header_style="bold" if fancy else "",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for name in columns:
        table.add_column(name.rstrip(">"), overflow="fold")
        if name.endswith(">"):
            table.columns[-1].justify = "right"
    return table
