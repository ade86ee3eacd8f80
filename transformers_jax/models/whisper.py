"""Whisper (Radford et al. 2022): an encoder of log-mel features of audio, and a decoder that writes
text. Hugging Face model_type "whisper"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.shared.augmented import SpecAugmented
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.seq2seq_heads import encoder_decoder_head
from transformers_jax.models.shared.standard import StandardSides
from transformers_jax.nn.embed import FrameEmbedder, FrameSpec


@dataclass(frozen=True, kw_only=True)
class WhisperConfig(SpecAugmented, StandardSides):
    """The fields of a Whisper config.json; defaults are whisper-tiny (38M). `scale_embedding`
    changes nothing, as in the reference. A row of features is as long as the encoder's positions
    say; the decoder reads `decoder_input_ids`, or labels shifted to the right."""

    model_type = "whisper"
    PLACEMENT = "pre"
    BIASES = ("query", "value", "out")
    FIXED = {"use_weighted_layer_sum": False}
    UNUSED = frozenset(
        "classifier_proj_size scale_embedding num_hidden_layers forced_decoder_ids".split()
    )
    PREFIX, OUTPUT = "model.", "proj_out.weight"
    shares_embeddings = False  # only the decoder has words
    SPELLINGS = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_key_value_heads": "encoder_attention_heads",
    }
    HEADS = heads_of("Whisper", "none", "seq2seq_lm")

    vocab_size: int = 51865
    apply_spec_augment: bool = False
    num_mel_bins: int = 80
    d_model: int = 384
    encoder_layers: int = 4
    encoder_attention_heads: int = 6
    encoder_ffn_dim: int = 1536
    decoder_layers: int = 4
    decoder_attention_heads: int = 6
    decoder_ffn_dim: int = 1536
    dropout: float = 0.0
    max_source_positions: int = 1500
    max_target_positions: int = 448
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256
    pad_token_id: int | None = 50256
    decoder_start_token_id: int | None = 50257
    median_filter_width: int = 7

    def embed(self, decoder):
        return self.words_and_positions(decoder, self.max_target_positions)

    def embedder(self, decoder, **changes):
        if decoder:
            return super().embedder(decoder, **changes)
        sizes = (self.num_mel_bins, self.max_source_positions, self.d_model)
        noise = (self.dropout, self.augment())
        return FrameEmbedder(FrameSpec(*sizes, *noise, initial=self.initial))

    def head(self, head):
        return encoder_decoder_head(self, head)

    def side_rows(self, name, ours, embed):
        return super().side_rows(name, ours, embed) + (FRAMES if name == "encoder" else "")


FRAMES = """
encoder.conv1.weight | embed.first  | d m k -> k m d
encoder.conv1.bias   | embed.first_bias
encoder.conv2.weight | embed.second | d m k -> k m d
encoder.conv2.bias   | embed.second_bias
"""
