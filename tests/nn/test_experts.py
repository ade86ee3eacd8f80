"""Experts: blocks compute what all experts of all tokens would; routers, capacities, meshes."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import spec
from transformers_jax.nn.experts import (
    Experts,
    ExpertsSpec,
    Shared,
    has_room,
    route,
)
from transformers_jax.nn.feedforward import ClampedSwiglu, FeedForwardSpec, activation
from transformers_jax.nn.grouped_matmul import _by_group, _ragged, arrange
from transformers_jax.nn.param import bind, params
from transformers_jax.nn.router_losses import balance_loss, router_z_loss
from transformers_jax.nn.routers import Sigmoid, Softmax, SoftmaxOfTop

FFN = FeedForwardSpec(hidden=11, activation="silu", gated=True)
SPEC = ExpertsSpec(count=5, top=2, ffn=FFN)
B, T, D = 3, 17, 7
HASTE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Served(NamedTuple):
    x: jax.Array
    logits: jax.Array


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def make(experts=SPEC):
    """Experts whose biases are random as well."""
    module = Experts(experts, D, spec.Initial())
    leaves, tree = jax.tree.flatten(params(module))
    values = [0.5 * draw(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)]
    return bind(module, jax.tree.unflatten(tree, values))


@functools.lru_cache
def compiled(experts):
    """The same experts, for all tests that run them."""
    module = make(experts)

    @functools.partial(jax.jit, compiler_options=HASTE)
    def run(x, key=None):
        y, collected = module(x, key=key)
        return Served(y, collected["router"])

    return run


def by_all(module, x):
    """Every expert serves every token; the weights of those that were not chosen are zero."""
    e = module.experts
    plus = lambda y, bias: y if bias is None else y + bias[...]
    correction = None if module.correction is None else module.correction[...]
    routes = route(plus(x @ module.router[...], module.router_bias), e, correction)
    into = lambda w: jnp.einsum("btd,edf->btef", x, w[...])
    hidden = plus(into(module.up), module.up_bias)
    gate = None if module.gate is None else plus(into(module.gate), module.gate_bias)
    if isinstance(e.ffn.gated, ClampedSwiglu):
        gate, hidden = jnp.minimum(gate, 7.0), jnp.clip(hidden, -7.0, 7.0)
        hidden = gate * jax.nn.sigmoid(1.702 * gate) * (hidden + 1)
    else:
        act = activation(e.ffn.activation)
        hidden = act(hidden) if gate is None else act(gate) * hidden
    y = plus(jnp.einsum("btef,efd->bted", hidden, module.down[...]), module.down_bias)
    weight = (jax.nn.one_hot(routes.expert, e.count) * routes.weight[..., None]).sum(2)
    y = (weight[..., None] * y).sum(2)
    if e.shared is None:
        return y
    scored = jnp.einsum("btd,d->bt", x, module.shared_gate[...])
    return y + jax.nn.sigmoid(scored)[..., None] * module.shared(x)


VARIANTS = {
    "Qwen2": dataclasses.replace(
        SPEC,
        router=Softmax(normalise=True),
        ffn=dataclasses.replace(FFN, bias=False),
        shared=Shared(dataclasses.replace(FFN, hidden=6), gated=True),
    ),
    "gpt-oss": dataclasses.replace(
        SPEC,
        router=SoftmaxOfTop(bias=True),
        ffn=dataclasses.replace(FFN, gated=ClampedSwiglu()),
    ),
    "DeepSeek-V3": dataclasses.replace(
        SPEC, count=6, router=Sigmoid(groups=3, kept=2, normalise=True, scale=2.5)
    ),
    "Switch": ExpertsSpec(5, 1, FeedForwardSpec(11, "relu", bias=False), capacity=4),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_blocks_compute_what_all_experts_of_all_tokens_compute(name):
    module, x, flow = make(VARIANTS[name]), draw(B, T, D, seed=8), draw(B, T, D, seed=9)

    def graded(run):
        loss = lambda p, x: (run(bind(module, p), x) * flow).sum()
        step = jax.jit(jax.value_and_grad(loss, (0, 1)), compiler_options=HASTE)
        return step(params(module), x)

    actual, expected = graded(lambda m, x: m(x)[0]), graded(by_all)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
        assert jnp.linalg.norm(a - b) <= 5e-6 * (jnp.linalg.norm(b) + 1e-3 * abs(expected[0]))
    others = bind(module, jax.tree.map(lambda x: jnp.roll(x, 1, 0), params(module)))
    assert jnp.abs(by_all(others, x) - by_all(module, x)).max() > 1e-2  # the control


@pytest.mark.parametrize("router", [Softmax, SoftmaxOfTop, Sigmoid])
def test_weights_are_those_of_the_largest_scores(router):
    logits = draw(2, 3, 5)
    for normalise in (False, True):
        options = {} if router is SoftmaxOfTop else {"normalise": normalise}
        expert, weight = route(logits, dataclasses.replace(SPEC, router=router(**options)))
        assert np.array_equal(expert, np.argsort(-logits, -1)[..., :2])
        whole = {Softmax: jax.nn.softmax, Sigmoid: jax.nn.sigmoid}.get(router)
        if whole is not None and not normalise:
            np.testing.assert_allclose(weight, -np.sort(-whole(logits), -1)[..., :2], rtol=1e-6)
        sums = np.allclose(weight.sum(-1), 1, atol=1e-6)
        assert sums == (normalise or router is SoftmaxOfTop)


def test_experts_of_groups_that_are_not_kept_serve_nobody():
    logits = jnp.array([3.0, -4.0, 1.0, 0.9, 2.0, -3.0])  # the pair in the middle has the best sum
    grouped = dataclasses.replace(SPEC, count=6, router=Sigmoid(groups=3, kept=1))
    assert sorted(route(logits[None, None], grouped).expert[0, 0].tolist()) == [2, 3]
    free = dataclasses.replace(grouped, router=Sigmoid())
    assert sorted(route(logits[None, None], free).expert[0, 0].tolist()) == [0, 4]  # the control


def test_a_correction_chooses_experts_and_leaves_their_weights():
    logits, correction = draw(1, 4, 6), 2.0 * jnp.arange(6.0)
    e = dataclasses.replace(SPEC, count=6, router=Sigmoid(scale=2.5))
    expert, weight = route(logits, e, correction)
    assert np.array_equal(expert, np.broadcast_to([5, 4], (1, 4, 2)))
    np.testing.assert_allclose(weight, 2.5 * jax.nn.sigmoid(logits)[..., [5, 4]], rtol=1e-6)


def test_masked_groups_win_at_zero_where_corrections_are_negative():
    logits, correction = jnp.zeros((1, 1, 4)), jnp.array([-0.8, -0.9, -2.0, -3.0])
    for masked, expected in ((-np.inf, [0, 1]), (0.0, [2, 3])):
        router = Sigmoid(groups=2, kept=1, masked=masked)
        e = dataclasses.replace(SPEC, count=4, router=router)
        assert sorted(route(logits, e, correction).expert[0, 0].tolist()) == expected


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_of_experts_is_its_rows_one_by_one(name):
    x, run = draw(B, T, D, seed=5), compiled(VARIANTS[name])
    alone = jnp.concatenate([run(row[None]).x for row in x])
    np.testing.assert_allclose(run(x).x, alone, rtol=1e-5, atol=1e-6)
    mixed = run(x.reshape(1, B * T, D)).x.reshape(x.shape)  # the control: a capacity is a row's
    assert np.allclose(mixed, alone, atol=1e-5) == (VARIANTS[name].capacity is None)


def test_tokens_beyond_the_capacity_receive_exactly_zero_and_no_others_change():
    tight, x = VARIANTS["Switch"], draw(B, T, D)
    roomy = dataclasses.replace(tight, capacity=T)
    tight_output, free = compiled(tight)(x), compiled(roomy)(x)
    chosen = np.asarray(route(free.logits, roomy).expert)[..., 0]
    late = np.array([[(row[: t + 1] == row[t]).sum() > 4 for t in range(T)] for row in chosen])
    assert late.any()
    assert not late.all()
    zero = (np.asarray(tight_output.x) == 0).all(-1)
    assert np.array_equal(zero, late)
    assert np.array_equal(tight_output.x[~late], free.x[~late])
    without = dataclasses.replace(tight, capacity=None)
    assert np.array_equal(free.x, compiled(without)(x).x)


def test_first_choices_are_served_before_second_ones():
    expert = jnp.array([[[0, 1], [1, 0], [0, 1]]])
    assert has_room(expert, 2, 2).tolist() == [[[True, True], [True, False], [True, False]]]


def test_permuted_tokens_give_permuted_outputs():
    x, order = draw(B, T, D), np.random.default_rng(1).permutation(T)
    for experts, agrees in ((SPEC, True), (VARIANTS["Switch"], False)):  # where there is no room,
        run = compiled(experts)  # the control: positions matter
        error = jnp.abs(run(x[:, order]).x - run(x).x[:, order]).max()
        assert (error < 1e-5) == agrees


def test_every_row_is_in_a_block_of_its_group():
    group = jnp.array([2, 0, 2, 7, 2, -1, 0, 2, 2, 2, 2, 2, 2, 2])
    slot, row, owner = arrange(group, 4)
    size = row.shape[0] // owner.shape[0]
    for m, g in enumerate(group.tolist()):
        if 0 <= g < 4:
            assert int(owner[slot[m] // size]) == g
            assert int(row[slot[m]]) == m
        else:
            assert int(slot[m]) == row.shape[0]
    assert int((row < len(group)).sum()) == 12


def test_the_primitive_of_accelerators_computes_the_same_blocks():
    group = jnp.array([0, 2, 2, 3])  # the last block is of no group
    x, weight, flow = draw(4, 8, D), draw(3, D, 5, seed=1), draw(4, 8, 5, seed=2)
    find = lambda run: jax.value_and_grad(lambda x, w: (run(x, w, group) * flow).sum(), (0, 1))
    accelerated = lambda x, w, group: _ragged(x, w, group, False)
    blocks = lambda x, w, group: _by_group(jnp.dtype("float32"), x, w, group)
    actual, expected = (find(run)(x, weight) for run in (accelerated, blocks))
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert not expected[1][1][1].any()
    assert not np.allclose(expected[0], find(blocks)(x, weight[::-1])[0])


def test_the_balance_loss_is_one_at_perfect_balance_and_the_number_of_experts_at_worst():
    even = 30.0 * jnp.eye(4)[None].repeat(3, 1)  # [1, 12, 4]: each expert is chosen by three tokens
    np.testing.assert_allclose(balance_loss(even), 1.0, rtol=1e-6)
    np.testing.assert_allclose(balance_loss(even.at[..., 0].add(99.0)), 4.0, rtol=1e-6)
    pairs = even + 10.0 * jnp.roll(jnp.eye(4), 1, 1)[None].repeat(3, 1)
    np.testing.assert_allclose(balance_loss(pairs, top=2), 1.0, rtol=1e-6)


def test_padding_is_not_counted_where_it_is_named():
    logits, valid = draw(2, 9, 5), np.arange(9) < np.array([[6], [9]])
    dirty = jnp.where(valid[..., None], logits, 50.0)
    for loss in (balance_loss, router_z_loss):
        assert np.array_equal(loss(logits, valid=valid), loss(dirty, valid=valid))
        assert not np.allclose(loss(logits), loss(dirty))
    one = balance_loss(logits[:1, :6]) + balance_loss(logits[1:])
    np.testing.assert_allclose(2 * balance_loss(logits, valid=valid), one, rtol=1e-6)


def test_noise_comes_from_a_key_and_reaches_router_and_experts():
    x, key = draw(B, T, D), jax.random.key(1)
    noisy = dataclasses.replace(SPEC, ffn=dataclasses.replace(FFN, dropout=0.4), jitter=0.3)
    quiet, one, again = compiled(SPEC)(x), compiled(noisy)(x, key), compiled(noisy)(x, key)
    assert np.array_equal(one.x, again.x)
    assert not np.array_equal(one.logits, quiet.logits)
    calm = compiled(dataclasses.replace(noisy, jitter=0.0))(x, key)
    tokens = dataclasses.replace(SPEC, jitter=0.3, jittered="tokens")
    both, router = compiled(tokens)(x, key), compiled(dataclasses.replace(SPEC, jitter=0.3))(x, key)
    assert np.array_equal(both.logits, router.logits)
    assert not np.allclose(both.x, router.x, atol=1e-2)
    assert np.array_equal(calm.logits, quiet.logits)
    assert not np.array_equal(calm.x, quiet.x)


def test_wrong_numbers_of_experts_are_refused():
    with pytest.raises(ValueError, match=r"top \(6\) must lie between 1 and .* \(5\)"):
        dataclasses.replace(SPEC, top=6)
    with pytest.raises(ValueError, match=r"capacity \(0\)"):
        dataclasses.replace(SPEC, capacity=0)
    for groups, kept in ((2, 1), (5, 3)):
        with pytest.raises(ValueError, match="groups"):
            dataclasses.replace(SPEC, router=Sigmoid(groups=groups, kept=kept))
    with pytest.raises(ValueError, match="unknown activation 'swoosh'"):
        Experts(ExpertsSpec(2, 1, FeedForwardSpec(3, "swoosh")), D, spec.Initial())


MESHES = """
import jax, jax.numpy as jnp, numpy as np
from transformers_jax import shard, spec
from transformers_jax.nn.experts import Experts, ExpertsSpec, Shared
from transformers_jax.nn.feedforward import ClampedSwiglu, FeedForwardSpec
from transformers_jax.nn.param import axes, bind, initialise, params
from transformers_jax.nn.routers import Sigmoid, Softmax, SoftmaxOfTop

