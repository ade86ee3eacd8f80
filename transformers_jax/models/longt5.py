"""LongT5 (Guo et al. 2022): T5 v1.1 whose encoder attends to a window, and summaries of the whole.
Hugging Face model_type "longt5"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.graph import Near, Where, with_own
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.weight_rows import norm
from transformers_jax.models.t5 import T5Config
from transformers_jax.nn.extend import SummaryBlocks
from transformers_jax.spec import RMSNorm, Summaries

KINDS = {"local": "LocalSelfAttention", "transient-global": "TransientGlobalSelfAttention"}
"""What the encoder's attention is called in files."""


@dataclass(frozen=True, kw_only=True)
class LongT5Config(T5Config):
    """The fields of a LongT5 config.json; defaults are those of transformers."""

    model_type = "longt5"
    HEADS = heads_of("LongT5", "none", "seq2seq_lm", "encoder")
    UNWRITTEN = T5Config.UNWRITTEN | {"classifier_dropout"}

    local_radius: int = 127
    global_block_size: int = 16
    encoder_attention_type: str = "local"

    def __post_init__(self):
        super().__post_init__()
        if self.encoder_attention_type not in KINDS:
            raise ValueError(
                f"LongT5Config: encoder_attention_type={self.encoder_attention_type!r}: "
                f"expected {' or '.join(map(repr, KINDS))}"
            )

    def summarises(self, decoder: bool) -> bool:
        """Whether the tokens of a side attend to summaries."""
        return not decoder and self.encoder_attention_type == "transient-global"

    def attend(self, decoder, mask):
        if decoder:
            return super().attend(decoder, mask)
        near = Near(self.local_radius, self.local_radius)
        if not self.summarises(decoder):
            return super().attend(decoder, with_own(mask, near))
        own = with_own(mask, near | Where("summary"))
        if others := own.tags - {"index", "summary", "block"}:
            raise ValueError(
                f"LongT5Config: the encoder's mask {own} compares {', '.join(sorted(others))}, but "
                "summaries are of blocks of the whole row; give rows of one document each, or a "
                "model with encoder_attention_type='local'"
            )
        norm = RMSNorm(self.layer_norm_epsilon)
        extend = Summaries(self.global_block_size, norm)
        return replace(super().attend(decoder, own), extend=extend)

    def buckets(self, decoder):
        return replace(super().buckets(decoder), summaries=self.summarises(decoder))

    def spec(self, decoder, mask=None, cross=None):
        layout = SummaryBlocks(self.global_block_size) if self.summarises(decoder) else None
        return replace(super().spec(decoder, mask, cross), layout=layout)

    def attention_name(self, decoder):
        return super().attention_name(decoder) if decoder else KINDS[self.encoder_attention_type]

    def side_rows(self, name, ours, embed):
        text = super().side_rows(name, ours, embed)
        if self.summarises(name == "decoder"):
            theirs = f"encoder.block.{{i}}.layer.0.{self.attention_name(False)}"
            path = f"{ours}.blocks.{{slot}}.self.extend.norm"
            text += norm(f"{theirs}.global_input_layer_norm", path, bias=False)
            first = theirs.replace("{i}", "0")
            text += f"\n{first}.global_relative_attention_bias.weight | {ours}.score.summaries"
        return text
