"""Graphormer's biases against a reference in NumPy, which walks the paths one by one."""

import jax
import numpy as np

from transformers_jax import spec
from transformers_jax.graph import FULL
from transformers_jax.graph.paths import shortest_paths
from transformers_jax.models.wiring import Network, Tower
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.graphormer import GraphormerEmbedder, GraphormerScore
from transformers_jax.nn.param import flatten, initialise, params
from transformers_jax.nn.stack import Stack

N, E, F, D, H, MOST = 8, 13, 3, 6, 2, 3


def graph(seed=0):
    """(numbers of nodes, edges, features of edges); the last node is reached by none."""
    rng = np.random.default_rng(seed)
    edges = np.array([rng.integers(0, N - 1, E), rng.integers(0, N - 1, E)])
    x, features = rng.normal(size=(N, 4)), rng.normal(size=(E, F))
    return x.astype(np.float32), edges, features.astype(np.float32)


def distances(edges):
    """Floyd and Warshall's, in steps along the edges: [t, s] from s to t."""
    found = np.where(np.eye(N, dtype=bool), 0, np.inf)
    for source, target in edges.T:
        found[target, source] = min(found[target, source], 1 - (source == target))
    for middle in range(N):
        found = np.minimum(found, found[:, middle][:, None] + found[middle][None])
    return found


def network():
    score = GraphormerScore(MOST, F)
    attention = AttentionSpec(heads=H, kv=4, mask=FULL, score=score)
    stack = spec.StackSpec(D, ((spec.Branch("self", attention),),), initial=spec.Initial(0.4))
    embed = GraphormerEmbedder(4, D, 2, spec.Initial(0.5))
    made = Network({"stack": Tower(embed, Stack(stack, spec.Execution()))})
    return initialise(made, jax.random.key(0))


def pairs_of(edges, features):
    """The pair arrays of a graph."""
    distance, paths = shortest_paths(edges, N, MOST)
    walked = np.where(paths[..., None] < 0, 0, features[paths])
    return {"distance": distance[None], "paths": walked[None]}


def call(model, x, edges, features):
    given = dict(x=x[None], edge_index=edges[None], pairs=pairs_of(edges, features))
    return model(**given).last_hidden_state[0]


def test_paths_are_shortest_and_lead_from_one_end_to_the_other():
    _, edges, _ = graph()
    distance, paths = shortest_paths(edges, N, MOST)
    expected = distances(edges)
    np.testing.assert_array_equal(distance, np.where(expected > MOST, MOST + 1, expected))
    assert {1, 2, 3, MOST + 1} <= {*distance.ravel().tolist()}
    for target in range(N):
        for source in range(N):
            walked = paths[target, source][paths[target, source] >= 0]
            steps = distance[target, source]
            assert len(walked) == (steps if steps <= MOST else 0)
            at = source
            for edge in walked:
                assert edges[0, edge] == at
                at = edges[1, edge]
            assert at == target or steps > MOST


def test_a_layer_is_that_of_numpy():
    x, edges, features = graph()
    model = network()
    p = {name: np.asarray(value) for name, value in flatten(params(model)).items()}
    arriving = np.minimum(np.bincount(edges[1], minlength=N), 2)
    leaving = np.minimum(np.bincount(edges[0], minlength=N), 2)
    h = x @ p["embed.project"] + p["embed.arriving"][arriving] + p["embed.leaving"][leaving]
    own = {n.removeprefix("stack.blocks.0.self."): a[0] for n, a in p.items() if "self" in n}
    q, k, v = (np.einsum("nd,dhk->nhk", h, own[name]) for name in ("query", "key", "value"))
    distance, paths = shortest_paths(edges, N, MOST)
    out = np.zeros((N, H, 4))
    for t in range(N):
        for head in range(H):
            scores = np.zeros(N)
            for s in range(N):
                walked = [e for e in paths[t, s] if e >= 0]
                along = [features[e] @ own["score.edges"][n, :, head] for n, e in enumerate(walked)]
                scores[s] = (
                    q[t, head] @ k[s, head] / 2 + own["score.distance"][distance[t, s], head]
                )
                scores[s] += np.mean(along) if along else 0
            weights = np.exp(scores - scores.max())
            out[t, head] = weights @ v[:, head] / weights.sum()
    expected = h + np.einsum("nhk,hkd->nd", out, own["out"])
    np.testing.assert_allclose(call(model, x, edges, features), expected, atol=1e-5)
    others = call(model, x, edges, features[::-1])  # the control: features of other edges
    assert np.abs(others - expected).max() > 1e-3
    turned = call(model, x, edges[::-1], features)
    assert np.abs(turned - expected).max() > 1e-3


def test_nodes_have_no_order():
    """A graph whose shortest paths are unique, so that none is chosen by the order of its edges."""
    x, _, features = graph()
    edges = np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    model, order = network(), np.random.default_rng(1).permutation(N)
    plain = call(model, x, edges, features[:5])
    moved = call(model, x[order], np.argsort(order)[edges], features[:5])
    np.testing.assert_allclose(moved, plain[order], atol=2e-6)
    forgot = call(model, x[order], edges, features[:5])  # the control
    assert np.abs(forgot - plain[order]).max() > 1e-3
