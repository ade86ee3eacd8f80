"""Configs of images and audio as releases of transformers v4 wrote them, every key of theirs: they
are read as today's, and what would change the network is refused."""

import pytest

import transformers_jax as tj

OF_EVERY = {  # of `to_dict` in v4, in a config of its own and inside of others
    **dict.fromkeys(("return_dict", "use_cache", "tie_word_embeddings"), True),
    **dict.fromkeys(
        """output_hidden_states output_attentions torchscript use_bfloat16 tf_legacy_loss
        is_encoder_decoder is_decoder add_cross_attention tie_encoder_decoder do_sample
        early_stopping output_scores return_dict_in_generate remove_invalid_values""".split(),
        False,
    ),
    **dict.fromkeys(
        """cross_attention_hidden_size exponential_decay_length_penalty suppress_tokens
        begin_suppress_tokens architectures finetuning_task tokenizer_class prefix bos_token_id
        pad_token_id eos_token_id sep_token_id decoder_start_token_id task_specific_params
        problem_type torch_dtype forced_bos_token_id forced_eos_token_id bad_words_ids""".split()
    ),
    **dict.fromkeys(("temperature", "top_p", "typical_p", "repetition_penalty"), 1.0),
    **dict.fromkeys(("length_penalty",), 1.0),
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), 1),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), 0),
    **dict.fromkeys(("min_length", "chunk_size_feed_forward"), 0),
    "diversity_penalty": 0.0,
    "max_length": 20,
    "top_k": 50,
    "pruned_heads": {},
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "_name_or_path": "",
    "transformers_version": "4.20.1",
}
TOWER = {
    **OF_EVERY,
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "hidden_act": "quick_gelu",
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "num_hidden_layers": 12,
    "projection_dim": 512,
}
TEXT = {
    **TOWER,
    "model_type": "clip_text_model",
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
VISION = {
    **TOWER,
    "model_type": "clip_vision_model",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "num_channels": 3,
}
CLIP = {
    "_commit_hash": None,
    "architectures": ["CLIPModel"],
    "initializer_factor": 1.0,
    "logit_scale_init_value": 2.6592,
    "model_type": "clip",
    "projection_dim": 512,
    "text_config": TEXT,
    "text_config_dict": None,
    "torch_dtype": "float32",
    "transformers_version": None,
    "vision_config": VISION,
    "vision_config_dict": None,
}
CLASSES = [f"class {number}" for number in range(1000)]
CLASSES[517] = CLASSES[134] = "crane"  # two classes of ImageNet have one name, twice
CLASSES[639] = CLASSES[638] = "maillot"
VIT = {
    "architectures": ["ViTForImageClassification"],
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 768,
    "id2label": {str(number): name for number, name in enumerate(CLASSES)},
    "image_size": 224,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "label2id": {name: number for number, name in enumerate(CLASSES)},
    "layer_norm_eps": 1e-12,
    "model_type": "vit",
    "num_attention_heads": 12,
    "num_channels": 3,
    "num_hidden_layers": 12,
    "patch_size": 16,
    "qkv_bias": True,
    "transformers_version": "4.13.0.dev0",
}
WHISPER = {
    "_name_or_path": "openai/whisper-tiny",
    "activation_dropout": 0.0,
    "activation_function": "gelu",
    "apply_spec_augment": False,
    "architectures": ["WhisperForConditionalGeneration"],
    "attention_dropout": 0.0,
    "begin_suppress_tokens": [220, 50257],
    "bos_token_id": 50257,
    "classifier_proj_size": 256,
    "d_model": 384,
    "decoder_attention_heads": 6,
    "decoder_ffn_dim": 1536,
    "decoder_layerdrop": 0.0,
    "decoder_layers": 4,
    "decoder_start_token_id": 50258,
    "dropout": 0.0,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "encoder_layerdrop": 0.0,
    "encoder_layers": 4,
    "eos_token_id": 50257,
    "forced_decoder_ids": [[1, 50259], [2, 50359], [3, 50363]],
    "init_std": 0.02,
    "is_encoder_decoder": True,
    "mask_feature_length": 10,
    "mask_feature_min_masks": 0,
    "mask_feature_prob": 0.0,
    "mask_time_length": 10,
    "mask_time_min_masks": 2,
    "mask_time_prob": 0.05,
    "max_length": 448,
    "max_source_positions": 1500,
    "max_target_positions": 448,
    "median_filter_width": 7,
    "model_type": "whisper",
    "num_hidden_layers": 4,
    "num_mel_bins": 80,
    "pad_token_id": 50257,
    "scale_embedding": False,
    "suppress_tokens": [1, 2, 7, 8, 9, 10, 14, 25],
    "torch_dtype": "float32",
    "transformers_version": "4.27.0.dev0",
    "use_cache": True,
    "use_weighted_layer_sum": False,
    "vocab_size": 51865,
}
CONFIGS = {"vit": VIT, "clip": CLIP, "clip_text_model": TEXT, "clip_vision_model": VISION}
CONFIGS |= {"whisper": WHISPER}


@pytest.mark.parametrize("family", CONFIGS)
def test_a_config_of_v4_is_read_with_every_key(family):
    values = CONFIGS[family]
    for whole in (values, {**OF_EVERY, **values}):
        config = tj.AutoConfig.from_pretrained(whole)
        assert config.model_type == family
        assert tj.AutoConfig.from_pretrained(config.to_dict()) == config


def test_two_classes_may_have_one_name():
    config = tj.AutoConfig.from_pretrained(VIT)
    assert config.num_labels == 1000


def test_what_stood_in_a_towers_older_dict_is_what_counts():
    """openai/clip-vit-large-patch14 describes its towers twice."""
    large = dict(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, patch_size=14)
    config = tj.AutoConfig.from_pretrained(
        {**CLIP, "vision_config": {**VISION, **large}, "vision_config_dict": large}
    )
    assert config.vision_config == tj.CLIPVisionConfig(**large)
    assert config.text_config.eos_token_id == 2
    only = tj.AutoConfig.from_pretrained({"model_type": "clip", "text_config_dict": {}})
    assert only == tj.CLIPConfig()


def test_towers_that_say_no_family_are_of_the_family_s_own_kind():
    config = tj.AutoConfig.from_pretrained(
        {"model_type": "siglip", "vision_config": {"hidden_size": 1152}}
    )
    assert config.vision_config == tj.SiglipVisionConfig(hidden_size=1152)
    assert tj.CLIPConfig(text_config={"hidden_size": 64}).text_config.model_type == (
        "clip_text_model"
    )
    with pytest.raises(ValueError, match="names no model_type"):  # towers of any family
        tj.AutoConfig.from_pretrained(
            {"model_type": "vision-text-dual-encoder", "vision_config": {"hidden_size": 1152}}
        )


@pytest.mark.parametrize(
    ("family", "switch"),
    [
        ("clip_text_model", {"dropout": 0.1}),
        ("whisper", {"use_weighted_layer_sum": True}),
        ("vit", {"pruned_heads": {"0": [1]}}),
    ],
)
def test_what_would_change_the_network_is_refused(family, switch):
    (name,) = switch
    with pytest.raises(ValueError, match=f"{name}=.* is not implemented for {family}"):
        tj.AutoConfig.from_pretrained({**CONFIGS[family], **switch})
