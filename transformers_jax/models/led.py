"""LED, the Longformer encoder-decoder (Beltagy et al. 2020, section 7). model_type "led".

BART whose encoder attends as Longformer's: most tokens to a window, and all to the few tokens that
are global, which attend to all with projections of their own. The decoder is BART's. Which tokens
are global the caller says (`global_attention_mask`); none is, where he does not: LED was trained on
summaries with the first. `encoder_attentions` are one matrix per layer, as Longformer's here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers_jax.models import longformer
from transformers_jax.models.bart import LEGACY, BartConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.nn.embed import TagArgument


@dataclass(frozen=True, kw_only=True)
class LEDConfig(BartConfig):
    """The fields of a LED config.json; defaults are led-large-16384 (460M).

    `attention_window` counts both sides, one number or one for each layer of the encoder.
    """

    model_type = "led"
    PREFIX = "led."
    LABELS = 2
    FIXED = {**LEGACY, "static_position_embeddings": False, "scale_embedding": False}
    SPELLINGS = {
        **BartConfig.SPELLINGS,
        "attention_probs_dropout_prob": "attention_dropout",
        "initializer_range": "init_std",
    }
    HEADS = heads_of("LED", "none", "seq2seq_lm", "question_answering")
    # no fields of this family: a class attribute takes the place of BART's field
    max_position_embeddings: ClassVar[int] = 0  # type: ignore[misc]
    scale_embedding: ClassVar[bool] = False  # type: ignore[misc]
    is_decoder: ClassVar[bool] = False  # type: ignore[misc]
    add_cross_attention: ClassVar[bool] = False  # type: ignore[misc]

    max_encoder_position_embeddings: int = 16384
    max_decoder_position_embeddings: int = 1024
    attention_window: tuple[int, ...] | int = 512
    forced_eos_token_id: int | tuple[int, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        self.windows()  # checked

    def windows(self) -> tuple[int, ...]:
        """The width of the window in each layer of the encoder."""
        return longformer.per_layer(self, "attention_window", "encoder_layers")

    def embed(self, decoder):
        name = f"max_{'decoder' if decoder else 'encoder'}_position_embeddings"
        tag = TagArgument("global_attention_mask", "global", longformer.DefaultGlobal())
        tags = () if decoder else (tag,)
        return replace(super().embed(decoder), positions=getattr(self, name), offset=0, tags=tags)

    def spec(self, decoder, own=None, cross=None):
        """BART's blocks; on the encoder's side in two relations."""
        stack = super().spec(decoder, own, cross)
        if decoder:
            return stack
        return longformer.windowed(stack, own, self.windows(), (1,) * stack.depth)

    # ------------------------------------------------------------ the table

    def projections(self, side):
        if side == "decoder":
            return super().projections(side)
        return f"{INNER}.query {INNER}.key {INNER}.value output"

    def side_rows(self, name, ours, embed):
        if name == "decoder":
            return super().side_rows(name, ours, embed)
        theirs = f"encoder.layers.{{i}}.self_attn.{INNER}"
        relation = longformer.relation(theirs, f"{ours}.blocks.{{slot}}.self")
        return super().side_rows(name, ours, embed) + relation


INNER = "longformer_self_attn"
