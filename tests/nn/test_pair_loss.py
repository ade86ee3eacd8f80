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


EXACT = """
    import jax, jax.numpy as jnp, numpy as np
    import transformers_jax as tj
    from tests.nn.test_pair_loss import vectors
    from transformers_jax import shard
    from transformers_jax.objectives import ImageText

    jax.config.update("jax_enable_x64", True)
    mesh = tj.make_mesh({"data": 8}, jax.devices())
    text, image, *numbers = (np.asarray(x, np.float64) for x in vectors(64))
    of = lambda chunk: lambda batch: ImageText(chunk=chunk).of(batch)[0]
    for learned in (numbers[:1], numbers):  # CLIP, SigLIP
        batch = [text, image, np.tile(np.stack(learned), (64, 1))]
        expected = jax.value_and_grad(of(None))(batch)
        with shard.use(mesh):
            placed = jax.device_put(batch, shard.batch_sharding(mesh))
            actual = jax.jit(jax.value_and_grad(of(16)))(placed)
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
        jax.tree.map(close, jax.device_get(actual), expected)

        # the control: each device with the negatives of its own rows alone
        parts = [[x[rows : rows + 8] for x in batch] for rows in range(0, 64, 8)]
        alone = np.mean([of(None)(part) for part in parts])
        assert abs(alone - expected[0]) > 0.1 * expected[0], (alone, expected[0])

    def temporary(rows, chunk, bias):  # bytes on a device beside the vectors and their gradients
        shapes = [(rows, 32), (rows, 32), (rows, 2 if bias else 1)]
        batch = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        with shard.use(mesh):
            sharding = shard.batch_sharding(mesh)
            step = jax.jit(jax.grad(of(chunk)), in_shardings=(sharding,))
            return step.lower(batch).compile().memory_analysis().temp_size_in_bytes

    for bias in (False, True):
        chunked, whole = ([temporary(n, c, bias) for n in (1024, 2048, 4096)] for c in (64, None))
        assert max(b / a for a, b in zip(chunked, chunked[1:])) < 2.1, chunked
        assert min(b / a for a, b in zip(whole, whole[1:])) > 3.0, whole  # the control
        assert chunked[-1] < whole[-1] / 4, (chunked, whole)
        print(bias, chunked, whole)
"""


def test_eight_devices_are_exact_to_six_digits_in_memory_linear_in_the_batch(on_eight_devices):
    done = on_eight_devices(EXACT)
    assert done.stdout.count("[") == 4, done.stdout
