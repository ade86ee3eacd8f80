"""A local mask with relative positions expresses a convolution exactly (Cordonnier et al. 2020)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import Near, spec
from transformers_jax.graph import FULL, connect
from transformers_jax.graph.grid import grid
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.image.windows import GridTable
from transformers_jax.nn.param import bind, initialise, params

NEVER = -1e4  # exp of it is zero in float32


def as_attention(kernel):
    """The attention that is the convolution with a kernel [p q C D] (theorem 1): a head for each
    tap, whose learned relative position chooses one neighbour and whose value and output
    projections are that tap's matrix. Queries and keys are zero: the content chooses nothing."""
    high, wide, inner, out = kernel.shape
    assert high == wide  # of a table over square windows
    reach = high // 2
    mask = Near(left=reach, right=reach, tag="row") & Near(left=reach, right=reach, tag="column")
    op = AttentionSpec(high * wide, inner, mask=mask, score=GridTable(reach + 1))
    module = initialise(Attention(op, inner, spec.Initial()), jax.random.key(0))
    values = jax.tree.map(jnp.zeros_like, params(module))
    side = 2 * reach + 1
    chosen = np.full((side * side, high * wide), NEVER, np.float32)
    for tap in range(high * wide):
        # the table counts from the key to the query, the kernel from the query to the key
        chosen[side * side - 1 - tap, tap] = 0.0
    values["score"]["table"] = jnp.asarray(chosen)
    values["value"] = jnp.broadcast_to(jnp.eye(inner)[:, None], values["value"].shape)
    values["out"] = jnp.asarray(kernel).reshape(high * wide, inner, out)
    return bind(module, values), op


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_local_mask_with_relative_positions_is_a_convolution(side):
    rng = np.random.default_rng(side)
    rows, columns, width, reach = 5, 6, 4, side // 2
    kernel = rng.normal(size=(side, side, width, width)).astype(np.float32)
    image = rng.normal(size=(2, rows, columns, width)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    module, op = as_attention(kernel)
    # zeros around the image, as the convolution has them, are tokens here
    around = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    x = np.pad(image, around).reshape(2, -1, width)
    nodes = grid(rows + 2 * reach, columns + 2 * reach)

    def convolved(mask):
        y = module(x, connect(mask, nodes), how="reference").x
        y = y.reshape(2, rows + 2 * reach, columns + 2 * reach, width)
        return y[:, reach : reach + rows, reach : reach + columns]

    np.testing.assert_allclose(convolved(op.mask), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(convolved(FULL) - expected).max() > 0.1  # the control: the mask is needed
