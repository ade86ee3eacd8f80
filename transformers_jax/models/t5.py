"""T5 v1.0 (Raffel et al. 2019) and v1.1 (gated, Shazeer 2020). Hugging Face model_type "t5"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transformers_jax.graph import CAUSAL, FULL, given
from transformers_jax.hub.table import Table, rows, slots
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.rows import attention, dense, layer, norm, of_heads
from transformers_jax.models.wiring import Seq2Seq, Single
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
from transformers_jax.nn.pooling import LastOf
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import (
    AttentionSpec,
    Branch,
    Buckets,
    FeedForward,
    InitialT5,
    RMSNorm,
    StackSpec,
)


@dataclass(frozen=True, kw_only=True)
class T5Config(FamilyConfig):
    """The fields of a T5 config.json; defaults are T5-small (60M)."""

    model_type = "t5"
    is_encoder_decoder = True
    UNUSED = frozenset({"n_positions", "classifier_dropout"})
    SPELLINGS = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }
    TIES = ("shared.weight", "lm_head.weight")
    SAME = (
        ("shared.weight", "encoder.embed_tokens.weight"),
        ("shared.weight", "decoder.embed_tokens.weight"),
    )
    HEADS = {
        "T5Model": "none",
        "T5ForConditionalGeneration": "seq2seq_lm",
        "T5EncoderModel": "encoder",
        "T5WithLMHeadModel": "seq2seq_lm",
    }

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    dense_act_fn: str | None = None
    is_gated_act: bool | None = None
    scale_decoder_outputs: bool = True
    pad_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 1
    decoder_start_token_id: int | None = 0

    @classmethod
    def modernise(cls, values):
        # v4's flag meant two things at once; v5 always ties and says the scaling apart.
        values = super().modernise(values)
        if "scale_decoder_outputs" not in values:
            values["scale_decoder_outputs"] = values.pop("tie_word_embeddings", True)
        values["scale_decoder_outputs"] = bool(values["scale_decoder_outputs"])
        values["tie_word_embeddings"] = True
        return values

    @property
    def initial(self) -> InitialT5:
        """Mesh TensorFlow's rule (Raffel et al. 2019, released code)."""
        return InitialT5(factor=self.initializer_factor)

    def feed_forward(self) -> FeedForward:
        """`feed_forward_proj` is "relu" or "gated-gelu", whose gelu is the tanh form."""
        *gated, act = self.feed_forward_proj.split("-")
        if gated not in ([], ["gated"]):
            raise ValueError(
                f"feed_forward_proj={self.feed_forward_proj!r}: expected 'relu', 'gated-gelu', "
                "'gated-silu' or another activation, with or without 'gated-'"
            )
        if self.feed_forward_proj == "gated-gelu":
            act = "gelu_new"
        act = self.dense_act_fn or act
        gate = bool(gated) if self.is_gated_act is None else self.is_gated_act
        return FeedForward(self.d_ff, act, gate, bias=False, dropout=self.dropout_rate)

    def to_dict(self):
        ffn = self.feed_forward()
        # v5 always says "tied", and lets the stored tables tell whether they are
        written = {"tie_word_embeddings": True, "dense_act_fn": ffn.activation}
        return {**super().to_dict(), **written, "is_gated_act": ffn.gated}

    def spec(self, decoder: bool, mask=None, cross=None) -> StackSpec:
        """Pre-norm blocks without biases; scores are unscaled and carry bucketed distances."""
        norm, rate = RMSNorm(self.layer_norm_epsilon), self.dropout_rate
        common = dict(heads=self.num_heads, kv=self.d_kv, scale=1.0, dropout=rate)
        default = CAUSAL if decoder else FULL
        block = [
            Branch("self", AttentionSpec(mask=given(mask, default), **common), norm, dropout=rate)
        ]
        if decoder:
            hears = AttentionSpec(mask=given(cross, FULL), **common)
            block.append(Branch("cross", hears, norm, dropout=rate))
        block.append(Branch("ffn", self.feed_forward(), norm, dropout=rate))
        depth = self.num_layers if self.num_decoder_layers is None else self.num_decoder_layers
        return StackSpec(
            width=self.d_model,
            blocks=(tuple(block),) * (depth if decoder else self.num_layers),
            final_norm=norm,
            score=Buckets(
                self.relative_attention_num_buckets, self.relative_attention_max_distance, decoder
            ),
            dropout=rate,
            initial=self.initial,
        )

    def build(self, head, execution, mask=None) -> Seq2Seq | Single:
        embed = TokenEmbedder(
            EmbedSpec(
                self.vocab_size, self.d_model, dropout=self.dropout_rate, initial=self.initial
            )
        )
        alone = {"encoder": mask} if head == "encoder" else {"decoder": mask}
        masks = mask if isinstance(mask, Mapping) else alone
        encoder = Stack(self.spec(False, masks.get("encoder")), execution)
        if head == "encoder":
            return Single(embed, encoder)
        words = None
        if head == "seq2seq_lm":
            words = LanguageModel(
                self.vocab_size,
                self.d_model,
                self.initial,
                tied=self.tie_word_embeddings,
                shift=False,
                scale=self.d_model**-0.5 if self.scale_decoder_outputs else 1.0,
            )
        decoder = Stack(self.spec(True, masks.get("decoder"), masks.get("cross")), execution)
        ids = dict(start=self.decoder_start_token_id, pad=self.pad_token_id)
        return Seq2Seq(embed, encoder, decoder, words, **ids)

    def mask_names(self, head):
        return ("encoder",) if head == "encoder" else super().mask_names(head)

    def table(self, head) -> Table:
        gated = self.feed_forward().gated
        encoder = side("encoder", "stack" if head == "encoder" else "encoder", gated)
        decoder = "" if head == "encoder" else side("decoder", "decoder", gated)
        untied = "" if self.tie_word_embeddings else "lm_head.weight | head.table"
        return Table(
            (
                *slots("shared.weight | embed.table" + encoder + decoder),
                *rows(untied, group=head),
            ),
            ignore=(
                "encoder.embed_tokens.weight",
                "decoder.*" if head == "encoder" else "decoder.embed_tokens.weight",
                "*.EncDecAttention.relative_attention_bias.weight",
                *(("lm_head.weight",) if self.tie_word_embeddings or head != "seq2seq_lm" else ()),
            ),
            stand_ins=(
                *(("shared.weight", f"{s}.embed_tokens.weight") for s in ("encoder", "decoder")),
                self.TIES,
            ),
        )


