"""Objectives: what a step of training makes smaller.

    objective(model, batch, key) -> (loss, {name: (sum, weight)})

`model` is called with Hugging Face's keywords, `batch` is a dict of arrays with the rows in front
(or of dicts of them), and `key` is the noise of this step. `loss` is the mean over the batch that
is differentiated. Metrics are sums and weights, so that they average correctly over micro-batches
and devices; the weight of the entry `loss` also says how much the batch counts when gradients are
accumulated. An objective that is a sum of means names them in `parts`.

Losses over a vocabulary ask the model for `output_unembedding=True`: no logits are made that the
loss does not need at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Key
from transformers_jax.models.inputs import unseen
from transformers_jax.nn.loss import IGNORED, VocabularyLoss, cross_entropy, vocabulary_loss
from transformers_jax.objectives.pairs import contrastive

Metrics = dict[str, tuple[Float[Array, ""], Float[Array, ""]]]
Objective = Callable[[Any, Mapping[str, Array], Key | None], tuple[Float[Array, ""], Metrics]]


@dataclass(frozen=True)
class Loss:
    """How a loss over a vocabulary is computed."""

    smoothing: float = 0.0
    """the part of the answer that is spread over all words (Szegedy et al. 2015, section 7)"""
    z: float = 0.0
    """weight of the squared log of the softmax' denominator (PaLM, section 5: 1e-4)"""
    chunk: int | None = None
    """words at a time; 0: all at once; by default all while a device has at most 2^25 logits"""
    vocab: int | None = None
    """rows of the table that are words, where it was padded; by default all"""

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1 or self.z < 0:
            raise ValueError(
                f"loss: smoothing ({self.smoothing}) must lie in [0, 1), z ({self.z}) be at least 0"
            )

    def of(self, words: Any, labels: Array) -> VocabularyLoss:
        """The sums over the labels, from what the model says of its words."""
        return vocabulary_loss(
            words, labels, smoothing=self.smoothing, z=self.z, chunk=self.chunk, vocab=self.vocab
        )


PLAIN = Loss()


def causal_lm(
    model: Any, batch: Mapping[str, Any], key: Key | None, loss: Loss = PLAIN
) -> tuple[Float[Array, ""], Metrics]:
    """Predicts every token from those before it: the mean of -log p(token), in nats.

    `input_ids` Int[B T] holds both questions and answers: the model reads the first T - 1 tokens
    and is asked for the last T - 1. `labels` Int[B T], if given, say what the answers are, in place
    (-100: not asked); everything else in the batch goes to the model, without its last column.
    Without labels, a token that those before it attend to (of a prefix) is not asked for.
    """
    ids = batch["input_ids"]
    answers = batch.get("labels", ids)[:, 1:]
    if "labels" not in batch and (askable := unseen(model, batch)) is not None:
        answers = jnp.where(askable[:, 1:], answers, IGNORED)
    others = {k: v for k, v in batch.items() if k not in ("input_ids", "labels")}
    others = jax.tree.map(lambda v: v[:, :-1] if jnp.ndim(v) > 1 else v, others)
    found = model(input_ids=ids[:, :-1], key=key, output_unembedding=True, **others)
    return _told(loss, loss.of(found.unembedding, answers))


def masked_lm(
    model: Any, batch: Mapping[str, Any], key: Key | None, loss: Loss = PLAIN
) -> tuple[Float[Array, ""], Metrics]:
    """Recovers the words at the places that `labels` ask for (Devlin et al. 2018, task 1)."""
    found, labels = _asked(model, batch, key)
    return _told(loss, loss.of(found.unembedding, labels))


def seq2seq_lm(
    model: Any, batch: Mapping[str, Any], key: Key | None, loss: Loss = PLAIN
) -> tuple[Float[Array, ""], Metrics]:
    """Predicts the target from the source: `labels` Int[B T] stand where the decoder answers.

    Without `decoder_input_ids` the model makes them from the labels, one place to the right. Where
    routers choose experts, what keeps these balanced is added (Fedus et al. 2021, section 2.2) and
    reported as `router_loss`.
    """
    made: dict[str, Any] = {} if "decoder_input_ids" in batch else {"labels": batch["labels"]}
    routing = getattr(model, "routing", None)
    made |= {} if routing is None else {"output_router_logits": True}
    found, labels = _asked(model, batch, key, **made)
    words, metrics = _told(loss, loss.of(found.unembedding, labels))
    if routing is None:
        return words, metrics
    (total, count), penalty = metrics["loss"], routing.penalty(found)
    more = {"loss": (total + penalty * count, count), "router_loss": (penalty * count, count)}
    return words + penalty, {"cross_entropy": (total, count), **metrics, **more}


PAIR_LOGITS = ("seq_relationship_logits", "sop_logits")
"""The names of the logits of two sentences: BERT's and ALBERT's."""


