"""Custom operations are a record and a module; settings of a branch are used or refused."""

import collections
import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import CAUSAL, FULL, connect, sequence
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.cache import CacheSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.operation import Op, OpResult, Source
from transformers_jax.nn.param import bind, initialise, param, params
from transformers_jax.nn.position import rotation
from transformers_jax.nn.residual import Gate, LayerScale, Modulate
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import (
    Branch,
    Buckets,
    EdgeFeatures,
    Execution,
    LayerNorm,
    OpFlops,
    OpSpec,
    RMSNorm,
    Rotary,
    StackSpec,
    Summaries,
)
from transformers_jax.training.flops import _stack as flops_of

D, T = 12, 7


@dataclass(frozen=True)
class ScaleSpec(OpSpec):
    """A custom operation: x times a vector."""

    factor: float = 1.0
    collects = frozenset({"scaled"})

    def build(self, width, initial, source=None):
        return Scale(self, width, initial)

    def flops(self, width, queries, keys, edges):
        return OpFlops(2.0 * width * queries)

    def describe(self):
        return f"times {self.factor:g}"


class Scale(Op):
    def __init__(self, scale, width, initial):
        self.spec = scale
        self.weight = param("embed", {"embed": width}, initial.draw("scale", {"embed": width}))

    def apply(self, x, context, *, cache=None, key=None):
        y = x * self.weight[...] * self.spec.factor
        return OpResult(y, None, {"scaled": y} if "scaled" in context.collect else {})


ATTEND = AttentionSpec(heads=3, kv=4, mask=CAUSAL)


def stack_of(*blocks, execution=Execution(), **more):
    return initialise(Stack(StackSpec(D, blocks, **more), execution), jax.random.key(0))


def stream(length=T):
    return jax.random.normal(jax.random.key(1), (2, length, D)), sequence(length)


@pytest.mark.parametrize("layers", ["stacked", "list"])
@pytest.mark.parametrize("remat", [None, "ffn", "full"])
def test_a_stack_runs_a_custom_operation(layers, remat):
    block = (Branch("self", ATTEND, RMSNorm()), Branch("scale", ScaleSpec(factor=3.0)))
    stack = stack_of(block, block, execution=Execution(layers=layers, remat=remat))
    x, nodes = stream()
    ran = stack(x, nodes, collect=frozenset({"hidden"}))
    single = stack_of(block[:1], block[:1])(x, nodes)
    assert not np.allclose(ran.x, single.x)
    assert len(ran.hidden) == 3
    assert flops_of(stack.spec, T, T)[0] > 2 * 2.0 * D * T
    grads = jax.grad(lambda x: stack(x, nodes).x.sum())(x)
    assert np.isfinite(grads).all()


def test_two_branches_of_one_name_are_refused():
    """Otherwise the second would use the parameters of the first."""
    twice = (Branch("ffn", FeedForwardSpec(16)), Branch("ffn", FeedForwardSpec(16)))
    with pytest.raises(ValueError, match="two branches of a block are called 'ffn'"):
        stack_of(twice)
    with pytest.raises(ValueError, match="are called 'ffn_norm'"):
        stack_of((Branch("ffn", FeedForwardSpec(16)), Branch("ffn_norm", FeedForwardSpec(16))))
    apart = stack_of((twice[0], Branch("ffn2", FeedForwardSpec(16))))
    weights = params(apart)["blocks"]["0"]
    assert weights["ffn"]["up"].shape == weights["ffn2"]["up"].shape
    assert not np.array_equal(weights["ffn"]["up"], weights["ffn2"]["up"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rotary", Rotary(1e4)),
        ("relations", (FULL,)),
        ("score", Buckets(8, 16, directed=False)),
        ("extend", Summaries(2, RMSNorm())),
    ],
)
def test_what_would_not_be_computed_of_a_source_is_refused(name, value):
    with pytest.raises(ValueError, match=f"attends to 'encoder', and its {name} would not"):
        Branch("cross", AttentionSpec(3, 4, **{name: value}), source="encoder")
    Branch("self", AttentionSpec(3, 4, **{name: value}))  # the control: of the stream it is


