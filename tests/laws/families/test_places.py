"""What models of images know of the places of patches: nothing without positions; and images of
another shape than that of training are read, or refused with the way out."""

import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax.nn.param import bind, params

PATCH, SIDE = 4, 3  # pixels of a patch, and patches of an image, along either axis
PATCHED = ("vit", "deit", "beit", "dinov2", "dinov2_with_registers", "clip_vision_model",
           "siglip_vision_model")  # fmt: skip
STAGED = ("swin", "swinv2", "convnext", "convnextv2", "resnet")
UNBIASED = {"beit": dict(use_relative_position_bias=False, use_shared_relative_position_bias=False)}
ASKED = ("vit", "deit", "clip_vision_model", "siglip_vision_model")
"""Those that take another size only with `interpolate_pos_encoding=True`."""


def images(rows, columns):
    return np.random.default_rng(0).normal(size=(2, 3, rows, columns)).astype(np.float32)


def permuted(x, order):
    """The images, their patches in another order."""
    parts = x.reshape(2, 3, SIDE, PATCH, SIDE, PATCH).transpose(0, 2, 4, 1, 3, 5)
    parts = parts.reshape(2, SIDE**2, 3, PATCH, PATCH)[:, order]
    parts = parts.reshape(2, SIDE, SIDE, 3, PATCH, PATCH).transpose(0, 3, 1, 4, 2, 5)
    return parts.reshape(x.shape)


def states(model, x, **options):
    return np.asarray(model(pixel_values=x, **options).last_hidden_state)


def without_positions(model):
    """The model, its table of positions empty."""
    values = params(model)
    if "position" in values["embed"]:
        values["embed"]["position"] = jnp.zeros_like(values["embed"]["position"])
    return bind(model, values)


@pytest.mark.parametrize("family", PATCHED)
def test_without_positions_permuting_patches_permutes_their_states(family, tiny):
    x, order = images(SIDE * PATCH, SIDE * PATCH), np.random.default_rng(1).permutation(SIDE**2)
    model = tiny(family, head="none")
    front = model.embed.spec.in_front
    moved = lambda model: states(model, permuted(x, order))
    stayed = lambda model: states(model, x)
    inner = lambda y: y[:, front:]
    assert np.abs(inner(moved(model)) - inner(stayed(model))[:, order]).max() > 1e-3  # the control
    plain = without_positions(tiny(family, head="none", **UNBIASED.get(family, {})))
    before, after = stayed(plain), moved(plain)
    np.testing.assert_allclose(inner(after), inner(before)[:, order], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after[:, :front], before[:, :front], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", [*PATCHED, *STAGED])
def test_oblong_images_are_read_or_refused_with_the_way_out(family, tiny):
    model, x = tiny(family, head="none"), images(2 * PATCH, 5 * PATCH)
    if family in ASKED:
        with pytest.raises(ValueError, match="interpolate_pos_encoding=True"):
            states(model, x)
        oblong = states(model, x, interpolate_pos_encoding=True)  # as the error advises
    else:
        oblong = states(model, x)
    assert np.isfinite(oblong).all()
    if family in PATCHED:
        assert oblong.shape[1] == model.embed.spec.in_front + 2 * 5
        upright = model(pixel_values=x.swapaxes(2, 3), interpolate_pos_encoding=True)
        assert np.abs(np.asarray(upright.last_hidden_state) - oblong).max() > 1e-3
