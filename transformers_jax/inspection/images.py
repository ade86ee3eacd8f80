"""Pictures of what a model sees in a picture: the figures of the ViT paper.

matplotlib is an extra (`pip install "transformers_jax[viz]"`), imported when a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.inspection.measures import principal, similarity
from transformers_jax.inspection.pictures import INK, PAPER
from transformers_jax.inspection.sight import Sight, sight
from transformers_jax.models.base import Model

HEAT = "inferno"
CELL = 64  # pixels of the longer side of one map, at least
GAP = 4  # pixels between two of them
FILTERS = 28  # of the components that the paper shows
KERNELS = 64  # of convolutions
TILES = 7  # positions along a side of which the similarity is shown
INCH = 110  # pixels of a mosaic in an inch of a figure


class Drawn(NamedTuple):
    """The files that were written, and why others were not: {name of the file: reason}."""

    files: list[Path]
    missing: dict[str, str]


def draw_image(model: Model, processor: Callable[..., Any], image: Any, folder: Path) -> Drawn:
    """Writes what a model sees in a picture, as far as its tower of images has it:

    attention.png   what each layer and head attends to, from the class token or from all patches
    rollout.png     how much of each patch is in the output (`measures.rollout`)
    distance.png    how far each head attends, by depth (`measures.attention_distance`)
    positions.png   the similarity of the positions of patches (`measures.similarity`)
    windows.png     of windows of attention, what each token receives, in the place of the token
    filters.png     of the stem: the components of an embedding of patches, or kernels

    Args:
        processor: of images (`tj.load_processor`).
        image: one of what the processor takes.

    Raises:
        ValueError: a model that reads no pictures, a processor without them, a picture that cannot
            be read.
    """
    if getattr(processor, "image_processor", processor) is None:
        raise ValueError("--image: the processor of this model takes no pictures")
    return draw_sight(sight(model, processor(images=image)), folder, model.config.model_type)


def draw_sight(seen: Sight, folder: Path, title: str) -> Drawn:
    """See `draw_image`; `title` is how the titles of the figures begin."""
    drawings: dict[str, tuple[Any, str]] = {
        "attention": (seen.weights and _attention, "no layer attends to the whole picture"),
        "rollout": (seen.weights and _rollout, "no layer attends to the whole picture"),
        "distance": ((seen.weights or seen.windows) and _distance, "there is no attention"),
        "positions": (seen.positions is not None and _positions, "no positions are added"),
        "windows": (seen.windows and _windows, "attention has no windows"),
        "filters": (seen.filters is not None and _filters, "the stem has no filters of pixels"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    files, missing = [], {}
    for name, (draw, reason) in drawings.items():
        if draw:
            files.append(folder / f"{name}.png")
            draw(seen, title, files[-1])
        else:
            missing[f"{name}.png"] = reason
    return Drawn(files, missing)


def _attention(seen: Sight, title: str, path: Path) -> None:
    maps = seen.maps
    tiles = [[over(seen.picture, one) for one in layer] for layer in maps]
    names = [f"layer {n}" for n in range(len(maps))], [f"head {n}" for n in range(maps.shape[1])]
    draw_tiles(tiles, f"{title}: attention of {seen.seen_from}", path, *names)


def _rollout(seen: Sight, title: str, path: Path) -> None:
    shown = [enlarged(seen.picture, CELL * 3), over(seen.picture, seen.rollout, CELL * 3)]
    draw_tiles([shown], f"{title}: rollout to {seen.seen_from}", path, ("",), ("read", "rollout"))


def _windows(seen: Sight, title: str, path: Path) -> None:
    heads = max(len(each.maps) for each in seen.windows)
    tiles = [[over(seen.picture, one) for one in each.maps] for each in seen.windows]
    names = [
        f"stage {n}, {each.size} x {each.size}" + (f", by {each.shift}" if each.shift else "")
        for n, each in enumerate(seen.windows)
    ]
    of_heads = [f"head {n}" for n in range(heads)]
    draw_tiles(tiles, f"{title}: attention received within windows", path, names, of_heads)


def _filters(seen: Sight, title: str, path: Path) -> None:
    assert seen.filters is not None
    components = bool(seen.weights or seen.windows)
    shown, what = principal(seen.filters, FILTERS), "principal components of the embedding"
    if not components:
        order = np.argsort(-np.abs(seen.filters).sum((1, 2, 3)))[:KERNELS]
        shown, what = seen.filters[order], "kernels of the stem, the largest first"
    wide = 7 if components else 8
    sizes = np.abs(shown).max((1, 2, 3), keepdims=True)
    levels = 0.5 + 0.5 * shown / np.where(sizes > 0, sizes, 1)
    levels = levels if levels.shape[-1] == 3 else levels.mean(-1, keepdims=True).repeat(3, -1)
    tiles = [enlarged(each, 40) for each in levels]
    rows = [tiles[n : n + wide] for n in range(0, len(tiles), wide)]
    draw_tiles(rows, f"{title}: {what}", path)


def _positions(seen: Sight, title: str, path: Path) -> None:
    assert seen.positions is not None
    rows, columns = seen.positions.shape[:2]
    alike = similarity(seen.positions.reshape(rows * columns, -1))
    alike = alike.reshape(rows, columns, rows, columns)
    down, across = (
        np.unique(np.linspace(0, length - 1, min(length, TILES)).round().astype(int))
        for length in (rows, columns)
    )
    tiles = [[_signed(enlarged(alike[r, c], 40)) for c in across] for r in down]
    names = [str(r) for r in down], [str(c) for c in across]
    heading = f"{title}: cosine similarity of positions, by row and column of the patch"
    draw_tiles(tiles, heading, path, *names)


def _distance(seen: Sight, title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.2), facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    heads = max(map(len, seen.distances))
    for head in range(heads):
        each = [(n, d[head]) for n, d in enumerate(seen.distances) if head < len(d)]
        label = f"head {head}" if heads <= 6 else None
        axes.plot(*np.transpose(each), "o", markersize=5, label=label)
    what = "stage" if seen.windows else "layer"
    most = max(map(np.max, seen.distances))
    axes.set(xlabel=what, ylabel="mean distance (pixels)", ylim=(0, 1.08 * most or 1))
    axes.set_xticks(range(len(seen.distances)))
    axes.set_title(f"{title}: attention distance", loc="left", color=INK, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if heads <= 6:
        axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def over(
    picture: Float[np.ndarray, "H W 3"], heat: Float[np.ndarray, "h w"], side: int = CELL
) -> Float[np.ndarray, "H W 3"]:
    """A map laid over a picture, which is grey below; its largest value is the brightest colour."""
    from matplotlib import colormaps

    picture = enlarged(picture, side).mean(-1, keepdims=True)
    rows, columns = picture.shape[:2]
    down = np.arange(rows) * heat.shape[0] // rows
    across = np.arange(columns) * heat.shape[1] // columns
    most = heat.max()
    level = (heat / most if most > 0 else heat)[down][:, across]
    return 0.4 * picture + 0.6 * colormaps[HEAT](level)[..., :3]


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture repeated, or thinned out, by a whole number, to a longer side of about `side`."""
    times = side / max(picture.shape[:2])
    if times < 1:
        step = max(1, round(1 / times))
        return picture[::step, ::step]
    return picture.repeat(max(1, round(times)), 0).repeat(max(1, round(times)), 1)


