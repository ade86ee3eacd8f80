"""What the probability of a token is due to: input x gradient.

Source: Shrikumar et al. 2017 (section 3, "gradient x input"); of language models, Ding and Koehn
2021. A token's attribution is the product of its embedding with the gradient of the score for that
embedding, summed over the width: how much the score would change, to first order, if the embedding
were taken away. It does not depend on a scale by which a family multiplies its embeddings.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int, Params, ordinary, wide
from transformers_jax.models.base import Model
from transformers_jax.models.output import Output
from transformers_jax.models.wiring.network import Network
from transformers_jax.nn.param import merge, split
from transformers_jax.scoring.continuations import check_fits
from transformers_jax.scoring.pairs import check_writes, pairs_of

OF = ("log_prob", "logit")


@ordinary()
def attributions(
    model: Model,
    context: Any,
    continuation: Any,
    *,
    tokenizer: Any = None,
    add_special_tokens: bool = True,
    of: Literal["log_prob", "logit"] = "log_prob",
) -> Output:
    """How much each token that was read adds to the score of each token of a continuation.

    Args:
        context, continuation: two texts (with `tokenizer=`) or two rows of ids, as a pair of
            `score_continuations`; the next token alone is a continuation of one.
        of: the score: the log-probability of a token, or its logit.

    Returns:
        tokens Int[T] (what a decoder reads: context and continuation, without its last token), and
        attributions Float[U T]: row u is of the continuation's token u, and 0 for tokens that it
        does not depend on. Of an encoder-decoder, tokens and attributions are those of the source;
        decoder_tokens Int[U] and decoder_attributions Float[U U] those of the decoder, which reads
        a start token and the continuation. `scores` Float[U] are what was attributed.

    Raises:
        ValueError: a model that continues no texts, what is no context or continuation, or another
            score.
    """
    check_writes(model, "attributions")
    if of not in OF:
        raise ValueError(f"of={of!r}: expected {' or '.join(map(repr, OF))}")
    if not isinstance(model, Network):
        raise ValueError(
            f"attributions are of embeddings that a call takes (inputs_embeds), which "
            f"{model.config.model_type} has not"
        )
    pair = pairs_of(model, [(context, continuation)], tokenizer, add_special_tokens)
    check_fits(model, pair)
    before, after = (side[None] for side in pair[0])
    if model.is_encoder_decoder:
        assert model.shift is not None  # of a model that scores labels
        target = np.asarray(model.shift.shifted(None, jnp.asarray(after)))
        read = {str(model.wires[-1].source): before, model.wires[-1].name: target}
    else:
        read = {model.wires[-1].name: np.concatenate([before, after], 1)[:, :-1]}
    scores, found = _attribute(*split(model), read, after, of)
    fields: dict[str, Any] = {}
    for prefix, name in zip(("", "decoder_"), read):
        fields |= {f"{prefix}tokens": read[name][0], f"{prefix}attributions": found[name]}
    return Output(**fields, scores=scores)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _attribute(
    definition: Any, values: Params, read: dict[str, Any], labels: Int[Array, "1 U"], of: str
) -> tuple[Float[Array, " U"], dict[str, Float[Array, "U T"]]]:
    """(the scores, the attributions of each tower's tokens); one backward pass for each score."""
    model: Any = merge(definition, values)
    vectors = {name: _vectors(model, name, ids) for name, ids in read.items()}

    def scores(vectors: dict[str, Any]) -> Float[Array, " U"]:
        prefixes = {name: model.towers[name].prefix for name in vectors}
        inputs = {f"{prefixes[name]}inputs_embeds": x for name, x in vectors.items()}
        logits = model(**inputs).logits[0, -labels.shape[1] :]
        logits = logits.astype(wide(logits))
        logits = jax.nn.log_softmax(logits) if of == "log_prob" else logits
        return jnp.take_along_axis(logits, labels[0][:, None], axis=1)[:, 0]

    value, back = jax.vjp(scores, vectors)

    def row(direction: Float[Array, " U"]) -> dict[str, Float[Array, " T"]]:
        (gradients,) = back(direction)
        product = lambda x, g: (x * g).astype(wide(x)).sum(-1)[0]
        return jax.tree.map(product, vectors, gradients)

    return value, jax.lax.map(row, jnp.eye(len(value), dtype=value.dtype))


def _vectors(model: Any, name: str, ids: Int[Array, "1 T"]) -> Float[Array, "1 T D"]:
    """The word vectors of ids, as a call takes them."""
    embed = model.towers[name].embed
    vectors = embed.embed_ids(ids, model.dtype, model.token_table(name))
    return vectors / embed.spec.scale if embed.spec.scales == "all" else vectors
