"""Tile maps are sound: tiles marked empty are empty, tiles marked full are full."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_jax.graph import (
    CAUSAL,
    FULL,
    Before,
    Block,
    Dense,
    Mask,
    Near,
    Nodes,
    Same,
    Scattered,
    Strided,
    Where,
    connect,
    sequence,
)
from transformers_jax.graph.tiles import last_keys, live, tiles

REACH = st.one_of(st.none(), st.integers(0, 9))
LEAVES = st.one_of(
    st.just(FULL),
    st.sampled_from([CAUSAL, Before("document"), Same("document"), Dense("links")]),
    st.builds(Near, REACH, REACH, st.sampled_from(["index", "document"])),
    st.builds(Where, st.just("prefix"), st.sampled_from(["key", "query"])),
    st.builds(Strided, st.integers(1, 4), st.sampled_from(["index", "document"])),
    st.builds(Block, st.integers(1, 7)),
    st.builds(Scattered, st.integers(0, 3), st.integers(0, 9)),
)
MASKS = st.recursive(
    LEAVES,
    lambda m: st.one_of(m.map(lambda a: ~a), st.tuples(m, m).map(lambda p: p[0] & p[1]),
                        st.tuples(m, m).map(lambda p: p[0] | p[1])),
    max_leaves=6,
)  # fmt: skip


def nodes_of(rng, rows: int, length: int, ordered: bool) -> Nodes:
    """Random tags; `ordered` ones look like packed documents, others are in no order at all."""
    index = np.arange(length, dtype=np.int32)[None] + rng.integers(-5, 5)
    document = rng.integers(-2, 4, (rows, length)).astype(np.int32)
    prefix = (rng.random((rows, length)) < 0.3).astype(np.int32)
    if ordered:
        document, prefix = np.sort(document, 1), -np.sort(-prefix, 1)
    else:
        index = rng.permutation(index[0])[None]
    block = (index // 2 + 2).astype(np.int32)
    blocks = np.full((1, length), block.max() + 1, np.int32)
    tags = {"index": index, "document": document, "prefix": prefix, "block": block}
    valid = rng.random((rows, length)) < 0.7 if rng.random() < 0.5 else None
    return Nodes({**tags, "blocks": blocks}, valid)


def squares(drawn: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[b T S] as [b n m t s]; the ends are padded by repetition, so that they change nothing."""
    b, T, S = drawn.shape
    rows = np.minimum(np.arange(-(-T // size[0]) * size[0]), T - 1)
    columns = np.minimum(np.arange(-(-S // size[1]) * size[1]), S - 1)
    filled = drawn[:, rows][:, :, columns]
    return filled.reshape(b, -1, size[0], filled.shape[2] // size[1], size[1]).swapaxes(2, 3)


@settings(max_examples=300, deadline=None)
@given(
    MASKS,
    st.integers(0, 2**31),
    st.booleans(),
    st.integers(1, 2),
    st.sampled_from([(4, 3), (5, 8), (16, 2)]),
)
def test_empty_tiles_are_empty_and_full_tiles_are_full(mask, seed, ordered, rows, size):
    rng = np.random.default_rng(seed)
    q, k = nodes_of(rng, rows, 13, ordered), nodes_of(rng, rows, 17, ordered)
    edges = connect(mask, q, k, {"links": rng.random((rows, 13, 17)) < 0.1})
    may, must = tiles(edges, size)
    assert isinstance(may, np.ndarray), "everything is known here, so nothing may leave NumPy"
    drawn = squares(np.asarray(edges.allowed()), size)
    assert (may | ~drawn.any((-1, -2))).all(), "a tile with an edge would be skipped"
    assert (~must | drawn.all((-1, -2))).all(), "a tile with a missing edge would not be masked"
    assert (may | ~must).all()


@settings(max_examples=100, deadline=None)
@given(MASKS.filter(lambda mask: not mask.pairs), st.integers(0, 2**31), st.booleans())
def test_last_keys_are_those_of_the_matrix(mask, seed, ordered):
    edges = connect(mask, nodes_of(np.random.default_rng(seed), 2, 13, ordered))
    drawn = np.where(np.asarray(edges.allowed()), np.arange(13), -1).max(-1)
    for size in (4, 16):
        assert (last_keys(edges, size) == drawn).all()


def test_an_unsound_tile_map_is_detected():
    edges = connect(CAUSAL, sequence(12))
    may, _ = tiles(edges, (4, 4))
    wrong = may & ~np.eye(3, dtype=bool)  # forgets the diagonal
    drawn = squares(np.asarray(edges.allowed()), (4, 4))
    assert not (wrong | ~drawn.any((-1, -2))).all()


@pytest.mark.parametrize(
    ("mask", "count"),
    [
        (FULL, 64),
        (CAUSAL, 36),
        (CAUSAL & Near(left=8), 15),
        (Same("document"), 16),
        (Block(16), 16),
    ],
    ids=str,
)
def test_live_tiles_follow_the_edges(mask, count):
    document = np.repeat(np.arange(4, dtype=np.int32), 16)[None]
    may, must = tiles(connect(mask, sequence(64, tags={"document": document})), (8, 8))
    assert int(may.sum()) == count
    assert live(may).count == count
    if mask in (FULL, Same("document"), Block(16)):
        assert (may == must).all()


def test_tiles_of_a_random_graph_are_exactly_those_with_an_edge():
    block = np.repeat(np.arange(32, dtype=np.int32), 8)[None]
    nodes = sequence(256, tags={"block": block, "blocks": np.full((1, 256), 32, np.int32)})
    for side in (8, 16):
        may, must = tiles(connect(Scattered(3, seed=5), nodes), (side, side))
        drawn = squares(np.asarray(connect(Scattered(3, seed=5), nodes).allowed()), (side, side))
        np.testing.assert_array_equal(may, drawn.any((-1, -2)))
        np.testing.assert_array_equal(must, drawn.all((-1, -2)))
    other, _ = tiles(connect(Scattered(3, seed=6), nodes), (16, 16))
    assert (other != may).any(), "the control: another seed is another graph"


def test_random_blocks_are_distinct_and_outside_the_window():
    block = np.arange(23, dtype=np.int32)[None]
    nodes = sequence(23, tags={"block": block, "blocks": np.full((1, 23), 23, np.int32)})
    window = np.asarray(connect(Near(1, 1), nodes).allowed())[0]
    counts = np.zeros((23, 23), int)
    for seed in range(40):
        drawn = np.asarray(connect(Scattered(3, seed), nodes).allowed())[0]
        np.testing.assert_array_equal(drawn.sum(1), [0, *[3] * 21, 0])
        assert not (drawn & window).any()
        assert not drawn[:, [0, -1]].any()
        counts += drawn
    far = np.abs(np.subtract.outer(np.arange(23), np.arange(23))) > 1
    assert (counts[1:-1, 1:-1] > 0)[far[1:-1, 1:-1]].mean() > 0.99, "every other block is drawn"


def test_tiles_computed_at_run_time_are_those_computed_while_tracing():
    rng = np.random.default_rng(0)
    mask = CAUSAL & Same("document") & ~Where("prefix") | Strided(5)
    nodes = nodes_of(rng, 2, 23, True)
    known = tiles(connect(mask, nodes), (4, 8))
    traced = jax.jit(lambda nodes: tiles(connect(mask, nodes), (4, 8)))(nodes)
    for a, b in zip(known, traced):
        np.testing.assert_array_equal(a, b)
    static, moving = live(known[0]), live(jnp.asarray(known[0]))
    count = int(moving.count)
    assert count == static.count
    for a, b in ((static.row, moving.row), (static.query, moving.query), (static.key, moving.key)):
        np.testing.assert_array_equal(a, b[:count])


def test_an_unknown_mask_is_computed_everywhere():
    class Other(Mask):  # unknown to tiles.py
        def edges(self, q, k, pairs=None):
            return np.ones((1, 1, 1), bool)

    may, must = tiles(connect(~Other(), sequence(8)), (4, 4))
    assert may.all()
    assert not must.any()
