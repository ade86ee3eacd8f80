"""One tiny model per family, every parameter random, shared by the laws of families."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.models.base import Plan, masks_of
from transformers_jax.nn.param import bind, params
from transformers_jax.spec import Execution

LLAMA = dict(
    vocab_size=53,
    hidden_size=20,
    intermediate_size=28,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=6,
    max_position_embeddings=64,
)
MIXTURE = dict(num_local_experts=3, num_experts_per_tok=2)
SMALL_EXPERTS = dict(num_experts=3, num_experts_per_tok=2, moe_intermediate_size=10)
BERT = dict(
    vocab_size=53,
    hidden_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=28,
    max_position_embeddings=37,
)
BART = dict(
    vocab_size=53,
    d_model=20,
    encoder_layers=2,
    decoder_layers=3,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=28,
    decoder_ffn_dim=28,
    max_position_embeddings=37,
)
T5 = dict(
    vocab_size=53, d_model=20, d_kv=6, d_ff=28, num_layers=2, num_decoder_layers=3, num_heads=4
)
OF_GPT_J = dict(vocab_size=53, n_embd=20, n_layer=2, n_head=4, n_inner=28, n_positions=37)
CROSS_ATTENTION = dict(is_decoder=True, add_cross_attention=True)
CONFIGS = {
    "albert": lambda: tj.AlbertConfig(
        **{**BERT, "num_hidden_layers": 3}, embedding_size=12, num_hidden_groups=2
    ),
    "bart": lambda: tj.BartConfig(**BART),
    "bert": lambda: tj.BertConfig(**BERT),
    "bert_decoder": lambda: tj.BertConfig(**BERT, is_decoder=True),
    "deberta_v2": lambda: tj.DebertaV2Config(
        **BERT,
        relative_attention=True,
        pos_att_type=("c2p", "p2c"),
        position_biased_input=False,
        position_buckets=6,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
    ),
    "deberta": lambda: tj.DebertaConfig(
        **BERT, relative_attention=True, pos_att_type=("c2p", "p2c"), position_biased_input=False
    ),
    "distilbert": lambda: tj.DistilBertConfig(
        vocab_size=53, dim=20, n_layers=2, n_heads=4, hidden_dim=28, max_position_embeddings=37
    ),
    "electra": lambda: tj.ElectraConfig(**BERT, embedding_size=12),
    "encoder_decoder": lambda: tj.EncoderDecoderConfig(
        encoder=tj.BertConfig(**BERT),
        decoder=tj.GPT2Config(
            **dict(vocab_size=53, n_embd=16, n_layer=2, n_head=4, n_positions=37), **CROSS_ATTENTION
        ),
        pad_token_id=0,
        decoder_start_token_id=1,
    ),
    "gemma": lambda: tj.GemmaConfig(**LLAMA),
    "gpt2": lambda: tj.GPT2Config(
        vocab_size=53, n_embd=20, n_layer=2, n_head=4, n_positions=37, eos_token_id=1
    ),
    "led": lambda: tj.LEDConfig(
        **{name: size for name, size in BART.items() if name != "max_position_embeddings"},
        max_encoder_position_embeddings=37,
        max_decoder_position_embeddings=37,
        attention_window=6,
    ),
    "llama": lambda: tj.LlamaConfig(**LLAMA),
    "gemma2": lambda: tj.Gemma2Config(**LLAMA, sliding_window=4, attn_logit_softcapping=2.0),
    "gemma3_text": lambda: tj.Gemma3TextConfig(
        **LLAMA, sliding_window=4, layer_types=("sliding_attention", "full_attention")
    ),
    "granite": lambda: tj.GraniteConfig(
        **LLAMA,
        embedding_multiplier=3.0,
        attention_multiplier=0.3,
        residual_multiplier=0.4,
        logits_scaling=2.5,
    ),
    "mistral": lambda: tj.MistralConfig(**LLAMA, sliding_window=4),
    "olmo2": lambda: tj.Olmo2Config(**LLAMA),
    "phi3": lambda: tj.Phi3Config(**LLAMA, pad_token_id=0),
    "qwen2": lambda: tj.Qwen2Config(
        **LLAMA, sliding_window=4, layer_types=("sliding_attention", "full_attention")
    ),
    "qwen3": lambda: tj.Qwen3Config(**LLAMA),
    "smollm3": lambda: tj.SmolLM3Config(**LLAMA, no_rope_layers=(1, 0), pad_token_id=0),
    "stablelm": lambda: tj.StableLmConfig(
        **{name: x for name, x in LLAMA.items() if name != "head_dim"} | {"hidden_size": 32},
        use_parallel_residual=True,
        qk_layernorm=True,
        use_qkv_bias=True,
    ),
    "starcoder2": lambda: tj.Starcoder2Config(**LLAMA, sliding_window=4),
    "mixtral": lambda: tj.MixtralConfig(**LLAMA, **MIXTURE),
    "qwen2_moe": lambda: tj.Qwen2MoeConfig(
        **LLAMA, **SMALL_EXPERTS, shared_expert_intermediate_size=10, mlp_only_layers=(0,)
    ),
    "qwen3_moe": lambda: tj.Qwen3MoeConfig(**LLAMA, **SMALL_EXPERTS, norm_topk_prob=True),
    "gpt_oss": lambda: tj.GptOssConfig(**LLAMA, **MIXTURE, sliding_window=4),
    "deepseek_v3": lambda: tj.DeepseekV3Config(
        **{n: size for n, size in LLAMA.items() if n not in ("head_dim", "num_key_value_heads")},
        num_key_value_heads=4,
        n_routed_experts=6,
        n_group=3,
        topk_group=2,
        num_experts_per_tok=2,
        moe_intermediate_size=10,
        first_k_dense_replace=1,
        kv_lora_rank=8,
        q_lora_rank=6,
        qk_rope_head_dim=4,
        qk_nope_head_dim=6,
        v_head_dim=5,
    ),
    "opt": lambda: tj.OPTConfig(
        vocab_size=53,
        hidden_size=20,
        ffn_dim=28,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=37,
    ),
    "bloom": lambda: tj.BloomConfig(
        vocab_size=53,
        hidden_size=20,
        n_layer=2,
        n_head=4,
        apply_residual_connection_post_layernorm=True,
    ),
    "codegen": lambda: tj.CodeGenConfig(**OF_GPT_J, rotary_dim=2),
    "falcon": lambda: tj.FalconConfig(
        vocab_size=53,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_kv_heads=2,
        new_decoder_architecture=True,
        ffn_hidden_size=28,
    ),
    "gpt_neo": lambda: tj.GPTNeoConfig(
        vocab_size=53,
        hidden_size=20,
        num_layers=2,
        num_heads=4,
        intermediate_size=28,
        max_position_embeddings=37,
        attention_types=((("local", "global"), 1),),
        window_size=4,
    ),
    "gpt_neox": lambda: tj.GPTNeoXConfig(
        **{**BERT, "hidden_size": 32}, rope_parameters={"rope_type": "default", "rope_theta": 50.0}
    ),
    "gptj": lambda: tj.GPTJConfig(**OF_GPT_J, rotary_dim=4),
    "openai_gpt": lambda: tj.OpenAIGPTConfig(
        vocab_size=53, n_embd=20, n_layer=2, n_head=4, n_positions=37
    ),
    "phi": lambda: tj.PhiConfig(**{**BERT, "hidden_size": 32}, num_key_value_heads=2),
    "xglm": lambda: tj.XGLMConfig(
        vocab_size=53,
        d_model=20,
        num_layers=2,
        attention_heads=4,
        ffn_dim=28,
        max_position_embeddings=37,
    ),
    "blenderbot": lambda: tj.BlenderbotConfig(**BART),
    "blenderbot_small": lambda: tj.BlenderbotSmallConfig(**BART),
    "m2m_100": lambda: tj.M2M100Config(**BART),
    "marian": lambda: tj.MarianConfig(**BART, pad_token_id=0, decoder_start_token_id=0),
    "big_bird": lambda: tj.BigBirdConfig(**BERT, block_size=4, num_random_blocks=1),
    "longformer": lambda: tj.LongformerConfig(**BERT, attention_window=6),
    "modernbert": lambda: tj.ModernBertConfig(
        **{**BERT, "hidden_size": 24}, local_attention=6, pad_token_id=0
    ),
    "pegasus": lambda: tj.PegasusConfig(**BART),
    "mpnet": lambda: tj.MPNetConfig(**BERT),
    "nomic_bert": lambda: tj.NomicBertConfig(**{**BERT, "hidden_size": 24}),
    "esm": lambda: tj.EsmConfig(
        **BERT,
        pad_token_id=1,
        mask_token_id=4,
        token_dropout=True,
        emb_layer_norm_before=True,
    ),
    "esm_rotary": lambda: tj.EsmConfig(
        **{**BERT, "hidden_size": 24},
        position_embedding_type="rotary",
        mask_token_id=4,
        token_dropout=True,
    ),
    "roberta": lambda: tj.RobertaConfig(**BERT),
    "xlm_roberta_xl": lambda: tj.XLMRobertaXLConfig(**BERT),
    "roformer": lambda: tj.RoFormerConfig(
        **{**BERT, "hidden_size": 24}, embedding_size=12, rotary_value=True
    ),
    "longt5": lambda: tj.LongT5Config(**T5, local_radius=3),
    "switch_transformers": lambda: tj.SwitchTransformersConfig(
        **T5, num_experts=3, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1
    ),
    "t5": lambda: tj.T5Config(**T5),
    "umt5": lambda: tj.UMT5Config(**T5),
    "transformer": lambda: tj.TransformerConfig(
        vocab_size=53,
        d_model=20,
        nhead=4,
        num_encoder_layers=2,
        num_decoder_layers=3,
        dim_feedforward=28,
    ),
}
TOWER = dict(hidden_size=20, num_hidden_layers=2, num_attention_heads=4, intermediate_size=28)
STILL = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
SCALED = {name: size for name, size in TOWER.items() if name != "intermediate_size"}
IMAGES = dict(image_size=12, patch_size=4)
WORDS = dict(**TOWER, vocab_size=54, max_position_embeddings=9)
PIXELS = dict(**TOWER, **IMAGES)
FLAT = dict(**TOWER, num_channels=1, patch_size=2, num_patches=9)
TEXT = dict(**WORDS, projection_dim=6, eos_token_id=52)
VISION = dict(**PIXELS, projection_dim=6)
STAGES = dict(image_size=12, patch_size=2, depths=(2, 1), drop_path_rate=0.0)
WINDOWS = dict(embed_dim=8, num_heads=(2, 4), window_size=2, mlp_ratio=2.0)
CONVOLVED = dict(hidden_sizes=(6, 10), num_stages=2)
OTHERS = {  # families of other modalities: (config, head); their laws are in test_modalities.py
    "clip": (
        lambda: tj.CLIPConfig(
            text_config=tj.CLIPTextConfig(**TEXT),
            vision_config=tj.CLIPVisionConfig(**VISION),
            projection_dim=6,
        ),
        "contrastive",
    ),
    "clip_text_model": (lambda: tj.CLIPTextConfig(**TEXT), "projection"),
    "clip_vision_model": (lambda: tj.CLIPVisionConfig(**VISION), "projection"),
    "llava": (
        lambda: tj.LlavaConfig(
            text_config=tj.LlamaConfig(**LLAMA | {"vocab_size": 54}),
            vision_config=tj.CLIPVisionConfig(**VISION),
            image_token_index=2,
        ),
        "causal_lm",
    ),
    "idefics": (
        lambda: tj.IdeficsConfig(
            **{n: x for n, x in LLAMA.items() if n not in ("num_key_value_heads", "head_dim")}
            | {"vocab_size": 50, "num_attention_heads": 2},
            additional_vocab_size=4,
            qk_layer_norms=True,
            use_resampler=True,
            perceiver_config=dict(
                resampler_n_latents=3,
                resampler_depth=2,
                resampler_n_heads=2,
                resampler_head_dim=6,
            ),
            vision_config={**TOWER, **IMAGES},
        ),
        "causal_lm",
    ),
    "paligemma": (
        lambda: tj.PaliGemmaConfig(
            text_config=tj.GemmaConfig(**LLAMA | {"vocab_size": 54}),
            vision_config=tj.SiglipVisionConfig(**TOWER, **IMAGES, vision_use_head=False),
            image_token_index=60,
        ),
        "causal_lm",
    ),
    "blip-2": (
        lambda: tj.Blip2Config(
            text_config=CONFIGS["opt"]().replace(vocab_size=54, dropout=0.0),
            vision_config={**TOWER, **IMAGES, "initializer_range": 0.02},
            qformer_config=tj.Blip2QFormerConfig(**TOWER, **STILL),
            num_query_tokens=9,
            image_token_index=2,
        ),
        "causal_lm",
    ),
    "blip_2_qformer": (
        lambda: tj.Blip2QFormerConfig(**TOWER, **STILL, encoder_hidden_size=16),
        "none",
    ),
    "perceiver": (
        lambda: tj.PerceiverConfig(
            num_latents=5,
            d_latents=20,
            d_model=16,
            num_blocks=2,
            num_self_attends_per_block=2,
            num_self_attention_heads=4,
            num_cross_attention_heads=2,
            attention_probs_dropout_prob=0.0,
            vocab_size=54,
            max_position_embeddings=9,
        ),
        "sequence_classification",
    ),
    "blip": (
        lambda: tj.BlipConfig(
            text_config=tj.BlipTextConfig(**WORDS),
            vision_config=tj.BlipVisionConfig(**PIXELS),
            projection_dim=6,
        ),
        "contrastive",
    ),
    "blip_text_model": (lambda: tj.BlipTextConfig(**WORDS, is_decoder=False), "none"),
    "blip_vision_model": (lambda: tj.BlipVisionConfig(**PIXELS), "none"),
    "siglip": (
        lambda: tj.SiglipConfig(
            text_config=tj.SiglipTextConfig(**WORDS), vision_config=tj.SiglipVisionConfig(**PIXELS)
        ),
        "contrastive",
    ),
    "siglip_text_model": (lambda: tj.SiglipTextConfig(**WORDS), "none"),
    "siglip_vision_model": (lambda: tj.SiglipVisionConfig(**PIXELS), "none"),
    "siglip2": (
        lambda: tj.Siglip2Config(
            text_config=tj.Siglip2TextConfig(**WORDS),
            vision_config=tj.Siglip2VisionConfig(**FLAT),
        ),
        "contrastive",
    ),
    "siglip2_text_model": (lambda: tj.Siglip2TextConfig(**WORDS), "none"),
    "siglip2_vision_model": (lambda: tj.Siglip2VisionConfig(**FLAT), "none"),
    "vision-encoder-decoder": (
        lambda: tj.VisionEncoderDecoderConfig(
            encoder=tj.ViTConfig(**PIXELS),
            decoder=tj.GPT2Config(
                **dict(vocab_size=54, n_embd=16, n_layer=2, n_head=4, n_positions=16),
                **dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
                **CROSS_ATTENTION,
            ),
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=2,
        ),
        "seq2seq_lm",
    ),
    "vision-text-dual-encoder": (
        lambda: tj.VisionTextDualEncoderConfig(
            text_config=tj.BertConfig(
                **WORDS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
            ),
            vision_config=tj.ViTConfig(**PIXELS),
            projection_dim=6,
        ),
        "contrastive",
    ),
    "swin": (lambda: tj.SwinConfig(**STAGES, **WINDOWS), "image_classification"),
    "swinv2": (lambda: tj.Swinv2Config(**STAGES, **WINDOWS), "image_classification"),
    "convnext": (lambda: tj.ConvNextConfig(**STAGES, **CONVOLVED), "image_classification"),
    "convnextv2": (lambda: tj.ConvNextV2Config(**STAGES, **CONVOLVED), "image_classification"),
    "resnet": (
        lambda: tj.ResNetConfig(embedding_size=8, hidden_sizes=(8, 16), depths=(2, 2)),
        "image_classification",
    ),
    "vit": (lambda: tj.ViTConfig(**TOWER, **IMAGES), "image_classification"),
    "deit": (lambda: tj.DeiTConfig(**TOWER, **IMAGES), "image_classification_with_teacher"),
    "beit": (
        lambda: tj.BeitConfig(
            **TOWER,
            **IMAGES,
            use_mask_token=True,
            use_relative_position_bias=True,
            use_shared_relative_position_bias=True,
            drop_path_rate=0.0,
        ),
        "image_classification",
    ),
    "dinov2": (
        lambda: tj.Dinov2Config(**SCALED, **IMAGES, mlp_ratio=2.0, use_swiglu_ffn=True),
        "image_classification",
    ),
    "dinov2_with_registers": (
        lambda: tj.Dinov2WithRegistersConfig(
            **SCALED, **IMAGES, mlp_ratio=1.4, num_register_tokens=2
        ),
        "none",
    ),
    "dinov3_vit": (
        lambda: tj.DINOv3ViTConfig(
            **TOWER | {"hidden_size": 16}, **IMAGES, num_register_tokens=2, pos_embed_rescale=None
        ),
        "none",
    ),
    "vit_mae": (
        lambda: tj.ViTMAEConfig(
            **TOWER,
            **IMAGES,
            mask_ratio=0.4,
            decoder_hidden_size=16,
            decoder_num_hidden_layers=2,
            decoder_num_attention_heads=4,
            decoder_intermediate_size=16,
        ),
        "pretraining",
    ),
    "whisper": (
        lambda: tj.WhisperConfig(
            **{name: size for name, size in BART.items() if name != "max_position_embeddings"}
            | {"vocab_size": 54},
            num_mel_bins=5,
            max_source_positions=8,
            max_target_positions=16,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=2,
        ),
        "seq2seq_lm",
    ),
}
WAVES = dict(
    **TOWER,
    vocab_size=54,
    conv_dim=(6, 8),
    conv_kernel=(5, 3),
    conv_stride=(3, 2),
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
    hidden_dropout=0.0,
    activation_dropout=0.0,
    attention_dropout=0.0,
    final_dropout=0.0,
    layerdrop=0.0,
    apply_spec_augment=False,
    ctc_loss_reduction="mean",
    mask_time_length=2,
    mask_feature_prob=0.3,
    mask_feature_length=2,
    feat_extract_norm="layer",
    do_stable_layer_norm=True,
)
OTHERS |= {
    "audio-spectrogram-transformer": (
        lambda: tj.ASTConfig(
            **TOWER, patch_size=4, frequency_stride=3, time_stride=3, max_length=14, num_mel_bins=7
        ),
        "audio_classification",
    ),
    "decision_transformer": (
        lambda: tj.DecisionTransformerConfig(
            state_dim=5,
            act_dim=3,
            hidden_size=20,
            max_ep_len=9,
            n_positions=24,
            n_layer=2,
            n_head=4,
            n_inner=28,
            **dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
        ),
        "trajectory",
    ),
    "hubert": (lambda: tj.HubertConfig(**WAVES, conv_bias=True), "sequence_classification"),
    "speech-encoder-decoder": (
        lambda: tj.SpeechEncoderDecoderConfig(
            encoder=tj.Wav2Vec2Config(**WAVES, add_adapter=True, num_adapter_layers=1),
            decoder=tj.BertConfig(
                **{**BERT, "hidden_size": 16, "vocab_size": 54},
                **CROSS_ATTENTION,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            ),
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=2,
        ),
        "seq2seq_lm",
    ),
    "wav2vec2": (lambda: tj.Wav2Vec2Config(**WAVES), "ctc"),
}
KIN = {  # families whose networks are those of another, at other values (test_families.py)
    "camembert": "roberta",
    "mbart": "bart",
    "mt5": "t5",
    "xlm-roberta": "roberta",
}
LATE = (  # families built of the code of others, whose laws are in the slow matrix
    *("gemma2", "gemma3_text", "granite", "mistral", "olmo2", "phi3"),  # of Llama's
    *("qwen2", "qwen3", "smollm3", "stablelm", "starcoder2"),
    *("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss"),  # of theirs, with experts
    "deepseek_v3",  # of Llama's, with an attention that has tests of its own
    *("bloom", "codegen", "falcon", "gpt_neo", "gpt_neox", "gptj", "phi", "xglm"),  # of GPT-2's
    "openai_gpt",
)
HEADS = {
    "albert": "masked_lm",
    "bart": "seq2seq_lm",
    "bert": "masked_lm",
    "bert_decoder": "causal_lm",
    "deberta_v2": "masked_lm",
    "deberta": "masked_lm",
    "distilbert": "masked_lm",
    "xlm_roberta_xl": "masked_lm",
    "electra": "replaced_token",
    "encoder_decoder": "seq2seq_lm",
    "gemma": "causal_lm",
    "gpt2": "causal_lm",
    "led": "seq2seq_lm",
    "llama": "causal_lm",
    **dict.fromkeys(("gemma2", "gemma3_text", "granite", "mistral", "olmo2"), "causal_lm"),
    **dict.fromkeys(("phi3", "qwen2", "qwen3", "smollm3", "stablelm"), "causal_lm"),
    "starcoder2": "causal_lm",
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "deepseek_v3"), "causal_lm"),
    **dict.fromkeys(("bloom", "codegen", "falcon", "gpt_neo"), "causal_lm"),
    **dict.fromkeys(("gpt_neox", "gptj", "openai_gpt", "phi", "xglm"), "causal_lm"),
    "opt": "causal_lm",
    "blenderbot": "seq2seq_lm",
    "blenderbot_small": "seq2seq_lm",
    "marian": "seq2seq_lm",
    "m2m_100": "seq2seq_lm",
    "big_bird": "masked_lm",
    "longformer": "masked_lm",
    "modernbert": "masked_lm",
    "pegasus": "seq2seq_lm",
    "mpnet": "masked_lm",
    "nomic_bert": "masked_lm",
    "esm": "masked_lm",
    "esm_rotary": "masked_lm",
    "roberta": "masked_lm",
    "roformer": "masked_lm",
    "longt5": "seq2seq_lm",
    "switch_transformers": "seq2seq_lm",
    "t5": "seq2seq_lm",
    "umt5": "seq2seq_lm",
    "transformer": "seq2seq_lm",
}

DECODERS = [family for family, head in HEADS.items() if head == "causal_lm"]
ENCODER_DECODERS = [family for family, head in HEADS.items() if head == "seq2seq_lm"]


def quick(families, late=LATE):
    """The families as parameters of a test, which is slow for the `late` ones."""
    slow = lambda family: [pytest.mark.slow] if family in late else []
    return [pytest.param(family, marks=slow(family)) for family in families]


@functools.lru_cache(maxsize=64)
def _tiny(family, head, mask, overrides):
    make, usual = OTHERS.get(family) or (CONFIGS[family], HEADS[family])
    config = make().replace(**dict(overrides))
    # scanned layers compile once, however many there are; NumPy's numbers compile nothing
    execution = Execution(unroll=False)
    model = Plan(config, head or usual, execution, mask).build()
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        x = 0.25 * rng.normal(size=leaf.shape)
        name = jax.tree_util.keystr(path)
        is_scale = name.endswith(("['scale']", "['variance']"))
        # Gemma stores the difference of a scale from 1
        apart = family.startswith(("gemma", "paligemma")) and "vision" not in name
        return jnp.asarray(1 + x if is_scale and not apart else x, jnp.float32)

    return bind(model, jax.tree_util.tree_map_with_path(draw, params(model)))


@pytest.fixture(scope="session")
def tiny():
    """tiny("gpt2", mask=...): a model with random norms and biases too; the same one each time."""

    def make(family, head=None, mask=None, **overrides):
        mask = masks_of(mask)
        return _tiny(family, head, mask, tuple(sorted(overrides.items())))

    return make


@pytest.fixture(scope="session")
def ids():
    """Int[2 13] of ordinary tokens."""
    return jnp.asarray(np.random.default_rng(7).integers(3, 53, (2, 13)), jnp.int32)
