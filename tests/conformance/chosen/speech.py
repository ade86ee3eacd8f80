"""Models of sound."""

from tests.conformance.chosen.shared import BERT

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
CHOSEN = {
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
}
