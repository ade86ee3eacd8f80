"""Objectives: the losses that training minimises.

    objective(model, batch, key) -> (loss, {name: (sum, weight)})

`model` is called with Hugging Face's keywords, `batch` is a dict of arrays with the rows in front
(or of dicts of them), and `key` is the noise of this step. `loss` is the mean over the batch that
is differentiated. Metrics are sums and weights, so that they average correctly over micro-batches
and devices. The entry `loss` is that of the loss: its weight is what the loss was divided by,
computed from labels and masks only. A loss that is a sum of several means has each of them there,
`{"loss": {part: (sum, weight), ...}}`, and each is reported by its name.

The loss is the sum of the means of its entry, sum / weight of each: nothing can hold an objective
to that without computing it twice. Otherwise what is reported is not what is differentiated, and a
step that accumulates differentiates the means of the entry, not the loss.

A loss that compares rows with one another is no mean over them: see objectives/pairs.py for
objectives in two stages. An objective may have `inputs(model, batch)`: the arguments for which
`model.check` checks a batch before it is sent to the device.

Losses over a vocabulary call the model with `output_unembedding=True`, so that logits are computed
a part of the vocabulary at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Key
from transformers_jax.inputs import labels as checks
from transformers_jax.models.base import Model
from transformers_jax.models.causal import reading_of, unattended, with_text_positions
from transformers_jax.nn.loss import (
    IGNORED,
    check_labels,
    cross_entropy,
    sum_of_means,
    vocabulary_loss,
)
from transformers_jax.objectives.diffusion import read_twice
from transformers_jax.objectives.metrics import Batch, LossAndMetrics, Objective, require
from transformers_jax.objectives.pairs import ComparesRows, contrastive, image_text
from transformers_jax.settings import Settings


@dataclass(frozen=True)
class Loss(Settings):
    """How a loss over a vocabulary is computed."""

    smoothing: float = 0.0
    """label smoothing: the probability shared by all tokens (Szegedy et al. 2015, section 7)"""
    z: float = 0.0
    """weight of the squared log of the softmax' denominator (PaLM, section 5: 1e-4)"""
    chunk: int | None = None
    """tokens of the vocabulary at a time; 0: all; by default all up to 2^25 logits a device"""
    vocab: int | None = None
    """rows of the output embedding that are tokens, where it was padded; by default all"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.smoothing < 1 or self.z < 0:
            raise ValueError(
                f"loss: smoothing ({self.smoothing}) must lie in [0, 1), z ({self.z}) be at least 0"
            )
        self.at_least("loss.", chunk=0, vocab=1)

    def of(self, unembedding: Any, labels: Array, weights: Array | None = None) -> LossAndMetrics:
        """(mean loss over the labels, what is reported of it), from the output embedding. With
        `weights` the mean is that of weighted losses over all tokens whose weight is above 0, with
        a label or without."""
        sums = vocabulary_loss(unembedding, labels, **vars(self), weights=weights)
        count = sums.count if weights is None else (weights > 0).sum().astype(jnp.float32)
        metrics = {"loss": (sums.total, count), "accuracy": (sums.correct, sums.count)}
        if self.smoothing or self.z:
            metrics["cross_entropy"] = (sums.entropy, count)
        if self.z:
            metrics["z_loss"] = (sums.z, count)
        return sums.total / jnp.maximum(count, 1.0), metrics


PLAIN = Loss()

Inputs = Callable[[Any, Mapping[str, Any]], list[Batch]]


def _with_inputs(inputs: Inputs) -> Callable[[Any], Any]:
    """Adds to an objective the function by which it derives the model's inputs from a batch."""

    def objective_with_inputs(objective: Any) -> Any:
        objective.inputs = inputs
        return objective

    return objective_with_inputs


def _whole(model: Any, batch: Batch) -> list[Batch]:
    return [batch]


def _shifted(model: Any, batch: Batch) -> list[Batch]:
    require(batch, "input_ids")
    return [{**read_inputs(batch), "labels": batch.get("labels", batch["input_ids"])[:, 1:]}]


def _without_pair_labels(model: Any, batch: Batch) -> list[Batch]:
    return [_pair_labels(batch)[1]]


def _pair_labels(batch: Batch) -> tuple[Array, Batch]:
    """The label of each pair of sentences, one per row, and the rest of the batch.

    Raises:
        ValueError: what the head refuses as its labels.
    """
    require(batch, "next_sentence_label")
    label = batch["next_sentence_label"]
    checks.labels("next_sentence_label", label, 2)
    read = [batch[name] for name in ("input_ids", "inputs_embeds") if name in batch]
    if read and np.ndim(read[0]):  # the model refuses what is no batch
        checks.per_row("next_sentence_label", label, np.shape(read[0])[0])
    rest = {name: value for name, value in batch.items() if name != "next_sentence_label"}
    return jnp.asarray(label).reshape(-1), rest


