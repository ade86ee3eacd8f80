"""Models of images."""

SWIN = dict(
    image_size=12,
    patch_size=2,
    embed_dim=8,
    depths=[2, 1],
    num_heads=[2, 4],
    window_size=2,
    mlp_ratio=2.0,
)
CONVNEXT = dict(
    image_size=16,
    patch_size=2,
    num_stages=2,
    hidden_sizes=[8, 12],
    depths=[1, 2],
)
BEIT_SEGMENTS = dict(
    hidden_size=16,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=24,
    image_size=16,
    patch_size=4,
    out_indices=[1, 2, 3, 4],
    pool_scales=[1, 2, 3],
    auxiliary_channels=6,
    num_labels=5,
)
VIT = dict(
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    image_size=(8, 12),
    patch_size=4,
)
DINO = {name: x for name, x in VIT.items() if name != "intermediate_size"} | dict(
    image_size=16, mlp_ratio=2
)
CHOSEN = {
    "vit-masked": (
        "ViTForMaskedImageModeling",
        {**VIT, "image_size": 12, "encoder_stride": 4, "hidden_act": "gelu_new"},
    ),
    "deit-masked": (
        "DeiTForMaskedImageModeling",
        {**VIT, "image_size": 12, "encoder_stride": 4, "qkv_bias": False},
    ),
    "beit-shared": (
        "BeitForMaskedImageModeling",
        {
            **VIT,
            "image_size": 12,
            "vocab_size": 30,
            "use_mask_token": True,
            "use_mean_pooling": False,
            "use_absolute_position_embeddings": True,
            "use_relative_position_bias": True,
            "use_shared_relative_position_bias": True,
            "layer_scale_init_value": 0.0,
        },
    ),
    "beit-oblong": (
        "BeitForImageClassification",
        {**VIT, "use_relative_position_bias": True, "num_labels": 5, "num_hidden_layers": 3},
    ),
    "beit-segment": ("BeitForSemanticSegmentation", BEIT_SEGMENTS),
    "beit-segment-beside": (
        "BeitForSemanticSegmentation",
        {
            **BEIT_SEGMENTS,
            "auxiliary_num_convs": 2,
            "auxiliary_concat_input": True,
            "auxiliary_loss_weight": 0.7,
            "semantic_loss_ignore_index": 3,
            "out_indices": [0, 1, 2, 3],
            "use_mean_pooling": False,
        },
    ),
    "runtime-beit-segment": ("BeitForSemanticSegmentation", BEIT_SEGMENTS),
    "beit-backbone": (
        "BeitBackbone",
        {**BEIT_SEGMENTS, "add_fpn": True, "use_shared_relative_position_bias": True},
    ),
    "swin-backbone": (
        "SwinBackbone",
        {**SWIN, "window_size": 4, "out_features": ["stem", "stage1", "stage2"]},
    ),
    "swinv2-backbone": ("Swinv2Backbone", {**SWIN, "out_indices": [1, 2]}),
    "convnext-backbone": (
        "ConvNextBackbone",
        {**CONVNEXT, "out_indices": [0, 2], "layer_scale_init_value": 0.5},
    ),
    "convnextv2-backbone": ("ConvNextV2Backbone", {**CONVNEXT, "out_features": ["stage1"]}),
    "resnet-backbone": (
        "ResNetBackbone",
        dict(
            embedding_size=8,
            hidden_sizes=[8, 12],
            depths=[2, 1],
            layer_type="basic",
            hidden_act="silu",
            out_features=["stage1", "stage2"],
        ),
    ),
    "swin-masked": (
        "SwinForMaskedImageModeling",
        {**SWIN, "encoder_stride": 4, "use_absolute_embeddings": True},
    ),
    "swinv2-classify": (
        "Swinv2ForImageClassification",
        {**SWIN, "window_size": 4, "pretrained_window_sizes": [3, 0], "num_labels": 3},
    ),
    "convnextv2-classify": (
        "ConvNextV2ForImageClassification",
        {
            "image_size": 12,
            "patch_size": 2,
            "hidden_sizes": [6, 10],
            "depths": [1, 2],
            "num_stages": 2,
            "num_labels": 3,
        },
    ),
    "dinov2-swiglu": ("Dinov2ForImageClassification", {**DINO, "use_swiglu_ffn": True}),
    "runtime-dinov2-swiglu": ("Dinov2ForImageClassification", {**DINO, "use_swiglu_ffn": True}),
    "dinov2-backbone": (
        "Dinov2Backbone",
        {**DINO, "num_hidden_layers": 3, "out_features": ["stem", "stage2"], "qkv_bias": False},
    ),
    "dinov2-registers-classify": (
        "Dinov2WithRegistersForImageClassification",
        {**DINO, "num_register_tokens": 2, "use_swiglu_ffn": True, "num_labels": 3},
    ),
    "dinov2-registers-resized": ("Dinov2WithRegistersModel", {**DINO, "num_register_tokens": 2}),
    "dinov3": (
        "DINOv3ViTModel",
        {**VIT, "num_register_tokens": 3, "num_attention_heads": 3, "key_bias": True},
    ),
    "dinov3-gated": (
        "DINOv3ViTModel",
        {
            **VIT,
            "num_attention_heads": 3,
            "use_gated_mlp": True,
            "mlp_bias": False,
            "query_bias": False,
            "hidden_act": "silu",
        },
    ),
    "runtime-dinov3": (
        "DINOv3ViTModel",
        {**VIT, "num_register_tokens": 3, "num_attention_heads": 3},
    ),
    "dinov3-backbone": (
        "DINOv3ViTBackbone",
        {**VIT, "num_register_tokens": 2, "num_attention_heads": 3, "out_indices": [1, 2]},
    ),
    "vit-mae-normalised": (
        "ViTMAEForPreTraining",
        {
            **VIT,
            "image_size": 12,
            "norm_pix_loss": True,
            "qkv_bias": False,
            "decoder_hidden_size": 16,
            "decoder_num_attention_heads": 2,
            "decoder_num_hidden_layers": 2,
            "decoder_intermediate_size": 20,
        },
    ),
    "runtime-vit-mae": (
        "ViTMAEForPreTraining",
        {
            **VIT,
            "image_size": 12,
            "decoder_hidden_size": 16,
            "decoder_num_attention_heads": 2,
            "decoder_num_hidden_layers": 2,
            "decoder_intermediate_size": 20,
        },
    ),
}
