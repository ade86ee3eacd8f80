"""Sampling: temperature, top-k and top-p, and the draw from what they leave of the distribution."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from transformers_jax.arrays import MASKED as BANNED
from transformers_jax.arrays import Array, Float, Int, Key
from transformers_jax.generation.job import Job, Text
from transformers_jax.generation.processors import Processor


def build(job: Job) -> tuple[Processor, ...]:
    """The processors that reshape the distribution before a draw, in Hugging Face's order."""
    options, traced = job.options, job.traced
    if not options.do_sample:
        return ()
    # beams must keep one candidate more than can end the text, or none could go on
    least = len(options.eos_token_id or (0,)) + 1 if options.num_beams > 1 else 1
    processors: list[Processor] = []
    if "temperature" in traced:
        processors.append(lambda text, scores: scores / traced["temperature"])
    if options.top_k:
        processors.append(keep_best(max(options.top_k, least)))
    if "top_p" in traced:
        processors.append(keep_nucleus(traced["top_p"], least))
    return tuple(processors)


def keep_best(count: int) -> Processor:
    """Bans all but the `count` best tokens; ties with the last of them stay."""

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        worst = jax.lax.top_k(scores, min(count, scores.shape[1]))[0][:, -1:]
        return jnp.where(scores < worst, BANNED, scores)

    return process


def keep_nucleus(mass: Float[Array, ""], least: int = 1) -> Processor:
    """Keeps the fewest best tokens whose probabilities sum to `mass`, and at least `least`.

    Source: Holtzman et al. 2020, section 3.1.
    """

    def process(text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        order = jnp.argsort(scores, axis=-1)  # ascending: what is dropped comes first
        ascending = jnp.take_along_axis(scores, order, axis=-1)
        below = jnp.cumsum(jax.nn.softmax(ascending, axis=-1), axis=-1)
        dropped = (below <= 1 - mass) & (jnp.arange(scores.shape[1]) < scores.shape[1] - least)
        rows = jnp.arange(scores.shape[0])[:, None]
        dropped = jnp.zeros_like(dropped).at[rows, order].set(dropped)
        return jnp.where(dropped, BANNED, scores)

    return process


def draw(key: Key, scores: Float[Array, "R V"]) -> Int[Array, " R"]:
    """One token a row, with the probabilities softmax(scores)."""
    return jax.random.categorical(key, scores, axis=-1)


def draw_without_replacement(
    key: Key, scores: Float[Array, "R V"], count: int
) -> tuple[Float[Array, "R count"], Int[Array, "R count"]]:
    """`count` different tokens a row, drawn one after the other; their scores and indices.

    The largest of scores plus Gumbel noise are such a draw (Kool et al. 2019, section 2).
    """
    noise = jax.random.gumbel(key, scores.shape, scores.dtype)
    index = jax.lax.top_k(scores + noise, count)[1]
    return jnp.take_along_axis(scores, index, axis=-1), index
