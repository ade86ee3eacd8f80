"""Every kind of tokenizer gives the text back, and is a tokenizer.json that others read."""

import itertools
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_jax.data.tokenizers import KINDS, load_tokenizer, train_tokenizer

TEXT = "def f(x):\n    return x  # naïve 雪 🙂\t\0end"
LOSSLESS = [kind for kind in KINDS if kind != "wordpiece"]
ALPHABET = st.characters(exclude_categories=["Cs"])
ROLES = ("pad", "bos", "eos", "cls", "sep", "mask")


def make(kind, **options):
    return train_tokenizer(kind, [TEXT, "return return return"] * 3, 300, **options)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return make(request.param)


@pytest.fixture(scope="module", params=KINDS)
def full_tokenizer(request):
    return train_tokenizer(
        request.param, [TEXT] * 3, 320, roles=ROLES, sentinels=4, modes=("R", "S", "X")
    )


@pytest.mark.parametrize("kind", LOSSLESS)
def test_text_comes_back(kind):
    tokenizer = make(kind)
    for text in (TEXT, "return", "", " x\n"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", ["byte", "bpe", "unigram"])
def test_any_text_comes_back_from_bytes(kind):
    tokenizer = make(kind, roles=ROLES)

    @settings(max_examples=60, deadline=None)
    @given(st.text(ALPHABET, max_size=60))
    def law(text):
        for parse in (True, False):
            assert tokenizer.decode(tokenizer.encode(text, parse_special=parse)) == text

    law()


@settings(max_examples=30, deadline=None)
@given(st.text(st.sampled_from(TEXT), max_size=40))
def test_texts_of_known_characters_come_back_from_characters(text):
    tokenizer = train_tokenizer("character", [TEXT], 0)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=40, deadline=None)
@given(st.text(ALPHABET, max_size=40))
def test_words_come_back_from_word_pieces_and_again(text):
    tokenizer = train_tokenizer("wordpiece", [TEXT] * 3, 300)
    once = tokenizer.decode(tokenizer.encode(text))
    assert tokenizer.decode(tokenizer.encode(once)) == once


def test_word_pieces_lose_spaces_only():
    tokenizer = make("wordpiece")
    decoded = tokenizer.decode(tokenizer.encode(TEXT))
    assert decoded == "def f ( x ) : return x # naïve 雪 🙂 end"


def test_the_saved_file_encodes_alike(tokenizer, tmp_path):
    import tokenizers

    tokenizer.save(tmp_path)
    ids = tokenizer.encode(TEXT)
    assert list(load_tokenizer(tmp_path).encode(TEXT)) == list(ids)
    others = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert others.encode(TEXT).ids == list(ids)
    assert others.decode(list(ids)) == tokenizer.decode(ids)


def test_the_largest_id_bounds_all_ids(full_tokenizer):
    ids = full_tokenizer.encode(TEXT + "<extra_id_0>")
    assert (
        0
        <= min(ids)
        <= max(ids)
        == full_tokenizer.max_id
        == full_tokenizer.vocabulary().sentinels[0]
    )


def test_many_texts_are_encoded_as_one_by_one(full_tokenizer):
    many = full_tokenizer.encode_many([TEXT, "return <extra_id_1>", ""])
    for ids, text in zip(many, (TEXT, "return <extra_id_1>", "")):
        np.testing.assert_array_equal(ids, full_tokenizer.encode(text))


def test_a_vocabulary_lists_roles_sentinels_and_modes(full_tokenizer, tmp_path):
    full_tokenizer.save(tmp_path)
    for tokenizer in (full_tokenizer, load_tokenizer(tmp_path)):
        words = tokenizer.vocabulary()
        assert set(ROLES) <= set(words.special)
        assert words.sentinels == tuple(words.size - 1 - n for n in range(4))  # as T5
        assert set(words.modes) == {"R", "S", "X"}
        for role, token in tokenizer.special.items():
            assert tokenizer.encode(token).tolist() == [words.special[role]]
        assert (words.special["bos"] == words.special["cls"]) == (
            full_tokenizer.kind != "wordpiece"
        )
        assert not words.continues[[*words.special.values(), *words.sentinels]].any()
    assert load_tokenizer(tmp_path).kind == full_tokenizer.kind
    with pytest.raises(ValueError, match="is not in"):
        full_tokenizer.vocabulary(3)


def test_special_tokens_in_a_document_may_stay_text(full_tokenizer):
    for token in full_tokenizer.special.values():
        assert len(full_tokenizer.encode(token)) == 1
        if full_tokenizer.kind != "character":  # it has no "<"
            apart = full_tokenizer.encode(token, parse_special=False)
            assert not np.isin(apart, list(full_tokenizer.vocabulary().sentinels)).any()
            assert len(apart) > 1 or full_tokenizer.kind == "wordpiece"


