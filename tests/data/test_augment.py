"""Augmentations: pure functions of (seed, step, row), drawn as their references say."""

from pathlib import Path

import numpy as np
import pytest

from transformers_jax.data.augment import generator
from transformers_jax.data.augment.affine import Affine, warp
from transformers_jax.data.augment.crops import Flip, RandomResizedCrop
from transformers_jax.data.augment.mixing import CutMix, Mixing, Mixup, one_hot
from transformers_jax.data.augment.operations import OPERATIONS, RandAugment, operate
from transformers_jax.data.augment.spectra import SpecAugment

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 19, 23)).astype(np.uint8)
SQUARE = np.random.default_rng(2).integers(0, 256, (3, 8, 8)).astype(np.uint8)
EACH = [RandomResizedCrop((8, 9)), Flip(), RandAugment(), Affine(10.0, 0.1, (0.9, 1.1), 5.0)]


@pytest.mark.parametrize("augmentation", EACH, ids=lambda a: type(a).__name__)
def test_an_augmentation_is_a_function_of_seed_step_and_row(augmentation):
    before = IMAGE.copy()
    made = [augmentation(IMAGE, generator(*n)) for n in ((1, 2, 3), (1, 2, 3))]
    assert np.array_equal(*made)
    assert np.array_equal(IMAGE, before)
    others = [(s, t, r) for s in (1, 2) for t in (2, 3) for r in (3, 4, 5, 6)]
    drawn = {augmentation(IMAGE, generator(*n)).tobytes() for n in others}
    assert len(drawn) > 1  # the control: other numbers give other pictures


def test_generators_of_rows_steps_and_batches_differ():
    numbers = [(s, t, r) for s in range(3) for t in range(3) for r in (None, 0, 1, 2)]
    assert len({generator(*n).integers(2**62) for n in numbers}) == len(numbers)


def test_parts_have_the_area_and_the_shape_that_were_asked_for():
    """Area uniform in `scale`, the logarithm of width / height uniform, and every place alike, as
    torchvision draws them; of what does not fit in ten tries, the middle."""
    crop = RandomResizedCrop((8, 8), scale=(0.1, 0.4))
    rng = generator(0, 0)
    boxes = np.array([crop.box(400, 400, rng) for _ in range(4000)])
    top, left, down, across = boxes.T
    area, shape = down * across / 400**2, np.log(across / down)
    assert 0.099 < area.min() < 0.11
    assert 0.39 < area.max() < 0.403
    assert area.mean() == pytest.approx(0.25, abs=0.006)
    assert np.percentile(area, [25, 75]) == pytest.approx([0.175, 0.325], abs=0.008)
    assert shape.mean() == pytest.approx(0, abs=0.012)
    assert shape.std() == pytest.approx(2 * np.log(4 / 3) / np.sqrt(12), abs=0.006)
    free = (top / (400 - down), left / (400 - across))
    assert all(part.mean() == pytest.approx(0.5, abs=0.02) for part in free)
    assert crop.box(1000, 10, rng) == (493, 0, 13, 10)
    assert crop.box(10, 1000, rng) == (0, 493, 10, 13)


def test_half_of_the_pictures_are_mirrored():
    flipped = sum(Flip()(IMAGE, generator(0, 0, n))[0, 0, 0] != IMAGE[0, 0, 0] for n in range(400))
    assert 160 < flipped < 240
    assert np.array_equal(Flip(1.0)(IMAGE, generator(0, 0)), IMAGE[:, :, ::-1])


# ---------------------------------------------------------------- affine maps


def turned(**numbers):
    usual = dict(angle=0.0, shift=(0.0, 0.0), factor=1.0, lean=0.0)
    return warp(SQUARE, **{**usual, **numbers})


