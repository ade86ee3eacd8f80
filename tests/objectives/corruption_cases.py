"""Records, pieces and a vocabulary for the laws of corruptions, and the way back to the text."""

import numpy as np

from transformers_jax.objectives import (
    UL2,
    BlockDiffusion,
    CausalLM,
    Denoising,
    FillInTheMiddle,
    GapSentences,
    MaskedDiffusion,
    MaskedLM,
    NextSentence,
    Piece,
    PrefixLM,
    ReplacedToken,
    SentenceOrder,
    SpanCorruption,
    Vocabulary,
)

ROLES = "pad unk bos eos cls sep mask fim_prefix fim_middle fim_suffix".split()
SIZE = 1009
TEXT = range(20, 900)  # ids of ordinary text
WORDS = Vocabulary(
    SIZE,
    {role: i for i, role in enumerate(ROLES)},
    tuple(range(SIZE - 1, SIZE - 101, -1)),
    {"R": 10, "S": 11, "X": 12},
    np.arange(SIZE) % 3 == 1,
)

CASES = {
    "CausalLM": CausalLM(),
    "PrefixLM": PrefixLM(),
    "PrefixLM 4": PrefixLM(minimum=4),
    "FillInTheMiddle": FillInTheMiddle(),
    "FillInTheMiddle always": FillInTheMiddle(rate=1.0),
    "MaskedLM": MaskedLM(),
    "MaskedLM words": MaskedLM(rate=0.3, whole_word=True),
    "MaskedLM spans": MaskedLM(ngram=3),
    "MaskedLM spans of words": MaskedLM(whole_word=True, ngram=4),
    "MaskedLM bare": MaskedLM(frame=False),
    "MaskedDiffusion": MaskedDiffusion(),
    "MaskedDiffusion counted": MaskedDiffusion(counted=True),
    "BlockDiffusion": BlockDiffusion(block=5),
    "BlockDiffusion counted": BlockDiffusion(block=4, counted=True),
    "ReplacedToken": ReplacedToken(),
    "NextSentence": NextSentence(),
    "SentenceOrder": SentenceOrder(),
    "GapSentences": GapSentences(),
    "GapSentences random": GapSentences(rate=0.5, choice="random"),
    "GapSentences lead": GapSentences(choice="lead"),
    "SpanCorruption": SpanCorruption(),
    "SpanCorruption 0.5": SpanCorruption(rate=0.5, mean_span=2.0),
    "UL2": UL2(),
    "Denoising": Denoising(),
    "Denoising in order": Denoising(permute=False),
}


