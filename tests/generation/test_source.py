"""encoder_outputs in place of a source: ids next to them mean what they mean by themselves."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig
from transformers_jax.generation import generate

PAD, V = 6, 7
SOURCE = np.array([[1, 4, 2, 3], [PAD, 5, PAD, PAD]])  # padded on either side
STATES = {"last_hidden_state": np.array([[1, 4, 2, 3], [PAD, 5, PAD, PAD]])[..., None] * 1.0}
REPEATS = dict(encoder_no_repeat_ngram_size=1)


@functools.cache
def language(both: bool):
    table = 3 * np.random.default_rng(6).normal(size=(5, V, V))
    start = dict(decoder_start_token_id=2) if both else {}
    config = MarkovConfig(vocab_size=V, pad_token_id=PAD, is_encoder_decoder=both, **start)
    return Markov(config, table)


def write(ids=None, states=None, both=True, **options):
    source = {} if states is None else {"encoder_outputs": states}
    options = dict(max_new_tokens=6, fixed_width=True, suppress_tokens=[PAD]) | options
    return np.asarray(generate(language(both), ids, **source, **options))


def traced(ids, states, **options):
    model = language(True)
    run = lambda ids, states: generate(
        model, ids, encoder_outputs=states, max_new_tokens=6, fixed_width=True,
        suppress_tokens=[PAD], **options,
    )  # fmt: skip
    return np.asarray(jax.jit(run)(ids, states))


def test_ids_next_to_encoder_outputs_mark_the_padding():
    expected = write(SOURCE)
    np.testing.assert_array_equal(write(SOURCE, STATES), expected)
    np.testing.assert_array_equal(traced(SOURCE, STATES), expected)
    mask = (SOURCE != PAD).astype(np.int32)
    np.testing.assert_array_equal(write(None, STATES, attention_mask=mask), expected)
    whole = write(None, STATES)  # nothing says that there is padding
    assert not np.array_equal(whole, expected)
    np.testing.assert_array_equal(write(SOURCE, STATES, attention_mask=1 + 0 * mask), whole)


@pytest.mark.parametrize("beams", [1, 2])
def test_ids_next_to_encoder_outputs_count_for_repetition_options(beams):
    options = dict(REPEATS, num_beams=beams)
    expected = write(SOURCE, **options)
    assert not set(expected[0, 1:]) & set(SOURCE[0])
    assert not np.array_equal(write(SOURCE, num_beams=beams), expected)  # the control
    np.testing.assert_array_equal(write(SOURCE, STATES, **options), expected)
    np.testing.assert_array_equal(traced(SOURCE, STATES, **options), expected)


def test_the_source_of_a_decoder_is_its_prompt():
    prompt = np.array([[1, 4, 2], [PAD, PAD, 5]])
    for text, row in zip(write(prompt, both=False, **REPEATS), prompt):
        assert not set(text[3:]) & (set(row) - {PAD})
    free = write(prompt, both=False)
    assert any(set(text[3:]) & set(row) for text, row in zip(free, prompt))  # the control


def sentence(call):
    """The error message of a call; empty without an error."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(ids=SOURCE[:, :3]), "input_ids has shape (2, 3), but encoder_outputs"),
        (dict(ids=SOURCE[:1]), "input_ids has shape (1, 4), but encoder_outputs"),
        (dict(ids=SOURCE * 1.0), "input_ids must hold integers"),
        (
            dict(states={"last_hidden_state": np.ones((2, 4))}),
            "encoder_outputs['last_hidden_state'] has shape (2, 4); expected 3 axes",
        ),
        (dict(states={"states": np.ones((2, 4, 1))}), "expected what model.encode"),
        (dict(attention_mask=np.ones((2, 3), int)), "attention_mask has shape (2, 3)"),
        (dict(attention_mask=np.ones((2, 4))), "attention_mask"),
        (dict(ids=None, attention_mask=np.ones((2, 3), int)), "attention_mask has shape (2, 3)"),
        (dict(ids=None, **REPEATS), "encoder_no_repeat_ngram_size=1 compares the ids"),
        (dict(pixel_values=np.ones((2, 4))), "pixel_values passed with encoder_outputs"),
    ],
)
def test_what_does_not_go_with_states_is_refused_whether_traced_or_not(arguments, words):
    arguments, model = {"ids": SOURCE, "states": STATES, **arguments}, language(True)
    assert words in sentence(lambda: write(**arguments))
    arrays = {name: x for name, x in arguments.items() if name not in REPEATS and x is not None}
    rest = {name: x for name, x in arguments.items() if name not in arrays}
    run = lambda arrays: generate(
        model, arrays.get("ids"), encoder_outputs=arrays["states"], fixed_width=True,
        **{name: x for name, x in (arrays | rest).items() if name not in ("ids", "states")},
    )  # fmt: skip
    assert words in sentence(lambda: jax.eval_shape(run, arrays))


def test_masks_of_states_hold_zeros_and_ones_and_every_row_a_token():
    assert "[1, 0] is 2" in sentence(
        lambda: write(None, STATES, attention_mask=[[1, 1, 1, 1], [2, 1, 1, 1]])
    )
    empty = [[1, 1, 1, 1], [0, 0, 0, 0]]
    assert "row 1 of attention_mask is empty" in sentence(
        lambda: write(None, STATES, attention_mask=empty)
    )


def test_a_source_without_ids_has_none_to_repeat():
    error = sentence(lambda: write(pixel_values=np.ones((2, 4)), **REPEATS))
    assert "only pixel_values came; turn it off: encoder_no_repeat_ngram_size=None" in error
    error = sentence(lambda: write(None, STATES, **REPEATS))
    assert "pass the input_ids that were encoded with them, or turn it off" in error
    write(None, STATES, encoder_no_repeat_ngram_size=None)  # as advised


def test_features_may_be_lists():
    model = tj.from_pretrained(Path(__file__).parents[1] / "conformance/cases/whisper")
    shape = model.config.num_mel_bins, 2 * model.config.max_source_positions
    features = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    write = lambda given: np.asarray(tj.generate(model, input_features=given, max_new_tokens=4))
    np.testing.assert_array_equal(write(features.tolist()), write(features))
