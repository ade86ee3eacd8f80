"""Windows of attention: the graph of the paper, and the cost of windows instead of a whole grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import spec
from transformers_jax.graph import Same, connect
from transformers_jax.graph.grid import grid, size_of, windowed
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.image.windows import WITHIN, GridTable, WindowAttention, WindowSpec
from transformers_jax.nn.operation import Context
from transformers_jax.nn.param import bind, initialise, params

WIDTH, HEADS, KV = 6, 2, 3


def attention_of(make, op):
    return initialise(make(op, WIDTH, spec.Initial(0.5)), jax.random.key(0))


def in_windows(rows, columns, size, shift, **options):
    """(module, what it computes of a random grid, that grid)."""
    op = WindowSpec(HEADS, KV, window=size, shift=shift, score=GridTable(size), **options)
    module = attention_of(WindowAttention, op)
    x = jax.random.normal(jax.random.key(1), (2, rows * columns, WIDTH))
    return module, module.apply(x, Context(grid(rows, columns), {})).delta, x


def paper_mask(rows, columns, size, shift):
    """Which tokens of the rolled image attend to one another, as the released code draws it: nine
    regions by slices, compared within windows."""
    image = np.zeros((rows, columns), int)
    cuts = (slice(0, -size), slice(-size, -shift), slice(-shift, None))
    for number, (high, wide) in enumerate((h, w) for h in cuts for w in cuts):
        image[high, wide] = number
    parts = image.reshape(rows // size, size, columns // size, size).swapaxes(1, 2)
    parts = parts.reshape(-1, size * size)
    return parts[:, :, None] == parts[:, None, :]


@pytest.mark.parametrize(("rows", "columns", "size", "shift"), [(8, 12, 4, 2), (6, 9, 3, 1)])
def test_the_shift_of_windows_is_the_mask_of_the_paper(rows, columns, size, shift):
    nodes = windowed(rows, columns, size, shift)
    drawn = np.asarray(connect(WITHIN, nodes).allowed())[0]
    count, length = rows * columns // size**2, size**2
    expected = np.zeros_like(drawn).reshape(count, length, count, length)
    expected[np.arange(count), :, np.arange(count)] = paper_mask(rows, columns, size, shift)
    np.testing.assert_array_equal(drawn, expected.reshape(drawn.shape))
    assert (np.asarray(connect(Same("window"), nodes).allowed())[0] != drawn).any()  # the control
    assert sorted(nodes.tags["index"][0]) == list(range(rows * columns))


@pytest.mark.parametrize(("rows", "columns", "shift"), [(6, 9, 1), (6, 9, 0)])
def test_windows_compute_what_the_whole_grid_does_under_the_mask(rows, columns, shift):
    module, windows, x = in_windows(rows, columns, 3, shift)
    plain = AttentionSpec(HEADS, KV, mask=WITHIN, score=GridTable(3))
    whole = bind(attention_of(Attention, plain), params(module))
    nodes = windowed(rows, columns, 3, shift)
    order = nodes.tags["index"][0]

    def under(mask):
        score = whole.score()
        result = whole(x[:, order], connect(mask, nodes), score=score, how="reference").x
        return jnp.zeros_like(result).at[:, order].set(result)

    np.testing.assert_allclose(windows, under(WITHIN), rtol=1e-5, atol=1e-6)
    if shift:  # the control: without regions, opposite edges of the image meet
        assert np.abs(windows - under(Same("window"))).max() > 1e-3


def test_windows_that_reach_beyond_the_grid_read_zeros():
    """Zeros beside the image are keys of the biases: with none, they take weight all the same."""
    module, padded, x = in_windows(5, 5, 3, 1)
    image = jnp.pad(x.reshape(2, 5, 5, WIDTH), ((0, 0), (0, 1), (0, 1), (0, 0)))
    whole = module.apply(image.reshape(2, 36, WIDTH), Context(grid(6, 6), {})).delta
    whole = whole.reshape(2, 6, 6, WIDTH)[:, :5, :5].reshape(2, 25, WIDTH)
    np.testing.assert_allclose(padded, whole, rtol=1e-5, atol=1e-6)


def test_a_window_larger_than_the_grid_is_the_whole_grid():
    module, actual, x = in_windows(4, 4, 7, 3)
    plain = AttentionSpec(HEADS, KV, score=GridTable(7))
    whole = bind(attention_of(Attention, plain), params(module))
    edges = connect(plain.mask, grid(4, 4))
    expected = whole(x, edges, how="reference").x
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_what_is_no_grid_is_refused():
    assert size_of(grid(3, 5)) == (3, 5)
    with pytest.raises(ValueError, match="no whole grid of rows and columns"):
        size_of(grid(3, 5)[1:])
    with pytest.raises(ValueError, match="do not fill 4 x 6"):
        windowed(4, 6, 4)
