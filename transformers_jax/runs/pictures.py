"""Pictures of a report: of the answers to a task, or their table, and of the choices of routers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transformers_jax.json_files import json_or_empty
from transformers_jax.runs.page import table
from transformers_jax.runs.plots import new_figure, save_figure
from transformers_jax.tasks.figures import Confusion, Errors, Figure, Histogram, Listing, from_json
from transformers_jax.training.evaluate import FIGURE
from transformers_jax.training.routing import ROUTING

WRITTEN_IN = 12  # classes up to which the cells of a matrix hold their numbers
HEARD_AS = ("source", "written", "reference", "character error rate")
PICTURE, CHOICES = "figure.png", "routing.png"


def plot_answers(folder: Path) -> list[str]:
    """Draws the picture of a run's answers, if it has one; its name."""
    figure = from_json(json_or_empty(folder / FIGURE))
    if figure is None or isinstance(figure, Listing):
        return []
    draw(figure, folder / PICTURE)
    return [PICTURE]


def answers_of(folder: Path, images: Sequence[str], where: str = "") -> str:
    """The section of a report about the answers of a run: its picture, if it is one of the images,
    its table, or both. `where` is the path to the images."""
    values = json_or_empty(folder / FIGURE)
    figure, after = from_json(values), f"After step {values.get('step', 0):,}"
    if isinstance(figure, Listing):
        rows = table(figure.head, figure.rows) if figure.rows else "None."
        return f"{after}. {figure.title}:\n\n{rows}"
    shown = []
    if figure is not None and PICTURE in images:
        shown.append(f"{after}, {caption(figure)}:\n\n![answers]({where}{PICTURE})")
    if isinstance(figure, Errors):
        rows = table(HEARD_AS, figure.rows) if figure.rows else "None."
        shown.append(f"{after}, the texts with most errors:\n\n{rows}")
    return "\n\n".join(shown)


def plot_routing(folder: Path) -> list[str]:
    """Draws which share of the tokens of each layer its experts serve, if there are any; its
    name."""
    routing = json_or_empty(folder / ROUTING)
    if not routing.get("shares"):
        return []
    shares = np.asarray(routing["shares"])
    (layers, experts), few = shares.shape, shares.shape[1] <= WRITTEN_IN
    picture, (axes,) = new_figure(3 + 0.5 * min(experts, 24), 1.8 + 0.4 * layers)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=max(shares.max(), 2 / experts))
    picture.colorbar(drawn, ax=axes, label="share of the choices")
    axes.grid(visible=False)
    axes.set_yticks(range(layers), routing["layers"])
    axes.set_xticks(range(experts) if few else range(0, experts, -(-experts // WRITTEN_IN)))
    axes.set(xlabel=f"expert (each {1 / experts:.1%} if the choices were even)")
    for (row, column), share in np.ndenumerate(shares):
        if few:
            colour = "white" if share > shares.max() / 2 else "black"
            text = dict(ha="center", va="center", color=colour, fontsize=8)
            axes.text(column, row, f"{share:.0%}", **text)
    save_figure(picture, folder / CHOICES)
    return [CHOICES]


def routing_of(folder: Path, images: Sequence[str], where: str = "") -> str:
    """The section of a report about the experts of a model: their picture, the layers with the most
    and the least even choices, and where experts had no room."""
    routing = json_or_empty(folder / ROUTING)
    if CHOICES not in images or not routing.get("shares"):
        return ""
    least = [min(layer) for layer in routing["shares"]]
    most = [max(layer) for layer in routing["shares"]]
    rows = [
        [name, f"{low:.1%}", f"{high:.1%}", f"{full:.1%}"]
        for name, low, high, full in zip(routing["layers"], least, most, routing["full"])
    ]
    head = ["", "expert chosen least", "expert chosen most", "choices without room"]
    shown = f"![share of each expert]({where}{CHOICES})"
    after = f"After step {routing.get('step', 0):,}, on held-out text"
    return f"{after}, how often each expert is chosen:\n\n{shown}\n\n{table(head, rows)}"


def caption(figure: Figure) -> str:
    """What a picture shows."""
    if isinstance(figure, Confusion):
        return "how often each class is taken for each"
    if isinstance(figure, Histogram):
        return f"how many examples have which {figure.label}"
    if isinstance(figure, Listing):
        return figure.title
    return f"{figure.up} against {figure.across} {figure.what}"


def draw(figure: Figure, file: Path) -> None:
    """Draws a matrix, a scatter or a histogram.

    Raises:
        ValueError: matplotlib is missing.
    """
    if isinstance(figure, Confusion):
        _draw_confusion(figure, file)
        return
    picture, (axes,) = new_figure(6, 4.5)
    if isinstance(figure, Histogram):
        edges = np.asarray(figure.edges)
        axes.bar(edges[:-1], figure.counts, np.diff(edges), align="edge", edgecolor="white")
        axes.set(xlabel=figure.label, ylabel="examples")
    elif not isinstance(figure, Listing):
        both = [*figure.expected, *figure.predicted]
        axes.plot([min(both), max(both)], [min(both), max(both)], "k--", lw=0.8)
        axes.scatter(figure.expected, figure.predicted, s=10, alpha=0.4)
        axes.set(xlabel=figure.across, ylabel=figure.up)
    save_figure(picture, file)


def _draw_confusion(figure: Confusion, file: Path) -> None:
    """Each row is a share of its class; the numbers are counts."""
    counts = np.asarray(figure.counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size, few = len(counts), len(counts) <= WRITTEN_IN
    picture, (axes,) = new_figure(3 + 0.35 * size, 2.5 + 0.33 * size)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    picture.colorbar(drawn, ax=axes, label="share of the class")
    axes.grid(visible=False)
    names = [name if len(name) <= 20 else f"{name[:19]}…" for name in figure.names]
    axes.set_xticks(range(size), names, rotation=45 if few else 90, ha="right" if few else "center")
    axes.set_yticks(range(size), names)
    axes.tick_params(labelsize=9 if few else 7)
    axes.set(xlabel="predicted", ylabel="expected")
    for (row, column), count in np.ndenumerate(counts):
        if few:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    save_figure(picture, file)
