"""Guidance: the text is led away from what follows another prompt."""

import functools
import pathlib

import numpy as np
import pytest

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig
from transformers_jax.generation import generate

GPT2 = pathlib.Path(__file__).parent / "parity" / "gpt2"
IDS = np.array([[1, 4, 2]])


@functools.cache
def gpt2():
    return tj.from_pretrained(GPT2)


@functools.cache
def language():
    table = np.random.default_rng(2).normal(size=(5, 7, 7)).astype(np.float32) * 2
    return Markov(MarkovConfig(vocab_size=7, pad_token_id=0, eos_token_id=3), table)


def by_hand(model, ids, other, scale, count):
    """Guided greedy search, each step by two whole forward passes."""
    record = lambda width: tj.UnbatchedClassifierFreeGuidanceLogitsProcessor(
        scale, model, unconditional_ids=other, prompt_length=width
    )
    width = ids.shape[1]
    for _ in range(count):
        scores = record(width)(ids, model(input_ids=ids).logits[:, -1])
        ids = np.concatenate([ids, np.asarray(scores.argmax(-1))[:, None]], axis=1)
    return ids


def test_the_other_prompt_is_read_as_well_and_its_padding_is_not():
    scale = 1.8
    model = gpt2()
    ids, other = np.array([[7, 11, 2], [40, 8, 19]]), np.array([[5, 9, 30, 31, 4], [6, 6, 1, 2, 8]])
    common = dict(max_new_tokens=3, eos_token_id=None, guidance_scale=scale)
    expected = by_hand(model, ids, other, scale, 3)
    written = tj.generate(model, ids, negative_prompt_ids=other, **common)
    np.testing.assert_array_equal(written, expected)
    wide = np.concatenate([np.full((2, 2), 3), other], axis=1)
    mask = np.array([[0, 0, 1, 1, 1, 1, 1]] * 2)
    more = {"negative_prompt_ids": wide, "negative_prompt_attention_mask": mask}
    np.testing.assert_array_equal(tj.generate(model, ids, **more, **common), expected)
    assert not np.array_equal(tj.generate(model, ids, **common), expected)


def test_beams_take_the_caches_of_both_prompts_along():
    """The scores of the best beams are those of whole forward passes over their texts."""
    model = gpt2()
    ids, other = np.array([[7, 11, 2], [40, 8, 19]]), np.array([[5, 9, 30, 31], [6, 6, 1, 2]])
    out = tj.generate(
        model, ids, negative_prompt_ids=other, max_new_tokens=3, eos_token_id=None, num_beams=4,
        guidance_scale=1.3, length_penalty=0.0, return_dict_in_generate=True,
    )  # fmt: skip
    text, total = np.asarray(out.sequences), 0
    for step in range(3):
        record = tj.UnbatchedClassifierFreeGuidanceLogitsProcessor(
            1.3, model, unconditional_ids=other, prompt_length=3
        )
        logits = model(input_ids=text[:, : 3 + step]).logits[:, -1]
        scores = np.asarray(record(text[:, : 3 + step], logits))
        total += scores[np.arange(2), text[:, 3 + step]]
    np.testing.assert_allclose(out.sequences_scores, total, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"negative_prompt_ids": IDS}, "without effect under guidance_scale=1; pass a guidance"),
        (
            {"negative_prompt_attention_mask": IDS, "guidance_scale": 2.0},
            "is that of negative_prompt_ids; pass both, or none",
        ),
        (
            {"negative_prompt_ids": [[1], [2]], "guidance_scale": 2.0},
            "negative_prompt_ids have 2 rows, but there are 1 prompts",
        ),
        (
            {"negative_prompt_ids": [[9]], "guidance_scale": 2.0},
            r"negative_prompt_ids\[0, 0\] is 9, outside the vocabulary",
        ),
        ({"guidance_scale": float("inf")}, "guidance_scale must be a finite number"),
    ],
)
def test_guidance_that_cannot_be_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        generate(language(), input_ids=IDS, max_new_tokens=3, **options)


def test_an_encoder_decoder_is_not_guided():
    config = MarkovConfig(vocab_size=7, is_encoder_decoder=True, decoder_start_token_id=2)
    paired = Markov(config, language().table[...])
    with pytest.raises(ValueError, match=r"guidance_scale=2.0 needs a model without an encoder"):
        generate(paired, input_ids=IDS, guidance_scale=2.0)
