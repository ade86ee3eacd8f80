"""Every key of the reference's configs is a field, fixed at one value, or ignored with a reason.

fixtures/config_keys.json is made by make_config_keys.py; the reasons stand in config_keys.py.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

import transformers_jax as tj
from tests.families import config_keys
from tests.families.test_round_trip import CASES
from transformers_jax.models import FAMILIES, config_class
from transformers_jax.models.config import FIXED_EVERYWHERE, IGNORED, FamilyConfig

KEYS = json.loads((Path(__file__).parent / "fixtures" / "config_keys.json").read_text())["families"]
OF_EVERY = {"model_type", "is_encoder_decoder"}


def reasons(cls):
    """Why keys of a family change nothing, those of its parents included."""
    explained = dict(config_keys.EVERYWHERE)
    for parent in reversed(cls.__mro__):
        if "model_type" in vars(parent):
            explained |= config_keys.FAMILY.get(parent.model_type, {})
    return explained


def unexplained(cls, keys):
    """The keys that are no field, not fixed and without a reason, or that are refused."""
    fields = {field.name for field in dataclasses.fields(cls)}
    covered = fields | {*FIXED_EVERYWHERE, *cls.FIXED, *OF_EVERY}
    ignored = {key for key in reasons(cls) if key in IGNORED | cls.UNUSED}
    modern = {key for key in keys if key not in cls.modernise({key: None})}
    spelled = {key for key in keys if cls.SPELLINGS.get(key, key) in covered | ignored}
    return sorted(set(keys) - spelled - modern)


def test_the_table_has_every_family():
    assert set(KEYS) == set(FAMILIES), "python tests/families/make_config_keys.py"


@pytest.mark.parametrize("family", FAMILIES)
def test_each_key_of_the_reference_is_read_fixed_or_ignored_with_a_reason(family):
    cls = config_class({"model_type": family})
    assert not unexplained(cls, KEYS[family])
    assert unexplained(cls, [*KEYS[family], "a_new_switch"]) == ["a_new_switch"]  # the control


@pytest.mark.parametrize("family", FAMILIES)
def test_each_ignored_key_has_a_reason_and_each_reason_a_key(family):
    cls = config_class({"model_type": family})
    assert reasons(cls).keys() >= cls.UNUSED
    assert config_keys.FAMILY.get(family, {}).keys() <= cls.UNUSED
    assert set(config_keys.EVERYWHERE) == IGNORED
    assert not cls.UNUSED & cls.FIXED.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_each_field_is_a_key_of_the_reference(family):
    """What the reference does not read must not change a number here."""
    cls = config_class({"model_type": family})
    theirs = {cls.SPELLINGS.get(key, key) for key in KEYS[family]}
    known = {*config_keys.FURTHER_FIELDS, *config_keys.READ_WITH_A_DEFAULT.get(family, "").split()}
    every = {field.name for field in dataclasses.fields(FamilyConfig)}
    further = {field.name for field in dataclasses.fields(cls)} - theirs
    assert further <= known | (every if family.endswith("encoder-decoder") else set())


@pytest.mark.parametrize(
    ("family", "switch"),
    [
        ("bert", {"position_embedding_type": "relative_key"}),
        ("bert", {"pruned_heads": {"0": [1]}}),
        ("bert", {"cross_attention_hidden_size": 32}),
        ("bart", {"normalize_before": True}),
        ("bart", {"normalize_embedding": False}),
        ("bart", {"static_position_embeddings": True}),
        ("bart", {"extra_pos_embeddings": 0}),
        ("marian", {"static_position_embeddings": False}),
        ("blenderbot", {"layernorm_variant": "xlm"}),
        ("blenderbot-small", {"layernorm_variant": "prelayernorm"}),
        ("longformer", {"attention_mode": "n2"}),
        ("longformer", {"attention_mode": "sliding_chunks_no_overlap"}),
        ("deberta", {"talking_head": True}),
        ("t5", {"quantization_config": {"bits": 8}}),
    ],
)
def test_a_switch_that_changes_numbers_is_refused_by_name(family, switch):
    (name,) = switch
    cls = config_class({"model_type": family})
    with pytest.raises(ValueError, match=f"{name}=.* is not implemented for {family}"):
        cls.from_dict(switch)


def test_the_authors_names_of_longformers_engines_mean_the_same_window():
    cls = config_class({"model_type": "longformer"})
    for mode in ("longformer", "tvm", "sliding_chunks"):
        assert cls.from_dict({"attention_mode": mode}) == cls()


def test_meaningful_config_keys_of_2019_are_read():
    bert, bart = (config_class({"model_type": name}) for name in ("bert", "bart"))
    assert bert.from_dict({"vocab_size_or_config_json_file": 30}).vocab_size == 30
    assert bert.from_dict({"vocab_size_or_config_json_file": -1}).vocab_size == 30522
    both = {"vocab_size": 31, "vocab_size_or_config_json_file": 30}
    assert bert.from_dict(both).vocab_size == 31
    assert bert.from_dict({"_num_labels": 5}).num_labels == 5
    named = {"id2label": {"0": "a", "1": "b", "2": "c"}, "_num_labels": 3}
    assert bert.from_dict(named).num_labels == 3
    assert bart.from_dict({"num_hidden_layers": 3}).encoder_layers == 3
    assert bart.from_dict({"num_hidden_layers": 3, "encoder_layers": 6}).encoder_layers == 6


def test_the_switch_of_bart_large_cnn_forces_the_first_token():
    bart = config_class({"model_type": "bart"})
    switch = {"force_bos_token_to_be_generated": True, "bos_token_id": 4}
    assert bart.from_dict(switch).forced_bos_token_id == 4
    assert bart.from_dict({**switch, "forced_bos_token_id": 0}).forced_bos_token_id == 0
    off = {**switch, "force_bos_token_to_be_generated": False}
    assert bart.from_dict(off).forced_bos_token_id is None


def test_the_first_token_is_forced_only_where_the_config_says_so(tmp_path):
    config = json.loads((CASES / "bart" / "config.json").read_text())
    shutil.copy(CASES / "bart" / "model.safetensors", tmp_path)
    switch = {"bos_token_id": 77, "force_bos_token_to_be_generated": True}
    firsts = {}
    for name, more in (("forced", switch), ("free", {"bos_token_id": 77})):
        (tmp_path / "config.json").write_text(json.dumps({**config, **more}))
        model = tj.from_pretrained(tmp_path)
        firsts[name] = int(model.generate([[5, 6, 7]], max_new_tokens=2)[0, 1])
    assert firsts["forced"] == 77 != firsts["free"]