def test_a_branch_of_unknown_settings_or_with_a_source_it_does_not_read_is_refused():
    with pytest.raises(ValueError, match="placement of the branch 'ffn' is 'poost'; not 'pre', 'p"):
        Branch("ffn", FEED, placement="poost")
    with pytest.raises(ValueError, match="reads of the branch 'ffn' is 'blok'; not 'stream', 'bl"):
        Branch("ffn", FEED, reads="blok")
    with pytest.raises(ValueError, match="source 'encoder', and its operation attends to nothing"):
        Branch("ffn", FEED, source="encoder")
    with pytest.raises(ValueError, match=r"'ffn' reads what the first .* norm of its own as well"):
        Branch("ffn", FEED, RMSNorm(), reads="normed")
    with pytest.raises(ValueError, match="the first branch of a block, 'ffn', reads what the fir"):
        StackSpec(D, ((Branch("ffn", FEED, reads="normed"),),))


def test_an_attention_needs_the_rotation_and_the_relations_that_it_declares():
    x, nodes = stream()
    edges = connect(CAUSAL, nodes)
    rotary = initialise(Attention(AttentionSpec(3, 4, rotary=Rotary(1e4)), D), jax.random.key(0))
    with pytest.raises(ValueError, match="this attention needs a rotation"):
        rotary(x, edges)
    plain = initialise(Attention(AttentionSpec(3, 4), D), jax.random.key(0))
    with pytest.raises(ValueError, match="has no rotary position, and takes no rotation"):
        plain(x, edges, rotation=rotation(Rotary(1e4), 4, nodes))
    both = AttentionSpec(3, 4, relations=(FULL,))
    related = initialise(Attention(both, D), jax.random.key(0))
    with pytest.raises(ValueError, match="1 relations beside its mask, and the edges of 0 came"):
        related(x, edges)
    assert related(x, edges, more=(connect(FULL, nodes),)).x.shape == x.shape


def test_each_branch_attends_to_the_source_of_its_name():
    cross = AttentionSpec(heads=3, kv=4)
    block = tuple(Branch(name, cross, source=name) for name in ("image", "text"))
    stack = stack_of(block)
    x, nodes = stream()
    image, text = (Source(s * rows_of(5), sequence(T)) for s in (1.0, -1.0))
    both = stack(x, nodes, sources={"image": image, "text": text}).x
    other = stack(x, nodes, sources={"image": text, "text": image}).x
    assert jnp.abs(both - other).max() > 1e-3
    cache = stack.init_cache(2, CacheSpec(T, jnp.float32), {"image": image, "text": text})
    np.testing.assert_allclose(stack(x, nodes, cache=cache).x, both, atol=1e-6)
    with pytest.raises(ValueError, match="this stack attends to 'text': it needs those tokens"):
        stack(x, nodes, sources={"image": image})
    with pytest.raises(ValueError, match="no branch of this stack attends to 'sound'; they attend"):
        stack(x, nodes, sources={"image": image, "text": text, "sound": text})


def test_further_outputs_of_any_operation_are_collected_per_layer():
    stack = stack_of(*(((Branch("scale", ScaleSpec(2.0)),),) * 2))
    x, nodes = stream()
    ran = stack(x, nodes, collect=frozenset({"scaled"}))
    first, second = ran.collected["scaled"]
    np.testing.assert_allclose(ran.x, x + first + second, atol=1e-6)
    assert not stack(x, nodes).collected


def test_two_attentions_of_a_block_have_caches_and_weights_of_their_own():
    block = (Branch("first", ATTEND, RMSNorm()), Branch("second", ATTEND, RMSNorm()))
    stack = stack_of(block)
    x, nodes = stream()
    whole = stack(x, nodes, collect=frozenset({"weights"}))
    assert len(whole.weights) == 2
    assert not np.allclose(*whole.weights)
    cache = stack.init_cache(2, CacheSpec(T, jnp.float32))
    parts = []
    for start in range(T):
        ran = stack(x[:, start : start + 1], sequence(1, start=start), cache=cache)
        cache, parts = ran.cache, [*parts, ran.x]
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole.x, atol=1e-5)