def test_no_roles_change_nothing():
    for kind in ("byte", "character", "bpe"):
        assert make(kind).inner.get_added_tokens_decoder() == {}
        assert make(kind).special == {}
    plain, more = make("byte"), make("byte", roles=("pad",), sentinels=2)
    np.testing.assert_array_equal(plain.encode(TEXT), more.encode(TEXT))


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_a_vocabulary_is_at_most_as_large_as_requested(kind):
    tokenizer = train_tokenizer(kind, [TEXT * 3], 290, roles=("pad",), sentinels=5)
    assert tokenizer.max_id < 290


def test_continuations_are_what_follows_within_a_word():
    def starts(kind, text):
        tokenizer = train_tokenizer(kind, ["one tone stone " * 9], 300)
        ids = tokenizer.encode(text)
        return (~tokenizer.vocabulary().continues[ids]).sum()

    for kind in ("byte", "character", "bpe", "unigram"):
        assert starts(kind, " one tone stone") == 3
    assert starts("wordpiece", "one tone stone oneone") == 4


def test_bytes_are_their_own_ids():
    assert list(train_tokenizer("byte", [], 0).encode("aé")) == [97, 0xC3, 0xA9]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_learned_pieces_are_fewer_than_bytes(kind):
    texts = list(itertools.islice(topics.values(), 30))
    tokenizer = train_tokenizer(kind, texts, 600)
    assert sum(map(len, tokenizer.encode_many(texts))) < 0.6 * sum(map(len, texts))


def test_an_unknown_character_is_refused_or_becomes_the_unknown_token():
    tokenizer = train_tokenizer("character", ["abc"], 0)
    assert tokenizer.max_id == 2
    with pytest.raises(ValueError, match="character 'z' at 1"):
        tokenizer.encode("az")
    assert train_tokenizer("character", ["abc"], 0, roles=("unk",)).encode("az").tolist() == [0, 3]


def test_marks_are_the_tokens_that_hold_the_characters(full_tokenizer):
    texts, offsets = ["def end\nreturn f", "x return"], [[0, 8], [0, 2, 2]]
    for (ids, marks), text, positions in zip(
        zip(*full_tokenizer.encode_marked(texts, offsets)), texts, offsets
    ):
        np.testing.assert_array_equal(ids, full_tokenizer.encode(text))
        assert marks[0] == 0
        assert len(marks) == 2
        rest = full_tokenizer.decode(ids[marks[1] :])
        assert (
            rest.strip()
            == full_tokenizer.decode(full_tokenizer.encode(text[positions[1] :])).strip()
        )


def test_batches_are_padded_and_masked(full_tokenizer):
    batch = full_tokenizer.batch(["return", "end end x"])
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    words = full_tokenizer.vocabulary()
    for row, mask, text in zip(*batch.values(), ("return", "end end x")):
        inside = row[mask == 1].tolist()
        bare = full_tokenizer.encode(text).tolist()
        assert inside == [words.special["cls"], *bare, words.special["sep"]]
        assert (row[mask == 0] == words.special["pad"]).all()
    with pytest.raises(ValueError, match="max_length is 4"):
        full_tokenizer.batch(["return end x"] * 2, max_length=4)
    cut = full_tokenizer.batch(["return end x"] * 2, max_length=4, truncation=True)
    assert cut["input_ids"].shape == (2, 4)
    assert (cut["input_ids"][:, -1] == words.special["sep"]).all()


PAIRS = (["return", "end end x end", ""], ["end x", "return", "def"])


def test_pairs_have_token_types(full_tokenizer):
    batch = full_tokenizer.batch(*PAIRS)
    assert list(batch) == ["input_ids", "token_type_ids", "attention_mask"]
    special = full_tokenizer.vocabulary().special
    for ids, types, mask, a, b in zip(*batch.values(), *PAIRS):
        first = [special["cls"], *full_tokenizer.encode(a), special["sep"]]
        second = [*full_tokenizer.encode(b), special["sep"]]
        assert ids[mask == 1].tolist() == first + second
        assert types[mask == 1].tolist() == [0] * len(first) + [1] * len(second)
        assert not types[mask == 0].any()
    bare = full_tokenizer.batch(
        ["x"], ["end"], add_special_tokens=False, return_token_type_ids=False
    )
    assert bare["input_ids"].tolist() == [
        [*full_tokenizer.encode("x"), *full_tokenizer.encode("end")]
    ]
    assert list(bare) == ["input_ids", "attention_mask"]
    assert (
        full_tokenizer.batch(["x"], return_token_type_ids=True)["token_type_ids"].tolist()[0][0]
        == 0
    )


