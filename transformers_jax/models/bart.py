"""BART (Lewis et al. 2019), and what its variants share. Hugging Face model_type "bart".

mBART, M2M-100, Marian, Pegasus and both BlenderBots are this encoder-decoder with other settings:
pre- or post-norm (`PLACEMENT`), what is added to the embeddings (`embed`), what is added to the
logits (`BIAS`), how a row begins (`START`). Each is a subclass that says which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from transformers_jax.hub.table import Table, rows
from transformers_jax.models.shared.class_names import WRITING, heads_of
from transformers_jax.models.shared.seq2seq_heads import TASK_ROWS, encoder_decoder_head
from transformers_jax.models.shared.standard import StandardSides
from transformers_jax.models.wiring import ShiftRight
from transformers_jax.models.wiring.family import SIDES
from transformers_jax.spec import LayerNorm

RESERVED = 2  # rows of the position tables before position 0, kept from fairseq
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
class BartConfig(StandardSides):
    """The fields of a BART config.json; defaults are BART-large (406M).

    `is_decoder` and `add_cross_attention` change nothing: the head "causal_lm" is the decoder, and
    always has cross-attention. `own_words` is no key of the file: it names the sides whose words
    are stored apart from the shared ones, both where Hugging Face says `tie_word_embeddings=false`.

    Class attributes:
        BIAS: what is added to the logits (`nn.head.LanguageModel`).
        START: what decoder inputs that are made of labels begin with: `decoder_start_token_id`, or
            the "last" token of the row (mBART: the code of its language).
        INPUT_IDS_SHIFTED: whether decoder inputs are made of the encoder's where nothing else is
            given.
        LABELS: how many classes there are where none is named.
    """

    model_type = "bart"
    SINGLE = {"causal_lm": "decoder"}
    PREFIX = "model."
    IGNORE: ClassVar[tuple[str, ...]] = ("*.version",)
    HEAD_ROWS = TASK_ROWS
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
    EVERY: ClassVar[tuple[str, ...]] = (*WRITING, "sequence_classification", "question_answering")
    HEADS = heads_of("Bart", *EVERY)

    vocab_size: int = 50265
    max_position_embeddings: int = 1024
    classifier_dropout: float = 0.0
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
        depth = values.pop("num_hidden_layers", None)  # the encoder's, in old files
        if depth is not None:
            values.setdefault("encoder_layers", depth)
        forced = values.pop("force_bos_token_to_be_generated", False)  # bart-large-cnn, in 2020
        if forced and values.get("forced_bos_token_id") is None:
            values["forced_bos_token_id"] = values.get("bos_token_id", cls.bos_token_id)
        if values.get("tie_word_embeddings") is False:
            values.setdefault("own_words", SIDES)
        return values

    def resolved(self, same):
        """The config with what only the file says: tables that are stored and differ are not
        tied."""
        shared, encoder, decoder = self.embedding_names
        own = self.own_words
        if not own or not all(same(name, name) for name in self.embedding_names):
            # v4 shared the words also where it called them untied
            own = self.separately_stored(same, (shared, decoder, encoder, self.OUTPUT))[1]
        return super().resolved(same).replace(own_words=own)

    def to_dict(self):
        written = super().to_dict()
        heads = [self.HEADS.get(name) for name in self.architectures]
        decodes = heads[0] == "causal_lm" if heads else self.is_decoder
        # v5's "untied" means all three tables; where fewer are, it says "tied", and stores those
        # that differ
        untied = self.own_words == SIDES and not self.tie_word_embeddings
        written["tie_word_embeddings"] = not untied
        return {**written, "is_decoder": decodes, "is_encoder_decoder": not decodes}

    # ------------------------------------------------------------ the network

    @property
    def num_labels(self) -> int:
        """How many classes a classification head has."""
        return len(self.id2label) if self.id2label else self.LABELS

    def embed(self, decoder):
        """What the words of a side are and what is added to them."""
        positions = self.max_position_embeddings + RESERVED
        return replace(
            self.words_and_positions(decoder, positions),
            offset=RESERVED,
            norm=LayerNorm(),
            scale=self.d_model**0.5 if self.scale_embedding else 1.0,
        )

    def shift(self, head):
        last = self.START == "last"
        start: int | Literal["last"] | None = "last" if last else self.decoder_start_token_id
        return ShiftRight(start, self.pad_token_id, of_input_ids=self.INPUT_IDS_SHIFTED)

    def head(self, head):
        bias = self.BIAS if head == "seq2seq_lm" else False
        return encoder_decoder_head(self, head, self.classifier_dropout, bias=bias)

    # ------------------------------------------------------------ the table

    def table(self, head) -> Table:
        # a group of its own: files of a bare backbone lack it, and then it is zero
        bias = rows("final_logits_bias | head.bias | 1 v -> v", group="final_logits_bias")
        return super().table(head).with_rows(bias)
