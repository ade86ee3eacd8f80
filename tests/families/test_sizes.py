"""At the sizes of their papers models have as many parameters as PyTorch's classes (meta device).

Tables that a formula gives are no parameters here: Marian's and Pegasus' sinusoids are not counted.
"""

import pytest

from transformers_jax.models import config_class
from transformers_jax.models.base import Plan

OPUS = dict(
    d_model=512,
    encoder_layers=6,
    decoder_layers=6,
    encoder_attention_heads=8,
    decoder_attention_heads=8,
    encoder_ffn_dim=2048,
    decoder_ffn_dim=2048,
    max_position_embeddings=512,
)
BLENDERBOT_400M = dict(d_model=1280, decoder_layers=12, encoder_ffn_dim=5120, decoder_ffn_dim=5120)
FAIRSEQ = dict(max_position_embeddings=514, type_vocab_size=1)
BASE = dict(hidden_size=768, num_attention_heads=12, intermediate_size=3072)
LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
XLM_R = {"model_type": "xlm-roberta", "vocab_size": 250002, **FAIRSEQ}
DEBERTA = dict(relative_attention=True, pos_att_type="c2p|p2c", position_biased_input=False)
DEBERTA_V2 = dict(
    **DEBERTA,
    model_type="deberta-v2",
    position_buckets=256,
    norm_rel_ebd="layer_norm",
    share_att_key=True,
)
DEBERTA_V3 = dict(**DEBERTA_V2, **BASE)
MT5_SMALL = {"feed_forward_proj": "gated-gelu", "d_ff": 1024, "num_layers": 8, "num_heads": 6}
T5_BASE_V11 = dict(
    d_model=768, d_ff=2048, num_layers=12, num_heads=12, feed_forward_proj="gated-gelu"
)
BYT5_SMALL = {
    "model_type": "t5",
    "d_model": 1472,
    "d_ff": 3584,
    "num_heads": 6,
    "num_layers": 12,
    "num_decoder_layers": 4,
    "vocab_size": 384,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "tokenizer_class": "ByT5Tokenizer",
}
BERT2GPT2 = {
    "model_type": "encoder-decoder",
    "encoder": {"model_type": "bert"},
    "decoder": {"model_type": "gpt2", "add_cross_attention": True},
}
CLASSES, IMAGENET = "image_classification", {"num_labels": 1000}
BEIT = {"model_type": "beit", "use_absolute_position_embeddings": False}
DINOV2 = dict(image_size=518, patch_size=14)
SO400M = dict(
    hidden_size=1152, num_hidden_layers=27, num_attention_heads=16, intermediate_size=4304
)
BLIP = {"model_type": "blip", "vision_config": {"image_size": 384}}
SPEECH_LARGE = dict(**LARGE, conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True)
SIZES = {  # name: (what config.json says, head, count)
    "bert2bert": ({"model_type": "encoder-decoder"}, "seq2seq_lm", 247_363_386),
    "bloom": (
        {"model_type": "bloom", "hidden_size": 14336, "n_layer": 70, "n_head": 112},
        "causal_lm",
        176_247_271_424,
    ),
    "codegen-350M": (
        {
            "model_type": "codegen",
            "n_embd": 1024,
            "n_layer": 20,
            "rotary_dim": 32,
            "vocab_size": 51200,
        },
        "causal_lm",
        356_712_448,
    ),
    "falcon-7b": ({"model_type": "falcon"}, "causal_lm", 6_921_720_704),
    "falcon-40b": (
        {
            "model_type": "falcon",
            "hidden_size": 8192,
            "num_hidden_layers": 60,
            "num_attention_heads": 128,
            "num_kv_heads": 8,
            "new_decoder_architecture": True,
        },
        "causal_lm",
        41_303_293_952,
    ),
    "gpt-j-6b": ({"model_type": "gptj"}, "causal_lm", 6_050_882_784),
    "gpt-neo-1.3B": ({"model_type": "gpt_neo"}, "causal_lm", 1_315_575_808),
    "gpt-neox-20b": ({"model_type": "gpt_neox"}, "causal_lm", 20_554_567_680),
    "openai-gpt": ({"model_type": "openai-gpt"}, "causal_lm", 116_534_784),
    "phi-2": (
        {
            "model_type": "phi",
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 32,
        },
        "causal_lm",
        2_779_683_840,
    ),
    "xglm-564M": ({"model_type": "xglm"}, "causal_lm", 564_463_616),
    "bert2gpt2": (BERT2GPT2, "seq2seq_lm", 262_288_896),
    "bert as a decoder": ({"model_type": "bert", "is_decoder": True}, "causal_lm", 109_514_298),
    "mbart-large-cc25": ({"model_type": "mbart", "vocab_size": 250027}, "none", 610_851_840),
    "m2m100_418M": ({"model_type": "m2m_100"}, "seq2seq_lm", 483_905_536),
    "nllb-200-distilled-600M": (
        {"model_type": "m2m_100", "vocab_size": 256206},
        "seq2seq_lm",
        615_073_792,
    ),
    "opus-mt-en-de": ({"model_type": "marian", **OPUS}, "none", 74_410_496 - 2 * 512 * 512),
    "pegasus-large": (
        {"model_type": "pegasus", "vocab_size": 96103, "encoder_layers": 16, "decoder_layers": 16},
        "none",
        570_797_056 - 2 * 1024 * 1024,
    ),
    "blenderbot-400M-distill": (
        {"model_type": "blenderbot", **BLENDERBOT_400M},
        "none",
        364_802_560,
    ),
    "blenderbot_small-90M": (
        {"model_type": "blenderbot-small", "vocab_size": 54944},
        "none",
        87_508_992,
    ),
    "distilbert-base-uncased": ({"model_type": "distilbert"}, "masked_lm", 66_985_530),
    "xlm-roberta-base": (XLM_R, "masked_lm", 278_295_186),
    "xlm-roberta-large": ({**XLM_R, **LARGE}, "masked_lm", 560_142_482),
    "xlm-roberta-xl": ({"model_type": "xlm-roberta-xl"}, "masked_lm", 3_482_741_760),
    "camembert-base": (
        {"model_type": "camembert", "vocab_size": 32005, **FAIRSEQ},
        "masked_lm",
        110_655_493,
    ),
    "mpnet-base": ({"model_type": "mpnet", "max_position_embeddings": 514}, "none", 109_486_464),
    "albert-base-v2": ({"model_type": "albert", **BASE}, "none", 11_683_584),
    "albert-xxlarge-v2": ({"model_type": "albert"}, "pretraining", 223_158_450),
    "roformer_chinese_base": ({"model_type": "roformer"}, "masked_lm", 124_197_968 - 1536 * 64),
    "ModernBERT-base": ({"model_type": "modernbert"}, "masked_lm", 149_655_232),
    "ModernBERT-large": (
        {
            "model_type": "modernbert",
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "hidden_size": 1024,
            "intermediate_size": 2624,
        },
        "masked_lm",
        395_881_664,
    ),
    "longformer-base-4096": (
        {
            "model_type": "longformer",
            "vocab_size": 50265,
            "max_position_embeddings": 4098,
            "type_vocab_size": 1,
        },
        "masked_lm",
        148_711_257,
    ),
    "led-base-16384": (
        {
            "model_type": "led",
            "d_model": 768,
            **{f"{side}_layers": 6 for side in ("encoder", "decoder")},
            **{f"{side}_attention_heads": 12 for side in ("encoder", "decoder")},
            **{f"{side}_ffn_dim": 3072 for side in ("encoder", "decoder")},
            "attention_window": 1024,
        },
        "none",
        161_844_480,
    ),
    "led-large-16384": ({"model_type": "led"}, "none", 459_801_600),
    "esm2_t6_8M": (
        {
            "model_type": "esm",
            "position_embedding_type": "rotary",
            "hidden_size": 320,
            "num_hidden_layers": 6,
            "num_attention_heads": 20,
            "intermediate_size": 1280,
        },
        "masked_lm",
        7_512_474,
    ),
    "esm1b_t33_650M": (
        {
            "model_type": "esm",
            "hidden_size": 1280,
            "num_hidden_layers": 33,
            "num_attention_heads": 20,
            "intermediate_size": 5120,
            "pad_token_id": 1,
            "emb_layer_norm_before": True,
        },
        "masked_lm",
        652_359_094,
    ),
    "nomic-bert-2048": ({"model_type": "nomic_bert"}, "masked_lm", 137_354_304),
    "nomic-embed-text-v1.5": (
        {
            "model_type": "nomic_bert",
            "vocab_size": 30528,
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
            "n_inner": 3072,
            "n_positions": 8192,
            "layer_norm_epsilon": 1e-12,
            "activation_function": "swiglu",
            "rotary_emb_fraction": 1.0,
            "rotary_emb_base": 1000,
            "qkv_proj_bias": False,
            "mlp_fc1_bias": False,
            "mlp_fc2_bias": False,
        },
        "none",
        136_731_648,
    ),
    "byt5-small": (BYT5_SMALL, "seq2seq_lm", 299_072_512),  # its file unties 565_248 more
    "bigbird-roberta-base": ({"model_type": "big_bird"}, "pretraining", 128_112_824),
    "deberta-base": ({"model_type": "deberta", **DEBERTA}, "none", 138_601_728),
    "deberta-v2-xlarge": (
        {**DEBERTA_V2, "conv_kernel_size": 3, "conv_act": "gelu"},
        "none",
        884_593_152,
    ),
    "deberta-v3-base": ({**DEBERTA_V3, "num_hidden_layers": 12}, "none", 183_831_552),
    "mt5-small": ({**MT5_SMALL, "model_type": "mt5"}, "seq2seq_lm", 172_119_424),
    "mt5-base": (
        {**T5_BASE_V11, "model_type": "mt5", "vocab_size": 250112},
        "seq2seq_lm",
        390_315_264,
    ),
    "umt5-small": (
        {**MT5_SMALL, "model_type": "umt5", "vocab_size": 256384},
        "seq2seq_lm",
        175_333_376,
    ),
    "switch-base-8": (
        {
            "model_type": "switch_transformers",
            "d_ff": 3072,
            "num_sparse_encoder_layers": 6,
            "num_sparse_decoder_layers": 6,
        },
        "seq2seq_lm",
        619_339_008,
    ),
    "long-t5-local-base": ({**T5_BASE_V11, "model_type": "longt5"}, "seq2seq_lm", 222_903_552),
    "long-t5-tglobal-base": (
        {
            **T5_BASE_V11,
            "model_type": "longt5",
            "encoder_attention_type": "transient-global",
        },
        "seq2seq_lm",
        222_913_152,
    ),
    "deberta-v3-small": ({**DEBERTA_V3, "num_hidden_layers": 6}, "none", 141_304_320),
    "vit-base-patch16-224": ({"model_type": "vit", **IMAGENET}, CLASSES, 86_567_656),
    "deit-base-distilled": (
        {"model_type": "deit", **IMAGENET},
        "image_classification_with_teacher",
        87_338_192,
    ),
    "beit-base": ({**BEIT, **IMAGENET, "use_relative_position_bias": True}, CLASSES, 86_530_984),
    "beit-base, visual tokens": (
        {
            **BEIT,
            "use_mask_token": True,
            "use_mean_pooling": False,
            "use_shared_relative_position_bias": True,
        },
        "masked_image_modeling",
        91_967_312,
    ),
    "dinov2-base": ({"model_type": "dinov2", **DINOV2}, "none", 86_580_480),
    "dinov2-giant": (
        {
            "model_type": "dinov2",
            **DINOV2,
            "hidden_size": 1536,
            "num_hidden_layers": 40,
            "num_attention_heads": 24,
            "use_swiglu_ffn": True,
        },
        "none",
        1_136_480_768,
    ),
    "dinov2-with-registers-base": (
        {"model_type": "dinov2_with_registers", **DINOV2},
        "none",
        86_583_552,
    ),
    "dinov3-vits16": ({"model_type": "dinov3_vit"}, "none", 21_595_008),
    "dinov3-vitb16": ({"model_type": "dinov3_vit", **BASE}, "none", 85_657_344),
    "language-perceiver": (
        {"model_type": "perceiver", "qk_channels": 256, "v_channels": 1280},
        "masked_lm",
        201_108_230,
    ),
    "vision-perceiver-fourier": (
        {
            "model_type": "perceiver",
            **dict(num_latents=512, d_latents=1024, d_model=261, num_blocks=8),
            **dict(num_self_attends_per_block=6, num_cross_attention_heads=1, **IMAGENET),
        },
        "PerceiverForImageClassificationFourier",
        48_440_627,
    ),
    "optical-flow-perceiver": (
        {
            "model_type": "perceiver",
            **dict(num_latents=2048, d_latents=512, d_model=322, num_self_attends_per_block=24),
            **dict(num_self_attention_heads=16, num_cross_attention_heads=1),
        },
        "optical_flow",
        41_057_134,
    ),
    "multimodal-perceiver": (
        {
            "model_type": "perceiver",
            **dict(num_latents=784, d_latents=512, d_model=704, num_self_attends_per_block=8),
            **dict(num_cross_attention_heads=1, num_labels=700),
        },
        "multimodal_autoencoding",
        19_858_855,
    ),
    "vit-mae-base": ({"model_type": "vit_mae"}, "pretraining", 111_907_840),
    "swin-tiny": ({"model_type": "swin", **IMAGENET}, CLASSES, 28_288_354),
    "swin-large": (
        {
            "model_type": "swin",
            **IMAGENET,
            "embed_dim": 192,
            "depths": [2, 2, 18, 2],
            "num_heads": [6, 12, 24, 48],
        },
        CLASSES,
        196_532_476,
    ),
    "swinv2-tiny": (
        {"model_type": "swinv2", **IMAGENET, "image_size": 256, "window_size": 8},
        CLASSES,
        28_347_154,
    ),
    "swinv2-base": (
        {
            "model_type": "swinv2",
            **IMAGENET,
            "image_size": 256,
            "window_size": 8,
            "embed_dim": 128,
            "depths": [2, 2, 18, 2],
            "num_heads": [4, 8, 16, 32],
        },
        CLASSES,
        87_918_816,
    ),
    "convnext-tiny": ({"model_type": "convnext", **IMAGENET}, CLASSES, 28_589_128),
    "convnext-base": (
        {
            "model_type": "convnext",
            **IMAGENET,
            "depths": [3, 3, 27, 3],
            "hidden_sizes": [128, 256, 512, 1024],
        },
        CLASSES,
        88_591_464,
    ),
    "convnextv2-tiny": ({"model_type": "convnextv2", **IMAGENET}, CLASSES, 28_635_496),
    "resnet-18": (  # and the statistics of 20 batch norms
        {
            "model_type": "resnet",
            **IMAGENET,
            "depths": [2, 2, 2, 2],
            "hidden_sizes": [64, 128, 256, 512],
            "layer_type": "basic",
        },
        CLASSES,
        11_689_512 + 9_600 + 20,
    ),
    "resnet-50": (  # and the statistics of 53 batch norms
        {"model_type": "resnet", **IMAGENET},
        CLASSES,
        25_557_032 + 53_120 + 53,
    ),
    "mixer-b16": ({"architecture": "mixer_b16_224"}, CLASSES, 59_880_472),
    "clip-vit-base-patch32": ({"model_type": "clip"}, "contrastive", 151_277_313),
    "siglip-base-patch16-224": ({"model_type": "siglip"}, "contrastive", 203_155_970),
    "siglip-so400m-patch14-384": (
        {
            "model_type": "siglip",
            "text_config": SO400M,
            "vision_config": {**SO400M, "image_size": 384, "patch_size": 14},
        },
        "contrastive",
        877_960_498,
    ),
    "siglip2-base-patch16-naflex": ({"model_type": "siglip2"}, "contrastive", 203_202_050),
    "blip-base": ({"model_type": "blip"}, "contrastive", 224_726_017),
    "blip-image-captioning-base": (BLIP, "causal_lm", 223_971_644),
    "blip-vqa-base": (BLIP, "visual_question_answering", 361_230_140),
    "blip2-opt-2.7b": (
        {
            "model_type": "blip-2",
            "image_token_index": 50265,
            "text_config": {
                "model_type": "opt",
                "vocab_size": 50304,
                "hidden_size": 2560,
                "word_embed_proj_dim": 2560,
                "ffn_dim": 10240,
                "num_hidden_layers": 32,
                "num_attention_heads": 32,
            },
        },
        "causal_lm",
        3_744_761_856,
    ),
    "llava-1.5-7b": (
        {
            "model_type": "llava",
            "image_token_index": 32000,
            "text_config": {"model_type": "llama", "vocab_size": 32064},
            "vision_config": {
                "model_type": "clip_vision_model",
                **LARGE,
                "image_size": 336,
                "patch_size": 14,
            },
        },
        "causal_lm",
        7_063_427_072,
    ),
    "paligemma-3b-224": (
        {
            "model_type": "paligemma",
            "image_token_index": 257152,
            "projection_dim": 2048,
            "text_config": {
                "model_type": "gemma",
                "vocab_size": 257216,
                "hidden_size": 2048,
                "intermediate_size": 16384,
                "num_hidden_layers": 18,
                "num_attention_heads": 8,
                "num_key_value_heads": 1,
            },
            "vision_config": {
                "model_type": "siglip_vision_model",
                **SO400M,
                "patch_size": 14,
                "vision_use_head": False,
            },
        },
        "causal_lm",
        2_923_466_480,
    ),
    "idefics-9b": (
        {
            "model_type": "idefics",
            "additional_vocab_size": 2,
            "cross_layer_interval": 4,
            "qk_layer_norms": True,
            "use_resampler": True,
            "perceiver_config": {"qk_layer_norms_perceiver": True},
            "vision_config": {"embed_dim": 1280},
        },
        "causal_lm",
        8_929_679_632,
    ),
    "wav2vec2-base": ({"model_type": "wav2vec2"}, "pretraining", 95_044_608),
    "wav2vec2-base-960h": ({"model_type": "wav2vec2"}, "ctc", 94_396_320),
    "wav2vec2-large-xlsr-53": (
        {
            "model_type": "wav2vec2",
            **SPEECH_LARGE,
            "codevector_dim": 768,
            "proj_codevector_dim": 768,
        },
        "pretraining",
        317_390_592,
    ),
    "hubert-base-ls960": ({"model_type": "hubert"}, "none", 94_371_712),
    "hubert-large-ls960-ft": ({"model_type": "hubert", **SPEECH_LARGE}, "ctc", 315_471_520),
    "ast-finetuned-audioset": (
        {"model_type": "audio-spectrogram-transformer", "num_labels": 527},
        "audio_classification",
        86_594_063,
    ),
    "whisper-tiny": ({"model_type": "whisper"}, "seq2seq_lm", 37_760_640),
    "whisper-large-v3": (
        {
            "model_type": "whisper",
            "vocab_size": 51866,
            "num_mel_bins": 128,
            "d_model": 1280,
            **{f"{side}_layers": 32 for side in ("encoder", "decoder")},
            **{f"{side}_attention_heads": 20 for side in ("encoder", "decoder")},
            **{f"{side}_ffn_dim": 5120 for side in ("encoder", "decoder")},
        },
        "seq2seq_lm",
        1_543_490_560,
    ),
}

