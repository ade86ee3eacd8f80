"""Encoders of text, and LED."""

from tests.conformance.chosen.shared import BERT

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
NOMIC = {**BERT, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}
CHOSEN = {
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
    "nomic-bert-base": ("NomicBertModel", NOMIC),
    "nomic-bert-mlm": ("NomicBertForMaskedLM", NOMIC),
    "nomic-bert-sequence": ("NomicBertForSequenceClassification", {**NOMIC, "num_labels": 4}),
    "nomic-bert-tokens": ("NomicBertForTokenClassification", {**NOMIC, "num_labels": 5}),
    "runtime-nomic-bert": ("NomicBertForMaskedLM", NOMIC),
    "deberta-v2-question": ("DebertaV2ForQuestionAnswering", {**DEBERTA, **CONVOLVED}),
}
