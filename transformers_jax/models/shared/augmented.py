"""The settings of SpecAugment that configs of audio have."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.nn.spec_augment import Spans, SpecAugment


@dataclass(frozen=True, kw_only=True)
class SpecAugmented:
    """Which spans of frames and of channels a call with a key hides."""

    apply_spec_augment: bool = True
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0

    @property
    def masked(self) -> bool:
        """Whether anything may be hidden."""
        return self.mask_time_prob > 0 or self.mask_feature_prob > 0

    def augment(self) -> SpecAugment | None:
        """What a call with a key hides."""
        if not self.apply_spec_augment or not self.masked:
            return None
        times = (self.mask_time_prob, self.mask_time_length, self.mask_time_min_masks)
        widths = (self.mask_feature_prob, self.mask_feature_length, self.mask_feature_min_masks)
        return SpecAugment(*(Spans(*each) if each[0] > 0 else None for each in (times, widths)))
