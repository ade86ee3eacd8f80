"""PaliGemma (Beyer et al. 2024): SigLIP's patches, projected, in front of a prompt for Gemma, which
reads both as a prefix. Hugging Face model_type "paligemma"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.graph import CAUSAL, OWN, Where, with_own
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.image_text import ImageTextConfig, usual
from transformers_jax.models.shared.layer_types import Windowed
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.nn.embed import Projection, prefix_types

SIGLIP = dict(
    model_type="siglip_vision_model",
    hidden_size=1152,
    intermediate_size=4096,
    num_hidden_layers=27,
    num_attention_heads=16,
    image_size=224,
    patch_size=14,
    vision_use_head=False,
)
GEMMA = dict(
    model_type="gemma",
    vocab_size=257152,
    hidden_size=2048,
    intermediate_size=16384,
    num_hidden_layers=18,
    num_attention_heads=8,
    num_key_value_heads=1,
)
PREFIX = Where("prefix", of="query") & Where("prefix")
"""Image and prompt attend to one another, what follows to all before it (section 3.1)."""


@dataclass(frozen=True, kw_only=True)
class PaliGemmaConfig(ImageTextConfig):
    """The configs of the towers; defaults are PaliGemma 3B at 224 pixels. `token_type_ids` are 0 in
    the image and the prompt, and 1 where a text is predicted; without them all is a prefix,
    unless `use_bidirectional_attention` of the text is False: then nothing is."""

    model_type = "paligemma"
    FIXED = {"ignore_index": -100}
    UNUSED = frozenset({"vocab_size", "hidden_size", "num_image_tokens"})
    SPELLINGS = {"image_token_id": "image_token_index"}
    OF_THE_WHOLE = ("projection_dim", "num_image_tokens", "projector_hidden_act")
    ROWS = layer("multi_modal_projector.linear", "vision_project")
    HEADS = heads_of("PaliGemma", "none", PaliGemmaForConditionalGeneration="causal_lm")
    DEFAULTS = {"vision_config": SIGLIP, "text_config": GEMMA}

    vision_config: FamilyConfig = usual(SIGLIP)
    text_config: FamilyConfig = usual(GEMMA)
    image_token_index: int = 256000
    projection_dim: int | None = None
    tie_word_embeddings: bool = True

    def __post_init__(self):
        super().__post_init__()
        width = self.text_config.hidden_size  # type: ignore[attr-defined]
        if self.projection_dim not in (None, width):
            raise ValueError(
                f"PaliGemmaConfig: projection_dim ({self.projection_dim}) must be the width of the "
                f"text ({width})"
            )
        object.__setattr__(self, "projection_dim", width)

    def project(self, vision, text):
        return Projection(vision, text, self.initial)

    def embedder(self, embed):
        every = self.text_config.use_bidirectional_attention is not False  # type: ignore[attr-defined]
        return super().embedder(embed).changed(tags=(*embed.spec.tags, prefix_types(every)))

    def build(self, head, execution, mask=None):
        # PaliGemma 2 reads by Gemma 2, whose layers have windows
        before = OWN if isinstance(self.text_config, Windowed) else CAUSAL
        return super().build(head, execution, with_own(mask, before | PREFIX))
