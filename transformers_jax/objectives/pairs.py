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

from transformers_jax.arrays import Array, Bool, Float, Key, wide
from transformers_jax.nn.head.contrastive import check_pairs
from transformers_jax.nn.norm import unit
from transformers_jax.nn.pair_loss import Pairs, sigmoid_loss, softmax_loss
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
        chunk: how many rows of similarities are in memory at a time; None: all.
    """

    scale: float = 20.0
    similarity: Literal["cosine", "dot"] = "cosine"
    symmetric: bool = False
    chunk: int | None = None

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
        pairs = Pairs(anchor, jnp.concatenate(others), self.scale, known=known)
        back = Pairs(others[0], anchor, self.scale, known=known) if self.symmetric else None
        return _info_nce(pairs, back, self.chunk)


@dataclass(frozen=True)
class ImageText(ComparesRows):
    """The loss of a dual encoder, whose rows are compared with those of the whole batch by cosines
    times the scale that the model learns. A batch holds the arguments of the model, pair by pair.

    Of CLIP each text is to find its own image, and each image its text (Radford et al. 2021,
    section 2.3). Of SigLIP, which learns a bias as well, each pair is judged by itself (Zhai et al.
    2023, section 3.2).

    Attributes:
        chunk: how many rows of scores are in memory at a time, so that it is linear in the batch;
            None: all, which is quadratic.
    """

    chunk: int | None = None

    def vectors(self, model: Any, batch: Batch, key: Key | None) -> Vectors:
        """Those of texts and images, and in every row what the head learned: the scale, and the
        bias where it has one."""
        output = model(**batch, key=key)
        if "text_embeds" not in output or "image_embeds" not in output:
            raise ValueError("this model does not compare texts with images; load CLIP whole")
        text, image = output.text_embeds, output.image_embeds
        check_pairs(len(text), len(image))
        learned = [x for x in (model.head.factor(), model.head.offset()) if x is not None]
        return [text, image, jnp.broadcast_to(jnp.stack(learned), (len(text), len(learned)))]

    def of(self, vectors, known=None, labels=None):
        """(mean loss, what is reported of it) of texts, images and what the head learned."""
        text, image, learned = floats(vectors)
        scale, *bias = learned.mean(0)
        if not bias:
            pairs = (Pairs(text, image, scale, known=known), Pairs(image, text, scale, known=known))
            return _info_nce(*pairs, self.chunk)
        pair = Pairs(text, image, scale, bias[0], known)
        (loss, right), count = sigmoid_loss(pair, self.chunk), _count(pair)
        return loss / count, {"loss": (loss, count), "accuracy": (right, count)}

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
"""The loss of CLIP, or of SigLIP (see `ImageText`)."""


def floats(vectors: Vectors) -> list[Float[Array, "B E"]]:
    """The vectors in float32, or float64 where they are."""
    return [x.astype(wide(x)) for x in vectors]


def check_shapes(vectors: Vectors, least: int) -> None:
    """Raises ValueError unless there are so many parts, of one shape."""
    if len({v.shape for v in vectors}) > 1 or len(vectors) < least:
        shapes = ", ".join(str(v.shape) for v in vectors)
        number = {2: "two", 3: "three"}[least]
        raise ValueError(f"vectors have shapes {shapes}; expected {number} or more of one shape")


def _info_nce(pairs: Pairs, back: Pairs | None, chunk: int | None) -> LossAndMetrics:
    """(mean of -log p of each row's own candidate, what is reported of it), the mean of both
    directions where there are the pairs of the way `back`."""
    loss, right = softmax_loss(pairs, chunk)
    if back is not None:
        loss = (loss + softmax_loss(back, chunk)[0]) / 2
    count = _count(pairs)
    return loss / count, {"loss": (loss, count), "accuracy": (right, count)}


def _count(pairs: Pairs) -> Float[Array, ""]:
    """How many rows count, at least one."""
    if pairs.known is None:
        return jnp.float32(len(pairs.rows))
    return jnp.maximum(pairs.known.sum(), 1).astype(jnp.float32)


def sum_of_known(values: Array, known: Bool[Array, " N"] | None) -> Float[Array, ""]:
    """The sum over rows, of those that are known."""
    values = values.astype(wide(values)) if values.dtype != bool else values.astype(jnp.float32)
    return (values if known is None else jnp.where(known, values, 0.0)).sum()
