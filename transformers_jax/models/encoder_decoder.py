"""An encoder of one family and a decoder of another (Rothe et al. 2020, "Leveraging pre-trained
checkpoints"). Hugging Face model_type "encoder-decoder".

BERT and BERT, RoBERTa and GPT-2, ...: any family here that is one stack can be the encoder, any
that has the head "causal_lm" and cross-attention the decoder. Nothing is built twice: both are made
as models of their own, and taken apart into the wiring `Seq2Seq`; so are their tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from transformers_jax.hub.row import Row
from transformers_jax.hub.table import BACKBONE, Table, rows
from transformers_jax.models import load_config
from transformers_jax.models.bert import BertConfig
from transformers_jax.models.config import FamilyConfig, thaw
from transformers_jax.models.weight_rows import layer
from transformers_jax.models.wiring import Seq2Seq, Single
from transformers_jax.nn.embed import EmbedSpec, Projection

READER = {"embed": "embed", "stack": "encoder", "pooler": "pooler"}
WRITER = {"embed": "decoder_embed", "stack": "decoder", "head": "head"}
"""Where the parts of the two models stand in the one that is made of them."""


def writer() -> BertConfig:
    """BERT as a decoder, as Hugging Face's class begins."""
    return BertConfig(is_decoder=True, add_cross_attention=True)


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(FamilyConfig):
    """Two configs, each of a family of its own (or the content of its config.json), and the ids
    with which texts begin and end."""

    model_type = "encoder-decoder"
    is_encoder_decoder = True
    UNUSED = frozenset({"vocab_size", "hidden_size", "num_beam_groups"})
    HEADS: ClassVar[Mapping[str, str]] = {"EncoderDecoderModel": "seq2seq_lm"}

    encoder: FamilyConfig = field(default_factory=BertConfig)
    decoder: FamilyConfig = field(default_factory=writer)

    @classmethod
    def from_dict(cls, values, *, ignore=()):
        inner = {
            side: load_config(values[side], ignore=ignore)
            for side in ("encoder", "decoder")
            if isinstance(values.get(side), Mapping)
        }
        return super().from_dict({**values, **inner}, ignore=ignore)

    def __post_init__(self):
        super().__post_init__()
        for side in ("encoder", "decoder"):
            if isinstance(given := getattr(self, side), Mapping):
                object.__setattr__(self, side, load_config(thaw(given)))
        if self.encoder.is_encoder_decoder:
            raise ValueError(
                f"encoder: {self.encoder.model_type} has two stacks; an encoder here is one, such "
                "as bert's or roberta's"
            )
        if not getattr(self.decoder, "add_cross_attention", False):
            raise ValueError(
                f"decoder: {self.decoder.model_type} without add_cross_attention=True cannot hear "
                "the encoder; bert, roberta, electra and gpt2 have such a switch (is_decoder=True "
                "beside it)"
            )

    @classmethod
    def modernise(cls, values):
        # the decoder's config says what is tied; of the whole it says nothing, as in transformers
        values = super().modernise(values)
        return {name: value for name, value in values.items() if name != "tie_word_embeddings"}

    def to_dict(self):
        written = super().to_dict() | {"encoder": self.encoder.to_dict()}
        del written["tie_word_embeddings"]  # said by the decoder
        return written | {"decoder": self.speaker.to_dict()}

    @property
    def vocab_size(self) -> int:
        """How many words the decoder knows."""
        return self.decoder.target_vocab

    @property
    def speaker(self) -> FamilyConfig:
        """The decoder's config, untied if its file is."""
        tied = self.tie_word_embeddings and self.decoder.tie_word_embeddings
        return self.decoder.replace(tie_word_embeddings=tied)

    @property
    def ties(self):
        return tuple(tie.renamed("decoder.{}".format) for tie in self.decoder.ties)

    def build(self, head, execution, mask=None) -> EncoderDecoder:
        masks = mask if isinstance(mask, Mapping) else {"decoder": mask}
        reader = self.encoder.build("none", execution, masks.get("encoder"))
        spoken = {name: masks.get(name) for name in ("decoder", "cross")}
        speaker = self.speaker.build("causal_lm", execution, spoken)
        speaker.head.shift = False  # labels are the words that the decoder is to say at each place
        return EncoderDecoder(
            reader, speaker, start=self.decoder_start_token_id, pad=self.pad_token_id
        )

    def table(self, head) -> Table:
        parts = (
            nested(self.encoder.table("none"), "encoder.", READER, bare=True),
            nested(self.speaker.table("causal_lm"), "decoder.", WRITER),
        )
        every: dict[str, Any] = {
            name: tuple(dict.fromkeys(x for part in parts for x in getattr(part, name)))
            for name in ("rows", "aliases", "ignore", "ties", "computed")
        }
        every["rows"] += rows(layer("enc_to_dec_proj", "project"))
        return Table(**every)


def nested(table: Table, theirs: str, ours: Mapping[str, str], bare: bool = False) -> Table:
    """The table of a model that is part of another: every name behind `theirs`, every parameter
    where `ours` says that its part stands. `bare`: as a model without a head is saved."""

    def named(row: Row) -> Row:
        name = (
            row.theirs.removeprefix(table.prefix) if bare and row.group == BACKBONE else row.theirs
        )
        parts = (path.partition(".") for path in row.ours)
        # what the whole lacks (a decoder's pooler) leads to no parameter, as in other tables
        paths = tuple(ours.get(first, theirs + first) + dot + rest for first, dot, rest in parts)
        return replace(row, theirs=theirs + name, ours=paths)

    def renamed(name: str) -> str:
        return theirs + (name.removeprefix(table.prefix) if bare else name)

    return Table(
        tuple(named(row) for row in table.rows),
        aliases=table.aliases,
        ignore=tuple(theirs + pattern for pattern in table.ignore),
        ties=tuple(tie.renamed(renamed) for tie in table.ties),
        computed=tuple(replace(one, name=renamed(one.name)) for one in table.computed),
    )


class EncoderDecoder(Seq2Seq):
    """The decoder hears the encoder's states, brought to its width where the two differ.

    The encoder's pooler, if it has one, is kept because files hold it; nothing reads it.
    """

    def __init__(self, reader: Single, speaker: Single, *, start: int | None, pad: int | None):
        super().__init__(
            reader.embed,
            reader.stack,
            speaker.stack,
            speaker.head,
            decoder_embed=speaker.embed,
            start=start,
            pad=pad,
            pads_masked=True,
            marks=reader.marks,
            fill=reader.fill,
        )
        self.pooler = reader.pooler
        widths = reader.stack.spec.width, speaker.stack.spec.width
        bridge = EmbedSpec(None, widths[0], project=widths[1], initial=speaker.stack.spec.initial)
        self.project = Projection(bridge) if widths[0] != widths[1] else None

    def told(self, states):
        return states if self.project is None else self.project(states)