def test_an_affine_map_turns_moves_scales_and_leans():
    assert np.array_equal(turned(), SQUARE)
    quarter = np.int16(turned(angle=90.0)) - np.rot90(SQUARE, axes=(1, 2))
    assert np.abs(quarter).max() <= 1  # Pillow cuts what is left of a level
    moved = turned(shift=(2.0, -1.0))
    assert np.array_equal(moved[:, :-1, 2:], SQUARE[:, 1:, :-2])
    assert not moved[:, -1].any()  # black outside
    larger = turned(factor=2.0)
    middle = np.float64(SQUARE[:, 2:6, 2:6])
    shrunk = np.float64(larger).reshape(-1, 4, 2, 4, 2).mean((2, 4))
    assert np.abs(shrunk - middle).mean() < np.abs(np.float64(SQUARE[:, ::2, ::2]) - middle).mean()
    bar = np.zeros((1, 8, 9), np.uint8)
    bar[:, :, 4] = 255
    leaning = warp(bar, 0.0, (0.0, 0.0), 1.0, 30.0)[0].argmax(1)
    assert leaning[0] > 4 > leaning[-1]


def test_an_affine_map_is_within_its_limits_and_another_for_each_picture():
    still = Affine(degrees=0.0, translate=0.0, scale=(1.0, 1.0), shear=0.0)
    assert np.array_equal(still(SQUARE, generator(0, 0)), SQUARE)
    drawn = Affine(degrees=10.0, translate=0.1, scale=(0.9, 1.1), shear=5.0)
    first, again, other = (drawn(SQUARE, generator(0, n)) for n in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(drawn(SQUARE[:1], generator(0, 0)), first[:1])  # each channel alike


# ---------------------------------------------------------------- RandAugment


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_equals_that_of_torchvision(name):
    with np.load(Path(__file__).parent / "augmented.npz") as stored:
        keys = [key for key in stored.files if key.startswith(f"{name}/")]
        assert len(keys) == (6 if OPERATIONS[name][2] else 3)
        for key in keys:
            _, magnitude, sign = key.split("/")
            result = operate(stored["picture"], name, int(magnitude), int(sign))
            assert np.array_equal(result, stored[key]), key
        grey = np.repeat(stored["picture"][:1], 3, axis=0)
        for sign in (1, -1):  # of one channel it is what it is of three that are alike
            results = operate(grey[:1], name, 9, sign), operate(grey, name, 9, sign)
            assert np.array_equal(np.repeat(results[0], 3, axis=0), results[1])


def test_operations_are_drawn_alike(monkeypatch):
    counts = dict.fromkeys(OPERATIONS, 0)
    signs = []

    def counted(image, name, magnitude, sign):
        counts[name] += 1
        signs.append(sign)
        return image

    module = "transformers_jax.data.augment.operations.operate"
    monkeypatch.setattr(module, counted)
    rng = generator(0, 0)
    for _ in range(1400):
        RandAugment(layers=3)(IMAGE, rng)
    assert all(240 < count < 360 for count in counts.values())  # of 300 each
    assert abs(np.mean(signs)) < 0.06


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Affine(scale=(0.0, 1.0)), "0 < low <= high of scale"),
        (lambda: Affine(degrees=5.0)(IMAGE / 255, generator(0, 0)), "before levels are rescaled"),
        (lambda: RandAugment(among=("rotation",)), "no operation 'rotation'.*'rotate'"),
        (lambda: RandAugment(magnitude=31), "magnitude from 0 to 30"),
        (lambda: RandAugment()(IMAGE / 255, generator(0, 0)), "before levels are rescaled"),
        (lambda: RandomResizedCrop((8, 8), scale=(0.0, 1)), "0 < low <= high"),
        (lambda: Mixup(0.0), "a number above 0"),
        (lambda: one_hot(np.array([3]), 3), r"class 3 is not in \[0, 3\)"),
    ],
)
def test_what_means_nothing_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# ---------------------------------------------------------------- pairs