@_with_inputs(_shifted)
def causal_lm(model: Any, batch: Batch, key: Key | None, loss: Loss = PLAIN) -> LossAndMetrics:
    """Predicts every token from those before it: the mean of -log p(token), in nats.

    `input_ids` Int[B T] holds both inputs and targets: the model reads the first T - 1 tokens and
    predicts the last T - 1. `labels` Int[B T], if given, are the targets, in place (-100: ignored);
    everything else in the batch goes to the model, without its last column.

    With an `attention_mask` this is what `score` gives of each row: padding is no target (unless
    `labels` hold it) and predicts none, so that the first token after it is no target, and
    positions do not count it. Without labels, a token that those before it attend to (of a prefix)
    is no target. Where the config of a model with experts says `output_router_logits`, the balance
    loss of its routers is added, and reported as `router_loss`.
    """
    require(batch, "input_ids")
    routing = model.routing if isinstance(model, Model) else None
    routing = routing if routing is not None and routing.trains else None
    targets = causal_targets(batch)
    model, placed = with_text_positions(model, dict(batch))
    if "labels" not in batch and (free := unattended(reading_of(model), placed)) is not None:
        targets = jnp.where(free[:, 1:], targets, IGNORED)
    output = model(**read_inputs(placed), key=key, output_unembedding=True)
    return _with_routers(loss.of(output.unembedding, targets), routing, output, len(targets))


def read_inputs(batch: Batch) -> dict[str, Any]:
    """What a causal model reads: all columns but the last."""
    cut = jax.tree.map(lambda v: v[:, :-1] if jnp.ndim(v) > 1 else v, dict(batch))
    cut.pop("labels", None)
    if "pairs" in batch:
        cut["pairs"] = {name: pair[:, :-1, :-1] for name, pair in batch["pairs"].items()}
    return cut


def causal_targets(batch: Batch) -> Array:
    """The token that follows each position, or -100 where it is no target."""
    labels, mask = batch.get("labels"), batch.get("attention_mask")
    if labels is not None:
        check_labels(labels)
    targets = (batch["input_ids"] if labels is None else labels)[:, 1:]
    if mask is None:
        return targets
    counted = mask[:, :-1] > 0 if labels is not None else (mask[:, :-1] > 0) & (mask[:, 1:] > 0)
    return jnp.where(counted, targets, IGNORED)


@_with_inputs(_whole)
def masked_lm(model: Any, batch: Batch, key: Key | None, loss: Loss = PLAIN) -> LossAndMetrics:
    """Recovers the tokens at the positions of `labels` (Devlin et al. 2018, task 1)."""
    output, labels = _forward(model, batch, key)
    return loss.of(output.unembedding, labels)


@_with_inputs(lambda model, batch: [read_twice(batch)])
def masked_diffusion(
    model: Any, batch: Batch, key: Key | None, loss: Loss = PLAIN
) -> LossAndMetrics:
    """Recovers hidden tokens, each by its `weights` Float[B T], which are 0 outside of the text:
    per token of the text, a bound of -log p (objectives/diffusion.py). With `noised_ids` Int[B T]
    these are read behind `input_ids`, in the same rows."""
    require(batch, "labels", "weights")
    read, count = _forward(model, read_twice(batch), key)[0].unembedding, batch["labels"].shape[1]
    written = replace(read, features=read.features[:, -count:])  # the second copy, if there are two
    return loss.of(written, batch["labels"], batch["weights"])


@_with_inputs(_whole)
def seq2seq_lm(model: Any, batch: Batch, key: Key | None, loss: Loss = PLAIN) -> LossAndMetrics:
    """Predicts the target from the source: `labels` Int[B T] are the tokens that are predicted.

    Without `decoder_input_ids` the model makes them from the labels, shifted by one to the right.
    The auxiliary load-balancing loss of routers of experts is added (Fedus et al. 2021, section
    2.2) and reported as `router_loss`.
    """
    require(batch, "labels")
    extra: dict[str, Any] = {} if "decoder_input_ids" in batch else {"labels": batch["labels"]}
    routing = model.routing if isinstance(model, Model) else None
    extra |= {} if routing is None else {"output_router_logits": True}
    output, labels = _forward(model, batch, key, **extra)
    of_words = loss.of(output.unembedding, labels)
    return _with_routers(of_words, routing, output, len(output.encoder_last_hidden_state))


def _with_routers(of_words: LossAndMetrics, routing: Any, output: Any, rows: int) -> LossAndMetrics:
    """A loss over a vocabulary, and what the routers of experts add to it."""
    if routing is None:
        return of_words
    _, metrics = of_words
    terms = {"word_loss": metrics["loss"], "router_loss": routing.term(output, rows)}
    return sum_of_means(terms), {"cross_entropy": metrics["loss"], **metrics, "loss": terms}


PAIR_LOGITS = ("seq_relationship_logits", "sop_logits")
"""The names of the logits of two sentences: BERT's and ALBERT's."""


