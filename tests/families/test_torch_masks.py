"""Masks of torch's modules: boolean or additive, shared by the heads or one for each."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import transformers_jax as tj

CASES = Path(__file__).parent.parent / "conformance" / "cases"
B, T, S, H, D = 2, 5, 7, 4, 32
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def plain_attention(weights, query, key, value, added):
    """torch.nn.MultiheadAttention in NumPy; `added` [B H T S] is added to the scores."""
    split = lambda x: x.reshape(B, -1, H, D // H).transpose(0, 2, 1, 3)
    matrices = np.split(weights["in_proj_weight"], 3)
    biases = np.split(weights["in_proj_bias"], 3)
    q, k, v = (
        split(x @ w.T + b) for x, w, b in zip((query, key, value), matrices, biases, strict=True)
    )
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(D // H) + added
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    joined = (shares @ v).transpose(0, 2, 1, 3).reshape(B, T, D)
    return joined @ weights["out_proj.weight"].T + weights["out_proj.bias"], shares


CLOSED = RNG.random((B * H, T, S)) < 0.4
CLOSED[:, :, 0] = False  # torch gives NaN where a query has no key
PADDING = np.arange(S)[None] >= np.array([[S], [4]])
MASKS = {
    "none": (None, None),
    "boolean": (CLOSED[0], None),
    "boolean by head": (CLOSED, PADDING),
    "additive": (normal(T, S), PADDING),
    "additive by head": (normal(B * H, T, S), None),
    "additive with -inf": (np.where(CLOSED[0], -np.inf, normal(T, S)), PADDING),
    "additive padding": (CLOSED[0], normal(B, S)),
    "both additive": (normal(B * H, T, S), np.where(PADDING, -np.inf, 0).astype(np.float32)),
}


@pytest.mark.parametrize("name", MASKS)
def test_multihead_attention_reads_every_mask(name):
    folder, (mask, padding) = CASES / "multihead-attention", MASKS[name]
    model = tj.from_pretrained(folder)
    inputs = {"query": normal(B, T, D), "key": normal(B, S, D), "value": normal(B, S, D)}
    added = np.zeros((B, H, T, S))
    for tensor, lift in ((mask, by_head), (padding, lambda x: x[:, None, None, :])):
        if tensor is not None:
            added = added + lift(np.where(tensor, -np.inf, 0) if tensor.dtype == bool else tensor)
    expected, shares = plain_attention(
        load_file(folder / "model.safetensors"), **inputs, added=added
    )
    output = model(**inputs, attn_mask=mask, key_padding_mask=padding)
    np.testing.assert_allclose(output.weights, shares, atol=2e-6)
    np.testing.assert_allclose(output.output, expected, atol=2e-5)


def by_head(mask):
    return mask[None, None] if mask.ndim == 2 else mask.reshape(B, H, T, S)


def test_a_transformer_reads_masks_of_every_form_alike():
    model = tj.from_pretrained(CASES / "nn-transformer")
    src, tgt = normal(B, S, D), normal(B, T, D)
    closed = CLOSED[0]
    additive = np.where(closed, -np.inf, 0).astype(np.float32)
    each = np.broadcast_to(closed, (B * H, T, S))
    expected = model(src=src, tgt=tgt, memory_mask=closed).output
    for form in (additive, each, np.where(each, -np.inf, 0).astype(np.float32)):
        output = model(src=src, tgt=tgt, memory_mask=form).output
        np.testing.assert_allclose(output, expected, atol=1e-5)
    other = model(src=src, tgt=tgt, memory_mask=CLOSED).output
    assert np.abs(other - expected).max() > 1e-2  # the control: heads that differ are not merged


@pytest.mark.parametrize(
    ("name", "mask", "words"),
    [
        ("tgt_mask", np.zeros((T, S), bool), r"tgt_mask has shape \(5, 7\); expected \(5, 5\) or"),
        ("src_mask", np.zeros((S, S), int), "src_mask has dtype int64"),
        ("src_key_padding_mask", np.zeros((B, T), bool), r"expected \(2, 7\)"),
        ("tgt_is_causal", True, "tgt_is_causal is a hint about tgt_mask"),
    ],
)
def test_an_error_about_a_mask_names_its_shape(name, mask, words):
    model = tj.from_pretrained(CASES / "nn-transformer")
    with pytest.raises(ValueError, match=words):
        model(src=normal(B, S, D), tgt=normal(B, T, D), **{name: mask})