@pytest.mark.parametrize("truncation", ["longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("room", range(2, 9))
def test_pairs_are_cut_as_the_library_cuts_them(truncation, room):
    import tokenizers

    theirs = make("wordpiece", roles=ROLES)
    max_length = room + 3
    for n, m in ((1, 5), (4, 4), (5, 1), (3, 2)):
        first, second = "return " * n, "end " * m
        inner = tokenizers.Tokenizer.from_str(theirs.inner.to_str())
        inner.enable_truncation(max_length, strategy=truncation)
        cut = dict(max_length=max_length, truncation=truncation)
        try:
            expected = inner.encode(first, second).ids
        except Exception:  # nothing would be left of the one that is cut
            with pytest.raises(ValueError, match="leaves no room in max_length"):
                theirs.batch([first], [second], **cut)
        else:
            assert theirs.batch([first], [second], **cut)["input_ids"].tolist() == [expected]


def test_invalid_pairs_are_refused(full_tokenizer):
    with pytest.raises(ValueError, match="3 texts and 2 in text_pair"):
        full_tokenizer.batch(PAIRS[0], PAIRS[1][:2])
    with pytest.raises(ValueError, match="several texts are a list"):
        full_tokenizer.batch(["x"], "end")
    with pytest.raises(ValueError, match=r"text 1 has \d+ tokens with its pair; max_length is 6"):
        full_tokenizer.batch(*PAIRS, max_length=6)
    with pytest.raises(ValueError, match="truncation='longest'"):
        full_tokenizer.batch(*PAIRS, max_length=6, truncation="longest")
    with pytest.raises(ValueError, match="no text_pair"):
        full_tokenizer.batch(["x"], max_length=6, truncation="only_second")
    with pytest.raises(ValueError, match="leaves no room in max_length"):
        full_tokenizer.batch(["x"], ["end " * 9], max_length=6, truncation="only_first")


def test_invalid_batches_are_refused():
    plain = make("byte")
    assert plain.batch(["ab", "cd"])["input_ids"].tolist() == [[97, 98], [99, 100]]
    with pytest.raises(ValueError, match="pad token"):
        plain.batch(["a", "bc"])
    with pytest.raises(ValueError, match="has none"):
        plain.batch([])
    with pytest.raises(ValueError, match="leaves no room"):
        make("byte", roles=ROLES).batch(["a"], max_length=2)


@pytest.mark.parametrize("bad", [b"bytes", None, 5, ["a"]])
def test_what_is_no_text_is_refused(full_tokenizer, bad):
    with pytest.raises(ValueError, match="text 1 is"):
        full_tokenizer.encode_many(["ok", bad])
    with pytest.raises(ValueError, match=", not str"):
        full_tokenizer.encode(bad)


def test_lone_surrogates_are_refused_with_their_position(full_tokenizer):
    for parse in (True, False):
        with pytest.raises(ValueError, match=r"text 1 has a lone surrogate .* at 2"):
            full_tokenizer.encode_many(["end", "en\ud800"], parse_special=parse)


def test_ids_out_of_range_are_refused(full_tokenizer):
    for bad in (-1, 2**32):
        with pytest.raises(ValueError, match=f"id {bad} is not in"):
            full_tokenizer.decode([1, bad])
    assert full_tokenizer.decode([full_tokenizer.max_id + 1]) == ""


def test_a_long_word_is_no_trouble(full_tokenizer):
    text = "d" * 200_000
    assert len(full_tokenizer.encode(text)) >= 1


def test_settings_that_make_no_tokenizer_are_refused():
    with pytest.raises(ValueError, match="'word' is unknown; it is one of byte, character, bpe"):
        train_tokenizer("word", ["a"], 300)
    with pytest.raises(ValueError, match="at least 256"):
        train_tokenizer("bpe", ["a"], 100)
    with pytest.raises(ValueError, match="at least 258"):
        train_tokenizer("bpe", ["a"], 259, roles=("pad", "eos"), sentinels=2)
    with pytest.raises(ValueError, match="begin: no role"):
        train_tokenizer("byte", ["a"], 300, roles=("begin",))
    with pytest.raises(ValueError, match="Q: no role"):
        train_tokenizer("byte", ["a"], 300, modes=("Q",))
    with pytest.raises(ValueError, match="there is none"):
        train_tokenizer("character", [], 300)
