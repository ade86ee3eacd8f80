"""Why keys of a config.json change nothing here: the reasons that test_config_keys.py asks for."""

A_CALLS = "an argument of a call says it"
AUTHORS = "a note of who made the file"
GENERATION = "read by `generate` from the file itself (`pretrained.older_settings`)"
MEMORY = "how much memory the reference takes, with the same numbers"
PIPELINES = "read by the reference's pipelines, not by its models"
SUMMARY = "read only by GPT2DoubleHeadsModel, which is no head here"
STAGES = "one for each layer, by a rule"
TOKENIZERS = "read only by tokenizers"
TRAINING = "how the reference was run"
NOTHING = "no released code of the reference reads it"


OF_SUMMARIES = """summary_type summary_use_proj summary_activation summary_proj_to_labels
summary_first_dropout""".split()
NO_SUMMARY = "of GPT-2's files, and read by no head of the family"


EVERYWHERE = {  # `models.config.IGNORED`
    **dict.fromkeys(
        """transformers_version _name_or_path name_or_path _from_model_config _commit_hash auto_map
        language name
        transformers.js_config finetuning_task""".split(),
        AUTHORS,
    ),
    **dict.fromkeys(
        "output_attentions output_hidden_states return_dict use_return_dict".split(), A_CALLS
    ),
    **dict.fromkeys(
        """gradient_checkpointing chunk_size_feed_forward use_cache output_past n_ctx""".split(),
        MEMORY,
    ),
    **dict.fromkeys(
        """torchscript use_bfloat16 xla_device tf_legacy_loss _attn_implementation
        attn_implementation _attn_implementation_autoset""".split(),
        TRAINING,
    ),
    **dict.fromkeys(
        """tokenizer_class model_max_length mask_token_id cls_token_id unk_token_id
        sep_token_id""".split(),
        TOKENIZERS,
    ),
    **dict.fromkeys("prefix task_specific_params".split(), PIPELINES),
    **dict.fromkeys(
        """max_length min_length do_sample early_stopping num_beams num_beam_groups
        diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty
        no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences
        output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
        remove_invalid_values exponential_decay_length_penalty suppress_tokens
        begin_suppress_tokens max_new_tokens min_new_tokens renormalize_logits""".split(),
        GENERATION,
    ),
    "eos_token_ids": "of the releases of 2019; those since read eos_token_id",
    "pretraining_tp": "a product in slices, whose sum is the same",
    "reorder_and_upcast_attn": "scores in float32, which they always are here",
}
FAMILY = {
    "perceiver": {
        "layer_norm_eps": "norms have torch's own, 1e-5, whatever it says",
        "tie_word_embeddings": "logits are always made with the table of words",
    },
    "albert": dict.fromkeys(
        "down_scale_factor gap_size layers_to_keep net_structure_type num_memory_blocks".split(),
        NOTHING,
    ),
    "bart": {"save_step": AUTHORS},
    "bert": dict.fromkeys(
        """pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head
        pooler_type""".split(),
        NOTHING,
    ),
    "beit": {"stage_names": STAGES},
    "deepseek_v3": {
        **dict.fromkeys(("aux_loss_alpha", "seq_aux", "ep_size"), TRAINING),
        **dict.fromkeys(
            ("head_dim", "qk_head_dim"), "sums of qk_nope_head_dim and qk_rope_head_dim"
        ),
        **dict.fromkeys(
            ("num_mtp_layers", "num_nextn_predict_layers"),
            "layers behind the others, which the reference's model leaves out",
        ),
    },
    "bloom": dict.fromkeys(
        """attention_softmax_in_fp32 bias_dropout_fusion masked_softmax_fusion offset_alibi
        seq_length skip_bias_add skip_bias_add_qkv""".split(),
        "of the authors' own code; no released code of the reference reads it",
    ),
    "deberta-v2": {
        "classifier_dropout": "its heads read cls_dropout",
        "padding_idx": "a property of the class, which is pad_token_id",
        "z_steps": "the model sets it to 0 whatever the file says",
    },
    "dinov2": {"stage_names": STAGES, "intermediate_size": "mlp_ratio is what counts"},
    "dinov3_vit": {"stage_names": STAGES},
    "distilbert": {"tie_weights_": "tie_word_embeddings is what counts"},
    "electra": {"summary_proj_to_labels": "the head of choices has one label either way"},
    "encoder-decoder": {
        **dict.fromkeys(("vocab_size", "hidden_size"), "the two configs inside say it"),
        "num_beam_groups": GENERATION,
    },
    "gpt_oss": {
        "hidden_act": "experts have an activation of their own",
        "initial_context_length": "rope_parameters say it",
    },
    "qwen3_moe": {"max_window_layers": "read by no layer: windows are those of all"},
    "decision_transformer": dict.fromkeys(OF_SUMMARIES, NO_SUMMARY),
    "falcon": {"ff_factor": "ffn_hidden_size is what counts"},
    "gpt_neo": dict.fromkeys(OF_SUMMARIES, NO_SUMMARY),
    "openai-gpt": dict.fromkeys(("n_special", "predict_special_tokens"), NOTHING),
    "gptj": dict.fromkeys(OF_SUMMARIES, NO_SUMMARY),
    "gpt2": dict.fromkeys(
        "summary_type summary_use_proj summary_activation summary_proj_to_labels".split(), SUMMARY
    ),
    "llava": {
        "image_seq_length": "read only by processors",
        "vocab_size": "the config of the text says it",
    },
    "blip-2": {
        "image_text_hidden_size": "of Blip2ForImageTextRetrieval, which is no head here",
        "initializer_factor": NOTHING,
        "use_decoder_only_language_model": "what the text's config is says it",
    },
    "blip_2_qformer": {
        **dict.fromkeys(
            ("vocab_size", "max_position_embeddings"),
            "of use_qformer_text_input, which is refused",
        ),
        "position_embedding_type": "of v4, whose one released value is absolute",
    },
    "idefics": dict.fromkeys(
        """freeze_text_layers freeze_text_module_exceptions freeze_lm_head freeze_vision_layers
        freeze_vision_module_exceptions""".split(),
        "which parameters the reference trains",
    ),
    "paligemma": {
        "vocab_size": "the config of the text says it",
        "hidden_size": "the config of the text says it",
        "num_image_tokens": "the sizes of images say it",
    },
    "gemma2": {
        "hidden_act": "of v4, which reads hidden_activation",
        "cache_implementation": "what kind of cache `generate` of the reference makes",
    },
    "gemma3_text": {
        "attn_logit_softcapping": "its attention does not pass it on",
        "_sliding_window_pattern": "layer_types says it",
    },
    "phi3": {"embd_pdrop": NOTHING},
    "smollm3": {
        "max_window_layers": "of Qwen2's config; windows are those of layers that turn not"
    },
    "starcoder2": {
        "activation_function": "hidden_act is what is read",
        "layer_norm_epsilon": "norm_epsilon is what is read",
        **dict.fromkeys(
            """attention_softmax_in_fp32 scale_attention_softmax_in_fp32
            scale_attn_weights""".split(),
            "of the authors' own code; the reference always does so",
        ),
    },
    "longformer": {"onnx_export": "how the window is cut when the graph is traced"},
    "m2m_100": {"extra_pos_embeddings": "positions are a formula, without a table's first rows"},
    "modernbert": {
        **dict.fromkeys(
            "deterministic_flash_attn reference_compile repad_logits_with_grad".split(), TRAINING
        ),
        "layer_norm_eps": "norm_eps is what is read",
        "position_embedding_type": "positions are rotary",
        **dict.fromkeys(
            "sparse_prediction sparse_pred_ignore_index".split(),
            "the same loss, with logits of the masked tokens only",
        ),
    },
    "nomic_bert": {
        **dict.fromkeys(
            "fused_bias_fc fused_dropout_add_ln use_flash_attn use_xentropy".split(), TRAINING
        ),
        "dense_seq_output": NOTHING,
        "embd_pdrop": "the embeddings have the dropout resid_pdrop",
        "max_trained_positions": "read where rotary_scaling_factor is set",
        "parallel_block_tied_norm": "applies only to parallel_block, which is refused",
        **dict.fromkeys(
            """summary_type summary_use_proj summary_activation summary_proj_to_labels
            summary_first_dropout""".split(),
            "of GPT-2's config, from which theirs was made",
        ),
    },
    "blip": {
        "initializer_factor": NOTHING,
        "label_smoothing": "read of text_config, as in the reference",
    },
    "blip_text_model": dict.fromkeys(("projection_dim", "initializer_factor"), NOTHING),
    "blip_vision_model": dict.fromkeys(("projection_dim", "initializer_factor"), NOTHING),
    "convnext": {"stage_names": STAGES},
    "resnet": {"stage_names": STAGES, "layer_types": "a constant of the class"},
    "swin": {
        "stage_names": STAGES,
        "num_layers": "the number of depths",
        "num_hidden_layers": "the number of depths",
        "hidden_size": "follows from embed_dim and depths",
    },
    "esm": {
        "classifier_dropout": "of files of its first releases, where hidden_dropout_prob is read",
        "hidden_act": "of files of its first releases; the activation is gelu",
    },
    "roformer": {"pooler_activation": "it has no pooler"},
    "switch_transformers": {
        **dict.fromkeys(
            "add_router_probs batch_prioritized_routing reuse_router_probs router_type".split(),
            NOTHING,
        ),
        "router_ignore_padding_tokens": "kept by the router, which never looks at it",
    },
    "t5": {
        "n_positions": "positions are relative",
        "output_router_logits": A_CALLS,
    },
    "umt5": {"scalable_attention": NOTHING},
    "whisper": {
        "classifier_proj_size": "of the head of audio classification, which is no head here",
        "forced_decoder_ids": "what generation begins with: decoder_input_ids of a call say it",
        "num_hidden_layers": "encoder_layers by another name",
        "scale_embedding": NOTHING,
    },
}
OF_WAVES = {
    "num_feat_extract_layers": "the length of conv_dim",
    "feat_extract_dropout": "of an older release, which never read it",
    "hidden_dropout_prob": "of BERT's config, beside hidden_dropout",
    "attention_probs_dropout_prob": "of BERT's config, beside attention_dropout",
    **dict.fromkeys(
        """freeze_feat_extract_train mask_channel_length mask_channel_min_space mask_channel_other
        mask_channel_prob mask_channel_selection mask_time_min_space mask_time_other
        mask_time_selection no_mask_channel_overlap no_mask_time_overlap""".split(),
        "of fairseq's training",
    ),
}
FAMILY["hubert"] = FAMILY["wav2vec2"] = OF_WAVES
FAMILY["speech-encoder-decoder"] = FAMILY["encoder-decoder"]
FAMILY["marian"] = FAMILY["pegasus"] = FAMILY["m2m_100"]

