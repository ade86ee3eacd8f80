"""AST, the Audio Spectrogram Transformer (Gong et al. 2021): ViT on spectrograms. Hugging Face
model_type "audio-spectrogram-transformer"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bert import MLP
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.standard import StandardTower
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.vit_rows import IN_MEMORY, PROJECTIONS, L
from transformers_jax.models.shared.weight_rows import S, block_rows, layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import SpectrogramEmbedder, SpectrogramSpec
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.pooling import FirstTokens


@dataclass(frozen=True, kw_only=True)
class ASTConfig(StandardTower):
    """The fields of an AST config.json; defaults are the base model of AudioSet (87M). Every
    spectrogram has `max_length` frames of `num_mel_bins` channels."""

    model_type = "audio-spectrogram-transformer"
    PREFIX = "audio_spectrogram_transformer."
    ALIASES = (
        (r"^((?:audio_spectrogram_transformer\.)?)layers\.", r"\1encoder.layer."),
        *IN_MEMORY,
    )
    HEAD_ROWS = {
        "audio_classification": norm("classifier.layernorm", "head.inner")
        + layer("classifier.dense", "head.classify")
    }
    ROWS = f"""
embeddings.cls_token                          | embed.cls          | 1 1 d -> d
embeddings.distillation_token                 | embed.distillation | 1 1 d -> d
embeddings.position_embeddings                | embed.position     | 1 t d -> t d
embeddings.patch_embeddings.projection.weight | embed.patch        | d 1 p q -> p q d
embeddings.patch_embeddings.projection.bias   | embed.patch_bias
{norm("layernorm", "stack.norm")}
{block_rows(L, S, "attention", PROJECTIONS, MLP, "layernorm_before layernorm_after")}
"""
    HEADS = heads_of("AST", "none", "audio_classification")

    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    patch_size: int = 16
    qkv_bias: bool = True
    frequency_stride: int = 10
    time_stride: int = 10
    max_length: int = 1024
    num_mel_bins: int = 128

    def embedder(self, head):
        strides = (self.frequency_stride, self.time_stride)
        sizes = (self.num_mel_bins, self.max_length, self.patch_size, strides, self.hidden_size)
        rate = self.hidden_dropout_prob
        return SpectrogramEmbedder(SpectrogramSpec(*sizes, dropout=rate, initial=self.initial))

    def attend(self, mask):
        own = super().attend(mask)
        return own if self.qkv_bias else replace(own, bias=("out",))

    def spec(self, mask=None):
        return replace(self.stack(mask), final_norm=self.layer_norm)

    def pooler(self, head):
        return heads.TokenPooler(self.hidden_size, pooling=FirstTokens(count=2))

    def head(self, head):
        width, initial = self.hidden_size, self.initial
        inner = Norm(self.layer_norm, width)
        return task_head(self, "sequence_classification", width, initial, inner=inner)
