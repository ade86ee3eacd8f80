"""Heads: what turns tokens into an answer, and the answer and labels into a loss.

A head is called with the stream, the nodes and the labels that it names in `labels`; it returns
the fields of the output under Hugging Face's names, loss first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.loss import (
    IGNORED,
    Unembedding,
    classification_loss,
    mean_cross_entropy,
    shifted,
)
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import add, contract, param
from transformers_jax.nn.pooling import Pooling, pool


@dataclass(frozen=True)
class Answering:
    """What a head may look at besides the stream.

    Attributes:
        ids: the input ids [B T] (of the encoder, where there are two sides), or None if vectors
            were given.
        valid: where there are tokens [B T], or None if everywhere.
        table: the word embeddings [V D], for tied heads.
        pooled: the backbone's pooled vector [B D], if it has a pooler.
    """

    ids: Int[Array, "B T"] | None
    table: Float[Array, "V D"]
    pooled: Float[Array, "B D"] | None
    key: Key | None
    valid: Bool[Array, "B T"] | None = None


class Head(nnx.Module):
    """The contract of heads; `labels` are the keyword arguments it takes from the caller."""

    labels: tuple[str, ...] = ("labels",)

    def __call__(self, x: Float[Array, "B T D"], seen: Answering, **labels) -> dict[str, Array]:
        raise NotImplementedError

    def types(
        self, ids: Int[Array, "B T"] | None, length: int, labels: dict[str, Any]
    ) -> Int[Array, "B T"] | None:
        """The types of tokens for which the caller gives none; None: all are of type 0."""
        return None


class Dense(nnx.Module):
    """x W + b, onto an axis called `axis`."""

    def __init__(self, width: int, size: int, axis: str, initial: spec.Initial, bias: bool = True):
        sizes = {"embed": width, axis: size}
        self.weight = param(f"embed {axis}", sizes, initial.draw("head", sizes))
        self.bias = param(axis, sizes, spec.ZEROS) if bias else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B N"]:
        return add(contract("...d,dn->...n", x, self.weight), self.bias)


class Square(nnx.Module):
    """act(x W + b), then a norm: BERT's transform and pooler. To the width of the stream, or to
    `out` (ELECTRA's generator: that of the embeddings)."""

    def __init__(
        self,
        width: int,
        act: str,
        initial: spec.Initial,
        norm: spec.Norm | None = None,
        out: int | None = None,
        bias: bool = True,
    ):
        self.act = act
        sizes = {"embed": width, "inner": out or width}
        self.weight = param("embed inner", sizes, initial.draw("head", sizes))
        self.bias = param("inner", sizes, spec.ZEROS) if bias else None
        self.norm = Norm(norm, out or width) if norm else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        x = activation(self.act)(add(contract("...d,de->...e", x, self.weight), self.bias))
        return x if self.norm is None else self.norm(x)


class LanguageModel(Head):
    """Logits over the vocabulary: tied to the embeddings, or with a table of its own.

    Args:
        shift: whether a label is the next token (decoders) or the token itself.
        scale: multiplies the stream first (T5 v1.0: D^-0.5).
        softcap: logits become softcap * tanh(logits / softcap).
        bias: whether there is one; "fixed" is stored and added, but never learned (BART).
        unread_bias: untied BERT stores a second bias that nothing reads; it is kept for export.
    """

    labels = ("labels", "output_unembedding")

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
        unread_bias: bool = False,
    ):
        self.shift, self.scale, self.softcap, self.mixed = shift, scale, softcap, False
        sizes = {"vocab": vocab, "embed": width}
        self.transform = transform
        self.table = None if tied else param("vocab embed", sizes, initial.draw("head", sizes))
        self.bias = param("vocab", sizes, spec.ZEROS) if bias else None
        self.learns_bias = bias != "fixed"
        self.unread_bias = param("vocab", sizes, spec.ZEROS) if unread_bias else None

    def unembedding(self, x: Float[Array, "B T D"], table: Float[Array, "V D"]) -> Unembedding:
        """What logits are made of; losses over a vocabulary start here."""
        x = x if self.transform is None else self.transform(x)
        table = table if self.table is None else self.table[...]
        bias = None if self.bias is None else self.bias[...]
        bias = bias if self.learns_bias or bias is None else jax.lax.stop_gradient(bias)
        return Unembedding(x * self.scale, table, bias, self.softcap, self.mixed)

    def logits(self, x: Float[Array, "B T D"], table: Float[Array, "V D"]) -> Float[Array, "B T V"]:
        """Scores of every word of the vocabulary, in the dtype of the stream."""
        return self.unembedding(x, table).logits()

    def __call__(self, x, seen, *, labels=None, output_unembedding=False):
        if output_unembedding:
            return {"unembedding": self.unembedding(x, seen.table)}
        logits = self.logits(x, seen.table)
        if labels is None:
            return {"logits": logits}
        labels = shifted(labels) if self.shift else labels
        return {"loss": mean_cross_entropy(logits, labels), "logits": logits}


