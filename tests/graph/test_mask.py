"""Masks as values: the placeholder for a model's own mask."""

import numpy as np
import pytest

from transformers_jax import CAUSAL, OWN, Near, Same, Where, sequence
from transformers_jax.graph import with_own

WINDOW = CAUSAL & Near(left=2)


def test_own_is_replaced_wherever_it_stands():
    assert with_own(None, WINDOW) == WINDOW
    assert with_own(OWN & Same("document"), WINDOW) == WINDOW & Same("document")
    assert with_own(~OWN | Where("prefix"), ~WINDOW) == WINDOW | Where("prefix")
    assert with_own(CAUSAL, WINDOW) == CAUSAL  # the control: a mask without OWN takes its place
    assert str(OWN & Same("document")) == "OWN & Same('document')"


def test_own_draws_nothing_by_itself():
    with pytest.raises(ValueError, match="OWN stands for a model's own mask"):
        (OWN & CAUSAL).edges(sequence(3), sequence(3))
    edges = np.asarray(with_own(OWN, CAUSAL).edges(sequence(3), sequence(3)))
    assert np.array_equal(edges[0], np.tril(np.ones((3, 3), bool)))
