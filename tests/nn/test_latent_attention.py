"""Latent attention: what its cache holds, and the two ways of computing it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import spec
from transformers_jax.graph import CAUSAL, Near, connect, sequence
from transformers_jax.nn.latent_attention import LatentAttentionSpec
from transformers_jax.nn.operation import Context
from transformers_jax.nn.param import axes, initialise, params
from transformers_jax.nn.position import rotation

B, T, D = 2, 9, 12
SPEC = LatentAttentionSpec(
    heads=3, plain=4, turned=2, value=5, rank=7, rotary=spec.Rotary(interleaved=True), mask=CAUSAL
)
CONFIG = dict(
    vocab_size=53,
    hidden_size=20,
    intermediate_size=28,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
    n_routed_experts=4,
    n_group=2,
    topk_group=1,
    num_experts_per_tok=2,
    moe_intermediate_size=10,
    first_k_dense_replace=1,
    kv_lora_rank=9,
    q_lora_rank=6,
    qk_rope_head_dim=4,
    qk_nope_head_dim=6,
    v_head_dim=5,
    initializer_range=0.3,
)


def module(op):
    return initialise(op.build(D, spec.Initial(0.5)), jax.random.key(0))


def applied(op, x, collect=frozenset(), own=None):
    nodes = sequence(x.shape[1])
    edges = {(None, op.mask, None): connect(op.mask, nodes, nodes)}
    turns = {(op.rotary, op.turned): rotation(op.rotary, op.turned, nodes)}
    context = Context(nodes, edges, turns, how="reference", collect=collect)
    return (own or module(op)).apply(x, context)


@pytest.mark.parametrize("query_rank", [None, 3])
def test_attending_to_latents_is_attending_to_keys_and_values_made_of_them(query_rank, monkeypatch):
    op = dataclasses.replace(SPEC, query_rank=query_rank, bias=True, mask=CAUSAL & Near(left=3))
    x, own = jax.random.normal(jax.random.key(1), (B, T, D)), module(op)

    def graded(absorbs):
        monkeypatch.setattr(LatentAttentionSpec, "absorbs", lambda *sizes: absorbs)
        loss = lambda x: jnp.square(applied(op, x, own=own).delta).sum()
        return jax.jit(jax.value_and_grad(loss))(x)

    for one, other in zip(graded(True), graded(False)):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
    far = applied(dataclasses.replace(op, mask=CAUSAL), x).delta  # the control
    assert not np.allclose(far, applied(op, x, own=own).delta, atol=1e-2)


def test_few_queries_attend_to_latents_and_many_to_keys():
    op = dataclasses.replace(SPEC, heads=128, plain=128, turned=64, value=128, rank=512)
    assert op.absorbs(1, 4096)
    assert not op.absorbs(4096, 4096)


def test_weights_of_both_ways_are_shares(monkeypatch):
    x = jax.random.normal(jax.random.key(1), (B, T, D))
    for absorbs in (True, False):
        monkeypatch.setattr(LatentAttentionSpec, "absorbs", lambda *sizes, a=absorbs: a)
        weights = applied(SPEC, x, frozenset({"weights"})).collected["weights"]
        assert weights.shape == (B, 3, T, T)
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
        assert not np.triu(weights, 1).any()


def test_a_cache_holds_one_latent_and_one_rotated_key_for_each_token_and_layer():
    model = tj.from_config(tj.DeepseekV3Config(**CONFIG), head="causal_lm", key=jax.random.key(0))
    cache = tj.init_cache(model, batch=2, length=8)
    assert not axes(model)["stack"]["blocks"]["1"]["experts"]["correction"].learned
    held = sum(leaf.size for leaf in jax.tree.leaves(cache.layers))
    a_token = CONFIG["kv_lora_rank"] + CONFIG["qk_rope_head_dim"]
    assert held == CONFIG["num_hidden_layers"] * 2 * 8 * a_token
    keys_and_values = CONFIG["num_attention_heads"] * (6 + 4 + 5)
    assert a_token < keys_and_values / 4
    ids = jnp.asarray(np.random.default_rng(0).integers(3, 53, (2, 8)))
    whole = model(input_ids=ids).logits
    first = model(input_ids=ids[:, :6], cache=cache)
    second = model(input_ids=ids[:, 6:7], cache=first.cache, position_ids=jnp.full((2, 1), 6))
    np.testing.assert_allclose(first.logits, whole[:, :6], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second.logits, whole[:, 6:7], rtol=1e-4, atol=1e-5)
    wrong = model(input_ids=ids[:, 6:7], cache=first.cache, position_ids=jnp.full((2, 1), 2))
    assert not np.allclose(wrong.logits, whole[:, 6:7], atol=1e-3)  # the control


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"turned \(3\) must be even"):
        dataclasses.replace(SPEC, turned=3)
    with pytest.raises(ValueError, match=r"LatentAttentionSpec\.rank"):
        dataclasses.replace(SPEC, rank=0)
    with pytest.raises(ValueError, match="latent attention is self-attention"):
        SPEC.build(D, spec.Initial(), source="encoder")
    assert SPEC.describe() == "3 heads of 6, of latents of 7"
    assert params(module(SPEC))["up"].shape == (7, 3, 9)


def test_what_chooses_experts_is_held_in_float32_in_half_precision(tmp_path):
    model = tj.from_config(
        tj.DeepseekV3Config(**CONFIG), head="causal_lm", key=jax.random.key(0), dtype="bfloat16"
    )
    model.save_pretrained(tmp_path)
    for one in (model, tj.from_pretrained(tmp_path, dtype="bfloat16")):
        assert one.dtype == "bfloat16"
        experts = params(one)["stack"]["blocks"]["1"]["experts"]
        found = {name: experts[name].dtype.name for name in ("router", "correction", "up")}
        assert found == {"router": "float32", "correction": "float32", "up": "bfloat16"}
