"""How a model is run changes speed and memory, never the result; noise comes only from keys."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.models.base import Plan

CLOSE = dict(rtol=1e-5, atol=1e-6)


def run_otherwise(model, **execution):
    """The same parameters with other execution settings."""
    _, params = tj.functional(model)
    return tj.bind(model.abstract(**execution), params)


def inputs_of(model, ids):
    return {"input_ids": ids, "labels": ids}


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_scanned_unrolled_and_listed_layers_agree(family, tiny, ids):
    model, inputs = tiny(family), inputs_of(None, ids)
    scanned, unrolled = (run_otherwise(model, unroll=flag)(**inputs) for flag in (False, True))
    listed = model.with_layers("list")(**inputs)
    for other in (unrolled, listed):
        np.testing.assert_allclose(other.logits, scanned.logits, **CLOSE)
    back = model.with_layers("list").with_layers("stacked")
    assert jax.tree.all(
        jax.tree.map(np.array_equal, tj.functional(back)[1], tj.functional(model)[1])
    )


@pytest.mark.parametrize("family", ["llama"])
@pytest.mark.parametrize(("remat", "unroll"), [("full", False), ("dots", True)])
def test_recomputing_changes_no_gradient(family, remat, unroll, tiny, ids):
    def gradient(model):
        apply, params = tj.functional(model)
        loss = lambda p: apply(p, key=jax.random.key(3), **inputs_of(model, ids)).loss
        return jax.jit(jax.grad(loss))(params)

    model = run_otherwise(tiny(family, attention_dropout=0.2), unroll=unroll)
    expected, actual = gradient(model), gradient(run_otherwise(model, remat=remat))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), actual, expected
    )


@pytest.mark.parametrize("family", ["bart", "bert", "electra", "gpt2", "t5", "transformer"])
def test_noise_comes_from_a_key_and_from_nothing_else(family, tiny, ids):
    model, inputs = tiny(family), inputs_of(None, ids)
    if model.plan.head == "replaced_token":
        inputs["labels"] = ids % 2
    quiet = model(**inputs).logits
    noisy = [model(key=jax.random.key(seed), **inputs).logits for seed in (5, 5, 6)]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    assert not np.array_equal(noisy[0], quiet)
    assert np.array_equal(quiet, model(**inputs).logits)


@pytest.mark.parametrize("family", ["gpt2"])
def test_a_key_without_dropout_is_quiet(family, tiny, ids):
    model = tiny(family, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    quiet, keyed = model(input_ids=ids), model(input_ids=ids, key=jax.random.key(0))
    np.testing.assert_allclose(keyed.logits, quiet.logits, **CLOSE)


MESHES = """
    import jax, numpy as np
    import transformers_jax as tj
    from transformers_jax import shard

    ids = jax.random.randint(jax.random.key(7), (8, 13), 3, 64)
    gpt2 = tj.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=8, n_positions=16)
    llama = tj.LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48,
                           num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    t5 = tj.T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    mixed = {"data": 2, "fsdp": 2, "tensor": 2}
    runs = [(gpt2, "causal_lm", m) for m in ({"data": 8}, {"fsdp": 8}, {"tensor": 8}, mixed)]
    runs += [(llama, "causal_lm", mixed), (t5, "seq2seq_lm", mixed)]
    single_device = {}
    for config, head, axes in runs:
        if head + config.model_type not in single_device:
            model = tj.from_config(config, head=head, key=jax.random.key(0), unroll=False)
            single_device[head + config.model_type] = model(input_ids=ids, labels=ids)
        expected = single_device[head + config.model_type]
        mesh = tj.make_mesh(axes)
        model = tj.from_config(config, head=head, key=jax.random.key(0), mesh=mesh, unroll=False)
        leaves = jax.tree.leaves(tj.functional(model)[1])
        assert axes == {"data": 8} or any(not x.sharding.is_fully_replicated for x in leaves)
        with shard.use(mesh):
            sharded = model(input_ids=jax.device_put(ids, shard.batch_sharding(mesh)), labels=ids)
        np.testing.assert_allclose(sharded.logits, expected.logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(sharded.loss, expected.loss, rtol=1e-5)
    try:
        tj.from_config(llama, head="causal_lm", key=jax.random.key(0),
                       mesh=tj.make_mesh({"tensor": 8}))
    except ValueError as error:
        assert "heads (4) must be a multiple" in str(error), error
    else:
        raise AssertionError("4 heads on 8 devices were not refused")
    print("agrees")
"""


def test_eight_devices_compute_what_one_computes(on_eight_devices):
    assert on_eight_devices(MESHES).stdout == "agrees\n"


LLAMA3 = dict(
    vocab_size=128256, intermediate_size=14336, num_key_value_heads=8, max_position_embeddings=8192
)
LLAMA32 = dict(
    vocab_size=128256,
    hidden_size=2048,
    intermediate_size=8192,
    num_hidden_layers=16,
    num_key_value_heads=8,
    head_dim=64,
    tie_word_embeddings=True,
)
LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
ROBERTA = dict(type_vocab_size=1, max_position_embeddings=514)
T5_BASE = dict(d_model=768, d_ff=3072, num_layers=12, num_heads=12)
T5_V11 = dict(d_ff=1024, num_layers=8, num_heads=6, feed_forward_proj="gated-gelu")


@pytest.mark.parametrize(
    ("config", "head", "count"),
    [
        (lambda: tj.GPT2Config(), "causal_lm", 124_439_808),
        (lambda: tj.GPT2Config(n_embd=1600, n_layer=48, n_head=25), "causal_lm", 1_557_611_200),
        (lambda: tj.BertConfig(), "none", 109_482_240),
        (lambda: tj.BertConfig(**LARGE), "none", 335_141_888),
        (lambda: tj.T5Config(), "seq2seq_lm", 60_506_624),
        (lambda: tj.T5Config(**T5_BASE), "seq2seq_lm", 222_903_552),
        (lambda: tj.T5Config(**T5_V11, tie_word_embeddings=False), "seq2seq_lm", 76_961_152),
        (lambda: tj.LlamaConfig(), "causal_lm", 6_738_415_616),
        (lambda: tj.LlamaConfig(**LLAMA3), "causal_lm", 8_030_261_248),
        (lambda: tj.LlamaConfig(**LLAMA32), "causal_lm", 1_235_814_400),
        (lambda: tj.RobertaConfig(**ROBERTA), "masked_lm", 124_697_433),
        (lambda: tj.ElectraConfig(), "replaced_token", 13_549_057),
        (lambda: tj.BartConfig(), "none", 406_291_456),
        (lambda: tj.TransformerConfig(), "seq2seq_lm", 44_140_544 + 37_000 * 512),
    ],
)
def test_full_size_models_have_the_published_number_of_parameters(config, head, count):
    assert Plan(config(), head).build().parameter_count == count
