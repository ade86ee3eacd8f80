"""Masks print as text that is parsed back; any other text is refused."""

import re

import pytest

from tests.laws.mask_cases import CASES
from transformers_jax.graph import (
    CAUSAL,
    FULL,
    OWN,
    Before,
    Block,
    Dense,
    Near,
    PerLayer,
    Same,
    Scattered,
    Strided,
    Where,
    parse,
)

A, B, C = CAUSAL, Same("document"), Where("prefix", of="query")
MASKS = [
    *(case.mask for case in CASES),
    *(A & (B & C), (A & B) & C, A | (B | C), A | B & C, (A | B) & C, A & B | C, A & (B | C)),
    *(~(A | B), ~A & ~(B & C), ~B, OWN & B, FULL, Near(), Near(None, 3), Near(2, tag="block")),
    *(Before("time"), Block(3, "time"), Strided(2, "row"), Scattered(2, 5, "a", "b")),
    *(Same("it's"), Same('a "b" & c'), Dense("links"), PerLayer((A, OWN, A | C)) & B),
]


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_a_mask_is_read_back_from_what_it_prints(mask):
    assert parse(str(mask)) == mask


def test_masks_that_print_alike_are_one():
    assert len({str(mask) for mask in MASKS}) == len(set(MASKS))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("CAUSUL", "'CAUSUL' is unknown; did you mean 'CAUSAL'"),
        ("Were('prefix')", "'Were' is unknown; did you mean 'Where'"),
        ("__import__('os').system('true')", "is no mask"),
        ("eval('CAUSAL')", "'eval' is unknown"),
        ("CAUSAL and FULL", "is no mask"),
        ("CAUSAL + FULL", "is no mask"),
        ("Same(document)", "no number and no name"),
        ("Same(3)", "tag=3"),
        ("Near(left='3')", "left='3'"),
        ("Near(left=-1)", "'-1' is no number"),
        ("Block(0)", "at least 1"),
        ("Near(left=True)", "left=True"),
        ("Near(far=1)", "far"),
        ("Where('a', of='both')", "expected 'key' or 'query'"),
        ("Same('a'", "no expression"),
        ("", "no expression"),
        ("(" * 3000 + "CAUSAL" + ")" * 3000, "no expression"),
        ("~" * 9000 + "CAUSAL", "cannot be read"),
        ("~" * 20000 + "CAUSAL", "at most 10000 letters"),
        (None, "None"),
    ],
)
def test_any_other_text_is_refused_with_its_reason(text, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        parse(text)
