"""Makes cases of families for which the public set has none: what PyTorch computes.

python tests/conformance/make_cases.py [CASE ...]       (needs the extra `parity`)
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.perceiver import modeling_perceiver as perceiver

CASES = Path(__file__).parent / "cases"
BERT = dict(
    vocab_size=96,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)
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
PERCEIVER = dict(
    num_latents=5,
    d_latents=24,
    d_model=16,
    num_self_attends_per_block=2,
    num_self_attention_heads=4,
    num_cross_attention_heads=2,
    vocab_size=96,
    max_position_embeddings=14,
    image_size=8,
    train_size=[6, 8],
    num_frames=3,
    audio_samples_per_frame=32,
    samples_per_patch=8,
    output_shape=[1, 3, 8, 8],
    output_num_channels=20,
    _label_trainable_num_channels=40,
)
DEBERTA = dict(
    **BERT, relative_attention=True, pos_att_type=["c2p", "p2c"], position_biased_input=False
)
CONVOLVED = dict(position_buckets=6, norm_rel_ebd="layer_norm", conv_kernel_size=3, conv_groups=2)
LED = dict(
    vocab_size=96,
    d_model=24,
    encoder_layers=3,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=3,
    encoder_ffn_dim=40,
    decoder_ffn_dim=32,
    max_encoder_position_embeddings=64,
    max_decoder_position_embeddings=48,
    attention_window=[4, 4, 8],
)
VISION = dict(
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=32,
    image_size=12,
    patch_size=4,
)
LLAMA = dict(
    vocab_size=96,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=40,
    max_position_embeddings=64,
    pad_token_id=0,
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
OPT = dict(
    vocab_size=96,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    ffn_dim=40,
    max_position_embeddings=64,
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
NOMIC = {**BERT, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}
WAVES = dict(
    vocab_size=20,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    conv_dim=[12, 16, 10],
    conv_kernel=[10, 3, 2],
    conv_stride=[5, 2, 2],
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=4,
    classifier_proj_size=14,
    mask_time_length=3,
    ctc_loss_reduction="mean",
)
QUANTIZED = dict(num_codevectors_per_group=8, codevector_dim=16, proj_codevector_dim=12)
STABLE = dict(do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True)
ADAPTED = dict(add_adapter=True, num_adapter_layers=2)
SPECTROGRAMS = dict(
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    patch_size=4,
    frequency_stride=3,
    time_stride=2,
    max_length=17,
    num_mel_bins=10,
)
WRITER = dict(
    model_type="bert", **BERT, is_decoder=True, add_cross_attention=True, hidden_act="relu"
)
SPEECH = dict(pad_token_id=0, decoder_start_token_id=1, eos_token_id=2)
DECODER = dict(
    vocab_size=96,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=40,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
TINY_STRUCTURE = dict(
    sequence_dim=20,
    pairwise_dim=12,
    ipa_dim=4,
    resnet_dim=10,
    num_heads_ipa=3,
    num_qk_points=2,
    num_v_points=3,
    num_blocks=3,
    num_transition_layers=2,
    num_resnet_blocks=2,
)
TINY_TRUNK = dict(
    num_blocks=2,
    sequence_state_dim=24,
    pairwise_state_dim=16,
    sequence_head_width=8,
    pairwise_head_width=4,
    position_bins=3,
    max_recycles=2,
    chunk_size=None,
    structure_module=TINY_STRUCTURE,
)
ESM = dict(
    **{**BERT, "vocab_size": 33, "hidden_size": 32},
    pad_token_id=1,
    mask_token_id=32,
    token_dropout=True,
)
CHOSEN = {
    "granite": (
        "GraniteForCausalLM",
        {
            **DECODER,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.3,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.5,
            "attention_bias": True,
        },
    ),
    "phi3-long": (  # whose text passes the original length while it is written
        "Phi3ForCausalLM",
        {
            **DECODER,
            "hidden_size": 32,
            "original_max_position_embeddings": 16,
            "sliding_window": 6,
            "partial_rotary_factor": 0.75,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 300.0,
                "short_factor": [1.0, 1.1, 1.2],
                "long_factor": [2.0, 2.5, 3.0],
            },
        },
    ),
    "smollm3": (
        "SmolLM3ForCausalLM",
        {
            **DECODER,
            "num_hidden_layers": 3,
            "no_rope_layer_interval": 2,
            "use_sliding_window": True,
            "sliding_window": 5,
            "mlp_bias": True,
        },
    ),
    "stablelm-parallel": (
        "StableLmForCausalLM",
        {
            **DECODER,
            "hidden_size": 32,
            "use_parallel_residual": True,
            "qk_layernorm": True,
            "use_qkv_bias": True,
            "partial_rotary_factor": 0.5,
        },
    ),
    "starcoder2": ("Starcoder2ForCausalLM", {**DECODER, "sliding_window": 5}),
    "wav2vec2-adapted": (
        "Wav2Vec2ForCTC",
        {
            **WAVES,
            **STABLE,
            **ADAPTED,
            "output_hidden_size": 18,
            "adapter_attn_dim": 6,
            "num_conv_pos_embeddings": 5,
            "hidden_act": "gelu_new",
            "feat_extract_activation": "relu",
            "ctc_loss_reduction": "sum",
            "ctc_zero_infinity": True,
        },
    ),
    "wav2vec2-stable": ("Wav2Vec2Model", {**WAVES, **STABLE}),
    "wav2vec2-masked": ("Wav2Vec2Model", WAVES),
    "wav2vec2-pretraining": ("Wav2Vec2ForPreTraining", {**WAVES, **QUANTIZED}),
    "wav2vec2-sequence": (
        "Wav2Vec2ForSequenceClassification",
        {**WAVES, **STABLE, "num_labels": 5, "use_weighted_layer_sum": True},
    ),
    "wav2vec2-frames": ("Wav2Vec2ForAudioFrameClassification", {**WAVES, "num_labels": 5}),
    "wav2vec2-xvector": (
        "Wav2Vec2ForXVector",
        {
            **WAVES,
            "num_labels": 5,
            "tdnn_dim": [12, 14, 16],
            "tdnn_kernel": [5, 3, 1],
            "tdnn_dilation": [1, 2, 1],
            "xvector_output_dim": 10,
        },
    ),
    "hubert-base": ("HubertModel", {**WAVES, **STABLE, "feat_proj_layer_norm": False}),
    "hubert-ctc": ("HubertForCTC", WAVES),
    "hubert-sequence": (
        "HubertForSequenceClassification",
        {**WAVES, "num_labels": 5, "use_weighted_layer_sum": True},
    ),
    "ast-base": ("ASTModel", SPECTROGRAMS),
    "ast-classify": (
        "ASTForAudioClassification",
        {**SPECTROGRAMS, "num_labels": 5, "qkv_bias": False, "hidden_act": "relu"},
    ),
    "runtime-ast": (
        "ASTForAudioClassification",
        {**SPECTROGRAMS, "num_labels": 5, "qkv_bias": False},
    ),
    "speech-encoder-decoder": (
        "SpeechEncoderDecoderModel",
        {"encoder": {"model_type": "wav2vec2", **WAVES, **STABLE}, "decoder": WRITER, **SPEECH},
    ),
    "speech-encoder-decoder-adapted": (
        "SpeechEncoderDecoderModel",
        {
            "encoder": {
                "model_type": "wav2vec2",
                **WAVES,
                "hidden_size": 32,
                **STABLE,
                **ADAPTED,
                "output_hidden_size": 24,
            },
            "decoder": WRITER,
            **SPEECH,
        },
    ),
    "camembert-tokens": ("CamembertForTokenClassification", {**BERT, "num_labels": 5}),
    "xlm-roberta-xl-tokens": ("XLMRobertaXLForTokenClassification", {**BERT, "num_labels": 5}),
    "albert-groups": (
        "AlbertForTokenClassification",
        {
            **BERT,
            "num_hidden_layers": 3,
            "num_hidden_groups": 2,
            "inner_group_num": 2,
            "embedding_size": 16,
            "num_labels": 3,
        },
    ),
    "roformer-values": (
        "RoFormerForTokenClassification",
        {**BERT, "embedding_size": 16, "rotary_value": True, "num_labels": 3},
    ),
    "deberta-mlm": ("DebertaForMaskedLM", {**DEBERTA, "max_relative_positions": 9}),
    "led": ("LEDForConditionalGeneration", LED),
    "led-base": ("LEDModel", LED),
    "led-question": ("LEDForQuestionAnswering", LED),
    "esm-absolute": (
        "EsmForMaskedLM",
        {**ESM, "emb_layer_norm_before": True, "tie_word_embeddings": False},
    ),
    "esmfold-ragged": (
        "EsmForProteinFolding",
        {
            **ESM,
            "position_embedding_type": "rotary",
            "is_folding_model": True,
            "esmfold_config": {
                "trunk": TINY_TRUNK,
                "fp16_esm": False,
                "embed_aa": True,
                "lddt_head_hid_dim": 10,
            },
        },
    ),
    "nomic-bert-base": ("NomicBertModel", NOMIC),
    "nomic-bert-mlm": ("NomicBertForMaskedLM", NOMIC),
    "nomic-bert-sequence": ("NomicBertForSequenceClassification", {**NOMIC, "num_labels": 4}),
    "nomic-bert-tokens": ("NomicBertForTokenClassification", {**NOMIC, "num_labels": 5}),
    "runtime-nomic-bert": ("NomicBertForMaskedLM", NOMIC),
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
    "opt-narrow": (
        "OPTForCausalLM",
        {**OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False, "enable_bias": False},
    ),
    "opt-sequence": ("OPTForSequenceClassification", {**OPT, "num_labels": 3}),
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
    "perceiver-vectors": ("PerceiverModel", {**PERCEIVER, "num_blocks": 2}),
    "perceiver-blocks": (
        "PerceiverForMaskedLM",
        {
            **PERCEIVER,
            "num_blocks": 3,
            "use_query_residual": False,
            "cross_attention_shape_for_attention": "q",
            "self_attention_widening_factor": 2,
            "cross_attention_widening_factor": 3,
        },
    ),
    "perceiver-learned": (
        "PerceiverForImageClassificationLearned",
        {**PERCEIVER, "qk_channels": 16, "v_channels": 24, "num_labels": 5},
    ),
    "perceiver-flow": (
        "PerceiverForOpticalFlow",
        {**PERCEIVER, "qk_channels": 12, "v_channels": 24},
    ),
    "perceiver-pixels": (
        "PerceiverForImageAutoencoding",
        {**PERCEIVER, "qk_channels": 12, "v_channels": 24, "num_blocks": 2},
    ),
    "perceiver-video": (
        "PerceiverForMultimodalAutoencoding",
        {**PERCEIVER, "qk_channels": 12, "v_channels": 24, "num_labels": 5},
    ),
    "deberta-v2-question": ("DebertaV2ForQuestionAnswering", {**DEBERTA, **CONVOLVED}),
}
IDS = dict(vocab_size=96, pad_token_id=0, bos_token_id=1, eos_token_id=2)
DEEP = dict(
    **IDS,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=64,
)
STRETCHED = dict(rope_type="linear", factor=2.0, rope_theta=500.0)
CHOSEN |= {
    "bloom-sequence": (
        "BloomForSequenceClassification",
        dict(
            **IDS,
            hidden_size=24,
            n_layer=2,
            n_head=6,
            apply_residual_connection_post_layernorm=True,
            num_labels=5,
        ),
    ),
    "codegen": (
        "CodeGenForCausalLM",
        dict(**IDS, n_embd=24, n_layer=2, n_head=4, n_inner=40, n_positions=64, rotary_dim=4),
    ),
    "falcon-groups": (
        "FalconForCausalLM",
        dict(
            **IDS,
            hidden_size=24,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_kv_heads=2,
            new_decoder_architecture=True,
            bias=True,
            ffn_hidden_size=40,
            rope_parameters=STRETCHED,
            tie_word_embeddings=False,
        ),
    ),
    "falcon-question": (
        "FalconForQuestionAnswering",
        dict(
            **IDS,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            parallel_attn=False,
            multi_query=False,
            ffn_hidden_size=40,
        ),
    ),
    "gpt-neo-tokens": (
        "GPTNeoForTokenClassification",
        dict(
            **IDS,
            hidden_size=24,
            num_layers=3,
            num_heads=4,
            intermediate_size=40,
            max_position_embeddings=64,
            attention_types=[[["local"], 1], [["global"], 2]],
            window_size=6,
            num_labels=5,
        ),
    ),
    "gpt-neox-tokens": (
        "GPTNeoXForTokenClassification",
        dict(
            **DEEP,
            use_parallel_residual=False,
            attention_bias=False,
            rope_parameters={**STRETCHED, "partial_rotary_factor": 1.0},
            num_labels=5,
        ),
    ),
    "gptj-question": (
        "GPTJForQuestionAnswering",
        dict(**IDS, n_embd=24, n_layer=3, n_head=3, n_inner=40, n_positions=64, rotary_dim=8),
    ),
    "openai-gpt": (
        "OpenAIGPTLMHeadModel",
        dict(**IDS, n_embd=24, n_layer=3, n_head=4, n_positions=40),
    ),
    "openai-gpt-double": (
        "OpenAIGPTDoubleHeadsModel",
        dict(**IDS, n_embd=24, n_layer=2, n_head=4, n_positions=40, afn="silu"),
    ),
    "openai-gpt-sequence": (
        "OpenAIGPTForSequenceClassification",
        dict(**IDS, n_embd=24, n_layer=2, n_head=3, n_positions=40, afn="relu", num_labels=5),
    ),
    "phi-norms": (
        "PhiForCausalLM",
        dict(
            **DEEP,
            num_key_value_heads=2,
            qk_layernorm=True,
            rope_parameters={**STRETCHED, "partial_rotary_factor": 0.67},
            tie_word_embeddings=True,
        ),
    ),
    "xglm-base": (
        "XGLMModel",
        dict(
            **{**IDS, "pad_token_id": 5},
            d_model=25,
            num_layers=3,
            attention_heads=5,
            ffn_dim=40,
            max_position_embeddings=64,
            scale_embedding=False,
        ),
    ),
}
VIT = dict(
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    image_size=(8, 12),
    patch_size=4,
)
DINO = {**VIT, "image_size": 16, "mlp_ratio": 2}
del DINO["intermediate_size"]
CHOSEN |= {
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
MIXTURE = {
    **LLAMA,
    "num_hidden_layers": 3,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
}
QWEN_MOE = {
    **MIXTURE,
    "num_experts": 5,
    "shared_expert_intermediate_size": 12,
    "mlp_only_layers": [0],
    "output_router_logits": True,
    "router_aux_loss_coef": 0.1,
}
LATENT = {
    **{key: x for key, x in MIXTURE.items() if key != "num_key_value_heads"},
    "num_key_value_heads": 4,
    "n_routed_experts": 6,
    "n_group": 3,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 12,
    "q_lora_rank": 10,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 6,
    "v_head_dim": 5,
}
YARN = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=16)
STRETCHED = {"rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.7}}
CHOSEN |= {
    "qwen2-moe": ("Qwen2MoeForCausalLM", QWEN_MOE),
    "runtime-qwen2-moe": (
        "Qwen2MoeForCausalLM",
        {**QWEN_MOE, "norm_topk_prob": True, "output_router_logits": False},
    ),
    "deepseek-v3": ("DeepseekV3ForCausalLM", {**LATENT, **STRETCHED}),
    "runtime-deepseek-v3": ("DeepseekV3ForCausalLM", LATENT),
    "deepseek-v3-tokens": (
        "DeepseekV3ForTokenClassification",
        {
            **LATENT,
            "q_lora_rank": None,
            "rope_interleave": False,
            "attention_bias": True,
            "n_shared_experts": 2,
            "norm_topk_prob": False,
            "num_labels": 5,
        },
    ),
    "gpt-oss-mxfp4": (
        "GptOssForCausalLM",
        {
            **LLAMA,
            "hidden_size": 32,
            "head_dim": 6,
            "intermediate_size": 64,
            "num_local_experts": 3,
            "num_experts_per_tok": 2,
            "sliding_window": 4,
        },
    ),
}
CHOSEN |= {
    "decision-transformer-switches": (
        "DecisionTransformerModel",
        dict(
            state_dim=3,
            act_dim=2,
            hidden_size=24,
            max_ep_len=12,
            action_tanh=False,
            vocab_size=3,
            n_positions=40,
            n_layer=3,
            n_head=3,
            activation_function="gelu_new",
            layer_norm_epsilon=1e-3,
            scale_attn_by_inverse_layer_idx=True,
            scale_attn_weights=False,
            reorder_and_upcast_attn=True,
            add_cross_attention=True,
        ),
    ),
}
SIZES = {
    "dinov2-registers-resized": (16, 28),
    "beit-segment-beside": (20, 28),
    "swin-backbone": (12, 16),
    "resnet-backbone": (40, 24),
}  # of images, where it is not that of the config
ATOL, RTOL = 5e-5, 1e-5  # float32, other orders of summation


class PerceiverForImageAutoencoding(perceiver.PerceiverPreTrainedModel):
    """A PerceiverModel of the reference's parts, whose queries are the places of pixels."""

    def __init__(self, config):
        super().__init__(config)
        size = (config.image_size, config.image_size)
        fourier = dict(num_bands=64, max_resolution=size, concat_pos=True, sine_only=False)
        pixels = perceiver.PerceiverImagePreprocessor(
            config, prep_type="pixels", spatial_downsample=1,
            fourier_position_encoding_kwargs=fourier,
        )  # fmt: skip
        decoder = perceiver.PerceiverBasicDecoder(
            config, output_num_channels=3, position_encoding_type="fourier",
            num_channels=pixels.position_embeddings.output_size(), use_query_residual=False,
            fourier_position_encoding_kwargs=fourier,
        )  # fmt: skip
        self.perceiver = perceiver.PerceiverModel(config, decoder, pixels)
        self.post_init()

    def forward(self, pixel_values, output_hidden_states=False):
        parts, (rows, _, *size) = self.perceiver, pixel_values.shape
        inputs, _, _ = parts.input_preprocessor(pixel_values)
        latents = parts.encoder(
            parts.embeddings(batch_size=rows), inputs=inputs,
            output_hidden_states=output_hidden_states,
        )  # fmt: skip
        places = parts.decoder.output_position_encodings(size, rows, inputs.device, inputs.dtype)
        made = parts.decoder(places, z=latents.last_hidden_state).logits
        made = made.transpose(1, 2).reshape(pixel_values.shape)
        loss = (made - pixel_values).square().mean()
        return {"loss": loss, "reconstruction": made, "hidden_states": latents.hidden_states}


