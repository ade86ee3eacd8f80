"""The curves of runs as PNG files, with matplotlib (extra `viz`) and without a display."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.publish import publish
from transformers_jax.training.metrics import (
    COUNTS,
    SHOWN,
    Line,
    is_hidden,
    is_loss,
    is_number,
    label_of,
    thin,
)

POINTS = 2000  # of a curve in a picture: more are not visible
LABELS = {
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "tokens_per_second": "tokens per second",
    "mfu": "model FLOPs utilisation",
    "input_wait": "share of time waiting for data",
    "memory": "memory (GiB)",
    "fill": "share of positions that hold a token",
    "bits_per_byte": "held-out bits per byte",
}
LOSS = "loss (nats per token)"
UNITS = {"eval_loss": LOSS, "bits_per_byte": "loss (bits per byte)"}
"""What a figure by which runs are compared is measured in."""


def curve(
    lines: Sequence[Line], name: str, over: str = "step"
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """(x, y) of a figure over `over`, where both are known and finite: POINTS at most."""
    pairs = [(line[over], line[name]) for line in lines if name in line and over in line]
    pairs = [(x, y) for x, y in pairs if is_number(y) and math.isfinite(y)]
    x, y = np.array(pairs, float).reshape(-1, 2).T
    return thin(x, POINTS), thin(y, POINTS)


def on_the_same(lines: Sequence[Line], name: str) -> list[list[Line]]:
    """The lines with a held-out loss, parted where it is measured on another number of batches."""
    count = name.replace("eval_loss", "eval_batches", 1)
    measured = (line for line in lines if name in line)
    return [list(same) for _, same in itertools.groupby(measured, lambda line: line.get(count))]


def smooth(y: Float[np.ndarray, " n"], share: float = 0.02) -> Float[np.ndarray, " n"]:
    """The exponential moving average over about `share` of a curve, without a bias to its start."""
    from scipy.signal import lfilter

    keep = 1 - 1 / max(1.0, share * len(y))
    decayed = lambda x: lfilter([1.0], [1.0, -keep], x)
    return decayed(y) / decayed(np.ones_like(y))


def plot_loss(lines: Sequence[Line], file: Path) -> None:
    """The training loss, raw and smoothed, and the loss on every held-out set, over the steps."""
    figure, (axes,) = new_figure(8, 4.5)
    _draw_loss(axes, lines, "step", "C0", "training")
    for n, name in enumerate(sorted({name for line in lines for name in line if is_loss(name)})):
        label: str | None = "held-out" if name == "eval_loss" else name.partition("/")[2]
        for same in on_the_same(lines, name):  # another set is another curve
            axes.plot(*curve(same, name), "o-", ms=3, lw=1, color=f"C{n + 1}", label=label)
            label = None
    axes.set(xlabel="step", ylabel=LOSS)
    save_figure(figure, file)


def plot_curves(lines: Sequence[Line], file: Path) -> list[str]:
    """All other figures, a panel each; returns their names. One that was measured once is a number
    of the report and no curve."""
    not_drawn = {"loss", "epoch", "tokens", "steps_per_second"}
    not_drawn |= {name for name in COUNTS if not any(line.get(name) for line in lines)}
    names = [*SHOWN, *sorted({name for line in lines for name in line} - {*SHOWN})]
    names = [n for n in names if not (n in not_drawn or is_hidden(n) or is_loss(n))]
    names = [name for name in names if len(curve(lines, name)[0]) > 1]
    if not names:
        return []
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, panels = new_figure(4 * columns, 2.8 * rows, rows, columns)
    for axes, name in zip(panels, names):
        x, y = curve(lines, name)
        axes.plot(x, y / 2**30 if name == "memory" else y, lw=1)
        axes.set_title(LABELS.get(name, label_of(name)), fontsize=10)
        if name == "gradient_norm" and y.min() > 0 and y.max() > 10 * y.min():
            axes.set_yscale("log")
    for axes in panels[len(names) :]:
        axes.remove()
    save_figure(figure, file)
    return names


def in_bits(lines: Sequence[Line]) -> list[Line]:
    """The lines of a run with losses in bits per byte, the loss in training by the bytes that a
    token of the held-out text has; without losses where that is not known."""
    ratios = (
        line["bits_per_byte"] / line["eval_loss"] for line in lines if "bits_per_byte" in line
    )
    ratio = next(ratios, math.nan)
    loss = lambda line: {"loss": line["loss"] * ratio} if "loss" in line else {}
    return [{**line, **loss(line), "eval_loss": line.get("bits_per_byte")} for line in lines]


def plot_runs(runs: Mapping[str, Sequence[Line]], file: Path, by_bytes: bool = False) -> None:
    """The losses of several runs over steps and, where they are known, over `tokens`.

    Args:
        by_bytes: in bits per byte, for runs whose tokens differ; those that have none are left out.
    """
    if by_bytes:
        runs = {name: in_bits(lines) for name, lines in runs.items()}
    known = {name for lines in runs.values() for line in lines for name in line}
    over = ["step", *({"tokens"} & known)]
    figure, panels = new_figure(5.5 * len(over), 4, 1, len(over))
    for axes, by in zip(panels, over):
        for n, (name, lines) in enumerate(runs.items()):
            _draw_loss(axes, lines, by, f"C{n % 10}", name)
            points = curve(lines, "eval_loss", by)
            axes.plot(*points, "o", ms=3.5, color=f"C{n % 10}", markeredgecolor="black")
        axes.set(xlabel=by, ylabel=UNITS["bits_per_byte" if by_bytes else "eval_loss"])
    panels[0].set_title("lines: training, smoothed; points: held-out", fontsize=9)
    save_figure(figure, file)


def plot_sweep(
    name: str,
    points: Mapping[str, Sequence[tuple[str, float]]],
    file: Path,
    figure: str = "eval_loss",
) -> None:
    """The held-out loss against the values of a setting: a line for each choice of the others.

    `figure` is how it is measured, one of UNITS.
    Values that are numbers, over more than a factor of ten, have a logarithmic axis.
    """
    picture, (axes,) = new_figure(6, 4)
    values = list(dict.fromkeys(value for line in points.values() for value, _ in line))
    try:
        x = {value: float(value) for value in values}
        if min(x.values()) > 0 and max(x.values()) >= 10 * min(x.values()):
            axes.set_xscale("log")
    except ValueError:  # they are names
        x = {value: float(n) for n, value in enumerate(values)}
        axes.set_xticks(list(x.values()), values)
    for label, line in points.items():
        axes.plot(
            *zip(*sorted((x[value], loss) for value, loss in line)), "o-", label=label or None
        )
    axes.set(xlabel=name, ylabel="held-out " + UNITS[figure])
    save_figure(picture, file)


def plot_scaling(
    compute: Float[np.ndarray, " R"],
    loss: Float[np.ndarray, " R"],
    sizes: Float[np.ndarray, " R"],
    frontier: Sequence[int],
    law: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]] | None,
    file: Path,
    unit: str = LOSS,
) -> None:
    """Loss against compute: a run is a point, in the colour of its size; the frontier; its law."""
    from matplotlib.colors import LogNorm

    figure, (axes,) = new_figure(7, 4.5)
    norm = LogNorm(sizes.min(), sizes.max()) if sizes.max() > sizes.min() else None
    drawn = axes.scatter(compute, loss, c=sizes, norm=norm, cmap="viridis", zorder=3)
    figure.colorbar(drawn, ax=axes, label="parameters")
    order = list(frontier)
    axes.plot(compute[order], loss[order], "k--", lw=1, label="frontier")
    if law is not None:
        axes.plot(*law, "C3-", lw=1.5, label="E + a C^-b")
    axes.set(xlabel="training compute (FLOPs)", ylabel=unit, xscale="log", yscale="log")
    save_figure(figure, file)


def _draw_loss(axes: Any, lines: Sequence[Line], over: str, color: str, label: str) -> None:
    x, y = curve(lines, "loss", over)
    axes.plot(x, y, lw=0.6, alpha=0.3, color=color)
    axes.plot(x, smooth(y), "." if len(x) == 1 else "-", lw=1.4, color=color, label=label)


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> tuple[Any, list[Any]]:
    """A figure that no window shows, and its panels."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            f'curves need matplotlib ({error}); pip install "transformers-jax[viz]"'
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.grid(alpha=0.3)
    return figure, panels


def save_figure(figure: Any, file: Path) -> None:
    """Writes a figure as PNG, with a legend where its first panel has labels."""
    first = figure.axes[0]
    if first.get_legend_handles_labels()[0]:
        first.legend(fontsize=8)
    publish(file, lambda draft: figure.savefig(draft, dpi=120, format="png"))
