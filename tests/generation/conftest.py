"""A small Llama over bytes, with a chat template, in a folder."""

import json

import jax
import pytest
import tokenizers

import transformers_jax as tj
from transformers_jax.data.tokenizers import load_tokenizer

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
LENGTH = 160


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of the model and its tokenizer."""
    folder = tmp_path_factory.mktemp("served") / "bytes"
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = {"<end>": 0, **{letter: n + 1 for n, letter in enumerate(alphabet)}}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(words, []))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    inner.add_special_tokens(["<end>"])
    config = tj.LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=LENGTH,
        initializer_range=0.3, bos_token_id=None, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    tj.save_pretrained(model, folder)
    inner.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>"}
    settings["chat_template"] = TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def model(folder):
    return tj.from_pretrained(folder)


@pytest.fixture(scope="session")
def tokenizer(folder):
    return load_tokenizer(folder)
