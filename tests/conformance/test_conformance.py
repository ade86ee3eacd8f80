"""Every conformance case of the families that are built, whole: states, losses, tokens, beams."""

import importlib.util
import json
from pathlib import Path

import pytest

from transformers_jax.models import FAMILIES, MODULES

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*/case.json"))


def load(name):
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_the_case_conforms(path):
    result = load("check").check(
        path.parent, json.loads(path.read_text()), load("adapter"), slack=1.0
    )
    assert result["status"] == "ok", result


def test_every_family_has_a_case():
    configs = [json.loads((path.parent / "config.json").read_text()) for path in CASES]
    families = {config.get("module", config.get("model_type")) for config in configs}
    assert families >= {*FAMILIES, *MODULES}
