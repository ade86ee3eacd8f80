"""Ways of pooling, and vectors of length one."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax.nn.norm import unit
from transformers_jax.nn.pooling import MODES, FirstOf, Last, LastOf, Pooling, pool
from transformers_jax.nn.sentence import Pool, SentenceSpec


def pool_tokens(x, mode, valid=None, skip=0):
    return pool(x, Pooling(mode=mode), valid, skip=skip)


@functools.cache
def expected():
    return dict(np.load(Path(__file__).parent / "outputs.npz"))


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("mode", MODES)
def test_tokens_are_pooled_as_in_the_reference(mode, side, skip):
    x, mask = expected()["pool_x"], expected()[f"pool_mask_{side}"] > 0
    wanted = expected()[f"pool_{mode}_{side}_{skip}"]
    if (empty := mask.sum(1) <= skip).any():  # of a row with nothing left we give zero
        wanted = np.where(empty[:, None], 0, wanted)
    np.testing.assert_allclose(pool_tokens(x, mode, mask, skip), wanted, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_padding_changes_nothing(mode):
    x, mask = expected()["pool_x"], expected()["pool_mask_left"] > 0
    garbage = np.where(mask[..., None], x, 1e6)
    pooled = pool_tokens(x, mode, mask)
    np.testing.assert_array_equal(pool_tokens(garbage, mode, mask), pooled)
    if mode != "lasttoken":  # behind padding in front the last token is the last of all
        assert np.abs(pool_tokens(garbage, mode) - pooled).max() > 0.1
    moved = np.stack([np.roll(row, -int(np.argmax(m)), 0) for row, m in zip(x, mask)])
    right = expected()["pool_mask_left"][:, ::-1] > 0
    np.testing.assert_allclose(pool_tokens(moved, mode, right), pooled, atol=1e-6)
    nothing = pool_tokens(x, mode, np.zeros_like(mask))
    np.testing.assert_array_equal(nothing, np.zeros_like(nothing))


def test_half_precision_is_summed_in_float32():
    x = jnp.full((1, 4096, 2), 1.0078125, jnp.bfloat16)
    assert pool_tokens(x, "mean").dtype == jnp.bfloat16
    np.testing.assert_array_equal(pool_tokens(x, "mean"), x[:, 0])
    halves = np.cumsum(np.asarray(x[0, :, 0]), dtype=x.dtype)[-1]
    assert float(halves) / 4096 < 0.5  # the mean from a sum in half precision


def test_a_zero_vector_has_a_finite_gradient():
    x = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(unit(x), [[0, 0], [0.6, 0.8]], rtol=1e-6)
    assert np.isfinite(jax.grad(lambda x: unit(x).sum())(x)).all()


def test_unknown_pooling_modes_are_refused():
    with pytest.raises(ValueError, match="'middle' is unknown; known are cls, max, mean,"):
        pool_tokens(expected()["pool_x"], "middle")
    with pytest.raises(ValueError, match="'middle'; known are cls"):
        Pool(("mean", "middle"))
    assert SentenceSpec(5, (Pool(("cls", "mean")),)).size == 10


X = jnp.arange(24.0).reshape(2, 4, 3) + 1
VALID = jnp.array([[False, True, True, False], [False] * 4])
IDS = jnp.array([[7, 5, 7, 0], [0, 0, 0, 0]])
NOTHING = jnp.full(3, jnp.nan)


@pytest.mark.parametrize(
    ("pooling", "vectors"),  # of a row with two tokens, and of one without any
    [
        ("first", (X[0, 0], X[1, 0])),
        ("first valid", (X[0, 1], X[1, 0])),
        ("end", (X[0, 3], X[1, 3])),
        ("mean", (X[0, 1:3].mean(0), NOTHING)),
        ("mean of all", (X[0].mean(0), X[1].mean(0))),
        (Last(0), (X[0, 2], X[1, 0])),
        (LastOf(5), (X[0, 1], NOTHING)),
        (LastOf(7), (X[0, 2], NOTHING)),
        (FirstOf(5), (X[0, 1], X[1, 0])),
        (FirstOf(7), (X[0, 0], X[1, 0])),
        (FirstOf("largest"), (X[0, 0], X[1, 0])),
    ],
)
def test_the_poolings_of_heads_choose_their_tokens(pooling, vectors):
    pooled = pool(X, pooling, VALID, ids=IDS)
    np.testing.assert_allclose(pooled, jnp.stack(vectors), rtol=1e-6)


def test_pooling_without_the_inputs_it_needs_is_refused():
    np.testing.assert_array_equal(pool(X[:1], Last(None)), X[:1, -1])
    np.testing.assert_array_equal(pool(X, Last(0)), X[:, -1])
    with pytest.raises(ValueError, match=r"needs config\.pad_token_id"):
        pool(X, Last(None), ids=IDS)
    with pytest.raises(ValueError, match="last token 5 of a row needs input_ids"):
        pool(X, LastOf(5))
    with pytest.raises(ValueError, match="found by input_ids: give them"):
        pool(X, FirstOf(5))