def side(theirs: str, ours: str, gated: bool) -> str:
    """The rows of one stack; the blocks of a decoder have a cross-attention in between."""
    block, slot = f"{theirs}.block.{{i}}.layer", f"{ours}.blocks.{{slot}}"
    text = attention(f"{block}.0.SelfAttention", f"{slot}.self", bias=False)
    text += norm(f"{block}.0.layer_norm", f"{slot}.self_norm", bias=False)
    last = 1
    if theirs == "decoder":
        text += attention(f"{block}.1.EncDecAttention", f"{slot}.cross", bias=False)
        text += norm(f"{block}.1.layer_norm", f"{slot}.cross_norm", bias=False)
        last = 2
    names = (("wi_0", "gate"), ("wi_1", "up")) if gated else (("wi", "up"),)
    for name, role in names:
        text += dense(f"{block}.{last}.DenseReluDense.{name}", f"{slot}.ffn.{role}", bias=None)
    text += dense(f"{block}.{last}.DenseReluDense.wo", f"{slot}.ffn.down", "d f -> f d", bias=None)
    text += norm(f"{block}.{last}.layer_norm", f"{slot}.ffn_norm", bias=False)
    text += norm(f"{theirs}.final_layer_norm", f"{ours}.norm", bias=False)
    bias = f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    return text + f"\n{bias} | {ours}.score.table"
