"""Heads of pretraining: words, replaced tokens, sentences that follow one another."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, Int, wide
from transformers_jax.inputs import labels as check
from transformers_jax.nn.head.base import Dense, Head, Square, loss_of, scored
from transformers_jax.nn.loss import IGNORED, Mean, shifted, vocabulary_loss
from transformers_jax.nn.matrices import matrix_flops
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.param import param
from transformers_jax.nn.unembedding import Unembedding


class LanguageModel(Head):
    """Logits over the vocabulary: tied to the embeddings, or with a table of its own.

    Args:
        shift: whether a label is the next token (decoders) or the token itself.
        scale: multiplies the stream first (T5 v1.0: D^-0.5).
        softcap: logits become softcap * tanh(logits / softcap).
        bias: whether there is one; "fixed" is stored and added, but never learned (BART).
        smoothing: of labels, in the loss of this head (Szegedy et al. 2015, section 7).
        unused_bias: untied BERT stores a second bias that nothing reads; it is there for export.
    """

    labels = ("labels", "output_unembedding")
    predicts_ids = True

    def __init__(
        self,
        vocab: int,
        width: int,
        initial: spec.Initial,
        *,
        tied: bool,
        shift: bool,
        bias: bool | Literal["fixed"] = False,
        transform: Square | None = None,
        scale: float = 1.0,
        softcap: float | None = None,
        unused_bias: bool = False,
        smoothing: float = 0.0,
    ):
        self.vocab, self.smoothing = vocab, smoothing
        self.shift, self.scale, self.softcap, self.mixed = shift, scale, softcap, False
        sizes = {"vocab": vocab, "embed": width}
        self.transform = transform
        self.table = None if tied else param("vocab embed", sizes, initial.draw("head", sizes))
        learned = bias != "fixed"
        self.bias = param("vocab", sizes, spec.ZEROS, learned=learned) if bias else None
        self.learns_bias = bias != "fixed"
        self.unused_bias = param("vocab", sizes, spec.ZEROS) if unused_bias else None

    def unembedding(self, x: Float[Array, "B T D"], table: Float[Array, "V D"]) -> Unembedding:
        """What logits are made of; losses over a vocabulary start here."""
        x = x if self.transform is None else self.transform(x)
        table = table if self.table is None else self.table[...]
        bias = None if self.bias is None else self.bias[...]
        bias = bias if self.learns_bias or bias is None else jax.lax.stop_gradient(bias)
        return Unembedding(x * self.scale, table, bias, self.softcap, self.mixed)

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.per_token("labels", labels, self.vocab, shape, like)

    def logits(self, x: Float[Array, "B T D"], table: Float[Array, "V D"]) -> Float[Array, "B T V"]:
        """Scores of every word of the vocabulary, in the dtype of the stream."""
        return self.unembedding(x, table).logits()

    def flops(self, tokens, table):
        words = table if self.table is None else self.table
        return super().flops(tokens, table)._replace(unembedding=2.0 * tokens * words.size)

    def __call__(self, x, inputs, *, labels=None, output_unembedding=False):
        if output_unembedding:
            return {"unembedding": self.unembedding(x, inputs.table)}
        if labels is not None and self.shift and not inputs.targets:
            labels = shifted(labels)
        if labels is None or not self.smoothing:
            return scored(self.logits(x, inputs.table), labels)
        words = self.unembedding(x, inputs.table)
        sums = vocabulary_loss(words, labels, smoothing=self.smoothing)
        return {**loss_of(loss=(sums.total, sums.count)), "logits": words.logits()}


class ReplacedTokens(Head):
    """Whether each token was replaced (Clark et al. 2020, section 2): a logit per token; the loss
    is the mean of binary cross-entropies over all tokens that are no padding."""

    def __init__(self, width: int, act: str, initial: spec.Initial):
        self.transform = Square(width, act, initial)
        self.classify = Dense(width, 1, "label", initial)

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.per_token("labels", labels, 2, shape, like)

    def __call__(self, x, inputs, *, labels=None):
        def loss(logits: Array, labels: Array) -> Mean:
            counted = labels != IGNORED
            counted = counted if inputs.valid is None else counted & inputs.valid
            return binary_cross_entropy(logits, labels, counted)

        return scored(self.classify(self.transform(x))[..., 0], labels, loss)


def binary_cross_entropy(
    logits: Float[Array, "B T"], labels: Int[Array, "B T"], counted: Bool[Array, "B T"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum of -log p(label) where `counted`, their number), in float32 at least; NaN for a label
    that is neither 0 nor 1."""
    logits = logits.astype(wide(logits))
    losses = jax.nn.softplus(logits) - logits * labels
    if labels.dtype != bool:
        losses = jnp.where((labels == 0) | (labels == 1), losses, jnp.nan)
    return jnp.where(counted, losses, 0.0).sum(), counted.sum().astype(jnp.float32)


class NextSentence(Head):
    """Whether the second sentence follows the first (Devlin et al. 2018, task 2), or whether the
    two are in order (Lan et al. 2019, section 3.1)."""

    def __init__(self, width: int, initial: spec.Initial, count: int = 2, rate: float = 0.0):
        self.rate, self.count = rate, count
        self.classify = Dense(width, count, "label", initial)

    def check(self, arguments, shape, like="the input"):
        self.check_label("labels", arguments.get("labels"), shape[0])

    def check_label(self, name: str, labels: Any, rows: int) -> None:
        """Raises ValueError for labels of whole rows that are none."""
        if labels is not None:
            check.labels(name, labels, self.count)
            check.per_row(name, labels, rows)

    def __call__(self, x, inputs, *, labels=None):
        logits = self.classify(dropout(inputs.pooled, self.rate, inputs.key))
        return scored(logits, None if labels is None else labels.reshape(-1))


class Pretraining(Head):
    """BERT's two tasks at once: masked words and a class of two sentences; the loss is their sum.
    `label` and `logits` are the names of the sentences' label and logits; there is a loss where a
    call has all the labels that it `needs`, by default both."""

    def __init__(
        self,
        words: LanguageModel,
        sentence: NextSentence,
        label: str = "next_sentence_label",
        logits: str = "seq_relationship_logits",
        needs: tuple[str, ...] | None = None,
    ):
        self.words, self.sentence = words, sentence
        self.label, self.logits = label, logits
        self.needs = ("labels", label) if needs is None else needs
        self.labels = ("labels", label, "output_unembedding")

    def check(self, arguments, shape, like="the input"):
        self.words.check(arguments, shape, like)
        self.sentence.check_label(self.label, arguments.get(self.label), shape[0])

    def flops(self, tokens, table):
        return self.words.flops(tokens, table)._replace(projections=tokens * matrix_flops(self))

    def __call__(self, x, inputs, *, labels=None, output_unembedding=False, **sentence_label):
        label = sentence_label.get(self.label)
        words = self.words(x, inputs, labels=labels, output_unembedding=output_unembedding)
        sentence = self.sentence(x, inputs, labels=label)
        if output_unembedding:
            return {**words, self.logits: sentence["logits"]}
        fields: dict[str, Any] = {}
        targets = {"labels": labels, self.label: label}
        if all(targets[name] is not None for name in self.needs):
            parts = {"masked_lm": words, "next_sentence": sentence}
            terms = {n: part["loss_terms"]["loss"] for n, part in parts.items() if "loss" in part}
            fields = loss_of(**terms)
        fields["prediction_logits"] = words["logits"]
        fields[self.logits] = sentence["logits"]
        return fields
