"""Processors of the caller's: records, functions that JAX traces, functions of the host."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig
from transformers_jax import generation
from transformers_jax.generation import generate

IDS = np.array([[1, 4, 2]])


@functools.cache
def language():
    table = np.random.default_rng(2).normal(size=(5, 7, 7)).astype(np.float32) * 2
    return Markov(MarkovConfig(vocab_size=7, pad_token_id=0, eos_token_id=3), table)


KINDS = {
    "greedy": {},
    "sampling": {"do_sample": True, "key": jax.random.key(3), "temperature": 1.5},
    "beams": {"num_beams": 3},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_the_caller_does_what_the_option_does(kind):
    common = {"input_ids": IDS, "max_new_tokens": 12, **KINDS[kind]}
    write = lambda *own, **more: np.asarray(
        generate(language(), logits_processor=own, **common, **more)
    )
    option = write(suppress_tokens=[2, 5])
    np.testing.assert_array_equal(write(tj.SuppressTokensLogitsProcessor([2, 5])), option)
    function = lambda text, scores: scores.at[:, jnp.array([2, 5])].set(-jnp.inf)
    np.testing.assert_array_equal(write(function), option)
    assert not np.isin(option[:, 3:], [2, 5]).any()
    assert np.isin(write()[:, 3:], [2, 5]).any()  # the control
    both = write(tj.SuppressTokensLogitsProcessor([1]), suppress_tokens=[2, 5])
    np.testing.assert_array_equal(both, write(suppress_tokens=[1]))  # of one class: the caller's


def test_a_function_reads_the_text_without_its_padding():
    """No token twice: what `no_repeat_ngram_size=1` does, said by hand."""

    def once(text, scores):
        rows = jnp.arange(len(scores))[:, None]
        used = jnp.zeros(scores.shape, bool).at[rows, text.ids].max(text.written)
        return jnp.where(used, -1e30, scores)

    ids, mask = np.array([[5, 1, 4], [5, 5, 2]]), np.array([[1, 1, 1], [0, 0, 1]])
    common = dict(input_ids=ids, attention_mask=mask, max_new_tokens=3, eos_token_id=None)
    option = generate(language(), no_repeat_ngram_size=1, **common)
    np.testing.assert_array_equal(generate(language(), logits_processor=[once], **common), option)
    assert not np.array_equal(generate(language(), **common), option)


def test_numbers_of_records_share_a_program():
    count = generation._run._cache_size
    write = lambda penalty: generate(
        language(),
        input_ids=np.full((13, 3), 1),
        max_new_tokens=4,
        logits_processor=[tj.RepetitionPenaltyLogitsProcessor(penalty)],
    )
    write(1.3)
    before = count()
    write(2)
    assert count() == before


class ForTorch:
    """As a processor of transformers is: it reads values."""

    def __call__(self, input_ids, scores):
        return scores if scores[0, 0] > 0 else -scores


@pytest.mark.parametrize(
    ("own", "match"),
    [
        (5, "logits_processor must be a list, got 5"),
        (tj.TopKLogitsWarper(3), "logits_processor must be a list"),
        ([tj.TopKLogitsWarper], r"logits_processor\[0\] is <class.*expected a processor of"),
        ([lambda text, scores: scores, "x"], r"logits_processor\[1\] is 'x'; expected"),
        ([ForTorch()], r"logits_processor\[0\] \(ForTorch\) cannot be traced by JAX"),
        ([lambda scores: scores], r"logits_processor\[0\].*cannot be traced by JAX"),
        ([lambda text, scores: scores[:, 1:]], r"returned float32\[1, 6\], but scores are"),
        ([lambda text, scores: scores > 0], r"returned bool\[1, 7\], but scores are float32"),
        (
            [tj.UnbatchedClassifierFreeGuidanceLogitsProcessor(2.0, None)],
            "pass guidance_scale and negative_prompt_ids to generate",
        ),
        ([tj.ClassifierFreeGuidanceLogitsProcessor(2.0)], "1 rows of scores for 1 texts"),
    ],
)
def test_what_is_no_processor_is_refused(own, match):
    with pytest.raises(ValueError, match=match):
        generate(language(), input_ids=IDS, max_new_tokens=3, logits_processor=own)


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_of_the_host_names_what_may_come_next(kind):
    """Letters in turn: after an even token an odd one, and the other way round."""
    seen = []

    def allowed(prompt, text):
        seen.append((prompt, text.tolist()))
        return [1, 3, 5] if text[-1] % 2 == 0 else [2, 4, 6]

    ids, mask = np.array([[5, 1, 4], [5, 5, 2]]), np.array([[1, 1, 1], [0, 0, 1]])
    common = {"attention_mask": mask, "max_new_tokens": 7, "eos_token_id": None, **KINDS[kind]}
    write = lambda ids: generate(
        language(), ids, prefix_allowed_tokens_fn=allowed, fixed_width=True, **common
    )
    written = np.asarray(write(ids))
    assert (written[:, 2:-1] % 2 != written[:, 3:] % 2).all()
    assert (0, [5, 1, 4]) in seen
    assert (1, [2]) in seen  # without padding
    np.testing.assert_array_equal(jax.jit(write)(ids), written)
    with pytest.raises(Exception, match=r"prefix_allowed_tokens_fn allowed \[9\] for prompt 0"):
        generate(language(), ids, prefix_allowed_tokens_fn=lambda *_: [9], **common)
