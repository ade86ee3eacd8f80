"""Custom derivative rules work in forward and reverse mode, and to every order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.graph import CAUSAL, Same, connect, sequence
from transformers_jax.nn.attend import BACKENDS, Score, ScoreRule, tiled
from transformers_jax.nn.derivative import both_ways
from transformers_jax.nn.grouped_matmul import by_group
from transformers_jax.nn.loss import vocabulary_loss
from transformers_jax.nn.param import mixed_einsum
from transformers_jax.nn.unembedding import Unembedding


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def derivatives(function, at, along):
    """Forward mode, reverse mode, and a product with the Hessian, forward over reverse."""
    scalar = lambda x: sum(jnp.sin(y).sum() for y in jax.tree.leaves(function(x)))
    forward = jax.jvp(scalar, (at,), (along,))
    gradient = lambda x: jax.grad(scalar)(x)
    return forward, *jax.jvp(gradient, (at,), (along,))


def compare(function, plain, at, along, tolerance=1e-4):
    actual, expected = (jax.jit(lambda x, t, f=f: derivatives(f, x, t))(at, along)
                 for f in (function, plain))  # fmt: skip
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def square(times):
    """x -> x^2, whose tangent is `times` x dx."""
    return both_ways(
        lambda x: x * x,
        lambda saved, moved: times * saved[0][0] * moved[0],
        lambda saved, cotangent: (2 * saved[0][0] * cotangent,),
        static=0,
        linear=1,
    )


def test_a_rule_is_used_in_both_directions_under_every_transformation():
    x, t = normal(0, 5), normal(1, 5)
    f, plain = square(2), lambda x: x * x
    compare(f, plain, x, t)
    for transformed in (jax.jacfwd, jax.jacrev, jax.hessian, lambda f: jax.vmap(jax.grad(f))):
        np.testing.assert_allclose(transformed(f)(x), transformed(plain)(x), rtol=1e-6)
    _, linear = jax.linearize(f, x)
    np.testing.assert_allclose(linear(t), 2 * x * t, rtol=1e-6)
    scanned = lambda f: lambda x: jax.lax.scan(lambda c, y: (c + f(y), f(c)), x, x[:, None])[1]
    compare(scanned(jax.checkpoint(f)), scanned(plain), x, t)
    with pytest.raises(AssertionError):  # the control: a wrong tangent is detected
        compare(square(3), plain, x, t)


class Slope(ScoreRule):
    def __call__(self, params, q, k, qn, kn, pairs):
        gap = qn.position[:, None, :, None] - kn.position[:, None, None, :]
        return params[:, None, None] * gap


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (CAUSAL, {}),
        (CAUSAL & Same("document"), dict(softcap=2.0, sinks=normal(5, 4))),
        (CAUSAL, dict(score=Score(Slope(), normal(6, 4)), dropout=0.3, key=jax.random.key(8))),
    ],
)
def test_attention_moves_forward_as_the_plain_matrix_does(mask, options):
    documents = jnp.asarray(np.repeat([[0, 1, 2]], 7, 1)[:, :19], jnp.int32)
    edges = connect(mask, sequence(19, tags={"document": documents}))
    shapes = (2, 19, 4, 6), (2, 19, 2, 6), (2, 19, 2, 5)
    learned = {n: options[n] for n in ("sinks", "score") if n in options}
    at, along = (((*(normal(s + n, *x) for n, x in enumerate(shapes)),), learned) for s in (0, 10))

    def run(backend, **size):
        return lambda at: backend(*at[0], edges, scale=0.4, **{**options, **at[1]}, **size)

    compare(run(tiled.attend, size=(8, 8)), run(BACKENDS["reference"]), at, along, 2e-4)


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_a_chunked_vocabulary_moves_forward_as_a_whole_one_does(softcap):
    labels = jnp.asarray([[3, 10, -100, 0, 7]])
    parts = lambda s: (normal(s, 1, 5, 4), normal(s + 1, 11, 4), normal(s + 2, 11))

    def loss(chunk):
        of = lambda parts: Unembedding(*parts, softcap=softcap)
        return lambda x: vocabulary_loss(of(x), labels, smoothing=0.1, z=0.01, chunk=chunk).total

    compare(loss(4), loss(0), parts(0), parts(5))


def test_products_of_groups_and_of_halves_move_forward_as_plain_ones_do():
    group = jnp.asarray([0, 2, 1, 3])  # the last block is of no group
    at, along = ((normal(s, 4, 3, 5), normal(s + 1, 3, 5, 2)) for s in (0, 2))
    plain = lambda at: jnp.einsum("nbd,ndf->nbf", at[0][:3], at[1][group[:3]])
    compare(lambda at: by_group(*at, group)[:3], plain, at, along)
    halves = lambda at: mixed_einsum("nbd,gdf->nbgf", *at)
    compare(halves, lambda at: jnp.einsum("nbd,gdf->nbgf", *at), at, along, 0.2)


@pytest.mark.parametrize("run", [{}, {"compute_dtype": "mixed", "remat": "full"}])
def test_models_move_forward_beyond_a_hundred_tokens(run):
    config = tj.GPT2Config(vocab_size=40, n_positions=136, n_embd=16, n_layer=2, n_head=2)
    ids = jax.random.randint(jax.random.key(1), (2, 136), 0, 40)
    make = lambda **run: tj.from_config(
        config, head="causal_lm", key=jax.random.key(0), unroll=False, **run
    )

    def moved(model):
        apply, params = tj.functional(model)
        along = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape), params)
        one = lambda p, x: apply(p, input_ids=x[None], labels=x[None]).loss
        each = lambda p, x: jax.jvp(lambda p: one(p, x), (p,), (along,))[1]
        return jax.jit(jax.vmap(each, (None, 0)))(params, ids)

    tile, whole = moved(make(**run)), moved(make(attention="reference", **run))
    np.testing.assert_allclose(tile, whole, rtol=1e-4 if not run else 3e-2, atol=1e-4)
