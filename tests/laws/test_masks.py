"""The laws of masks, over every graph and every backend that runs here, with negative controls.

The table of graphs and backends in docs/masks.md is what this file finds. Write it anew with

    TRANSFORMERS_JAX_WRITE_DOCS=1 python -m pytest tests/laws/test_masks.py
"""

import functools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.laws import mask_cases, mask_docs
from tests.laws.mask_cases import BACKENDS, CASES, NAMES, OPTIONS, judge, judge_option
from transformers_jax.graph import (
    CAUSAL,
    FULL,
    Dense,
    Near,
    Nodes,
    Same,
    Strided,
    Where,
    connect,
    sequence,
)
from transformers_jax.nn.attend import Refused, Score, ScoreRule, attend, listed, reference, tiled
from transformers_jax.nn.attend.score import Weighting

DOCS = Path(__file__).parents[2] / "docs" / "masks.md"
RUNNING = ["tiled", "pallas", "xla", "edges"]


@pytest.fixture(scope="session")
def verdicts():
    """The verdict on each backend for each graph and each option; computed once."""
    return {
        "graphs": {
            (c.name, name): functools.partial(_once, judge, c, name)
            for c in CASES
            for name in BACKENDS
        },
        "options": {
            (option, name): functools.partial(_once, judge_option, option, name)
            for option in OPTIONS
            for name in BACKENDS
        },
    }


@functools.cache
def _once(function, *arguments):
    return function(*arguments)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [case.name for case in CASES])
def test_a_backend_computes_exactly_the_graph_or_refuses(verdicts, case, backend):
    verdict = verdicts["graphs"][case, backend]()
    assert all(word == "exact" or word.startswith("refuses") for word in verdict.values()), verdict
    if backend in ("reference", "tiled", "edges"):
        assert set(verdict.values()) == {"exact"}, "these never refuse"


@pytest.mark.parametrize("backend", RUNNING)
@pytest.mark.parametrize("option", OPTIONS)
def test_a_backend_honours_an_option_or_refuses(verdicts, option, backend):
    verdict = verdicts["options"][option, backend]()
    assert verdict == "exact" or verdict.startswith("refuses"), verdict
    if backend in ("tiled", "edges"):
        assert verdict == "exact"


def test_the_published_table_is_what_was_measured(verdicts):
    text = mask_docs.page(
        {place: verdict() for place, verdict in verdicts["graphs"].items()},
        {place: verdict() for place, verdict in verdicts["options"].items()},
    )
    if os.environ.get("TRANSFORMERS_JAX_WRITE_DOCS"):
        DOCS.write_text(text)
    assert DOCS.read_text() == text, "docs/masks.md is old; see the top of this file"


# ---------------------------------------------------------------- negative controls


def _without_mask(q, k, v, edges, **options):
    return reference.attend(q, k, v, connect(FULL, edges.q, edges.k), **options)


def _window_too_wide(q, k, v, edges, **options):
    mask = edges.mask | (CAUSAL & Near(left=7))
    return reference.attend(q, k, v, connect(mask, edges.q, edges.k, edges.pairs), **options)