ffn = FeedForwardSpec(hidden=12, activation="silu", gated=True, dropout=0.3)
of = {}
of["softmax"] = ExpertsSpec(8, 2, ffn, Softmax(bias=True), Shared(ffn, gated=True), capacity=5)
of["of top"] = ExpertsSpec(8, 2, FeedForwardSpec(12, gated=ClampedSwiglu()), SoftmaxOfTop(True))
of["sigmoid"] = ExpertsSpec(8, 2, ffn, Sigmoid(groups=4, kept=2, normalise=True), Shared(ffn))
x = jax.random.normal(jax.random.key(1), (8, 13, 6))
mesh = shard.make_mesh(shape := {"experts": 2, "fsdp": 2, "tensor": 2})

for experts in [of[name] for name in CHOSEN]:
    module = initialise(Experts(experts, 6, spec.Initial(0.5)), jax.random.key(0))
    values = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(3), x.shape),
                          params(module))

    def run(values, x):
        loss = lambda p, x: (bind(module, p)(x, key=jax.random.key(2))[0] ** 2).sum()
        return jax.jit(jax.value_and_grad(loss, (0, 1)))(values, x)

    expected = run(values, x)
    placed = jax.device_put(values, shard.shardings(axes(module), values, mesh))
    held = shape.get("experts", 1) * shape.get("tensor", 1) * shape.get("fsdp", 1)
    assert placed["up"].addressable_shards[0].data.size * held == values["up"].size
    with shard.use(mesh):
        actual = run(placed, jax.device_put(x, shard.batch_sharding(mesh)))
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(jnp.abs(b).max()))
    shuffled = run(values, x[::-1])
    noise = not np.allclose(expected[0], shuffled[0], rtol=1e-6)
    assert noise == bool(experts.ffn.dropout), "the control: noise has positions"
print("agrees")
"""


@pytest.mark.parametrize(
    "chosen", [["sigmoid"], pytest.param(["softmax", "of top"], marks=pytest.mark.slow)]
)
def test_eight_devices_serve_what_one_serves(on_eight_devices, chosen):
    program = MESHES.replace("CHOSEN", repr(chosen))
    assert on_eight_devices(program).stdout == "agrees\n"
