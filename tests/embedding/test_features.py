"""Features of a layer equal the hidden states of the whole model, with fewer FLOPs."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj

CASES = Path(__file__).parent.parent / "conformance" / "cases"
IDS = np.array([[5, 6, 7, 8, 9], [4, 5, 9, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
CLOSE = dict(rtol=1e-5, atol=2e-5)  # layers one by one or scanned: float32 sums in another order


@functools.cache
def loaded(case):
    return tj.from_pretrained(CASES / case, unroll=False)


@functools.cache
def states(case):
    model = loaded(case)
    run = model.encode if model.is_encoder_decoder else model
    return run(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("case", ["bert-mlm", "gpt2", "bart-base"])
def test_features_of_a_layer_equal_its_hidden_states(case):
    whole, real = states(case), MASK[..., None]
    for layer in (0, -2, -1):
        features = tj.features(loaded(case), IDS, attention_mask=MASK, layer=layer)
        np.testing.assert_allclose(features * real, whole[layer] * real, **CLOSE)
    assert np.abs(whole[-2] - whole[-1]).max() > 0.1


def test_several_layers_come_in_the_requested_order():
    last, first = tj.features(loaded("gpt2"), IDS, attention_mask=MASK, layer=(2, 1))
    np.testing.assert_allclose(last * MASK[..., None], states("gpt2")[2] * MASK[..., None], **CLOSE)
    np.testing.assert_allclose(
        first * MASK[..., None], states("gpt2")[1] * MASK[..., None], **CLOSE
    )


def test_tokens_are_pooled_without_padding():
    features = tj.features(loaded("gpt2"), IDS, attention_mask=MASK, layer=1, pooling="mean")
    one = states("gpt2")[1]
    np.testing.assert_allclose(features[1], one[1, :3].mean(0), **CLOSE)


def test_layers_above_the_requested_one_are_not_computed():
    depth = loaded("gpt2").stack.spec.depth

    def flops(layer):
        run = jax.jit(lambda ids: tj.features(loaded("gpt2"), ids, layer=layer))
        return run.lower(IDS.astype(np.int32)).cost_analysis()["flops"]

    costs = [flops(layer) for layer in range(depth + 1)]
    one = costs[2] - costs[1]
    assert costs[0] < one / 4
    np.testing.assert_allclose(np.diff(costs[1:depth]), one, rtol=1e-3)


def test_wrong_layers_are_refused():
    depth = loaded("gpt2").stack.spec.depth
    for layer in (depth + 1, -depth - 2):
        with pytest.raises(ValueError, match=rf"layer {layer}: there are 0 .* to {depth}"):
            tj.features(loaded("gpt2"), IDS, layer=layer)
    with pytest.raises(ValueError, match="'middle' is unknown"):
        tj.features(loaded("gpt2"), IDS, pooling="middle")
    with pytest.raises(ValueError, match="outside the vocabulary"):
        tj.features(loaded("gpt2"), IDS + 900)
    with pytest.raises(TypeError, match="no argument 'labels'"):
        tj.features(loaded("gpt2"), IDS, labels=IDS)


def test_features_can_be_differentiated():
    apply = lambda params: tj.features(tj.bind(loaded("gpt2"), params), IDS, layer=1).sum()
    gradients = jax.grad(apply)(tj.functional(loaded("gpt2"))[1])
    query = np.asarray(gradients["stack"]["blocks"]["0"]["self"]["query"])
    assert np.abs(query[0]).max() > 0
    assert not query[1:].any()
