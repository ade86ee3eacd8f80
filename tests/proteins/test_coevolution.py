"""Precision of contacts, and the generated family whose contacts are known."""

import numpy as np
import pytest

from transformers_jax.data.generated import coevolution
from transformers_jax.data.sources import open_source
from transformers_jax.metrics import contact_precision


def information(proteins):
    """Float[L L]: how many nats each two places say of each other."""
    letters = {letter: n for n, letter in enumerate(coevolution.LETTERS)}
    one_hot = np.eye(20)[[[letters[one] for one in protein] for protein in proteins]]
    both = np.einsum("nia,njb->ijab", one_hot, one_hot) / len(proteins)
    alone = one_hot.mean(0)
    ratio = both / np.maximum(alone[:, None, :, None] * alone[None, :, None, :], 1e-12)
    return (both * np.log(np.maximum(ratio, 1e-12))).sum((2, 3))


def test_places_that_touch_say_most_of_each_other():
    for coupled, low, high in ((True, 0.99, 1.0), (False, 0.0, 0.3)):
        proteins = [one["text"] for one in coevolution.records("train", coupled)]
        found = contact_precision(information(proteins), coevolution.contacts(), 16)
        assert low <= found <= high


def test_the_splits_share_no_draw_and_are_a_source_of_texts():
    source = open_source("generated:coevolution")
    train, held_out = (list(source.splits[name]) for name in ("train", "validation"))
    assert (len(train), len(held_out)) == (5400, 300)
    assert {len(protein) for protein in train} == {coevolution.LENGTH}
    assert not {*train} & {*held_out}


def test_precision_counts_pairs_that_are_far_apart():
    scores = np.zeros((9, 9))
    scores[0, 1] = scores[1, 0] = 9.0
    scores[0, 7] = scores[7, 0] = 2.0
    scores[1, 8] = scores[8, 1] = 1.0
    assert contact_precision(scores, [(7, 0)], 1) == 1.0
    assert contact_precision(scores, [(0, 7)], 2) == 0.5
    assert contact_precision(scores, [(0, 1)], 1) == 0.0
    with pytest.raises(ValueError, match="a square"):
        contact_precision(scores[:3], [(0, 7)])
    with pytest.raises(ValueError, match="6 pairs of 9 residues are 6 apart or more"):
        contact_precision(scores, [(0, 7)])
