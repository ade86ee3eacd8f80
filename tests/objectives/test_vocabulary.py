"""The vocabulary that an objective reads."""

import numpy as np
import pytest

from transformers_jax.objectives import Vocabulary


def test_ordinary_ids_are_the_others():
    words = Vocabulary(11, {"pad": 0, "eos": 1, "bos": 1}, (10, 9), {"R": 4})
    assert words.ordinary.tolist() == [2, 3, 5, 6, 7, 8]
    assert words.ordinary.dtype == np.int32
    assert np.flatnonzero(words.is_ordinary).tolist() == words.ordinary.tolist()


def test_a_special_token_of_the_vocabulary_has_an_id():
    assert Vocabulary(5, {"mask": 3}).need("mask") == 3


def test_a_missing_special_token_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'mask'.*\['eos', 'pad'\].*choose a tokenizer"):
        Vocabulary(5, {"pad": 0, "eos": 1}).need("mask")


def test_all_missing_roles_are_reported_at_once():
    words = Vocabulary(5, {"pad": 0}, (4,))
    words.require("This", roles=("pad",), sentinels=1)
    with pytest.raises(ValueError, match=r"That needs .*'eos'.*'R', 2 sentinels"):
        words.require("That", roles=("pad", "eos"), sentinels=2, modes=("R",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, {"pad": 5}), r"pad: id 5 is not in \[0, 5\)"),
        ((5, {}, (-1,)), "sentinel 0: id -1"),
        ((5, {"padding": 0}), "'padding' is no role"),
        ((5, {}, (3, 3)), r"shared: \[3\]"),
        ((5, {"pad": 3}, (3,)), r"shared: \[3\]"),
        ((5, {}, (), {"R": 1, "S": 1}), r"shared: \[1\]"),
        ((5, {}, (), {}, np.zeros(4, bool)), r"shape \(4,\), not \(5,\)"),
    ],
)
def test_invalid_vocabularies_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(*arguments)


def test_a_vocabulary_of_special_tokens_has_nothing_to_draw():
    with pytest.raises(ValueError, match="all 2 ids"):
        _ = Vocabulary(2, {"pad": 0, "eos": 1}).ordinary
