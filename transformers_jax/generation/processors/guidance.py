"""Classifier-free guidance: away from the scores after another prompt, or after none.

Source: Sanchez et al. 2023, equation 7. In a search the other prompt has a cache of its own
(`generation/guidance.py`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float, Int
from transformers_jax.generation.processors.record import Processor, number, record, static
from transformers_jax.generation.text import Text


@record
class ClassifierFreeGuidanceLogitsProcessor(Processor):
    """Scales the difference of scores after prompts and without them, of twice as many rows as the
    text: first those after the prompts. For loops of one's own."""

    guidance_scale: Any

    def __post_init__(self) -> None:
        self.settle(guidance_scale=number(self.guidance_scale))
        self.check("guidance_scale", lambda value: value > 1, "> 1")

    def process(self, text: Text, scores: Float[Array, "2R V"]) -> Float[Array, "R V"]:
        if len(scores) != 2 * text.ids.shape[0]:
            raise ValueError(
                f"ClassifierFreeGuidanceLogitsProcessor: {len(scores)} rows of scores for "
                f"{text.ids.shape[0]} texts; expected twice as many, first those after the "
                "prompts, then those without them (in generate, pass guidance_scale)"
            )
        after, without = jnp.split(scores, 2)
        return without + (after - without) * self.guidance_scale


@record
class UnbatchedClassifierFreeGuidanceLogitsProcessor(Processor):
    """Log-probabilities, away from those of the same model after another prompt.

    In `generate`, options say it: `guidance_scale`, `negative_prompt_ids` and its mask, and the
    model reads the other prompt once. Called by itself, the record reads the whole other text in
    every call.

    Attributes:
        guidance_scale: 1 for none.
        model: the one that gave the scores.
        unconditional_ids: Int[B S], the other prompt; None: the last token of the prompt.
        unconditional_attention_mask: which of them are text.
        use_cache: without effect.
        prompt_length: the width of the prompt; what comes after it is appended to the other one.
            None: all columns are the prompt.
    """

    guidance_scale: Any
    model: Any = static()
    unconditional_ids: Any = None
    unconditional_attention_mask: Any = None
    use_cache: bool = static(default=True)
    prompt_length: int | None = static(default=None)

    def __post_init__(self) -> None:
        self.settle(guidance_scale=number(self.guidance_scale))
        self.check("guidance_scale", lambda value: value == value, "a number")

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        raise ValueError(
            "UnbatchedClassifierFreeGuidanceLogitsProcessor has no place in logits_processor: pass "
            "guidance_scale and negative_prompt_ids to generate"
        )

    def __call__(self, input_ids: Int[Array, "B T"], scores: Float[Array, "B V"]) -> Array:
        input_ids = jnp.asarray(input_ids)
        width = input_ids.shape[1] if self.prompt_length is None else self.prompt_length
        other, mask = self.unconditional_ids, self.unconditional_attention_mask
        other = input_ids[:, width - 1 : width] if other is None else jnp.asarray(other)
        mask = jnp.ones_like(other) if mask is None else jnp.asarray(mask, other.dtype)
        new = input_ids[:, width:]
        ids = jnp.concatenate([other, new], axis=1)
        mask = jnp.concatenate([mask, jnp.ones_like(new)], axis=1)
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=jnp.maximum(mask.cumsum(-1) - 1, 0),
        )
        return guided(scores, out.logits[:, -1], self.guidance_scale)


def guided(
    scores: Float[Array, "R V"], other: Float[Array, "R V"], scale: Any
) -> Float[Array, "R V"]:
    """Log-probabilities, moved away from the other ones."""
    scores, other = (jax.nn.log_softmax(x, axis=-1) for x in (jnp.asarray(scores), other))
    return scale * (scores - other) + other
