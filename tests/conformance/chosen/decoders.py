"""Decoders."""

from tests.conformance.chosen.shared import LLAMA, OPT

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
YARNED = {"rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.7}}
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
    "opt-narrow": (
        "OPTForCausalLM",
        {**OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False, "enable_bias": False},
    ),
    "opt-sequence": ("OPTForSequenceClassification", {**OPT, "num_labels": 3}),
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
    "qwen2-moe": ("Qwen2MoeForCausalLM", QWEN_MOE),
    "runtime-qwen2-moe": (
        "Qwen2MoeForCausalLM",
        {**QWEN_MOE, "norm_topk_prob": True, "output_router_logits": False},
    ),
    "deepseek-v3": ("DeepseekV3ForCausalLM", {**LATENT, **YARNED}),
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
