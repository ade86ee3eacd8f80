"""Processors do to random scores what those of transformers do (fixtures: make_processors.py)."""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.generation import processors

HERE = pathlib.Path(__file__).parent / "processors"
CASES = json.loads((HERE / "cases.json").read_text())
NAMES = sorted({name for name, _ in CASES})


@functools.cache
def arrays():
    with np.load(HERE / "expected.npz") as file:
        return {key: file[key] for key in file.files}


def given(name, length):
    """(ids, scores) of a case."""
    own = name if f"ids_{name}_{length}" in arrays() else "any"
    return arrays()[f"ids_{own}_{length}"], arrays()[f"scores_{own}_{length}"]


def check(actual, expected):
    actual = np.asarray(actual)
    np.testing.assert_array_equal(np.isneginf(actual), np.isneginf(expected))
    kept = ~np.isneginf(expected)
    np.testing.assert_allclose(actual[kept], expected[kept], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_processor_does_what_that_of_transformers_does(name):
    """On two rows each: a long text with plain scores, a text of one token with -inf among them."""
    for number, (other, arguments) in enumerate(CASES):
        if other == name:
            make = getattr(processors, name)(**arguments)
            for length in ("long", "short"):
                ids, scores = given(name, length)
                check(make(ids, scores), arrays()[f"{number}_{length}"])


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_of_a_case_matter(name):
    """The negative control: one that does nothing, or the same for all settings, is seen."""
    outs = [
        arrays()[f"{number}_{length}"].tobytes()
        for number, (other, _) in enumerate(CASES)
        for length in ("long", "short")
        if other == name
    ]
    raw = {given(name, length)[1].tobytes() for length in ("long", "short")}
    assert set(outs) - raw
    same_settings = ("InfNanRemoveLogitsProcessor", "LogitNormalization")
    assert len(set(outs)) >= (2 if name in same_settings else min(3, len(outs)))


def test_another_number_needs_no_other_program():
    traces = []

    @jax.jit
    def run(processor, ids, scores):
        traces.append(type(processor))
        return processor(ids, scores)

    ids, scores = given("any", "long")
    pairs = [
        (tj.TemperatureLogitsWarper(0.5), tj.TemperatureLogitsWarper(2)),
        (tj.TopPLogitsWarper(0.5), tj.TopPLogitsWarper(0.9)),
        (tj.MinLengthLogitsProcessor(3, 5), tj.MinLengthLogitsProcessor(40, 5)),
        (
            tj.SequenceBiasLogitsProcessor({(4,): 1.0, (9, 11): 2.0}),
            tj.SequenceBiasLogitsProcessor({(9, 11): 7.0, (4,): 3.0}),
        ),
    ]
    for one, two in pairs:
        first, second = run(one, ids, scores), run(two, ids, scores)
        assert not np.array_equal(first, second)
        np.testing.assert_allclose(second, two(ids, scores), rtol=1e-6)
    assert len(traces) == len(pairs)
    run(tj.TopKLogitsWarper(3), ids, scores)
    run(tj.TopKLogitsWarper(4), ids, scores)
    assert len(traces) == len(pairs) + 2  # the control: the size is static


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: tj.TemperatureLogitsWarper(0.0), "temperature must be > 0"),
        (lambda: tj.RepetitionPenaltyLogitsProcessor(-1.0), "penalty must be > 0, got -1.0"),
        (lambda: tj.TopKLogitsWarper(0), "top_k must be a whole number from 1 on, got 0"),
        (lambda: tj.TopPLogitsWarper(1.5), r"top_p must be in \[0, 1\], got 1.5"),
        (lambda: tj.TopPLogitsWarper("a"), "top_p must be in"),
        (lambda: tj.TopPLogitsWarper(0.5, min_tokens_to_keep=0), "min_tokens_to_keep must be"),
        (lambda: tj.TypicalLogitsWarper(1.0), r"mass must be in \(0, 1\)"),
        (lambda: tj.TopHLogitsWarper(0.0), r"top_h must be in \(0, 1\]"),
        (lambda: tj.NoRepeatNGramLogitsProcessor(0), "ngram_size must be a whole number"),
        (lambda: tj.SequenceBiasLogitsProcessor({}), "not be empty"),
        (lambda: tj.SequenceBiasLogitsProcessor({4: 1.0}), "sequence_bias must be"),
        (lambda: tj.NoBadWordsLogitsProcessor([]), "bad_words_ids must be a list of words"),
        (lambda: tj.NoBadWordsLogitsProcessor([[-1]]), "ids of tokens, whole numbers from 0 on"),
        (lambda: tj.MinLengthLogitsProcessor(2, 1.5), "eos_token_id must be ids of tokens"),
        (lambda: tj.PrefixConstrainedLogitsProcessor(None, 1), "must be a function"),
        (lambda: tj.WhisperTimeStampLogitsProcessor({}, 1), "no_timestamps_token_id and eos"),
        (lambda: tj.WatermarkLogitsProcessor(9, seeding_scheme="x"), "seeding_scheme must be"),
        (lambda: tj.WatermarkLogitsProcessor(9, greenlist_ratio=1.0), "greenlist_ratio must be"),
        (lambda: tj.ClassifierFreeGuidanceLogitsProcessor(1.0), "guidance_scale must be > 1"),
    ],
)
def test_settings_out_of_range_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_tokens_outside_the_vocabulary_of_the_scores_are_refused():
    ids, scores = given("any", "long")
    with pytest.raises(ValueError, match=r"\[110\] are outside the vocabulary \[0, 110\)"):
        tj.SequenceBiasLogitsProcessor({(3, 110): 1.0})(ids, scores)
    with pytest.raises(ValueError, match="2 rows of scores, and 3 rows of encoder_input_ids"):
        tj.EncoderNoRepeatNGramLogitsProcessor(2, np.ones((3, 4), int))(ids, scores)
    with pytest.raises(ValueError, match="expected integers of 2 axes"):
        tj.TopKLogitsWarper(3)(ids[0], scores)