class ReplacedTokens(Head):
    """Whether each token was replaced (Clark et al. 2020, section 2): a logit per token; the loss
    is the mean of binary cross-entropies over all tokens that are no padding."""

    def __init__(self, width: int, act: str, initial: spec.Initial):
        self.transform = Square(width, act, initial)
        self.classify = Dense(width, 1, "label", initial)

    def __call__(self, x, seen, *, labels=None):
        logits = self.classify(self.transform(x))[..., 0]
        if labels is None:
            return {"logits": logits}
        counted = labels != IGNORED
        counted = counted if seen.valid is None else counted & seen.valid
        total, count = binary_cross_entropy(logits, labels, counted)
        return {"loss": total / jnp.maximum(count, 1.0), "logits": logits}


def binary_cross_entropy(
    logits: Float[Array, "B T"], labels: Int[Array, "B T"], counted: Bool[Array, "B T"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum of -log p(label) where `counted`, their number), in float32."""
    logits = logits.astype(jnp.float32)
    losses = jax.nn.softplus(logits) - logits * labels
    return jnp.where(counted, losses, 0.0).sum(), counted.sum().astype(jnp.float32)


class NextSentence(Head):
    """Whether the second sentence follows the first (Devlin et al. 2018, task 2), or whether the
    two are in order (Lan et al. 2019, section 3.1)."""

    def __init__(self, width: int, initial: spec.Initial, count: int = 2, rate: float = 0.0):
        self.rate = rate
        self.classify = Dense(width, count, "label", initial)

    def __call__(self, x, seen, *, labels=None):
        logits = self.classify(dropout(seen.pooled, self.rate, seen.key))
        if labels is None:
            return {"logits": logits}
        return {"loss": mean_cross_entropy(logits, labels.reshape(-1)), "logits": logits}


class Pretraining(Head):
    """BERT's two tasks at once: masked words and a question about two sentences; the loss is their
    sum. `asked` and `answered` are the names of the question's label and logits."""

    def __init__(
        self,
        words: LanguageModel,
        sentence: NextSentence,
        asked: str = "next_sentence_label",
        answered: str = "seq_relationship_logits",
    ):
        self.words, self.sentence = words, sentence
        self.asked, self.answered = asked, answered
        self.labels = ("labels", asked, "output_unembedding")

    def __call__(self, x, seen, *, labels=None, output_unembedding=False, **question):
        label = question.get(self.asked)
        words = self.words(x, seen, labels=labels, output_unembedding=output_unembedding)
        sentence = self.sentence(x, seen, labels=label)
        if output_unembedding:
            return {**words, self.answered: sentence["logits"]}
        fields: dict[str, Any] = {}
        if labels is not None and label is not None:
            fields["loss"] = words["loss"] + sentence["loss"]
        fields["prediction_logits"] = words["logits"]
        fields[self.answered] = sentence["logits"]
        return fields


class SequenceClassification(Head):
    """A class per row, from the vector that stands for it (`pooling`), through `inner` if given.

    `rate` is the dropout of what is classified, `pooled_rate` (if it is another) that of what goes
    into `inner`. `numbers` is the problem that labels of one number per class are, where `problem`
    does not say.
    """

    def __init__(
        self,
        width: int,
        count: int,
        initial: spec.Initial,
        *,
        pooling: Pooling = "pooler",
        inner: Square | None = None,
        problem: str | None = None,
        bias: bool = True,
        rate: float = 0.0,
        pooled_rate: float | None = None,
        numbers: str = "multi_label_classification",
    ):
        self.pooling, self.problem, self.rate, self.numbers = pooling, problem, rate, numbers
        self.inner, self.pooled_rate = inner, rate if pooled_rate is None else pooled_rate
        self.classify = Dense(width, count, "label", initial, bias)

    def __call__(self, x, seen, *, labels=None):
        keys = (None, None) if seen.key is None else jax.random.split(seen.key)
        pooled = pool(x, self.pooling, seen.ids, seen.pooled, seen.valid)
        pooled = dropout(pooled, self.pooled_rate, keys[0])
        if self.inner is not None:
            pooled = dropout(self.inner(pooled), self.rate, keys[1])
        logits = self.classify(pooled)
        if labels is None:
            return {"logits": logits}
        loss = classification_loss(logits, labels, self.problem, self.numbers)
        return {"loss": loss, "logits": logits}


class TokenClassification(Head):
    """A class per token, through `inner` if given."""

    def __init__(
        self,
        width: int,
        count: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        inner: Square | None = None,
    ):
        self.rate, self.inner = rate, inner
        self.classify = Dense(width, count, "label", initial)

    def __call__(self, x, seen, *, labels=None):
        x = x if self.inner is None else self.inner(x)
        logits = self.classify(dropout(x, self.rate, seen.key))
        if labels is None:
            return {"logits": logits}
        return {"loss": mean_cross_entropy(logits, labels), "logits": logits}


class MultipleChoice(Head):
    """Which of C candidate rows is right; rows come flattened as [B * C T] (`choices`).

    `rate` is the dropout of what is scored, `pooled_rate` that of the pooled vector before `inner`.
    """

    def __init__(
        self,
        width: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        pooling: Pooling = "pooler",
        inner: Square | None = None,
        pooled_rate: float = 0.0,
    ):
        self.rate, self.pooling, self.inner = rate, pooling, inner
        self.pooled_rate = pooled_rate
        self.classify = Dense(width, 1, "label", initial)

    def __call__(self, x, seen, *, choices: int, labels=None):
        pooled = pool(x, self.pooling, seen.ids, seen.pooled, seen.valid)
        if self.pooled_rate and seen.key is not None:
            pooled = dropout(pooled, self.pooled_rate, jax.random.fold_in(seen.key, 1))
        pooled = pooled if self.inner is None else self.inner(pooled)
        scores = self.classify(dropout(pooled, self.rate, seen.key))
        logits = scores.reshape(-1, choices)
        if labels is None:
            return {"logits": logits}
        return {"loss": mean_cross_entropy(logits, labels.reshape(-1)), "logits": logits}


class QuestionAnswering(Head):
    """Where the answer starts and where it ends; positions beyond the row are ignored."""

    labels = ("start_positions", "end_positions")

    def __init__(
        self,
        width: int,
        initial: spec.Initial,
        rate: float = 0.0,
        *,
        inner: Square | None = None,
    ):
        self.rate, self.inner = rate, inner
        self.classify = Dense(width, 2, "label", initial)

    def __call__(self, x, seen, *, start_positions=None, end_positions=None, added=None):
        x = x if self.inner is None else self.inner(x)
        logits = self.classify(dropout(x, self.rate, seen.key))
        start, end = jnp.moveaxis(logits if added is None else logits + added[..., None], -1, 0)
        fields = {"start_logits": start, "end_logits": end}
        if start_positions is None or end_positions is None:
            return fields
        length = x.shape[1]
        losses = [
            mean_cross_entropy(logits, jnp.clip(place.reshape(-1), 0, length), ignored=length)
            for logits, place in ((start, start_positions), (end, end_positions))
        ]
        return {"loss": sum(losses) / 2, **fields}


class Pooler(Square):
    """tanh(W first token + b): BERT's summary of a row."""

    def __init__(self, width: int, initial: spec.Initial):
        super().__init__(width, "tanh", initial)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B D"]:
        return super().__call__(x[:, 0])


def no_head(x: Float[Array, "B T D"], seen: Answering) -> dict[str, jax.Array]:
    """The fields of a bare backbone."""
    fields = {"last_hidden_state": x}
    return fields if seen.pooled is None else {**fields, "pooler_output": seen.pooled}
