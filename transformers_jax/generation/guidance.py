"""Guidance in a search: the model reads another prompt as well, in a cache of its own, and both are
continued by the same tokens. Source: Sanchez et al. 2023, equation 7."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int, is_traced
from transformers_jax.generation import padding
from transformers_jax.generation.padding import Call, HostOrTraced
from transformers_jax.generation.tags import needed_tags
from transformers_jax.generation.text import Prompt


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guidance:
    """How far from the scores after the other prompt, which ends in the column of the prompt."""

    scale: Float[Array, ""]
    prompt: Prompt


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guided:
    """The caches of a text and of its other prompt, whose rows begin elsewhere.

    Attributes:
        start, offset: of the other prompt, as in `Text`.
    """

    own: Any
    other: Any
    start: Int[Array, " R"]
    offset: Int[Array, ""]

    @property
    def length(self) -> tuple[Any, Any]:
        """The tokens that have been written of each."""
        return self.own.length, self.other.length

    def reorder(self, rows: Int[Array, " R"], shared: tuple[Any, Any] = (0, 0)) -> Guided:
        """The caches of these rows; beams of one prompt begin in the same column."""
        own, other = self.own.reorder(rows, shared[0]), self.other.reorder(rows, shared[1])
        return replace(self, own=own, other=other)


class Negative:
    """The other prompt of a call, checked; its rows end in the last column.

    Attributes:
        ids, start: None where there is no guidance.
    """

    ids: Any = None
    start: Any = None

    def __init__(self, call: Call, prompt: Int[HostOrTraced, "B T"]):
        """`prompt`: the ids of the prompt, whose text ends in the last column; without another
        prompt, its last token is it.

        Raises:
            ValueError: guidance of an encoder-decoder, or by masks that compare tags; another
                prompt without guidance, or of another number of rows.
        """
        ids, mask = call.negative_prompt_ids, call.negative_prompt_attention_mask
        scale = call.options.guidance_scale
        if ids is None and mask is not None:
            raise ValueError(
                "negative_prompt_attention_mask is that of negative_prompt_ids; pass both, or none"
            )
        if scale == 1:
            if ids is not None:
                raise ValueError(
                    "negative_prompt_ids are without effect under guidance_scale=1; pass a "
                    "guidance_scale above 1, or leave them out"
                )
            return
        model = call.model
        if model.is_encoder_decoder:
            raise ValueError(
                f"guidance_scale={scale} needs a model without an encoder: the other prompt has no "
                "source; pass guidance_scale=None"
            )
        if needed := sorted(needed_tags(model.reading)):
            raise ValueError(
                f"guidance_scale={scale}: the model's mask compares the tag {needed[0]!r}, which "
                "the other prompt has not; pass guidance_scale=None"
            )
        if ids is None:
            self.ids = prompt[:, -1:]
            self.start = (jnp if is_traced(prompt) else np).zeros(len(prompt), np.int32)
            return
        name = "negative_prompt_ids"
        ids = padding.check_ids(name, ids, model.reading.vocabulary)
        if len(ids) != len(prompt):
            raise ValueError(f"{name} have {len(ids)} rows, but there are {len(prompt)} prompts")
        text = padding.text_mask(name, ids, mask, call.options)
        self.ids, self.start, _ = padding.to_the_right(ids, text)

    @property
    def columns(self) -> int:
        return 0 if self.ids is None else self.ids.shape[1]

    def prompt(self, wide: int) -> Prompt | None:
        """It, in as many columns as the prompt's bucket has."""
        if self.ids is None:
            return None
        shift = wide - self.columns
        ids = jnp.pad(jnp.asarray(self.ids, jnp.int32), ((0, 0), (shift, 0)))
        return Prompt(ids, jnp.asarray(self.start + shift), jnp.int32(shift), {}, {})
