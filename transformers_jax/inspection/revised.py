"""A picture of a text whose masks were written in any order: the text after some of the passes.

matplotlib is an extra (`pip install "transformers_jax[viz]"`), imported when a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.inspection.pictures import INK, MAX_SIDE, PAPER

HIDDEN, NEW, EARLIER = "#cfd8e3", "#a6cee3", "#eef4f9"
SHOWN = 8  # texts in a picture, the first and the last among them
WIDE = 84  # characters of a line
ADVANCE, HIGH = 0.085, 0.2  # inches of a character, and of a line


def draw_revised(
    words: Sequence[str], steps: Int[np.ndarray, " T"], path: Path, title: str
) -> Path:
    """Writes the figure; returns its path. What is still hidden is dark, what was written since the
    text above is blue, and what was given has no ground.

    Args:
        words: the tokens at the end.
        steps: the pass in which each was written, from 1 on; 0: it was given.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    last = int(steps.max())
    passes = np.unique(np.linspace(0, last, min(SHOWN, last + 1)).round().astype(int))
    lines, column, line = [], 0, 0
    for word in words:
        size = max(len(word), 2) + 1
        if column and column + size > WIDE:
            column, line = 0, line + 1
        lines.append((line, column, size))
        column += size
    each = line + 1.7
    size = ((WIDE + 9) * ADVANCE, len(passes) * each * HIGH + 0.5)
    figure = Figure(figsize=(size[0], min(size[1], MAX_SIDE)), facecolor=PAPER)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0 - 0.4 / size[1]))
    axes.set(xlim=(-8, WIDE + 1), ylim=(len(passes) * each, -0.4))
    axes.axis("off")
    figure.suptitle(title, x=0.02, ha="left", color=INK, fontsize=11)
    style: Any = dict(va="center", color=INK, family="monospace", fontsize=8)
    before = 0
    for number, done in enumerate(passes):
        axes.text(-1.5, number * each + 0.5, str(done), ha="right", **style)
        for word, when, (row, left, width) in zip(words, steps, lines):
            top = number * each + row
            ground = HIDDEN if when > done else NEW if when > before else EARLIER
            if when > 0:
                box = (left, top + 0.08), width - 0.3, 0.84
                axes.add_patch(Rectangle(*box, facecolor=ground, linewidth=0))
            if when <= done:
                axes.text(left + (width - 0.3) / 2, top + 0.5, word, ha="center", **style)
        before = int(done)
    figure.savefig(path, dpi=130)
    return path
