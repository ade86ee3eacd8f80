"""Masked and block diffusion: the bound against enumeration, and blocks of one token and of all."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.data.test_stream import stream
from tests.objectives.corruption_cases import WORDS, make, piece
from transformers_jax.data.config import Data
from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.graph import sequence
from transformers_jax.objectives import (
    BlockDiffusion,
    MaskedDiffusion,
    Piece,
    Vocabulary,
    objective,
)
from transformers_jax.objectives.diffusion import NOISED, blockwise, noise
from transformers_jax.training.compatible import check_objective
from transformers_jax.training.config import TrainConfig

V, MASK = 7, 6
LOSS = objective("masked_diffusion")
TEXT = np.array([3, 1, 5], np.int32)


@functools.cache
def model(mask=None):
    """A tiny BERT whose weights are large enough for its tokens to depend on one another."""
    config = tj.BertConfig(
        vocab_size=V, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=16, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, initializer_range=0.9,
    )  # fmt: skip
    return tj.from_config(config, head="masked_lm", key=jax.random.key(3), mask=mask)


def log_probs(ids, hidden, mask=None, **inputs):
    """log p of each token of a row, of which some are hidden."""
    row = np.where(hidden, MASK, ids)[None]
    logits = model(mask)(input_ids=row, **inputs).logits[0]
    return np.asarray(jax.nn.log_softmax(logits, axis=-1))[np.arange(len(ids)), ids]


def subsets(n):
    for bits in itertools.product([False, True], repeat=n):
        if any(bits):
            yield np.array(bits)


def bound(ids):
    """-sum of log p over the mean of all orders in which the tokens can be written."""
    total = 0.0
    orders = list(itertools.permutations(range(len(ids))))
    for order in orders:
        hidden = np.ones(len(ids), bool)
        for place in order:
            total -= log_probs(ids, hidden)[place] / len(orders)
            hidden[place] = False
    return total


def of_hidden(hidden, weight, ids=TEXT):
    """The objective's loss of a row in which these are hidden."""
    batch = {
        "input_ids": np.where(hidden, MASK, ids)[None].astype(np.int32),
        "labels": np.where(hidden, ids, -100)[None].astype(np.int32),
        "weights": np.full((1, len(ids)), weight, np.float32),
    }
    return float(LOSS(model(), batch, None)[0])


def share_of(size, n):
    """The integral over t of t^size (1 - t)^(n - size) / t: how much a hidden set weighs."""
    return math.factorial(size - 1) * math.factorial(n - size) / math.factorial(n)


# ---------------------------------------------------------------- the bound


def test_the_bound_is_the_mean_over_all_orders():
    n = len(TEXT)
    enumerated = sum(share_of(h.sum(), n) * of_hidden(h, 1.0) * n for h in subsets(n))
    assert enumerated == pytest.approx(bound(TEXT), rel=1e-5)
    unweighted = sum(of_hidden(h, 1.0) * n for h in subsets(n)) / 2**n
    assert unweighted != pytest.approx(bound(TEXT), rel=1e-2)


def test_the_bound_is_above_what_the_sampler_gives_the_text():
    """The sampler draws an order and writes by it: its probabilities are a mean over orders."""
    orders, whole = list(itertools.permutations(range(3))), 0.0
    for order in orders:
        hidden, total = np.ones(3, bool), 0.0
        for place in order:
            total += log_probs(TEXT, hidden)[place]
            hidden[place] = False
        whole += math.exp(total) / len(orders)
    assert -math.log(whole) < bound(TEXT)


@pytest.mark.parametrize("counted", [False, True])
def test_hidden_sets_weigh_as_the_bound_says(counted):
    n, runs = 3, 20_000
    rng, found = np.random.default_rng(0), dict.fromkeys(itertools.product([0, 1], repeat=n), 0.0)
    squares = dict(found)
    for run in range(runs):
        hidden, weights = noise(n, n, run / runs, rng, counted=counted)
        assert len(set(weights)) == 1
        found[tuple(hidden.astype(int))] += weights[0]
        squares[tuple(hidden.astype(int))] += weights[0] ** 2
    for key, total in found.items():
        if any(key):
            error = 5 * math.sqrt(squares[key]) / runs
            assert abs(total / runs - share_of(sum(key), n)) < error, key
            assert error < 0.1 * share_of(sum(key), n) + 0.05


