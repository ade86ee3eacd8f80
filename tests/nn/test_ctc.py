"""The loss of connectionist temporal classification against torch's, and what SpecAugment hides."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax.nn.ctc import ctc_loss
from transformers_jax.nn.head import CTC, HeadInputs
from transformers_jax.nn.param import initialise
from transformers_jax.nn.spec_augment import Spans
from transformers_jax.spec import Initial

TORCH = dict(np.load(Path(__file__).with_name("ctc.npz")))
LABELS, LENGTHS = TORCH["labels"].astype(np.int32), TORCH["lengths"].astype(np.int32)


def reduced(reduction, logits):
    """The loss of a head that reads logits as its states."""
    head = CTC(5, 5, Initial(), blank=0, reduction=reduction, zero_infinity=True)
    head = initialise(head, jax.random.key(0))
    head.classify.weight.set_value(jnp.eye(5))
    valid = jnp.arange(9) < LENGTHS[:, None]
    inputs = HeadInputs({}, None, None, None, valid)
    return head(logits, inputs, labels=jnp.asarray(LABELS))["loss"]


def test_losses_are_those_of_torch_and_infinite_where_a_text_does_not_fit():
    losses, counts = ctc_loss(jnp.float32(TORCH["logits"]), LENGTHS, LABELS, 0)
    np.testing.assert_allclose(losses, TORCH["each"], rtol=1e-5)
    assert np.isinf(losses).tolist() == [False, False, False, False, True, False]
    assert counts.tolist() == [3, 0, 3, 1, 7, 3]


def test_labels_of_blanks_and_of_nothing_may_stand_anywhere():
    spread = np.full((6, 9), -100, np.int32)
    spread[:, [0, 2, 3, 5, 6, 7, 8]] = LABELS
    spread[:, 4] = 0
    actual = ctc_loss(jnp.float32(TORCH["logits"]), LENGTHS, spread, 0)[0]
    np.testing.assert_allclose(actual, TORCH["each"], rtol=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_reductions_and_gradients_are_those_of_torch(reduction):
    value, gradient = jax.jit(jax.value_and_grad(lambda x: reduced(reduction, x)))(
        jnp.float32(TORCH["logits"])
    )
    np.testing.assert_allclose(value, TORCH[reduction], rtol=1e-5)
    np.testing.assert_allclose(gradient, TORCH[f"{reduction}_gradient"], rtol=1e-4, atol=1e-6)


def test_as_many_spans_are_hidden_as_their_rate_says():
    spans, steps = Spans(0.4, 5, 1), 200
    lengths = jnp.array([200, 200, 80, 4])
    hidden = np.stack([spans.draw(jax.random.key(seed), lengths, steps) for seed in range(60)])
    assert not hidden[:, 2, 80:].any()
    assert not hidden[:, 3].any()  # no span fits
    starts = lambda row: (np.diff(np.pad(row.astype(int), (1, 0))) == 1).sum()
    # 16 spans of a row, of which some overlap: about 1 - exp(-0.4) of the frames
    assert 0.30 < hidden[:, :2].mean() < 0.36
    assert max(starts(row) for row in hidden[:, 0]) <= 16
    assert (hidden[0] != hidden[1]).any()
    least = Spans(0.0, 5, 2).draw(jax.random.key(0), lengths, steps)
    assert 5 < least[0].sum() <= 10