def test_prefixes_constrain_what_comes_next():
    """As in transformers: where all that is allowed was banned before, what is allowed wins."""
    ids, scores = given("any", "long")
    allowed = {0: [4, 6], 1: [int(ids[1, -1]), 20]}
    only = tj.PrefixConstrainedLogitsProcessor(lambda prompt, text: allowed[prompt], 1)
    expected = np.full_like(scores, -np.inf)
    for row, tokens in allowed.items():
        expected[row, tokens] = scores[row, tokens]
    np.testing.assert_array_equal(only(ids, scores), expected)
    blocked = scores.copy()
    blocked[0, [4, 6]] = -np.inf
    expected[0, [4, 6]] = 0
    np.testing.assert_array_equal(jax.jit(lambda s: only(ids, s))(blocked), expected)
    both = tj.PrefixConstrainedLogitsProcessor(lambda prompt, text: [*allowed[0], *allowed[1]], 2)
    assert np.isneginf(both(ids, blocked)[0, 4])  # the other beam of the prompt can go on
    nothing = tj.PrefixConstrainedLogitsProcessor(lambda prompt, text: [], 1)
    with pytest.raises(Exception, match=r"allowed \[\] for prompt 0; expected ids in \[0, 110\)"):
        nothing(ids, scores)


def test_guidance_of_a_batch_scales_the_difference():
    ids, _ = given("any", "long")
    guide = tj.ClassifierFreeGuidanceLogitsProcessor(2.5)
    check(guide(ids, arrays()["guided"]), arrays()["guided_out"])
    with pytest.raises(ValueError, match="2 rows of scores for 2 texts; expected twice as many"):
        guide(ids, arrays()["guided"][:2])


SYNTH = dict(ngram_len=4, keys=[654, 400, 836, 2**40 + 7, 9], sampling_table_size=1021)
SYNTH |= dict(sampling_table_seed=5, context_history_size=16)


@pytest.mark.parametrize("skip", [False, True])
def test_tournaments_are_those_of_transformers(skip):
    make = tj.SynthIDTextWatermarkLogitsProcessor(
        **SYNTH, skip_first_ngram_calls=skip, prompt_length=5
    )
    run = jax.jit(lambda ids, scores: make(ids, scores))
    ids, scores = arrays()["synth_ids"], arrays()["synth_scores"]
    unmarked = 0
    for step in range(0, 11, 2):
        actual = run(ids[:, : 5 + step], scores[step])
        np.testing.assert_allclose(
            actual, arrays()[f"synth_{int(skip)}"][step], rtol=1e-4, atol=1e-4
        )
        unmarked += (actual == scores[step]).all(axis=1).sum()
    assert unmarked > 0  # or no context came again


def test_the_layers_that_tokens_win_are_those_of_transformers():
    ids, make = arrays()["synth_ids"], tj.SynthIDTextWatermarkLogitsProcessor(**SYNTH)
    np.testing.assert_array_equal(make.compute_g_values(ids), arrays()["synth_g"])
    counted = make.compute_context_repetition_mask(ids)
    np.testing.assert_array_equal(counted, arrays()["synth_repeated"])
    assert 0 < counted.sum() < counted.size  # or this shows nothing
    with pytest.raises(ValueError, match="ngram_len must be a whole number from 2 on"):
        tj.SynthIDTextWatermarkLogitsProcessor(**{**SYNTH, "ngram_len": 1})