GENERATED = {  # generated tokens where the head is a language model
    "generated": {"num_beams": 1},
    "generated_beam": {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
}


def text_of(config):
    """The config that says what words there are."""
    return getattr(config, "text_config", None) or config


def rows_of(rng, config, lengths, width):
    """Random words on the left of each row, padding on the right; and where words are."""
    mask = np.arange(width) < np.array(lengths)[:, None]
    return np.where(mask, rng.integers(5, config.vocab_size, mask.shape), config.pad_token_id), mask


def waves_of(rng, architecture, config, model):
    """The arguments of a call of a model of waveforms, and where rows have audio."""
    lengths = np.array((600, 390, 500))
    samples = np.arange(600) < lengths[:, None]
    values = np.where(samples, rng.normal(size=samples.shape), 0).astype(np.float32)
    inputs = {"input_values": values, "attention_mask": samples.astype(np.int64)}
    reader = getattr(config, "encoder", config)
    frames = lengths
    for kernel, stride in zip(reader.conv_kernel, reader.conv_stride):
        frames = (frames - kernel) // stride + 1
    masks = {frames[0]: np.arange(frames[0]) < frames[:, None]}
    if getattr(reader, "add_adapter", False):
        for _ in range(reader.num_adapter_layers):
            frames = (frames - 1) // reader.adapter_stride + 1
        masks[frames[0]] = np.arange(frames[0]) < frames[:, None]
    first = max(masks)
    if architecture.endswith("CTC"):
        labels = rng.integers(1, config.vocab_size, (3, 6))
        labels[1, 3:], labels[2, 0] = -100, -100
        labels[0, 1] = labels[0, 0]
        inputs["labels"] = labels
    elif architecture.endswith("PreTraining"):
        hidden = (rng.random((3, first)) < 0.4) & masks[first]
        inputs["mask_time_indices"] = hidden
        index = [rng.choice(np.flatnonzero(row), (first, 5)) + n * first
                 for n, row in enumerate(hidden)]  # fmt: skip
        inputs["sampled_negative_indices"] = np.stack(index)
    elif architecture == "Wav2Vec2Model" and not config.do_stable_layer_norm:
        inputs["mask_time_indices"] = rng.random((3, first)) < 0.4
    elif "Frame" in architecture:
        inputs["labels"] = np.eye(config.num_labels)[rng.integers(0, config.num_labels, (3, first))]
    elif "Sequence" in architecture or "XVector" in architecture:
        inputs["labels"] = rng.integers(0, config.num_labels, 3)
    elif config.is_encoder_decoder:
        words = rng.integers(5, config.decoder.vocab_size, (3, 7))
        inputs["labels"] = np.where(np.arange(7) < np.array((7, 4, 6))[:, None], words, -100)
    return inputs, masks


def images_of(rng, architecture, config, size):
    """The arguments of a call of a model of images."""
    pair = lambda size: (size, size) if isinstance(size, int) else tuple(size)
    height, width = pair(config.image_size if size is None else size)
    patch = pair(getattr(config, "patch_size", 1))
    rows, columns = (n // p for n, p in zip((height, width), patch))
    inputs = {"pixel_values": rng.normal(size=(2, config.num_channels, height, width))}
    inputs["pixel_values"] = inputs["pixel_values"].astype(np.float32)
    if "ForMaskedImage" in architecture:
        inputs["bool_masked_pos"] = rng.random((2, rows * columns)) < 0.4
    if architecture == "BeitForMaskedImageModeling":
        count = inputs["bool_masked_pos"].sum()
        inputs["labels"] = rng.integers(0, config.vocab_size, count)
    if architecture.endswith("ForImageClassification"):
        inputs["labels"] = rng.integers(0, config.num_labels, 2)
    if architecture.endswith("ForSemanticSegmentation"):
        labels = rng.integers(0, config.num_labels, (2, height, width))
        labels[0, :3] = config.semantic_loss_ignore_index
        inputs["labels"] = labels
    if architecture.startswith("ViTMAE"):
        inputs["noise"] = rng.random((2, rows * columns)).astype(np.float32)
    return inputs


def steps_of(rng, config):
    """Steps of episodes that end together, so that padding is in front; and where they are."""
    shape, real = (3, 7), np.arange(7) >= np.array([0, 4, 2])[:, None]
    draw = lambda width: rng.normal(size=(*shape, width)).astype(np.float32)
    inputs = {"states": draw(config.state_dim), "actions": draw(config.act_dim)}
    inputs |= {"rewards": draw(1), "returns_to_go": draw(1)}
    inputs["timesteps"] = np.where(real, np.arange(7) + 3 - (~real).sum(1, keepdims=True), 0)
    inputs["attention_mask"] = real.astype(np.int64)
    return inputs, {7: real, 21: real.repeat(3, axis=1)}


def perceived(rng, architecture, config):
    """The arguments of a call of a Perceiver, whatever it reads."""
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    if architecture == "PerceiverModel":
        mask = np.arange(11) < np.array((11, 6))[:, None]
        return {"inputs": draw(2, 11, config.d_model), "attention_mask": mask.astype(np.int64)}
    if architecture == "PerceiverForOpticalFlow":
        return {"inputs": draw(2, 2, 27, *config.train_size)}
    if architecture == "PerceiverForMultimodalAutoencoding":
        frames, side = config.num_frames, config.image_size
        samples = frames * config.audio_samples_per_frame
        return {
            "image": draw(2, frames, 3, side, side),
            "audio": draw(2, samples, 1),
            "label": draw(2, config.num_labels),
            "image_points": rng.integers(0, np.prod(config.output_shape[1:]), 13),
            "audio_points": rng.integers(0, samples // config.samples_per_patch, 5),
        }
    if "Image" in architecture:
        pixels = draw(2, 3, config.image_size, config.image_size)
        if architecture.endswith("Autoencoding"):
            return {"pixel_values": pixels}
        return {"pixel_values": pixels, "labels": rng.integers(0, config.num_labels, 2)}
    length = config.max_position_embeddings  # of labels, whatever the length of the input is
    mask = np.arange(length) < np.array((length, 9))[:, None]
    ids, labels = rng.integers(6, config.vocab_size, (2, 2, length))
    labels = np.where(mask, labels, -100) if "Masked" in architecture else labels[:, 0] % 2
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64), "labels": labels}


def as_named(inputs):
    """The arguments as the reference takes them, which are ours but for those of a video."""
    tensors = {name: torch.tensor(x) for name, x in inputs.items()}
    if "image_points" not in tensors:
        return tensors
    points = {name: tensors[f"{name}_points"] for name in ("image", "audio")}
    return {
        "inputs": {name: tensors[name] for name in ("image", "audio", "label")},
        "subsampled_output_points": {**points, "label": None},
    }


def inputs_of(rng, architecture, config, model, size=None):
    """The arguments of the call, and where each length of row has words."""
    if model.main_input_name == "states":
        return steps_of(rng, config)
    if config.model_type == "perceiver":
        return perceived(rng, architecture, config), {}
    if model.main_input_name == "pixel_values":
        return images_of(rng, architecture, config, size), {}
    if "audio" in model.input_modalities and hasattr(config, "max_length"):
        shape = (3, config.max_length, config.num_mel_bins)
        inputs = {"input_values": rng.normal(size=shape).astype(np.float32)}
        if not architecture.endswith("Model"):
            inputs["labels"] = rng.integers(0, config.num_labels, 3)
        return inputs, {}
    if "audio" in model.input_modalities:
        return waves_of(rng, architecture, config, model)
    whole, config = config, text_of(config)
    ids, mask = rows_of(rng, config, (14, 9, 11), 14)
    if getattr(config, "token_dropout", False):  # so that some tokens are dropped
        ids = np.where(mask & (np.arange(14) % 5 == 3), config.mask_token_id, ids)
    inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    masks = {14: mask}
    if hasattr(config, "attention_window"):
        inputs["global_attention_mask"] = np.isin(np.arange(14), (0, 5))[None].astype(int) * mask
    if architecture.endswith("QuestionAnswering"):
        ends = {"start_positions": np.array([2, 20, 5]), "end_positions": np.array([4, 8, 7])}
        return inputs | ends, masks
    if architecture == "Blip2QFormerModel":
        states = rng.normal(size=(3, 7, config.encoder_hidden_size)).astype(np.float32)
        seen = np.arange(7) < np.array([7, 4, 5])[:, None]
        latents = rng.normal(size=(3, 5, config.hidden_size)).astype(np.float32)
        return {
            "query_embeds": latents,
            "encoder_hidden_states": states,
            "encoder_attention_mask": seen.astype(np.int64),
        }, {}
    if architecture.endswith("DoubleHeadsModel"):  # which takes no mask of [B C T]
        ids, labels = (rng.integers(5, config.vocab_size, (2, 3, 9)) for _ in range(2))
        labels[0, 1, 2:5] = -100
        choices = {"mc_token_ids": np.array([[8, 4, 5], [7, 8, 2]]), "mc_labels": np.array([1, 2])}
        return {"input_ids": ids, "labels": labels, **choices}, {}
    if config.is_encoder_decoder:
        words, masks[8] = rows_of(rng, config, (8, 5, 7), 8)
        name = "decoder_input_ids" if architecture.endswith("Model") else "labels"
        pad = config.pad_token_id if name == "decoder_input_ids" else -100
        inputs[name] = np.where(masks[8], words, pad)
    elif architecture.endswith("LMHeadModel") or not architecture.endswith("Model"):
        writes = ("MaskedLM", "CausalLM", "LMHead", "Text2Text", "ConditionalGeneration")
        of_words = any(name in architecture for name in writes)
        count = text_of(config).vocab_size if of_words else config.num_labels
        labels = rng.integers(0, count, mask.shape)
        of_rows = "Sequence" in architecture
        inputs["labels"] = labels[:, 0] if of_rows else np.where(mask, labels, -100)
    if hasattr(whole, "vision_config"):
        inputs, mask = with_images(rng, whole, inputs)
        masks[mask.shape[1]] = mask
    return inputs, masks


def proteins_of(rng):
    """The types of residues of three proteins of several lengths, and where these are in a chain
    that has a gap."""
    there = np.arange(10) < np.array([10, 6, 8])[:, None]
    places = np.arange(10) + 5 * (np.arange(10) > 3)
    return {
        "input_ids": np.where(there, rng.integers(0, 21, there.shape), 0),
        "attention_mask": there.astype(np.int64),
        "position_ids": np.broadcast_to(places, there.shape).copy(),
    }


def of_proteins(outputs, there):
    """The outputs that a batch of several lengths has, and where they hold residues."""
    steps = ("frames", "angles", "positions", "states", "lddt_head")
    pairs = ("s_z", "distogram_logits", "ptm_logits", "aligned_confidence_probs")
    valid = {}
    for name, value in outputs.items():
        if name.endswith(steps):
            valid[name] = np.broadcast_to(there, (len(value), *there.shape))
        elif name in (*pairs, "predicted_aligned_error"):
            valid[name] = there[:, :, None] & there[:, None]
        elif value.ndim > 1:
            valid[name] = there
    # the reference scores the padding as well; bins of each atom are many, and plddt has them
    left_out = ("ptm", "lddt_head")
    kept = {name: value for name, value in outputs.items() if name not in left_out}
    return kept, {name: where for name, where in valid.items() if name in kept}


def with_images(rng, config, inputs):
    """The arguments with images: an image token for each of their vectors behind the first word, or
    the images of its row to which each word attends; and where words are."""
    vision, ids, mask = config.vision_config, inputs["input_ids"], inputs["attention_mask"]
    image = getattr(config, "image_token_index", None)
    ids = np.where(ids == image, 5, ids)
    shape = (3, vision.image_size, vision.image_size)
    draw = lambda *first: rng.normal(size=(*first, *shape)).astype(np.float32)
    if config.model_type == "idefics":
        seen = np.arange(ids.shape[1])[:, None] >= np.array([2, 6])
        images = {"pixel_values": draw(3, 2), "image_attention_mask": (seen * mask[..., None]) * 1}
        return {**inputs, **images}, mask > 0
    patches = (vision.image_size // vision.patch_size) ** 2
    patches += getattr(config, "vision_feature_select_strategy", None) == "full"
    count = getattr(config, "num_query_tokens", patches)
    at = lambda x, value: np.insert(x, [1] * count, value, axis=1)
    inputs = {**inputs, "input_ids": at(ids, image), "attention_mask": at(mask, 1)}
    if (labels := inputs.get("labels")) is not None and len(labels[0]) == len(ids[0]):
        inputs["labels"] = at(labels, -100)
    if config.model_type == "paligemma":  # image and prompt are a prefix, padding is none of it
        inputs["token_type_ids"] = (np.arange(ids.shape[1] + count) >= count + 4) * at(mask, 1)
    return {**inputs, "pixel_values": draw(3)}, at(mask, 1) > 0


def generated(model, inputs):
    """The calls of `generate`, and what comes of them."""
    # with the scores of routers PyTorch compares the new tokens with the mask of a whole row
    if (
        model.main_input_name == "states"
        or not model.can_generate()
        or getattr(model.config, "output_router_logits", False)
    ):
        return [], {}
    texts = ("input_ids", "attention_mask", "global_attention_mask", "token_type_ids")
    others = ("input_values", "pixel_values", "image_attention_mask")
    names = [name for name in (*texts, *others) if name in inputs]
    key = {name: name for name in names}
    if (
        not model.config.is_encoder_decoder and "input_ids" in names
    ):  # padding of a prompt is on its left
        key = {name: f"generate__{name}" for name in names if name != "pixel_values"}
        empty = (inputs["attention_mask"] == 0).sum(1)
        roll = lambda x: np.stack([np.roll(row, n, axis=0) for row, n in zip(x, empty)])
        inputs.update({key[name]: roll(inputs[name]) for name in key})
        key |= {"pixel_values": "pixel_values"} if "pixel_values" in names else {}
    tensors = {name: torch.tensor(inputs[key[name]]) for name in names}
    calls, outputs = [], {}
    for output, options in GENERATED.items():
        kwargs = {"max_new_tokens": 8, "do_sample": False, **options}
        kwargs |= {"return_dict_in_generate": True, "output_scores": True}
        result = model.generate(**tensors, **kwargs)
        outputs[output] = result.sequences
        if options["num_beams"] > 1:
            outputs[f"{output}_scores"] = result.sequences_scores
        calls += [{"output": output, "method": "generate", "inputs": key, "kwargs": kwargs}]
    return calls, outputs


def in_mxfp4(folder, cls, rng):
    """A saved model whose experts are stored in four bits, at random: as PyTorch unpacks it."""
    file, tensors = folder / "model.safetensors", {}
    for name, value in load_file(file).items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            tensors[name] = value
            continue
        shape = (value.shape[0], value.shape[2], value.shape[1] // 32)
        packed = {
            "blocks": rng.integers(0, 256, (*shape, 16)),
            "scales": rng.integers(119, 126, shape),
        }
        tensors |= {f"{name}_{half}": torch.tensor(x).to(torch.uint8) for half, x in packed.items()}
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": []}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return cls.from_pretrained(folder, dtype=torch.float32).eval()


def tolerance(output):
    """Of an output: of one with numbers of some dozens as much more."""
    most = output.detach().abs().max().item() if output.is_floating_point() else 0
    return ATOL * max(1.0, round(most / 10))


def make(name, architecture, settings):
    """Config, weights, inputs and outputs of a tiny model, every parameter of which is random."""
    torch.manual_seed(0)
    rng, folder = np.random.default_rng(0), CASES / name
    cls = globals().get(architecture) or getattr(transformers, architecture)
    config = cls.config_class(**settings)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape))
        for buffer, value in model.named_buffers():
            if buffer.endswith("running_mean"):
                value.add_(0.2 * torch.randn(value.shape))
            if buffer.endswith("running_var"):
                value.add_(torch.rand(value.shape))
            if buffer.endswith("e_score_correction_bias"):  # of which some scores become negative
                value.add_(0.8 * torch.randn(value.shape))
    # "runtime": under the names within transformers, where files have others
    model.save_pretrained(folder, save_original_format=not name.startswith("runtime"))
    model = in_mxfp4(folder, cls, rng) if name.endswith("mxfp4") else model
    folds = architecture.endswith("Folding")
    inputs, masks = (
        (proteins_of(rng), {})
        if folds
        else inputs_of(rng, architecture, config, model, SIZES.get(name))
    )
    # of candidates in rows the reference gives states of two shapes
    kwargs = {"output_hidden_states": "DoubleHeads" not in architecture}
    kwargs = {"num_recycles": 2} if folds else kwargs
    result = model(**as_named(inputs), **kwargs)
    outputs = {}
    for key, value in result.items():
        if isinstance(value, tuple):
            outputs |= {f"{key}_{n}": state for n, state in enumerate(value)}
        elif isinstance(value, dict):
            outputs |= {f"{key}.{name}": part for name, part in value.items()}
        elif isinstance(value, torch.Tensor):
            outputs[key] = value
    forward = list(inputs)
    calls, texts = generated(model, inputs)
    valid = {
        f"{key}__valid": masks[x.shape[1]]
        for key, x in outputs.items()
        if x.ndim > 1 and x.shape[1] in masks
    }
    if folds:
        outputs, there = of_proteins(outputs, inputs["attention_mask"] > 0)
        valid = {f"{key}__valid": where for key, where in there.items()}
    outputs |= texts
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **valid, **{k: x.detach().numpy() for k, x in outputs.items()})
    case = {
        "name": name,
        "family": config.model_type,
        "architecture": architecture,
        "library": "transformers",
        "forward": {"inputs": forward, "kwargs": kwargs},
        "calls": calls,
        "rtol": RTOL,
        "outputs": {key: {"atol": tolerance(x)} for key, x in outputs.items()},
        "pad_token_id": getattr(text_of(config), "pad_token_id", None),
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    for case in sys.argv[1:] or CHOSEN:
        make(case, *CHOSEN[case])
