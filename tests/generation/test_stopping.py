"""Texts end where criteria say so: with strings as in transformers (fixtures: make_stopping.py),
lengths, times, and functions of the caller's."""

import functools
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig
from transformers_jax import generation
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.generation import generate
from transformers_jax.generation.stopping.strings import automaton

HERE = pathlib.Path(__file__).parent / "stopping"
KINDS = sorted(path.stem for path in HERE.glob("*.json"))
V, PAD = 7, 0
LETTERS = "_abcdef"  # what the tokens of the small language write


@functools.cache
def fixture(kind):
    whole = json.loads((HERE / f"{kind}.json").read_text())
    return tokenizers.Tokenizer.from_str(json.dumps(whole["tokenizer"])), whole["cases"]


@pytest.mark.parametrize("kind", KINDS)
def test_strings_are_found_where_transformers_finds_them(kind):
    tokenizer, cases = fixture(kind)
    for case in cases:
        criterion = tj.StopStringCriteria(tokenizer, case["strings"])
        stops = jax.jit(lambda ids, criterion=criterion: criterion(ids))(np.array(case["ids"]))
        np.testing.assert_array_equal(stops, np.array(case["stops"], bool), str(case["strings"]))


def test_the_rows_of_the_fixtures_differ():
    """The negative control: strings are found and not found in the rows of most cases."""
    cases = [case for kind in KINDS for case in fixture(kind)[1]]
    assert sum(0 < sum(case["stops"]) < len(case["stops"]) for case in cases) >= 0.8 * len(cases)


