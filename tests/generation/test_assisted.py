"""Assisted decoding writes what the model alone does: the same tokens, or of one distribution."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.generation import assisted

WORDS = dict(vocab_size=24, bos_token_id=1, eos_token_id=2, pad_token_id=0)
MADE = {
    "gpt2": lambda layers: tj.GPT2Config(
        **WORDS, n_positions=48, n_embd=24, n_layer=layers, n_head=4, initializer_range=0.4
    ),
    "llama": lambda layers: tj.LlamaConfig(
        **WORDS, hidden_size=16, intermediate_size=24, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=48,
        initializer_range=0.4,
    ),
    "opt": lambda layers: tj.OPTConfig(
        **WORDS, hidden_size=16, ffn_dim=24, num_hidden_layers=layers, num_attention_heads=4,
        max_position_embeddings=48, init_std=0.4,
    ),
    "t5": lambda layers: tj.T5Config(
        vocab_size=24, pad_token_id=0, eos_token_id=2, decoder_start_token_id=0, d_model=16, d_kv=4,
        d_ff=24, num_layers=layers, num_heads=4, initializer_factor=2.0, tie_word_embeddings=False,
    ),
}  # fmt: skip
HEADS = {"t5": "seq2seq_lm"}
PROMPTS = np.array([[0, 0, 5, 17, 3, 9], [7, 8, 7, 8, 7, 8], [0, 0, 0, 0, 0, 11]])
CALL = dict(input_ids=PROMPTS, attention_mask=(PROMPTS != 0).astype(int), max_new_tokens=20)


@pytest.fixture(scope="module")
def models():
    """(model, assistant) of a family, with or without a window."""
    made = {}

    def make(family, mask=None):
        if (family, mask) not in made:
            head, key = HEADS.get(family, "causal_lm"), jax.random.key
            made[family, mask] = tuple(
                tj.from_config(MADE[family](n), head=head, key=key(n), mask=mask) for n in (2, 1)
            )
        return made[family, mask]

    return make


def sources(family, window):
    """The sources of drafts, by name; those that show nothing new are slow."""
    quick = {("gpt2", False): ("layers", "text"), ("llama", True): ("model",)}
    quick |= {("t5", False): ("model",), ("opt", False): ("itself",)}
    for source in ("model", "itself", "text", "layers"):
        if (family, source) != ("t5", "layers"):
            slow = source not in quick.get((family, window), ())
            yield pytest.param(family, window, source, marks=[pytest.mark.slow] if slow else [])


CASES = [
    case for family in MADE for window in (False, True)[: 1 + (family != "t5")]
    for case in sources(family, window)
]  # fmt: skip


@pytest.mark.parametrize(("family", "window", "source"), CASES)
def test_the_best_tokens_are_the_same(family, window, source, models):
    model, assistant = models(family, tj.CAUSAL & tj.Near(left=4) if window else None)
    alone = model.generate(**CALL)
    options = {
        "model": {"assistant_model": assistant},
        "itself": {"assistant_model": model, "assistant_confidence_threshold": 0.0},
        "text": {"prompt_lookup_num_tokens": 3},
        "layers": {"assistant_early_exit": 1, "num_assistant_tokens": 2},
    }[source]
    made = model.generate(**CALL, **options, return_dict_in_generate=True)
    np.testing.assert_array_equal(made.sequences, alone)
    assert (made.accepted_tokens <= made.drafted_tokens).all()
    assert made.drafted_tokens.max() > 0
    assert len({tuple(row) for row in np.array(alone)}) == 3  # the control: texts differ


def test_drafts_of_the_model_itself_are_accepted(models):
    model, _ = models("llama")
    source = {"assistant_model": model, "assistant_confidence_threshold": 0.0}
    made = model.generate(
        **{**CALL, "max_new_tokens": 18}, **source, eos_token_id=None, return_dict_in_generate=True
    )
    assert made.accepted_tokens.tolist() == made.drafted_tokens.tolist() == [15] * 3


@pytest.mark.parametrize(
    "options",
    [
        {
            "repetition_penalty": 1.7,
            "no_repeat_ngram_size": 2,
            "forced_eos_token_id": 2,
            "min_new_tokens": 9,
            "bad_words_ids": [[17], [5, 3]],
        },
        {"encoder_no_repeat_ngram_size": 2, "encoder_repetition_penalty": 1.5, "max_new_tokens": 1},
    ],
)
def test_processors_read_drafted_tokens_as_text(options, models):
    model, assistant = models("gpt2")
    call = {**CALL, **options, "return_dict_in_generate": True, "output_scores": True}
    call |= {"output_log_probs": True}
    alone = model.generate(**call)
    made = model.generate(**call, assistant_model=assistant)
    np.testing.assert_array_equal(made.sequences, alone.sequences)
    ended = np.array(alone.sequences)[:, PROMPTS.shape[1] :] == 0
    for step, (own, other) in enumerate(zip(alone.scores, made.scores)):
        live = ~ended[:, step]
        np.testing.assert_allclose(own[live], other[live], atol=1e-4)
    likely = np.where(ended, 0, alone.token_log_probs), np.where(ended, 0, made.token_log_probs)
    np.testing.assert_allclose(*likely, atol=1e-4)


DRAWN, DRAWS = 3, 6000


def chances(model, prompt):
    """The probability of every text of DRAWN tokens of six, of the model's own."""
    texts = np.array(list(itertools.product(range(6), repeat=DRAWN)))
    ids = np.concatenate([np.repeat(prompt[None], len(texts), 0), texts], axis=1)
    logits = np.array(model(input_ids=ids).logits)[:, len(prompt) - 1 : -1] / 0.9
    chance = np.array(jax.nn.log_softmax(jnp.array(logits), -1))
    return np.exp(np.take_along_axis(chance, texts[..., None], -1)[..., 0].sum(-1))


