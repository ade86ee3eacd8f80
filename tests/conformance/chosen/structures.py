"""Models of latents, trajectories and proteins."""

from tests.conformance.chosen.shared import BERT

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