def pretraining(
    model: Any, batch: Mapping[str, Any], key: Key | None, loss: Loss = PLAIN
) -> tuple[Float[Array, ""], Metrics]:
    """BERT's (or ALBERT's) two tasks: the mean over masked words plus the mean over pairs of
    sentences.

    `next_sentence_label` Int[B]: 0 where the second sentence follows the first (or, to ALBERT,
    where the two are in order).
    """
    pairs = batch["next_sentence_label"].reshape(-1)
    batch = {name: value for name, value in batch.items() if name != "next_sentence_label"}
    found, labels = _asked(model, batch, key)
    words, metrics = _told(loss, loss.of(found.unembedding, labels))
    answered = next(name for name in PAIR_LOGITS if name in found)
    logits = found[answered]
    total, count = cross_entropy(logits, pairs)
    right = (logits.argmax(-1) == pairs) & (pairs != IGNORED)
    both = words + total / jnp.maximum(count, 1.0)
    weight = metrics["loss"][1]
    return both, {
        **metrics,
        "loss": (both * weight, weight),
        "masked_lm": metrics["loss"],
        "next_sentence": (total, count),
        "next_sentence_accuracy": (right.sum().astype(jnp.float32), count),
    }


def replaced_token(
    model: Any, batch: Mapping[str, Any], key: Key | None, loss: Loss = PLAIN
) -> tuple[Float[Array, ""], Metrics]:
    """ELECTRA (Clark et al. 2020, section 2): a generator fills masks, a discriminator tells which
    tokens it replaced. The model is the pair of the two and computes its own losses."""
    if loss != PLAIN:
        raise ValueError(f"loss={loss}: the pair of ELECTRA computes its own losses; leave it out")
    found = model(**batch, key=key)
    masked, tokens = (
        jnp.asarray(count, jnp.float32) for count in (found.masked_count, found.token_count)
    )
    weighted = found.loss - found.generator_loss
    return found.loss, {
        "loss": (found.loss * tokens, tokens),
        "generator_loss": (found.generator_loss * masked, masked),
        "discriminator_loss": (found.discriminator_loss * tokens, tokens),
        "discriminator_part": (weighted * tokens, tokens),
    }


def supervised(
    model: Any, batch: Mapping[str, Any], key: Key | None
) -> tuple[Float[Array, ""], Metrics]:
    """The loss that the model's own head computes from its labels: fine-tuning of any kind."""
    loss = model(**batch, key=key).loss
    weight = _answered(batch).sum().astype(jnp.float32)
    return loss, {"loss": (loss * weight, weight)}


def _answered(batch: Mapping[str, Any]) -> Array:
    """Which tokens or rows the loss is a mean over."""
    if "start_positions" in batch:  # an answer beyond the row is not asked for
        rows = batch["input_ids"] if "input_ids" in batch else batch["inputs_embeds"]
        return batch["start_positions"] < rows.shape[1]
    labels = batch["labels"]
    integers = jnp.issubdtype(labels.dtype, jnp.integer)
    return labels != IGNORED if integers else jnp.ones(labels.shape[:1])


# ---------------------------------------------------------------- by name


LOSSES: dict[str, Callable[..., tuple[Float[Array, ""], Metrics]]] = {
    "causal_lm": causal_lm,
    "masked_lm": masked_lm,
    "pretraining": pretraining,
    "seq2seq_lm": seq2seq_lm,
    "replaced_token": replaced_token,
    "supervised": supervised,
    "contrastive": contrastive,
}
PARTS: dict[str, tuple[str, ...]] = {
    "pretraining": ("masked_lm", "next_sentence"),
    "replaced_token": ("generator_loss", "discriminator_part"),
}


@dataclass(frozen=True)
class Named:
    """An objective by its name in `LOSSES`.

    Attributes:
        parts: the metrics whose means add up to the loss; micro-batches are weighed by each.
    """

    name: str
    loss: Loss = PLAIN

    @property
    def parts(self) -> tuple[str, ...]:
        return PARTS.get(self.name, ("loss",))

    def __call__(
        self, model: Any, batch: Mapping[str, Any], key: Key | None
    ) -> tuple[Float[Array, ""], Metrics]:
        return LOSSES[self.name](model, batch, key, *([] if self.loss == PLAIN else [self.loss]))


def objective(name: str, loss: Loss = PLAIN) -> Objective:
    """The objective called `name`, its vocabulary loss computed as `loss` says.

    Raises:
        ValueError: there is none of this name; it has no loss over a vocabulary to be told about.
    """
    if name not in LOSSES:
        raise ValueError(f"objective {name!r} is unknown; the objectives are {', '.join(LOSSES)}")
    if name in ("supervised", "contrastive") and loss != PLAIN:
        raise ValueError(
            f"loss={loss}: the model's own head computes the loss of 'supervised', and "
            "'contrastive' compares vectors; neither is over a vocabulary, leave it out"
        )
    return Named(name, loss)


def _asked(model: Any, batch: Mapping[str, Any], key: Key | None, **more: Any) -> tuple[Any, Array]:
    """What the model says of its words, and the labels."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return model(**inputs, **more, key=key, output_unembedding=True), batch["labels"]


def _told(loss: Loss, sums: VocabularyLoss) -> tuple[Float[Array, ""], Metrics]:
    """(mean loss, what is reported of it)."""
    metrics = {"loss": (sums.total, sums.count), "accuracy": (sums.correct, sums.count)}
    if loss.smoothing or loss.z:
        metrics["cross_entropy"] = (sums.entropy, sums.count)
    if loss.z:
        metrics["z_loss"] = (sums.z, sums.count)
    return sums.total / jnp.maximum(sums.count, 1.0), metrics
