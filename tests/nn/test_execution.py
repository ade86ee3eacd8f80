"""Execution settings: rematerialisation, dropped paths, mixed precision, and their effects."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import spec
from transformers_jax.graph import sequence
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.noise import drop_path
from transformers_jax.nn.param import flatten, initialise, mixed_einsum, params
from transformers_jax.nn.stack import Stack

IDS = np.arange(2 * 11).reshape(2, 11) % 37


@functools.cache
def gpt(layers=2):
    rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    config = tj.GPT2Config(
        n_layer=layers, n_head=2, n_embd=16, n_positions=16, vocab_size=37, **rates
    )
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0))


HURRY = {"xla_backend_optimization_level": 0}  # programs that run once


def loss_of(model, values, key=None):
    apply, _ = tj.functional(model)
    loss = lambda p: apply(p, input_ids=IDS, labels=IDS, key=key).loss
    return float(jax.jit(loss, compiler_options=HURRY)(values))


def loss_and_gradients(model, values):
    apply, _ = tj.functional(model)
    loss = lambda p: apply(p, input_ids=IDS, labels=IDS).loss
    return jax.jit(jax.value_and_grad(loss), compiler_options=HURRY)(values)


def test_what_is_recomputed_changes_no_number():
    values = params(gpt())
    plain, grads = loss_and_gradients(gpt(), values)
    for remat in ("full", "attention", "ffn"):
        model = gpt().abstract(remat=remat, unroll=False)
        loss, gradients = loss_and_gradients(model, values)
        np.testing.assert_allclose(loss, plain, rtol=1e-6)
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(gradients), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def products(remat):
    """The number of matrix products in one layer's training step, by remat policy."""
    apply, values = tj.functional(gpt().abstract(remat=remat, unroll=False))
    loss = lambda p: apply(p, input_ids=IDS, labels=IDS).loss
    return str(jax.make_jaxpr(jax.grad(loss))(values)).count("dot_general")


@pytest.fixture(scope="module")
def counted():
    return {remat: products(remat) for remat in (None, *spec.REMAT)}


def test_every_policy_recomputes_what_its_name_says(counted):
    none, full = counted[None], counted["full"]
    assert counted["everything_saveable"] == none
    assert counted["dots_saveable"] == counted["checkpoint_dots"] == none
    assert counted["nothing_saveable"] == full
    assert counted["dots"] == counted["dots_with_no_batch_dims_saveable"]
    assert none < counted["ffn"] < full
    assert none < counted["attention"] < full
    assert counted["dots"] < full


def test_unknown_settings_are_reported_with_the_known_ones():
    with pytest.raises(ValueError, match=r"remat='most'.*'attention', 'ffn', 'nothing_saveable'"):
        spec.Execution(remat="most")
    with pytest.raises(ValueError, match=r"drop_path \(1.0\) must lie in"):
        spec.Execution(drop_path=1.0)


def test_recomputing_saves_memory_where_layers_are_scanned():
    def temporary(**execution):
        apply, values = tj.functional(gpt(8).abstract(unroll=False, **execution))
        ids = np.zeros((8, 16), np.int32)
        loss = lambda p: apply(p, input_ids=ids, labels=ids).loss
        compiled = jax.jit(jax.grad(loss), compiler_options=HURRY).lower(values).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    none, full = temporary(), temporary(remat="full")
    assert full < 0.6 * none


# ---------------------------------------------------------------- stochastic depth


def test_no_key_no_path_is_dropped():
    values = params(gpt())
    key, dropping = jax.random.key(1), gpt().abstract(drop_path=0.5)
    plain = loss_of(gpt(), values)
    assert loss_of(dropping, values) == loss_of(gpt(), values, key) == plain
    assert abs(loss_of(dropping, values, key) - plain) > 1e-4