def piece(n, seed=0, sentences=None, dtype=np.int32):
    """n different ids, with sentences of random lengths (or of one token each: sentences=n)."""
    rng = np.random.default_rng([n, seed])
    ids = rng.choice(TEXT, n, replace=False).astype(dtype)
    some = rng.integers(0, n, size=1 + n // 7) if sentences is None else range(sentences)
    ids.setflags(write=False)
    return Piece(ids, np.unique([0, *some]))


def other_piece(n):
    """A piece of another document: ids that no piece above shares."""
    return Piece(np.arange(900, 900 + n).astype(np.int32) % 1000, np.unique([0, n // 3]))


def make(record, original, seed=0, words=WORDS):
    """The example of a piece; the other document is as long as the piece."""
    rng = np.random.default_rng(seed)
    return record.example(original, rng, words, lambda: other_piece(min(len(original.ids), 9)))


def restore(record, example, original):
    """The ids of the piece, from its example (and where sentences start, for what hides them)."""
    ids = example.tokens["input_ids"]
    special = WORDS.special
    if isinstance(record, MaskedLM):
        whole = _with_labels(example)
        return whole[1:-1] if record.frame else whole
    if isinstance(record, MaskedDiffusion):
        whole = np.where(example.tokens["labels"] == -100, read(example), example.tokens["labels"])
        assert not isinstance(record, BlockDiffusion) or np.array_equal(whole, ids)
        return whole
    if isinstance(record, (NextSentence, SentenceOrder)):
        first, second = segments(example)
        swapped = isinstance(record, SentenceOrder) and example.once["next_sentence_label"] == 1
        return np.concatenate([second, first] if swapped else [first, second])
    if isinstance(record, (SpanCorruption, UL2)):
        return _filled(ids[isinstance(record, UL2) : -1], example.target["labels"][:-1])
    if isinstance(record, FillInTheMiddle):
        return _in_order(ids)
    if isinstance(record, GapSentences):
        source, labels = list(ids[:-1]), list(example.target["labels"][:-1])
        starts = (
            original.breaks if len(original.breaks) > 1 else np.unique([0, len(original.ids) // 2])
        )
        out = []
        for size in np.diff(starts, append=len(original.ids)):
            hidden = source[0] == special["mask"]
            out += [labels.pop(0) for _ in range(size)] if hidden else source[:size]
            del source[: 1 if hidden else size]
        assert not source
        assert not labels
        return np.array(out)
    if isinstance(record, Denoising):
        assert_infilled(record, ids[1:-1], original)
        return example.target["labels"][1:-1]
    return ids


def read(example):
    """The ids of the first side that hide something."""
    return example.tokens.get("noised_ids", example.tokens["input_ids"])


def segments(example):
    """A and B of [CLS] A [SEP] B [SEP], with masked tokens restored."""
    whole = _with_labels(example)
    middle, last = np.flatnonzero(whole == WORDS.special["sep"])
    assert last == len(whole) - 1
    types = example.tokens["token_type_ids"]
    np.testing.assert_array_equal(types, np.arange(len(whole)) > middle)
    return whole[1:middle], whole[middle + 1 : -1]


def _with_labels(example):
    ids, labels = example.tokens["input_ids"], example.tokens["labels"]
    return np.where(labels == -100, ids, labels)


def _filled(source, target):
    """The text of a span corruption: each sentinel becomes what follows it in the answer."""
    spans, order = {}, []
    for i in target:
        if i in WORDS.sentinels:
            order.append(i)
            spans[i] = []
        else:
            spans[order[-1]].append(i)
    assert order == list(WORDS.sentinels[: len(order)])
    assert [i for i in source if i in WORDS.sentinels] == order
    return np.array([j for i in source for j in spans.get(i, [i])])


def _in_order(ids):
    prefix, middle, suffix = (WORDS.special[f"fim_{n}"] for n in ("prefix", "middle", "suffix"))
    if ids[0] != prefix:
        return ids
    s, m = (int(np.flatnonzero(ids == i)[0]) for i in (suffix, middle))
    front, back, rest = ids[1:s], ids[s + 1 : m], ids[m + 1 :]
    end = rest[-1:] if len(rest) and rest[-1] == WORDS.special["eos"] else rest[:0]
    rest = rest[: len(rest) - len(end)]
    if s > 1 or not len(back):
        return np.concatenate([front, rest, back, end])
    # Suffix first, or an empty prefix: prefix and middle are joined in both.
    return np.concatenate([rest, back, end])


def assert_infilled(record, source, original):
    """The unmasked tokens are the text with its sentences in some order and masks for the rest."""
    position_of = {int(i): p for p, i in enumerate(original.ids)}
    positions = [position_of[int(i)] for i in source if i != WORDS.special["mask"]]
    sentence = np.searchsorted(original.breaks, positions, side="right")
    if record.permute:
        runs = np.flatnonzero(np.diff(sentence, prepend=-1))
        assert len(runs) == len(set(sentence)), "a sentence is in pieces"
        assert all(np.diff(positions)[np.diff(sentence) == 0] > 0), "a sentence is out of order"
        return
    masked, last = False, -1
    for i in [*source, None]:
        if i == WORDS.special["mask"]:
            masked = True
            continue
        here = len(original.ids) if i is None else position_of[int(i)]
        assert here == last + 1 or (here > last and masked), "something is missing without a mask"
        last, masked = here, False
