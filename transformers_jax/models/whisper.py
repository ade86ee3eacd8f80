"""Whisper (Radford et al. 2022): an encoder of log-mel features of audio, and a decoder that writes
text. Hugging Face model_type "whisper"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers_jax.graph import CAUSAL, FULL, given
from transformers_jax.hub.table import Table, Tying, rows
from transformers_jax.models.bart import WORDS, side
from transformers_jax.models.weight_rows import backbone, of_heads
from transformers_jax.models.wiring import EncoderDecoderFamily
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec, FrameEmbedder, FrameSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Branch, Initial, LayerNorm, StackSpec

OUTPUT = "proj_out.weight"


@dataclass(frozen=True, kw_only=True)
class WhisperConfig(EncoderDecoderFamily):
    """The fields of a Whisper config.json; defaults are whisper-tiny (38M). `scale_embedding`
    changes nothing, as in the reference. A row of features is as long as the encoder's positions
    say; the decoder reads `decoder_input_ids`, or labels shifted to the right."""

    model_type = "whisper"
    is_encoder_decoder = True
    FIXED = {"apply_spec_augment": False, "use_weighted_layer_sum": False}
    UNUSED = frozenset(
        """classifier_proj_size mask_feature_length mask_feature_min_masks mask_feature_prob
        mask_time_length mask_time_min_masks mask_time_prob median_filter_width scale_embedding
        num_hidden_layers forced_decoder_ids
        """.split()
    )
    TIES = (Tying(WORDS[1], OUTPUT),)
    SPELLINGS = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_key_value_heads": "encoder_attention_heads",
    }
    HEADS = {"WhisperModel": "none", "WhisperForConditionalGeneration": "seq2seq_lm"}

    vocab_size: int = 51865
    num_mel_bins: int = 80
    d_model: int = 384
    encoder_layers: int = 4
    encoder_attention_heads: int = 6
    encoder_ffn_dim: int = 1536
    encoder_layerdrop: float = 0.0
    decoder_layers: int = 4
    decoder_attention_heads: int = 6
    decoder_ffn_dim: int = 1536
    decoder_layerdrop: float = 0.0
    activation_function: str = "gelu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    max_source_positions: int = 1500
    max_target_positions: int = 448
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256
    pad_token_id: int | None = 50256
    decoder_start_token_id: int | None = 50257

    @property
    def initial(self) -> Initial:
        """normal(0.02) everywhere (the class in Hugging Face)."""
        return Initial(self.init_std)

    @property
    def apart(self):
        return ("encoder", "decoder")  # one side alone has words

    def shared_row(self, head):
        return None

    def embed(self, decoder) -> EmbedSpec:
        positions, rate = self.max_target_positions, self.dropout
        pad = self.pad_token_id
        return EmbedSpec(
            self.vocab_size, self.d_model, padding_idx=pad, positions=positions, dropout=rate,
            initial=self.initial,
        )  # fmt: skip

    def embedder(self, decoder, **changes):
        if decoder:
            return super().embedder(decoder, **changes)
        return FrameEmbedder(
            FrameSpec(
                self.num_mel_bins,
                self.max_source_positions,
                self.d_model,
                dropout=self.dropout,
                initial=self.initial,
            )
        )

    def spec(self, decoder, own=None, cross=None) -> StackSpec:
        """Pre-norm blocks; keys have no bias."""
        name = "decoder" if decoder else "encoder"
        get = lambda what: getattr(self, f"{name}_{what}")
        placed: dict[str, Any] = dict(norm=LayerNorm(), dropout=self.dropout)
        attend = lambda mask: AttentionSpec(
            heads=get("attention_heads"),
            kv=self.head_width("d_model", f"{name}_attention_heads"),
            mask=mask,
            bias=("query", "value", "out"),
            dropout=self.attention_dropout,
        )
        ffn = FeedForwardSpec(
            get("ffn_dim"), self.activation_function, dropout=self.activation_dropout
        )
        block = [Branch("self", attend(given(own, CAUSAL if decoder else FULL)), **placed)]
        if decoder:
            block.append(Branch("cross", attend(given(cross, FULL)), **placed, source="encoder"))
        blocks = ((*block, Branch("ffn", ffn, **placed)),) * get("layers")
        drop = get("layerdrop")
        return StackSpec(self.d_model, blocks, LayerNorm(), layerdrop=drop, initial=self.initial)

    def head(self, head):
        tied = self.tie_word_embeddings
        words = heads.LanguageModel(
            self.vocab_size, self.d_model, self.initial, tied=tied, shift=False
        )
        return None if head == "none" else words

    def table(self, head) -> Table:
        found = rows(FRAMES)
        for name, ours, embed in (
            ("encoder", "encoder", "embed"),
            ("decoder", "decoder", "decoder_embed"),
        ):
            found += backbone(side(name, ours, embed), self.spec(name == "decoder").slots)
        untied = "" if self.tie_word_embeddings else f"{OUTPUT} | head.table"
        tied = (OUTPUT,) if self.tie_word_embeddings else ()
        return Table(
            (*found, *of_heads({"seq2seq_lm": untied}, head)),
            prefix="model.",
            ignore=tied,
            ties=self.ties,
        )


FRAMES = f"""
model.encoder.conv1.weight | embed.first  | d m k -> k m d
model.encoder.conv1.bias   | embed.first_bias
model.encoder.conv2.weight | embed.second | d m k -> k m d
model.encoder.conv2.bias   | embed.second_bias
{WORDS[1]}                 | decoder_embed.table
"""
