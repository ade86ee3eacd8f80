"""Families of `train.gallery` that know a structure: what touches what, what imports what.

ESM fills in residues of `generated:coevolution`, whose contacts are known; a graph attention
network names the packages of `generated:imports`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import transformers_jax as tj
from transformers_jax.data.generated import coevolution, imports
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.metrics import contact_precision
from transformers_jax.nn.contacts import contact_maps
from transformers_jax.runs.plots import new_figure, save_figure

HIDDEN = 0.15  # of the residues
MASK = 32  # the token of a hidden residue
MODULE, MOST = "unittest.mock", 16  # whose edges are drawn, and how many of them at most


@functools.cache
def proteins(split: str) -> np.ndarray:
    """Int[N T]: the proteins of a split, as tokens."""
    tokenizer = train_tokenizer("residues", [], 33)
    return np.asarray(
        tokenizer.batch([one["text"] for one in coevolution.records(split)])["input_ids"]
    )


@functools.cache
def graph() -> tuple[dict[str, Any], list[str], list[str]]:
    """(the arguments of a call, names of the nodes, names of the classes)."""
    (record,) = imports.records("train")
    classes = sorted({one for one in record["label"] if one})
    labels = np.array([classes.index(one) if one else -100 for one in record["label"]])
    inputs = {"x": record["x"], "edge_index": record["edge_index"], "labels": labels}
    return inputs, record["name"], classes


def batch(kind: str, seed: int, rows: int = 64) -> dict[str, Any]:
    """The arguments of a call: a pure function of the seed."""
    if kind == "names nodes":
        return graph()[0]
    rng, every = np.random.default_rng(seed), proteins("train")
    ids = every[rng.integers(len(every), size=rows)]
    hidden = rng.random(ids.shape) < HIDDEN
    hidden[:, [0, -1]] = False
    return {
        "input_ids": np.where(hidden, MASK, ids),
        "attention_mask": np.ones_like(ids),
        "labels": np.where(hidden, ids, -100),
    }


@dataclass(frozen=True)
class Structured:
    """What is trained for a family of structures.

    Attributes:
        config: makes the config.
        head: of the model.
        kind: of batches (`batch`).
        steps: of training.
    """

    config: Callable[[], Any]
    head: str
    kind: str
    steps: int


STRUCTURED = {
    "esm": Structured(
        lambda: tj.EsmConfig(
            num_hidden_layers=2, num_attention_heads=4, hidden_size=64, intermediate_size=128,
            max_position_embeddings=64, pad_token_id=1, mask_token_id=MASK, token_dropout=True,
            emb_layer_norm_before=True, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
        "masked_lm", "fills in residues", steps=1000,
    ),
    "gat": Structured(
        lambda: tj.GatConfig(
            in_channels=imports.WORDS, hidden_channels=32, num_layers=2,
            out_channels=len(graph()[2]), heads=4, act="elu",
        ),
        "node_classification", "names nodes", steps=150,
    ),
}  # fmt: skip


def draw(name: str, model: Any, path: Path) -> None:
    """Writes the figure of a family."""
    (draw_contacts if name == "esm" else draw_edges)(model, path)


def draw_contacts(model: Any, path: Path) -> None:
    """The corrected attention of all heads between the residues of proteins that were in no batch,
    a mean over the proteins, beside the pairs that touch."""
    ids = proteins("test")
    weights = model(input_ids=ids, output_attentions=True).attentions
    maps = np.asarray(contact_maps(weights, jnp.ones(ids.shape, bool))).mean((0, 1))
    true, known = coevolution.contacts(), np.zeros_like(maps)
    known[tuple(zip(*true, strict=True))] = 1
    share = contact_precision(maps, true, len(true))
    figure, (left, right) = new_figure(9, 4.4, columns=2)
    far = np.abs(np.subtract.outer(*[np.arange(len(maps))] * 2)) >= coevolution.APART
    left.imshow(maps * far, cmap="Blues", vmin=0, vmax=np.quantile(maps[far], 0.995))
    left.set_title(f"attention: {share:.0%} of the {len(true)} darkest pairs touch", fontsize=10)
    right.imshow(known + known.T, cmap="Blues")
    right.set_title("pairs that touch", fontsize=10)
    for axes in (left, right):
        axes.grid(visible=False)
        axes.set(xlabel="residue", ylabel="residue")
    save_figure(figure, path)


def draw_edges(model: Any, path: Path) -> None:
    """What the last layer attends to in one module's neighbours, and which package each is said to
    belong to."""
    inputs, names, classes = graph()
    given = {name: x for name, x in inputs.items() if name != "labels"}
    out = model(**given, output_attentions=True)
    source, target = np.asarray(out.attention_edges)
    chosen = names.index(MODULE)
    of_node = (target == chosen) & (source != chosen)
    weights = np.asarray(out.attentions[-1])[of_node].mean(-1)
    order = np.argsort(-weights)[:MOST]
    near, weights = source[of_node][order], weights[order]
    said = np.asarray(out.logits).argmax(-1)
    angle = 2 * np.pi * np.arange(len(near)) / len(near)
    places = np.stack([np.cos(angle), np.sin(angle)], 1)
    figure, (axes,) = new_figure(7, 6)
    for (x, y), weight in zip(places, weights):
        axes.plot(
            [0, x], [0, y], color="0.3", lw=0.5 + 10 * weight / weights.max(), zorder=1, alpha=0.6
        )
    for number, package in enumerate(classes):
        some = [(x, y) for (x, y), node in zip(places, near) if said[node] == number]
        some += [(0.0, 0.0)] if said[chosen] == number else []
        if some:
            axes.scatter(*np.array(some).T, s=90, color=f"C{number}", label=package, zorder=2)
    for (x, y), node in zip(places, near):
        across = "left" if x > 0.1 else "right" if x < -0.1 else "center"
        axes.text(1.08 * x, 1.08 * y, names[node], ha=across, va="center", fontsize=8)
    axes.text(0, -0.1, MODULE, ha="center", va="top", fontsize=9)
    axes.set(xlim=(-1.8, 1.8), ylim=(-1.3, 1.3))
    axes.axis("off")
    save_figure(figure, path)
