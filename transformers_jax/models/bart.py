"""BART (Lewis et al. 2019), and what its kin is made of. Hugging Face model_type "bart".

mBART, M2M-100, Marian, Pegasus and both BlenderBots are this encoder-decoder with other values in a
few slots: where the norms stand (`PLACEMENT`), what is added to the words (`embed`), what is added
to the logits (`BIAS`), how a row begins (`START`). Each is a subclass that says which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from transformers_jax.graph import CAUSAL, FULL, Mask, given
from transformers_jax.hub.table import Table, Tying, rows
from transformers_jax.models.weight_rows import attention, backbone, dense, layer, norm, of_heads
from transformers_jax.models.wiring import EncoderDecoderFamily, ShiftRight
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.pooling import LastOf
from transformers_jax.spec import Branch, Initial, LayerNorm, StackSpec

RESERVED = 2  # rows of the position tables before position 0, kept from fairseq
SHARED, OUTPUT = "model.shared.weight", "lm_head.weight"
SIDES = ("encoder", "decoder")
WORDS = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
LEGACY = {  # switches of the releases before every family had a class of its own
    "add_bias_logits": False,
    "add_final_layer_norm": False,
    "do_blenderbot_90_layernorm": False,
    "extra_layer_norm": False,
    "normalize_before": False,
    "normalize_embedding": True,
}
BARE_PRE_NORM = {  # what these say of pre-norm blocks over embeddings without a norm
    **LEGACY,
    "add_final_layer_norm": True,
    "normalize_before": True,
    "normalize_embedding": False,
}


@dataclass(frozen=True, kw_only=True)
class BartConfig(EncoderDecoderFamily):
    """The fields of a BART config.json; defaults are BART-large (406M).

    `is_decoder` and `add_cross_attention` change nothing: the head "causal_lm" is the decoder, and
    always has cross-attention. `own_words` is no key of the file: it names the sides whose words
    are stored apart from the shared ones, both where Hugging Face says `tie_word_embeddings=false`.

    Class attributes:
        PLACEMENT: of the norms; a stack of pre-norm blocks ends with a norm of its own.
        BIAS: what is added to the logits (`nn.head.LanguageModel`).
        START: what decoder inputs that are made of labels begin with: `decoder_start_token_id`, or
            the "last" token of the row (mBART: the code of its language).
        INPUT_IDS_SHIFTED: whether decoder inputs are made of the encoder's where nothing else is
            given.
        LABELS: how many classes there are where none is named.
    """

    model_type = "bart"
    is_encoder_decoder = True
    ALONE = {"causal_lm": "decoder"}
    PLACEMENT: ClassVar[Literal["pre", "post"]] = "post"
    BIAS: ClassVar[bool | Literal["fixed"]] = "fixed"
    START: ClassVar[Literal["first", "last"]] = "first"
    INPUT_IDS_SHIFTED: ClassVar[bool] = True
    LABELS: ClassVar[int] = 3
    FIXED = {**LEGACY, "static_position_embeddings": False, "extra_pos_embeddings": RESERVED}
    UNUSED = frozenset({"save_step"})
    SPELLINGS = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "classif_dropout": "classifier_dropout",
    }
    TIES = (Tying(SHARED, OUTPUT), Tying(WORDS[1], OUTPUT))  # of a decoder alone the second
    HEADS = {
        "BartModel": "none",
        "BartForConditionalGeneration": "seq2seq_lm",
        "BartForSequenceClassification": "sequence_classification",
        "BartForQuestionAnswering": "question_answering",
        "BartForCausalLM": "causal_lm",
    }

    vocab_size: int = 50265
    max_position_embeddings: int = 1024
    d_model: int = 1024
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    encoder_layerdrop: float = 0.0
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    decoder_layerdrop: float = 0.0
    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    classifier_dropout: float = 0.0
    init_std: float = 0.02
    scale_embedding: bool = False
    is_decoder: bool = False
    add_cross_attention: bool = False
    own_words: tuple[str, ...] = ()
    bos_token_id: int | None = 0
    eos_token_id: int | tuple[int, ...] | None = 2
    pad_token_id: int | None = 1
    decoder_start_token_id: int | None = 2
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | tuple[int, ...] | None = 2

    # ------------------------------------------------------------ in and out

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        depth = values.pop("num_hidden_layers", None)  # of the encoder, where nothing else tells
        if depth is not None:
            values.setdefault("encoder_layers", depth)
        forced = values.pop("force_bos_token_to_be_generated", False)  # bart-large-cnn, in 2020
        if forced and values.get("forced_bos_token_id") is None:
            values["forced_bos_token_id"] = values.get("bos_token_id", cls.bos_token_id)
        if values.get("tie_word_embeddings") is False:
            values.setdefault("own_words", SIDES)
        return values

    def resolved(self, same):
        """The config with what the file tells: tables that are stored and differ are not tied."""
        every = (SHARED, *reversed(WORDS), OUTPUT)
        if self.own_words and all(same(name, name) for name in (SHARED, *WORDS)):
            own = self.own_words
        else:  # v4 shared the words also where it called them untied
            shared = next((name for name in every if same(name, name)), SHARED)
            own = tuple(s for s, name in zip(SIDES, WORDS) if same(shared, name) is False)
        return super().resolved(same).replace(own_words=own)

    def to_dict(self):
        written = super().to_dict()
        del written["own_words"]
        heads = [self.HEADS.get(name) for name in self.architectures]
        alone = heads[0] == "causal_lm" if heads else self.is_decoder
        # "untied" parts the words of the two sides as well: where less is untied, v5 says "tied",
        # and that tables are stored which differ tells the rest
        parted = self.own_words == SIDES and not self.tie_word_embeddings
        written["tie_word_embeddings"] = not parted
        return {**written, "is_decoder": alone, "is_encoder_decoder": not alone}

    # ------------------------------------------------------------ the network

    @property
    def num_labels(self) -> int:
        """How many classes a classification head has."""
        return len(self.id2label) if self.id2label else self.LABELS

    @property
    def initial(self) -> Initial:
        """normal(0.02) everywhere (the released code)."""
        return Initial(self.init_std)

    def embed(self, decoder: bool) -> EmbedSpec:
        """What the words of a side are and what is added to them."""
        return EmbedSpec(
            vocab=self.target_vocab if decoder else self.vocab_size,
            width=self.d_model,
            padding_idx=self.pad_token_id,
            positions=self.max_position_embeddings + RESERVED,
            offset=RESERVED,
            norm=LayerNorm(),
            scale=self.d_model**0.5 if self.scale_embedding else 1.0,
            dropout=self.dropout,
            initial=self.initial,
        )

    def spec(self, decoder: bool, own: Mask | None = None, cross: Mask | None = None) -> StackSpec:
        """Blocks of (self, ffn) or (self, cross, ffn), with biases."""
        side = "decoder" if decoder else "encoder"
        get = lambda name: getattr(self, f"{side}_{name}")
        attend = AttentionSpec(
            heads=get("attention_heads"),
            kv=self.head_width("d_model", f"{side}_attention_heads"),
            mask=given(own, CAUSAL if decoder else FULL),
            bias=("query", "key", "value", "out"),
            dropout=self.attention_dropout,
        )
        ffn = FeedForwardSpec(
            get("ffn_dim"), self.activation_function, dropout=self.activation_dropout
        )
        placed = (LayerNorm(), self.PLACEMENT, self.dropout)
        block = [Branch("self", attend, *placed), Branch("ffn", ffn, *placed)]
        if decoder:
            other = replace(attend, mask=given(cross, FULL))
            block.insert(1, Branch("cross", other, *placed, source="encoder"))
        last = LayerNorm() if self.PLACEMENT == "pre" else None
        blocks, drop = (tuple(block),) * get("layers"), get("layerdrop")
        return StackSpec(self.d_model, blocks, last, layerdrop=drop, initial=self.initial)

    def shift(self, head):
        start = "last" if self.START == "last" else self.decoder_start_token_id
        return ShiftRight(start, self.pad_token_id, of_input_ids=self.INPUT_IDS_SHIFTED)

    def head(self, head: str) -> heads.Head | None:
        """The head of this name."""
        D, initial = self.d_model, self.initial
        if head in ("seq2seq_lm", "causal_lm"):
            # labels are never shifted here: alone, too, the decoder is told what comes next
            tied = self.tie_word_embeddings and self.shared_row(head) != "head.table"
            bias = self.BIAS if head == "seq2seq_lm" else False
            size = self.target_vocab
            return heads.LanguageModel(size, D, initial, tied=tied, shift=False, bias=bias)
        if head == "sequence_classification":
            if not isinstance(self.eos_token_id, int):
                raise ValueError(
                    f"{type(self).__name__}: eos_token_id={self.eos_token_id!r}, but "
                    "sequence_classification reads its answer at the last such token; give one id"
                )
            return heads.SequenceClassification(
                D,
                self.num_labels,
                initial,
                pooling=LastOf(self.eos_token_id),
                inner=heads.Square(D, "tanh", initial),
                problem=self.problem_type,
                rate=self.classifier_dropout,
            )
        return heads.QuestionAnswering(D, initial) if head == "question_answering" else None

    # ------------------------------------------------------------ the table

    def table(self, head) -> Table:
        untied = "" if self.tie_word_embeddings else f"{OUTPUT} | head.table"
        texts = {**HEAD_ROWS, "seq2seq_lm": untied, "causal_lm": untied}
        alone = head == "causal_lm"
        if alone:
            words = f"{SHARED} |\n{WORDS[1]} | embed.table"
            sides = [("decoder", "stack", "embed")]
        else:
            words = self.words(head)
            sides = [("encoder", "encoder", "embed"), ("decoder", "decoder", "decoder_embed")]
        if self.tie_word_embeddings or head not in ("seq2seq_lm", "causal_lm"):
            words += f"\n{OUTPUT} |"
        found = list(rows(words))
        for name, *ours in sides:
            found += backbone(self.side(name, *ours), self.spec(name == "decoder").slots)
        # a group of its own: files of a bare backbone lack it, and then it is zero
        bias = rows("final_logits_bias | head.bias | 1 v -> v", group="final_logits_bias")
        return Table(
            (*found, *of_heads(texts, head), *bias),
            prefix="model.",
            ignore=("*.version", *(("model.encoder.*", "encoder.*") if alone else ())),
            ties=(*(Tying(SHARED, n) for n in WORDS), Tying(WORDS[1], SHARED), *self.ties),
        )

    def side(self, name: str, ours: str, embed: str) -> str:
        """The rows of one side."""
        return side(name, ours, embed)

    def words(self, head: str) -> str:
        """The rows of the tables of words; those that lead nowhere are copies of others."""
        shared = self.shared_row(head)
        text = "" if shared is None else f"{SHARED} | {shared}\n"
        text += f"{WORDS[0]} | {'embed.table' if 'encoder' in self.apart else ''}\n"
        return text + f"{WORDS[1]} | {'decoder_embed.table' if 'decoder' in self.apart else ''}"


def side(name: str, ours: str, embed: str, own: str = "q_proj k_proj v_proj out_proj") -> str:
    """The rows of one side: positions, norms, blocks. What a family lacks fills no row; `own` are
    the projections of self-attention."""
    theirs, slot = f"model.{name}.layers.{{i}}", f"{ours}.blocks.{{slot}}"
    text = f"\nmodel.{name}.embed_positions.weight | {embed}.position"
    text += norm(f"model.{name}.layernorm_embedding", f"{embed}.norm")
    text += norm(f"model.{name}.layer_norm", f"{ours}.norm")
    heard = (("self_attn", "self"), ("encoder_attn", "cross"))
    for attn, kind in heard[: 1 if name == "encoder" else 2]:
        names = own if kind == "self" else "q_proj k_proj v_proj out_proj"
        text += attention(f"{theirs}.{attn}", f"{slot}.{kind}", names)
        text += norm(f"{theirs}.{attn}_layer_norm", f"{slot}.{kind}_norm")
    text += dense(f"{theirs}.fc1", f"{slot}.ffn.up")
    text += dense(f"{theirs}.fc2", f"{slot}.ffn.down", "d f -> f d")
    return text + norm(f"{theirs}.final_layer_norm", f"{slot}.ffn_norm")


HEAD_ROWS = {
    "sequence_classification": layer("classification_head.dense", "head.inner")
    + layer("classification_head.out_proj", "head.classify"),
    "question_answering": layer("qa_outputs", "head.classify"),
}
