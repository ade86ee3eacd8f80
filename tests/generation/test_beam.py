"""Beam search against enumeration of every sentence of a small language."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.generation.markov import Markov, MarkovConfig, best_sentences
from transformers_jax.generation import generate

V, EOS, PAD, LIMIT = 5, 3, 0, 4
WIDE = V**LIMIT  # as many beams as sentences: the search is exhaustive


def language(seed, **config):
    table = np.random.default_rng(seed).normal(size=(5, V, V)).astype(np.float32) * 2
    return table, Markov(MarkovConfig(vocab_size=V, pad_token_id=PAD, **config), table)


# early_stopping=False with a positive penalty stops by a heuristic that may miss long sentences
EXACT = [(0.0, False), (-1.0, False), *((p, "never") for p in (0.0, 0.5, 1.0, 2.0, -1.0))]


@pytest.mark.parametrize(("penalty", "stopping"), EXACT)
def test_enough_beams_find_the_best_sentences(penalty, stopping):
    for seed in range(3):
        table, model = language(seed)
        prompt = [1, 2, 4]
        out = generate(
            model,
            input_ids=np.array([prompt]),
            max_new_tokens=LIMIT,
            num_beams=WIDE // 4,
            num_return_sequences=3,
            length_penalty=penalty,
            early_stopping=stopping,
            eos_token_id=EOS,
            return_dict_in_generate=True,
        )
        best = best_sentences(table, prompt, LIMIT, EOS, penalty)
        for row in range(3):
            worth, tail = best[row]
            text = out.sequences[row, len(prompt) :].tolist()
            assert text == list(tail) + [PAD] * (len(text) - len(tail))
            np.testing.assert_allclose(out.sequences_scores[row], worth, rtol=1e-5)


def test_one_beam_too_few_can_miss_the_best_sentence():
    """The negative control: greedy search does not find what beams find, in some language."""
    missed = 0
    for seed in range(8):
        table, model = language(seed)
        ids = generate(
            model, input_ids=np.array([[1]]), max_new_tokens=LIMIT, eos_token_id=EOS, num_beams=1
        )
        tail = best_sentences(table, [1], LIMIT, EOS, 0.0)[0][1]
        text = ids[0, 1:].tolist()
        missed += text != list(tail) + [PAD] * (len(text) - len(tail))
    assert missed > 0


def test_rows_do_not_affect_each_other():
    """A ragged, left-padded batch gives each row the sentence that it gets by itself."""
    _, model = language(11)
    prompts = [[1, 2, 4, 2, 1], [4], [2, 2, 1]]
    ids, mask = left_padded(prompts)
    together = generate(
        model, input_ids=ids, attention_mask=mask, max_new_tokens=6, num_beams=3, eos_token_id=EOS
    )
    for row, prompt in enumerate(prompts):
        single = generate(
            model, input_ids=np.array([prompt]), max_new_tokens=6, num_beams=3, eos_token_id=EOS
        )
        tail = together[row, ids.shape[1] :].tolist()
        short = single[0, len(prompt) :].tolist()
        assert tail[: len(short)] == short
        assert set(tail[len(short) :]) <= {PAD}


def test_the_source_of_an_encoder_decoder_follows_its_beams():
    table, model = language(5, is_encoder_decoder=True, decoder_start_token_id=1)
    sources = [[2, 4, 0], [1, 0, 0]]
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    out = generate(
        model,
        input_ids=np.array(sources),
        attention_mask=mask,
        max_new_tokens=LIMIT,
        num_beams=WIDE // 4,
        length_penalty=0.0,
        early_stopping="never",
        eos_token_id=EOS,
        return_dict_in_generate=True,
    )
    for row, source in enumerate([6, 1]):
        worth, tail = best_sentences(table, [1], LIMIT, EOS, 0.0, source)[0]
        text = out.sequences[row].tolist()
        assert text[: len(tail) + 1] == [1, *tail]
        np.testing.assert_allclose(out.sequences_scores[row], worth, rtol=1e-5)


def test_scores_are_sums_divided_by_the_length_with_its_end():
    table, model = language(2)
    out = generate(
        model,
        input_ids=np.array([[1, 4]]),
        max_new_tokens=5,
        num_beams=4,
        length_penalty=1.5,
        eos_token_id=EOS,
        return_dict_in_generate=True,
        output_scores=True,
    )
    tail = out.sequences[0, 2:].tolist()
    tail = tail[: tail.index(EOS) + 1] if EOS in tail else tail
    table_ = {tuple(t): w for w, t in best_sentences(table, [1, 4], 5, EOS, 1.5)}
    np.testing.assert_allclose(out.sequences_scores[0], table_[tuple(tail)], rtol=1e-5)
    assert all(step.shape == (4, V) for step in out.scores)
    assert jnp.isfinite(out.scores[0]).all()


def left_padded(prompts, pad=PAD):
    width = max(map(len, prompts))
    ids = np.array([[pad] * (width - len(p)) + p for p in prompts])
    mask = np.array([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


@pytest.mark.parametrize("penalty", [-18.0, -4.0, 18.0])
def test_a_text_is_generated_under_every_accepted_length_penalty(penalty):
    table, model = language(4)
    table[:, :, EOS] = -1e4  # no beam ends: the text has as many tokens as there may be
    model = Markov(MarkovConfig(vocab_size=V, pad_token_id=PAD), table)
    options = dict(max_new_tokens=30, num_beams=2, num_return_sequences=2, eos_token_id=EOS)
    write = lambda penalty: generate(
        model, np.array([[1, 2]]), length_penalty=penalty, return_dict_in_generate=True, **options
    )
    penalised, plain = write(penalty), write(0.0)
    assert np.array_equal(penalised.sequences, plain.sequences)  # all are of one length
    expected = np.asarray(plain.sequences_scores, np.float64) / 30.0**penalty
    np.testing.assert_allclose(penalised.sequences_scores, expected, rtol=1e-4)


@pytest.mark.parametrize("options", [{"temperature": 1e-15}, {"repetition_penalty": 1e9}])
def test_beams_generate_a_text_however_far_options_stretch_scores(options):
    _, model = language(4)
    key = {"do_sample": True, "key": jax.random.key(0)} if "temperature" in options else {}
    out = generate(
        model, np.array([[1, 2]]), max_new_tokens=5, num_beams=2, eos_token_id=None,
        return_dict_in_generate=True, **key, **options,
    )  # fmt: skip
    assert np.isfinite(out.sequences_scores).all()
    assert out.sequences.shape == (1, 7)
