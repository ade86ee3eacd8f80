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
LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
XLM_R = {"model_type": "xlm-roberta", "vocab_size": 250002, **FAIRSEQ}
ALBERT_BASE = dict(hidden_size=768, num_attention_heads=12, intermediate_size=3072)
DEBERTA = dict(relative_attention=True, pos_att_type="c2p|p2c", position_biased_input=False)
DEBERTA_V2 = dict(
    **DEBERTA,
    model_type="deberta-v2",
    position_buckets=256,
    norm_rel_ebd="layer_norm",
    share_att_key=True,
)
DEBERTA_V3 = dict(**DEBERTA_V2, hidden_size=768, num_attention_heads=12, intermediate_size=3072)
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
SIZES = {  # name: (what config.json says, head, count)
    "bert2bert": ({"model_type": "encoder-decoder"}, "seq2seq_lm", 247_363_386),
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
    "albert-base-v2": ({"model_type": "albert", **ALBERT_BASE}, "none", 11_683_584),
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
    "vit-base-patch16-224": (
        {"model_type": "vit", "num_labels": 1000},
        "image_classification",
        86_567_656,
    ),
    "swin-tiny": ({"model_type": "swin", "num_labels": 1000}, "image_classification", 28_288_354),
    "swinv2-tiny": (
        {"model_type": "swinv2", "num_labels": 1000, "image_size": 256, "window_size": 8},
        "image_classification",
        28_347_154,
    ),
    "convnext-tiny": (
        {"model_type": "convnext", "num_labels": 1000},
        "image_classification",
        28_589_128,
    ),
    "convnextv2-tiny": (
        {"model_type": "convnextv2", "num_labels": 1000},
        "image_classification",
        28_635_496,
    ),
    "resnet-50": (  # and the statistics of 53 batch norms
        {"model_type": "resnet", "num_labels": 1000},
        "image_classification",
        25_557_032 + 53_120 + 53,
    ),
    "mixer-b16": ({"architecture": "mixer_b16_224"}, "image_classification", 59_880_472),
    "clip-vit-base-patch32": ({"model_type": "clip"}, "contrastive", 151_277_313),
    "wav2vec2-base": ({"model_type": "wav2vec2"}, "pretraining", 95_044_608),
    "hubert-base-ls960": ({"model_type": "hubert"}, "none", 94_371_712),
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


@pytest.mark.parametrize("name", SIZES)
def test_a_model_has_as_many_parameters_as_in_pytorch(name):
    values, head, count = SIZES[name]
    config = config_class(values).from_dict(values)
    assert Plan(config, head).build().parameter_count == count
