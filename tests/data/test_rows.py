"""Encoded rows equal those of PyTorch's tokenizers, and errors."""

import json
import lzma
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import transformers_jax as tj
from tests.data.row_cases import ARRAYS, SECOND_TEXTS, TEXTS, WINDOWS, cases
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer

THEIRS = json.loads(lzma.decompress(Path(__file__).with_name("rows.json.xz").read_bytes()))
ROLES = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
EXTRA = dict(ARRAYS, return_word_ids=True, return_sequence_ids=True)


@pytest.fixture(scope="module", params=list(THEIRS))
def both(request, tmp_path_factory):
    theirs, folder = THEIRS[request.param], tmp_path_factory.mktemp(request.param)
    (folder / "tokenizer.json").write_text(json.dumps(theirs["tokenizer"]))
    (folder / "tokenizer_config.json").write_text(json.dumps(theirs["config"]))
    return load_tokenizer(folder), theirs


def numbers(value):
    """Nothing is -1, as arrays write it."""
    if isinstance(value, list):
        return [numbers(one) for one in value]
    return -1 if value is None else value


def test_rows_are_those_of_transformers(both):
    tokenizer, theirs = both
    refused = 0
    for (texts, pairs, options), expected in zip(cases(), theirs["rows"], strict=True):
        call = {**EXTRA, **options}
        if expected is None:
            refused += 1
            with pytest.raises(ValueError, match=r"stride|room"):
                tokenizer.batch(texts, pairs, **call)
            continue
        encoding = tokenizer.batch(texts, pairs, **call)
        for name, array in encoding.items():
            if name in ("word_ids", "sequence_ids"):
                filled = numbers(expected[name])
            elif name == "token_type_ids" and name not in expected:
                pytest.fail(f"types of {texts}, {pairs}, {options}")
            else:
                filled = expected[name]
            assert array.tolist() == filled, (name, texts, pairs, options)
        if (
            pairs is not None
            and "token_type_ids" in expected
            and not np.any(expected["token_type_ids"])
        ):
            assert "token_type_ids" not in encoding
    assert refused < len(theirs["rows"]) / 3


def test_texts_come_back_as_those_of_transformers(both):
    tokenizer, theirs = both
    sample, texts = theirs["decoded"]
    for skip, expected in ((True, texts["True"]), (False, texts["False"])):
        assert tokenizer.batch_decode(sample, skip_special_tokens=skip) == expected
    with pytest.raises(ValueError, match="batch_decode for several"):
        tokenizer.decode(np.ones((2, 3), int))


@pytest.mark.parametrize("kind", ["byte", "character"])
@pytest.mark.parametrize("roles", [ROLES, ("pad", "mask")])
def test_ids_that_are_looked_up_are_those_of_the_library(kind, roles):
    letters = sorted({c for text in (*TEXTS, *SECOND_TEXTS) for c in text})
    own = train_tokenizer(kind, letters, 0, roles=roles)

    @settings(max_examples=60, deadline=None)
    @given(st.text(st.sampled_from(letters), max_size=9), st.booleans())
    def law(text, parse):
        if kind == "byte" or parse:
            text = f"{text}{own.special['mask']}b"
        ids = own.encode(text, parse_special=parse)
        assert ids.dtype == np.int32
        expected = own.run("encode_batch", [text], parse_special=parse)[0].ids
        assert ids.tolist() == expected

    law()


def test_unknown_characters_in_rows_are_the_unknown_token_or_refused():
    known = train_tokenizer("character", ["abc"], 0, roles=("unk", "pad", "mask"))
    rows = known.batch(["azzb", "a<mask>"], return_offsets_mapping=True)
    unk, pad, mask = (known.special_id(role) for role in ("unk", "pad", "mask"))
    assert rows["input_ids"].tolist() == [[0, unk, unk, 1], [0, mask, pad, pad]]
    assert rows["offset_mapping"][0].tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    with pytest.raises(ValueError, match="character 'z' at 1"):
        train_tokenizer("character", ["abc"], 0, roles=("pad",)).batch(["azzb"])


def test_twelve_batches_compile_one_program():
    tokenizer = train_tokenizer("byte", [], 0, roles=("pad",))
    texts = [["a" * (3 + 5 * n), "b"] for n in range(12)]

    def programs(**options):
        program = jax.jit(lambda ids, mask: (ids * mask).sum())
        for some in texts:
            batch = tokenizer.batch(some, **options)
            program(batch["input_ids"], batch["attention_mask"])
        return program._cache_size()

    assert programs() == 12
    assert programs(pad_to_multiple_of=64) == 1
    assert programs(padding="max_length", max_length=60) == 1
    assert programs(pad_to_multiple_of=32) == 2


def test_word_ids_map_labels_of_words_to_tokens(both):
    tokenizer, _ = both
    tags = np.array([3, 1, 4])
    batch = tokenizer.batch(
        [["reader", "reads", "again"]], is_split_into_words=True, return_word_ids=True
    )
    words = batch["word_ids"][0]
    labels = np.where(words >= 0, tags[words], -100)
    assert labels[words >= 0].tolist() == tags[words[words >= 0]].tolist()
    assert (labels == -100).sum() == (words == -1).sum() > 0
    assert sorted(set(words[words >= 0])) == [0, 1, 2]


