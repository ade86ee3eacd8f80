"""Tiny models and pictures, made once."""

import pytest

from tests.vision.models import make_model, write_pictures


@pytest.fixture(scope="session")
def vision_model(tmp_path_factory):
    """The folder of a tiny model of a kind."""
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = make_model(tmp_path_factory.mktemp("vision") / kind, kind)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def picture_files(tmp_path_factory):
    """(a folder, the pictures in it)."""
    folder = tmp_path_factory.mktemp("pictures") / "all"
    return folder, write_pictures(folder)
