"""Stacks: which layers share an array, and that storage changes no result."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import CAUSAL, FULL, Near, Where, sequence, spec
from transformers_jax.models.big_bird import Blocks
from transformers_jax.models.longformer import GlobalTokens
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.cache import CacheSpec
from transformers_jax.nn.extend import SummaryBlocks
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.layers import restack, unstack
from transformers_jax.nn.param import bind, initialise, params
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Branch, Execution, LayerNorm, Layout, RMSNorm

D, T = 12, 9


def block(mask=FULL, reads="stream", norm=RMSNorm(), **more):
    """A layer of self-attention and an MLP."""
    attention = AttentionSpec(heads=3, kv=4, mask=mask, **more)
    return (
        Branch("self", attention, norm),
        Branch("ffn", FeedForwardSpec(16, "relu"), RMSNorm(), reads=reads),
    )


LAYERS = {name: block(Near(n, n)) for n, name in enumerate("ABCDEF")}


def segments(text):
    """The segments of layers that are named by letters, as text."""
    parts = spec.segments_of(tuple(LAYERS[name] for name in text))
    names = {layer: name for name, layer in LAYERS.items()}
    return " ".join(
        f"{''.join(names[layer] for layer in part.pattern)}x{part.repeats}" for part in parts
    )


def test_a_repeating_pattern_is_detected():
    assert segments("AAAA") == "Ax4"
    assert segments("ABABAB") == "ABx3"
    assert segments("AABAAB") == "AABx2"
    assert segments("ABABA") == "ABx2 Ax1"  # the remainder comes last
    assert segments("CBBABBABBA") == "Cx1 BBAx3"
    assert segments("ABCDEF") == "ABCDEFx1"
    assert segments("AAABBB") == "Ax3 Bx3"


def test_every_layer_is_in_one_slot_of_equal_layers():
    for text in map("".join, itertools.product("ABC", repeat=5)):
        stack = spec.StackSpec(D, tuple(LAYERS[name] for name in text))
        indices = sorted(n for layers in stack.slots for n in layers)
        assert indices == list(range(5)), text
        assert all(len({text[n] for n in layers}) == 1 for layers in stack.slots), text
        assert len(stack.slots) >= len(set(text))  # the control: never fewer than kinds


def stack_of(blocks, *, seed=0, **options):
    large = spec.Initial(std=0.3)
    described = spec.StackSpec(D, blocks, initial=large, **options)
    stack = Stack(described, Execution(unroll=False))
    return initialise(stack, jax.random.key(seed))


def inputs(seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2, T, D)), jnp.float32)


def run(stack, x, **options):
    return jax.jit(lambda x: stack(x, sequence(T), **options).x)(x)


MIXED = (block(Near(0, 0)), *(block(CAUSAL), block(FULL)) * 2, block(CAUSAL))


@pytest.mark.parametrize("how", [dict(unroll=True), dict(layers="list")])
def test_layers_of_several_segments_agree_however_they_are_run(how):
    stack = stack_of(MIXED)
    assert [len(layers) for layers in stack.spec.slots] == [1, 1, 2, 2]
    other = Stack(stack.spec, Execution(**how))
    values = params(stack)
    values = unstack(values, stack.spec) if "layers" in how else values
    np.testing.assert_allclose(run(bind(other, values), inputs()), run(stack, inputs()), atol=2e-6)
    swapped = stack_of((MIXED[1], MIXED[0], *MIXED[2:]))  # the control: the order of layers counts
    assert np.abs(run(swapped, inputs()) - run(stack, inputs())).max() > 1e-2


def test_a_list_of_layers_is_restacked_as_it_was():
    stack = stack_of(MIXED)
    values = params(stack)
    again = restack(unstack(values, stack.spec), stack.spec)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, again, values))
    assert list(unstack(values, stack.spec)["blocks"]) == list("012345")


def test_a_cache_of_several_segments_equals_the_whole_row():
    blocks = (block(CAUSAL & Near(left=3)), *(block(CAUSAL), block(CAUSAL & Near(left=2))) * 2)
    stack, x = stack_of(blocks), inputs()
    cache, parts = stack.init_cache(2, CacheSpec(T, jnp.dtype("float32"))), []
    step = jax.jit(lambda x, cache: stack(x, sequence(1, start=cache.length), cache=cache)[:2])
    for position in range(T):
        out, cache = step(x[:, position : position + 1], cache)
        parts.append(out)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), run(stack, x), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("unroll", [False, True])
def test_layers_that_share_parameters_are_copies(unroll):
    shared = stack_of((block(),) * 2, order=(0, 0, 1))
    apart = stack_of((block(),) * 3)
    copies = jax.tree.map(lambda leaf: leaf[np.array([0, 0, 1])], params(shared))
    same = Stack(shared.spec, Execution(unroll=unroll))
    expected = run(bind(apart, copies), inputs())
    np.testing.assert_allclose(run(bind(same, params(shared)), inputs()), expected, atol=2e-6)
    listed = Stack(shared.spec, Execution(layers="list"))
    values = unstack(params(shared), shared.spec)
    np.testing.assert_allclose(run(bind(listed, values), inputs()), expected, atol=2e-6)
    assert np.abs(run(stack_of((block(),) * 2), inputs()) - expected).max() > 1e-2  # the control


@pytest.mark.parametrize("how", [dict(unroll=True), dict(unroll=False), dict(layers="list")])
def test_layers_of_one_kind_among_several_are_applied_again(how):
    """A Perceiver's latents hear the input once, and apply the layers behind that twice."""
    near, order = block(Near(1, 1)), (0, 1, 2, 1, 2)
    shared = stack_of((near, block(), block()), order=order)
    assert [len(layers) for layers in shared.spec.slots] == [1, 2]
    apart = stack_of((near, *(block(),) * 4))
    trees = unstack(params(shared), shared.spec)["blocks"]
    copies = {"blocks": {str(n): trees[str(owner)] for n, owner in enumerate(order)}}
    expected = run(bind(apart, restack(copies, apart.spec)), inputs())
    other = Stack(shared.spec, Execution(**how))
    values = params(shared)
    values = unstack(values, shared.spec) if "layers" in how else values
    np.testing.assert_allclose(run(bind(other, values), inputs()), expected, atol=5e-6)
    once = Stack(replace(shared.spec, order=()), shared.execution)  # the control
    assert np.abs(run(bind(once, params(shared)), inputs()) - expected).max() > 1e-2


