"""T5 v1.0 (Raffel et al. 2019) and v1.1 (gated, Shazeer 2020). Hugging Face model_type "t5"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from transformers_jax.graph import CAUSAL, FULL, Mask, given
from transformers_jax.hub.table import Table, Tying
from transformers_jax.models.weight_rows import attention, backbone, dense, layer, norm, of_heads
from transformers_jax.models.wiring import EncoderDecoderFamily
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.pooling import LastOf
from transformers_jax.spec import Branch, Buckets, InitialT5, RMSNorm, StackSpec

SHARED, OUTPUT = "shared.weight", "lm_head.weight"
WORDS = {side: f"{side}.embed_tokens.weight" for side in ("encoder", "decoder")}
DECODER_WORDS = f"\n{WORDS['decoder']} | decoder_embed.table"
WITHIN, INNER = ("sequence_classification", "token_classification"), "transformer."
"""Heads whose files have a prefix in front of the backbone, and the prefix."""


def heads_of(family: str, *chosen: str) -> dict[str, str]:
    """Hugging Face's class names of a family of T5's kind, by head; all heads, or some."""
    every = {
        "Model": "none",
        "ForConditionalGeneration": "seq2seq_lm",
        "EncoderModel": "encoder",
        "ForSequenceClassification": "sequence_classification",
        "ForTokenClassification": "token_classification",
        "ForQuestionAnswering": "question_answering",
    }
    return {f"{family}{n}": head for n, head in every.items() if not chosen or head in chosen}


@dataclass(frozen=True, kw_only=True)
class T5Config(EncoderDecoderFamily):
    """The fields of a T5 config.json; defaults are T5-small (60M).

    `own_words` is in no file: it names the sides whose words are stored apart from the shared ones.
    """

    model_type = "t5"
    is_encoder_decoder = True
    ALONE = {"encoder": "encoder", "token_classification": "encoder"}
    UNUSED = frozenset({"n_positions", "output_router_logits"})
    SPELLINGS = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }
    TIES = (Tying(SHARED, OUTPUT),)
    HEADS = {**heads_of("T5"), "T5WithLMHeadModel": "seq2seq_lm"}
    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"own_words"})

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
        # v4's flag meant two things at once; v5 always ties and says the scaling apart.
        values = super().modernise(values)
        tied = values.pop("tie_word_embeddings", True)
        scaled = values.get("scale_decoder_outputs")
        values["scale_decoder_outputs"] = tied if scaled is None else scaled
        return {**values, "tie_word_embeddings": True}

    def resolved(self, same):
        """The config with what the file tells: tables that are stored and differ are not tied."""

        def equal(a: str, b: str) -> bool | None:
            found = same(a, b)
            return same(INNER + a, INNER + b) if found is None else found

        every = (SHARED, *WORDS.values(), OUTPUT)
        shared = next((name for name in every if equal(name, name)), SHARED)
        own = tuple(side for side, name in WORDS.items() if equal(shared, name) is False)
        tied = self.tie_word_embeddings and equal(shared, OUTPUT) is not False
        return self.replace(own_words=own, tie_word_embeddings=tied)

    def to_dict(self):
        ffn = self.feed_forward()
        # v5 always says "tied", and lets the stored tables tell whether they are
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
        if self.feed_forward_proj == "gated-gelu":
            act = "gelu_new"
        act = self.dense_act_fn or act
        gate = bool(gated) if self.is_gated_act is None else self.is_gated_act
        return FeedForwardSpec(self.d_ff, act, gate, bias=False, dropout=self.dropout_rate)

    def depth(self, decoder: bool) -> int:
        """How many layers a side has."""
        if decoder and self.num_decoder_layers is not None:
            return self.num_decoder_layers
        return self.num_layers

    def buckets(self, decoder: bool) -> Buckets:
        """What distances add to the scores."""
        count, far = self.relative_attention_num_buckets, self.relative_attention_max_distance
        return Buckets(count, far, decoder)

    def hearing(self, decoder: bool, mask: Mask | None) -> AttentionSpec:
        """Self-attention of a side: scores are unscaled."""
        return AttentionSpec(
            self.num_heads,
            self.d_kv,
            scale=1.0,
            dropout=self.dropout_rate,
            mask=given(mask, CAUSAL if decoder else FULL),
        )

    def spec(self, decoder: bool, mask=None, cross=None) -> StackSpec:
        """Pre-norm blocks without biases, whose scores carry bucketed distances."""
        norm = RMSNorm(self.layer_norm_epsilon)
        placed: dict[str, Any] = dict(norm=norm, dropout=self.dropout_rate)
        own = self.hearing(decoder, mask)
        heard = [Branch("self", own, **placed)]
        if decoder:
            other = replace(own, mask=given(cross, FULL), score=None)
            heard.append(Branch("cross", other, source="encoder", **placed))
        return StackSpec(
            width=self.d_model,
            blocks=tuple(
                (*heard, replace(self.compute(decoder, number), **placed))
                for number in range(self.depth(decoder))
            ),
            final_norm=norm,
            score=None if own.score else self.buckets(decoder),
            dropout=self.dropout_rate,
            initial=self.initial,
        )

    def compute(self, decoder: bool, number: int) -> Branch:
        """The token-wise branch of a layer."""
        return Branch("ffn", self.feed_forward())

    def embed(self, decoder):
        return EmbedSpec(
            self.vocab_size, self.d_model, dropout=self.dropout_rate, initial=self.initial
        )

    def shift(self, head):
        of_input_ids = head in ("sequence_classification", "question_answering")
        return replace(super().shift(head), of_input_ids=of_input_ids)

    def head(self, head: str) -> heads.Head | None:
        """The head of this name."""
        D, initial = self.d_model, self.initial
        if head == "seq2seq_lm":
            tied = self.tie_word_embeddings and self.shared_row(head) != "head.table"
            scale = D**-0.5 if self.scale_decoder_outputs else 1.0
            return heads.LanguageModel(
                self.vocab_size, D, initial, tied=tied, shift=False, scale=scale
            )
        if head == "token_classification":
            return heads.TokenClassification(D, self.num_labels, initial, self.classifier_dropout)
        if head == "sequence_classification":
            return heads.SequenceClassification(
                D,
                self.num_labels,
                initial,
                pooling=LastOf(self.eos()),
                inner=heads.Square(D, "tanh", initial),
                problem=self.problem_type,
                rate=self.classifier_dropout,
            )
        return heads.QuestionAnswering(D, initial) if head == "question_answering" else None

    def eos(self) -> int:
        """The token at whose last place a row is classified."""
        if not isinstance(self.eos_token_id, int):
            raise ValueError(
                f"{type(self).__name__}: eos_token_id={self.eos_token_id!r}, but "
                "sequence_classification reads its answer at the last such token; give one id"
            )
        return self.eos_token_id

    # ------------------------------------------------------------ the table

    def table(self, head) -> Table:
        alone, own = head in self.ALONE, self.own_words
        texts = {
            "sequence_classification": layer("classification_head.dense", "head.inner")
            + layer("classification_head.out_proj", "head.classify"),
            "token_classification": layer("classifier", "head.classify"),
            "question_answering": layer("qa_outputs", "head.classify"),
            "seq2seq_lm": "" if self.tie_word_embeddings else f"{OUTPUT} | head.table",
        }
        words = f"{WORDS['encoder'] if 'encoder' in own else SHARED} | embed.table"
        words += "" if alone or "encoder" not in own else f"\n{SHARED} | {self.shared_row(head)}"
        words += "" if alone or "decoder" not in own else DECODER_WORDS
        found = list(backbone(words + self.side(False, "stack" if alone else "encoder"),
                              self.spec(False).slots))  # fmt: skip
        found += [] if alone else backbone(self.side(True, "decoder"), self.spec(True).slots)
        if head in WITHIN:
            found = [replace(row, theirs=INNER + row.theirs) for row in found]
        named = {row.theirs.removeprefix(INNER) for row in found}
        copies = [*WORDS.values(), *([] if texts["seq2seq_lm"] else [OUTPUT])]
        stray = [name for name in (SHARED, *copies) if name not in named]
        stray += ["decoder.*"] if alone else []
        inner = INNER if head in WITHIN else ""
        return Table(
            (*found, *of_heads(texts, head)),
            prefix=inner,
            prefixes=(INNER,),
            ignore=(
                *(prefix + name for name in stray for prefix in ("", INNER)),
                "*.EncDecAttention.relative_attention_bias.weight",
            ),
            ties=tuple(Tying(inner + SHARED, name) for name in copies),
        )

    def side(self, decoder: bool, ours: str) -> str:
        """The rows of one stack; the blocks of a decoder have a cross-attention in between."""
        theirs = "decoder" if decoder else "encoder"
        block, slot = f"{theirs}.block.{{i}}.layer", f"{ours}.blocks.{{slot}}"
        text = attention(f"{block}.0.{self.attends(decoder)}", f"{slot}.self", bias=False)
        text += norm(f"{block}.0.layer_norm", f"{slot}.self_norm", bias=False)
        if decoder:
            text += attention(f"{block}.1.EncDecAttention", f"{slot}.cross", bias=False)
            text += norm(f"{block}.1.layer_norm", f"{slot}.cross_norm", bias=False)
        text += self.computes(f"{block}.{2 if decoder else 1}", slot)
        text += norm(f"{theirs}.final_layer_norm", f"{ours}.norm", bias=False)
        each = "{i}" if self.hearing(decoder, None).score else "0"
        bias = f"{theirs}.block.{each}.layer.0.{self.attends(decoder)}.relative_attention_bias"
        place = f"{slot}.self.score" if each == "{i}" else f"{ours}.score"
        return text + f"\n{bias}.weight | {place}.table"

    def attends(self, decoder: bool) -> str:
        """What self-attention is called in files."""
        return "SelfAttention"

    def computes(self, theirs: str, slot: str) -> str:
        """The rows of a token-wise branch."""
        names = (("wi_0", "gate"), ("wi_1", "up"))
        names = names if self.feed_forward().gated else (("wi", "up"),)
        text = norm(f"{theirs}.layer_norm", f"{slot}.ffn_norm", bias=False)
        for name, role in names:
            text += dense(f"{theirs}.DenseReluDense.{name}", f"{slot}.ffn.{role}", bias=None)
        down = f"{theirs}.DenseReluDense.wo"
        return text + dense(down, f"{slot}.ffn.down", "d f -> f d", bias=None)