def _signed(values: np.ndarray) -> np.ndarray:
    """Colours of values from -1 (red) to 1 (blue)."""
    from matplotlib import colormaps

    return colormaps["RdBu"](0.5 + 0.5 * values)[..., :3]


def draw_tiles(tiles: Any, title: str, path: Path, rows: Any = (), columns: Any = ()) -> None:
    """One figure: rows of small pictures, all as one image, with the names of rows and columns."""
    from matplotlib.figure import Figure

    high = max(tile.shape[0] for row in tiles for tile in row)
    wide = max(tile.shape[1] for row in tiles for tile in row)
    count = max(map(len, tiles))
    size = (len(tiles) * (high + GAP) - GAP, count * (wide + GAP) - GAP)
    canvas = np.ones((*size, 3))
    for down, row in enumerate(tiles):
        for across, tile in enumerate(row):
            top, left = down * (high + GAP), across * (wide + GAP)
            canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    inches = (max(size[1] / INCH + 0.9, 0.075 * len(title)), size[0] / INCH + 0.7)
    figure = Figure(figsize=inches, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(np.clip(canvas, 0, 1), interpolation="nearest")
    figure.suptitle(title.replace("$", r"\$"), x=0.01, ha="left", color=INK, fontsize=9)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=7, labelcolor=INK, labeltop=True, labelbottom=False)
    axes.set_xticks([n * (wide + GAP) + wide / 2 for n in range(len(columns))], columns)
    axes.set_yticks([n * (high + GAP) + high / 2 for n in range(len(rows))], rows)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Writes a figure as PNG, the same bytes of the same figure."""
    figure.savefig(path, dpi=INCH, metadata={"Software": None})
