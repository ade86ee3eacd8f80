"""Contrastive pretraining on quantised audio (Baevski et al. 2020, wav2vec 2.0, sections 2, 3)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import MASKED, Array, Bool, Float, wide
from transformers_jax.inputs import checks
from transformers_jax.inputs.arguments import readable
from transformers_jax.nn.head.base import Dense, Head, loss_of
from transformers_jax.nn.noise import dropout, split_key
from transformers_jax.nn.norm import unit
from transformers_jax.nn.param import contract, param


class GumbelQuantizer(nnx.Module):
    """The nearest word of each of G codebooks, side by side, where "near" is learned. With a key a
    word is drawn (Gumbel softmax, Jang et al. 2016), and the gradient passes through the
    probabilities; without one it is the likeliest.

    Args:
        groups, words: G codebooks of so many words each.
        out: the width of all codebooks' words together.
    """

    def __init__(self, width: int, groups: int, words: int, out: int):
        self.groups, self.words = groups, words
        sizes = {"embed": width, "group": groups, "word": words, "inner": out // groups}
        self.weight = param("embed group word", sizes, spec.Draw("normal", 1.0))
        self.bias = param("group word", sizes, spec.ZEROS)
        self.codebook = param("group word inner", sizes, spec.Draw("uniform", 1.0))

    def __call__(
        self,
        x: Float[Array, "B T C"],
        counted: Bool[Array, "B T"] | None,
        temperature: Any,
        key: Any,
    ) -> tuple[Float[Array, "B T E"], Float[Array, ""]]:
        """(quantised frames, perplexity: how many words are in use, of all codebooks together),
        counted over the frames `counted`."""
        logits = contract("btc,cgw->btgw", x, self.weight) + self.bias[...].astype(x.dtype)
        logits = logits.astype(wide(x))
        if key is None:
            chosen = jax.nn.one_hot(logits.argmax(-1), self.words, dtype=logits.dtype)
            shares = chosen
        else:
            noise = jax.random.gumbel(key, logits.shape, logits.dtype)
            soft = jax.nn.softmax((logits + noise) / temperature)
            hard = jax.nn.one_hot(soft.argmax(-1), self.words, dtype=logits.dtype)
            chosen = hard + soft - jax.lax.stop_gradient(soft)
            shares = jax.nn.softmax(logits)
        quantised = contract("btgw,gwe->btge", chosen.astype(x.dtype), self.codebook)
        weights = jnp.ones(x.shape[:2], bool) if counted is None else counted
        weights = weights.astype(shares.dtype)
        mean = jnp.einsum("bt,btgw->gw", weights, shares) / weights.sum()
        entropy = -jnp.where(mean > 0, mean * jnp.log(jnp.where(mean > 0, mean, 1.0)), 0.0)
        return quantised.reshape(*x.shape[:2], -1), jnp.exp(entropy.sum(-1)).sum()


class QuantizedPretraining(Head):
    """Which of several quantised frames is the one that was hidden.

    `mask_time_indices` Bool[B T] are the hidden frames, and `sampled_negative_indices` Int[B T N]
    the frames, numbered through the batch, among which the right one is to be recognised by its
    cosine; with them there is a loss. It is a sum over the hidden frames: the cross-entropy, and
    `weight` times the share of the codebooks' words that are not in use, for each.
    `gumbel_temperature` (2 where it is not given) is that of the quantiser in a call with a key.
    """

    labels = ("sampled_negative_indices", "gumbel_temperature")

    def __init__(
        self,
        width: int,
        features: int,
        *,
        groups: int,
        words: int,
        code: int,
        out: int,
        temperature: float,
        weight: float,
        rate: float,
    ):
        if code % groups:
            raise ValueError(
                f"codevector_dim ({code}) must be a multiple of num_codevector_groups ({groups})"
            )
        self.temperature, self.weight, self.rate = temperature, weight, rate
        self.quantizer = GumbelQuantizer(features, groups, words, code)
        # as torch draws a Linear, whatever `initial` says (the released code)
        self.hidden = Dense(width, out, "inner", spec.Initial((3 * width) ** -0.5))
        self.quantised = Dense(code, out, "inner", spec.Initial((3 * code) ** -0.5))

    def check(self, arguments, shape, like="the input"):
        negatives = arguments.get("sampled_negative_indices")
        if negatives is None:
            return
        if arguments.get("mask_time_indices") is None:
            raise ValueError(
                "sampled_negative_indices without mask_time_indices: the loss is of hidden frames; "
                "give both"
            )
        given = np.shape(negatives)
        checks.integers("sampled_negative_indices", negatives, 3)
        checks.same_shape("sampled_negative_indices", negatives, (*shape, *given[2:]), like)
        array, most = readable(negatives), shape[0] * shape[1]
        if array is not None and (array.min() < 0 or array.max() >= most):
            wrong = (array < 0) | (array >= most)
            raise ValueError(
                f"sampled_negative_indices{checks.at(array, wrong)}; expected a frame of the "
                f"batch, numbered row by row in [0, {most})"
            )

    def __call__(self, x, inputs, *, sampled_negative_indices=None, gumbel_temperature=None):
        hidden: Any = inputs.arguments.get("mask_time_indices")
        hidden = None if hidden is None else jnp.asarray(hidden) > 0
        rate_key, gumbel_key = split_key(inputs.key, 2)
        features = dropout(inputs.fields["extract_features"], self.rate, rate_key)
        temperature = 2.0 if gumbel_temperature is None else gumbel_temperature
        codes, perplexity = self.quantizer(features, hidden, temperature, gumbel_key)
        states, quantised = self.hidden(x), self.quantised(codes)
        fields = {
            "projected_states": states,
            "projected_quantized_states": quantised,
            "codevector_perplexity": perplexity,
        }
        if sampled_negative_indices is None or hidden is None:
            return fields
        terms = self._losses(states, quantised, perplexity, sampled_negative_indices, hidden)
        whole = {name: (total, jnp.float32(1)) for name, total in terms.items()}
        weighted = whole["diversity"][0] * self.weight, whole["diversity"][1]
        losses = {f"{name}_loss": total for name, total in terms.items()}
        return {**loss_of(contrastive=whole["contrastive"], diversity=weighted), **fields, **losses}

    def _losses(self, states, quantised, perplexity, negatives, hidden) -> dict[str, Array]:
        """The two losses, each a sum over the hidden frames."""
        dtype = wide(states)
        flat = quantised.reshape(-1, quantised.shape[-1])
        others = flat[negatives]
        # a negative that is the very vector to be recognised is none
        same = (others == quantised[:, :, None]).all(-1)
        directions = unit(quantised.astype(dtype))
        seen = unit(states.astype(dtype))
        right = jnp.einsum("bte,bte->bt", seen, directions) / self.temperature
        other = directions.reshape(flat.shape)[negatives]
        wrong = jnp.einsum("bte,btne->btn", seen, other) / self.temperature
        wrong = jnp.where(same, MASKED, wrong)
        every = jnp.concatenate([right[..., None], wrong], axis=-1)
        losses = jax.nn.logsumexp(every, axis=-1) - right
        count = self.quantizer.groups * self.quantizer.words
        number = hidden.sum().astype(dtype)
        return {
            "contrastive": jnp.where(hidden, losses, 0.0).sum(),
            "diversity": (count - perplexity) / count * number,
        }
