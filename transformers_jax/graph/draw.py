"""Pictures of graphs: a figure with the matrix of the edges and with their arcs.

matplotlib is an extra (`pip install "transformers_jax[viz]"`), imported when a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transformers_jax.arrays import Bool

MANY = 48  # tokens, beyond which not every arc is drawn
INK, PAPER, EDGE, LOOP = "#1f2933", "#ffffff", "#2f6f9f", "#d9822b"


def plot(
    edges: Bool[np.ndarray, "T S"],
    title: str,
    *,
    across: bool = False,
    labels: Sequence[str] | None = None,
    path: Any = None,
):
    """A figure: on the left the matrix, on the right the same graph with its edges as arcs.

    Arrows lead from a key to the query that attends to it; a token that attends to itself has
    a ring. `across`: queries and keys are different tokens, in two rows. `labels` name the tokens,
    `path` saves the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.6), facecolor=PAPER, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.25))
    figure.suptitle(title, color=INK, family="monospace", fontsize=12)
    _square(left, edges, labels if not across else None)
    if across:
        _bipartite(right, edges)
    else:
        _arcs(right, edges, labels)
    if path is not None:
        figure.savefig(path, dpi=160)
    return figure


def _square(axes, edges: np.ndarray, labels: Sequence[str] | None) -> None:
    """The matrix: queries downwards, keys across; loops in their own colour."""
    from matplotlib.colors import ListedColormap

    T, S = edges.shape
    colour = edges.astype(int)
    if T == S:
        colour[np.eye(T, dtype=bool) & edges] = 2
    colours = ListedColormap(["#edf0f3", EDGE, LOOP])
    axes.pcolormesh(
        colour, cmap=colours, vmin=0, vmax=2, edgecolors=PAPER, linewidth=1.2 if S <= 48 else 0
    )
    axes.set(xlim=(0, S), ylim=(T, 0), aspect="equal")
    axes.set_xlabel("key", color=INK)
    axes.set_ylabel("query: attends to", color=INK)
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    for axis, length in ((axes.xaxis, S), (axes.yaxis, T)):
        step = max(1, -(-length // 16))
        tokens = np.arange(0, length, step)
        axis.set_ticks(tokens + 0.5, [labels[n] if labels else str(n) for n in tokens])
    axes.tick_params(length=0, labelsize=8, colors=INK, rotation=0)
    if labels:
        axes.tick_params(axis="x", rotation=60)
    axes.spines[:].set_visible(False)


def _arcs(axes, edges: np.ndarray, labels: Sequence[str] | None) -> None:
    """Tokens on a line: messages forward in time above it, messages backward below it."""
    from matplotlib.patches import Circle, FancyArrowPatch

    length = len(edges)
    radius = 0.16 if length <= MANY else 0.3
    if length > MANY:  # the messages into a few tokens show the pattern, all of them would cover it
        few = np.linspace(0, length - 1, 7).round().astype(int)[1:-1]
        edges = edges & np.isin(np.arange(length), few)[:, None]
    each = max(edges.sum() / max(length, 1), 1)
    alpha = float(np.clip(2.3 / each**1.2, 0.25, 0.85))
    for query, key in zip(*np.nonzero(edges)):
        if query == key:
            axes.add_patch(Circle((key, 0), radius + 0.11, fill=False, color=LOOP, linewidth=1.4))
            continue
        axes.add_patch(
            FancyArrowPatch(
                (key, radius * np.sign(query - key)), (query, radius * np.sign(query - key)),
                connectionstyle=f"arc3,rad={-0.5}", arrowstyle="-|>", mutation_scale=8,
                color=EDGE, alpha=alpha, linewidth=1.0, shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip
    for token in range(length):
        axes.add_patch(Circle((token, 0), radius, color=INK, zorder=3))
        if labels:
            below = {"rotation": 60, "rotation_mode": "anchor", "ha": "right", "va": "center"}
            axes.text(token + 0.1, -0.42, labels[token], color=INK, fontsize=8, **below)
        elif length <= 32:
            number = {"ha": "center", "va": "center_baseline", "fontsize": 90 / (length + 6)}
            axes.text(token, -0.01, str(token), color=PAPER, zorder=4, **number)
    reach = max((abs(int(a) - int(b)) for a, b in zip(*np.nonzero(edges))), default=1) * 0.27 + 0.6
    up = reach if np.tril(edges, -1).any() else 0.6
    down = reach if np.triu(edges, 1).any() else 2.0 if labels else 0.6
    axes.set(xlim=(-0.8, length - 0.2), ylim=(-down, up), aspect="equal")
    axes.set_axis_off()


def _bipartite(axes, edges: np.ndarray) -> None:
    """Keys above, queries below, an arrow for each message."""
    T, S = edges.shape
    width = max(T, S)
    keys, queries = (
        np.linspace(0, width - 1, n) if n > 1 else np.array([(width - 1) / 2]) for n in (S, T)
    )
    height = 0.55 * width
    alpha = float(np.clip(12.0 / np.sqrt(max(edges.sum(), 1)) / 2, 0.15, 0.8))
    for query, key in zip(*np.nonzero(edges)):
        axes.annotate(
            "", (queries[query], 0.2), (keys[key], height - 0.2),
            arrowprops={"arrowstyle": "-|>", "color": EDGE, "alpha": alpha, "linewidth": 1.0},
        )  # fmt: skip
    for x, y, name in ((keys, height, "keys"), (queries, 0, "queries")):
        axes.scatter(x, np.full(len(x), y), s=60, color=INK, zorder=3)
        axes.text(-1.2, y, name, ha="right", va="center", color=INK, fontsize=9)
    axes.set(xlim=(-3.5, width), ylim=(-1, height + 1), aspect="equal")
    axes.set_axis_off()