def test_no_two_sources_of_noise_have_one_key(monkeypatch):
    """Layers are left out by a key that no branch uses, however many branches a layer has."""
    seen, fold_in, key_data = collections.Counter(), jax.random.fold_in, jax.random.key_data

    def counted(key, number):
        if not isinstance(key, jax.core.Tracer):
            seen[tuple(np.asarray(key_data(key)).tolist()), int(number)] += 1
        return fold_in(key, number)

    few = (Branch("ffn", FeedForwardSpec(16), LayerNorm(), dropout=0.1),)
    many = (*few, *(Branch(f"ffn{n}", FeedForwardSpec(16), dropout=0.1) for n in range(3)))
    stack = stack_of(few, many, execution=Execution(layers="list"), layerdrop=0.3)
    monkeypatch.setattr(jax.random, "fold_in", counted)
    stack(*stream(), key=jax.random.key(2))
    assert len(seen) > 6
    assert set(seen.values()) == {1}, seen


# ---------------------------------------------------------------- residuals

FEED = FeedForwardSpec(16, "gelu")


def layers_of(*branches, depth=2):
    blocks = (branches,) * depth
    stack = Stack(StackSpec(D, blocks), Execution())
    return initialise(stack, jax.random.key(0))


def rows_of(key=1, rows=2):
    return jax.random.normal(jax.random.key(key), (rows, T, D))


def filled(module, value):
    """The module with each parameter of a residual at `value`."""
    values = jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.full_like(x, value) if "_residual" in str(path) else x, params(module)
    )
    return bind(module, values)


def test_a_gate_begins_closed_and_opens():
    closed = layers_of(Branch("ffn", FEED, LayerNorm(), residual=Gate()))
    x = rows_of()
    np.testing.assert_array_equal(closed(x, sequence(T)).x, x)
    plain = bind(
        layers_of(Branch("ffn", FEED, LayerNorm())),
        {
            "blocks": {
                "0": {n: v for n, v in params(closed)["blocks"]["0"].items() if "res" not in n}
            }
        },
    )
    added = plain(x, sequence(T)).x
    wide = filled(closed, 20.0)(x, sequence(T)).x
    np.testing.assert_allclose(wide, added, rtol=1e-5, atol=1e-5)
    assert jnp.abs(filled(closed, 0.1)(x, sequence(T)).x - added).max() > 1e-3  # the control


def test_layer_scale_begins_at_its_value():
    scaled = layers_of(Branch("ffn", FEED, LayerNorm(), residual=LayerScale(1e-3)), depth=1)
    x, nodes = rows_of(), sequence(T)
    whole = filled(scaled, 1.0)(x, nodes).x - x
    np.testing.assert_allclose(scaled(x, nodes).x - x, 1e-3 * whole, atol=1e-6)
    (scale,) = (v for n, v in params(scaled)["blocks"]["0"].items() if n == "ffn_residual")
    assert scale["scale"].shape == (1, D)


def test_a_condition_modulates_each_row_and_is_needed():
    branch = Branch("ffn", FEED, LayerNorm(), residual=Modulate(condition=5))
    stack, x, nodes = layers_of(branch), rows_of(), sequence(T)
    condition = jnp.stack([jnp.ones(5), -jnp.ones(5)])
    np.testing.assert_array_equal(stack(x, nodes, condition=condition).x, x)  # begins at zero
    open_ = filled(stack, 0.3)
    both, other = (open_(x, nodes, condition=c).x for c in (condition, condition[::-1]))
    assert jnp.abs(both - other).max() > 1e-3
    single = open_(x[:1], nodes, condition=condition[:1]).x
    np.testing.assert_allclose(both[:1], single, atol=1e-6)
    with pytest.raises(ValueError, match=r"modulated by a condition \[B 5\]; None came"):
        stack(x, nodes)
    with pytest.raises(ValueError, match="modulated by no condition; 5 came"):
        layers_of(Branch("ffn", FEED))(x, nodes, condition=condition)


