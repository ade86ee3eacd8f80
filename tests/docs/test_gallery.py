"""The gallery has a picture of each family that sees or hears, which its command makes."""

import re
from pathlib import Path

import pytest

from tests.laws.families.test_modalities import MODALITIES
from train.gallery.__main__ import EVERY, main

DOCS = Path(__file__).parents[2] / "docs"
PARTS = ("_text_model", "_vision_model", "_qformer")  # of families that are shown whole


def test_each_family_that_sees_or_hears_has_a_picture():
    families = {family for family in MODALITIES if not family.endswith(PARTS)}
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
