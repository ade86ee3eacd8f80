"""Linear attention: what sums over keys give is what the matrix gives, along the masks they can."""

import functools
import math

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws import mask_cases
from tests.laws.mask_cases import CASES
from tests.nn.test_attention_variants import decoder
from transformers_jax import spec
from transformers_jax.graph import CAUSAL, FULL, Before, Near, Same, Where, connect, sequence
from transformers_jax.nn.attend import Refused, Score, attend, linear, reference
from transformers_jax.nn.attend.linear import KernelRule
from transformers_jax.nn.attention import AttentionSpec

SCORE = Score(KernelRule())


@pytest.fixture
def small(monkeypatch):
    """Chunks that cut the short rows of these tests, and none that are read as a matrix."""
    monkeypatch.setattr(linear, "CHUNK", 8)
    monkeypatch.setattr(linear, "FEW", 0)


def graded(how, edges, q, k, v, **options):
    """(output, gradients of a sum of sines) by an engine, compiled."""

    def loss(q, k, v, edges):
        out = attend(q, k, v, edges, scale=1.0, score=SCORE, how=how, **options)
        return jnp.sin(out).sum(), out

    run = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
    (_, out), gradients = run(q, k, v, edges)
    return out, gradients


def compare(edges, *arrays, tolerance=5e-5, **options):
    one, other = (graded(how, edges, *arrays, **options) for how in ("linear", "reference"))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=tolerance), one, other
    )
    return one[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_graph_is_computed_exactly_or_refused(small, case):
    arrays = mask_cases.inputs(case)
    edges, qkv = mask_cases.edges_of(case, arrays), [arrays[name] for name in "qkv"]
    if linear.is_order(case.mask):
        compare(edges, *qkv)
        return
    with pytest.raises(Refused, match=r"attention 'linear' refuses: .*; use 'auto' or 'tiled'"):
        attend(*qkv, edges, scale=1.0, score=SCORE, how="linear")
    by_auto = attend(*qkv, edges, scale=1.0, score=SCORE)  # the advice
    np.testing.assert_allclose(
        by_auto, reference.attend(*qkv, edges, scale=1.0, score=SCORE), atol=5e-6
    )


def test_which_graphs_are_expressed():
    got = {case.name for case in CASES if linear.is_order(case.mask)}
    assert got >= {"full", "causal", "packed"}
    assert not {"window", "prefix", "global", "dead rows", "complement"} & got
    for mask, reason in {
        CAUSAL
        & Near(left=3): r"Near\(left=3\) takes keys out of a sum; it adds them, by Full, Before",
        CAUSAL | Where("prefix"): r"CAUSAL \| Where\('prefix'\) takes keys out",
        CAUSAL & Before("time"): "index and time are two orders of its tokens, not one",
    }.items():
        with pytest.raises(Refused, match=reason):
            linear.order_of(mask)


def draw(B, T, S, seed=0, H=6, G=2, K=5, U=7):
    rng = np.random.default_rng(seed)
    sizes = (B, T, H, K), (B, S, G, K), (B, S, G, U)
    return [rng.normal(size=size).astype(np.float32) for size in sizes]


@pytest.mark.parametrize(
    "mask", [CAUSAL & Same("document"), Same("document"), Before("time")], ids=str
)
def test_tags_in_any_order(small, mask):
    """Documents that are mixed, times that are equal, and keys that are not the queries."""
    rng, (B, T, S) = np.random.default_rng(1), (2, 29, 37)
    tags = lambda n: {
        "document": rng.integers(0, 3, (B, n)).astype(np.int32),
        "time": rng.integers(0, 9, (B, n)).astype(np.int32),
    }
    keys = sequence(S, tags=tags(S), valid=rng.random((B, S)) < 0.8)
    out = compare(connect(mask, sequence(T, start=4, tags=tags(T)), keys), *draw(B, T, S))
    assert np.isfinite(out).all()
    own = sequence(S, tags=tags(S))
    whole = compare(connect(mask, own), *draw(B, S, S))
    forgot = attend(*draw(B, S, S), connect(CAUSAL, own), scale=1.0, score=SCORE)  # the control
    assert np.abs(whole - forgot).max() > 1e-2


def test_known_tags_are_sorted_while_tracing(small):
    document = (np.arange(30)[None] // 7).astype(np.int32)
    nodes = sequence(30, tags={"document": document})
    edges = connect(CAUSAL & Same("document"), nodes)
    run = lambda q, k, v: attend(q, k, v, edges, scale=1.0, score=SCORE, how="linear")
    text = str(jax.make_jaxpr(run)(*draw(2, 30, 30)))
    assert "sort" not in text
    assert "gather" not in text
    np.testing.assert_allclose(
        run(*draw(2, 30, 30)),
        reference.attend(*draw(2, 30, 30), edges, scale=1.0, score=SCORE), atol=5e-6,
    )  # fmt: skip


def test_queries_without_keys_give_zero_and_sinks_take_weight(small):
    edges = connect(CAUSAL, sequence(20), sequence(20, start=5))
    out, gradients = graded("linear", edges, *draw(1, 20, 20))
    assert not out[:, :5].any()
    assert not gradients[0][:, :5].any()
    compare(edges, *draw(1, 20, 20))
    compare(edges, *draw(1, 20, 20), sinks=np.linspace(-1, 2, 6).astype(np.float32))


def test_long_queries_do_not_single_out_a_key():
    """Where an exponential becomes a choice, the share of a product of feature maps stays flat."""
    q, k, v = draw(1, 20, 20)
    edges = connect(FULL, sequence(20))

    def highest(score, size):
        options = dict(scale=5**-0.5, score=score)
        return reference.attend_with_weights(size * q, k, v, edges, **options)[1].max(-1).mean()

    assert highest(None, 100) > 0.95
    assert highest(SCORE, 100) < 0.25
    assert highest(SCORE, 1000) < 0.25


def test_few_queries_are_rows_of_the_matrix():
    q, k, v = draw(2, 40, 40)
    whole = attend(q, k, v, connect(CAUSAL, sequence(40)), scale=1.0, score=SCORE, how="linear")
    row = connect(CAUSAL, sequence(1, start=39), sequence(40))
    last = attend(q[:, 39:], k, v, row, scale=1.0, score=SCORE, how="linear")
    np.testing.assert_allclose(last, whole[:, 39:], atol=5e-6)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"score": None}, r"feature maps \(spec.Kernel\), not softmax of scaled products"),
        ({"softcap": 2.0}, "no scores that a soft cap could bound"),
        ({"dropout": 0.1, "key": jax.random.key(0)}, "no weights that dropout could drop"),
    ],
)  # fmt: skip
def test_what_is_no_sum_is_refused(options, reason):
    run = functools.partial(attend, *draw(1, 20, 20), connect(FULL, sequence(20)), scale=1.0)
    with pytest.raises(Refused, match=reason):
        run(**{"score": SCORE, "how": "linear", **options})
    if options.get("score", True):
        assert np.isfinite(run(**{"score": SCORE, **options})).all()  # `auto` goes on


