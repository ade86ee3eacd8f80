"""Pictures of a text that a model wrote: what each token attends to, and what it is due to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.generation import generate
from transformers_jax.inspection.pictures import INK, LABELLED, MAX_SIDE, PAPER, draw_maps
from transformers_jax.models.base import Model
from transformers_jax.scoring.attributions import attributions
from transformers_jax.scoring.pairs import check_writes


def write(model: Model, ids: Sequence[int], count: int) -> list[int]:
    """The tokens that greedy search writes after a prompt (or in answer to a source), `count` at
    most.

    Raises:
        ValueError: a model that continues no texts, or one that ends before its first token.
    """
    check_writes(model, "--new")
    written = np.asarray(generate(model, np.array([ids]), max_new_tokens=count, do_sample=False))
    new = written[0, 1 if model.is_encoder_decoder else len(ids) :].tolist()
    if not new:
        raise ValueError(f"the model writes nothing behind these {len(ids)} tokens")
    return new


def draw_written(
    model: Model,
    ids: Sequence[int],
    new: Sequence[int],
    folder: Path,
    spell: Callable[[Sequence[int]], Sequence[str]],
    title: str,
) -> list[Path]:
    """Writes the attention of every layer and head over prompt and answer, and to which tokens each
    of the answer is due (attributions.png, decoder-attributions.png); returns the files.

    Args:
        ids: the prompt, or the source of an encoder-decoder.
        new: what was written, as `write` gives it.
        spell: tokens as labels.
    """
    why = attributions(model, ids, new)
    labels: Mapping[str, Sequence[str]] = {"stack": spell([*ids, *new])}
    inputs: dict[str, Any] = {"input_ids": np.array([[*ids, *new]])}
    if model.is_encoder_decoder:
        read = np.asarray(why["decoder_tokens"])
        inputs = {"input_ids": np.array([ids]), "decoder_input_ids": read[None]}
        labels = {"encoder": spell(ids), "decoder": spell(read.tolist())}
    drawn = draw_maps(model(**inputs, output_attentions=True), folder, labels, title)
    for prefix in ("", "decoder_"):
        values = why.get(f"{prefix}attributions")
        if values is None:
            continue
        path = folder / f"{prefix.replace('_', '-')}attributions.png"
        heading = f"{title}: what each token that was written is due to (input x gradient)"
        columns = spell(np.asarray(why[f"{prefix}tokens"]).tolist())
        draw_attributions(np.asarray(values), spell(new), columns, heading, path)
        drawn.append(path)
    return drawn


def draw_attributions(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, path: Path
) -> None:
    """One map: a row for each token that was written, a column for each that was read; blue where
    it makes the token likelier, red where it makes it less likely.

    Each row is divided by its largest value, since later tokens, which have more to read, would
    be pale otherwise.

    Shapes: values Float[U T].
    """
    from matplotlib.figure import Figure

    largest = np.abs(values).max(1, keepdims=True)
    shown = values / np.where(largest > 0, largest, 1)
    count, width = values.shape
    cell = min(0.3 if max(count, width) <= LABELLED else 0.08, MAX_SIDE / max(count, width))
    size = (max(width * cell + 2.5, 5.0), count * cell + 2.0)
    figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shown, cmap="RdBu", vmin=-1, vmax=1, aspect="equal")
    axes.set_title(title, loc="left", color=INK, fontsize=11, wrap=True)
    axes.spines[:].set_visible(False)
    font = float(np.clip(cell * 72 * 0.5, 4.0, 9.0))
    for axis, names, angle in ((axes.yaxis, rows, 0), (axes.xaxis, columns, 90)):
        some = names if len(names) <= LABELLED else []
        axis.set_ticks(range(len(some)), some, fontsize=font, color=INK, rotation=angle)
        axis.set_tick_params(length=0)
    axes.set_ylabel("written", color=INK, fontsize=9)
    axes.set_xlabel("read", color=INK, fontsize=9)
    bar = figure.colorbar(image, ax=axes, ticks=[-1, 0, 1], shrink=0.6, aspect=20)
    bar.ax.tick_params(length=2, labelsize=7, colors=INK)
    bar.outline.set_visible(False)
    figure.savefig(path, dpi=min(200, 4500 / max(size)))