def test_each_application_of_a_layer_has_noise_of_its_own():
    blocks = (block(Near(1, 1)), block(dropout=0.5))
    shared, apart = stack_of(blocks, order=(0, 1, 1)), stack_of((*blocks, blocks[1]))
    trees = unstack(params(shared), shared.spec)["blocks"]
    copies = {"blocks": {"0": trees["0"], "1": trees["1"], "2": trees["1"]}}
    same, key = bind(apart, restack(copies, apart.spec)), jax.random.key(0)
    noisy = run(shared, inputs(), key=key)
    np.testing.assert_allclose(noisy, run(same, inputs(), key=key), atol=5e-6)
    assert np.abs(noisy - run(shared, inputs())).max() > 1e-2  # the control


@pytest.mark.parametrize("order", [(0, 1, 0), (1, 0), (0,)])
def test_only_layers_that_are_alike_can_share(order):
    with pytest.raises(ValueError, match="layers that are all alike"):
        spec.StackSpec(D, (block(), block(CAUSAL)), order=order)


def test_a_branch_may_read_what_entered_the_block():
    x, stack = inputs(), stack_of((block(reads="block"),))
    one = jax.tree.map(lambda leaf: leaf[0], params(stack)["blocks"]["0"])
    part = lambda *names: stack_of((tuple(b for b in block() if b.name in names),))
    single = {}
    for kind in ("self", "ffn"):
        other = part(kind)
        values = {n: jax.tree.map(lambda leaf: leaf[None], one[n]) for n in (kind, f"{kind}_norm")}
        single[kind] = run(bind(other, {**params(other), "blocks": {"0": values}}), x) - x
    np.testing.assert_allclose(run(stack, x), x + single["self"] + single["ffn"], atol=2e-6)
    after = bind(stack_of((block(),)), params(stack))  # the control: one after the other
    assert np.abs(run(after, x) - run(stack, x)).max() > 1e-2