def test_scanned_unrolled_and_listed_layers_drop_the_same_paths():
    key, model = jax.random.key(1), gpt().abstract(drop_path=0.6)
    model = tj.bind(model, params(gpt()))
    losses = []
    for one in (model, model.with_layers("list")):
        for unroll in (True, False):
            run = one.abstract(unroll=unroll)
            losses.append(loss_of(run, params(one), key))
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)
    other = loss_of(model, params(model), jax.random.key(2))
    assert abs(other - losses[0]) > 1e-4


def test_a_dropped_path_is_right_on_average_and_whole_rows_at_a_time():
    y = jnp.ones((4000, 3, 5))
    out = np.asarray(drop_path(y, jnp.float32(0.3), jax.random.key(0)))
    assert (out == out[:, :1, :1]).all()
    assert set(np.unique(out.round(4))) == {0.0, np.float32(1 / 0.7).round(4)}
    assert out.mean() == pytest.approx(1.0, abs=0.03)  # a deviation is 0.01
    assert drop_path(y, jnp.float32(0.3), None) is y


def test_later_layers_are_left_out_more_often():
    """In a stack of one branch per block, the contribution of each block can be separated."""
    width, depth, rate = 8, 4, 0.8
    branch = spec.Branch("ffn", FeedForwardSpec(16), spec.LayerNorm())
    described = spec.StackSpec(width, ((branch,),) * depth)
    stack = Stack(described, spec.Execution(drop_path=rate))
    stack = initialise(stack, jax.random.key(0))
    x = jnp.broadcast_to(jnp.arange(1.0, width + 1), (600, 1, width))
    ran = stack(x, sequence(1), key=jax.random.key(3), collect=frozenset({"hidden"}))
    hidden = np.stack(ran.hidden)[:, :, 0]
    left_out = (hidden[1:] == hidden[:-1]).all(-1).mean(-1)
    # Stack has no final norm here, so the last hidden state is the last block's
    np.testing.assert_allclose(left_out, rate * np.arange(1, depth + 1) / depth, atol=0.07)


# ---------------------------------------------------------------- mixed products


@pytest.mark.parametrize(
    ("equation", "x", "y"),
    [
        ("btd,dhk->bthk", (2, 3, 5), (5, 2, 7)),
        ("bthk,hkd->btd", (2, 3, 2, 7), (2, 7, 5)),
        ("...d,de->...e", (2, 3, 5), (5, 11)),
        ("...d,de->...e", (3, 5), (5, 11)),
    ],
)
def test_a_mixed_product_is_that_of_halves_forward_and_backward(equation, x, y):
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (x, y))
    half = lambda a: a.astype(jnp.bfloat16).astype(jnp.float32)
    g = jnp.asarray(rng.normal(size=jnp.einsum(equation, x, y).shape), jnp.float32)
    out, back = jax.vjp(functools.partial(mixed_einsum, equation), x, y)
    expected, exact = jax.vjp(functools.partial(jnp.einsum, equation), half(x), half(y))
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(back(g), exact(half(g)), strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert np.abs(out - jnp.einsum(equation, x, y)).max() > 1e-4  # the control


def test_a_mixed_model_multiplies_parameters_in_halves_and_nothing_else():
    values, mixed = params(gpt()), gpt().abstract(compute="mixed")
    assert mixed.dtype == jnp.float32
    plain, grads = loss_and_gradients(gpt(), values)
    loss, gradients = loss_and_gradients(mixed, values)
    assert 0 < abs(float(loss - plain)) < 1e-2
    for path, a in flatten(grads).items():
        b = flatten(gradients)[path]
        assert b.dtype == jnp.float32
        assert np.linalg.norm(a - b) < 0.03 * np.linalg.norm(a) + 1e-6, path
    text = str(jax.make_jaxpr(lambda p: tj.functional(mixed)[0](p, input_ids=IDS).logits)(values))
    halves = [line for line in text.splitlines() if "dot_general" in line]
    assert halves
    assert "bf16[" not in str(jax.make_jaxpr(tj.functional(gpt())[0])(values, input_ids=IDS))
