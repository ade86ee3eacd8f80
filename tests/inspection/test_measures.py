"""What attention weights, positions and filters say, against closed forms."""

import numpy as np
import pytest

from transformers_jax.inspection.measures import attention_distance, principal, rollout, similarity
from transformers_jax.inspection.sight import Windows, places


def random_weights(rng, *shape):
    weights = rng.random(shape)
    return weights / weights.sum(-1, keepdims=True)


def test_rollout_of_uniform_attention_is_uniform_up_to_the_residuals():
    """After n layers W = 1/T, (W + I)/2 has left 2^-n of each token in its place."""
    tokens, layers = 5, 3
    uniform = np.full((2, 4, tokens, tokens), 1 / tokens)
    kept = 0.5**layers
    expected = kept * np.eye(tokens) + (1 - kept) / tokens
    np.testing.assert_allclose(rollout([uniform] * layers), [expected] * 2)
    identity = np.broadcast_to(np.eye(tokens), uniform.shape)
    np.testing.assert_allclose(rollout([identity] * layers), [np.eye(tokens)] * 2)


def test_rollout_goes_from_the_input_to_the_output():
    """A token is read where it stood: the first layer is the first to be applied."""
    rng = np.random.default_rng(0)
    first, last = (random_weights(rng, 1, 3, 4, 4) for _ in range(2))
    half = lambda weights: (weights[0].mean(0) + np.eye(4)) / 2
    np.testing.assert_allclose(rollout([first, last])[0], half(last) @ half(first))
    assert not np.allclose(rollout([last, first])[0], half(last) @ half(first))  # the control
    np.testing.assert_allclose(rollout([first, last]).sum(-1), 1)
    nowhere = first.copy()
    nowhere[0, :, 2] = 0  # a token that attends to none keeps what it is
    np.testing.assert_allclose(rollout([nowhere])[0, 2], np.eye(4)[2])


def test_rollout_refuses_what_mixes_no_tokens():
    for weights, came in (
        ([], "none came"),
        ([np.ones((1, 2, 3, 4))], r"\(1, 2, 3, 4\) came"),
        ([np.ones((1, 2, 3, 3)), np.ones((1, 2, 4, 4))], r"\(1, 2, 4, 4\) came"),
    ):
        with pytest.raises(ValueError, match=came):
            rollout(weights)


def test_attention_to_oneself_has_no_distance_and_to_a_neighbour_that_of_the_neighbour():
    where = places((3, 4), (16, 8))
    count = len(where)
    itself = np.eye(count)[None, None]
    below = np.zeros((count, count))
    below[np.arange(count - 4), np.arange(4, count)] = 1  # the last row attends to none
    uniform = np.full((count, count), 1 / count)
    mean = np.linalg.norm(where[:, None] - where[None], axis=-1).mean()
    three = np.concatenate([itself, below[None, None], uniform[None, None]], axis=1)
    np.testing.assert_allclose(attention_distance(three, where), [0, 16, mean])
    np.testing.assert_allclose(attention_distance(7 * three, where), [0, 16, mean])
    two = np.concatenate([three, three])  # of two pictures, as of one
    np.testing.assert_allclose(attention_distance(two, where), [0, 16, mean])
    assert attention_distance(three, places((4, 3), (16, 8)))[2] != pytest.approx(mean)


def test_sinusoidal_positions_are_alike_by_their_distance_alone():
    """cos and sin of the same frequencies: the similarity of two is the mean of cos(frequency x
    distance) over frequencies and axes."""
    frequencies = 1 / 100 ** (np.arange(4) / 4)
    angles = places((3, 5))[:, :, None] * frequencies
    table = np.concatenate([np.sin(angles), np.cos(angles)], -1).reshape(15, -1)
    apart = places((3, 5))[:, None] - places((3, 5))[None]
    expected = np.cos(apart[..., None] * frequencies).mean((-1, -2))
    np.testing.assert_allclose(similarity(table), expected, atol=1e-12)
    np.testing.assert_allclose(similarity(3 * table), expected, atol=1e-12)
    moved = table + 1  # the control: of other vectors it is another
    assert np.abs(similarity(moved) - expected).max() > 0.1
    assert similarity(np.zeros((2, 3))).max() == 0


def test_principal_components_of_filters_span_them_the_largest_first():
    rng = np.random.default_rng(0)
    parts = np.linalg.qr(rng.normal(size=(12, 3)))[0].T.reshape(3, 2, 2, 3)
    amounts = np.linalg.qr(rng.normal(size=(20, 3)))[0] * [9, 3, 1]
    filters = np.tensordot(amounts, parts, 1)
    found = principal(filters, 3)
    overlap = np.abs(np.einsum("npqc,mpqc->nm", found, parts))
    np.testing.assert_allclose(overlap, np.eye(3), atol=1e-6)
    assert principal(filters, 28).shape == (12, 2, 2, 3)
    assert principal(filters[:5], 28).shape == (5, 2, 2, 3)


@pytest.mark.parametrize("shift", [0, 1])
def test_windows_are_put_back_in_their_places(shift):
    """What a token receives is drawn where it stands, also beside windows that reach beyond."""
    rows, columns, size = 5, 7, 3
    number = np.arange(6 * 9).reshape(6, 9)
    rolled = np.roll(number, (-shift, -shift), (0, 1))
    parts = rolled.reshape(2, size, 3, size).swapaxes(1, 2).reshape(6, 1, 1, size * size)
    weights = np.repeat(parts, size * size, axis=2) / size**2  # each key receives its number
    (received,) = Windows(weights, (rows, columns), size, shift, 1).maps
    np.testing.assert_allclose(received, number[:rows, :columns])
    other = Windows(weights, (rows, columns), size, 1 - shift, 1).maps
    assert not np.allclose(other, received)  # the control
