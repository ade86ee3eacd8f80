"""Losses of pairs: in chunks and on several devices they are those of the whole matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax.nn.norm import unit
from transformers_jax.nn.pair_loss import Pairs, sigmoid_loss, softmax_loss

B, E = 24, 5
LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}


def vectors(rows=B):
    rng = np.random.default_rng(0)
    text, image = (unit(jnp.asarray(rng.normal(size=(rows, E)), "float32")) for _ in range(2))
    return text, image, jnp.float32(7.0), jnp.float32(-3.0)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def of_pairs(arguments, name, chunk=None, some=False):
    """The sums of a loss, and the gradients of its first."""

    def loss(arguments):
        text, image, scale, bias = arguments
        known = jnp.arange(B) % 3 > 0 if some else None
        return LOSSES[name](Pairs(text, image, scale, bias, known), chunk)

    return jax.value_and_grad(loss, has_aux=True)(arguments)


@pytest.mark.parametrize("name", LOSSES)
def test_chunks_change_neither_a_loss_nor_its_gradients(name):
    for some in (False, True):
        expected = of_pairs(vectors(), name, None, some)
        for chunk in (1, 8):
            actual = of_pairs(vectors(), name, chunk, some)
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
                actual,
                expected,
            )
    whole = of_pairs(vectors(), name)[0][0]
    assert abs(whole - of_pairs(vectors(), name, None, True)[0][0]) > 1  # the control


def test_losses_are_those_of_their_papers():
    text, image, scale, bias = (np.asarray(x, np.float64) for x in vectors())
    scores = scale * text @ image.T + bias
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    np.testing.assert_allclose(
        of_pairs(vectors(), "softmax")[0][0], -np.diag(log_p).sum(), rtol=1e-5
    )
    signs = 2 * np.eye(B) - 1
    np.testing.assert_allclose(
        of_pairs(vectors(), "sigmoid")[0][0], np.log1p(np.exp(-signs * scores)).sum(), rtol=1e-5
    )


def test_with_a_chunk_the_scores_of_all_rows_are_nowhere():
    for name in LOSSES:
        whole, chunked = (
            str(jax.make_jaxpr(lambda x, c=chunk, n=name: of_pairs(x, n, c))(vectors()))
            for chunk in (None, 8)
        )
        assert f"[{B},{B}]" in whole  # the control
        assert f"[{B},{B}]" not in chunked
        assert f"[8,{B}]" in chunked


def test_a_chunk_that_does_not_divide_the_batch_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"chunk=7: 24 rows .* 6 or 8 would"):
        of_pairs(vectors(), "softmax", 7)
    of_pairs(vectors(), "softmax", 6)


DEVICES = """
    import jax, numpy as np
    import transformers_jax as tj
    from tests.nn.test_pair_loss import vectors
    from transformers_jax import shard
    from transformers_jax.objectives import ImageText

    mesh = tj.make_mesh({"data": 4}, jax.devices()[:4])
    text, image, scale, bias = vectors(48)
    for learned in ([scale], [scale, bias]):
        learned = np.tile(np.stack(learned), (48, 1))
        loss = lambda vectors, chunk: ImageText(chunk=chunk).of(vectors)[0]
        of = lambda chunk: jax.jit(jax.value_and_grad(lambda vectors: loss(vectors, chunk)))
        expected = of(None)([text, image, learned])
        with shard.use(mesh):
            placed = jax.device_put([text, image, learned], shard.batch_sharding(mesh))
            for chunk in (8, 24):
                compiled = of(chunk).lower(placed).compile()
                program = compiled.as_text()
                assert f"f32[{chunk // 4},48]" in program, "each device has its rows of a chunk"
                assert "f32[48,48]" not in program and "f32[12,48]" not in program
                close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
                jax.tree.map(close, jax.device_get(compiled(placed)), expected)
    print("agrees")
"""


def test_four_devices_compute_what_one_computes_with_all_negatives(on_eight_devices):
    assert on_eight_devices(DEVICES).stdout == "agrees\n"
