"""What the tiled backend promises besides its results: memory, transformations, accelerators."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax.graph import CAUSAL, FULL, Near, Same, Where, connect, sequence
from transformers_jax.nn.attend import pallas, prepare, reference, size, tiled
from transformers_jax.nn.attend.score import Weighting


def temporary_bytes(backend, length: int) -> int:
    """What a gradient of causal attention needs besides its arguments and results."""

    def loss(q, k, v):
        return backend(q, k, v, connect(CAUSAL, sequence(length)), scale=0.1).sum()

    shape = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32)
    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(shape, shape, shape).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_is_linear_in_length():
    backend = functools.partial(tiled.attend, size=(64, 64))
    short, long = (temporary_bytes(backend, n) for n in (1024, 4096))
    assert long < 4.5 * short
    # The control: the matrix grows with the square.
    assert temporary_bytes(reference.attend, 4096) > 12 * temporary_bytes(reference.attend, 1024)


def test_tiles_work_inside_scan_and_checkpoint():
    """Three layers, scanned and recomputed in the backward pass, with tags known at run time."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 3, 6, 6)).astype(np.float32) * 0.5
    x = rng.normal(size=(2, 19, 6)).astype(np.float32)
    document = np.sort(rng.integers(0, 3, (2, 19)), 1).astype(np.int32)

    def loss(attend, weights, x, document):
        edges = connect(CAUSAL & Same("document"), sequence(19, tags={"document": document}))

        def layer(x, weight):
            q, k, v = (jnp.einsum("btd,de->bte", x, w).reshape(2, 19, 2, 3) for w in weight)
            return x + attend(q, k, v, edges, scale=0.5).reshape(x.shape), None

        x, _ = jax.lax.scan(jax.checkpoint(layer), x, weights)
        return jnp.square(x).sum()

    expected, actual = (
        jax.jit(jax.grad(functools.partial(loss, attend), (0, 1)))(weights, x, document)
        for attend in (reference.attend, functools.partial(tiled.attend, size=(8, 8)))
    )
    for a, b in zip(actual, expected):
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()))


def test_an_eager_call_compiles_once(monkeypatch):
    q = jnp.ones((1, 9, 2, 4))
    call = functools.partial(tiled.attend, q, q, q, scale=0.1, size=(3, 3))
    call(connect(CAUSAL & Near(left=2), sequence(9)))
    before = tiled._jitted._cache_size()
    call(connect(CAUSAL & Near(left=2), sequence(9)))
    assert tiled._jitted._cache_size() == before
    call(connect(CAUSAL & Near(left=5), sequence(9)))  # the control: another graph
    assert tiled._jitted._cache_size() == before + 1


@pytest.mark.parametrize(
    ("mask", "side"),
    [(FULL, 512), (CAUSAL, 512), (CAUSAL & Near(left=255), 64), (Near(16, 16), 32)],
    ids=str,
)
def test_tiles_are_as_small_as_the_graph_is_narrow(mask, side):
    assert size.tile_size(connect(mask, sequence(4096))) == (side, side)

    def padded(valid):  # which tokens are padding is not known while tracing
        assert size.tile_size(connect(mask, sequence(4096, valid=valid))) == (side, side)

    jax.eval_shape(padded, jax.ShapeDtypeStruct((2, 4096), bool))


def test_tiles_leave_little_over_at_the_ends():
    assert size.cut(connect(FULL, sequence(1025), sequence(7)), 512) == (344, 7)


def test_the_edge_matrix_is_computed_only_for_backends_that_read_it():
    short, long = connect(CAUSAL, sequence(16)), connect(CAUSAL, sequence(4096))
    assert prepare(short).drawn is not None
    assert prepare(long).drawn is None
    assert prepare(short, "tiled").drawn is None


@pytest.mark.parametrize(
    "mask",
    [CAUSAL, CAUSAL & Same("document") | ~Near(9, 9), Where("document", of="query")],
    ids=str,
)
def test_the_kernel_lowers_for_cuda_without_a_gpu(mask):
    """Triton accepts every primitive of the algebra, odd lengths and odd head widths."""

    def run(q, k, v, document, sinks):
        edges = connect(mask, sequence(200, tags={"document": document}))
        weighting = Weighting(0.1, softcap=3.0, dropout=0.1, key=jax.random.key(1))
        plan, graph = tiled.planned(edges, weighting, 2, (4, 2))
        return pallas.forward(plan, q, k, v, sinks, graph, interpret=False)

    half = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.bfloat16)
    shapes = half((2, 200, 4, 80)), half((2, 200, 2, 80)), half((2, 200, 2, 48))
    integers = jax.ShapeDtypeStruct((2, 200), jnp.int32)
    sinks = jax.ShapeDtypeStruct((4,), jnp.float32)
    # Newer JAX asks which card is meant before it lowers for one that is not here.
    card = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", 132, "gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=card)):
        traced = jax.jit(run).trace(*shapes, integers, sinks)
        lowered = traced.lower(lowering_platforms=("cuda",))
    assert "triton" in lowered.as_text()
