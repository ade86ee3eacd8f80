"""Attention edge by edge: what it promises beside the laws of masks, which it obeys as well."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax.graph import CAUSAL, FULL, Listed, Same, connect, matrices, sequence
from transformers_jax.graph.parse import parse
from transformers_jax.nn.attend import (
    Message,
    Refused,
    Score,
    attend,
    attend_with_weights,
    listed,
    reference,
)
from transformers_jax.nn.attend.score import Weighting
from transformers_jax.nn.edge_scores import AdditiveRule, EdgeKeyRule, EdgeValueRule
from transformers_jax.spec import Additive

N, E, H, G, K, U, F = 11, 40, 6, 2, 5, 7, 3


def graph(seed=0, rows=2, nodes=N, edges=E, distinct=True):
    """(queries, keys, values, a list of edges, features of edges) of rows with graphs of their own;
    an entry of each is none."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    pairs = [np.divmod(rng.permutation(nodes**2)[:edges], nodes) for _ in range(rows)]
    lists = np.array(pairs) if distinct else rng.integers(0, nodes, (rows, 2, edges))
    lists[:, :, 3] = -1
    q, k, v = draw(rows, nodes, H, K), draw(rows, nodes, G, K), draw(rows, nodes, G, U)
    return q, k, v, lists.astype(np.int32), draw(rows, edges, F)


def drawn(lists, features=None, nodes=N, mask=None):
    """The edges of a list, whose features are those of a pair array."""
    name = None if features is None else "features"
    pairs = {"list": lists, **({} if features is None else {"features": features})}
    return connect(Listed("list", name) if mask is None else mask, sequence(nodes), pairs=pairs)


def both(function, *arguments):
    """(value, gradient of a sum of sines) of a function of an engine, edge by edge and as a
    matrix."""
    results = []
    for how in ("edges", "reference"):
        run = functools.partial(function, how)
        loss = lambda *a, run=run: jnp.sin(run(*a)).sum()
        results.append((run(*arguments), jax.grad(loss, range(len(arguments)))(*arguments)))
    return results


def test_parts_of_the_edges_give_what_all_together_give(monkeypatch):
    q, k, v, lists, _ = graph(distinct=False)
    run = lambda: both(lambda how, *a: attend(*a, drawn(lists), scale=0.4, how=how), q, k, v)
    whole, matrix = run()
    monkeypatch.setattr(listed, "PART", 9 * H * U)  # of 80 edges: the last part is not full
    parts, _ = run()
    for other in (parts, matrix):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-6), whole, other)
    sizes = listed.planned(drawn(lists), Weighting(0.4), q.shape, v.shape)[1].target.shape
    assert sizes == (9, 9)  # parts, and edges of each


@pytest.mark.parametrize("leak", [None, 0.2])
@pytest.mark.parametrize("features", [False, True])
def test_additive_scores_are_those_of_the_matrix(leak, features):
    q, k, v, lists, numbers = graph()
    rng = np.random.default_rng(1)
    rule = AdditiveRule(Additive(leak, ("features", F) if features else None))
    params = {"vector": rng.normal(size=(H, K)), "edges": rng.normal(size=(F, H, K))}
    params = {n: x.astype(np.float32) for n, x in params.items() if features or n == "vector"}

    def run(how, q, k, v, params, numbers):
        edges = drawn(lists, numbers if features else None)
        return attend(q, k, v, edges, scale=1.0, score=Score(rule, params), how=how)

    one, other = both(run, q, k, v, params, numbers)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=5e-6), one, other)
    if features:  # the control: they matter
        assert np.abs(one[0] - run("edges", q, k, v, params, numbers[:, ::-1])).max() > 1e-2


