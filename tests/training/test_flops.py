"""FLOPs counted by hand, by XLA, and for models whose papers state them."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.graph import CAUSAL, FULL, Near, Same
from transformers_jax.models.base import Plan
from transformers_jax.spec import Execution
from transformers_jax.training.flops import (
    _edges,
    flops_per_row,
    flops_per_step,
    measured_peak,
    peak,
    utilisation,
)


def abstract(config, head, **execution):
    return Plan(config, head, Execution(**execution)).build()


def test_gpt2_124m_by_hand():
    T, D, L, V = 1024, 768, 12, 50257
    flops = flops_per_row(abstract(tj.GPT2Config(), "causal_lm"), T)
    assert flops.projections == L * 2 * 12 * D**2 * T  # 4 of attention, 8 of the MLP
    assert flops.attention == L * 2 * 2 * D * T * (T + 1) / 2
    assert flops.unembedding == 2 * V * D * T
    assert flops.others == 0
    assert flops.training == pytest.approx(8.17e11, rel=1e-2)
    # Kaplan et al. 2020, 2.1: 6 N a token for N parameters outside of tables, without attention
    assert 3 * flops.projections / T == pytest.approx(6 * 85e6, rel=1e-2)


def test_bert_base_and_t5_base_by_hand():
    T, D, L, V = 512, 768, 12, 30522
    bert = flops_per_row(abstract(tj.BertConfig(), "masked_lm"), T)
    assert bert.projections == L * 24 * D**2 * T
    assert bert.attention == L * 4 * D * T * T
    assert (bert.unembedding, bert.others) == (2 * V * D * T, 2 * D**2 * T)
    S, T, H, F = 512, 114, 768, 3072
    t5 = tj.T5Config(d_model=768, d_kv=64, d_ff=F, num_layers=12, num_heads=12)
    flops = flops_per_row(abstract(t5, "seq2seq_lm"), S, T)
    encoder = 12 * (8 * D * H + 4 * D * F) * S
    decoder = 12 * ((8 * D * H + 4 * D * F + 4 * D * H) * T + 4 * D * H * S)
    assert flops.projections == encoder + decoder
    assert flops.attention == 12 * 4 * H * (S * S + T * (T + 1) / 2 + T * S)


def test_each_part_is_applied_to_the_tokens_of_its_side():
    S, T, V, narrow, wide = 64, 32, 30522, 384, 768
    encoder, decoder = (
        tj.BertConfig(hidden_size=narrow, num_attention_heads=6),
        tj.BertConfig(is_decoder=True, add_cross_attention=True),
    )
    both = tj.EncoderDecoderConfig(encoder=encoder, decoder=decoder)
    found = flops_per_row(abstract(both, "seq2seq_lm"), S, T)
    pooler, project, transform = 2 * narrow**2, 2 * narrow * wide * S, 2 * wide**2 * T
    assert found.others == pooler + project + transform  # a row, its source, its target
    assert found.unembedding == 2 * V * wide * T
    alone = flops_per_row(abstract(encoder, "none"), S)  # the control: a pooler, once a row
    assert alone.others == pooler == flops_per_row(abstract(encoder, "none"), T).others


def test_edges_are_those_of_the_mask():
    assert _edges(CAUSAL, 7, 7) == 28
    assert _edges(FULL, 5, 7) == 35
    assert _edges(CAUSAL & Near(2), 7, 7) == 7 + 6 + 5
    assert _edges(CAUSAL & Same("document"), 7, 7) == 28  # one document
    assert _edges(CAUSAL, 2500, 2500) == 2500 * 2501 // 2  # in pieces


def test_xla_counts_nearly_the_same():
    """A few per cent more: softmax, norms and activations; its reference attends to every pair."""
    config = tj.BertConfig(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        vocab_size=1024,
        max_position_embeddings=64,
    )
    model = abstract(config, "masked_lm", unroll=True, attention="reference")
    apply, values = tj.functional(model)
    ids = jax.ShapeDtypeStruct((4, 64), np.int32)
    loss = lambda p, ids: apply(p, input_ids=ids, labels=ids).loss
    counted = jax.jit(jax.grad(loss)).lower(values, ids).cost_analysis()["flops"]
    ours = flops_per_step(model, 4, 64)
    assert 1.0 < counted / ours < 1.06
    forward = ours / 3
    assert abs(counted / forward - 3) < 0.2  # the control: not 2 and not 4 times


def test_two_sides_need_two_lengths():
    with pytest.raises(ValueError, match="give target_length as well"):
        flops_per_row(abstract(tj.T5Config(), "seq2seq_lm"), 8)
    with pytest.raises(ValueError, match="target_length has no meaning"):
        flops_per_row(abstract(tj.GPT2Config(), "causal_lm"), 8, 8)


def test_peaks_are_known_by_the_kind_of_device():
    assert peak("NVIDIA H100 80GB HBM3") == peak("NVIDIA H200") == 989e12
    assert peak("NVIDIA H100 PCIe") == 756e12
    assert peak("NVIDIA A100-SXM4-40GB") == 312e12
    assert (peak("TPU v4"), peak("TPU v5 lite"), peak("TPU v5p")) == (275e12, 197e12, 459e12)
    assert peak("NVIDIA L40S") != peak("NVIDIA L4")
    assert peak("cpu") is None


def test_utilisation_is_a_share_of_all_devices():
    assert utilisation(989e12, 2.0, 989e12, devices=2) == pytest.approx(0.25)
    assert utilisation(1e12, 1.0, None) is None
    assert 1e8 < measured_peak(size=256, seconds=0.05) < 1e15
