"""T5 v1.0 (Raffel et al. 2019) and v1.1 (gated, Shazeer 2020). Hugging Face model_type "t5"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.graph import CAUSAL, FULL, Mask, with_own
from transformers_jax.models.shared.blocks import block
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.seq2seq_heads import LABELLING_ROWS, encoder_decoder_head
from transformers_jax.models.shared.task_heads import first_of
from transformers_jax.models.shared.weight_rows import block_rows, norm
from transformers_jax.models.wiring import EncoderDecoderFamily
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Branch, Buckets, InitialT5, RMSNorm, StackSpec

INNER = "transformer."
"""In front of the backbone, in files of some heads."""


@dataclass(frozen=True, kw_only=True)
class T5Config(EncoderDecoderFamily):
    """The fields of a T5 config.json; defaults are T5-small (60M).

    `own_words` is in no file: it names the sides whose embeddings are stored separately from the
    shared ones.
    """

    model_type = "t5"
    is_encoder_decoder = True
    SINGLE = {"encoder": "encoder", "token_classification": "encoder"}
    UNUSED = frozenset({"n_positions", "output_router_logits"})
    SPELLINGS = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }
    MLP: ClassVar[str] = "DenseReluDense"
    PREFIXES = dict.fromkeys(("sequence_classification", "token_classification"), INNER)
    IGNORE = ("*.EncDecAttention.relative_attention_bias.weight",)
    HEAD_ROWS = LABELLING_ROWS
    EVERY: ClassVar[tuple[str, ...]] = ("none", "seq2seq_lm", "encoder", *LABELLING)
    HEADS = heads_of("T5", *EVERY, T5WithLMHeadModel="seq2seq_lm")
    UNWRITTEN: ClassVar[frozenset[str]] = frozenset()

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
    classifier_dropout: float = 0.0
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    dense_act_fn: str | None = None
    is_gated_act: bool | None = None
    scale_decoder_outputs: bool = True
    own_words: tuple[str, ...] = ()
    pad_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 1
    decoder_start_token_id: int | None = 0

    # ------------------------------------------------------------ in and out

    @classmethod
    def modernise(cls, values):
        # v4's flag meant two things at once; v5 always ties and has another flag for the scaling
        values = super().modernise(values)
        tied = values.pop("tie_word_embeddings", True)
        scaled = values.get("scale_decoder_outputs")
        scaled = tied if scaled is None else scaled
        return {**values, "scale_decoder_outputs": scaled, "tie_word_embeddings": True}

    def resolved(self, same):
        """The config with what only the file says: tables that are stored and differ are not
        tied."""

        def equal(a: str, b: str) -> bool | None:
            alike = same(a, b)
            return same(INNER + a, INNER + b) if alike is None else alike

        shared, own = self.separately_stored(equal, (*self.embedding_names, self.OUTPUT))
        tied = self.tie_word_embeddings and equal(shared, self.OUTPUT) is not False
        return self.replace(own_words=own, tie_word_embeddings=tied)

    def to_dict(self):
        ffn = self.feed_forward()
        # v5 always says "tied": whether they are, the stored tables show
        written = {"tie_word_embeddings": True, "dense_act_fn": ffn.activation}
        written = {**super().to_dict(), **written, "is_gated_act": ffn.gated}
        return {name: value for name, value in written.items() if name not in self.UNWRITTEN}

    # ------------------------------------------------------------ the network

    @property
    def initial(self) -> InitialT5:
        """Mesh TensorFlow's rule (Raffel et al. 2019, released code)."""
        return InitialT5(factor=self.initializer_factor)

    def feed_forward(self) -> FeedForwardSpec:
        """`feed_forward_proj` is "relu" or "gated-gelu", whose gelu is the tanh form."""
        *gated, act = self.feed_forward_proj.split("-")
        if gated not in ([], ["gated"]):
            raise ValueError(
                f"feed_forward_proj={self.feed_forward_proj!r}: expected 'relu', 'gated-gelu', "
                "'gated-silu' or another activation, with or without 'gated-'"
            )
        act = "gelu_new" if self.feed_forward_proj == "gated-gelu" else act
        act, gate = self.dense_act_fn or act, first_of(self.is_gated_act, bool(gated))
        return FeedForwardSpec(self.d_ff, act, gate, bias=False, dropout=self.dropout_rate)

    def depth(self, decoder: bool) -> int:
        """How many layers a side has."""
        return first_of(self.num_decoder_layers if decoder else None, self.num_layers)

    def buckets(self, decoder: bool) -> Buckets:
        """What distances add to the scores."""
        count, far = self.relative_attention_num_buckets, self.relative_attention_max_distance
        return Buckets(count, far, decoder)

    def attend(self, decoder: bool, mask: Mask | None) -> AttentionSpec:
        """Self-attention of a side: scores are unscaled."""
        mask, rate = with_own(mask, CAUSAL if decoder else FULL), self.dropout_rate
        return AttentionSpec(self.num_heads, self.d_kv, scale=1.0, dropout=rate, mask=mask)

    def spec(self, decoder: bool, mask=None, cross=None) -> StackSpec:
        """Pre-norm blocks without biases, whose scores carry bucketed distances."""
        norm, rate = RMSNorm(self.layer_norm_epsilon), self.dropout_rate
        own, other = self.attend(decoder, mask), with_own(cross, FULL) if decoder else None
        computes = (self.compute(decoder, number) for number in range(self.depth(decoder)))
        blocks = tuple(block(own, one, norm, "pre", rate, other) for one in computes)
        score, initial = None if own.score else self.buckets(decoder), self.initial
        return StackSpec(self.d_model, blocks, norm, score=score, dropout=rate, initial=initial)

    def compute(self, decoder: bool, number: int) -> Branch:
        """The token-wise branch of a layer."""
        return Branch("ffn", self.feed_forward())

    def embed(self, decoder):
        rate, initial = self.dropout_rate, self.initial
        return EmbedSpec(self.vocab_size, self.d_model, dropout=rate, initial=initial)

    def shift(self, head):
        of_input_ids = head in ("sequence_classification", "question_answering")
        return replace(super().shift(head), of_input_ids=of_input_ids)

    def head(self, head):
        scale = self.d_model**-0.5 if self.scale_decoder_outputs else 1.0
        return encoder_decoder_head(self, head, self.classifier_dropout, scale=scale)

    # ------------------------------------------------------------ the table

    def side_rows(self, name, ours, embed):
        decoder, slot = name == "decoder", f"{ours}.blocks.{{slot}}"
        theirs, own = f"{name}.block.{{i}}.layer", f"0.{self.attention_name(decoder)}"
        last = 2 if decoder else 1
        layers = ("wi_0", "wi_1", "wo") if self.feed_forward().gated else ("wi", "wo")
        mlp = " ".join(f"{last}.{self.MLP}.{layer}" for layer in layers)
        norms = " ".join(f"{number}.layer_norm" for number in range(last + 1))
        attends = f"{own} 1.EncDecAttention" if decoder else own
        text = block_rows(theirs, slot, attends, "q k v o", mlp, norms, bias=False)
        text += norm(f"{name}.final_layer_norm", f"{ours}.norm", bias=False)
        bias = f"{theirs}.{own}.relative_attention_bias.weight"
        if self.attend(decoder, None).score:
            return text + f"\n{bias} | {slot}.self.score.table"
        return text + f"\n{bias.replace('{i}', '0')} | {ours}.score.table"

    def attention_name(self, decoder: bool) -> str:
        """What self-attention is called in files."""
        return "SelfAttention"
