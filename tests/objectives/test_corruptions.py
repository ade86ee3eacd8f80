"""Laws that every corruption obeys, each with a negative control."""

import dataclasses

import numpy as np
import pytest

from tests.objectives.corruption_cases import CASES, SIZE, TEXT, WORDS, make, piece, read, restore
from transformers_jax.graph import CAUSAL, OWN, Same, Where
from transformers_jax.objectives import (
    OBJECTIVES,
    UL2,
    BlockDiffusion,
    CausalLM,
    Denoising,
    Example,
    GapSentences,
    MaskedLM,
    NextSentence,
    Piece,
    PrefixLM,
    SpanCorruption,
    Vocabulary,
)

SIZES = [1, 2, 3, 4, 7, 11, 29, 101]
EACH = pytest.mark.parametrize("record", CASES.values(), ids=CASES)


def examples(record, sizes=SIZES, seeds=12):
    for n in sizes:
        for seed in range(seeds):
            original = piece(n, seed)
            yield original, make(record, original, seed)


def expected(record, original, example):
    """The restorable ids: the piece, or the part of it in the example."""
    if not isinstance(record, NextSentence):
        return original.ids
    sizes = len(example.tokens["input_ids"]) - 3
    return original.ids[:sizes]


def arrays(example):
    return {**example.tokens, **{f"target {k}": v for k, v in example.target.items()}}


@EACH
def test_the_text_can_be_restored(record):
    for original, example in examples(record):
        if example.once.get("next_sentence_label") == 1 and isinstance(record, NextSentence):
            continue  # B is from elsewhere: tests of sentences
        restored = restore(record, example, original)
        np.testing.assert_array_equal(restored, expected(record, original, example))


