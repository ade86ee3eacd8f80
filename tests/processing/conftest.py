"""What the tests of processing share."""

import json

import pytest


@pytest.fixture
def folder(tmp_path):
    """Writes a folder with preprocessor_config.json (and other files), and gives its path."""

    def make(config=None, **files):
        if config is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return make
