"""One tiny model per family, every parameter random, shared by the laws of families."""

import functools

import jax
import jax.numpy as jnp
import pytest

import transformers_jax as tj

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
CONFIGS = {
    "bert": lambda: tj.BertConfig(
        vocab_size=53,
        hidden_size=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=28,
        max_position_embeddings=37,
    ),
    "gpt2": lambda: tj.GPT2Config(
        vocab_size=53, n_embd=20, n_layer=2, n_head=4, n_positions=37, eos_token_id=1
    ),
    "llama": lambda: tj.LlamaConfig(**LLAMA),
    "t5": lambda: tj.T5Config(
        vocab_size=53, d_model=20, d_kv=6, d_ff=28, num_layers=2, num_decoder_layers=3, num_heads=4
    ),
    "transformer": lambda: tj.TransformerConfig(
        vocab_size=53,
        d_model=20,
        nhead=4,
        num_encoder_layers=2,
        num_decoder_layers=3,
        dim_feedforward=28,
    ),
}
HEADS = {
    "bert": "masked_lm",
    "gpt2": "causal_lm",
    "llama": "causal_lm",
    "t5": "seq2seq_lm",
    "transformer": "seq2seq_lm",
}


def pytest_collection_modifyitems(items):
    """All laws of a family run on one worker, which compiles its model once."""
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("family")
        if name:
            item.add_marker(pytest.mark.xdist_group(f"laws of {name}"))


@functools.lru_cache(maxsize=64)
def _tiny(family, head, mask, overrides):
    config = CONFIGS[family]().replace(**dict(overrides))
    # scanned layers compile once, however many there are
    options = dict(key=jax.random.key(0), mask=mask, unroll=False)
    model = tj.from_config(config, head=head or HEADS[family], **options)
    _, params = tj.functional(model)
    leaves, tree = jax.tree.flatten(params)

    @jax.jit
    def stir(leaves):
        keys = jax.random.split(jax.random.key(1), len(leaves))
        return [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]

    return tj.bind(model, jax.tree.unflatten(tree, stir(leaves)))


@pytest.fixture(scope="session")
def tiny():
    """tiny("gpt2", mask=...): a model with random norms and biases too; the same one each time."""

    def make(family, head=None, mask=None, **overrides):
        return _tiny(family, head, mask, tuple(sorted(overrides.items())))

    return make


@pytest.fixture(scope="session")
def ids():
    """Int[2 13] of ordinary tokens."""
    return jnp.asarray(jax.random.randint(jax.random.key(7), (2, 13), 3, 53))
