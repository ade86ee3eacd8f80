"""The log-probability of a text under each kind of language model."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj

CASES = Path(__file__).parent.parent / "conformance" / "cases"
IDS = np.array([[5, 6, 7, 8, 9], [4, 5, 9, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
CLOSE = dict(rtol=1e-5, atol=1e-5)


@functools.cache
def loaded(case):
    return tj.from_pretrained(CASES / case, unroll=False)


@functools.cache
def padded():
    return tj.score(loaded("gpt2"), IDS, MASK)


def test_the_sum_is_the_loss_times_the_count():
    scores = padded()
    labels = np.where(MASK > 0, IDS, -100)
    loss = loaded("gpt2")(input_ids=IDS, attention_mask=MASK, labels=labels).loss
    np.testing.assert_array_equal(scores.count, [4, 2])
    np.testing.assert_allclose(scores.log_prob.sum(), -loss * 6, rtol=1e-5)
    np.testing.assert_allclose(scores.token_log_probs.sum(1), scores.log_prob, rtol=1e-6)
    np.testing.assert_allclose(
        scores.perplexity, np.exp(-scores.log_prob / scores.count), rtol=1e-5
    )
    assert not np.asarray(scores.token_log_probs)[:, 0].any()


def test_padding_changes_nothing_on_either_side():
    single = tj.score(loaded("gpt2"), IDS[1:, :3])
    np.testing.assert_allclose(padded().log_prob[1:], single.log_prob, **CLOSE)
    left = np.array([IDS[0], [0, 0, 4, 5, 9]])
    scores = tj.score(loaded("gpt2"), left, np.array([MASK[0], [0, 0, 1, 1, 1]]))
    np.testing.assert_allclose(scores.log_prob, padded().log_prob, **CLOSE)
    np.testing.assert_allclose(scores.token_log_probs[1, 2:], single.token_log_probs[0], **CLOSE)
    counted = tj.score(loaded("gpt2"), left)  # without a mask the padding is text
    assert np.abs(counted.log_prob[1] - single.log_prob[0]) > 1


def test_labels_say_what_is_scored_and_chunks_change_nothing():
    labels = np.where(np.arange(5) < 3, -100, IDS)[:1]
    scores = tj.score(loaded("gpt2"), IDS[:1], labels=labels, chunk=7)
    whole = padded().token_log_probs[0]
    np.testing.assert_allclose(scores.token_log_probs[0, 3:], whole[3:], **CLOSE)
    np.testing.assert_array_equal(scores.count, [2])


def test_an_encoder_decoder_scores_its_target():
    labels = np.array([[5, 6, 2], [4, 2, -100]])
    model = loaded("bart")
    scores = tj.score(model, IDS, MASK, labels)
    loss = model(input_ids=IDS, attention_mask=MASK, labels=labels).loss
    np.testing.assert_array_equal(scores.count, [3, 2])
    np.testing.assert_allclose(scores.log_prob.sum(), -loss * 5, rtol=1e-5)
    with pytest.raises(ValueError, match="scores labels"):
        tj.score(model, IDS, MASK)


def test_a_masked_model_scores_each_token_masked_in_turn():
    model = loaded("bert-mlm")
    scores = tj.score(model, IDS, MASK, mask_token_id=4, batch_size=5)
    np.testing.assert_array_equal(scores.count, [5, 3])
    hidden = np.repeat(IDS[1:], 3, 0)
    hidden[np.arange(3), np.arange(3)] = 4
    logits = model(input_ids=hidden, attention_mask=np.repeat(MASK[1:], 3, 0)).logits
    logs = np.asarray(jax.nn.log_softmax(logits))
    expected = [logs[n, n, IDS[1, n]] for n in range(3)]
    np.testing.assert_allclose(scores.token_log_probs[1, :3], expected, **CLOSE)
    labels = np.where(np.arange(5) == 0, -100, IDS)  # [CLS] is not scored
    some = tj.score(model, IDS, MASK, labels, mask_token_id=4, batch_size=5)
    np.testing.assert_array_equal(some.count, [4, 2])


def test_scores_can_be_compiled_into_a_program():
    apply = jax.jit(lambda ids, mask: tj.score(loaded("gpt2"), ids, mask).log_prob)
    np.testing.assert_allclose(apply(IDS, MASK), padded().log_prob, **CLOSE)


def test_missing_arguments_are_named():
    with pytest.raises(ValueError, match="give mask_token_id="):
        tj.score(loaded("bert-mlm"), IDS)
    with pytest.raises(ValueError, match=r"mask_token_id\[0, 0\] is 999"):
        tj.score(loaded("bert-mlm"), IDS, mask_token_id=999)
    with pytest.raises(ValueError, match=r"head 'none' gives tokens no probability.*causal_lm"):
        tj.score(loaded("bart-base"), IDS)
    with pytest.raises(TypeError, match="no argument 'token_types'"):
        tj.score(loaded("gpt2"), IDS, token_types=IDS)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        tj.score(loaded("gpt2"), IDS + 900)


def test_tokens_that_those_before_them_attend_to_are_not_scored():
    """A prefix attends in both directions: if its tokens were scored, they would see themselves."""
    config = tj.GPT2Config(vocab_size=31, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    plain = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    model = plain.with_mask((tj.CAUSAL | tj.Where("prefix")) & tj.Same("document"))
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 31, (2, 8))
    tags = {
        "prefix": np.array([[1, 1, 1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0, 0, 0]]),
        "document": np.array([[0] * 8, [0, 0, 0, 0, 1, 1, 1, 1]]),
    }
    scores = tj.score(model, ids, tags=tags)
    scored = np.array([[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(np.asarray(scores.token_log_probs) != 0, scored > 0)
    np.testing.assert_array_equal(scores["count"], scored.sum(1))
    # a score depends on no token from its position on
    clean = np.asarray(scores.token_log_probs)
    for position in (3, 5, 7):
        other = ids.copy()
        other[:, position:] = (other[:, position:] + 7) % 28 + 3
        changed = np.asarray(tj.score(model, other, tags=tags).token_log_probs)
        np.testing.assert_allclose(changed[:, :position], clean[:, :position], rtol=1e-5, atol=1e-6)
    logits = jax.nn.log_softmax(model(input_ids=ids, tags=tags).logits)
    own = np.take_along_axis(np.asarray(logits)[:, :-1], ids[:, 1:, None], 2)[..., 0]
    np.testing.assert_allclose(clean[:, 1:], own * scored[:, 1:], rtol=1e-5, atol=1e-6)
    loss, metrics = tj.causal_lm(model, {"input_ids": ids, "tags": tags}, None)
    assert float(metrics["loss"][1]) == scored.sum()  # the objective has the same labels
    np.testing.assert_allclose(loss, -clean.sum() / scored.sum(), rtol=1e-5)
    none = {**tags, "prefix": 0 * tags["prefix"]}  # the control: without a prefix all are scored
    assert float(tj.score(model, ids, tags=none)["count"].sum()) == 14