@EACH
def test_a_changed_token_is_not_restored(record):
    caught = total = 0
    for original, example in examples(record, [29], 20):
        if example.once.get("next_sentence_label") == 1:
            continue
        ids = example.tokens["input_ids"].copy()
        labels = example.tokens.get("labels", np.full(len(ids), -100))
        open_ = (ids >= TEXT[0]) & (ids < TEXT[-1])
        if not isinstance(record, (CausalLM, PrefixLM)) and record.loss != "causal_lm":
            open_ &= labels == -100
        if record.spread and open_.sum() < 2:
            continue  # nearly all of it is hidden
        first, second = np.flatnonzero(open_)[:2]
        ids[[first, second]] = ids[[second, first]]
        broken = dataclasses.replace(example, tokens=example.tokens | {"input_ids": ids})
        total += 1
        try:
            restored = restore(record, broken, original)
            caught += not np.array_equal(restored, expected(record, original, broken))
        except (AssertionError, IndexError):
            caught += 1
    # BART's shuffled sentences can be exchanged: two of one token each are a text as well.
    assert total
    assert caught >= (total if not isinstance(record, Denoising) else total // 2)


def answers_what_was_hidden(record, original, example):
    """Whether the labels are exactly the masked tokens."""
    ids = read(example)
    if record.sides == 2:
        labels, behind = example.target["labels"], example.target["decoder_input_ids"]
        start = WORDS.special["eos" if isinstance(record, Denoising) else "pad"]
        text = labels[(labels >= TEXT[0]) & (labels < 900)]
        visible = set(ids.tolist())
        whole = isinstance(record, Denoising)
        hidden = original.ids if whole else [i for i in original.ids if int(i) not in visible]
        shifted = behind[0] == start and np.array_equal(behind[1:], labels[:-1])
        return shifted and labels[-1] == WORDS.special["eos"] and np.array_equal(text, hidden)
    labels = example.tokens["labels"]
    labelled = labels != -100
    if record.loss == "causal_lm":
        prefix = example.tags.get("prefix", np.arange(len(ids)) < 1)
        return np.array_equal(
            labelled, (prefix == 0) & (np.arange(len(ids)) > 0)
        ) and np.array_equal(labels[labelled], ids[labelled])
    some = labelled.any() or record.spread  # of a small share, nothing may be hidden
    return bool(np.all(labelled[ids == WORDS.special["mask"]])) and some


@EACH
def test_labels_are_the_masked_tokens(record):
    for original, example in examples(record):
        assert answers_what_was_hidden(record, original, example)


@EACH
def test_a_missing_label_is_detected(record):
    original, example = piece(29), make(record, piece(29))
    side = "target" if record.sides == 2 else "tokens"
    labels = getattr(example, side)["labels"].copy()
    masks = read(example) == WORDS.special["mask"]
    wrong = masks if record.loss not in ("causal_lm", "seq2seq_lm") else slice(-1, None)
    labels[wrong] = -100
    broken = dataclasses.replace(example, **{side: getattr(example, side) | {"labels": labels}})
    assert not answers_what_was_hidden(record, original, broken)


@EACH
def test_arrays_of_a_side_are_int32_of_one_length_with_ids_of_the_vocabulary(record):
    for _, example in examples(record):
        weights = example.tokens.pop("weights", np.ones(1, np.float32))
        assert weights.dtype == np.float32
        assert (weights >= 1).all()
        for side in (example.tokens | example.tags, example.target):
            assert len({len(v) for v in side.values()}) <= 1
            assert all(v.dtype == np.int32 and v.ndim == 1 for v in side.values())
        for name, value in arrays(example).items():
            low = -100 if "labels" in name else 0
            assert np.all(((value >= 0) & (value < SIZE)) | (value == low))


@EACH
def test_the_same_state_gives_the_same_example(record):
    original = piece(61)
    one, same = make(record, original, 3), make(record, original, 3)
    for name, value in arrays(one).items():
        np.testing.assert_array_equal(value, arrays(same)[name])
    assert one.once == same.once
    narrow = make(record, Piece(original.ids.astype(np.uint16), original.breaks), 3)
    for name, value in arrays(one).items():
        np.testing.assert_array_equal(value, arrays(narrow)[name])
        assert arrays(narrow)[name].dtype == value.dtype


def test_another_state_gives_another_example():
    still = {"CausalLM", "GapSentences", "GapSentences lead"}  # these draw nothing
    for name, record in CASES.items():
        distinct = {read(make(record, piece(61), s)).tobytes() for s in range(9)}
        tags = {str(make(record, piece(61), s).tags) for s in range(9)}
        assert (len(distinct) > 1 or len(tags) > 1) == (name not in still), name


def widths(example):
    labels = example.target.get("labels", ())
    return len(example.tokens["input_ids"]), len(labels)


def shapes(n, seed):
    """Pieces with random sentences, with one, with one per token, and with a long first one."""
    yield piece(n, seed)
    yield piece(n, seed, sentences=1)
    yield piece(n, seed, sentences=n)
    yield Piece(piece(n, seed).ids, np.unique([0, n - 1]))


@EACH
@pytest.mark.parametrize("length", [5, 8, 13, 40])
def test_every_piece_that_fits_the_room_fits_the_row_and_no_longer_one_does(record, length):
    room, width, target = record.room(length), record.width(length), record.target_width(length)
    lengths = [
        widths(make(record, original, seed))
        for n in {1, 2, 3, room // 2, room - 1, room} & set(range(1, room + 1))
        for seed in range(12)
        for original in shapes(n, seed)
    ]
    assert max(a for a, _ in lengths) <= width
    assert max(b for _, b in lengths) <= target
    if isinstance(record, Denoising) and length > 13:
        return  # one mask for each of a dozen masked tokens: too rare to wait for
    more = (
        widths(make(record, original, seed))[0]
        for seed in range(3000)
        for original in shapes(room + 1, seed)
    )
    assert any(a > width for a in more)


@EACH
def test_the_width_of_the_second_side_is_reached(record):
    length = 13
    lengths = (
        widths(make(record, original, seed))[1]
        for seed in range(300)
        for original in shapes(record.room(length), seed)
    )
    assert any(b == record.target_width(length) for b in lengths)


@EACH
def test_a_length_without_room_is_refused(record):
    with pytest.raises(ValueError, match=f"{type(record).__name__}: a length of 0 is too short"):
        record.room(0)
    for length in range(1, 6):
        try:
            assert record.room(length) >= 1
        except ValueError as error:
            assert "or more" in str(error)  # noqa: PT017


@EACH
def test_all_missing_special_tokens_are_named_at_once(record):
    bare = Vocabulary(SIZE, {}, (), {}, WORDS.continues)
    if not record.roles:
        make(record, piece(9), words=bare)
        return
    with pytest.raises(ValueError, match=type(record).__name__) as caught:
        make(record, piece(9), words=bare)
    for word in [repr(r) for r in record.roles] + ["choose a tokenizer", "learn one in the run"]:
        assert word in str(caught.value)


@EACH
def test_an_empty_piece_is_refused(record):
    with pytest.raises(ValueError, match="an empty one"):
        make(record, Piece(np.zeros(0, np.int32), np.zeros(1, int)))


@EACH
def test_roles_suffice(record):
    """Only declared special tokens are used: without the others the example is the same."""
    words = Vocabulary(
        SIZE,
        {role: WORDS.special[role] for role in record.roles},
        WORDS.sentinels[: record.sentinels],
        {mode: WORDS.modes[mode] for mode in record.modes},
        WORDS.continues,
    )
    for n in SIZES:
        some, every = make(record, piece(n), n, words), make(record, piece(n), n)
        sizes = lambda example: {name: x.shape for name, x in example.tokens.items()}
        assert sizes(some) == sizes(every)


def test_all_records_are_listed_and_tried():
    assert {type(record).__name__ for record in CASES.values()} == set(OBJECTIVES)
    for name, record in OBJECTIVES.items():
        assert record.__name__ == name
        assert record() == record()
        assert hash(record()) == hash(record())


def test_masks_follow_from_the_record():
    same = Same("document")
    assert CausalLM().mask(False) is None
    assert CausalLM().mask(True) == MaskedLM().mask(True) == OWN & same
    assert PrefixLM().mask(False) == CAUSAL | Where("prefix")
    assert PrefixLM().mask(True) == (CAUSAL | Where("prefix")) & same
    for record in (SpanCorruption(), UL2(), Denoising(), GapSentences()):
        assert record.mask(True) == {"encoder": OWN & same, "decoder": OWN & same, "cross": same}
        assert record.mask(False) is None


@pytest.mark.parametrize(
    ("make_record", "message"),
    [
        (lambda: MaskedLM(rate=0), "rate=0"),
        (lambda: MaskedLM(masked=0.95), "masked=0.95, random=0.1"),
        (lambda: MaskedLM(masked=0.0, random=0.0), "to be copied"),
        (lambda: MaskedLM(random=-0.1), "random=-0.1"),
        (lambda: MaskedLM(ngram=0), "ngram=0"),
        (lambda: BlockDiffusion(block=0), "came block=0"),
        (lambda: BlockDiffusion(readings=0), "came readings=0"),
        (lambda: OBJECTIVES["ReplacedToken"](fraction=0), "fraction=0"),
        (lambda: NextSentence(random=2), "random=2"),
        (lambda: OBJECTIVES["SentenceOrder"](swapped=-1), "swapped=-1"),
        (lambda: SpanCorruption(rate=1), "rate=1"),
        (lambda: SpanCorruption(mean_span=0.5), "mean_span=0.5"),
        (lambda: UL2(denoisers=()), "positive sum"),
        (lambda: UL2(denoisers=(("R", 3, 0.15, -1),)), r"\[-1\]"),
        (lambda: UL2(denoisers=(("S", None, 0.6),)), "came rate=0.6"),
        (lambda: Denoising(rate=1.1), "rate=1.1"),
        (lambda: Denoising(mean_span=0), "came mean_span=0"),
        (lambda: GapSentences(choice="best"), "'best'"),
        (lambda: PrefixLM(minimum=0), "came minimum=0"),
        (lambda: OBJECTIVES["FillInTheMiddle"](spm=1.5), "spm=1.5"),
    ],
)
def test_invalid_numbers_are_refused(make_record, message):
    with pytest.raises(ValueError, match=message):
        make_record()


def test_an_example_is_empty_by_default():
    assert Example({}) == Example({}, {}, {}, {})
