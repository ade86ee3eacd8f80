"""Heads of audio: text by connectionist temporal classification, classes of frames, speakers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, wide
from transformers_jax.inputs import checks
from transformers_jax.inputs import labels as check
from transformers_jax.nn.affine import affine
from transformers_jax.nn.ctc import ctc_loss
from transformers_jax.nn.head.base import Dense, Head, loss_of, scored
from transformers_jax.nn.head.classify import TokenClassification
from transformers_jax.nn.loss import cross_entropy
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import unit
from transformers_jax.nn.param import param


class CTC(Head):
    """Logits of each frame over the symbols of a text and a blank (Graves et al. 2006).

    The loss of a row is -log p(labels). By `reduction` the loss of a batch is their "sum", or the
    "mean" over rows of each divided by the number of its labels. A sum is no mean over anything: a
    step that accumulates micro-batches differentiates the mean of their sums.

    Args:
        blank: the class of frames at which no symbol begins; labels of it are none.
        zero_infinity: whether rows whose text does not fit into their frames count 0, not infinity.
    """

    predicts_ids = False

    def __init__(
        self,
        vocab: int,
        width: int,
        initial: spec.Initial,
        *,
        blank: int,
        reduction: Literal["sum", "mean"],
        zero_infinity: bool = False,
        rate: float = 0.0,
    ):
        self.vocab, self.blank, self.rate = vocab, blank, rate
        self.reduction, self.zero_infinity = reduction, zero_infinity
        self.classify = Dense(width, vocab, "vocab", initial)

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.labels("labels", labels, self.vocab, 2)
            check_rows(labels, shape[0])

    def __call__(self, x, inputs, *, labels=None):
        logits = self.classify(dropout(x, self.rate, inputs.key))
        if labels is None:
            return {"logits": logits}
        rows, frames = logits.shape[:2]
        whole = jnp.full((rows,), frames, jnp.int32)
        lengths = whole if inputs.valid is None else inputs.valid.sum(-1).astype(jnp.int32)
        losses, count = ctc_loss(logits, lengths, labels, self.blank)
        if self.zero_infinity:
            losses = jnp.where(jnp.isinf(losses), 0.0, losses)
        if self.reduction == "mean":
            losses = losses / jnp.maximum(count, 1)
        of = rows if self.reduction == "mean" else 1
        return {**loss_of(loss=(losses.sum(), jnp.float32(of))), "logits": logits}


class FrameClassification(TokenClassification):
    """A class of each frame. Labels are classes, Int[B T] (-100: none), or a row of numbers for
    each frame, [B T N], of which the largest is its class, as in the reference."""

    def check(self, arguments, shape, like="the input"):
        labels = arguments.get("labels")
        if labels is not None and np.ndim(labels) > 1:
            check_rows(labels, shape[0])
        if labels is not None and np.ndim(labels) == 3:
            checks.same_shape("labels", labels, (*shape, self.count), like)
        else:
            super().check(arguments, shape, like)

    def __call__(self, x, inputs, *, labels=None):
        if labels is not None and labels.ndim == 3:
            labels = labels.argmax(-1).astype(jnp.int32)
        return super().__call__(x, inputs, labels=labels)


class OfEveryLayer(Head):
    """A head that reads a learned mean of the states of all layers (Yang et al. 2021, SUPERB,
    section 3)."""

    collects = frozenset({"hidden"})

    def __init__(self, head: Head, states: int):
        self.labels, self.rank = head.labels, head.rank
        self.weights = param("state", {"state": states}, spec.Draw("constant", 1 / states))
        self.of = head

    def check(self, arguments, shape, like="the input"):
        self.of.check(arguments, shape, like)

    def flops(self, tokens, table):
        return self.of.flops(tokens, table)

    def __call__(self, x, inputs, **labels: Any):
        weights = jax.nn.softmax(self.weights[...].astype(wide(x)))
        states = jnp.stack(inputs.hidden)
        mean = jnp.einsum("s,sbtd->btd", weights, states.astype(weights.dtype))
        return self.of(mean.astype(x.dtype), inputs, **labels)


class XVector(Head):
    """The vector of a speaker, and scores of speakers (Snyder et al. 2018): time-delay layers, mean
    and deviation over time, two projections. The loss is that of an additive margin (Wang et al.
    2018, AM-Softmax): cosines with learned vectors, the right one less `MARGIN`, times `SCALE`."""

    SCALE, MARGIN = 30.0, 0.4

    def __init__(
        self,
        width: int,
        sizes: Sequence[int],
        taps: Sequence[int],
        dilations: Sequence[int],
        out: int,
        count: int,
        initial: spec.Initial,
    ):
        self.count, self.taps = count, tuple(taps)
        self.project = Dense(width, sizes[0], "inner", initial)
        before = (sizes[0], *sizes)
        each = zip(before, sizes, taps, dilations)
        self.layers = nnx.List([TimeDelay(*of, initial) for of in each])
        self.embed = Dense(2 * sizes[-1], out, "inner", initial)
        self.classify = Dense(out, out, "label", initial)
        speakers = {"embed": out, "label": count}
        self.speakers = param("embed label", speakers, spec.Draw("normal", 1.0))

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.labels("labels", labels, self.count)
            check.per_row("labels", labels, shape[0])

    def __call__(self, x, inputs, *, labels=None):
        x = self.project(x)
        for layer in self.layers:
            x = layer(x)
        counted = None
        if inputs.valid is not None:  # as the reference counts: dilations are left out
            shorter = sum(taps - 1 for taps in self.taps)
            lengths = inputs.valid.sum(-1) - shorter
            counted = jnp.arange(x.shape[1]) < jnp.minimum(lengths, x.shape[1])[:, None]
        embeddings = self.embed(_mean_and_deviation(x, counted))
        logits = self.classify(embeddings)
        fields = scored(logits, None if labels is None else labels.reshape(-1), self._loss)
        return {**fields, "embeddings": embeddings}

    def _loss(self, logits: Array, labels: Array) -> Any:
        logits = logits.astype(wide(logits))
        speakers = self.speakers[...].astype(logits.dtype)
        cosines = unit(logits) @ unit(speakers.T).T
        right = jax.nn.one_hot(labels, self.count, dtype=cosines.dtype)
        return cross_entropy(self.SCALE * (cosines - self.MARGIN * right), labels)


class TimeDelay(nnx.Module):
    """relu(W * x + b) over `taps` frames that lie `dilation` apart (Peddinti et al. 2015)."""

    def __init__(self, before: int, size: int, taps: int, dilation: int, initial: spec.Initial):
        self.taps, self.dilation = taps, dilation
        sizes = {"taps": taps, "inner": before, "embed": size}
        self.weight = param("taps inner embed", sizes, initial.draw("taps", sizes))
        self.bias = param("embed", sizes, spec.ZEROS)

    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B S D"]:
        steps = x.shape[1] - (self.taps - 1) * self.dilation
        first = [tap * self.dilation for tap in range(self.taps)]
        x = jnp.stack([x[:, start : start + steps] for start in first], axis=2)
        return jax.nn.relu(affine("btkc,kcd->btd", x, self.weight, self.bias))


def check_rows(labels: Any, rows: int) -> None:
    """Raises ValueError for labels of another number of rows."""
    if np.shape(labels)[0] != rows:
        raise ValueError(
            f"labels has shape {np.shape(labels)}; expected {rows} rows for {rows} rows of input"
        )


def _mean_and_deviation(
    x: Float[Array, "B T D"], counted: Bool[Array, "B T"] | None
) -> Float[Array, "B E"]:
    """Mean and (unbiased) standard deviation of each row's frames, side by side."""
    y = x.astype(wide(x))
    weights = jnp.ones(x.shape[:2]) if counted is None else counted
    weights = weights.astype(y.dtype)[..., None]
    number = weights.sum(1)
    mean = (y * weights).sum(1) / number
    squares = (jnp.square(y - mean[:, None]) * weights).sum(1) / (number - 1)
    # the gradient of a root at zero is infinite
    deviation = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return jnp.concatenate([mean, deviation], axis=-1).astype(x.dtype)
