"""What a model says of itself before it generates: how long texts may be, and of what ids."""

import pytest

import transformers_jax as tj
from transformers_jax.models.base import Plan

ROPE = {"rope_theta": 1e4, "factor": 2.0}
WRITING = {
    "gpt2": (tj.GPT2Config(vocab_size=96, n_positions=64), 64),
    "llama": (tj.LlamaConfig(vocab_size=96, max_position_embeddings=64), 64),
    "llama, linear": (
        tj.LlamaConfig(
            vocab_size=96,
            max_position_embeddings=64,
            rope_parameters={**ROPE, "rope_type": "linear"},
        ),
        64,
    ),
    "llama, dynamic": (  # turns more slowly beyond the positions of training
        tj.LlamaConfig(
            vocab_size=96,
            max_position_embeddings=64,
            rope_parameters={**ROPE, "rope_type": "dynamic"},
        ),
        None,
    ),
    "roberta": (
        tj.RobertaConfig(vocab_size=96, max_position_embeddings=64, is_decoder=True),
        62,  # two rows are in front of the first position
    ),
    "roformer": (tj.RoFormerConfig(vocab_size=96, max_position_embeddings=64), 64),
}


@pytest.mark.parametrize("name", WRITING)
def test_a_text_is_as_long_as_the_table_or_the_config_says(name):
    config, positions = WRITING[name]
    reading = Plan(config, "causal_lm").build().reading
    assert (reading.positions, reading.vocabulary) == (positions, 96)
    assert (reading.source_positions, reading.source_vocabulary) == (None, None)


def test_each_side_is_as_long_as_its_own_config_says():
    t5 = Plan(tj.T5Config(vocab_size=96), "seq2seq_lm").build().reading
    assert (t5.positions, t5.source_positions) == (None, None)
    assert (t5.vocabulary, t5.source_vocabulary) == (96, 96)
    marian = tj.MarianConfig(
        vocab_size=96, decoder_vocab_size=80, share_encoder_decoder_embeddings=False
    )
    reading = Plan(marian, "seq2seq_lm").build().reading
    assert (reading.vocabulary, reading.source_vocabulary) == (80, 96)
    both = tj.EncoderDecoderConfig(
        encoder=tj.RoFormerConfig(vocab_size=90, max_position_embeddings=72),
        decoder=tj.GPT2Config(vocab_size=96, n_positions=64, add_cross_attention=True),
    )
    reading = Plan(both, "seq2seq_lm").build().reading
    assert (reading.positions, reading.source_positions) == (64, 72)  # not that of the other side
    assert (reading.vocabulary, reading.source_vocabulary) == (96, 90)


def test_a_source_that_is_no_text_is_called_as_its_embedder_calls_it():
    whisper = Plan(tj.WhisperConfig(), "seq2seq_lm").build().reading
    assert (whisper.source_raw, whisper.source_vocabulary) == (("input_features",), None)
    bart = Plan(tj.BartConfig(), "seq2seq_lm").build().reading
    assert bart.source_raw == ()  # the control: ids, which are an argument of their own
