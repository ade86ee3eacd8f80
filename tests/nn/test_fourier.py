"""Fourier features: those of the reference, and what they say of a place."""

from pathlib import Path

import jax
import numpy as np
import pytest

from transformers_jax.nn.fourier import FourierPositions, even

HERE = Path(__file__).parent
CASES = {
    "pixels": (64, (224, 224), (4, 5)),
    "sound": (192, (30720,), (1920,)),
    "video": (32, (16, 56, 56), (3, 2, 5)),
    "one": (3, (7, 9), (1, 2)),
}
CLOSE = dict(rtol=0, atol=2e-7)  # a sine that another library rounds


@pytest.mark.parametrize("name", CASES)
def test_features_are_those_of_the_reference(name):
    stored = np.load(HERE / "fourier.npz")
    bands, resolution, grid = CASES[name]
    positions = FourierPositions(bands, resolution)
    features = np.asarray(positions.of_grid(grid))
    assert features.shape == (np.prod(grid), positions.width)
    few = features[:: max(1, len(features) // 24)]
    np.testing.assert_allclose(few, stored[f"{name}/grid"], **CLOSE)
    points = stored["points"] % np.prod(grid)
    asked = positions.of_points(points, grid)
    np.testing.assert_allclose(asked, stored[f"{name}/points"], **CLOSE)
    other = FourierPositions(bands, (*resolution[:-1], resolution[-1] + 2))  # the control
    assert np.abs(np.asarray(other.of_grid(grid)) - features).max() > 1e-3


def test_no_two_places_of_a_grid_look_alike():
    features = np.asarray(FourierPositions(8, (16, 16)).of_grid((16, 16)))
    distance = np.linalg.norm(features[:, None] - features, axis=-1)
    assert (distance + np.eye(256)).min() > 0.1
    assert np.abs(features).max() <= 1


def test_a_program_holds_the_features_of_an_axis_and_not_of_every_pixel():
    positions = FourierPositions(64, (224, 224))
    text = jax.jit(lambda: positions.of_grid((224, 224))).lower().as_text()
    assert len(text) < 10 * 224 * 129 * 8  # of 224 places; of 224 x 224 it would be 100 times more


def test_a_point_that_is_not_there_is_no_number():
    positions = FourierPositions(2, (4, 4))
    asked = np.asarray(positions.of_points(np.array([-1, 0, 15, 16]), (4, 4)))
    assert np.isnan(asked).all(1).tolist() == [True, False, False, True]


def test_numbers_are_even_from_both_ends():
    for count in (1, 2, 3, 56, 224):
        numbers = even(-1.0, 1.0, count)
        assert numbers.dtype == np.float32
        assert numbers[0] == -1
        np.testing.assert_allclose(numbers, np.linspace(-1, 1, count), atol=1e-7)
        if count > 1:
            assert np.array_equal(numbers, -numbers[::-1])


@pytest.mark.parametrize(("bands", "resolution"), [(0, (4,)), (2, (4, 0)), (2.5, (4,))])
def test_what_makes_no_features_is_refused(bands, resolution):
    with pytest.raises(ValueError, match=r"(bands|resolution) of Fourier features=.* at least 1"):
        FourierPositions(bands, resolution)