def test_a_counted_loss_varies_less():
    def spread(counted):
        rng, sums = np.random.default_rng(1), []
        for _ in range(2000):
            hidden, weights = noise(8, 8, rng.random(), rng, counted=counted)
            sums.append((hidden * weights).sum())
        assert np.mean(sums) == pytest.approx(8, rel=0.15)
        return np.std(sums)

    assert spread(True) < 0.01 < spread(False)


def test_pieces_that_follow_one_another_have_evenly_spread_shares():
    part = stream("packed", MaskedDiffusion(), length=8).parts[0]
    shares = lambda epoch, first: sorted(
        1 / part.example(epoch, number).tokens["weights"][0] for number in range(first, first + 8)
    )
    for first in (0, 5):
        assert np.diff([0.0, *shares(0, first), 1.0]).max() < 0.2
    assert shares(0, 0) != shares(1, 0)  # another pass begins elsewhere
    drawn = np.sort(np.random.default_rng(0).random((200, 8)), axis=1)
    gaps = np.diff(drawn, axis=1, prepend=0, append=1).max(axis=1)
    assert (gaps < 0.2).mean() < 0.2  # shares drawn each by itself lie so by chance only


def test_held_out_text_is_read_several_times_always_alike():
    part = stream("packed", BlockDiffusion(block=4), length=8).parts[0]
    part.shuffle = False
    once = evaluation_batches(part, "here")
    several, again = (evaluation_batches(part, "here", readings=3) for _ in range(2))
    assert 3 * len(once) - 2 <= len(several) <= 3 * len(once)
    tokens = lambda batches: sum(int((batch["weights"] > 0).sum()) for batch in batches)
    assert tokens(several) == 3 * tokens(once)
    for one, other in zip(several, again):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    assert not np.array_equal(several[0]["noised_ids"], several[len(once)]["noised_ids"])


def test_blocks_have_shares_of_their_own():
    example = make(BlockDiffusion(block=4), piece(40), 1)
    shares = 1 / example.tokens["weights"]
    assert len(set(shares.tolist())) == 10
    assert np.diff(np.sort(shares)[::4]) == pytest.approx(0.1, abs=1e-5)
    assert (shares.reshape(10, 4) == shares[::4, None]).all()


# ---------------------------------------------------------------- blocks


def blocks_batch(record, ids, seed=0, mask=MASK):
    words = Vocabulary(V, {"mask": mask})
    made = record.example(
        Piece(ids, np.zeros(1, int)), np.random.default_rng(seed), words, lambda: None
    )
    return {name: value[None] for name, value in made.tokens.items()}