@pytest.mark.parametrize(
    ("residual", "flops"),
    [(Gate(), 0), (LayerScale(1e-3), 0), (Modulate(condition=5), 3 * 2 * 5 * 3 * D)],
)
def test_the_products_of_a_residual_are_counted_once_a_row(residual, flops):
    stack = layers_of(Branch("ffn", FEED, LayerNorm(), residual=residual), depth=3)
    plain = layers_of(Branch("ffn", FEED, LayerNorm()), depth=3)
    for length in (T, 3 * T):
        counted, without = (flops_of(s.spec, length, length)[0] for s in (stack, plain))
        assert counted - without == flops
        assert without == 3 * FEED.flops(D, length, length, None).projections
    weight = params(stack)["blocks"]["0"]["ffn_residual"].get("weight", jnp.zeros(0))
    assert 2 * weight.size == flops  # each number is multiplied once


def test_norms_on_both_sides_of_an_operation():
    both = layers_of(Branch("ffn", FEED, RMSNorm(1e-12), "both"), depth=1)
    block = params(both)["blocks"]["0"]
    assert {"ffn_norm", "ffn_norm_behind"} <= set(block)
    x, nodes = rows_of(), sequence(T)
    delta = both(x, nodes).x - x
    np.testing.assert_allclose(jnp.square(delta).mean(-1), 1.0, rtol=1e-3)  # normalised


# ---------------------------------------------------------------- features of edges


@pytest.mark.parametrize("categories", [False, True])
@pytest.mark.parametrize("where", ["layer", "stack"])
def test_features_of_edges_are_scores(categories, where):
    features = EdgeFeatures("bond", 4, categories)
    attend = dataclasses.replace(ATTEND, score=features if where == "layer" else None)
    branch = Branch("self", attend, LayerNorm())
    spec = StackSpec(D, ((branch,),), score=features if where == "stack" else None)
    stack = initialise(Stack(spec, Execution()), jax.random.key(0))
    values = jax.tree_util.tree_map_with_path(
        lambda path, x: 30 * x if "score" in str(path) else x, params(stack)
    )
    (x, nodes), rng = stream(), np.random.default_rng(0)
    bond = rng.integers(0, 4, (2, T, T)) if categories else rng.normal(size=(2, T, T, 4))
    bond = jnp.asarray(bond, jnp.int32 if categories else jnp.float32)

    def of(values, bond):
        return bind(stack, values)(x, nodes, pairs={"bond": bond}).x

    # the bias by hand, on the one layer's scores
    table = values["score"] if where == "stack" else values["blocks"]["0"]["self"]["score"]
    weight = table["weight"] if where == "stack" else table["weight"][0]
    by_hand = weight[bond] if categories else bond @ weight
    plain = initialise(
        Stack(StackSpec(D, ((Branch("self", ATTEND, LayerNorm()),),)), Execution()),
        jax.random.key(0),
    )
    own = jax.tree.map(lambda x: x, values)
    own.pop("score", None)
    own["blocks"]["0"]["self"] = {
        n: v for n, v in own["blocks"]["0"]["self"].items() if n != "score"
    }

    class Constant(ScoreRule):
        def __call__(self, params, q, k, qn, kn, pairs):
            return params

    score = Score(Constant(), jnp.moveaxis(by_hand, -1, 1))
    expected = bind(plain, own)(x, nodes, scores={"self": score}).x
    np.testing.assert_allclose(of(values, bond), expected, atol=1e-5)
    unlike = of(values, (bond + 1) % 4 if categories else bond + jnp.arange(T)[:, None])
    assert jnp.abs(unlike - expected).max() > 1e-4  # the control
    if not categories:  # features are learned through
        assert jnp.abs(jax.grad(lambda b: of(values, b).sum())(bond)).max() > 0
    with pytest.raises(ValueError, match="scores read the features"):
        stack(x, nodes)
