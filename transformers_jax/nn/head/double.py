"""Next words, and the right one of several texts, at once."""

from __future__ import annotations

import jax.numpy as jnp

from transformers_jax.inputs import checks
from transformers_jax.inputs import labels as check
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.head.base import Head
from transformers_jax.nn.head.classify import MultipleChoice
from transformers_jax.nn.head.pretraining import LanguageModel
from transformers_jax.nn.loss import cross_entropy


class DoubleHeads(Head):
    """The next words of C candidate rows [B C T], and which of them is right (Radford et al. 2018,
    section 3.2). `loss` is that of words, `mc_loss` that of the choice, of scores behind `act`.

    The argument `mc_token_ids` [B C] says at which token each candidate is read.
    """

    labels = ("labels", "mc_labels", "mc_token_ids")
    rank = 3

    def __init__(self, words: LanguageModel, choice: MultipleChoice, act: str = "linear"):
        self.words, self.choice, self.act = words, choice, act
        activation(act)  # refuse an unknown one before any work

    def prepare(self, arguments):
        return self.choice.prepare(arguments)

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is not None:
            check.labels("labels", labels, self.words.vocab)
            checks.same_shape("labels", labels, shape, like)
        self.choice.check({"labels": arguments.get("mc_labels")}, shape, like)
        if (tokens := arguments.get("mc_token_ids")) is not None:
            checks.same_shape("mc_token_ids", tokens, shape[:2], f"the candidates of {like}")
            checks.ids("mc_token_ids", tokens, shape[2], "tokens of a row")

    def flops(self, tokens, table):
        return self.words.flops(tokens, table)

    def __call__(self, x, inputs, *, labels=None, mc_labels=None, mc_token_ids=None):
        labels = None if labels is None else labels.reshape(-1, labels.shape[-1])
        words, read = self.words(x, inputs, labels=labels), x
        if mc_token_ids is not None:
            at = jnp.asarray(mc_token_ids).reshape(-1, 1, 1)
            read = jnp.take_along_axis(x, at, axis=1, mode="fill", fill_value=jnp.nan)
        scores = activation(self.act)(self.choice(read, inputs)["logits"])
        fields = {name: value for name, value in words.items() if name != "logits"}
        if mc_labels is not None:
            total, count = cross_entropy(scores, mc_labels.reshape(-1))
            fields["mc_loss"] = total / count
        logits = words["logits"].reshape(*scores.shape, *words["logits"].shape[1:])
        return {**fields, "logits": logits, "mc_logits": scores}
