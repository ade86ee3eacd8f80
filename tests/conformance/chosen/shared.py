"""Sizes that several families share."""

BERT = dict(
    vocab_size=96,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
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
OPT = dict(
    vocab_size=96,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    ffn_dim=40,
    max_position_embeddings=64,
)
