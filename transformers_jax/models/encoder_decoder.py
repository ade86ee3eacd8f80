"""An encoder of one family and a decoder of another (Rothe et al. 2020, "Leveraging pre-trained
checkpoints"). Hugging Face model_type "encoder-decoder".

BERT and BERT, RoBERTa and GPT-2, ...: any family here that is one stack can be the encoder, any
that has the head "causal_lm" and cross-attention the decoder. Both are built
as models of their own, whose towers and tables are then those of one `Network`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from transformers_jax.hub.table import Table, rows
from transformers_jax.models.bert import BertConfig
from transformers_jax.models.composite import CompositeConfig
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import by_stack
from transformers_jax.models.shared.weight_rows import layer, nested
from transformers_jax.models.wiring import Network, ShiftRight
from transformers_jax.nn.embed import Projection

READER = {"embed": "embed", "stack": "encoder", "pooler": "pooler", "reduce": "reduce"}
WRITER = {"embed": "decoder_embed", "stack": "decoder", "head": "head"}
"""The paths of the parts of the two models in the whole."""


def bert_decoder() -> BertConfig:
    """BERT as a decoder, as Hugging Face's class begins."""
    return BertConfig(is_decoder=True, add_cross_attention=True)


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(CompositeConfig):
    """Two configs, each of a family of its own (or the content of its config.json), and the ids
    with which texts begin and end.

    Class attributes:
        PADS_MASKED: whether pads among decoder inputs that are made of labels are padding.
    """

    model_type = "encoder-decoder"
    is_encoder_decoder = True
    PARTS = ("encoder", "decoder")
    PADS_MASKED: ClassVar[bool] = True
    UNUSED = frozenset({"vocab_size", "hidden_size", "num_beam_groups"})
    HEADS: ClassVar[Mapping[str, str]] = {"EncoderDecoderModel": "seq2seq_lm"}

    encoder: FamilyConfig = field(default_factory=BertConfig)
    decoder: FamilyConfig = field(default_factory=bert_decoder)

    def __post_init__(self):
        super().__post_init__()
        if self.encoder.is_encoder_decoder:
            raise ValueError(
                f"encoder: {self.encoder.model_type} has two stacks; an encoder here is one, such "
                "as bert's or roberta's"
            )
        if not getattr(self.decoder, "add_cross_attention", False):
            raise ValueError(
                f"decoder: {self.decoder.model_type} without add_cross_attention=True cannot "
                "attend to the encoder; bert, roberta, electra and gpt2 have such a switch "
                "(with is_decoder=True)"
            )

    @classmethod
    def modernise(cls, values):
        # as in transformers, only the decoder's config says what is tied
        values = super().modernise(values)
        return {name: value for name, value in values.items() if name != "tie_word_embeddings"}

    def to_dict(self):
        written = super().to_dict()
        del written["tie_word_embeddings"]  # said by the decoder
        return written | {"decoder": self.writer.to_dict()}

    @property
    def vocab_size(self) -> int:
        """How many words the decoder knows."""
        return self.decoder.target_vocab

    def side(self, tower):
        return {"encoder": self.encoder, "decoder": self.decoder}[tower]

    @property
    def writer(self) -> FamilyConfig:
        """The decoder's config, untied if its file is."""
        tied = self.tie_word_embeddings and self.decoder.tie_word_embeddings
        return self.decoder.replace(tie_word_embeddings=tied)

    @property
    def ties(self):
        return tuple(tie.renamed("decoder.{}".format) for tie in self.decoder.ties)

    def build(self, head, execution, mask=None) -> Network:
        """The decoder attends to the encoder's states, brought to its width where the two differ.
        The encoder's pooler, if it has one, is there because files hold it."""
        masks = by_stack(mask)
        reader = self.encoder.build("none", execution, masks.get("encoder"))
        own = {name: masks.get(name) for name in ("decoder", "cross")}
        writer = self.writer.build("causal_lm", execution, own)
        encoder, decoder = reader.last, writer.last
        widths, initial = (encoder.width, decoder.width), decoder.stack.spec.initial
        project = Projection(*widths, initial) if len(set(widths)) > 1 else None
        towers = {
            "encoder": replace(encoder, project=project),
            "decoder": replace(decoder, source="encoder", prefix="decoder_"),
        }
        shift = ShiftRight(
            self.decoder_start_token_id, self.pad_token_id, pads_masked=self.PADS_MASKED
        )
        return Network(towers, writer.head, shift=shift)

    def table(self, head) -> Table:
        parts = (
            nested(self.encoder.table("none"), "encoder.", READER, bare=True),
            nested(self.writer.table("causal_lm"), "decoder.", WRITER),
        )
        every: dict[str, Any] = {
            name: tuple(dict.fromkeys(x for part in parts for x in getattr(part, name)))
            for name in ("rows", "aliases", "ignore", "ties", "computed")
        }
        every["rows"] += rows(layer("enc_to_dec_proj", "project"))
        return Table(**every)
