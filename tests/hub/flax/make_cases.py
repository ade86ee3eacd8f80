"""Makes directories with flax_model.msgpack, and what Flax's modules compute from them.

Runs where transformers 4 is, the last that had Flax (`pip install transformers==4.46.3 jax==0.4.34
flax==0.9.0 "numpy<2"`): python tests/hub/flax/make_cases.py [CASE ...]
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import transformers

CASES = Path(__file__).parent
BERT = dict(
    vocab_size=23,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=16,
)
SMALL = dict(BERT, embedding_size=6)
BART = dict(
    vocab_size=23,
    d_model=8,
    encoder_layers=2,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=12,
    decoder_ffn_dim=10,
    max_position_embeddings=16,
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
    decoder_start_token_id=2,
)
T5 = dict(
    vocab_size=23, d_model=8, d_kv=4, d_ff=12, num_layers=2, num_decoder_layers=1, num_heads=2
)
CHOSEN = {
    "bert": ("FlaxBertForPreTraining", BERT),
    "roberta": ("FlaxRobertaForSequenceClassification", BERT),
    "albert": ("FlaxAlbertForMaskedLM", SMALL),
    "electra": ("FlaxElectraForMaskedLM", SMALL),
    "electra-tokens": ("FlaxElectraForPreTraining", SMALL),
    "distilbert": (
        "FlaxDistilBertForSequenceClassification",
        dict(
            vocab_size=23, dim=8, n_layers=2, n_heads=2, hidden_dim=12, max_position_embeddings=16
        ),
    ),
    "xlm-roberta": ("FlaxXLMRobertaModel", BERT),
    "big-bird": ("FlaxBigBirdForPreTraining", dict(BERT, attention_type="original_full")),
    "gpt2": (
        "FlaxGPT2LMHeadModel",
        dict(vocab_size=23, n_positions=16, n_embd=8, n_layer=2, n_head=2),
    ),
    "llama": ("FlaxLlamaForCausalLM", dict(BERT, num_key_value_heads=1)),
    "t5": ("FlaxT5ForConditionalGeneration", T5),
    "mt5": (
        "FlaxMT5ForConditionalGeneration",
        dict(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    ),
    "longt5": ("FlaxLongT5ForConditionalGeneration", dict(T5, local_radius=3)),
    "bart": ("FlaxBartForConditionalGeneration", BART),
    "mbart": ("FlaxMBartForConditionalGeneration", BART),
    "marian": ("FlaxMarianMTModel", BART),
    "pegasus": ("FlaxPegasusForConditionalGeneration", BART),
    "blenderbot": ("FlaxBlenderbotForConditionalGeneration", BART),
    "blenderbot-small": ("FlaxBlenderbotSmallForConditionalGeneration", BART),
    "encoder-decoder": ("FlaxEncoderDecoderModel", None),
}
SHARDED, HALF = ("llama",), ("distilbert",)


def configured(cls, settings):
    if settings is not None:
        return cls.config_class(**settings)
    speaker = transformers.BertConfig(**BERT, is_decoder=True, add_cross_attention=True)
    reader = transformers.BertConfig(**dict(BERT, hidden_size=12, num_attention_heads=3))
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(reader, speaker)
    config.decoder_start_token_id = config.pad_token_id = 0
    return config


def make(name, architecture, settings):
    """Config, weights, inputs and outputs of a tiny model, every parameter of which is random."""
    rng, folder = np.random.default_rng(0), CASES / name
    cls = getattr(transformers, architecture)
    model = cls(configured(cls, settings))
    noise = lambda p: p + jnp.asarray(0.2 * rng.normal(size=p.shape), p.dtype)
    model.params = jax.tree_util.tree_map(noise, model.params)
    if name in HALF:
        model.params = model.to_bf16(model.params)
    model.save_pretrained(folder, max_shard_size="3KB" if name in SHARDED else "10GB")
    if name in HALF:  # the file is of bfloat16, the computation of float32
        model.params = model.to_fp32(model.params)
    ids = rng.integers(5, 23, (2, 7))
    inputs = {"input_ids": ids, "attention_mask": (np.arange(7) < [[7], [5]]).astype(np.int32)}
    if model.config.is_encoder_decoder:
        inputs |= {"decoder_input_ids": rng.integers(5, 23, (2, 4))}
        inputs |= {"decoder_attention_mask": np.ones((2, 4), np.int32)}
    # Flax's ELECTRA takes all tokens for second sentences without token types
    types = {"token_type_ids": np.zeros_like(ids)} if name.startswith("electra") else {}
    result = model(**inputs, **types)
    wanted = (
        "logits prediction_logits seq_relationship_logits start_logits end_logits last_hidden_state"
    )
    outputs = {key: np.asarray(result[key]) for key in wanted.split() if key in result}
    inputs.pop("decoder_attention_mask", None)
    np.savez(folder / "case.npz", **inputs, **outputs)


if __name__ == "__main__":
    for case in sys.argv[1:] or CHOSEN:
        make(case, *CHOSEN[case])
