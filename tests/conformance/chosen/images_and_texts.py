"""Models of images with text."""

from tests.conformance.chosen.shared import LLAMA, OPT

VISION = dict(
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=32,
    image_size=12,
    patch_size=4,
)
LLAVA = dict(
    text_config={"model_type": "llama", **LLAMA},
    vision_config={"model_type": "clip_vision_model", **VISION},
    image_token_index=95,
)
IDEFICS = dict(
    **{key: x for key, x in LLAMA.items() if key != "num_key_value_heads"},
    alpha_initializer="ones",
    freeze_text_layers=False,
    freeze_vision_layers=False,
    vision_config={
        **{key: x for key, x in VISION.items() if key != "hidden_size"},
        "embed_dim": 24,
        "num_hidden_layers": 2,
    },
)
PALIGEMMA = dict(
    text_config={"model_type": "gemma", **LLAMA, "head_dim": 8, "pad_token_id": 0},
    vision_config={"model_type": "siglip_vision_model", **VISION, "vision_use_head": False},
    projection_dim=24,
    hidden_size=24,
)
QFORMER = dict(
    vocab_size=96,
    hidden_size=20,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=28,
    encoder_hidden_size=24,
    cross_attention_frequency=2,
)
BLIP_2 = dict(
    vision_config={**VISION, "num_hidden_layers": 2, "initializer_range": 0.02},
    qformer_config=QFORMER,
    num_query_tokens=5,
    image_token_index=95,
)
T5 = dict(
    model_type="t5", vocab_size=96, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=4,
    decoder_start_token_id=0,
)  # fmt: skip
CHOSEN = {
    "llava-layers": (
        "LlavaForConditionalGeneration",
        {
            **LLAVA,
            "vision_feature_layer": [-3, 1],
            "vision_feature_select_strategy": "full",
            "multimodal_projector_bias": False,
            "projector_hidden_act": "silu",
        },
    ),
    "llava-base": ("LlavaModel", LLAVA),
    "idefics-intervals": (
        "IdeficsForVisionText2Text",
        {**IDEFICS, "num_hidden_layers": 4, "cross_layer_interval": 2, "alpha_type": "vector"},
    ),
    "paligemma": ("PaliGemmaForConditionalGeneration", {**PALIGEMMA, "image_token_index": 95}),
    "paligemma-2": (
        "PaliGemmaForConditionalGeneration",
        {
            **PALIGEMMA,
            "text_config": {
                **PALIGEMMA["text_config"],
                "model_type": "gemma2",
                "sliding_window": 5,
            },
            "image_token_index": 95,
        },
    ),
    "paligemma-base": ("PaliGemmaModel", {**PALIGEMMA, "image_token_index": 100}),
    "blip-2": (
        "Blip2ForConditionalGeneration",
        {**BLIP_2, "text_config": {"model_type": "opt", **OPT}},
    ),
    "blip-2-t5": ("Blip2ForConditionalGeneration", {**BLIP_2, "text_config": T5}),
    "blip-2-qformer": ("Blip2QFormerModel", QFORMER),
}
