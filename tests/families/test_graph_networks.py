"""Graph networks: a Transformer is one, nodes have no order, and what is no graph is refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.graph import Listed, connect, sequence
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.param import bind, flatten, initialise, params, unflatten
from transformers_jax.spec import Initial

N, E, WIDTH, FEATURES = 9, 24, 5, 3
CONV = dict(in_channels=WIDTH, out_channels=4, heads=2)
NETWORK = dict(in_channels=WIDTH, hidden_channels=6, num_layers=3, out_channels=4, heads=2)
CONFIGS = {
    "gat": tj.GatConvConfig(**CONV),
    "gatv2": tj.GatV2ConvConfig(**CONV, edge_dim=FEATURES, residual=True),
    "transformer": tj.TransformerConvConfig(**CONV, edge_dim=FEATURES, beta=True),
    "gat network": tj.GatConfig(**NETWORK),
    "graph transformer": tj.GraphTransformerConfig(**NETWORK, edge_dim=FEATURES),
}
NETWORKS = ["gat network", "graph transformer"]


def model_of(name, head=None):
    """A model, every parameter of which is random."""
    model = tj.from_config(CONFIGS[name], head=head, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    noisy = {p: x + 0.3 * rng.normal(size=x.shape) for p, x in flatten(params(model)).items()}
    return bind(model, unflatten({p: x.astype(np.float32) for p, x in noisy.items()}))


def graph_of(name, nodes=N, edges=E, seed=0):
    """The arguments of a call: a graph, with features of edges where the model reads them."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    graph = {"x": draw(nodes, WIDTH), "edge_index": rng.integers(0, nodes, (2, edges))}
    if CONFIGS[name].edge_dim is not None:
        graph["edge_attr"] = draw(edges, FEATURES)
    return graph


# ---------------------------------------------------------------- a Transformer is a graph network


def test_a_transformer_is_a_graph_network_on_the_complete_graph():
    """Attention without a mask, along the complete list of edges, and TransformerConv on the
    complete graph, with the same weights, are one function."""
    heads, width = 2, 4
    spec = AttentionSpec(heads=heads, kv=width, bias=("query", "key", "value"))
    attention = initialise(spec.build(WIDTH, Initial(0.5)), jax.random.key(1))
    own = {p: x + 0.2 for p, x in flatten(params(attention)).items()}
    attention = bind(attention, unflatten(own))
    ends = np.indices((N, N)).reshape(2, -1)
    x = jax.random.normal(jax.random.key(2), (N, WIDTH))
    masked = connect(tj.FULL, sequence(N))
    listed = connect(Listed("list"), sequence(N), pairs={"list": ends})

    def messages(edges):
        """What the heads give, side by side, in front of the output projection."""
        q, (k, v) = attention.queries(x[None]), attention.project(x[None])
        options = dict(score=None, key=None, how="auto", with_weights=False)
        return attention.messages(q, k, v, edges, **options)[0].reshape(N, -1)

    conv = tj.from_config(
        tj.TransformerConvConfig(in_channels=WIDTH, out_channels=width, heads=heads),
        key=jax.random.key(3),
    )
    values = flatten(params(conv))
    place = "stack.blocks.0.attention"
    for name in ("query", "key", "value"):
        for part in (name, f"{name}_bias"):
            values[f"{place}.{part}"] = own[part][None]
    rest = {f"{place}.{name}" for name in ("skip", "skip_bias")}
    values |= {path: jnp.zeros_like(values[path]) for path in rest}
    graph = bind(conv, unflatten(values))(x=x, edge_index=ends).output
    full = messages(masked)
    np.testing.assert_allclose(messages(listed), full, atol=1e-6)
    np.testing.assert_allclose(graph, full, atol=1e-6)
    fewer = bind(conv, unflatten(values))(x=x, edge_index=ends[:, 1:]).output  # the control
    assert np.abs(fewer - full).max() > 1e-2


@pytest.mark.parametrize("name", CONFIGS)
def test_nodes_have_no_order(name):
    model, graph = model_of(name), graph_of(name)
    order = np.random.default_rng(1).permutation(N)
    place = np.argsort(order)  # where each node is now
    plain = model(**graph).output
    moved = {**graph, "x": graph["x"][order], "edge_index": place[graph["edge_index"]]}
    np.testing.assert_allclose(model(**moved).output, plain[order], atol=2e-6)
    forgot = model(**{**graph, "x": graph["x"][order]}).output  # the control: edges as they were
    assert np.abs(forgot - plain[order]).max() > 1e-2
    turned = model(**{**graph, "edge_index": graph["edge_index"][::-1]}).output
    assert np.abs(turned - plain).max() > 1e-2  # and edges have a direction


@pytest.mark.parametrize("name", CONFIGS)
def test_engines_agree(name):
    """Outputs and gradients edge by edge, and as a matrix: of a graph without repeated edges, of
    whose features a matrix could not hold two."""
    graph = graph_of(name)
    chosen = np.random.default_rng(2).permutation(N * N)[:E]
    graph["edge_index"] = np.array(np.divmod(chosen, N))
    model = model_of(name)

    def run(how):
        apply, _ = tj.functional(model.abstract(attention=how))
        loss = lambda values: jnp.sin(apply(values, **graph).output).sum()
        return jax.value_and_grad(loss)(params(model))

    (one, grads), (other, expected) = run("edges"), run("reference")
    np.testing.assert_allclose(one, other, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), grads, expected)


