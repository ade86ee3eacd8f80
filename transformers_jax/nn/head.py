"""Heads: what turns tokens into an answer, and the answer and labels into a loss.

A head is called with the stream, the nodes and the labels that it names in `labels`; it returns
the fields of the output under Hugging Face's names, loss first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int, Key
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.loss import classification_loss, mean_cross_entropy, shifted
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import add, contract, param
from transformers_jax.shard import constrain


@dataclass(frozen=True)
class Answering:
    """What a head may look at besides the stream.

    Attributes:
        ids: the input ids [B T], or None if vectors were given.
        table: the word embeddings [V D], for tied heads.
        pooled: the backbone's pooled vector [B D], if it has a pooler.
    """

    ids: Int[Array, "B T"] | None
    table: Float[Array, "V D"]
    pooled: Float[Array, "B D"] | None
    key: Key | None


class Head(nnx.Module):
    """The contract of heads; `labels` are the keyword arguments it takes from the caller."""

    labels: tuple[str, ...] = ("labels",)

    def __call__(self, x: Float[Array, "B T D"], seen: Answering, **labels) -> dict[str, Array]:
        raise NotImplementedError


class Dense(nnx.Module):
    """x W + b, onto an axis called `axis`."""

    def __init__(self, width: int, size: int, axis: str, initial: spec.Initial, bias: bool = True):
        sizes = {"embed": width, axis: size}
        self.weight = param(f"embed {axis}", sizes, initial.draw("head", sizes))
        self.bias = param(axis, sizes, spec.ZEROS) if bias else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B N"]:
        return add(contract("...d,dn->...n", x, self.weight), self.bias)


class Square(nnx.Module):
    """act(x W + b) within the width of the stream, then a norm: BERT's transform and pooler."""

    def __init__(self, width: int, act: str, initial: spec.Initial, norm: spec.Norm | None = None):
        self.act = act
        sizes = {"embed": width, "inner": width}
        self.weight = param("embed inner", sizes, initial.draw("head", sizes))
        self.bias = param("inner", sizes, spec.ZEROS)
        self.norm = Norm(norm, width) if norm else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        x = activation(self.act)(add(contract("...d,de->...e", x, self.weight), self.bias))
        return x if self.norm is None else self.norm(x)


class LanguageModel(Head):
    """Logits over the vocabulary: tied to the embeddings, or with a table of its own.

    Args:
        shift: whether a label is the next token (decoders) or the token itself.
        scale: multiplies the stream first (T5 v1.0: D^-0.5).
        unread_bias: untied BERT stores a second bias that nothing reads; it is kept for export.
    """

    def __init__(
        self,
        vocab: int,
        width: int,
        initial: spec.Initial,
        *,
        tied: bool,
        shift: bool,
        bias: bool = False,
        transform: Square | None = None,
        scale: float = 1.0,
        unread_bias: bool = False,
    ):
        self.shift, self.scale = shift, scale
        sizes = {"vocab": vocab, "embed": width}
        self.transform = transform
        self.table = None if tied else param("vocab embed", sizes, initial.draw("head", sizes))
        self.bias = param("vocab", sizes, spec.ZEROS) if bias else None
        self.unread_bias = param("vocab", sizes, spec.ZEROS) if unread_bias else None

    def logits(self, x: Float[Array, "B T D"], table: Float[Array, "V D"]) -> Float[Array, "B T V"]:
        """Scores of every word of the vocabulary, in float32 from the dtype of the stream on."""
        x = x if self.transform is None else self.transform(x)
        table = table if self.table is None else self.table[...]
        logits = jnp.einsum("btd,vd->btv", x * self.scale, table.astype(x.dtype))
        return constrain(add(logits, self.bias), "batch length vocab")

    def __call__(self, x, seen, *, labels=None):
        logits = self.logits(x, seen.table)
        if labels is None:
            return {"logits": logits}
        labels = shifted(labels) if self.shift else labels
        return {"loss": mean_cross_entropy(logits, labels), "logits": logits}