# Fields of ours that are no key of the reference's class.
FURTHER_FIELDS = {
    "sentence_transformers": "of cross-encoders: the activation behind their scores",
    "transformers_jax": "ours: the mask that a model was trained with, which the reference ignores",
    "decoder_start_token_id": "begins what an encoder-decoder of two families writes",
    "frequencies": "ours: the frequencies of a rotation that a file stores",
    **dict.fromkeys(
        ("_remove_final_layer_norm", "_label_trainable_num_channels"),
        "the list leaves out names that begin so",
    ),
    "own_words": "in no file: which tables of words are stored apart",
    "forced_bos_token_id": "of generation, in config.json until v4",
    "forced_eos_token_id": "of generation, in config.json until v4",
    "encoder_no_repeat_ngram_size": "of generation, in config.json until v4",
    "add_cross_attention": "of every config until v4",
    "is_decoder": "of every config until v4",
    **dict.fromkeys(
        ("bos_token_id", "eos_token_id", "pad_token_id"), "of every config until v4, of images too"
    ),
    "classifier_dropout": "read by `getattr` of the heads, or by no head of the family",
    "hidden_dropout": "GPT2ForTokenClassification reads it where classifier_dropout is absent",
    "tie_word_embeddings": "a class attribute in the reference",
    "attention_dilation": "of the authors' own files of Longformer (section 3.1)",
    "scale_decoder_outputs": "v5's name for half of what tie_word_embeddings meant",
    "feed_forward_proj": "T5's spelling of dense_act_fn and is_gated_act",
    "is_gated_act": "T5's spelling",
}
READ_WITH_A_DEFAULT = {  # `getattr(config, name, default)` in the modelling code
    "deberta": "embedding_size attention_head_size cls_dropout",
    "deberta-v2": """embedding_size attention_head_size cls_dropout position_buckets norm_rel_ebd
        share_att_key conv_kernel_size conv_act conv_groups""",
    "electra": "summary_first_dropout",
    **dict.fromkeys(("granite", "olmo2", "phi3", "qwen2", "smollm3", "starcoder2"), "head_dim"),
    **dict.fromkeys(("qwen2_moe", "qwen3_moe"), "head_dim"),
    "falcon": "alibi_twice",  # a choice between two engines of the reference
    "gpt_neo": "attention_layers",  # made of attention_types
    "roformer": """summary_type summary_use_proj summary_activation summary_first_dropout
        summary_last_dropout""",
}
