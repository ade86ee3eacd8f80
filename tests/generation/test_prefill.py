"""Prompts that are read in pieces, and keys and values of eight bits."""

import dataclasses

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.generation import _run
from transformers_jax.generation.prepare import prepare
from transformers_jax.models.causal import listed_views
from transformers_jax.nn.param import params, split

SMALL = dict(vocab_size=40, eos_token_id=None, pad_token_id=0)
LLAMA = tj.LlamaConfig(
    **SMALL, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=2**16, initializer_range=0.3,
)  # fmt: skip
T5 = tj.T5Config(
    vocab_size=40, pad_token_id=0, eos_token_id=None, decoder_start_token_id=0, d_model=16, d_kv=4,
    d_ff=24, num_layers=1, num_heads=4, initializer_factor=2.0, tie_word_embeddings=False,
)  # fmt: skip
PROMPTS = np.random.default_rng(0).integers(1, 40, (2, 37))
PROMPTS[0, :9] = 0
CALL = dict(input_ids=PROMPTS, attention_mask=(PROMPTS > 0).astype(int), max_new_tokens=9)


def made(config, mask=None, **options):
    head = "seq2seq_lm" if config is T5 else "causal_lm"
    return tj.from_config(config, head=head, key=jax.random.key(0), mask=mask, **options)


WINDOW = tj.CAUSAL & tj.Near(left=6)
CASES = [  # masks, options, sizes of pieces; what shows nothing new is slow
    pytest.param(None, {}, 7, id="odd"),
    pytest.param(WINDOW, {"num_beams": 2}, 16, id="window"),
    *(
        pytest.param(mask, options, size, marks=pytest.mark.slow)
        for mask in (None, WINDOW)
        for options in ({}, {"num_beams": 2}, {"guidance_scale": 1.5})
        for size in (1, 16, 1000)
    ),
]


@pytest.mark.parametrize(("mask", "options", "size"), CASES)
def test_a_prompt_in_pieces_is_read_as_in_one(mask, options, size):
    model = made(LLAMA, mask)
    whole = model.generate(**CALL, **options)
    pieces = model.generate(**CALL, **options, prefill_chunk_size=size)
    np.testing.assert_array_equal(pieces, whole)


def test_a_target_in_pieces_is_read_as_in_one():
    model, call = made(T5), dict(input_ids=PROMPTS, decoder_input_ids=PROMPTS[:, 20:])
    whole = model.generate(**call, max_new_tokens=5)
    pieces = model.generate(**call, max_new_tokens=5, prefill_chunk_size=6)
    np.testing.assert_array_equal(pieces, whole)


def memory(model, length, **options):
    """Bytes that a program needs beside its arguments and results."""
    call = dict(input_ids=np.ones((1, length), int), max_new_tokens=2, **options)
    job = prepare(model, call.pop("input_ids"), options=call).job
    compiled = _run.lower(*split(model), None, job, None, None, None).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_a_prompt_of_32_thousand_tokens_in_pieces_has_memory_linear_in_its_length():
    model = made(LLAMA)  # of one layer only the keys would be computed
    sizes = [memory(model, length, prefill_chunk_size=256) for length in (2**14, 2**15)]
    assert sizes[1] / sizes[0] < 2.1
    # the control: a matrix of edges grows with the square of the length
    model = made(LLAMA, attention="reference")
    assert memory(model, 2**12) > 3 * memory(model, 2**11)


def test_a_prompt_is_read_by_one_program_for_all_stacked_layers():
    """Products in the program of prompt and loop: the loop has those of each layer, the prompt
    those of one; with the layers as a list it has those of each as well."""

    def products(model) -> int:
        job = prepare(model, np.ones((1, 9), int), options=dict(max_new_tokens=2)).job
        text = _run.lower(*split(model), listed_views(model), job, None, None, None).as_text()
        return text.count("stablehlo.dot_general")

    several = made(dataclasses.replace(LLAMA, num_hidden_layers=6))
    a_layer = products(several.with_layers("list")) / 12
    assert products(several) < 8 * a_layer < products(several.with_layers("list"))


def test_layers_are_views_of_the_stacked_parameters():
    """No call of generate copies the weights; what was donated or freed leaves them as they are."""
    model = made(LLAMA)
    whole = params(model)["stack"]["blocks"]["0"]["self"]["query"]
    views = listed_views(model)["stack"]["blocks"]
    last = views[str(len(views) - 1)]["self"]["query"]
    place = whole.unsafe_buffer_pointer() + whole.nbytes - last.nbytes
    assert last.unsafe_buffer_pointer() == place
    expected = np.array(whole[-1])
    jax.jit(lambda x: x * 0, donate_argnums=0)(whole)
    np.testing.assert_array_equal(last, expected)
    assert listed_views(model.with_layers("list")) is None


def test_keys_of_eight_bits_write_nearly_the_same():
    model = made(LLAMA)
    call = {**CALL, "return_dict_in_generate": True, "output_scores": True}
    whole = model.generate(**call)
    small = model.generate(**call, cache_implementation="quantized")
    first = [np.array(out.scores[0]) for out in (whole, small)]
    error = np.abs(first[0] - first[1]).max() / np.abs(first[0]).max()
    assert 0 < error < 0.02
    beams = model.generate(**CALL, cache_implementation="quantized", num_beams=2)
    assert beams.shape == (2, 46)
    drafts = model.generate(**CALL, cache_implementation="quantized", prompt_lookup_num_tokens=3)
    np.testing.assert_array_equal(drafts, small.sequences)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prefill_chunk_size": 0}, "prefill_chunk_size must be >= 1, got 0"),
        ({"cache_implementation": "offloaded"}, "cache_implementation must be one of dynamic"),
        ({"prefill_chunk_size": 4, "prompt_lookup_num_tokens": 2}, "do not go together"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        made(LLAMA).generate(**CALL, **options)


def test_what_is_read_in_one_piece_says_so():
    model = made(LLAMA, tj.CAUSAL | tj.Where("prefix"))
    tags = {"prefix": np.ones_like(PROMPTS)}
    with pytest.raises(ValueError, match="reads a prompt in both directions, in one piece"):
        model.generate(**CALL, tags=tags, prefill_chunk_size=4)