def distance(model, prompt, **source):
    """Pearson's statistic of drawn texts against the model's probabilities, per degree of
    freedom: about 1 where they are of this distribution."""
    ids = model.generate(
        np.repeat(prompt[None], 2, 0), do_sample=True, temperature=0.9, top_k=None,
        num_return_sequences=DRAWS // 2, max_new_tokens=DRAWN, eos_token_id=None, pad_token_id=0,
        attention_mask=np.ones((2, len(prompt)), int), key=jax.random.key(1), **source,
    )  # fmt: skip
    drawn = np.array(ids)[:, len(prompt) :] @ (6 ** np.arange(DRAWN)[::-1])
    counts = np.bincount(drawn, minlength=6**DRAWN)
    expected = DRAWS * chances(model, prompt)
    order = np.argsort(expected)[::-1]
    often = order[expected[order] >= 5]
    rest = np.setdiff1d(order, often)
    pairs = [(counts[often], expected[often]), (counts[rest].sum(), expected[rest].sum())]
    total = sum(float(np.sum((o - e) ** 2 / np.maximum(e, 1e-9))) for o, e in pairs)
    return total / len(often)


@pytest.mark.parametrize(
    "source",
    ["assistant", *(pytest.param(s, marks=pytest.mark.slow) for s in ("text", "layers"))],
)
def test_drawn_texts_have_the_distribution_of_the_model(source, monkeypatch):
    make = lambda n: tj.GPT2Config(
        vocab_size=6, n_positions=16, n_embd=16, n_layer=n, n_head=2, initializer_range=0.5
    )
    model, assistant = (
        tj.from_config(make(n), head="causal_lm", key=jax.random.key(n + 4)) for n in (2, 1)
    )
    source = {
        "assistant": {"assistant_model": assistant, "num_assistant_tokens": 2},
        "text": {"prompt_lookup_num_tokens": 2, "max_matching_ngram_size": 1},
        "layers": {"assistant_early_exit": 1},
    }[source]
    prompt = np.array([1, 4, 1, 3, 4, 1])
    assert distance(model, prompt, **source) < 1.5
    # the control: drafts that are always accepted are of another distribution
    leading = assisted._leading
    monkeypatch.setattr(
        assisted, "_leading", lambda agree, count: leading(jnp.ones_like(agree), count)
    )
    jax.clear_caches()
    assert distance(model, prompt, **source) > 3
    jax.clear_caches()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt_lookup_num_tokens": 3, "assistant_early_exit": 1}, "are two sources of drafts"),
        ({"prompt_lookup_num_tokens": 3, "num_beams": 2}, "num_beams is 2; pass num_beams=1"),
        ({"prompt_lookup_num_tokens": 0}, "prompt_lookup_num_tokens must be >= 1, got 0"),
        ({"assistant_early_exit": 2}, "the model has 2 layers: drafts of all of them save nothing"),
        ({"num_assistant_tokens": 0}, "num_assistant_tokens must be >= 1, got 0"),
        ({"assistant_confidence_threshold": 2.0}, "must be in"),
        ({"assistant_model": "gpt2"}, "assistant_model"),
    ],
)
def test_what_does_not_go_together_is_refused(options, said, models):
    with pytest.raises((ValueError, TypeError), match=said):
        models("gpt2")[0].generate(**CALL, **options)


def test_an_assistant_of_another_kind_is_refused(models):
    gpt2, t5 = models("gpt2")[0], models("t5")[0]
    other = tj.from_config(
        MADE["gpt2"](1).replace(vocab_size=25), head="causal_lm", key=jax.random.key(0)
    )
    with pytest.raises(ValueError, match="a vocabulary of 25 tokens, and the model one of 24"):
        gpt2.generate(**CALL, assistant_model=other)
    gpt2.generate(**CALL, prompt_lookup_num_tokens=5)  # what the message advises
    with pytest.raises(ValueError, match="is an encoder-decoder, and the model a decoder"):
        gpt2.generate(**CALL, assistant_model=t5)
    states = tj.from_config(MADE["gpt2"](1), key=jax.random.key(0))
    with pytest.raises(ValueError, match="assistant_model must score the next token"):
        gpt2.generate(**CALL, assistant_model=states)
