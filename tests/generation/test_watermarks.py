"""Watermarks are detected, as by transformers (fixtures: make_processors.py); others are not."""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig
from transformers_jax.generation import generate

HERE = pathlib.Path(__file__).parent
GPT2 = HERE / "parity" / "gpt2"
CALLS = json.loads((HERE / "processors" / "written.json").read_text())
IDS = np.array([[1, 4, 2]])


@functools.cache
def gpt2():
    return tj.from_pretrained(GPT2)


@functools.cache
def language():
    table = np.random.default_rng(2).normal(size=(5, 7, 7)).astype(np.float32) * 2
    return Markov(MarkovConfig(vocab_size=7, pad_token_id=0, eos_token_id=3), table)


@functools.cache
def expected():
    with np.load(HERE / "processors" / "expected.npz") as file:
        return {key: file[key] for key in file.files if key.startswith(("written", "detected"))}


MARKED = [
    n
    for n, call in enumerate(CALLS)
    if "watermarking_config" in call and "ngram_len" not in call["watermarking_config"]
]


@pytest.mark.parametrize("number", MARKED)
def test_marks_are_detected_as_by_transformers(number):
    model, arrays = gpt2(), expected()
    for once in (False, True):
        detector = tj.WatermarkDetector(
            model.config, CALLS[number]["watermarking_config"], ignore_repeated_ngrams=once
        )
        for text in (number, 0):
            out = detector(arrays[f"written_{text}"][:, -9:], return_dict=True)
            actual = [out.num_tokens_scored, out.num_green_tokens, out.z_score, out.p_value]
            theirs = arrays[f"detected_{number}_{text}_{int(once)}"]
            np.testing.assert_allclose(actual, theirs, rtol=1e-6)


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
def test_a_marked_text_is_detected_and_another_is_not(scheme):
    model = gpt2()
    config = tj.WatermarkingConfig(bias=6.0, seeding_scheme=scheme, hashing_key=91)
    write = lambda **more: np.asarray(
        tj.generate(
            model, input_ids=[[7, 11], [5, 9]], max_new_tokens=30, eos_token_id=None,
            do_sample=True, top_k=None, key=jax.random.key(1), **more,
        )
    )[:, 2:]  # fmt: skip
    marked, plain = write(watermarking_config=config), write()
    detector = tj.WatermarkDetector(model.config, config)
    assert detector(marked).all()
    assert not detector(plain).any()
    other = tj.WatermarkDetector(model.config, tj.WatermarkingConfig(seeding_scheme=scheme))
    assert not other(marked).any()  # without the key


def test_tournaments_are_seen_in_the_layers_that_tokens_win():
    """Kirchenbauer's z-score of Dathathri's marks: tokens win more often than by chance."""
    model, rng = gpt2(), np.random.default_rng(0)
    config = dict(ngram_len=3, keys=rng.integers(0, 2**31, 20).tolist())
    write = lambda **more: np.asarray(
        tj.generate(
            model, input_ids=[[7, 11]] * 4, max_new_tokens=30, eos_token_id=None, do_sample=True,
            top_k=None, temperature=3.0, key=jax.random.key(1), **more,
        )
    )[:, 2:]  # fmt: skip
    make = tj.SynthIDTextWatermarkLogitsProcessor(
        **config, context_history_size=1024, sampling_table_seed=0, sampling_table_size=2**16
    )

    def wins(ids):
        counted = np.asarray(make.compute_context_repetition_mask(ids))[..., None]
        values = np.asarray(make.compute_g_values(ids))
        return (values * counted).sum() / (counted.sum() * values.shape[2])

    assert wins(write(watermarking_config=config)) > 0.55
    assert 0.46 < wins(write()) < 0.54


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (3, "watermarking_config must be a tj.WatermarkingConfig"),
        ({"bais": 2.0}, "WatermarkingConfig has no field 'bais'; it has bias, context_width"),
        ({"ngram_len": 5}, "missing 1 required positional argument: 'keys'"),
        ({"greenlist_ratio": 1.5, "context_width": 0}, r"greenlist_ratio must.*context_width must"),
        ({"ngram_len": 1, "keys": [1]}, "ngram_len must be a whole number from 2 on, got 1"),
    ],
)
def test_settings_of_watermarks_that_cannot_be_are_refused(config, match):
    with pytest.raises(ValueError, match=match):
        generate(language(), input_ids=IDS, watermarking_config=config)


def test_texts_that_cannot_be_detected_are_refused():
    detector = tj.WatermarkDetector(gpt2().config, {"context_width": 3})
    with pytest.raises(ValueError, match=r"at least 4 tokens, of which 3 are the first context"):
        detector(np.array([[5, 6, 7]]))
    with pytest.raises(ValueError, match=r"rows \[1\] do not begin with the token 1"):
        detector(np.array([[1, 6, 7, 8, 9], [2, 6, 7, 8, 9]]))
    with pytest.raises(ValueError, match="counts green tokens"):
        tj.WatermarkDetector(gpt2().config, {"ngram_len": 3, "keys": [1]})