def test_a_branch_may_read_what_the_first_has_normalised():
    x, norm = inputs(), RMSNorm()
    attend, compute = block(norm=norm)
    both = stack_of(((attend, replace(compute, norm=None, reads="normed")),))
    held = params(both)["blocks"]["0"]
    assert "ffn_norm" not in held
    apart = stack_of(((attend, replace(compute, reads="block")),))  # with a norm for each
    two = {"blocks": {"0": {**held, "ffn_norm": held["self_norm"]}}}
    np.testing.assert_allclose(run(both, x), run(bind(apart, two), x), atol=2e-6)
    serial = bind(stack_of(((attend, compute),)), two)  # the control
    assert np.abs(run(serial, x) - run(both, x)).max() > 1e-2


def test_a_branch_that_enters_normalised_joins_what_it_read():
    x = inputs()
    pre = stack_of((block()[1:],))
    entry = bind(stack_of(((replace(block()[1], placement="entry"),),)), params(pre))
    scale = params(pre)["blocks"]["0"]["ffn_norm"]["scale"][0]
    normed = x / np.sqrt(np.mean(np.square(x), -1, keepdims=True) + RMSNorm().eps) * scale
    np.testing.assert_allclose(run(entry, x) - run(pre, x), normed - x, atol=2e-6)


def test_relations_add_their_messages():
    local, chosen = ~Where("chosen", of="query") & Near(1, 1), Where("chosen", of="query")
    x, tag = inputs(), np.array([[1, 0, 0, 0, 1, 0, 0, 0, 0]], np.int32)
    nodes = sequence(T, tags={"chosen": tag})
    call = lambda stack: stack(x, nodes).x
    both = stack_of((block(local, relations=(chosen,))[:1],))
    values = params(both)["blocks"]["0"]
    own = {n: leaf for n, leaf in values["self"].items() if n != "relations"}
    rest = {**own, **values["self"]["relations"]["0"]}
    single = []
    for mask, part in ((local, own), (chosen, rest)):
        stack = stack_of((block(mask)[:1],))
        single.append(call(bind(stack, {"blocks": {"0": {**values, "self": part}}})) - x)
    np.testing.assert_allclose(call(both), x + single[0] + single[1], atol=2e-6)
    assert np.abs(single[1][:, [0, 4]]).max() > 1e-2
    assert not np.abs(single[1][:, 1:4]).any()  # a query without edges receives nothing
    with pytest.raises(ValueError, match="keeps no cache"):
        both.init_cache(2, CacheSpec(T, jnp.dtype("float32")))


def test_summaries_are_keys_of_their_own():
    class Blocks(spec.Layout):
        def __call__(self, nodes):
            number = nodes.tag("index") // 3
            return nodes.with_tags(block=np.where(nodes.valid, number, -1))

    norm = LayerNorm()
    near = Near(0, 0) & ~Where("summary")
    extend = spec.Summaries(3, norm)
    stack = stack_of((block(near | Where("summary"), extend=extend)[:1],), layout=Blocks(), seed=3)
    valid = np.array([[1, 1, 1, 1, 1, 1, 0, 0, 0]] * 2, bool)
    x = inputs()
    answer = jax.jit(lambda x: stack(x, sequence(T, valid=valid)).x)
    moved = answer(x.at[:, 5].add(1.0)) - answer(x)
    assert (
        np.abs(moved[:, :6]).min(0).max(-1).all()
    )  # all attend to the summary of the second block
    unseen = answer(x.at[:, 7].add(1.0)) - answer(x)
    assert not np.abs(unseen[:, :6]).any()  # padding is part of no summary


@pytest.mark.parametrize(
    "layout", [Blocks(4, 8), GlobalTokens(), SummaryBlocks(4)], ids=lambda layout: str(layout)
)
def test_a_layout_declares_the_tags_that_it_writes(layout):
    """`generate` would require an undeclared tag from the caller."""
    nodes = sequence(12, valid=np.ones((1, 12), bool))
    assert set(layout(nodes).tags) - set(nodes.tags) == layout.tags
    ours = {c for c in Layout.__subclasses__() if c.__module__.startswith("transformers_jax.")}
    assert ours == {Blocks, GlobalTokens, SummaryBlocks}
