"""Strategies of search against transformers 4 (fixtures: make_strategies.py)."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.generation.options import resolve
from transformers_jax.generation.strategies import (
    Beams,
    BestOf,
    ConstrainedBeams,
    Contrastive,
    Greedy,
    Sample,
    strategy_of,
)

HERE = pathlib.Path(__file__).parent / "parity"
CALLS = [
    pytest.param(name, kind, number, marks=[pytest.mark.slow] if number > 1 else [])
    for name in ("gpt2", "t5")
    for kind, calls in json.loads((HERE / name / "strategies.json").read_text()).items()
    for number in range(len(calls))
]


@functools.cache
def case(name):
    calls = json.loads((HERE / name / "strategies.json").read_text())
    arrays = {}
    for file in ("expected.npz", "strategies.npz"):
        with np.load(HERE / name / file) as stored:
            arrays |= {key: stored[key] for key in stored.files}
    return tj.from_pretrained(HERE / name), calls, arrays


def run(name, call, **more):
    model, _, arrays = case(name)
    inputs = {key: arrays[key] for key in ("input_ids", "attention_mask")}
    return tj.generate(model, **inputs, **{**call, **more}, return_dict_in_generate=True)


def call_ends(name, call):
    ends = call.get("eos_token_id", case(name)[0].generation_config["eos_token_id"])
    return ends if isinstance(ends, list) else [ends]


@pytest.mark.parametrize(("name", "kind", "number"), CALLS)
def test_tokens_and_scores_equal_those_of_transformers(name, kind, number):
    _, calls, arrays = case(name)
    out = run(name, calls[kind][number], output_scores=True)
    key = f"{kind}_{number}"
    sequences, expected = np.asarray(out.sequences), arrays[key]
    if kind == "constrained":  # transformers writes the first of several ends for each
        ends = call_ends(name, calls[kind][number])
        sequences, expected = (
            np.where(np.isin(x, ends), ends[0], x) for x in (sequences, expected)
        )
    np.testing.assert_array_equal(sequences, expected)
    if f"{key}_scores" in arrays:
        stored = arrays[f"{key}_scores"]
        compared = np.where(np.isnan(stored), np.nan, out.sequences_scores)
        np.testing.assert_allclose(compared, stored, atol=5e-5)
    for scores, step in zip(out.scores, arrays.get(f"{key}_first", ())):
        going = np.abs(step) < 1e9
        np.testing.assert_allclose(np.where(going, scores, 0), np.where(going, step, 0), atol=3e-4)


@pytest.mark.parametrize("name", ["gpt2"])
def test_the_penalty_makes_groups_differ(name):
    """The negative control: the penalty is seen in the fixtures."""
    _, calls, arrays = case(name)
    small = run(name, calls["groups"][1], diversity_penalty=1e-6)
    assert (
        small.sequences.shape != arrays["groups_1"].shape
        or (np.asarray(small.sequences) != arrays["groups_1"]).any()
    )


def test_beams_share_the_keys_of_their_source():
    model, _, arrays = case("t5")
    encoded = model.encode(arrays["input_ids"])
    cache = model.init_cache(3, 8, encoder_outputs=encoded, per_row=True)
    several = cache.repeat(4)
    moved = several.reorder(np.arange(12)[::-1])
    kinds = set()
    for before, after in zip(cache.layers, moved.layers):
        for name, old in before.items():
            kinds.add(old.kind)
            assert (after[name].key is old.key) == (old.kind == "cross")
    assert len(kinds) == 2
    assert moved.sources["encoder"].valid is cache.sources["encoder"].valid
    with pytest.raises(ValueError, match="put rows before they are repeated"):
        several.put(np.array([0]), cache)
    assert cache.put(np.array([0, 1, 2]), cache).copies == 1


def test_rows_that_share_a_source_attend_to_it_as_if_each_had_its_own():
    """With the weights, and after the rows have parted again (`gather`)."""
    model, _, arrays = case("t5")
    encoded, ids = model.encode(arrays["input_ids"]), np.arange(12).reshape(6, 2) + 3
    mask = arrays["attention_mask"]
    begun = model.init_cache(3, 8, encoder_outputs=encoded, attention_mask=mask)
    rows = np.repeat(np.arange(3), 2)
    own = model.init_cache(
        6,
        8,
        encoder_outputs={"last_hidden_state": encoded["last_hidden_state"][rows]},
        attention_mask=mask[rows],
    )
    read = lambda cache: model(decoder_input_ids=ids, cache=cache, output_attentions=True)
    alone = read(own)
    for shared in (
        begun.repeat(2),
        begun.gather(jnp.array(rows)),
        begun.repeat(2).gather(jnp.arange(6)),
    ):
        found = read(shared)
        np.testing.assert_allclose(found.logits, alone.logits, rtol=1e-5, atol=1e-5)
        for mine, theirs in zip(found.cross_attentions, alone.cross_attentions):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    wrong = read(begun.gather(jnp.array(rows[::-1])))  # the control: the sources differ
    assert np.abs(np.asarray(wrong.logits - alone.logits)).max() > 1e-3


def test_the_best_of_several_samples_is_kept():
    """Its score is the greatest of the means that the same draws have, and its text is theirs."""
    drawn = {"max_new_tokens": 6, "do_sample": True, "key": jax.random.key(3), "top_k": 0}
    several = run("gpt2", drawn, num_return_sequences=5, output_log_probs=True)
    best = run("gpt2", drawn, best_of=5, num_return_sequences=2, output_scores=True)
    end, width = case("gpt2")[0].generation_config["eos_token_id"], 9
    text = np.asarray(several.sequences).reshape(3, 5, -1)
    likely = np.asarray(several.token_log_probs).reshape(3, 5, -1)
    for row in range(3):
        means = []
        for ids, each in zip(text[row][:, width:].tolist(), likely[row]):
            count = ids.index(end) + 1 if end in ids else len(ids)
            means.append(each[:count].mean())
        order = np.argsort(means)[::-1][:2]
        np.testing.assert_allclose(
            best.sequences_scores[2 * row : 2 * row + 2], np.sort(means)[::-1][:2], rtol=1e-5
        )
        kept = np.asarray(best.sequences)[2 * row : 2 * row + 2]
        np.testing.assert_array_equal(kept, text[row][order][:, : kept.shape[1]])
        scores = np.asarray(best.scores[0])[2 * row : 2 * row + 2]  # those of the texts that stay
        chances = jax.nn.log_softmax(scores)[np.arange(2), kept[:, width]]
        np.testing.assert_allclose(chances, likely[row][order][:, 0], rtol=1e-5)
    assert len(best.scores[0]) == len(best.sequences) == 6


def test_options_choose_the_strategy():
    of = lambda **options: strategy_of(resolve(options, None, {}, None))
    assert of() == Greedy()
    assert of(do_sample=True) == Sample()
    diverse = of(num_beams=4, num_beam_groups=2, diversity_penalty=1.0)
    assert diverse == Beams(4, 2)
    assert of(num_beams=4) == Beams(4)
    assert of(penalty_alpha=0.6, top_k=4) == Contrastive(0.6, 4)
    assert of(best_of=8, do_sample=True) == BestOf(8)
    assert of(num_beams=4, force_words_ids=[[5]]) == ConstrainedBeams(4)


def searched_plainly(model, text, penalty, count, new, end):
    """Contrastive search of one text without a cache: every candidate is read with all of it."""
    text = list(text)
    for _ in range(new):
        chance = jax.nn.softmax(model(input_ids=np.array([text])).logits[0, -1])
        worth = {}
        for token in np.argsort(-np.asarray(chance))[:count].tolist():
            out = model(input_ids=np.array([[*text, token]]), output_hidden_states=True)
            states = np.asarray(out.hidden_states[-1][0])
            states = states / np.linalg.norm(states, axis=-1, keepdims=True)
            like = (states[:-1] @ states[-1]).max()
            worth[token] = (1 - penalty) * float(chance[token]) - penalty * like
        text.append(max(worth, key=worth.get))
        if text[-1] == end:
            break
    return text


@pytest.mark.slow
def test_contrastive_search_through_windows_is_that_without_a_cache():
    """Rows of several lengths, whose candidates share a ring of keys, write what each writes alone;
    without the penalty they write something else."""
    config = tj.MistralConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=5,
        eos_token_id=2,
        pad_token_id=0,
        max_position_embeddings=32,
    )
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    prompts = [[5, 7, 9, 11, 4, 3, 8], [6, 4]]
    ids = np.array([prompts[0], [0] * 5 + prompts[1]])
    call = dict(attention_mask=(ids != 0).astype(int), max_new_tokens=5, top_k=4)
    out = np.asarray(tj.generate(model, ids, penalty_alpha=0.5, **call))
    for row, prompt in zip(out.tolist(), prompts):
        text = searched_plainly(model, prompt, 0.5, 4, 5, 2)
        assert row[7 - len(prompt) :][: len(text)] == text
    assert (np.asarray(tj.generate(model, ids, penalty_alpha=1e-6, **call)) != out).any()


@pytest.mark.parametrize(
    "search",
    [{}, {"penalty_alpha": 0.5, "top_k": 3}, {"do_sample": True, "best_of": 2}],
    ids=["greedy", "contrastive", "best of"],
)
def test_scores_are_told_in_64_bits_too(search):
    options = {"max_new_tokens": 3, "output_scores": True, "output_log_probs": True, **search}
    if "do_sample" in search:
        options["key"] = jax.random.key(0)
    narrow = run("gpt2", options)
    with jax.enable_x64(True):
        broad = run("gpt2", options)
    np.testing.assert_array_equal(broad.sequences, narrow.sequences)
    np.testing.assert_allclose(broad.token_log_probs, narrow.token_log_probs, rtol=1e-4)
    assert len(broad.scores) == 3
