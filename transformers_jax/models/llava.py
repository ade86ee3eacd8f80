"""LLaVA (Liu et al. 2023, "Visual instruction tuning"; 1.5: Liu et al. 2023, "Improved baselines"):
a vision tower, an MLP, and a decoder that reads its patches as words. Hugging Face model_type
"llava"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.image_text import ImageTextConfig, usual
from transformers_jax.models.shared.weight_rows import layer
from transformers_jax.models.wiring import States
from transformers_jax.nn.image.projector import Projector

CLIP_LARGE = dict(
    model_type="clip_vision_model",
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    image_size=336,
    patch_size=14,
    projection_dim=768,
)


@dataclass(frozen=True, kw_only=True)
class LlavaConfig(ImageTextConfig):
    """The configs of the towers, and what is between them; defaults are LLaVA 1.5 7B. An image is
    the states of `vision_feature_layer`, or those of several layers side by side, without the token
    of the class unless `vision_feature_select_strategy` is "full"."""

    model_type = "llava"
    FIXED = {"ignore_index": -100}
    UNUSED = frozenset({"image_seq_length", "vocab_size"})
    SPELLINGS = {"image_token_id": "image_token_index"}
    ROWS = "".join(
        layer(f"multi_modal_projector.linear_{n}", f"vision_project.{ours}")
        for n, ours in ((1, "first"), (2, "second"))
    )
    HEADS = heads_of("Llava", "none", LlavaForConditionalGeneration="causal_lm")
    DEFAULTS = {"vision_config": CLIP_LARGE, "text_config": {"model_type": "llama"}}

    vision_config: FamilyConfig = usual(CLIP_LARGE)
    text_config: FamilyConfig = usual(DEFAULTS["text_config"])
    image_token_index: int = 32000
    vision_feature_layer: int | tuple[int, ...] = -2
    vision_feature_select_strategy: str = "default"
    multimodal_projector_bias: bool = True
    projector_hidden_act: str = "gelu"

    def __post_init__(self):
        super().__post_init__()
        if (strategy := self.vision_feature_select_strategy) not in ("default", "full"):
            raise ValueError(
                f"LlavaConfig: vision_feature_select_strategy={strategy!r}; 'default' leaves out "
                "the token of the class, 'full' does not"
            )
        layers, vision = self.states().layers or (), self.vision_config
        depth: int = vision.num_hidden_layers  # type: ignore[attr-defined]
        if not layers or any(not -depth - 1 <= layer <= depth for layer in layers):
            raise ValueError(
                f"LlavaConfig: vision_feature_layer={self.vision_feature_layer!r}; a vision tower "
                f"of {depth} layers has the states {-depth - 1} to {depth} (0: in front of the "
                "first layer)"
            )

    def states(self):
        chosen = self.vision_feature_layer
        layers = (chosen,) if isinstance(chosen, int) else chosen
        return States(layers, first=int(self.vision_feature_select_strategy == "default"))

    def project(self, vision, text):
        act, bias = self.projector_hidden_act, self.multimodal_projector_bias
        return Projector(vision, text, act, self.initial, bias)