# ---------------------------------------------------------------- several graphs, and padding


def filled(graphs, nodes, edges):
    """Graphs side by side, filled up with what would be seen."""
    rows = {}
    for name in graphs[0]:
        size = (nodes,) if name == "x" else (2, edges) if name == "edge_index" else (edges,)
        shape = size if name == "edge_index" else (*size, graphs[0][name].shape[-1])
        rows[name] = np.full((len(graphs), *shape), 1, graphs[0][name].dtype)
        if name == "edge_index":
            rows[name][:, 0] = 0
        for row, graph in zip(rows[name], graphs):
            place = tuple(slice(n) for n in graph[name].shape)
            row[place] = graph[name]
    mask = lambda size, of: np.array(
        [np.arange(size) < g[of].shape[-1 - (of == "x")] for g in graphs]
    )
    rows["attention_mask"] = mask(nodes, "x").astype(int)
    rows["edge_mask"] = mask(edges, "edge_index").astype(int)
    return rows


@pytest.mark.parametrize("name", CONFIGS)
def test_graphs_side_by_side_are_as_each_by_itself(name):
    model = model_of(name)
    graphs = [graph_of(name), graph_of(name, 5, 11, seed=1), graph_of(name, 7, 0, seed=2)]
    together = model(**filled(graphs, N + 2, E + 3)).output
    for row, graph in zip(together, graphs):
        np.testing.assert_allclose(row[: len(graph["x"])], model(**graph).output, atol=3e-6)
    rows = filled(graphs, N + 2, E + 3)
    del rows["edge_mask"]  # the control: what fills up are edges then
    assert np.abs(model(**rows).output[1] - together[1]).max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_packed_graphs_are_as_each_by_itself(name):
    """One large graph, in which each graph's nodes have numbers of their own (torch_geometric's
    batches): no edge leads from one to another."""
    model = model_of(name, "graph_classification")
    graphs = [graph_of(name), graph_of(name, 5, 11, seed=1), graph_of(name, 7, 4, seed=2)]
    ptr = np.cumsum([0, *(len(g["x"]) for g in graphs)])
    joined = {n: np.concatenate([g[n] for g in graphs]) for n in graphs[0] if n != "edge_index"}
    lists = [g["edge_index"] + first for g, first in zip(graphs, ptr)]
    labels = np.array([0, 1, 1])
    packed = model(**joined, edge_index=np.concatenate(lists, 1), ptr=ptr, labels=labels)
    single = np.concatenate([model(**graph).logits for graph in graphs])
    np.testing.assert_allclose(packed.logits, single, atol=3e-6)
    rows = model(**filled(graphs, N, E), labels=labels)
    np.testing.assert_allclose(rows.logits, single, atol=3e-6)
    np.testing.assert_allclose(rows.loss, packed.loss, atol=1e-6)
    expected = -jax.nn.log_softmax(single)[np.arange(3), labels].mean()
    np.testing.assert_allclose(packed.loss, expected, atol=1e-6)
    apart = model(**joined, edge_index=np.concatenate(lists, 1), ptr=np.array([0, 3, 8, 21]))
    assert np.abs(apart.logits - single).max() > 1e-3  # the control: other bounds


def test_unknown_labels_of_nodes_are_left_out():
    model, graph = model_of("gat network"), graph_of("gat network")
    labels = np.array([0, 1, -100, 2, -100, 3, 0, -100, 1])
    out = model(**graph, labels=labels)
    known = labels >= 0
    entropies = -jax.nn.log_softmax(out.logits)[np.arange(N), labels]
    np.testing.assert_allclose(out.loss, entropies[known].mean(), atol=1e-6)
    assert abs(out.loss - entropies.mean()) > 1e-3  # the control


# ---------------------------------------------------------------- graphs with little in them


@pytest.mark.parametrize("name", ["gat", "gatv2", "transformer"])
def test_a_node_to_which_no_edge_leads_keeps_what_it_is_itself(name):
    model, graph = model_of(name), graph_of(name)
    alone = {**graph, "edge_index": np.zeros((2, 0), int)}
    if "edge_attr" in alone:
        alone["edge_attr"] = alone["edge_attr"][:0]
    out = model(**alone)
    loops = getattr(CONFIGS[name], "add_self_loops", False)
    assert out.attention.shape == (N * loops, 2)
    np.testing.assert_allclose(out.attention, 1.0)  # each node attends to itself alone
    moved = graph["x"].copy()
    moved[3] += 1
    changed = np.abs(model(**{**alone, "x": moved}).output - out.output).max(-1) > 1e-6
    assert changed.tolist() == [n == 3 for n in range(N)]


