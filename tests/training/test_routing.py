"""The share of the tokens that each expert serves is counted of a model, and drawn in a report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.json_files import json_text
from transformers_jax.nn.experts import route
from transformers_jax.runs.pictures import CHOICES, plot_routing, routing_of
from transformers_jax.training.routing import ROUTING, layers_of, shares

SIZES = dict(vocab_size=53, hidden_size=24, num_hidden_layers=3, num_attention_heads=4)
MODELS = {
    "qwen2_moe": lambda: tj.Qwen2MoeConfig(
        **SIZES,
        intermediate_size=12,
        num_key_value_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        mlp_only_layers=(1,),
    ),
    "switch_transformers": lambda: tj.SwitchTransformersConfig(
        vocab_size=53,
        d_model=20,
        d_kv=5,
        d_ff=12,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        num_experts=3,
        num_sparse_encoder_layers=1,
        num_sparse_decoder_layers=1,
        expert_capacity=2,
    ),
}


def model_of(family):
    head = "causal_lm" if family == "qwen2_moe" else "seq2seq_lm"
    return tj.from_config(MODELS[family](), head=head, key=jax.random.key(0))


def batches():
    ids = np.random.default_rng(0).integers(3, 53, (2, 3, 8))
    return [{"input_ids": jnp.asarray(rows), "labels": jnp.asarray(rows)} for rows in ids]


def test_shares_are_how_often_routers_choose_each_expert():
    model = model_of("qwen2_moe")
    found = shares(model, batches())
    assert found["layers"] == ["layer 1", "layer 3"]
    assert found["full"] == [0.0, 0.0]
    scores = [model(batch["input_ids"], output_router_logits=True) for batch in batches()]
    ops = [op for _, _, op, _ in layers_of(model)]
    for layer, (op, share) in enumerate(zip(ops, found["shares"])):
        chosen = [route(each.router_logits[layer][None], op).expert for each in scores]
        counts = np.bincount(np.concatenate([np.ravel(x) for x in chosen]), minlength=4)
        np.testing.assert_allclose(share, counts / counts.sum(), rtol=1e-6)


@pytest.mark.slow
def test_padding_counts_nowhere_and_choices_without_room_are_told():
    model = model_of("switch_transformers")
    found = shares(model, batches())
    assert found["layers"] == ["encoder layer 2", "decoder layer 2"]
    assert all(full > 0 for full in found["full"])  # six tokens of two rows have three experts
    pad = lambda x, value: jnp.concatenate([x, jnp.full_like(x[:, :5], value)], 1)
    padded = [
        {
            "input_ids": pad(batch["input_ids"], 7),
            "attention_mask": pad(jnp.ones_like(batch["input_ids"]), 0),
            "labels": pad(batch["labels"], -100),
        }
        for batch in batches()
    ]
    again = shares(model, padded)
    np.testing.assert_allclose(again["shares"], found["shares"], rtol=1e-6)
    unmasked = [batch | {"labels": pad(batch["labels"], 9)} for batch in batches()]
    assert not np.allclose(shares(model, unmasked)["shares"], found["shares"])  # the control


def test_a_report_draws_the_shares(tmp_path):
    found = {"layers": ["layer 1", "layer 2"], "shares": [[0.5, 0.5], [0.9, 0.1]], "full": [0, 0.2]}
    (tmp_path / ROUTING).write_text(json_text({"step": 1200, **found}))
    assert plot_routing(tmp_path) == [CHOICES]
    assert (tmp_path / CHOICES).read_bytes().startswith(b"\x89PNG")
    section = routing_of(tmp_path, [CHOICES])
    assert section.startswith("After step 1,200, on held-out text")
    assert "| layer 2 | 10.0% | 90.0% | 20.0% |" in section
    assert routing_of(tmp_path, []) == ""
    assert plot_routing(tmp_path / "nothing") == []