def _mean_without_edges(q, k, v, edges, **options):
    empty = ~edges.allowed().any(-1)[:, :, None, None]
    mean = jnp.repeat(v.mean(1, keepdims=True), q.shape[2] // k.shape[2], 2)
    return jnp.where(empty, mean, reference.attend(q, k, v, edges, **options))


@jax.custom_vjp
def _leak(out, v):
    return out


_leak.defvjp(lambda out, v: (out, v), lambda v, flow: (flow, jnp.ones_like(v)))


def _gradient_of_everything(q, k, v, edges, **options):
    return _leak(reference.attend(q, k, v, edges, **options), v)


@pytest.mark.parametrize(
    ("broken", "case", "way"),
    [
        (_without_mask, "packed", "forward"),
        (_window_too_wide, "window", "forward"),
        (_mean_without_edges, "dead rows", "forward"),
        (_gradient_of_everything, "packed", "gradient"),
    ],
)
def test_a_broken_backend_is_detected(monkeypatch, broken, case, way):
    monkeypatch.setitem(BACKENDS, broken.__name__, broken)
    assert judge(NAMES[case], broken.__name__)[way].startswith("wrong")


def test_perturbation_detects_a_backend_that_attends_too_widely(monkeypatch):
    monkeypatch.setitem(BACKENDS, "ignores masks", _without_mask)
    assert mask_cases.changes_without_edges(NAMES["packed"], "ignores masks")
    monkeypatch.setitem(BACKENDS, "leaks back", _gradient_of_everything)
    assert [way for way, _ in mask_cases.changes_without_edges(NAMES["packed"], "leaks back")] == [
        "gradient"
    ]
    assert not mask_cases.changes_without_edges(NAMES["packed"], "tiled")


# ---------------------------------------------------------------- the other laws


LAYER = [CAUSAL, Near(2, 1), CAUSAL & Same("document"), Dense("links") & ~Strided(2)]


@pytest.mark.parametrize("backend", ["reference", "tiled", "edges"])
@pytest.mark.parametrize("mask", LAYER, ids=str)
def test_the_jacobian_of_a_layer_is_nonzero_on_edges_only(mask, backend):
    """Support of the Jacobian of x + attend(x) = the mask and the residual's own loop."""
    rng = np.random.default_rng(3)
    length, width = 11, 3
    weights = [rng.normal(size=(width, width)).astype(np.float32) for _ in range(3)]
    document = np.sort(rng.integers(0, 3, (1, length)), 1).astype(np.int32)
    nodes = sequence(length, tags={"document": document})
    edges = connect(mask, nodes, pairs={"links": rng.random((1, length, length)) < 0.3})

    def layer(x):
        q, k, v = ((x @ w)[None, :, None] for w in weights)
        return x + BACKENDS[backend](q, k, v, edges, scale=1.0)[0, :, 0]

    x = rng.normal(size=(length, width)).astype(np.float32)
    jacobian = np.abs(jax.jit(jax.jacrev(layer))(x)).max((1, 3)) > 0
    expected = np.asarray(edges.allowed())[0] | np.eye(length, dtype=bool)
    np.testing.assert_array_equal(jacobian, expected)
    other = np.asarray(connect(FULL, nodes).allowed())[0]
    assert not np.array_equal(jacobian, other), "the control: another graph is another Jacobian"


@pytest.mark.parametrize("case", ["causal", "window", "packed", "prefix", "global", "dead rows"])
def test_a_single_query_equals_its_row_of_the_matrix(case):
    """Decoding with a cache is one row of the same matrix."""
    arrays = mask_cases.inputs(NAMES[case])
    edges = mask_cases.edges_of(NAMES[case], arrays)
    whole = reference.attend(*(arrays[n] for n in "qkv"), edges, scale=0.4)
    for t in (0, 13, 28):
        edge_row = connect(edges.mask, edges.q[t : t + 1], edges.k)
        row = tiled.attend(
            arrays["q"][:, t : t + 1], arrays["k"], arrays["v"], edge_row, scale=0.4, size=(1, 16)
        )
        np.testing.assert_allclose(row[:, 0], whole[:, t], atol=2e-6)
        if case == "window" and t == 28:  # the control: the row of another position
            other = connect(edges.mask, edges.q[t - 9 : t - 8], edges.k)
            row = reference.attend(
                arrays["q"][:, t : t + 1], arrays["k"], arrays["v"], other, scale=0.4
            )
            assert np.abs(row[:, 0] - whole[:, t]).max() > 1e-2


def test_the_order_of_keys_does_not_matter():
    case = NAMES["packed"]
    arrays = mask_cases.inputs(case)
    edges = mask_cases.edges_of(case, arrays)
    order = np.random.default_rng(0).permutation(edges.k.length)
    shuffled = Nodes({n: tag[:, order] for n, tag in edges.k.tags.items()})
    q, k, v = (arrays[n] for n in "qkv")
    plain = BACKENDS["tiled"](q, k, v, edges, scale=0.4)
    moved = BACKENDS["tiled"](
        q, k[:, order], v[:, order], connect(case.mask, edges.q, shuffled), scale=0.4
    )
    np.testing.assert_allclose(moved, plain, atol=2e-6)
    forgot = BACKENDS["tiled"](q, k[:, order], v[:, order], edges, scale=0.4)  # the control
    assert np.abs(forgot - plain).max() > 1e-2


PARTS = [CAUSAL, Near(2, 1), Same("document"), Where("prefix"), Strided(3), ~CAUSAL, FULL]


@pytest.mark.parametrize("a", PARTS, ids=str)
@pytest.mark.parametrize("b", PARTS, ids=str)
def test_masks_are_a_boolean_algebra(a, b):
    rng = np.random.default_rng(1)
    tags = {n: rng.integers(0, 2, (1, 9)).astype(np.int32) for n in ("document", "prefix")}
    nodes = sequence(9, tags=tags)

    def same(x, y):
        allowed = [np.asarray(connect(m, nodes).allowed()) for m in (x, y)]
        return np.array_equal(*allowed)

    assert same(~(a & b), ~a | ~b)
    assert same(~(a | b), ~a & ~b)
    assert same(a & b, b & a)
    assert same(a | (a & b), a)
    assert same(~~a, a)
    assert a & b == a & b
    assert hash(a & b) == hash(a & b)
    assert not same(~(a & b), a & b)  # the control


def test_dropout_does_not_depend_on_the_backend_or_on_the_tiles():
    arrays = mask_cases.inputs(NAMES["causal"])
    arguments = [arrays[n] for n in "qkv"] + [connect(CAUSAL, sequence(29))]

    def drop(backend, key, **size):
        options = {"scale": 0.4, "dropout": 0.4, "key": jax.random.key(key)}
        return np.asarray(backend(*arguments, **options, **size))

    plain = drop(reference.attend, 1)
    for size in ((8, 8), (16, 29), (5, 3)):
        np.testing.assert_allclose(drop(tiled.attend, 1, size=size), plain, atol=3e-6)
    np.testing.assert_allclose(drop(listed.attend, 1), plain, atol=3e-6)
    assert np.abs(drop(reference.attend, 2) - plain).max() > 0.1  # the control: another key
    keys = jax.random.split(jax.random.key(3), 200)
    once = functools.partial(reference.attend, *arguments, scale=0.4, dropout=0.4)
    many = np.mean(jax.jit(jax.vmap(lambda key: once(key=key)))(keys), 0)
    undropped = np.asarray(reference.attend(*arguments, scale=0.4))
    assert np.abs(many - undropped).max() < 0.6
    assert np.abs(many - undropped).mean() < 0.05


def test_the_scale_keeps_the_variance_of_scores():
    q, k = (jax.random.normal(jax.random.key(n), (1, 211, 2, 64)) for n in range(2))
    nodes = sequence(211)

    def variance(scale):
        return float(reference.scores_of(q, k, connect(FULL, nodes), Weighting(scale)).var())

    assert abs(variance(64**-0.5) - 1) < 0.05
    assert variance(1.0) > 50  # the control


class Shift(ScoreRule):
    """Head h attends to the key at its own offset and to no other."""

    replaces = True

    def __eq__(self, other):
        return isinstance(other, Shift)

    def __hash__(self):
        return hash(Shift)

    def __call__(self, params, q, k, qn, kn, pairs):
        offset = kn.tag("index")[:, None, :] - qn.tag("index")[:, :, None]
        return -1e4 * jnp.abs(offset[:, None] - params[:, None, None]).astype(jnp.float32)


@pytest.mark.parametrize("backend", ["reference", "tiled"])
def test_a_local_mask_with_relative_positions_is_a_convolution(backend):
    signal = np.random.default_rng(0).normal(size=31).astype(np.float32)
    taps = np.array([0.5, -1.0, 2.0, 0.25, -3.0], np.float32)
    heads = np.tile(signal[None, :, None, None], (1, 1, 5, 1))
    edges = connect(Near(2, 2), sequence(31))
    score = Score(Shift(), jnp.arange(-2.0, 3.0))
    out = BACKENDS[backend](heads, heads, heads, edges, scale=1.0, score=score)
    mixed = np.asarray(out)[0, :, :, 0] @ taps
    np.testing.assert_allclose(mixed[2:-2], np.correlate(signal, taps, "valid"), atol=1e-5)
    assert np.abs(mixed[2:-2] - np.convolve(signal, taps, "valid")).max() > 0.1  # the control


# ---------------------------------------------------------------- the choice of a backend


def test_auto_on_a_cpu_is_dense_when_short_and_tiled_when_long(monkeypatch):
    from transformers_jax.nn.attend import _preferred

    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert _preferred(connect(CAUSAL, sequence(64))) == ("reference",)
    assert _preferred(connect(CAUSAL, sequence(1024))) == ("tiled",)


def test_a_refusal_names_its_reason():
    arrays = mask_cases.inputs(NAMES["causal"])
    arguments = [arrays[n] for n in "qkv"] + [connect(CAUSAL, sequence(29))]
    with pytest.raises(Refused, match="soft cap"):
        attend(*arguments, scale=1.0, softcap=2.0, how="xla")
    with pytest.raises(ValueError, match=r"cuDNN"):
        attend(*arguments, scale=1.0, how="cudnn")
    with pytest.raises(ValueError, match="'flash' is none of 'auto', 'reference'"):
        attend(*arguments, scale=1.0, how="flash")


def test_a_fallback_is_logged_once_with_its_reason(monkeypatch, caplog):
    from transformers_jax.nn import attend as package

    monkeypatch.setattr(package, "_preferred", lambda edges: ("cudnn", "reference"))
    package._warn_once.cache_clear()
    arrays = mask_cases.inputs(NAMES["causal"])
    for _ in range(2):
        attend(*(arrays[n] for n in "qkv"), connect(CAUSAL, sequence(29)), scale=1.0)
    messages = [record.message for record in caplog.records if record.name == "transformers_jax"]
    assert len(messages) == 1
    assert "from 'cudnn' to 'reference': cuDNN" in messages[0]


def test_wrong_shapes_are_named_all_at_once():
    q, k = jnp.zeros((2, 5, 6, 4)), jnp.zeros((2, 7, 4, 4))
    with pytest.raises(
        ValueError, match=r"heads \(6\).*5 queries with 5 keys, not 5 with 7.*dropout"
    ) as error:
        attend(q, k, k, connect(CAUSAL, sequence(5)), scale=1.0, dropout=1.5)
    assert "\n" not in str(error.value)


def test_no_keys_at_all_give_zero():
    q, k = jnp.ones((2, 5, 6, 4)), jnp.ones((2, 0, 3, 4))
    out = attend(q, k, k, connect(FULL, sequence(5), sequence(0)), scale=1.0)
    assert out.shape == q.shape
    assert not out.any()