@_with_inputs(_without_pair_labels)
def pretraining(model: Any, batch: Batch, key: Key | None, loss: Loss = PLAIN) -> LossAndMetrics:
    """BERT's (or ALBERT's) two tasks: the mean over masked tokens plus the mean over pairs of
    sentences.

    `next_sentence_label` Int[B]: 0 where the second sentence follows the first (or, to ALBERT,
    where the two are in order).

    Raises:
        ValueError: not one label per row, or one that is neither 0, 1 nor -100 (ignored).
    """
    pairs, batch = _pair_labels(batch)
    output, labels = _forward(model, batch, key)
    metrics = loss.of(output.unembedding, labels)[1]
    logits = next(output[name] for name in PAIR_LOGITS if name in output)
    total, count = cross_entropy(logits, pairs)
    right = (logits.argmax(-1) == pairs) & (pairs != IGNORED)
    terms = {"masked_lm": metrics["loss"], "next_sentence": (total, count)}
    accuracy = {"next_sentence_accuracy": (right.sum().astype(jnp.float32), count)}
    return sum_of_means(terms), {**metrics, "loss": terms, **accuracy}


@_with_inputs(_whole)
def replaced_token(model: Any, batch: Batch, key: Key | None, loss: Loss = PLAIN) -> LossAndMetrics:
    """ELECTRA (Clark et al. 2020, section 2): a generator fills masks, a discriminator detects
    which tokens it replaced. The model holds both and computes its own losses."""
    if loss != PLAIN:
        raise ValueError(f"loss={loss}: ELECTRA's model computes its own losses; leave it out")
    output = model(**batch, key=key)
    tokens = output.token_count
    discriminator = output.discriminator_loss * tokens, tokens
    return output.loss, {"loss": output.loss_terms, "discriminator_loss": discriminator}


@_with_inputs(_whole)
def supervised(model: Any, batch: Batch, key: Key | None) -> LossAndMetrics:
    """The loss that the model's own head computes from its labels: fine-tuning of any kind.

    Labels are taken as they are: all but -100 count, also where a mask says padding.

    Raises:
        ValueError: a model whose output does not say what its loss is a mean over.
    """
    output = model(**batch, key=key)
    terms = getattr(output, "loss_terms", None)
    if "logits_per_text" in output:
        raise ValueError("this model compares the rows of a whole batch: train it by tj.image_text")
    if terms is None:
        came = f"an output of {', '.join(output)}" if isinstance(output, Mapping) else type(output)
        raise ValueError(
            f"tj.supervised needs the output of a model that was given labels: its loss, and in "
            f"loss_terms what that is a mean over; {came} came. Give the batch labels= (or what "
            "else the head is trained on), or write an objective of your own"
        )
    return output.loss, {"loss": terms if len(terms) > 1 else next(iter(terms.values()))}


# ---------------------------------------------------------------- by name


LOSSES: dict[str, Callable[..., LossAndMetrics]] = {
    "causal_lm": causal_lm,
    "masked_lm": masked_lm,
    "masked_diffusion": masked_diffusion,
    "pretraining": pretraining,
    "seq2seq_lm": seq2seq_lm,
    "replaced_token": replaced_token,
    "supervised": supervised,
    "contrastive": contrastive,
    "image_text": image_text,
}


@dataclass(frozen=True)
class Named:
    """An objective by its name in `LOSSES`."""

    name: str
    loss: Loss = PLAIN

    def __call__(self, model: Any, batch: Batch, key: Key | None) -> LossAndMetrics:
        return LOSSES[self.name](model, batch, key, *([] if self.loss == PLAIN else [self.loss]))

    def inputs(self, model: Any, batch: Batch) -> list[Batch]:
        """What the model is called with, and the labels."""
        return LOSSES[self.name].inputs(model, batch)  # type: ignore[attr-defined]


def objective(name: str, loss: Loss = PLAIN) -> Objective:
    """The objective called `name`, its vocabulary loss computed as `loss` says.

    Raises:
        ValueError: there is none of this name; it has no loss over a vocabulary.
    """
    if name not in LOSSES:
        raise ValueError(f"objective {name!r} is unknown; the objectives are {', '.join(LOSSES)}")
    by_name = LOSSES[name]
    if (name == "supervised" or isinstance(by_name, ComparesRows)) and loss != PLAIN:
        raise ValueError(
            f"loss={loss}: the model's own head computes the loss of 'supervised', and "
            "'contrastive' and 'image_text' compare vectors; none is over a vocabulary: leave it "
            "out"
        )
    return by_name if isinstance(by_name, ComparesRows) else Named(name, loss)


def _forward(model: Any, batch: Batch, key: Key | None, **more: Any) -> tuple[Any, Array]:
    """The model's output, and the labels."""
    require(batch, "labels")
    check_labels(batch["labels"])  # before the model runs
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return model(**inputs, **more, key=key, output_unembedding=True), batch["labels"]
