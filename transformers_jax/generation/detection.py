"""Whether texts carry a watermark of green lists, by how many of their tokens are green.

Source: Kirchenbauer et al. 2023, equation 3.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from transformers_jax.arrays import Bool, Float, Int
from transformers_jax.generation.watermarks import WatermarkingConfig, greens, marking


@dataclass(frozen=True)
class WatermarkDetectorOutput:
    """What was counted in each text, and what follows.

    Attributes:
        num_tokens_scored, num_green_tokens, green_fraction: of tokens with a whole context.
        z_score: by how many standard deviations there are more green tokens than by chance.
        p_value: how likely so many are by chance.
        prediction: whether a text is marked.
        confidence: 1 - p_value.
    """

    num_tokens_scored: Float[np.ndarray, " B"]
    num_green_tokens: Float[np.ndarray, " B"]
    green_fraction: Float[np.ndarray, " B"]
    z_score: Float[np.ndarray, " B"]
    p_value: Float[np.ndarray, " B"]
    prediction: Bool[np.ndarray, " B"]
    confidence: Float[np.ndarray, " B"]


@dataclass(frozen=True)
class WatermarkDetector:
    """Detects a watermark of `generate(watermarking_config=...)`, of the same settings; also one
    that transformers made on a CPU.

    Attributes:
        model_config: of the model that wrote: its vocabulary, and the token that begins texts.
        watermarking_config: a `tj.WatermarkingConfig`, or a dict of its fields.
        ignore_repeated_ngrams: whether an n-gram counts once in a text.
    """

    model_config: Any
    watermarking_config: Any
    ignore_repeated_ngrams: bool = False

    def __post_init__(self) -> None:
        config = marking(self.watermarking_config)
        if not isinstance(config, WatermarkingConfig):
            raise ValueError(
                "WatermarkDetector counts green tokens, which a tj.WatermarkingConfig says, got "
                f"{config!r}"
            )
        object.__setattr__(self, "watermarking_config", config)

    def __call__(
        self, input_ids: Int[np.ndarray, "B T"], z_threshold: float = 3.0, return_dict: bool = False
    ) -> WatermarkDetectorOutput | Bool[np.ndarray, " B"]:
        """Which texts are marked: whose z-score is above the threshold.

        Args:
            input_ids: the texts, best without their prompts, and without padding.
            return_dict: whether all figures are returned.

        Raises:
            ValueError: no token with a whole context, or a token that begins some texts only.
        """
        ids = self._without_beginning(np.asarray(input_ids))
        width = self.watermarking_config.context_width
        if ids.ndim != 2 or ids.shape[1] <= width:
            raise ValueError(
                f"input_ids have shape {ids.shape} (without the token that begins texts); expected "
                f"2 axes, and at least {width + 1} tokens, of which {width} are the first context"
            )
        counted, green = np.array([self._counts(row) for row in ids.tolist()], float).T
        ratio = self.watermarking_config.greenlist_ratio
        z_score = (green - ratio * counted) / np.sqrt(counted * ratio * (1 - ratio))
        prediction = z_score > z_threshold
        if not return_dict:
            return prediction
        p_value = np.array([0.5 * math.erfc(z / math.sqrt(2)) for z in z_score])
        fraction = green / counted
        return WatermarkDetectorOutput(
            counted, green, fraction, z_score, p_value, prediction, 1 - p_value
        )

    def _without_beginning(self, ids: Int[np.ndarray, "B T"]) -> Int[np.ndarray, "B T"]:
        config = self.model_config
        paired = getattr(config, "is_encoder_decoder", False)
        first = getattr(config, "decoder_start_token_id" if paired else "bos_token_id", None)
        if first is None or ids.ndim != 2 or not ids.size:
            return ids
        begun = ids[:, 0] == first
        if begun.any() != begun.all():
            raise ValueError(
                f"rows {np.flatnonzero(~begun).tolist()} do not begin with the token {first}, "
                "others do; pass texts that all begin with it, or none"
            )
        return ids[:, 1:] if begun.all() else ids

    def _counts(self, row: list[int]) -> tuple[int, int]:
        """(tokens that count, the green ones among them)."""
        config, vocabulary = self.watermarking_config, self.model_config.vocab_size
        own = config.seeding_scheme == "selfhash"  # the list depends on the token itself
        size = config.context_width + (not own)
        grams = Counter(tuple(row[n : n + size]) for n in range(len(row) - size + 1))
        is_green = {
            gram: gram[-1] in greens(config, vocabulary, gram if own else gram[:-1])
            for gram in grams
        }
        if self.ignore_repeated_ngrams:
            return len(grams), sum(is_green.values())
        return sum(grams.values()), sum(n for gram, n in grams.items() if is_green[gram])
