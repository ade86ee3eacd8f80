"""Batches are pure functions of a seed and a position; every piece comes once an epoch."""

import dataclasses
import json

import numpy as np
import pytest

from transformers_jax.data.config import Data
from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.data.packing import NOBODY, fill, first_fit, shorten
from transformers_jax.data.prefetch import prefetched
from transformers_jax.data.stream import Part, Position, Stream
from transformers_jax.data.tokens import Tokens
from transformers_jax.objectives import CausalLM, MaskedLM, NextSentence, SpanCorruption, Vocabulary

LENGTHS = [5, 1, 17, 40, 3, 0, 29, 8, 13, 2, 64, 7, 11, 23, 4]
ROLES = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
WORDS = Vocabulary(
    size=4000,
    special={role: number for number, role in enumerate(ROLES)},
    sentinels=tuple(range(3999, 3979, -1)),
)


def text(lengths=LENGTHS, first=10):
    """Documents in which every id occurs once, so that it can be located."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(ids=np.arange(first, first + starts[-1]).astype(np.int32), starts=starts)


def stream(rows, objective=None, *, tokens=None, seed=3, length=16, batch=4, window=5, **data):
    objective = objective or CausalLM()
    data = Data(rows=rows, length=length, batch=batch, window=window, **data)
    part = Part(tokens or text(), data, objective, WORDS, seed)
    return Stream([part], [1.0], data)


def run(stream, steps, position=None, size=4, limit=None):
    position = position or stream.start
    batches = []
    for _ in range(steps):
        batch, position = stream.batch(position, size, limit)
        batches.append(batch)
    return batches, position


def same(one, two):
    flat = lambda batch: {
        f"{name}.{key}" if isinstance(value, dict) else name: array
        for name, value in batch.items()
        for key, array in (value.items() if isinstance(value, dict) else [("", value)])
    }
    one, two = flat(one), flat(two)
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


def label_ids(batches):
    """The ids that a causal model has to predict, in order of size."""
    labels = np.concatenate([batch["labels"][:, 1:].ravel() for batch in batches])
    return sorted(labels[labels >= 0].tolist())


KINDS = ["stream", "crops", "packed", "padded", "bucketed"]


@pytest.mark.parametrize("rows", KINDS)
def test_a_batch_depends_only_on_the_seed_and_the_position(rows):
    one, two = stream(rows), stream(rows)
    first, middle = run(one, 7)
    later, _ = run(one, 9, middle)
    middle = Position.from_json(json.loads(json.dumps(middle.to_json())))
    again, _ = run(two, 9, middle)
    assert all(same(a, b) for a, b in zip(later, again))
    other, _ = run(stream(rows, seed=4), 7)
    assert not all(same(a, b) for a, b in zip(first, other))


def test_every_seed_has_a_noise_of_its_own():
    noise = lambda seed: stream("padded", seed=seed).parts[0]._generator(0, 5).integers(2**62)
    seeds = [-1, -2, -(2**40), 0, 1, 2**53, 2**53 + 1, 2**63, 2**64 - 3]
    assert len({noise(seed) for seed in seeds}) == len(seeds)
    ordinary = np.random.Philox(key=[3, 0], counter=[0, 0, 0, 5])
    assert noise(3) == np.random.Generator(ordinary).integers(2**62)


@pytest.mark.parametrize("rows", ["packed", "padded", "bucketed"])
def test_an_epoch_predicts_every_token_but_the_first_of_each_document_once(rows):
    one = stream(rows)
    limit, position, batches = sum(one.groups_of(1)), one.start, []
    while position.parts[0].epoch == 0:
        batch, position = one.batch(position, 4, limit)
        batches.append(batch)
    tokens = text()
    firsts = {int(tokens.ids[s]) for s, n in zip(tokens.starts, LENGTHS) if n}
    expected = sorted(set(tokens.ids.tolist()) - firsts)
    assert label_ids(batches) == expected


@pytest.mark.parametrize("rows", KINDS)
def test_the_passes_so_far_rise_with_every_row(rows):
    one = stream(rows)
    limit, position, passes = sum(one.groups_of(1)), one.start, [0.0]
    for _ in range(limit):
        (_, position) = one.batch(position, 1)
        passes.append(one.epoch(position))
    assert passes[-1] == 1
    steps = np.diff(passes)
    assert steps.min() > 0
    if rows == "packed":  # all rows of a window count alike
        part, count = one.parts[0], one.parts[0].pieces.count
        for window, first in enumerate(range(0, count, 5)):
            of_window, rest = steps[: len(part.rows(0, window))], steps[len(part.rows(0, window)) :]
            np.testing.assert_allclose(of_window, min(5, count - first) / count / len(of_window))
            steps = rest
        assert not len(steps)


def test_a_stream_predicts_every_token_of_its_rows_once():
    one = stream("stream")
    limit = sum(one.groups_of(1))
    batches, position = run(one, -(-limit // 4), limit=limit)
    assert position.parts[0].epoch == 1
    assert label_ids(batches) == text().ids[1 : limit * 16 + 1].tolist()


def test_each_epoch_has_its_own_order():
    one = stream("padded")
    limit = sum(one.groups_of(1))
    (first,), position = run(one, 1, size=limit)
    (second,), _ = run(one, 1, position, size=limit)
    assert position.parts[0].epoch == 1
    assert not same(first, second)
    assert sorted(map(bytes, first["input_ids"])) == sorted(map(bytes, second["input_ids"]))


def test_packed_rows_hold_whole_separate_documents():
    batches, _ = run(stream("packed"), 4)
    tokens = text()
    for batch in batches:
        for row, document, position in zip(
            batch["input_ids"], batch["tags"]["document"], batch["tags"]["position"]
        ):
            for number in range(document.max() + 1):
                inside = row[document == number]
                start = int(np.searchsorted(tokens.ids, inside[0]))
                np.testing.assert_array_equal(inside, tokens.ids[start : start + len(inside)])
                np.testing.assert_array_equal(position[document == number], range(len(inside)))
                assert (
                    len({int(np.searchsorted(tokens.starts, i - 10, "right")) for i in inside}) == 1
                )
        np.testing.assert_array_equal(batch["attention_mask"], batch["tags"]["document"] != NOBODY)


def test_packing_fills_rows():
    lengths = np.random.default_rng(0).geometric(1 / 60, 2000).clip(1, 256)
    rows = first_fit(np.stack([lengths, lengths], axis=1), (256, 256))
    used = [sum(int(lengths[n]) for n in row) for row in rows]
    assert max(used) <= 256
    assert sorted(n for row in rows for n in row) == list(range(2000))
    assert np.mean(used) / 256 > 0.97
    apart = stream("padded", tokens=text([20] * 64), length=128, window=64)
    together = stream("packed", tokens=text([20] * 64), length=128, window=64)
    assert fill(run(apart, 1)[0][0]) < 0.17  # the control
    assert fill(run(together, 1)[0][0]) > 0.9


def test_both_sides_of_a_row_have_room():
    one = stream("packed", SpanCorruption(), length=48)
    for batch in run(one, 3)[0]:
        for prefix in ("", "decoder_"):
            mask = batch[f"{prefix}attention_mask"]
            assert (batch[f"{prefix}input_ids"][mask == 0] == 0).all()
            document = batch[f"{prefix}tags"]["document"]
            assert (np.diff(document, axis=1)[mask[:, 1:] == 1] >= 0).all()
        here, there = (batch[f"{p}tags"]["document"].max(axis=1) for p in ("", "decoder_"))
        np.testing.assert_array_equal(here, there)


def test_buckets_hold_documents_of_like_length():
    one = stream("bucketed", window=16, batch=3)
    groups, position, widths = one.groups_of(1), one.start, []
    while position.parts[0].epoch == 0:
        batch, position = one.batch(position, 3, sum(groups))
        widths.append(batch["input_ids"].shape[1])
    assert len(widths) == sum(-(-rows // 3) for rows in groups)  # one ends with each window
    assert len({*widths}) > 2
    assert all(width % 3 == 0 or width == 17 for width in widths)


def test_a_mixture_keeps_its_shares_after_every_row():
    data = Data(rows="padded", length=16, batch=4, window=5)
    shares = (0.6, 0.3, 0.1)
    parts = [
        Part(text([9] * 20, first), data, CausalLM(), WORDS, seed)
        for seed, first in enumerate((0, 180, 200))
    ]
    mixed, position = Stream(parts, shares, data), None
    for step in range(1, 41):
        _, position = mixed.batch(position or mixed.start, 4)
        predicted = np.array(position.rows)
        assert predicted.sum() == 4 * step
        assert np.abs(predicted - 4 * step * np.array(shares)).max() <= 1.5
    wrong = np.abs(predicted - 160 * np.array((1 / 3, 1 / 3, 1 / 3))).max()
    assert wrong > 10  # the control
    assert position.parts[0].epoch > position.parts[2].epoch


def test_an_epoch_ends_with_rows_without_labels():
    one = stream("padded", tokens=text([6] * 103), batch=8, tokenizer="none")
    limit = sum(one.groups_of(1))
    assert limit == 103
    batches, _ = run(one, 13, size=8, limit=limit)
    empty = batches[-1]["attention_mask"].sum(axis=1) == 0
    assert empty.sum() == 1
    assert (batches[-1]["labels"][empty] == -100).all()
    ids = np.concatenate([batch["input_ids"][:, 0] for batch in batches])[:103]
    assert sorted(ids.tolist()) == list(range(10, 10 + 6 * 103, 6))


def test_a_mixture_has_no_epochs():
    one = stream("padded")
    two = Stream([*one.parts, *one.parts], [0.5, 0.5], one.data)
    with pytest.raises(ValueError, match="--steps instead of --epochs"):
        two.groups_of(1)


def test_too_little_text_is_refused_before_the_first_step():
    with pytest.raises(ValueError, match=r"fewer than one batch of 4; lower --data\.batch"):
        stream("stream", tokens=text([20])).check(4)


def test_an_objective_with_one_label_per_row_cannot_be_packed():
    with pytest.raises(ValueError, match="padded or bucketed, not packed"):
        stream("packed", NextSentence())


@pytest.mark.parametrize("rows", KINDS)
def test_evaluation_reads_all_of_the_text_in_a_fixed_order(rows):
    data = Data(rows="stream" if rows == "crops" else rows, length=16, batch=4, window=5)
    part_of = lambda: Part(text(), data, CausalLM(), WORDS, 0, shuffle=False)
    batches, again = evaluation_batches(part_of(), "it"), evaluation_batches(part_of(), "it")
    assert all(same(a, b) for a, b in zip(batches, again))
    labels = label_ids(batches)
    assert len(labels) == len(set(labels))
    ids = text().ids
    rows_of_stream = (len(ids) - 1) // 16
    if rows in ("stream", "crops"):
        assert labels == ids[1 : 16 * rows_of_stream + 1].tolist()
    else:
        assert len(labels) == len(ids) - sum(n > 0 for n in LENGTHS)
    assert {b["input_ids"].shape[0] for b in batches} == {4}


def test_prefetched_batches_are_the_same_batches():
    one = stream("packed")
    expected, _ = run(one, 6)
    ahead = prefetched(one, one.start, lambda step: 4)
    batches = [next(ahead) for _ in range(6)]
    assert all(same(a, b) for a, (b, _) in zip(expected, batches))
    later = prefetched(one, batches[2][1], lambda step: 4, first=3)
    assert same(next(later)[0], expected[3])


def test_prefetching_ends_with_the_rows_and_raises_errors():
    one = stream("padded")
    limit = sum(one.groups_of(1))
    batches = list(prefetched(one, one.start, lambda step: 4, limit=limit))
    assert len(batches) == -(-limit // 4)
    assert batches[-1][1].parts[0].epoch == 1
    small = dataclasses.replace(one.data, target_length=2)
    part = Part(text(), small, SpanCorruption(), WORDS, 3)
    with pytest.raises(ValueError, match=r"raise --data\.target-length"):
        next(prefetched(Stream([part], [1.0], small), one.start, lambda step: 4))


def test_shorter_rows_predict_the_same_tokens():
    (batch,), _ = run(stream("stream"), 1)
    short = shorten(batch, 16, 4)
    assert short["input_ids"].shape == (16, 5)
    assert label_ids([short]) == label_ids([batch])


def test_text_is_masked_anew_in_every_epoch():
    one = stream("padded", MaskedLM())
    limit = sum(one.groups_of(1))
    (first,), position = run(one, 1, size=limit)
    (second,), _ = run(one, 1, position, size=limit)
    order = lambda batch: np.lexsort(np.where(batch["labels"] >= 0, 0, batch["input_ids"]).T)
    assert (first["labels"] >= 0).any()
    assert not np.array_equal(first["labels"][order(first)], second["labels"][order(second)])


def test_source_and_target_lengths_can_be_set():
    one = stream("padded", SpanCorruption(), length=64, target_length=40)
    assert one.layout.target == 40
    with pytest.raises(ValueError, match="CausalLM has one"):
        stream("padded", target_length=40)
    small = dataclasses.replace(one.data, target_length=2)
    with pytest.raises(ValueError, match=r"raise --data\.target-length"):
        Stream([Part(text(), small, SpanCorruption(), WORDS, 0)], [1.0], small).batch(one.start, 4)