# ---------------------------------------------------------------- cost


def products(jaxpr, times=1):
    """(multiplications of products, numbers of the largest array) of a program."""
    count, largest = 0, 0
    for eqn in jaxpr.eqns:
        largest = max([largest, *(math.prod(x.aval.shape) for x in eqn.outvars)])
        if eqn.primitive.name == "dot_general":
            (inner, _), _ = eqn.params["dimension_numbers"]
            size = math.prod(eqn.invars[0].aval.shape[n] for n in inner)
            count += times * size * math.prod(eqn.outvars[0].aval.shape)
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            more, size = products(inner, times * eqn.params.get("length", 1))
            count, largest = count + more, max(largest, size)
    return count, largest


def cost(how, length, mask):
    nodes = sequence(length, tags={"document": np.zeros((1, length), np.int32)})

    def loss(q, k, v, document):
        edges = connect(mask, nodes.with_tags(document=document))
        return attend(q, k, v, edges, scale=1.0, score=SCORE, how=how).sum()

    arrays = [*draw(1, length, length, G=6, K=8, U=8), np.zeros((1, length), np.int32)]
    return np.array(products(jax.make_jaxpr(jax.grad(loss, (0, 1, 2)))(*arrays).jaxpr))


@pytest.mark.parametrize("mask", [FULL, CAUSAL, CAUSAL & Same("document")], ids=str)
def test_time_and_memory_are_linear_in_the_tokens(mask):
    few, many = (cost("linear", length, mask) for length in (512, 2048))
    assert (many <= 4.01 * few).all()
    few, many = (cost("reference", length, mask) for length in (512, 2048))
    assert (many >= 15 * few).all()  # the control