def test_a_string_is_found_where_it_ends():
    """By brute force: all texts of three letters, against Python's own search."""
    words = [b"ab", b"bab", b"aca", b"c"]
    step, final = automaton(words)
    for number in range(3**7):
        text = bytes(b"abc"[number // 3**place % 3] for place in range(7))
        state, ends = 0, []
        for byte in text:
            state = step[state, byte]
            ends.append(bool(final[state]))
        expected = [any(text[: n + 1].endswith(word) for word in words) for n in range(7)]
        assert ends == expected, text


# ---------------------------------------------------------------- in generate


@functools.cache
def letters():
    """A tokenizer that writes one letter for each token of the small language."""
    vocabulary = {letter: number for number, letter in enumerate(LETTERS)}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    inner.decoder = tokenizers.decoders.Fuse()
    return Tokenizer(inner, "loaded")


@functools.cache
def language():
    table = np.random.default_rng(5).normal(size=(5, V, V)).astype(np.float32) * 2
    table[:, :, PAD] = -20
    return Markov(MarkovConfig(vocab_size=V, pad_token_id=PAD), table)


PROMPTS = np.array([[1, 4], [5, 5], [3, 6], [2, 2]])


def texts(ids):
    return ["".join(LETTERS[token] for token in row) for row in np.asarray(ids).tolist()]


@functools.cache
def free():
    return texts(generate(language(), input_ids=PROMPTS, max_new_tokens=16))


def cut(text, strings, prompt=2):
    """A text up to the first string that ends in what is new."""
    ends = [n for n in range(prompt + 1, len(text) + 1) if text[:n].endswith(tuple(strings))]
    return text[: ends[0]] if ends else text


@pytest.mark.parametrize("way", ["option", "record", "jit"])
def test_rows_end_with_a_string_and_are_filled_with_padding(way):
    strings = [free()[0][5:7], free()[2][9:12]]
    options = {"stop_strings": strings, "tokenizer": letters()}
    if way == "record":
        options = {"stopping_criteria": [tj.StopStringCriteria(letters(), strings)]}
    write = functools.partial(
        generate, language(), max_new_tokens=16, fixed_width=way == "jit", **options
    )
    ids = (jax.jit(lambda ids: write(input_ids=ids)) if way == "jit" else write)(PROMPTS)
    expected = [cut(text, strings) for text in free()]
    assert len({len(text) for text in expected}) > 1  # or this shows nothing
    assert [text.rstrip("_") for text in texts(ids)] == expected
    if way != "jit":
        assert ids.shape[1] == max(map(len, expected))


def test_a_string_may_begin_in_the_prompt_and_not_in_padding():
    string = free()[0][:3]
    options = {"stop_strings": [string], "tokenizer": letters(), "max_new_tokens": 6}
    assert texts(generate(language(), input_ids=PROMPTS[:1], **options)) == [string]
    ids = np.array([[LETTERS.index(string[0]), 5, 5]])
    masked = generate(language(), input_ids=ids, attention_mask=np.array([[0, 1, 1]]), **options)
    assert len(texts(masked)[0]) == 9
    only = LETTERS[int(ids[0, 0])] + free()[1][:3]  # what stands under the padding is no text
    options["stop_strings"] = [only]
    masked = generate(language(), input_ids=ids, attention_mask=np.array([[0, 1, 1]]), **options)
    assert masked.shape[1] == 9


def test_beams_end_with_a_string_as_with_an_end_token():
    """A string of one letter is an end token: the beams, their scores and lengths are the same."""
    common = dict(input_ids=PROMPTS, max_new_tokens=9, num_beams=3, return_dict_in_generate=True)
    for token in (3, 6):
        by_token = generate(language(), eos_token_id=token, pad_token_id=PAD, **common)
        by_string = generate(language(), stop_strings=LETTERS[token], tokenizer=letters(), **common)
        np.testing.assert_array_equal(by_token.sequences, by_string.sequences)
        np.testing.assert_allclose(by_token.sequences_scores, by_string.sequences_scores)
    without = generate(language(), **common)
    assert not np.array_equal(without.sequences_scores, by_string.sequences_scores)


def test_criteria_of_the_caller_end_rows():
    last = lambda text: jax.lax.dynamic_index_in_dim(text.ids, text.end - 1, 1, keepdims=False)
    function = generate(
        language(),
        input_ids=PROMPTS,
        max_new_tokens=16,
        stopping_criteria=[lambda text: last(text) == 3],
    )
    record = generate(
        language(),
        input_ids=PROMPTS,
        max_new_tokens=16,
        stopping_criteria=[tj.EosTokenCriteria(3)],
    )
    option = generate(language(), input_ids=PROMPTS, max_new_tokens=16, eos_token_id=3)
    np.testing.assert_array_equal(function, record)
    assert [text.rstrip("_") for text in texts(record)] == [cut(text, ["c"]) for text in free()]
    np.testing.assert_array_equal(option, record)
    replaced = generate(
        language(),
        input_ids=PROMPTS,
        max_new_tokens=16,
        eos_token_id=6,
        pad_token_id=PAD,
        stopping_criteria=[tj.EosTokenCriteria([3])],
    )
    np.testing.assert_array_equal(replaced, record)  # of the same class: the caller's wins
    all_rows = generate(
        language(),
        input_ids=PROMPTS,
        max_new_tokens=16,
        stopping_criteria=[lambda text: text.new >= 5],
    )
    assert texts(all_rows) == [text[:7] for text in free()]


def test_drafted_tokens_are_read_by_criteria_one_by_one():
    """Strings end texts as they do without drafts."""
    model = tj.from_pretrained(HERE.parent / "parity" / "gpt2")
    vocabulary = {chr(97 + n): n for n in range(61)}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    inner.decoder = tokenizers.decoders.Fuse()
    ids = np.array([[7, 8, 7, 8, 7, 8], [40, 8, 19, 40, 8, 19]])
    text = np.asarray(tj.generate(model, ids, max_new_tokens=14, eos_token_id=None))
    strings = ["".join(chr(97 + n) for n in row[end : end + 2]) for row, end in zip(text, (9, 13))]
    common = {"max_new_tokens": 14, "eos_token_id": None, "pad_token_id": 0}
    common |= {"stopping_criteria": [tj.StopStringCriteria(inner, strings)]}
    alone = tj.generate(model, ids, **common)
    assert not np.array_equal(alone, text[:, : alone.shape[1]])  # or no string was found
    drafted = tj.generate(model, ids, prompt_lookup_num_tokens=4, **common)
    np.testing.assert_array_equal(drafted, alone)
    with pytest.raises(ValueError, match=r"drafts for one prompt a row, and guidance_scale=2.0"):
        tj.generate(model, ids, prompt_lookup_num_tokens=4, guidance_scale=2.0)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_greatest_length_takes_the_place_of_the_options(beams):
    criteria = [tj.MaxLengthCriteria(max_length=25)]
    ids = generate(language(), input_ids=PROMPTS, num_beams=beams, stopping_criteria=criteria)
    assert ids.shape == (4, 25)
    assert tj.MaxLengthCriteria(11)(ids).all()
    assert not tj.MaxLengthCriteria(26)(ids).any()


@pytest.mark.parametrize("beams", [1, 2])
def test_a_limit_of_time_ends_all_rows_after_the_next_token(beams):
    write = functools.partial(generate, language(), input_ids=PROMPTS, num_beams=beams)
    assert write(max_new_tokens=40, max_time=0.0).shape == (4, 3)
    assert write(max_new_tokens=40, max_time=1e4).shape == (4, 42)  # the control
    past = [tj.MaxTimeCriteria(5.0, initial_timestamp=time.time() - 9)]
    assert write(max_new_tokens=40, stopping_criteria=past).shape == (4, 3)
    assert not tj.MaxTimeCriteria(50.0)(PROMPTS).any()
    assert tj.MaxTimeCriteria(50.0, initial_timestamp=time.time() - 60)(PROMPTS).all()


def test_a_limit_of_time_begins_with_the_search_and_not_with_the_compilation():
    model = Markov(MarkovConfig(vocab_size=V), language().table[...] * 1.5)
    begun = time.time()
    ids = generate(model, input_ids=PROMPTS[:3, :1], max_new_tokens=9, max_time=0.25)
    if time.time() - begun > 0.3:  # it was compiled meanwhile
        assert ids.shape == (3, 10)


def test_another_limit_of_time_needs_no_other_program():
    generate(language(), input_ids=PROMPTS, max_new_tokens=4, max_time=3.0)
    count = generation._run._cache_size()
    generate(language(), input_ids=PROMPTS, max_new_tokens=4, max_time=7)
    assert generation._run._cache_size() == count


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stop_strings": ["ab"]}, r"stop_strings=\['ab'\].*pass tokenizer=tj.load_tokenizer"),
        ({"stop_strings": [""]}, "stop_strings must be one string or several, none of them empty"),
        ({"stop_strings": []}, "none of them empty, got"),
        ({"stop_strings": [3]}, "none of them empty, got"),
        ({"stop_strings": ["xyz"], "tokenizer": 1}, "tokenizer is 1; expected one that tj.load"),
        ({"max_time": -1.0}, "max_time must be >= 0, got -1.0"),
        ({"max_time": "soon"}, "max_time must be a finite number, got 'soon'"),
        ({"stopping_criteria": 3}, "stopping_criteria must be a list, got 3"),
        ({"stopping_criteria": tj.EosTokenCriteria(3)}, "stopping_criteria must be a list"),
        ({"stopping_criteria": [tj.EosTokenCriteria]}, r"stopping_criteria\[0\] is <class"),
        ({"stopping_criteria": [3]}, r"stopping_criteria\[0\] is 3; expected a criterion of"),
        (
            {"stopping_criteria": [lambda text: text.ids]},
            r"stopping_criteria\[0\].*returned int32\[1, 128\]; return truth values, bool\[1\]",
        ),
        (
            {"stopping_criteria": [lambda text: bool(text.new > 3)]},
            r"stopping_criteria\[0\].*cannot be traced by JAX",
        ),
        (
            {"stopping_criteria": [lambda ids, scores: True]},
            r"stopping_criteria\[0\].*cannot be traced by JAX.*a function \(text\)",
        ),
    ],
)
def test_criteria_that_cannot_be_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        generate(language(), input_ids=PROMPTS[:1], **options)


def test_strings_that_no_token_completes_are_refused():
    with pytest.raises(ValueError, match=r"no token of the tokenizer completes 'abz', 'ä'"):
        tj.StopStringCriteria(letters(), ["ab", "abz", "ä"])
    with pytest.raises(ValueError, match=r"max_length must be > 0, got 0"):
        tj.MaxLengthCriteria(0)
    assert jnp.array_equal(
        tj.StopStringCriteria(letters(), "ab")(np.array([[1, 2], [2, 1]])), [1, 0]
    )
