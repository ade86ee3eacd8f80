"""The state of optimizers: its dtypes, and the names of its axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.training.optim_cases import (
    RECORDS,
    gradients,
    train,
    tree,
)
from transformers_jax.nn.param import axes, flatten, params, unflatten
from transformers_jax.optim import (
    AdamW,
)
from transformers_jax.optim.layers import state_axes


def test_moments_are_float32_for_parameters_of_less_precision(model):
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params(model))
    for record in RECORDS.values():
        built = record.build(axes(model), 10).transformation
        state = jax.eval_shape(built.init, low)
        updates, after = jax.eval_shape(built.update, low, state, low)
        kinds = {leaf.dtype for leaf in jax.tree.leaves(state)}
        assert kinds == {jnp.dtype("float32"), jnp.dtype("int32")}  # moments and counts
        assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype("bfloat16")}
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


@pytest.mark.parametrize("name", RECORDS)
def test_parameters_of_bfloat16_move_as_those_of_float32_do(name):
    built = RECORDS[name].build(tree(lambda a, s: a), 10)
    start, every = gradients(0), [gradients(1), gradients(2)]
    low = {path: value.astype(jnp.bfloat16) for path, value in start.items()}
    rounded = {path: value.astype(jnp.float32) for path, value in low.items()}
    for wide, narrow in zip(train(built, rounded, every), train(built, low, every)):
        for path in wide:
            assert narrow[path].dtype == jnp.bfloat16
            np.testing.assert_allclose(narrow[path], wide[path], atol=0.01, rtol=0.02)
            assert np.abs(wide[path] - rounded[path]).max() > 5e-4  # it did move


@pytest.mark.parametrize("name", RECORDS)
def test_every_array_of_a_state_has_named_axes_and_counts_have_none(name):
    names, shapes = flatten(tree(lambda a, s: a)), flatten(tree(lambda a, s: s))
    built = RECORDS[name].build(tree(lambda a, s: a), 10).transformation
    state = jax.eval_shape(built.init, unflatten(gradients(0)))
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    leaf_axes = [(leaf, state_axes(path, leaf.shape, names, shapes)) for path, leaf in flat]
    assert all(len(axes) == leaf.ndim for leaf, axes in leaf_axes if axes is not None)
    assert all(np.prod(leaf.shape) <= 6 for leaf, axes in leaf_axes if axes is None)
    assert sum(axes is not None for _, axes in leaf_axes) >= len(names)


def test_means_over_rows_and_columns_have_the_names_of_the_remaining_axes():
    path = (jax.tree_util.DictKey("w"), jax.tree_util.GetAttrKey("v_row"))
    names, shapes = {"w": ("layers", "embed", "heads", "kv")}, {"w": (3, 6, 2, 4)}
    expected = {
        (3, 6, 2, 4): ("layers", "embed", "heads", "kv"),
        (3, 6, 8): ("layers", "embed", "heads"),
        (3, 6): ("layers", "embed"),
        (3, 8): ("layers", "heads"),
        (3, 1): None,
        (3,): None,
    }
    assert {shape: state_axes(path, shape, names, shapes) for shape in expected} == expected
    assert state_axes((jax.tree_util.DictKey("x"),), (3, 6), names, shapes) is None


def test_parameters_of_another_model_are_refused(model):
    built = AdamW().build({"w": ("embed",)}, 10)
    with pytest.raises(ValueError, match="built for other parameters: missing \\['w'\\]"):
        built.transformation.init(params(model))
    assert tj.AdamW is AdamW
