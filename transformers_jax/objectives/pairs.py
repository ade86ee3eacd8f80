"""Objectives on the vectors of rows that belong together: fine-tuning of models of sentences.

A batch has a dict of inputs per part: {"anchor": {"input_ids": ..., "attention_mask": ...},
"positive": {...}, ...}; further parts, of any name, are negatives, one for each anchor. The model
is one with head="embedding", or anything else whose output has a `sentence_embedding`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED, Array, Bool, Float, Key, wide
from transformers_jax.nn.head.contrastive import check_pairs
from transformers_jax.nn.norm import unit
from transformers_jax.objectives.metrics import Batch, LossAndMetrics, Metrics, require

Vectors = Sequence[Float[Array, "B E"]]


class ComparesRows:
    """An objective in two stages: the vectors of the rows, and a loss `of` all of them. A step that
    accumulates makes the vectors of each micro-batch and computes the loss over the whole batch."""

    def __call__(self, model: Any, batch: Batch, key: Key | None) -> LossAndMetrics:
        return self.of(self.vectors(model, batch, key))

    def vectors(self, model: Any, batch: Batch, key: Key | None) -> Vectors:
        """Those of all parts of a batch: anchors, positives, then negatives by their names.

        Raises:
            ValueError: a batch without anchor and positive, or a model without sentence_embedding.
        """
        form = ": it is {'anchor': inputs, 'positive': inputs}, and negatives under further names"
        require(batch, "anchor", "positive", expected=form)
        negatives = sorted(name for name in batch if name not in ("anchor", "positive"))
        names = ("anchor", "positive", *negatives)
        keys = [None] * len(names) if key is None else jax.random.split(key, len(names))
        outputs = [model(**batch[name], key=own) for name, own in zip(names, keys)]
        if any("sentence_embedding" not in output for output in outputs):
            raise ValueError(
                "this model makes no sentence_embedding; load it with head='embedding'"
            )
        return [output["sentence_embedding"] for output in outputs]

    def of(
        self,
        vectors: Vectors,
        known: Bool[Array, " B"] | None = None,
        labels: Float[Array, " B"] | None = None,
    ) -> LossAndMetrics:
        """(mean loss, what is reported of it).

        Args:
            known: which rows count; the others fill a batch up. None: all.
            labels: how alike the texts of each row are, for losses that are told it.
        """
        raise NotImplementedError

    def inputs(self, model: Any, batch: Batch) -> list[Batch]:
        """What the model is called with."""
        return [part for part in batch.values() if isinstance(part, Mapping)]


@dataclass(frozen=True)
class Contrastive(ComparesRows):
    """InfoNCE: each anchor is to find its own positive among those of the whole batch and all
    negatives, by a softmax over similarities (van den Oord et al. 2018, equation 4; in-batch
    negatives of Henderson et al. 2017, known as MultipleNegativesRankingLoss).

    With a key and `positive` the same as `anchor` it is SimCSE (Gao et al. 2021): dropout makes
    the two differ. Negatives are those of the whole batch, also where a step accumulates.

    Attributes:
        scale: multiplies similarities: one over the temperature.
        similarity: "cosine" or "dot".
        symmetric: whether each positive is to find its anchor as well; the loss is the mean of
            both directions (Radford et al. 2021).
    """

    scale: float = 20.0
    similarity: Literal["cosine", "dot"] = "cosine"
    symmetric: bool = False

    def __post_init__(self):
        if self.similarity not in ("cosine", "dot") or self.scale <= 0:
            raise ValueError(
                f"similarity={self.similarity!r}, scale={self.scale}: expected 'cosine' or 'dot', "
                "and a scale above 0"
            )

    def of(self, vectors, known=None, labels=None):
        """(mean loss, what is reported of it) of anchors, positives and negatives."""
        check_shapes(vectors, least=2)
        cosine = self.similarity == "cosine"
        anchor, *others = (unit(x) if cosine else x for x in floats(vectors))
        scores = _scores(anchor, jnp.concatenate(others)) * self.scale
        back = _scores(others[0], anchor) * self.scale if self.symmetric else None
        return _info_nce(scores, back, known)


@dataclass(frozen=True)
class ImageText(ComparesRows):
    """The loss of a dual encoder (CLIP, Radford et al. 2021, section 2.3): each text is to find its
    own image among those of the whole batch, and each image its text, by cosines times the scale
    that the model learns. A batch holds the arguments of the model, pair by pair."""

    def vectors(self, model: Any, batch: Batch, key: Key | None) -> Vectors:
        """Those of texts and images, and the scale in every row."""
        output = model(**batch, key=key)
        if "text_embeds" not in output or "image_embeds" not in output:
            raise ValueError("this model does not compare texts with images; load CLIP whole")
        text, image = output.text_embeds, output.image_embeds
        check_pairs(len(text), len(image))
        return [text, image, jnp.broadcast_to(model.head.factor(), (len(text), 1))]

    def of(self, vectors, known=None, labels=None):
        """(mean loss, what is reported of it) of texts, images and scales."""
        text, image, scale = floats(vectors)
        scores = _scores(text, image) * scale.mean()
        return _info_nce(scores, scores.T, known)

    def inputs(self, model: Any, batch: Batch) -> list[Batch]:
        """What the model is called with."""
        return [batch]


@dataclass(frozen=True)
class Matryoshka(ComparesRows):
    """A loss of vectors and of their beginnings, each of length one again (see `matryoshka`)."""

    loss: ComparesRows
    dims: tuple[int, ...]
    weights: tuple[float, ...]

    def of(self, vectors, known=None, labels=None):
        """(weighted sum of the losses, what is reported of each)."""
        width = vectors[0].shape[-1]
        if max(self.dims) > width:
            raise ValueError(f"matryoshka: dims {self.dims} of vectors that have {width} numbers")
        total: Float[Array, ""] = jnp.zeros((), wide(*vectors))
        metrics: Metrics = {}
        for dim, weight in zip(self.dims, self.weights):
            beginnings = [unit(x[:, :dim]) for x in floats(vectors)]
            loss, figures = self.loss.of(beginnings, known, labels)
            total = total + weight * loss
            metrics |= {f"{name}_{dim}": figure for name, figure in figures.items()}
        count = metrics[f"loss_{self.dims[0]}"][1]
        return total, {"loss": (total * count, count), **metrics}


def matryoshka(
    loss: ComparesRows, dims: Sequence[int], weights: Sequence[float] | None = None
) -> Matryoshka:
    """An objective by which the first d numbers of a vector, for each d of `dims`, are a vector of
    their own: the weighted sum of a loss on each (Kusupati et al. 2022, equation 1).

        tj.matryoshka(tj.contrastive, (768, 256, 64))

    Raises:
        ValueError: no dims, dims below 1 or twice, or not a weight for each.
    """
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    weights = (1.0,) * len(dims) if weights is None else tuple(weights)
    if not dims or min(dims) < 1 or len(set(dims)) < len(dims) or len(weights) != len(dims):
        raise ValueError(
            f"matryoshka: dims {dims}, weights {weights}; expected different dims of at least 1, "
            "and a weight for each"
        )
    if not callable(getattr(loss, "of", None)):
        raise ValueError(
            f"matryoshka: {loss!r} has no `of(vectors)`; give tj.contrastive, or Contrastive(...)"
        )
    return Matryoshka(loss, dims, weights)


contrastive = Contrastive()
"""InfoNCE at a temperature of 0.05 over cosines (see `Contrastive`)."""

image_text = ImageText()
"""The loss of CLIP (see `ImageText`)."""


def floats(vectors: Vectors) -> list[Float[Array, "B E"]]:
    """The vectors in float32, or float64 where they are."""
    return [x.astype(wide(x)) for x in vectors]


def check_shapes(vectors: Vectors, least: int) -> None:
    """Raises ValueError unless there are so many parts, of one shape."""
    if len({v.shape for v in vectors}) > 1 or len(vectors) < least:
        shapes = ", ".join(str(v.shape) for v in vectors)
        number = {2: "two", 3: "three"}[least]
        raise ValueError(f"vectors have shapes {shapes}; expected {number} or more of one shape")


def _scores(a: Float[Array, "N E"], b: Float[Array, "M E"]) -> Float[Array, "N M"]:
    return jnp.einsum("ne,me->nm", a, b, precision="highest")


def _info_nce(
    scores: Float[Array, "N M"],
    back: Float[Array, "N N"] | None = None,
    known: Bool[Array, " N"] | None = None,
) -> LossAndMetrics:
    """(mean of -log p of each row's own column, what is reported of it), the mean of both
    directions where there are the scores of the way `back`; over the rows that are known, which
    alone are candidates."""
    own, count = jnp.arange(len(scores)), jnp.float32(len(scores))
    if known is not None:
        count = jnp.maximum(known.sum(), 1).astype(jnp.float32)
        scores = jnp.where(jnp.tile(known, scores.shape[1] // len(scores)), scores, MASKED)
        back = None if back is None else jnp.where(known, back, MASKED)
    loss = _misses(scores, own, known)
    if back is not None:
        loss = (loss + _misses(back, own, known)) / 2
    right = sum_of_known(scores.argmax(1) == own, known)
    return loss / count, {"loss": (loss, count), "accuracy": (right, count)}


def _misses(
    scores: Float[Array, "N M"], own: Array, known: Bool[Array, " N"] | None
) -> Float[Array, ""]:
    """The sum of -log p(own) of each row."""
    picked = jnp.take_along_axis(scores, own[:, None], axis=1)[:, 0]
    return sum_of_known(jax.nn.logsumexp(scores, axis=1) - picked, known)


def sum_of_known(values: Array, known: Bool[Array, " N"] | None) -> Float[Array, ""]:
    """The sum over rows, of those that are known."""
    values = values.astype(wide(values)) if values.dtype != bool else values.astype(jnp.float32)
    return (values if known is None else jnp.where(known, values, 0.0)).sum()
