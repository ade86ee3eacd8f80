"""BigBird's question answering head, which masks the logits of the question's tokens."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int, Key
from transformers_jax.inputs import checks
from transformers_jax.inputs import labels as check
from transformers_jax.nn.feedforward import FeedForwardSpec, Mlp
from transformers_jax.nn.head import HeadInputs, QuestionAnswering
from transformers_jax.nn.noise import dropout, split_key
from transformers_jax.nn.norm import Norm

MASKED_LOGIT = -1e6  # added to logits of the question, as in the reference


class QuestionAnsweringBlock(nnx.Module):
    """norm(x + dropout(mlp(dropout(x))))."""

    def __init__(
        self, ffn: FeedForwardSpec, width: int, norm: spec.Norm, initial: spec.Initial, rate: float
    ):
        self.rate = rate
        self.ffn, self.norm = Mlp(ffn, width, initial), Norm(norm, width)

    def __call__(self, x: Float[Array, "B T D"], key: Key | None = None) -> Float[Array, "B T D"]:
        before, after = split_key(key, 2)
        y = self.ffn(dropout(x, self.rate, before))
        return self.norm(x + dropout(y, self.rate, after))


class BigBirdQuestionAnswering(QuestionAnswering):
    """Start and end logits of the answer, in rows of <cls> question <sep> text <sep>.

    A question is as long as `question_lengths` says, Int[B] or Int[B 1], or else it ends with the
    first separator. No answer begins or ends in its tokens, but for the first; where a call has no
    token types, they are of type 0 and the text of type 1.
    """

    labels = ("question_lengths", *QuestionAnswering.labels)

    def __init__(
        self,
        width: int,
        initial: spec.Initial,
        refined: QuestionAnsweringBlock,
        separator: int | None,
    ):
        super().__init__(width, initial)
        self.refined, self.separator = refined, separator

    def __call__(self, x, inputs: HeadInputs, *, question_lengths=None, **positions):
        question, added = self.question_mask(inputs.ids, x.shape[1], question_lengths), None
        if question is not None:
            added = MASKED_LOGIT * ((question > 0) & (jnp.arange(x.shape[1]) > 0)).astype(x.dtype)
        x = self.refined(x, inputs.key)
        return super().__call__(x, dataclasses.replace(inputs, key=None), added=added, **positions)

    def prepare(self, arguments):
        if arguments.get("token_type_ids") is not None:
            return arguments
        ids, vectors = arguments.get("input_ids"), arguments.get("inputs_embeds")
        length = (vectors if ids is None else ids).shape[1]
        question = self.question_mask(ids, length, arguments.get("question_lengths"))
        return arguments if question is None else {**arguments, "token_type_ids": 1 - question}

    def check(self, arguments, shape, like="the input"):
        super().check(arguments, shape, like)
        if (lengths := arguments.get("question_lengths")) is not None:
            checks.integers("question_lengths", lengths, None)
            check.per_row("question_lengths", lengths, shape[0])

    def question_mask(
        self, ids: Int[Array, "B T"] | None, length: int, lengths: Int[Array, " B"] | None
    ) -> Array | None:
        """Int[B T]: 1 for the tokens of the question; None where its length is unknown."""
        if lengths is None and ids is not None:
            lengths = jnp.argmax(ids == self.separator, axis=1) + 1
        if lengths is None:
            return None
        return (jnp.arange(length) < jnp.reshape(lengths, (-1, 1))).astype(jnp.int32)
