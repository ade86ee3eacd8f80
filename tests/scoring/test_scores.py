"""Scores of continuations and of long texts equal those of PyTorch's transformers (make_scores.py),
and the laws that they follow."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.scoring import continuations
from transformers_jax.scoring.windows import windows

HERE = Path(__file__).parent
PLACES = {
    "gpt2": HERE.parent / "generation" / "parity" / "gpt2",
    "t5": HERE.parent / "generation" / "parity" / "t5",
    "gemma": HERE.parent / "conformance" / "cases" / "gemma",
}
CLOSE = dict(rtol=1e-4, atol=2e-5)  # sums of float32 in another order


@functools.cache
def loaded(name):
    return tj.from_pretrained(PLACES[name])


@functools.cache
def expected():
    with np.load(HERE / "scores.npz") as file:
        return dict(file)


def pairs(name):
    at = [f"{name}/pair/{number}" for number in range(6)]
    return [(expected()[f"{a}/context"], expected()[f"{a}/continuation"]) for a in at]


@functools.cache
def scored(name):
    return tj.score_continuations(loaded(name), pairs(name), batch_size=4)


@pytest.mark.parametrize("name", PLACES)
def test_continuations_have_the_log_probabilities_of_transformers(name):
    scores = scored(name)
    for number in range(6):
        at = f"{name}/pair/{number}"
        np.testing.assert_allclose(
            scores.token_log_probs[number], expected()[f"{at}/log_probs"], **CLOSE
        )
        assert scores.greedy[number] == expected()[f"{at}/greedy"].all()
        assert scores["count"][number] == len(expected()[f"{at}/continuation"])
    sums = [each.sum() for each in scores.token_log_probs]
    np.testing.assert_allclose(scores.log_prob, sums, rtol=1e-6)
    assert scores.greedy[5]  # which the model wrote itself
    assert not scores.greedy.all()


def test_a_pair_scores_alone_as_among_others_and_few_programs_are_compiled():
    before = continuations._run._cache_size()
    alone = [tj.score_continuations(loaded("gpt2"), [pair]).log_prob[0] for pair in pairs("gpt2")]
    np.testing.assert_allclose(alone, scored("gpt2").log_prob, **CLOSE)
    rng = np.random.default_rng(0)
    many = [(rng.integers(3, 60, a), rng.integers(3, 60, b)) for a in range(1, 12) for b in (1, 4)]
    tj.score_continuations(loaded("gpt2"), many, batch_size=4)
    assert continuations._run._cache_size() - before <= 4


def test_long_contexts_are_cut_at_their_front_where_that_is_asked_for():
    model = loaded("gpt2")
    context, continuation = np.arange(3, 43), np.arange(7, 17)
    with pytest.raises(ValueError, match=r"text of pair 0 has 49 tokens.*48 positions; max_length"):
        tj.score_continuations(model, [(context, continuation)])
    cut = tj.score_continuations(model, [(context, continuation)], max_length=48)
    kept = tj.score_continuations(model, [(context[1:], continuation)])
    np.testing.assert_allclose(cut.log_prob, kept.log_prob, **CLOSE)
    short = tj.score_continuations(model, [(context, continuation)], max_length=12)
    assert abs(short.log_prob[0] - kept.log_prob[0]) > 1e-4  # the context matters
    with pytest.raises(ValueError, match="continuation of pair 0 has 10 tokens, more than"):
        tj.score_continuations(model, [(context, continuation)], max_length=9)


@pytest.mark.parametrize("stride", [1, 5, 8, 15])
@pytest.mark.parametrize("name", ["gpt2", "gemma"])
def test_strided_perplexity_is_that_of_transformers(name, stride):
    text = expected()[f"{name}/text"]
    total, count = expected()[f"{name}/stride/{stride}"]
    found = tj.perplexity(loaded(name), text, length=16, stride=stride)
    np.testing.assert_allclose(found.log_prob, [total], rtol=1e-5)
    assert found["count"].tolist() == [count] == [44]
    np.testing.assert_allclose(found.perplexity, np.exp(-total / count), rtol=1e-5)
    sums = {expected()[f"{name}/stride/{each}"][0] for each in (1, 5, 8, 15)}
    assert len(sums) == 4  # the fixture distinguishes strides


def test_each_token_but_the_first_is_scored_once():
    ids = np.arange(45)
    for length, stride in ((16, 1), (16, 7), (16, 15), (2, 1), (45, 20), (100, 50)):
        found = list(windows(ids, length, stride))
        scored = np.concatenate([pair.continuation for pair in found])
        np.testing.assert_array_equal(scored, ids[1:])
        assert all(len(np.concatenate(pair)) <= length for pair in found)
        inner = found[1:-1]
        assert all(len(pair.context) == length - stride for pair in inner)


def test_a_text_within_one_window_has_the_perplexity_of_score():
    text = expected()["gpt2/text"]
    whole = tj.score(loaded("gpt2"), text[None])
    found = tj.perplexity(loaded("gpt2"), [text, text[:9]])
    np.testing.assert_allclose(found.log_prob[0], whole.log_prob[0], rtol=1e-5)
    np.testing.assert_allclose(found.token_log_probs[0], whole.token_log_probs[0, 1:], **CLOSE)
    np.testing.assert_allclose(found.perplexity, np.exp(-found.log_prob.sum() / 52), rtol=1e-6)


def test_a_perplexity_of_which_no_float_is_large_enough_is_infinite():
    sizes = dict(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    config = tj.GPT2Config(**sizes, initializer_range=1e4)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    assert tj.perplexity(model, np.arange(8)).perplexity == np.inf


# ---------------------------------------------------------------- texts


@functools.cache
def reader():
    from transformers_jax.data.tokenizers import train_tokenizer

    return train_tokenizer("byte", ["some words"], 256)


@functools.cache
def of_bytes():
    config = tj.GPT2Config(
        vocab_size=reader().max_id + 1, n_positions=64, n_embd=16, n_layer=1, n_head=2
    )
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0))


def test_texts_are_read_by_the_tokenizer_and_spaces_go_with_what_follows():
    model, tokenizer = of_bytes(), reader()
    texts = [("one two ", "three"), ("one two", " three")]
    scores = tj.score_continuations(model, texts, tokenizer=tokenizer)
    assert scores["count"].tolist() == [6, 6]
    np.testing.assert_allclose(scores.log_prob[0], scores.log_prob[1], rtol=1e-6)
    ids = [tuple(tokenizer.encode(text) for text in texts[1])]
    np.testing.assert_allclose(
        tj.score_continuations(model, ids).log_prob, scores.log_prob[:1], rtol=1e-6
    )


def test_bits_per_byte_are_of_the_texts_bytes():
    found = tj.perplexity(of_bytes(), ["naïve text", "b" * 90], tokenizer=reader())
    bits = -found.log_prob.sum() / np.log(2)
    np.testing.assert_allclose(found.bits_per_byte, bits / 101, rtol=1e-6)
    assert found["count"].tolist() == [10, 89]


WRONG = {
    "pair 1 is 'ab'": lambda m: tj.score_continuations(m, [([5], [6]), "ab"]),
    "pair 0 is a text and ids": lambda m: tj.score_continuations(m, [("a", [6])]),
    "pair 0 holds texts: give tokenizer=": lambda m: tj.score_continuations(m, [("a", "b")]),
    "continuation of pair 0 is empty": lambda m: tj.score_continuations(m, [([5], [])]),
    "context of pair 0 is empty: .*such as </s>": lambda m: tj.score_continuations(m, [([], [5])]),
    r"continuation of pair 0\[0, 1\] is 999": lambda m: tj.score_continuations(
        m, [([5], [1, 999])]
    ),
    "pair 0 holds .* expected a row of token ids": lambda m: tj.score_continuations(
        m, [([[5]], [1])]
    ),
    "batch_size": lambda m: tj.score_continuations(m, [([5], [6])], batch_size=0),
    "stride=16 leaves the first token": lambda m: tj.perplexity(m, [5] * 20, length=16, stride=16),
    "length=999 is more than the 48 positions": lambda m: tj.perplexity(m, [5] * 20, length=999),
    "length=1 leaves no token": lambda m: tj.perplexity(m, [5] * 20, length=1),
    r"text 0 has shape \(1,\)": lambda m: tj.perplexity(m, [[5]]),
    "there is no text": lambda m: tj.perplexity(m, []),
    "give tokenizer=": lambda m: tj.perplexity(m, ["a text"]),
    "of='odds': expected 'log_prob' or 'logit'": lambda m: tj.attributions(m, [5], [6], of="odds"),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_scored_is_named(message):
    with pytest.raises(ValueError, match=message):
        WRONG[message](loaded("gpt2"))


def test_other_models_are_named():
    encoder = tj.from_pretrained(PLACES["gemma"].parent / "bert-mlm")
    with pytest.raises(ValueError, match=r"head 'masked_lm' came; tj.score scores"):
        tj.score_continuations(encoder, [([5], [6])])
    with pytest.raises(ValueError, match=r"perplexity reads the text of a decoder"):
        tj.perplexity(loaded("t5"), [5, 6, 7])
    recurrent = tj.from_pretrained(PLACES["gemma"].parent / "gru-bahdanau")
    with pytest.raises(ValueError, match=r"embeddings that a call takes \(inputs_embeds\)"):
        tj.attributions(recurrent, [5], [6])
    with pytest.raises(ValueError, match=r"context of pair 0 is empty: .*no source"):
        tj.score_continuations(loaded("t5"), [([], [6])])


# ---------------------------------------------------------------- attributions


@pytest.mark.parametrize(
    ("name", "of"),
    [("gpt2", "logit"), *((name, "log_prob") for name in PLACES)],
)
def test_attributions_are_input_times_gradient_of_transformers(name, of):
    context, continuation = pairs(name)[4]
    found = tj.attributions(loaded(name), context, continuation, of=of)
    reference = expected()[f"{name}/{of}"]
    assert found.attributions.shape == reference.shape
    close = dict(rtol=1e-3, atol=5e-5 * np.abs(reference).max())
    np.testing.assert_allclose(found.attributions, reference, **close)
    if name == "t5":
        beside = expected()[f"{name}/decoder_{of}"]
        np.testing.assert_allclose(found.decoder_attributions, beside, **close)
        assert found.decoder_tokens.tolist() == [2, *continuation[:-1]]
    else:
        assert found.tokens.tolist() == [*context, *continuation[:-1]]
    if of == "log_prob":
        np.testing.assert_allclose(found.scores, expected()[f"{name}/pair/4/log_probs"], **CLOSE)


def test_no_token_is_due_to_those_behind_it():
    context, continuation = pairs("gpt2")[4]
    rows = np.asarray(tj.attributions(loaded("gpt2"), context, continuation).attributions)
    before = np.arange(rows.shape[1]) < len(context) + np.arange(len(rows))[:, None]
    assert not rows[~before].any()
    assert rows[before].all()


def test_attributions_are_the_change_of_a_score_to_first_order():
    """The score of an embedding that is a little shorter, by finite differences."""
    model = loaded("gpt2")
    context, continuation = pairs("gpt2")[3]
    found = tj.attributions(model, context, continuation, of="logit")
    vectors = np.asarray(model.token_table("stack"))[np.asarray(found.tokens)][None]
    token, step = 1, 1e-2
    change = []
    for sign in (1, -1):
        scaled = vectors.copy()
        scaled[0, token] *= 1 + sign * step
        logits = np.asarray(model(inputs_embeds=scaled).logits)[0, -len(continuation) :]
        change.append(logits[np.arange(len(continuation)), continuation])
    slope = (change[0] - change[1]) / (2 * step)
    np.testing.assert_allclose(found.attributions[:, token], slope, rtol=2e-2, atol=2e-3)