def test_features_of_edges_are_in_keys_and_in_values():
    q, k, v, lists, numbers = graph()
    rng = np.random.default_rng(2)
    keys, values = (rng.normal(size=(F, H, n)).astype(np.float32) for n in (K, U))

    def run(how, q, k, v, keys, values, numbers):
        score = Score(EdgeKeyRule("features", 0.4), {"edges": keys})
        message = Message(EdgeValueRule("features"), {"edges": values})
        edges = drawn(lists, numbers)
        return attend(q, k, v, edges, scale=0.4, score=score, message=message, how=how)

    one, other = both(run, q, k, v, keys, values, numbers)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, other)
    # by hand: the features are a part of the keys and values of each edge
    source, target = (np.delete(lists[0], 3, 1))[0], (np.delete(lists[0], 3, 1))[1]
    own = np.delete(numbers[0], 3, 0)
    head = lambda x: np.repeat(x, H // G, 1)[source]
    edge_keys = head(k[0]) + np.einsum("ef,fhk->ehk", own, keys)
    edge_values = head(v[0]) + np.einsum("ef,fhk->ehk", own, values)
    scores = np.exp(0.4 * (q[0][target] * edge_keys).sum(-1))
    total, out = np.zeros((N, H)), np.zeros((N, H, U))
    np.add.at(total, target, scores)
    np.add.at(out, target, scores[..., None] * edge_values)
    expected = out / np.where(total, total, 1)[..., None]
    np.testing.assert_allclose(one[0][0], expected, atol=1e-5)


def test_a_pair_with_several_edges_and_features_is_no_matrix():
    q, k, v, lists, numbers = graph()
    lists[0, :, 7] = lists[0, :, 8]
    params = {"edges": np.ones((F, H, K), np.float32)}
    score = Score(EdgeKeyRule("features", 0.4), params)
    run = functools.partial(attend, q, k, v, drawn(lists, numbers), scale=0.4, score=score)
    matrix, edges = run(how="reference"), run()
    query = int(lists[0, 1, 7])
    assert np.isnan(matrix[0, query]).all()
    assert np.isfinite(edges).all()
    np.testing.assert_allclose(matrix[1], edges[1], atol=1e-5)


def test_weights_are_of_the_entries_of_the_list():
    q, k, v, lists, _ = graph()
    edges = drawn(lists)
    out, weights = attend_with_weights(q, k, v, edges, scale=0.4)
    same, matrix = reference.attend_with_weights(q, k, v, edges, scale=0.4)
    assert weights.shape == (2, E, H)
    np.testing.assert_allclose(out, same, atol=2e-6)
    for row in range(2):
        there = lists[row, 0] >= 0
        expected = matrix[row][:, lists[row, 1], lists[row, 0]].T
        np.testing.assert_allclose(weights[row][there], expected[there], atol=2e-6)
        assert not weights[row][~there].any()


def test_it_is_a_function_like_any_other():
    """vmap, forward mode and a product with the Hessian, as the plain matrix has them."""
    q, k, v, lists, _ = graph(distinct=False)

    def run(how, q, lists):
        edges = connect(Listed("list"), sequence(N), pairs={"list": lists})
        return attend(q[None], k[:1], v[:1], edges, scale=0.4, how=how)[0]

    mapped = jax.vmap(functools.partial(run, "edges"))(q, lists)
    single = [run("edges", q[n], lists[n]) for n in range(2)]
    np.testing.assert_allclose(mapped, single, atol=2e-6)
    for product in (
        lambda f: jax.jvp(f, (q[0],), (q[1],))[1],
        lambda f: jax.jvp(jax.grad(lambda x: jnp.sin(f(x)).sum()), (q[0],), (q[1],))[1],
        lambda f: jax.grad(lambda x: jnp.vdot(jax.grad(lambda y: jnp.sin(f(y)).sum())(x), q[1]))(
            q[0]
        ),
    ):
        one, other = (product(lambda x, h=h: run(h, x, lists[0])) for h in ("edges", "reference"))
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_with_64_bits_it_is_exact():
    with jax.enable_x64(True):
        q, k, v, lists, _ = (np.asarray(x) for x in graph(distinct=False))
        q, k, v = (x.astype(np.float64) for x in (q, k, v))
        one, other = both(lambda how, *a: attend(*a, drawn(lists), scale=0.4, how=how), q, k, v)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-13), one, other)
        assert one[0].dtype == np.float64


