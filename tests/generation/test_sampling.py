"""Sampling follows the distribution after the options, and depends only on the key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig
from transformers_jax.generation import generate
from transformers_jax.generation.processors.record import BANNED
from transformers_jax.generation.text import whole_rows

V, DRAWS = 7, 20000
# A frequency of 20000 draws has a standard deviation of at most sqrt(0.25 / 20000) = 0.0035;
# the bound is 4.5 of them (the key is fixed, so the test cannot flicker).
BOUND = 0.016


def language():
    table = np.random.default_rng(0).normal(size=(5, V, V)).astype(np.float32) * 1.5
    return table, Markov(MarkovConfig(vocab_size=V), table)


def frequencies(seed=0, **options):
    _, model = language()
    ids = generate(
        model,
        input_ids=np.array([[1, 4]]),
        max_new_tokens=1,
        do_sample=True,
        num_return_sequences=DRAWS,
        key=jax.random.key(seed),
        **options,
    )
    assert ids.shape == (DRAWS, 3)
    return np.bincount(ids[:, 2], minlength=V) / DRAWS


def expected(temperature=1.0, top_k=V, top_p=1.0):
    scores = language()[0][5 % 5, 4].astype(np.float64) / temperature
    order = np.argsort(-scores)
    share = np.exp(scores) / np.exp(scores).sum()
    candidates = np.zeros(V, bool)
    candidates[order[:top_k]] = True
    share = np.where(candidates, share, 0) / share[candidates].sum()
    before = np.cumsum(share[order]) - share[order]
    candidates[order[before >= top_p]] = False
    return np.where(candidates, share, 0) / share[candidates].sum()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0},
        {"top_k": 3},
        {"top_p": 0.8},
        {"temperature": 1.7, "top_k": 5, "top_p": 0.75},
        {"top_p": 1e-6},
    ],
)
def test_frequencies_are_those_of_the_distribution(options):
    observed, probabilities = frequencies(**options), expected(**options)
    assert np.abs(observed - probabilities).max() < BOUND
    assert (observed[probabilities == 0] == 0).all()


def test_another_distribution_exceeds_the_bound():
    """The negative control of the bound."""
    assert np.abs(frequencies(temperature=0.8) - expected()).max() > BOUND


def test_the_same_key_gives_the_same_text():
    _, model = language()
    call = lambda seed: generate(
        model,
        input_ids=np.array([[1, 2], [3, 4]]),
        max_new_tokens=30,
        do_sample=True,
        key=jax.random.key(seed),
    )
    np.testing.assert_array_equal(call(1), call(1))
    assert (np.asarray(call(1)) != np.asarray(call(2))).any()


def test_every_step_and_every_row_draws_anew():
    uniform = Markov(MarkovConfig(vocab_size=V), np.zeros((5, V, V)))
    ids = np.asarray(
        generate(
            uniform,
            input_ids=np.ones((50, 1), int),
            max_new_tokens=40,
            do_sample=True,
            key=jax.random.key(0),
        )
    )[:, 1:]
    assert len({tuple(row) for row in ids}) == 50
    assert len({tuple(column) for column in ids.T}) == 40


def test_several_samples_of_a_prompt_are_adjacent_rows():
    _, model = language()
    ids = generate(
        model,
        input_ids=np.array([[1, 2], [3, 4]]),
        max_new_tokens=5,
        do_sample=True,
        num_return_sequences=3,
        key=jax.random.key(0),
    )
    np.testing.assert_array_equal(ids[:, 0], [1, 1, 1, 3, 3, 3])


def test_beams_are_drawn_without_replacement():
    """Of one step: the first of two beams is drawn with p, the second from the rest."""
    _, model = language()
    pairs = np.zeros((V, V))
    for seed in range(60):
        ids = generate(
            model,
            input_ids=np.repeat([[1, 4]], 50, axis=0),
            max_new_tokens=1,
            do_sample=True,
            num_beams=2,
            num_return_sequences=2,
            top_k=None,
            key=jax.random.key(seed),
        ).reshape(50, 2, 3)[:, :, 2]
        for one, two in np.asarray(ids):
            pairs[one, two] += 1
    share = expected()
    probabilities = share[:, None] * share / (1 - share[:, None]) * (1 - np.eye(V))
    probabilities = (
        probabilities + probabilities.T
    )  # hypotheses are sorted by score: the order of the draw is lost
    observed = (pairs + pairs.T) / pairs.sum()
    assert np.abs(observed - probabilities).max() < 4.5 * np.sqrt(0.25 / pairs.sum())


def by_sorting(scores, mass, distance=None):
    """What is kept of scores [V] where all of them are sorted."""
    chance = np.exp(scores.astype(np.float64) - scores.max())
    chance /= chance.sum()
    if distance is None:  # of equal scores the last one first
        order = np.argsort(scores, kind="stable")[::-1]
    else:
        order = np.argsort(distance, kind="stable")
    before = np.cumsum(chance[order]) - chance[order]
    kept = np.zeros(len(scores), bool)
    kept[order] = before < mass
    return kept if distance is None else distance <= distance[kept].max()


@pytest.mark.parametrize("vocabulary", [50, 5000])
@pytest.mark.parametrize("scale", [0.1, 2, 6])
@pytest.mark.parametrize("rounded", [False, True])
def test_a_nucleus_is_that_of_sorted_scores(vocabulary, scale, rounded):
    """Whether the best tokens that are looked at first hold it or not, and with equal scores."""
    drawn = np.random.default_rng(0).normal(size=(3, vocabulary)) * scale
    scores = jnp.asarray(np.round(drawn, 1) if rounded else drawn, jnp.float32)
    scores = scores.at[1, : vocabulary // 2].set(-jnp.inf)
    text = whole_rows(np.ones((3, 2), int))
    for mass in (0.05, 0.5, 0.9, 0.999):
        found = tj.TopPLogitsWarper(mass).process(text, scores) > BANNED
        expected = [by_sorting(np.asarray(row), mass) for row in scores]
        np.testing.assert_array_equal(found, expected)
    dropped = tj.TopPLogitsWarper(0.5).process(text, scores.at[2, 0].set(jnp.nan))[2]
    assert not (dropped <= BANNED).any()  # what follows from ids out of range is said elsewhere
    typical = tj.TypicalLogitsWarper(0.4).process(text, scores) > BANNED
    chances = jax.nn.log_softmax(scores, axis=-1)
    entropy = -jnp.where(chances > -jnp.inf, jnp.exp(chances) * chances, 0).sum(-1, keepdims=True)
    expected = [
        by_sorting(np.asarray(row), 0.4, np.asarray(distance))
        for row, distance in zip(scores, jnp.abs(-chances - entropy))
    ]
    np.testing.assert_array_equal(typical, expected)
