"""Convolutions of groups of channels: the library's own in value and derivatives, on any mesh.

XLA's derivative of a grouped convolution by its kernel is as many times too large as there are
devices over which a batch is copied.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax.nn.grouped_convolution import depthwise, grouped


def drawn(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def by_library(x, weight):
    """The same, by one convolution of the library."""
    if x.ndim == 4:
        edges = [(size // 2, size // 2) for size in weight.shape[:2]]
        kernel, names, groups = weight[:, :, None], ("NHWC", "HWIO", "NHWC"), x.shape[-1]
    else:
        taps, groups, part = weight.shape[:3]
        edges, names = [(taps // 2, (taps - 1) // 2)], ("NTC", "TIO", "NTC")
        kernel = weight.transpose(0, 2, 1, 3).reshape(taps, part, -1)
    return jax.lax.conv_general_dilated(
        x, kernel, (1,) * len(edges), edges, dimension_numbers=names, feature_group_count=groups
    )


CASES = {
    "depthwise": (depthwise, (8, 5, 7, 6), (3, 5, 6)),
    "even": (grouped, (8, 9, 12), (4, 3, 4, 4)),
    "odd": (grouped, (8, 9, 12), (5, 3, 4, 4)),
}


def derivatives(function, x, weight):
    loss = lambda x, weight: jnp.sin(function(x, weight)).sum()
    return jax.value_and_grad(loss, argnums=(0, 1))(x, weight)


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_are_those_of_the_library(name):
    function, *shapes = CASES[name]
    arrays = drawn(*shapes)
    np.testing.assert_allclose(function(*arrays), by_library(*arrays), rtol=1e-4, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        derivatives(function, *arrays),
        derivatives(by_library, *arrays),
    )
    twice = jax.jvp(lambda w: derivatives(function, arrays[0], w)[1][1], arrays[1:], arrays[1:])
    right = jax.jvp(lambda w: derivatives(by_library, arrays[0], w)[1][1], arrays[1:], arrays[1:])
    np.testing.assert_allclose(twice[1], right[1], rtol=1e-3, atol=1e-3)


PROGRAM = """
    import jax, numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from tests.nn.test_grouped_convolutions import CASES, derivatives, drawn

    axes = ("data", "fsdp", "tensor")
    mesh = jax.make_mesh((2, 2, 2), axes, axis_types=(AxisType.Auto,) * 3)
    for function, *shapes in CASES.values():
        arrays = drawn(*shapes)
        expected = derivatives(function, *arrays)
        for cut in (P(), P("data"), P(("data", "fsdp")), P(axes)):
            placed = [jax.device_put(a, NamedSharding(mesh, s)) for a, s in zip(arrays, (cut, P()))]
            actual = jax.jit(lambda *both: derivatives(function, *both))(*placed)
            for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
                assert np.linalg.norm(a - b) < 1e-5 * np.linalg.norm(b), (function, cut)
    print("agrees")
"""


def test_derivatives_are_the_same_however_the_batch_is_cut(on_eight_devices):
    assert on_eight_devices(PROGRAM).stdout == "agrees\n"
