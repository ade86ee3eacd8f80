"""Decoding with a cache equals the forward pass; ring caches drop what no edge reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.families.conftest import DECODERS, ENCODER_DECODERS, quick
from transformers_jax import CAUSAL, Near

CLOSE = dict(rtol=2e-5, atol=2e-5)  # float32, other orders of summation
CHUNKS = (5, 1, 1, 5, 1)


def decode(model, ids, length, mask=None, positions=None, **source):
    """Logits of chunks and single steps, one after the other."""
    cache, start, logits = tj.init_cache(model, ids.shape[0], length, **source), 0, []
    name = "decoder_input_ids" if model.is_encoder_decoder else "input_ids"
    for chunk in CHUNKS:
        part = slice(start, start + chunk)
        inputs = {name: ids[:, part], "cache": cache}
        if mask is not None:
            inputs |= {"attention_mask": mask[:, part], "position_ids": positions[:, part]}
        out = model(**inputs)
        cache, start = out.cache, start + chunk
        logits.append(out.logits)
    assert int(cache.length) == start == ids.shape[1]
    return np.concatenate(logits, axis=1), cache


@pytest.mark.parametrize("family", quick(DECODERS))
def test_chunks_and_steps_are_the_forward(family, tiny, ids):
    model = tiny(family)
    mask = np.ones(ids.shape, np.int32)
    mask[1, :4] = 0  # one row is padded on the left
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    whole = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    stepped, _ = decode(model, ids, 16, mask, positions)
    np.testing.assert_allclose(stepped[mask > 0], whole[mask > 0], **CLOSE)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_one_tree_per_layer_decodes_the_same(family, tiny, ids):
    model = tiny(family)
    stepped, _ = decode(model.decoding(), ids, 16)
    np.testing.assert_allclose(stepped, model(input_ids=ids).logits, **CLOSE)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_ring_cache_holds_all_that_its_window_reaches(family, tiny, ids):
    mask = CAUSAL & Near(left=3)
    model = tiny(family, mask=mask)
    stepped, cache = decode(model, ids, 16)
    slots = {leaf.shape[3] for leaf in jax.tree.leaves(cache.layers)}  # [L B G S K]
    assert slots == {3}
    np.testing.assert_allclose(stepped, model(input_ids=ids).logits, **CLOSE)
    wider = tiny(family)(input_ids=ids).logits
    assert np.abs(stepped - wider).max() > 1e-2  # the control: the window matters


@pytest.mark.parametrize("family", ENCODER_DECODERS)
def test_a_decoder_attends_to_its_encoder_through_the_cache(family, tiny, ids):
    model = tiny(family)
    mask = jnp.ones(ids.shape, jnp.int32).at[1, 9:].set(0)
    whole = model(input_ids=ids, attention_mask=mask, decoder_input_ids=ids[:, ::-1]).logits
    encoded = model.encode(input_ids=ids, attention_mask=mask)
    stepped, _ = decode(model, ids[:, ::-1], 16, encoder_outputs=encoded, attention_mask=mask)
    np.testing.assert_allclose(stepped, whole, **CLOSE)


@pytest.mark.parametrize("family", ["llama"])
def test_rows_of_a_cache_can_be_reordered_and_repeated(family, tiny, ids):
    model = tiny(family)
    cache = model(input_ids=ids[:, :5], cache=tj.init_cache(model, 2, 16)).cache
    after = model(input_ids=ids[:, 5:6], cache=cache).logits
    reordered = model(input_ids=ids[::-1, 5:6], cache=cache.gather(jnp.array([1, 0]))).logits
    np.testing.assert_allclose(reordered, after[::-1], **CLOSE)
    twice = model(input_ids=jnp.repeat(ids[:, 5:6], 2, axis=0), cache=cache.repeat(2)).logits
    np.testing.assert_allclose(twice, jnp.repeat(after, 2, axis=0), **CLOSE)


@pytest.mark.parametrize("family", [*quick(DECODERS), "windowed", "int8"])
def test_rows_of_one_prompt_move_with_what_they_do_not_share(family, tiny, ids):
    """As if all of a row moved: 20 tokens of each row, behind 5 that both have."""
    options = {"mask": CAUSAL & Near(left=3)} if family == "windowed" else {}
    model = tiny("llama" if family in ("windowed", "int8") else family, **options)
    made = dict(dtype=jnp.int8) if family == "int8" else {}
    cache = tj.init_cache(model, 1, 28, **made)
    cache = model(input_ids=ids[:1, :5], cache=cache).cache.repeat(2)
    own = np.random.default_rng(1).integers(0, 29, (2, 20))
    cache = model(input_ids=own, cache=cache).cache
    turned = np.array([1, 0])
    whole = cache.gather(turned).layers
    same = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)
    for shared in (5, 0, jnp.int32(5)):
        same(cache.reorder(turned, shared).layers, whole)
    same(jax.jit(lambda cache: cache.reorder(turned, 5))(cache).layers, whole)
    same(cache.reorder(np.arange(2)).layers, cache.layers)
    same(cache.reorder(np.array([0, 0]), 5).layers, cache.gather(np.array([0, 0])).layers)
    # the control: of 25 shared tokens nothing is moved, but for rings, of which all is
    for layer, *others in zip(cache.reorder(turned, 25).layers, cache.layers, whole, strict=True):
        for name, moved in layer.items():
            same(moved, others[moved.kind == "ring"][name])
