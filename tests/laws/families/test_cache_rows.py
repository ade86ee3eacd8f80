"""Caches whose rows have lengths of their own, that are taken back, replaced, or stored in int8."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import CAUSAL, Near
from transformers_jax.nn.quantised import dequantise, quantise

CLOSE = dict(rtol=2e-5, atol=2e-5)  # float32, other orders of summation
WINDOW = CAUSAL & Near(left=3)
MASKS = {"full": None, "window": WINDOW}
families = pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
masks = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def read(model, cache, rows, width):
    """(logits of each row's tokens, the cache) after rows of several lengths, padded behind."""
    ids = np.zeros((len(rows), width), np.int32)
    mask = np.zeros((len(rows), width), np.int32)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    out = model(input_ids=ids, attention_mask=mask, cache=cache)
    return [logits[: len(row)] for logits, row in zip(np.array(out.logits), rows)], out.cache


def alone(model, row):
    return np.array(model(input_ids=np.array(row)[None]).logits)[0]


@families
@masks
def test_rows_grow_by_numbers_of_their_own(family, mask, tiny, ids):
    model = tiny(family, mask=mask)
    ids = np.array(ids)
    cache = tj.init_cache(model, 2, 16, per_row=True)
    parts = [(ids[0, :5], ids[1, :2]), (ids[0, 5:6], ids[1, 2:2]), (ids[0, 6:9], ids[1, 2:8])]
    logits = [[], []]
    for rows in parts:
        made, cache = read(model, cache, rows, 6)
        for row in (0, 1):
            logits[row].append(made[row])
    assert cache.length.tolist() == [9, 8]
    for row, length in ((0, 9), (1, 8)):
        whole = alone(model, ids[row, :length])
        np.testing.assert_allclose(np.concatenate(logits[row]), whole, **CLOSE)


@families
@masks
def test_tokens_are_taken_back(family, mask, tiny, ids):
    model = tiny(family, mask=mask)
    ids = np.array(ids)
    cache = tj.init_cache(model, 2, 16, per_row=True, spare=4)
    _, cache = read(model, cache, (ids[0, :7], ids[1, :9]), 9)
    _, cache = read(model, cache, ([5, 6, 7, 8], [9, 9, 9]), 4)
    cache = cache.rewind(jnp.array([7, 9]))
    made, cache = read(model, cache, (ids[0, 7:10], ids[1, 9:12]), 3)
    np.testing.assert_allclose(made[0], alone(model, ids[0, :10])[7:], **CLOSE)
    np.testing.assert_allclose(made[1], alone(model, ids[1, :12])[9:], **CLOSE)
    assert cache.length.tolist() == [10, 12]
    assert cache.rewind(jnp.array([99, 99])).length.tolist() == [10, 12]


def test_a_ring_without_spare_slots_forgets(tiny, ids):
    """The control of the test above: what is overwritten is not there any more."""
    model = tiny("llama", mask=WINDOW)
    ids = np.array(ids)
    cache = tj.init_cache(model, 1, 16, per_row=True)
    _, cache = read(model, cache, (ids[0, :7],), 7)
    _, cache = read(model, cache, ([5, 6, 7],), 3)
    made, _ = read(model, cache.rewind(jnp.array([7])), (ids[0, 7:8],), 1)
    assert np.abs(made[0] - alone(model, ids[0, :8])[7:]).max() > 1e-2


@masks
def test_a_row_is_replaced(mask, tiny, ids):
    model = tiny("llama", mask=mask)
    ids = np.array(ids)
    _, cache = read(model, tj.init_cache(model, 2, 16, per_row=True), (ids[0, :5], ids[1, :8]), 8)
    _, other = read(model, tj.init_cache(model, 1, 16, per_row=True), (ids[1, :3],), 4)
    made, cache = read(model, cache.put(jnp.array([0]), other), (ids[1, 3:5], ids[1, 8:9]), 2)
    np.testing.assert_allclose(made[0], alone(model, ids[1, :5])[3:], **CLOSE)
    np.testing.assert_allclose(made[1], alone(model, ids[1, :9])[8:], **CLOSE)


def test_a_cache_of_one_length_is_taken_back(tiny, ids):
    model = tiny("gpt2")
    out = model(input_ids=ids[:, :9], cache=tj.init_cache(model, 2, 16))
    after = model(input_ids=ids[:, 6:7], cache=out.cache.rewind(jnp.int32(6))).logits
    np.testing.assert_allclose(after, model(input_ids=ids).logits[:, 6:7], **CLOSE)


def test_more_than_a_row_holds_is_refused_or_nan(tiny, ids):
    model = tiny("gpt2")
    cache = tj.init_cache(model, 2, 8, per_row=True)
    cache = model(input_ids=ids[:, :7], cache=cache).cache.rewind(jnp.array([7, 2]))
    with pytest.raises(ValueError, match="holds 8 tokens and 7 are written: 2 more do not fit"):
        model(input_ids=ids[:, :2], cache=cache)
    mask = np.array([[1, 0], [1, 1]])  # as many as there is room for
    model(input_ids=ids[:, :2], attention_mask=mask, cache=cache)
    out = jax.jit(lambda cache: model(input_ids=ids[:, :2], cache=cache).logits)(cache)
    assert jnp.isnan(out[0, 1]).all()
    assert not jnp.isnan(out[1]).any()


@masks
def test_keys_of_eight_bits_have_a_quarter_of_the_memory_and_a_small_error(mask, tiny, ids):
    model = tiny("llama", mask=mask)
    whole, cache = np.array(model(input_ids=ids).logits), tj.init_cache(model, 2, 16, dtype="int8")
    size = lambda cache: sum(x.key.nbytes + x.value.nbytes for x in cache.layers[0].values())
    assert 4 * size(cache) == size(tj.init_cache(model, 2, 16))
    logits = []
    for part in (slice(0, 6), slice(6, 7), slice(7, 13)):
        out = model(input_ids=ids[:, part], cache=cache)
        cache = out.cache
        logits.append(out.logits)
    error = np.abs(np.concatenate(logits, 1) - whole).max() / np.abs(whole).max()
    assert 0 < error < 0.02


def test_the_error_of_eight_bits_is_at_most_half_a_step():
    x = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    x[3] = 0
    whole, scale = quantise(jnp.array(x))
    error = np.abs(np.array(dequantise(whole, scale, jnp.float32)) - x)
    assert (error <= np.abs(x).max(1, keepdims=True) / 254 * (1 + 1e-5)).all()
    assert error.max() > np.abs(x).max() / 600  # the control: something was rounded


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "int32"}, "init_cache: dtype='int32': keys and values are stored as floating"),
        ({"dtype": "int9"}, "init_cache: dtype='int9'"),
        ({"spare": -1}, "init_cache: spare=-1: expected a whole number, at least 0"),
    ],
)
def test_what_a_cache_cannot_be_made_for_is_refused(options, said, tiny):
    with pytest.raises(ValueError, match=said):
        tj.init_cache(tiny("gpt2"), 1, 4, **options)
