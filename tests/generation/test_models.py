"""`generate` on real families: as a method, inside jit, in other layouts and dtypes, on a mesh."""

import functools
import pathlib

import jax
import numpy as np
import pytest

import transformers_jax as tj

GPT2 = pathlib.Path(__file__).parent / "parity" / "gpt2"
IDS = np.array([[7, 11, 2, 30, 5], [40, 8, 8, 19, 3]])
OPTIONS = dict(max_new_tokens=8, eos_token_id=None)


@functools.cache
def model():
    return tj.from_pretrained(GPT2)


@functools.cache
def expected():
    return np.asarray(tj.generate(model(), input_ids=IDS, **OPTIONS))


def test_the_method_is_the_function():
    np.testing.assert_array_equal(model().generate(input_ids=IDS, **OPTIONS), expected())


def test_steps_with_a_cache_generate_what_whole_forward_passes_do():
    best = model()(input_ids=expected()[:, :-1]).logits.argmax(-1)
    np.testing.assert_array_equal(expected()[:, 5:], best[:, 4:])


@pytest.mark.parametrize("beams", [1, 2])
def test_parameters_may_be_arguments_of_a_compiled_function(beams):
    _, params = tj.functional(model())

    @jax.jit
    def write(params, ids):
        bound = tj.bind(model(), params)
        return tj.generate(bound, input_ids=ids, num_beams=beams, fixed_width=True, **OPTIONS)

    outside = tj.generate(model(), input_ids=IDS, num_beams=beams, **OPTIONS)
    np.testing.assert_array_equal(write(params, IDS), outside)


def test_layers_that_are_already_a_list_generate_the_same():
    listed = model().with_layers("list")
    np.testing.assert_array_equal(tj.generate(listed, input_ids=IDS, **OPTIONS), expected())


def test_a_long_prompt_crosses_buckets_and_reaches_the_last_position():
    ids = np.random.default_rng(0).integers(2, 60, (1, 40))  # of 48 positions
    out = tj.generate(model(), input_ids=ids, **OPTIONS)
    assert out.shape == (1, 48)
    last = model()(input_ids=out[:, :-1]).logits[0, -1].argmax()
    assert int(out[0, -1]) == int(last)
    with pytest.raises(ValueError, match=r"prompt \(41\) .* 48 positions"):
        tj.generate(model(), input_ids=np.pad(ids, ((0, 0), (1, 0))), **OPTIONS)


def test_a_model_that_scores_no_next_token_is_refused():
    with pytest.raises(ValueError, match=r"head 'none'.*head='causal_lm'"):
        tj.generate(tj.from_pretrained(GPT2, head="none"), input_ids=IDS)


@pytest.mark.parametrize("beams", [1, 3])
def test_the_scores_of_a_row_do_not_depend_on_its_neighbours(beams):
    """Bit for bit: neither their tokens, nor their length, nor their end."""
    options = dict(OPTIONS, num_beams=beams, return_dict_in_generate=True, output_scores=True)
    neighbours = [([40, 8, 8, 19, 3], [1] * 5), ([9, 9, 9, 2, 51], [0, 0, 0, 1, 1])]
    outputs = []
    for ids, mask in neighbours:
        both = dict(input_ids=[IDS[0], ids], attention_mask=[[1] * 5, mask])
        out = tj.generate(model(), **jax.tree.map(np.asarray, both, is_leaf=_is_list), **options)
        outputs.append((np.stack(out.scores)[:, :beams], out.sequences[0]))
    for one, other in zip(*outputs):
        np.testing.assert_array_equal(one, other)
    single = tj.generate(model(), input_ids=IDS[:1], **options)
    np.testing.assert_array_equal(single.sequences[0], outputs[0][1])
    np.testing.assert_allclose(np.stack(single.scores), outputs[0][0], rtol=1e-4, atol=1e-4)


def _is_list(value):
    return isinstance(value, list)