def test_a_copy_in_masks_sees_its_block_and_the_clean_ones_before_it():
    tags = {"position": np.arange(10)[None] % 5, NOISED: np.arange(10)[None] // 5}
    edges = blockwise(2).matrix(sequence(10, tags=tags))
    for q, k in itertools.product(range(10), range(10)):
        own, other = q % 5 // 2, k % 5 // 2
        clean = k < 5 and (other < own or (q < 5 and other == own))
        assert edges[q, k] == (clean or (q >= 5 and k >= 5 and own == other)), (q, k)


def test_one_block_is_masked_diffusion():
    ids = np.array([3, 1, 5, 0, 2], np.int32)
    record = BlockDiffusion(block=len(ids), counted=True)
    batch = blocks_batch(record, ids, 4)
    plain = {
        "input_ids": batch["noised_ids"],
        "labels": batch["labels"],
        "weights": batch["weights"],
    }
    assert (batch["labels"] != -100).any()
    twice, _ = LOSS(model(record.mask(False)), batch, None)
    once, _ = LOSS(model(), plain, None)
    assert float(twice) == pytest.approx(float(once), rel=1e-5)
    half = BlockDiffusion(block=3).mask(False)
    assert float(LOSS(model(half), batch, None)[0]) != pytest.approx(float(once), rel=1e-3)


def test_blocks_of_one_token_are_an_autoregressive_model():
    """-log p(x) of the model that reads the tokens before a mask, and itself sees none behind."""
    ids = np.array([3, 1, 5, 0, 2], np.int32)
    record = BlockDiffusion(block=1, counted=True)
    batch = blocks_batch(record, ids)
    assert (batch["labels"][0] == ids).all()
    loss = float(LOSS(model(record.mask(False)), batch, None)[0])
    mask, total = record.mask(False), 0.0
    for n in range(len(ids)):
        row = np.append(ids[:n], MASK)[None]
        tags = {NOISED: (np.arange(n + 1) == n).astype(np.int32)[None]}
        logits = model(mask)(input_ids=row, tags=tags).logits[0, -1]
        total -= float(jax.nn.log_softmax(logits)[ids[n]])
    assert loss == pytest.approx(total / len(ids), rel=1e-5)
    probabilities = 0.0  # it is a distribution: all texts of two tokens together
    for pair in itertools.product(range(V), repeat=2):
        of = float(
            LOSS(model(mask), blocks_batch(record, np.array(pair, np.int32), mask=V - 1), None)[0]
        )
        probabilities += math.exp(-2 * of)
    assert probabilities == pytest.approx(1, rel=1e-5)


def test_later_blocks_change_no_loss_of_earlier_ones():
    record = BlockDiffusion(block=2, counted=True)
    ids = np.array([3, 1, 5, 0, 2, 4], np.int32)
    one = blocks_batch(record, ids)
    other = {name: value.copy() for name, value in one.items()}
    other["input_ids"][0, 4:] = 1
    other["noised_ids"][0, 4:] = 1
    first = lambda batch: {**batch, "labels": np.where(np.arange(6) < 4, batch["labels"], -100)}
    losses = [float(LOSS(model(record.mask(False)), first(b), None)[0]) for b in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    other["input_ids"][0, 0] = 2  # of which block 1 knows
    changed = float(LOSS(model(record.mask(False)), first(other), None)[0])
    assert abs(changed - losses[0]) > 1e-4


@pytest.mark.parametrize("record", [MaskedDiffusion(counted=True), BlockDiffusion(block=2)])
def test_documents_of_a_packed_row_do_not_see_each_other(record):
    """The loss of a packed row is that of its documents in rows of their own."""
    documents = [np.array(ids, np.int32) for ids in ([3, 1, 5], [2, 0, 4, 1])]
    each = [blocks_batch(record, ids, 5 + n) for n, ids in enumerate(documents)]
    packed = {n: np.concatenate([b[n] for b in each], axis=1) for n in each[0]}
    packed["tags"] = {
        "document": np.repeat([0, 1], [3, 4])[None].astype(np.int32),
        "position": np.array([[0, 1, 2, 0, 1, 2, 3]], np.int32),
    }
    total, count = LOSS(model(record.mask(True)), packed, None)[1]["loss"]
    alone = [LOSS(model(record.mask(False)), batch, None)[1]["loss"] for batch in each]
    assert float(total) == pytest.approx(sum(float(t) for t, _ in alone), rel=1e-5)
    assert float(count) == 7
    packed["tags"]["document"] *= 0
    mixed, _ = LOSS(model(record.mask(True)), packed, None)[1]["loss"]
    assert abs(float(mixed) - float(total)) > 1e-3


def test_weights_of_another_shape_are_refused():
    batch = blocks_batch(MaskedDiffusion(), TEXT)
    with pytest.raises(ValueError, match=r"weights \(1, 2\) must have the shape \(1, 3\)"):
        LOSS(model(), {**batch, "weights": batch["weights"][:, :2]}, None)
    with pytest.raises(ValueError, match="but no weights"):
        LOSS(model(), {n: v for n, v in batch.items() if n != "weights"}, None)
    assert jnp.isfinite(LOSS(model(), batch, None)[0])
    assert WORDS.special["mask"] in make(MaskedDiffusion(), piece(29), 3).tokens["input_ids"]


def test_a_model_that_reads_the_answer_elsewhere_is_refused():
    run = lambda model, record: TrainConfig(
        model=model, objective=record, data=Data(rows="packed", length=32)
    )
    perceiver = tj.PerceiverConfig(num_latents=4, d_latents=16, num_self_attends_per_block=1)
    convolved = tj.DebertaV2Config(num_hidden_layers=1, conv_kernel_size=3)
    for model, what in ((perceiver, "other tokens read"), (convolved, "a convolution reads")):
        with pytest.raises(ValueError, match=f"{what} the whole row.*choose MaskedDiffusion"):
            check_objective(run(model, BlockDiffusion()))
        check_objective(run(model, MaskedDiffusion()))  # the advice
    check_objective(run(tj.BertConfig(num_hidden_layers=1), BlockDiffusion()))