class NextSentence(Head):
    """Whether the second sentence follows the first (Devlin et al. 2018, task 2)."""

    def __init__(self, width: int, initial: spec.Initial):
        self.classify = Dense(width, 2, "label", initial)

    def __call__(self, x, seen, *, labels=None):
        logits = self.classify(seen.pooled)
        if labels is None:
            return {"logits": logits}
        return {"loss": mean_cross_entropy(logits, labels.reshape(-1)), "logits": logits}


class Pretraining(Head):
    """BERT's two tasks at once: masked words and next sentence; the loss is their sum."""

    labels = ("labels", "next_sentence_label")

    def __init__(self, words: LanguageModel, width: int, initial: spec.Initial):
        self.words = words
        self.sentence = NextSentence(width, initial)

    def __call__(self, x, seen, *, labels=None, next_sentence_label=None):
        words = self.words(x, seen, labels=labels)
        sentence = self.sentence(x, seen, labels=next_sentence_label)
        fields: dict[str, Any] = {}
        if labels is not None and next_sentence_label is not None:
            fields["loss"] = words["loss"] + sentence["loss"]
        fields["prediction_logits"] = words["logits"]
        fields["seq_relationship_logits"] = sentence["logits"]
        return fields


class SequenceClassification(Head):
    """A class per row, from the pooled vector or from the last token that is no padding.

    Args:
        pad: the padding id where the last token is pooled (GPT-2, Llama: the rightmost id that
            is not `pad`; the attention mask is not consulted); None: the backbone's pooler.
    """

    def __init__(
        self,
        width: int,
        count: int,
        initial: spec.Initial,
        *,
        last: bool,
        pad: int | None = None,
        problem: str | None = None,
        bias: bool = True,
        rate: float = 0.0,
    ):
        self.last, self.pad, self.problem, self.rate = last, pad, problem, rate
        self.classify = Dense(width, count, "label", initial, bias)

    def __call__(self, x, seen, *, labels=None):
        pooled = self._last(x, seen.ids) if self.last else seen.pooled
        logits = self.classify(dropout(pooled, self.rate, seen.key))
        if labels is None:
            return {"logits": logits}
        return {"loss": classification_loss(logits, labels, self.problem), "logits": logits}

    def _last(self, x: Float[Array, "B T D"], ids) -> Float[Array, "B D"]:
        if self.pad is None and x.shape[0] > 1:
            raise ValueError(
                "pooling the last token of a batch of more than one row needs config.pad_token_id"
            )
        if ids is None or self.pad is None:
            return x[:, -1]
        place = jnp.max(jnp.where(ids != self.pad, jnp.arange(ids.shape[1]), 0), axis=1)
        return jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0]


class TokenClassification(Head):
    """A class per token."""

    def __init__(self, width: int, count: int, initial: spec.Initial, rate: float = 0.0):
        self.rate = rate
        self.classify = Dense(width, count, "label", initial)

    def __call__(self, x, seen, *, labels=None):
        logits = self.classify(dropout(x, self.rate, seen.key))
        if labels is None:
            return {"logits": logits}
        return {"loss": mean_cross_entropy(logits, labels), "logits": logits}


class MultipleChoice(Head):
    """Which of C candidate rows is right; rows come flattened as [B * C T] (`choices`)."""

    def __init__(self, width: int, initial: spec.Initial, rate: float = 0.0):
        self.rate = rate
        self.classify = Dense(width, 1, "label", initial)

    def __call__(self, x, seen, *, choices: int, labels=None):
        scores = self.classify(dropout(seen.pooled, self.rate, seen.key))
        logits = scores.reshape(-1, choices)
        if labels is None:
            return {"logits": logits}
        return {"loss": mean_cross_entropy(logits, labels.reshape(-1)), "logits": logits}


class QuestionAnswering(Head):
    """Where the answer starts and where it ends; positions beyond the row are ignored."""

    labels = ("start_positions", "end_positions")

    def __init__(self, width: int, initial: spec.Initial):
        self.classify = Dense(width, 2, "label", initial)

    def __call__(self, x, seen, *, start_positions=None, end_positions=None):
        start, end = jnp.moveaxis(self.classify(x), -1, 0)
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