def test_offsets_cut_the_answer_out_of_its_text(both):
    tokenizer, _ = both
    context = "The reader reads a text, and gives it back again" + " and again" * 12 + "."
    windows = tokenizer.batch(
        ["What?"] * 2,
        [context, "The text."],
        max_length=34,
        stride=4,
        return_offsets_mapping=True,
        return_sequence_ids=True,
        truncation_side="right",
        padding_side="right",
        **dict(WINDOWS, truncation="only_second"),
    )
    samples = windows["overflow_to_sample_mapping"]
    assert samples.tolist() == sorted(samples.tolist())
    assert (samples == 0).sum() > 1
    assert (samples == 1).sum() == 1
    covered = np.zeros(len(context), int)
    for row in np.flatnonzero(samples == 0):
        for (start, end), side in zip(windows["offset_mapping"][row], windows["sequence_ids"][row]):
            if side == 1:
                covered[start:end] = 1
    assert all(covered[n] for n, c in enumerate(context) if c != " ")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (dict(pading=True), TypeError, "no option 'pading'; did you mean 'padding'"),
        (dict(return_tensors="np"), TypeError, "NumPy's, which JAX takes"),
        (dict(padding="longer"), ValueError, "padding='longer': expected one of True, False"),
        (dict(truncation=1), ValueError, "truncation=1: expected one of"),
        (dict(padding_side="up"), ValueError, "padding_side='up': expected 'left' or 'right'"),
        (dict(truncation_side="l"), ValueError, "truncation_side='l': expected"),
        (dict(truncation=True), ValueError, r"truncation needs max_length: .*\(model_max_length\)"),
        (dict(padding="max_length"), ValueError, "padding='max_length' needs max_length"),
        (dict(stride=2), ValueError, "pass return_overflowing_tokens=True"),
        (dict(return_overflowing_tokens=True), ValueError, "pass truncation, too"),
        (dict(pad_to_multiple_of=0), ValueError, "pad_to_multiple_of=0 must be a whole number"),
        (dict(max_length=2.5), ValueError, "max_length=2.5 must be a whole number"),
        (
            dict(truncation=True, max_length=10, pad_to_multiple_of=8),
            ValueError,
            r"max_length \(10\) is no multiple of pad_to_multiple_of \(8\)",
        ),
        (
            dict(WINDOWS, max_length=6, stride=4),
            ValueError,
            r"stride \(4\) must be less than the 4",
        ),
        (dict(is_split_into_words=True), ValueError, "a text is a list of its words"),
    ],
)
def test_invalid_batch_arguments_are_refused(call, error, words):
    tokenizer = train_tokenizer("byte", [], 0, roles=("pad", "cls", "sep"))
    with pytest.raises(error, match=words):
        tokenizer.batch(["some text", "more"], **call)


def test_an_error_about_split_words_names_the_option():
    tokenizer = train_tokenizer("byte", [], 0, roles=("pad",))
    with pytest.raises(ValueError, match="is_split_into_words=True"):
        tokenizer.batch([["some", "words"]])
    with pytest.raises(ValueError, match="text 0 has a int among its words"):
        tokenizer.batch([["some", 5]], is_split_into_words=True)


def test_split_words_must_keep_their_spaces():
    tokenizer = train_tokenizer("bpe", ["the cat sat on the mat"] * 9, 290)
    with pytest.raises(ValueError, match="run into the word before; write ' cat'"):
        tokenizer.batch([["the", "cat"]], is_split_into_words=True)
    batch = tokenizer.batch([["the", " cat"]], is_split_into_words=True)  # as the error says
    assert batch["input_ids"].tolist() == tokenizer.batch(["the cat"])["input_ids"].tolist()


def test_rows_may_stay_as_long_as_they_are():
    tokenizer = train_tokenizer("byte", [], 0)
    batch = tokenizer.batch(["a", "bcd"], padding=False)
    assert [row.tolist() for row in batch["input_ids"]] == [[97], [98, 99, 100]]
    assert [row.tolist() for row in batch["attention_mask"]] == [[1], [1, 1, 1]]


def test_a_pad_token_can_be_added_as_the_error_says():
    tokenizer = train_tokenizer("byte", [], 0)
    with pytest.raises(ValueError, match=r"add_special_tokens\(\{\"pad_token\": \"<pad>\"\}\)"):
        tokenizer.batch(["a", "bcd"])
    assert tokenizer.add_special_tokens({"pad_token": "<pad>"}) == 1
    assert tokenizer.batch(["a", "bcd"])["input_ids"].tolist() == [[97, 256, 256], [98, 99, 100]]


def test_a_batch_is_continued_as_each_text_by_itself_with_padding_on_either_side():
    tokenizer = train_tokenizer("byte", [], 0, roles=("pad",))
    config = tj.GPT2Config(vocab_size=257, n_positions=32, n_embd=8, n_layer=1, n_head=2)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    single = model.generate(**tokenizer.batch(["some"]), max_new_tokens=3, pad_token_id=256)
    for side in ("left", "right"):
        batch = tokenizer.batch(["some", "longer text"], padding_side=side)
        both = model.generate(**batch, max_new_tokens=3, pad_token_id=256)
        assert jnp.array_equal(both[0, -3:], single[0, -3:]), side
