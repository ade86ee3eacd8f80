"""The gallery has a picture of each family that sees, hears, acts, or knows a structure, which its
command makes."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.laws.families.test_modalities import MODALITIES
from train.gallery.__main__ import EVERY, main
from train.gallery.pictures import SIDE, falls
from train.gallery.structures import STRUCTURED

DOCS = Path(__file__).parents[2] / "docs"
PARTS = ("_text_model", "_vision_model", "_qformer")  # of families that are shown whole


def test_each_family_that_sees_or_hears_has_a_picture():
    families = {family for family in MODALITIES if not family.endswith(PARTS)} | {*STRUCTURED}
    files = {file.stem for file in (DOCS / "gallery").glob("*.png")}
    shown = re.findall(r"\(gallery/(.+)\.png\)", (DOCS / "gallery.md").read_text())
    assert families == EVERY.keys() == files == {*shown}
    assert len(shown) == len(files)


def test_pictures_are_small():
    sizes = {file.name: file.stat().st_size for file in (DOCS / "gallery").iterdir()}
    assert sum(sizes.values()) < 1_500_000
    assert max(sizes.values()) < 120_000, sizes


@pytest.mark.slow
@pytest.mark.parametrize("family", EVERY)
def test_the_command_draws_a_family(family, tmp_path):
    assert main([family, "--steps", "2", "--out", str(tmp_path)]) == 0
    assert [file.name for file in tmp_path.iterdir()] == [f"{family}.png"]


def test_a_family_without_a_picture_is_refused(capsys):
    assert main(["bert"]) == 2
    assert "no picture is of bert; there are those of vit," in capsys.readouterr().err


def test_covered_is_what_a_model_cannot_do_without():
    """A model that scores the digit by the ink in the upper right quarter alone: squares that cover
    some of it lower the score, and no others."""

    def model(pixel_values):
        scores = np.zeros((len(pixel_values), 10))
        scores[:, 3] = pixel_values[:, :, :16, 16:].mean((1, 2, 3))
        return SimpleNamespace(logits=scores)

    image = np.ones((1, 3, SIDE, SIDE), np.float32)
    heat = falls(lambda pixel_values, labels: model(pixel_values), "names", image, 3)
    assert (heat[:5, 3:] > 0).all()
    assert not heat[5:].any()
    assert not heat[:, :3].any()


def test_pictures_of_untrained_models_are_those_that_need_no_training():
    assert {n for n, one in EVERY.items() if not one.steps} == {"vit_mae", "llava", "paligemma"}
