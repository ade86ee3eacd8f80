"""Every conformance case of the families that are built, whole: states, losses, tokens, beams."""

import importlib.util
import json
from pathlib import Path

import pytest

from transformers_jax.models import DIFFUSERS, FAMILIES, MODULES

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*/case.json"))


def load(name):
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kinds(path):
    """What a case shows: a family, and a head of any family."""
    config = json.loads((path.parent / "config.json").read_text())
    name = (config.get("architectures") or [""])[0]
    return {family(config), name.partition("For")[2] or "states"}


def family(config):
    """What a config.json calls its family."""
    return config.get("_class_name", config.get("module", config.get("model_type")))


def quick_and_slow(paths):
    """The cases, of which those are slow whose family and head earlier ones have shown."""
    seen = set()
    for path in paths:
        known, seen = kinds(path) <= seen, seen | kinds(path)
        marks = [pytest.mark.slow] if known else []
        yield pytest.param(path, id=path.parent.name, marks=marks)


@pytest.mark.parametrize("path", [*quick_and_slow(CASES)])
def test_the_case_conforms(path):
    result = load("check").check(
        path.parent, json.loads(path.read_text()), load("adapter"), slack=1.0
    )
    assert result["status"] == "ok", result


def test_every_family_has_a_case():
    configs = [json.loads((path.parent / "config.json").read_text()) for path in CASES]
    assert {family(config) for config in configs} >= {*FAMILIES, *MODULES, *DIFFUSERS}