BATCH = np.random.default_rng(1).normal(size=(4, 3, 10, 12)).astype(np.float32)
TARGETS = one_hot(np.array([0, 2, 1, 2]), 3, smoothing=0.1)


def test_targets_are_smoothed():
    assert TARGETS[0] == pytest.approx([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    assert TARGETS.sum(1) == pytest.approx(1)


def test_mixup_mixes_pictures_and_targets_by_one_share():
    images, targets = Mixup(0.8)(BATCH, TARGETS, generator(3, 0))
    share = (images[0] - BATCH[3])[0, 0, 0] / (BATCH[0] - BATCH[3])[0, 0, 0]
    assert np.allclose(images, share * BATCH + (1 - share) * BATCH[::-1], atol=1e-5)
    assert np.allclose(targets, share * TARGETS + (1 - share) * TARGETS[::-1], atol=1e-5)
    shares = [
        Mixup(0.8)(np.eye(2)[:, None, None], np.eye(2), generator(0, n))[1][0, 0]
        for n in range(2000)
    ]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.006)  # of Beta(a, a)


def test_cutmix_weights_targets_by_the_area_that_is_left():
    images, targets = CutMix()(BATCH, TARGETS, generator(5, 1))
    from_other = (images == BATCH[::-1]).all(1) & ~(BATCH[::-1] == BATCH).all(1)
    share = 1 - from_other[0].mean()
    assert 0 < share < 1
    assert (from_other == from_other[0]).all()
    assert np.allclose(targets, share * TARGETS + (1 - share) * TARGETS[::-1], atol=1e-6)
    boxes = np.array([CutMix().box(40, 60, generator(0, n)) for n in range(2000)])
    assert (boxes >= 0).all()
    assert boxes[:, 1].max() == 40
    assert boxes[:, 3].max() == 60
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) / 2400
    # Of an edge r, whose middle is uniform, r - r^2 / 4 is within on each axis; r^2 is uniform.
    edge = np.sqrt((np.arange(10000) + 0.5) / 10000)
    assert area.mean() == pytest.approx(np.mean((edge - edge**2 / 4) ** 2), abs=0.015)


def test_mixing_is_either_or_neither():
    rng = generator(0, 0)
    same = sum(Mixing(probability=0.5)(BATCH, TARGETS, rng)[0] is BATCH for _ in range(400))
    assert 160 < same < 240
    kinds = [Mixing()(BATCH, TARGETS, rng)[0] for _ in range(400)]
    cut = sum(np.isin(images, BATCH).all() for images in kinds)
    assert 160 < cut < 240
    assert Mixing(None, None)(BATCH, TARGETS, rng)[1] is TARGETS


# ---------------------------------------------------------------- spectra


def test_masks_of_a_spectrum_are_as_wide_as_the_paper_says():
    features = np.ones((80, 300), np.float32)
    augment = SpecAugment(bands=1, band=27, stretches=0)
    widths = [(augment(features, generator(0, n))[:, 0] == 0).sum() for n in range(1500)]
    assert (min(widths), max(widths)) == (0, 27)
    assert np.mean(widths) == pytest.approx(13.5, abs=0.7)  # uniform from 0 to 27
    augment = SpecAugment(bands=0, stretches=1, stretch=100, share=0.2)
    widths = [(augment(features, generator(0, n))[0] == 0).sum() for n in range(1500)]
    assert (min(widths), max(widths)) == (0, 60)


def test_a_spectrum_is_masked_where_there_is_audio():
    features = np.random.default_rng(0).normal(size=(20, 50)).astype(np.float32)
    before = features.copy()
    masked = SpecAugment(band=9, stretch=9, value=None)(features, generator(0, 4), frames=30)
    assert np.array_equal(features, before)
    assert np.array_equal(masked[:, 30:], features[:, 30:])
    changed = masked[masked != features]
    assert len(changed)
    assert np.allclose(changed, features[:, :30].mean())
