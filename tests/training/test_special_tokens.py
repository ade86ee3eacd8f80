"""The special tokens that a run's model takes from its tokenizer."""

from types import SimpleNamespace

import pytest

from transformers_jax.models import FAMILIES, import_class
from transformers_jax.training.vocabulary import special_ids

FAMILIES_OF_TWO_SIDES = {
    name: family
    for name, family in ((name, import_class(address)) for name, address in FAMILIES.items())
    if family.is_encoder_decoder
}
BY_PAD = {"t5", "mt5", "umt5", "longt5", "switch_transformers", "pegasus", "marian"}
BY_BOS = {"blenderbot", "blenderbot-small"}
BY_EOS = {"bart", "led", "m2m_100"}
OTHERWISE = {
    "mbart",
    "whisper",
    "encoder-decoder",
    "speech-encoder-decoder",
    "vision-encoder-decoder",
}
"""Whose decoders start with the code of a language, a token of its own, or as the config says."""

SPECIAL = {"pad": 11, "bos": 12, "eos": 13}  # the default of no family


def start(config, special=SPECIAL):
    of_two_sides = SimpleNamespace(model=config, objective=SimpleNamespace(sides=2))
    return special_ids(of_two_sides, special)["decoder_start_token_id"]


@pytest.mark.parametrize("name", FAMILIES_OF_TWO_SIDES)
def test_a_decoder_starts_with_the_role_that_it_has_by_default(name):
    config = FAMILIES_OF_TWO_SIDES[name]()
    role = "pad" if name in BY_PAD else "bos" if name in BY_BOS else "eos"
    assert start(config) == SPECIAL[role]
    assert (name in OTHERWISE) != (  # with the ids of the defaults it is the default
        start(config, {r: getattr(config, f"{r}_token_id") for r in SPECIAL})
        == config.decoder_start_token_id
        is not None
    )
    changed = config.replace(decoder_start_token_id=SPECIAL["eos"] + 1)
    assert start(changed) == start(config)  # the family's default decides, not this config


def test_every_family_of_two_sides_is_of_one_role():
    roles = (BY_PAD, BY_BOS, BY_EOS, OTHERWISE)
    assert sorted(name for names in roles for name in names) == sorted(FAMILIES_OF_TWO_SIDES)


def test_a_tokenizer_without_that_role_starts_with_the_end_of_a_text():
    blenderbot = FAMILIES_OF_TWO_SIDES["blenderbot"]()
    assert start(blenderbot, {"pad": 11, "eos": 13}) == 13
    assert start(blenderbot) == 12  # the control
