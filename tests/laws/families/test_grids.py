"""Patches on a grid: what their order means, and tables of positions of other sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.families.test_modalities import same
from transformers_jax.nn.grid import GridRows
from transformers_jax.nn.param import bind, params

IN_FRONT = {"vit": 1, "deit": 2, "dinov2_with_registers": 3, "siglip_vision_model": 0}


def permuted(images, order, side=3, patch=4):
    """The same images, their patches in another order."""
    parts = images.reshape(len(images), 3, side, patch, side, patch).transpose(0, 2, 4, 1, 3, 5)
    parts = parts.reshape(len(images), side * side, 3, patch, patch)[:, order]
    parts = parts.reshape(len(images), side, side, 3, patch, patch).transpose(0, 3, 1, 4, 2, 5)
    return parts.reshape(images.shape)


@pytest.mark.parametrize("family", IN_FRONT)
def test_patches_that_change_places_matter_by_their_positions_alone(family, tiny):
    model, front = tiny(family, head="none"), IN_FRONT[family]
    values = params(model)
    table = jnp.zeros_like(values["embed"]["position"])
    without = bind(model, {**values, "embed": {**values["embed"], "position": table}})
    images = np.random.default_rng(0).normal(size=(2, 3, 12, 12)).astype(np.float32)
    order = np.array([4, 2, 0, 5, 8, 1, 3, 7, 6])
    assert np.array_equal(permuted(images, np.arange(9)), images)
    states = lambda some, model: model(pixel_values=some).last_hidden_state
    before, after = states(images, without), states(permuted(images, order), without)
    same(after[:, :front], before[:, :front])
    same(after[:, front:], before[:, front:][:, order])
    before, after = states(images, model), states(permuted(images, order), model)  # the control
    assert np.abs(after[:, front:] - before[:, front:][:, order]).max() > 1e-2


SIZES = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)


@pytest.mark.parametrize("size", [20, (24, 44)], ids=["square", "oblong"])
@pytest.mark.parametrize("front", [0, 1], ids=["no class token", "class token"])
def test_a_table_of_196_places_is_a_grid_of_14_with_or_without_a_class_token(front, size, tmp_path):
    """196 rows are 14 x 14; read as a class token and 195 others they would be no grid, and cut to
    13 x 13 a wrong one."""
    make = tj.ViTConfig if front else tj.SiglipVisionConfig
    config = make(**SIZES, image_size=28, patch_size=2)
    model = tj.from_config(config, head="none", key=jax.random.key(0))
    table = np.random.default_rng(0).normal(size=(196 + front, 8)).astype(np.float32)
    assert model.embed.position.shape == table.shape
    values = params(model)
    bind(model, {**values, "embed": {**values["embed"], "position": table}}).save_pretrained(
        tmp_path / "model"
    )
    other = tj.from_pretrained(tmp_path / "model", head="none", image_size=size)
    rows, columns = (size, size) if isinstance(size, int) else size
    expected = GridRows((14, 14), front=front, how=model.embed.spec.positions.how)
    expected = expected.resampled(table, (rows // 2, columns // 2))
    same(other.embed.position[...], expected)
    assert len(expected) == front + rows * columns // 4
    if front:
        np.testing.assert_array_equal(other.embed.position[0], table[0])
