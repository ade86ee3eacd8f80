"""Pictures of attention: the graph over tokens, and the weights on its edges.

matplotlib is an extra (`pip install "transformers_jax[viz]"`), imported when a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.inspection.words import masks, plain
from transformers_jax.models.base import Model

INK, PAPER, NO_EDGE = "#1f2933", "#ffffff", "#e8ebee"
GAP = 1.2  # cells between two maps
PIXELS = 5  # of a cell in the image; a gap is a whole number of them
MAX_SIDE = 26.0  # inches of a figure's longer side
LABELLED = 40  # tokens, beyond which maps bear no labels
GAMMA = 0.5  # weights are drawn as weight ** GAMMA, so that small ones are visible
NODES = 12  # tokens in the graph of a model without a text


def draw_graphs(
    model: Model, folder: Path, labels: Mapping[str, Sequence[str]] | None = None
) -> list[Path]:
    """Writes graph-<stack>-<branch>.png for every mask of the model; returns the files.

    `labels` are the tokens of each side ("encoder", "decoder", or "stack").
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    labels = labels or {}
    for name, mask in masks(model).items():
        stack, kind = name.split()[:2]
        own = labels.get(stack)
        source = labels.get("encoder") if kind == "cross" else None
        if not plain(mask) or (own is not None and len(own) > 4 * LABELLED):
            continue
        path = folder / f"graph-{name.replace(' ', '-')}.png"
        keys = len(source) if source else NODES // 2 if kind == "cross" else None
        title = f"{model.config.model_type}: {name}-attention, {mask}"
        shown = own if own is not None and len(own) <= LABELLED and kind != "cross" else None
        queries = len(own) if own else NODES
        mask.plot(queries, keys, labels=shown, title=title, path=path)
        written.append(path)
    return written


def draw_maps(
    fields: Mapping[str, Any], folder: Path, labels: Mapping[str, Sequence[str]], title: str
) -> list[Path]:
    """Writes a grid of maps, layers x heads, for every kind of attention in a model's output."""
    sides = {
        "attentions": ("stack", "stack"),
        "encoder_attentions": ("encoder", "encoder"),
        "decoder_attentions": ("decoder", "decoder"),
        "cross_attentions": ("decoder", "encoder"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (queries, keys) in sides.items():
        if not fields.get(name):
            continue
        maps = np.stack([np.asarray(layer[0], np.float32) for layer in fields[name]])
        path = folder / f"{name.replace('_', '-')}.png"
        kind = name.removesuffix("attentions").replace("_", " ")
        heading = f"{title}: {kind}attention of every layer and head"
        draw_grid(maps, labels.get(queries), labels.get(keys), heading, path)
        written.append(path)
    return written


def draw_grid(
    maps: np.ndarray,
    queries: Sequence[str] | None,
    keys: Sequence[str] | None,
    title: str,
    path: Path,
) -> None:
    """One figure: a row of maps per layer, a column per head; darker means more attention.

    Each row of a map is a query, each column a key; where there is no edge
    the map is grey. The whole grid is one image, so that models with many heads draw in seconds.

    Shapes: maps Float[L H T S].
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    L, H, T, S = maps.shape
    tall, wide = L * T + (L - 1) * GAP, H * S + (H - 1) * GAP
    cell = min(0.2 if max(T, S) <= LABELLED else 0.05, MAX_SIDE / max(tall, wide))
    cell = max(cell, 1.1 / max(T, S)) if max(T, S) * cell < 1.1 <= MAX_SIDE / max(L, H) else cell
    size = (max(wide * cell + 2.5, 5.0), tall * cell + 1.5)
    figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(mosaic(maps), extent=(0, wide, tall, 0), interpolation="nearest")
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    layers, heads = axes.secondary_yaxis("right"), axes.secondary_xaxis("top")
    for each in (axes, layers, heads):
        each.spines[:].set_visible(False)
    upright = max(map(len, keys or [""])) <= 2
    _name(axes.yaxis, layers.yaxis, "layer", T, L, queries, cell)
    _name(axes.xaxis, heads.xaxis, "head", S, H, keys, cell, rotation=0 if upright else 90)
    legend = ScalarMappable(PowerNorm(GAMMA, 0, 1), "Blues")
    bar = figure.colorbar(legend, ax=axes, ticks=[0, 0.1, 0.3, 0.6, 1], shrink=0.6, aspect=30)
    bar.ax.tick_params(length=2, labelsize=7, colors=INK)
    bar.outline.set_visible(False)
    figure.savefig(path, dpi=min(200, 4500 / max(size)))


def _name(axis, other, word, length, count, tokens, cell, **style) -> None:
    """Names the tokens of each map along one axis of the figure, and the maps along the other."""
    starts = np.arange(count) * (length + GAP)
    shown = list(tokens or ()) if length <= LABELLED else []
    centres = (starts[:, None] + np.arange(len(shown)) + 0.5).ravel()
    size = float(np.clip(cell * 72 * 0.62, 3.0, 8.5))  # points that fit the height of a cell
    axis.set_ticks(centres, shown * count, fontsize=size, **style)
    other.set_ticks(starts + length / 2, [f"{word} {n}" for n in range(count)], fontsize=9)
    for each in (axis, other):
        each.set_tick_params(length=0, labelcolor=INK)


def mosaic(maps: np.ndarray) -> np.ndarray:
    """All maps as one image: PIXELS x PIXELS pixels a cell, white between the maps."""
    L, H, T, S = maps.shape
    gap = round(GAP * PIXELS)
    canvas = np.ones((L * (T * PIXELS + gap) - gap, H * (S * PIXELS + gap) - gap, 3))
    for layer, head in np.ndindex(L, H):
        top, left = layer * (T * PIXELS + gap), head * (S * PIXELS + gap)
        tile = map_colours(maps[layer, head]).repeat(PIXELS, 0).repeat(PIXELS, 1)
        canvas[top : top + T * PIXELS, left : left + S * PIXELS] = tile
    return canvas


def map_colours(weights: np.ndarray) -> np.ndarray:
    """The colours of a map: grey where the weight is exactly zero, which is where no edge is."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    colours = colormaps["Blues"](np.clip(weights, 0, 1) ** GAMMA)[..., :3]
    return np.where(weights[..., None] == 0, np.array(to_rgb(NO_EDGE)), colours)


def show_token(text: str) -> str:
    """A token as a label: without the space before a word, other white space made visible."""
    text = text.replace("\u0120", " ").replace("\u2581", " ")
    text = text[1:] if len(text) > 1 and text[0] == " " else text
    text = text.replace(" ", "\u00b7")
    text = text.replace("\n", "\u21b5").replace("\t", "\u2192").replace("$", r"\$")
    text = "".join(c if c.isprintable() else "\u00bf" for c in text)
    return text if len(text) <= 12 else text[:11] + "\u2026"
