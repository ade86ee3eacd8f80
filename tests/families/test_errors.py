"""What a family cannot do is refused by name, before anything is built; in every family alike."""

import dataclasses
import importlib
import json

import jax
import pytest

import transformers_jax as tj
from transformers_jax.models import FAMILIES, MODULES, SWITCHED
from transformers_jax.models.config import FIXED_EVERYWHERE, FamilyConfig

KNOWN = [*FAMILIES, *MODULES]


def config_of(kind):
    """The config class of a family."""
    file, name = {**FAMILIES, **MODULES}[kind].split(":")
    return getattr(importlib.import_module(f"transformers_jax.models.{file}"), name)


def read(kind, **values):
    """The content of a config.json of a family, read as `from_config` does."""
    key = "module" if kind in MODULES else "model_type"
    return tj.AutoConfig.from_pretrained({key: kind, **values})


def own_field(kind):
    """A field that families do not share."""
    shared = {field.name for field in dataclasses.fields(FamilyConfig)}
    names = [field.name for field in dataclasses.fields(config_of(kind))]
    return next(name for name in names if name not in shared)


def another(value):
    """A value of the same type that differs."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else "something else"


@pytest.mark.parametrize("kind", KNOWN)
def test_an_unknown_key_is_reported_with_the_nearest_name(kind):
    name = own_field(kind)
    with pytest.raises(ValueError, match=f"unknown key '{name}z'; did you mean '{name}'") as error:
        read(kind, **{f"{name}z": 4, "wormhole": True})
    assert "'wormhole'" in str(error.value), "all errors are reported at once"


WORDS = {
    "int": "a whole number",
    "float": "a finite number",
    "bool": "True or False",
    "str": "a text",
    "int | None": "a whole number or None",
    "FamilyConfig": "FamilyConfig",
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_wrong_type_is_reported_with_the_right_one(kind):
    wrong = {"int": "two", "float": "a tenth", "bool": "yes", "str": 3, "int | None": "none"}
    wrong["FamilyConfig"] = "bert"
    fields = [f for f in dataclasses.fields(config_of(kind)) if f.type in wrong]
    translated = {"tie_word_embeddings", "scale_decoder_outputs"}  # by T5, of each other
    tried = {field.type: field for field in fields if field.name not in translated}
    for kind_of, field in tried.items():
        with pytest.raises(ValueError, match=f"{field.name} should be {WORDS[kind_of]}, not "):
            read(kind, **{field.name: wrong[kind_of]})
    assert tried.keys() & {"int", "FamilyConfig"}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_value_that_is_not_implemented_is_reported_by_its_key(kind):
    for key, value in {**FIXED_EVERYWHERE, **config_of(kind).FIXED}.items():
        if key in {field.name for field in dataclasses.fields(config_of(kind))}:
            continue  # implemented in this family only
        if key == SWITCHED.get(kind, ("",))[0]:
            continue  # another class reads a file that says so
        with pytest.raises(ValueError, match=f"{key}=.* is not implemented"):
            read(kind, **{key: another(value)})


@pytest.mark.parametrize("kind", KNOWN)
def test_an_unknown_head_is_reported_with_the_known_ones(kind):
    config = config_of(kind)
    head = list(config.HEADS)[-1]
    with pytest.raises(ValueError, match=f"no head '{head}z'; did you mean '{head}'") as error:
        tj.from_config(config(), head=f"{head}z", key=jax.random.key(0))
    assert all(name in str(error.value) for name in config.HEADS)


@pytest.mark.parametrize("kind", KNOWN)
def test_an_unknown_field_is_reported_with_the_nearest_name(kind):
    name = own_field(kind)
    with pytest.raises(ValueError, match=f"unknown field '{name}z'; did you mean '{name}'"):
        tj.from_config(config_of(kind)(), key=jax.random.key(0), **{f"{name}z": 4})


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_misspelt_family_is_reported_with_the_nearest_name(kind, tmp_path):
    values = {"model_type": f"{kind.upper()}-x"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    for read in (
        lambda: tj.from_config(values, key=jax.random.key(0)),
        lambda: tj.from_pretrained(tmp_path),
        lambda: tj.AutoConfig.from_pretrained(tmp_path),
        lambda: tj.AutoModel.from_pretrained(tmp_path),
    ):
        with pytest.raises(ValueError, match=f"is not supported; did you mean .*'{kind}'"):
            read()


def test_up_to_three_families_are_offered_and_all_are_listed():
    with pytest.raises(ValueError, match=r"did you mean ('\w+', )?'\w+' or '\w+'\?") as error:
        read("berta")
    assert all(kind in str(error.value) for kind in KNOWN)
    with pytest.raises(ValueError, match="names no model_type"):
        tj.AutoConfig.from_pretrained({"hidden_size": 4})
    with pytest.raises(ValueError, match=r"module 'torch\.nn\.Transformr' is not supported"):
        tj.AutoConfig.from_pretrained({"module": "torch.nn.Transformr"})
    with pytest.raises(ValueError, match=r"model_type \"\['bert'\]\" is not supported"):
        tj.AutoConfig.from_pretrained({"model_type": ["bert"]})


def test_valid_configs_are_read():
    for kind in KNOWN:
        config = config_of(kind)
        assert isinstance(read(kind, **config.FIXED, architectures=None), config)
