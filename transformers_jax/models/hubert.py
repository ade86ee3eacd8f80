"""HuBERT (Hsu et al. 2021): Wav2Vec2's encoder, trained to name clusters of what was hidden.
Hugging Face model_type "hubert"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.waveforms import WaveTower


@dataclass(frozen=True, kw_only=True)
class HubertConfig(WaveTower):
    """The fields of a HuBERT config.json; defaults are hubert-base-ls960 (95M). Positions behind a
    batch norm (`conv_pos_batch_norm`), which depend on the batches of its training, are refused."""

    model_type = "hubert"
    FIXED = {"conv_pos_batch_norm": False}
    PREFIX = "hubert."
    HEADS = heads_of("Hubert", "none", "ctc", "sequence_classification")

    feat_proj_layer_norm: bool = True

    @property
    def project_norm(self):
        return self.layer_norm if self.feat_proj_layer_norm else None