def test_flops_are_linear_where_sums_serve_all_queries():
    def flops(score, mask, length):
        op = AttentionSpec(3, 8, mask=mask, score=score)
        return op.flops(24, length, length, lambda mask: length**2).attention

    for mask in (FULL, CAUSAL):
        assert flops(spec.Kernel(), mask, 400) == 4 * flops(spec.Kernel(), mask, 100)
        assert flops(None, mask, 400) == 16 * flops(None, mask, 100)
    window = CAUSAL & Near(left=9)
    assert flops(spec.Kernel(), window, 400) == flops(None, window, 400)


# ---------------------------------------------------------------- models


def test_a_long_prompt_and_its_steps_are_the_forward_pass(small):
    model, ids = (
        decoder("linear", attention="linear"),
        np.random.default_rng(0).integers(0, 31, (2, 30)),
    )
    whole = model(input_ids=ids).logits
    other = tj.bind(decoder("linear", attention="reference"), tj.functional(model)[1])
    np.testing.assert_allclose(whole, other(input_ids=ids).logits, rtol=1e-4, atol=2e-5)
    step = model(input_ids=ids[:, :21], cache=tj.init_cache(model, 2, 32))
    np.testing.assert_allclose(step.logits, whole[:, :21], rtol=1e-4, atol=2e-5)
    for t in range(21, 30):
        step = model(input_ids=ids[:, t : t + 1], cache=step.cache)
        np.testing.assert_allclose(step.logits, whole[:, t : t + 1], rtol=1e-4, atol=2e-5)


def test_documents_of_a_row_are_read_as_if_alone(small):
    model = decoder("linear", attention="linear", mask=tj.OWN & Same("document"))
    ids = np.random.default_rng(0).integers(0, 31, (1, 30))
    document = (np.arange(30)[None] >= 13).astype(np.int32)
    places = np.arange(30)[None] - 13 * document
    both = model(input_ids=ids, tags={"document": document}, position_ids=places).logits
    zeros = np.zeros((1, 17), np.int32)
    alone = model(input_ids=ids[:, 13:], tags={"document": zeros}).logits
    np.testing.assert_allclose(both[:, 13:], alone, rtol=1e-4, atol=2e-5)


def test_a_model_with_a_window_is_refused_by_name_and_run_by_auto():
    ids = np.random.default_rng(0).integers(0, 31, (1, 30))
    mask = tj.OWN & Near(left=4)
    with pytest.raises(ValueError, match=r"Near\(left=4\) takes keys out of a sum"):
        decoder("linear", attention="linear", mask=mask)(input_ids=ids)
    decoder("linear", mask=mask)(input_ids=ids)  # the advice
    plain = tj.GPT2Config(vocab_size=31, n_positions=32, n_embd=12, n_layer=1, n_head=3)
    model = tj.from_config(plain, key=jax.random.key(0), attention="linear")
    with pytest.raises(ValueError, match="not softmax of scaled products"):
        model(input_ids=ids)