def test_a_list_is_a_part_of_an_expression():
    """An edge of a list that another part of the mask forbids is none; a list under a complement
    is a matrix."""
    q, k, v, lists, _ = graph()
    document = np.arange(N)[None] // 4
    for mask in (
        Listed("list") & CAUSAL,
        Listed("list") & Same("document") & ~Listed("list2"),
        FULL & ~Listed("list"),
    ):
        pairs = {"list": lists, "list2": lists[::-1]}
        nodes = sequence(N, tags={"document": document.astype(np.int32)})
        edges = connect(mask, nodes, pairs=pairs)
        one, other = (attend(q, k, v, edges, scale=0.4, how=h) for h in ("edges", "reference"))
        np.testing.assert_allclose(one, other, atol=3e-6)
    assert parse(str(Listed("list", features="x") & CAUSAL)) == Listed("list", "x") & CAUSAL


def test_nodes_are_named_by_their_index():
    """Keys in another order, whose index says so, give the same."""
    q, k, v, lists, _ = graph()
    order = np.random.default_rng(0).permutation(N)
    nodes = sequence(N)
    keys = nodes.with_tags(index=nodes.tag("index")[:, order])
    plain = attend(q, k, v, drawn(lists), scale=0.4)
    moved = connect(Listed("list"), nodes, keys, {"list": lists})
    np.testing.assert_allclose(
        attend(q, k[:, order], v[:, order], moved, scale=0.4), plain, atol=2e-6
    )
    forgot = attend(q, k[:, order], v[:, order], drawn(lists), scale=0.4)  # the control
    assert np.abs(forgot - plain).max() > 1e-2


def test_a_graph_without_edges_gives_zero():
    q, k, v, _, _ = graph()
    run = lambda q: attend(q, k, v, drawn(np.zeros((2, 0), np.int32)), scale=0.4)
    assert not run(q).any()
    assert not jax.grad(lambda q: run(q).sum())(q).any()


def cost(backend, nodes, edges):
    """(FLOPs, bytes of temporary arrays) of a gradient."""

    def loss(q, k, v, lists):
        graph = connect(Listed("list"), sequence(nodes), pairs={"list": lists})
        return backend(q, k, v, graph, scale=0.4).sum()

    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    arrays = [shape((1, nodes, 2, 8))] * 3 + [jax.ShapeDtypeStruct((2, edges), jnp.int32)]
    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*arrays).compile()
    memory = compiled.memory_analysis().temp_size_in_bytes
    return compiled.cost_analysis()["flops"], memory


def test_time_and_memory_are_linear_in_the_edges():
    few, many = (np.array(cost(listed.attend, 100, n)) for n in (5_000, 20_000))
    assert (many < 4.2 * few).all()
    # as many edges of four times the nodes cost little more
    assert (np.array(cost(listed.attend, 400, 20_000)) < 1.3 * many).all()
    # the control: the matrix grows with the square of the nodes, whatever the edges
    matrix = [np.array(cost(reference.attend, n, 5_000)) for n in (100, 400)]
    assert (matrix[1] > 8 * matrix[0]).all()


def test_a_mask_without_a_list_is_refused_where_it_cannot_be_listed():
    q = jax.ShapeDtypeStruct((1, 5000, 2, 8), jnp.float32)
    run = lambda q: attend(q, q, q, connect(CAUSAL, sequence(5000)), scale=1.0, how="edges")
    with pytest.raises(Refused, match=r"CAUSAL holds no list of edges, and 5000 x 5000 pairs"):
        jax.eval_shape(run, q)


def test_auto_goes_edge_by_edge_where_the_graph_is_a_list(monkeypatch):
    q, k, v, lists, _ = graph()
    seen = []
    real = listed.planned
    monkeypatch.setattr(listed, "planned", lambda *a: seen.append(a) or real(*a))
    attend(q, k, v, drawn(lists), scale=0.4)
    assert len(seen) == 1
    attend(q, k, v, matrices(drawn(lists)), scale=0.4)
    assert len(seen) == 1
