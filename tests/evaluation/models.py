"""Small models over bytes, and their tokenizer."""

import functools

import jax

import transformers_jax as tj
from transformers_jax.data.tokenizers import train_tokenizer


@functools.cache
def reader():
    """The tokenizer."""
    return train_tokenizer("byte", [], 260, roles=("pad", "eos"))


@functools.cache
def model(kind="gpt", positions=128):
    """A decoder of so many positions, or an encoder-decoder, over bytes."""
    tokens = {f"{role}_token_id": int(reader().special_id(role)) for role in ("pad", "eos")}
    if kind == "gpt":
        config = tj.GPT2Config(
            vocab_size=reader().max_id + 1, n_positions=positions, n_embd=16, n_layer=1, n_head=2,
            initializer_range=0.5, bos_token_id=tokens["eos_token_id"], **tokens,
        )  # fmt: skip
        return tj.from_config(config, head="causal_lm", key=jax.random.key(1))
    config = tj.T5Config(
        vocab_size=reader().max_id + 1, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2,
        decoder_start_token_id=tokens["pad_token_id"], **tokens,
    )  # fmt: skip
    return tj.from_config(config, head="seq2seq_lm", key=jax.random.key(1))
