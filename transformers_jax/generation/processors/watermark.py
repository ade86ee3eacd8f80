"""A watermark of green lists in the text that is written."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Int, top_k
from transformers_jax.generation.processors.record import Processor, number, record, static
from transformers_jax.generation.text import Text
from transformers_jax.generation.watermarks import MOST_CANDIDATES, WatermarkingConfig, greens


@record
class WatermarkLogitsProcessor(Processor):
    """Adds `bias` to the scores of green tokens, which detection counts (`tj.WatermarkDetector`).

    The lists are those of transformers on CPUs. They are drawn on the host, in a callback out of
    the compiled loop: a list for each row and step, with "selfhash" 40. Rows with less text than
    `context_width` are not marked. Settings are those of `tj.WatermarkingConfig`; the bias is a
    leaf.
    """

    vocab_size: int = static()
    greenlist_ratio: float = static(default=0.25)
    bias: Any = 2.0
    hashing_key: int = static(default=15485863)
    seeding_scheme: Literal["lefthash", "selfhash"] = static(default="lefthash")
    context_width: int = static(default=1)

    def __post_init__(self) -> None:
        self.settle(bias=number(self.bias))
        self.check("bias", np.isfinite, "a finite number")
        _ = self.config

    @property
    def config(self) -> WatermarkingConfig:
        """The settings without the bias."""
        return WatermarkingConfig(
            greenlist_ratio=self.greenlist_ratio,
            hashing_key=self.hashing_key,
            seeding_scheme=self.seeding_scheme,
            context_width=self.context_width,
        )

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        if self.vocab_size > scores.shape[1]:
            raise ValueError(
                f"WatermarkLogitsProcessor: vocab_size is {self.vocab_size}, but there are scores "
                f"of {scores.shape[1]} tokens"
            )
        if self.context_width > text.ids.shape[1]:
            return scores
        context, enough = text.last(self.context_width)
        count = min(MOST_CANDIDATES, self.vocab_size) if self.seeding_scheme == "selfhash" else 0
        best = top_k(scores, count)[1] if count else jnp.zeros((len(scores), 0), int)
        shape = jax.ShapeDtypeStruct(scores.shape, bool)
        host = lambda *arrays: self._green(scores.shape, *map(np.asarray, arrays))
        green = jax.pure_callback(host, shape, context, enough, best, vmap_method="sequential")
        return scores + jnp.where(green, jnp.asarray(self.bias, scores.dtype), 0)

    def _green(
        self,
        shape: tuple[int, ...],
        context: Int[np.ndarray, "R C"],
        enough: Bool[np.ndarray, " R"],
        best: Int[np.ndarray, "R N"],
    ) -> Bool[np.ndarray, "R V"]:
        mask, config = np.zeros(shape, bool), self.config
        for row in np.flatnonzero(enough):
            if config.seeding_scheme == "lefthash":
                mask[row, greens(config, self.vocab_size, context[row])] = True
                continue
            for token in best[row]:
                green = greens(config, self.vocab_size, [*context[row], token])
                mask[row, token] = token in green
        return mask
