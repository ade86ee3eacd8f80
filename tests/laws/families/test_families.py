"""Every family is in the lists of the laws, or is built like one that is."""

from tests.laws.families import test_graphs, test_modalities, test_packing
from tests.laws.families.conftest import CONFIGS, HEADS, KIN, OTHERS
from transformers_jax.models import FAMILIES, config_class


def listed(names):
    """The families that these names refer to."""
    known = {config().model_type for name, config in CONFIGS.items() if name in names}
    return known | {family for family, other in KIN.items() if other in names}


def test_every_family_is_in_the_lists_of_the_laws():
    texts = set(FAMILIES) - OTHERS.keys()
    for names in (CONFIGS, HEADS, test_graphs.FAMILIES, test_packing.MASKS):
        assert listed(names) >= texts, texts - listed(names)
    without = {name: config for name, config in CONFIGS.items() if name != "led"}
    assert texts - listed(without) == {"led"}  # the control


def test_a_family_without_the_laws_of_texts_has_those_of_its_modality():
    assert OTHERS.keys() == test_modalities.MODALITIES.keys() <= set(FAMILIES)
    assert {*test_modalities.MODALITIES.values()} == test_modalities.LAWS.keys()
    for family, modality in test_modalities.MODALITIES.items():
        for law in test_modalities.LAWS[modality]:
            assert family in test_modalities.families_with(law)
    every = set().union(*test_modalities.LAWS.values())
    assert every == test_modalities.tested  # each law has a test
    for family, others in test_modalities.PARTS.items():  # quick tests have what slow ones repeat
        assert not test_modalities.PARTS.keys() & set(others)
        for law in (
            test_modalities.COMPILED & test_modalities.LAWS[test_modalities.MODALITIES[family]]
        ):
            assert set(others) <= set(test_modalities.families_with(law))


def test_kin_are_built_by_the_methods_of_their_base_family():
    kinds = {config().model_type: config for config in CONFIGS.values()}
    builds = ("embed", "spec", "attend", "score", "backbone", "network", "head", "pooler")
    for family, other in KIN.items():
        own, relative = config_class({"model_type": family}), type(kinds[other]())
        for name in builds:
            assert getattr(own, name, None) is getattr(relative, name, None), (family, name)
    marian, bart = (type(kinds[name]()) for name in ("marian", "bart"))
    assert any(getattr(marian, name, None) is not getattr(bart, name, None) for name in builds)


def test_no_family_is_the_kin_of_another_and_has_a_model_too():
    assert not {config().model_type for config in CONFIGS.values()} & KIN.keys()