def test_loops_replace_those_of_the_list():
    model, graph = model_of("gat"), graph_of("gat")
    ends = np.array([[0, 4, 2, 2], [1, 4, 2, 2]])
    out = model(**{**graph, "edge_index": ends})
    assert out.attention_edges.tolist() == [[0, *range(N)], [1, *range(N)]]
    without = model(**{**graph, "edge_index": ends[:, :1]})
    np.testing.assert_allclose(out.output, without.output, atol=1e-6)


# ---------------------------------------------------------------- what is no graph


def refusals():
    x = np.zeros((5, WIDTH), np.float32)
    edges = np.array([[0, 1, 2], [1, 2, 4]])
    return {
        "edge_index[1, 2] is 5, which names no node: there are 5, numbered from 0 to 4": dict(
            edge_index=np.array([[0, 1, 2], [1, 2, 5]])
        ),
        "edge_index[0, 1] is -2, which names no node": dict(
            edge_index=np.array([[0, -2, 2], [1, 2, 4]])
        ),
        "edge_index has shape (3, 2); expected (2, edges)": dict(edge_index=edges.T),
        "edge_index must hold integers, the numbers of nodes, but its dtype is float": dict(
            edge_index=edges.astype(np.float32)
        ),
        "give edge_index, the edges of the graph": dict(edge_index=None),
        f"x has shape (5, 3); expected (nodes, {WIDTH})": dict(x=x[:, :3]),
        "x must hold floating-point numbers": dict(x=x.astype(int)),
        "a graph has one node at least": dict(x=x[:0]),
        "this model reads no features of edges (edge_dim is None): leave edge_attr out": dict(
            edge_attr=np.zeros((3, 2), np.float32)
        ),
        "edge_mask has shape": dict(edge_mask=np.ones(4, int)),
    }


@pytest.mark.parametrize("text", refusals())
def test_what_is_no_graph_is_refused_in_a_sentence(text):
    model = model_of("gat")
    graph = {
        "x": np.zeros((5, WIDTH), np.float32),
        "edge_index": np.array([[0, 1, 2], [1, 2, 4]]),
    }
    model(**graph)  # the control
    wrong = {**graph, **refusals()[text]}
    with pytest.raises(ValueError, match=re.escape(text)):
        model(**wrong)
    if "names no node" in text:  # a value: a compiled program cannot raise, and gives no number
        apply, values = tj.functional(model)
        traced = jax.jit(lambda edges: apply(values, **{**wrong, "edge_index": edges}).output)
        assert np.isnan(traced(wrong["edge_index"])).all()
        return
    given = {name: jnp.asarray(x) for name, x in wrong.items() if x is not None}
    call = lambda given: tj.functional(model)[0](params(model), **given).output
    with pytest.raises(ValueError, match=re.escape(text)):  # shapes and dtypes are known there
        jax.eval_shape(call, given)


def test_features_of_edges_are_checked():
    model, graph = model_of("gatv2"), graph_of("gatv2")
    given = {name: graph[name] for name in ("x", "edge_index")}
    with pytest.raises(ValueError, match=r"give edge_attr, 3 numbers of each edge \(edge_dim=3\)"):
        model(**given)
    with pytest.raises(ValueError, match=r"edge_attr has shape .*expected \(24, 3\)"):
        model(**given, edge_attr=graph["edge_attr"][1:])


def test_bounds_and_labels_of_graphs_are_checked():
    model, graph = model_of("gat network", "graph_classification"), graph_of("gat network")
    with pytest.raises(ValueError, match="at which node each graph begins, in order"):
        model(**graph, ptr=np.array([0, 4, N + 1]))
    with pytest.raises(ValueError, match="labels are 3, and there are 2 graphs"):
        model(**graph, ptr=np.array([0, 4, N]), labels=np.array([0, 1, 1]))


def test_channels_that_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="layer 0 has 7 channels, which 2 heads cannot share"):
        tj.from_config(
            tj.GatConfig(in_channels=3, hidden_channels=7, num_layers=2, out_channels=2, heads=2),
            key=jax.random.key(0),
        )
    with pytest.raises(ValueError, match="fill_value='max'"):
        tj.GatConvConfig(**CONV, fill_value="max")
    with pytest.raises(ValueError, match="jk='cat' is not implemented"):
        tj.GatConfig.from_dict({"module": "torch_geometric.nn.GAT", "jk": "cat"})


def test_a_list_is_a_mask_of_any_model():
    config = tj.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
    )
    ids, ends = np.array([[1, 2, 3, 4, 5]]), np.array([[0, 1, 2, 4], [1, 1, 3, 0]])
    matrix = np.zeros((1, 5, 5), bool)
    matrix[0, ends[1], ends[0]] = True
    listed, dense = (
        tj.from_config(config, key=jax.random.key(0), mask=mask)
        for mask in (tj.Listed("links"), tj.Dense("links"))
    )
    one = listed(input_ids=ids, pairs={"links": ends}).last_hidden_state
    other = dense(input_ids=ids, pairs={"links": matrix}).last_hidden_state
    np.testing.assert_allclose(one, other, atol=1e-5)
    with pytest.raises(ValueError, match=r"pairs\['links'\]\[1, 3\] is 5, which names no node"):
        listed(input_ids=ids, pairs={"links": np.array([[0, 1, 2, 4], [1, 1, 3, 5]])})