SIZES |= {  # decoders with experts; of DeepSeek-V3 the corrections are buffers of the reference
    "mixtral-8x7b": ({"model_type": "mixtral"}, "causal_lm", 46_702_792_704),
    "qwen1.5-moe-a2.7b": ({"model_type": "qwen2_moe"}, "causal_lm", 14_315_784_192),
    "qwen3-30b-a3b": (
        {"model_type": "qwen3_moe", "num_hidden_layers": 48, "head_dim": 128},
        "causal_lm",
        30_532_122_624,
    ),
    "gpt-oss-20b": (
        {"model_type": "gpt_oss", "num_hidden_layers": 24, "num_local_experts": 32},
        "causal_lm",
        20_914_757_184,
    ),
    "deepseek-v3": ({"model_type": "deepseek_v3"}, "causal_lm", 671_026_404_352 + 14_848),
}
SIZES |= {  # decoders like Llama
    "mistral-7b": ({"model_type": "mistral"}, "causal_lm", 7_241_732_096),
    "qwen2.5-0.5b": (
        {
            "model_type": "qwen2",
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        "causal_lm",
        494_032_768,
    ),
    "qwen3-0.6b": (
        {
            "model_type": "qwen3",
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "tie_word_embeddings": True,
        },
        "causal_lm",
        596_049_920,
    ),
    "olmo-2-1b": (
        {
            "model_type": "olmo2",
            "vocab_size": 100352,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 16,
        },
        "causal_lm",
        1_484_916_736,
    ),
    "granite-3.1-2b": (
        {
            "model_type": "granite",
            "vocab_size": 49155,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 40,
            "num_key_value_heads": 8,
            "tie_word_embeddings": True,
        },
        "causal_lm",
        2_533_531_648,
    ),
    "stablelm-3b": ({"model_type": "stablelm"}, "causal_lm", 2_795_443_200),
    "stablelm-2-12b": (
        {
            "model_type": "stablelm",
            "vocab_size": 100352,
            "hidden_size": 5120,
            "intermediate_size": 13824,
            "num_hidden_layers": 40,
            "num_key_value_heads": 8,
            "qk_layernorm": True,
            "use_parallel_residual": True,
        },
        "causal_lm",
        12_143_185_920,
    ),
    "smollm3-3b": ({"model_type": "smollm3"}, "causal_lm", 3_075_098_624),
    "starcoder2-3b": ({"model_type": "starcoder2"}, "causal_lm", 3_030_371_328),
    "phi-3-mini": ({"model_type": "phi3"}, "causal_lm", 3_821_079_552),
    "gemma-2-2b": ({"model_type": "gemma2"}, "causal_lm", 2_614_341_888),
    "gemma-3-1b": (
        {
            "model_type": "gemma3_text",
            "vocab_size": 262144,
            "hidden_size": 1152,
            "intermediate_size": 6912,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
        },
        "causal_lm",
        999_885_952,
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_model_has_as_many_parameters_as_in_pytorch(name):
    values, head, count = SIZES[name]
    config = config_class(values).from_dict(values)
    assert Plan(config, head).build().parameter_count == count
