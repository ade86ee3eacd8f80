"""Packed rows and caches as nodes, plots of a mask, and the kernel arguments it lowers to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.graph import CAUSAL, FULL, Before, Near, Same, Where, connect, sequence
from transformers_jax.graph.lower import Lowered, Refused, lower

DOCUMENTS = sequence(
    5,
    valid=np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], bool),
    tags={"document": np.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, -1]], np.int32)},
)


def test_packed_documents_do_not_attend_to_each_other():
    picture = (CAUSAL & Same("document")).draw(DOCUMENTS)
    assert picture.splitlines() == [
        "1 . . . .",
        "1 1 . . .",
        ". . 1 . .",
        ". . 1 1 .",
        ". . 1 1 1",
    ]
    assert picture != CAUSAL.draw(5)


def test_only_the_written_part_of_a_cache_is_read():
    written = np.array([[0, 1, 1, 1, 0, 0, 0]], bool)  # behind a column of padding
    row = connect(CAUSAL, sequence(1, start=3), sequence(7, valid=written)).allowed()
    np.testing.assert_array_equal(row, written[None])


@pytest.mark.parametrize(
    ("mask", "arguments"),
    [
        (FULL, Lowered()),
        (CAUSAL, Lowered(causal=True)),
        (CAUSAL & Near(left=3), Lowered(causal=True, left=3)),
        (Near(5, 0) & Near(left=3) & FULL, Lowered(causal=True, left=3)),
        (Near(5, 2), Lowered(left=5, right=2)),
        (Same("document") & CAUSAL, Lowered(causal=True, segments=("document",))),
    ],
    ids=str,
)
def test_a_mask_is_lowered_to_exactly_its_kernel_arguments(mask, arguments):
    assert (
        lower(connect(mask, sequence(7, tags={"document": np.zeros((1, 7), np.int32)})))
        == arguments
    )


def _reversed(length):
    return sequence(length).with_tags(index=np.arange(length)[None, ::-1])


@pytest.mark.parametrize(
    ("mask", "q", "k", "reason"),
    [
        (CAUSAL | Near(1, 1), sequence(7), None, "no option for CAUSAL | Near"),
        (~CAUSAL, sequence(7), None, "no option for ~CAUSAL"),
        (CAUSAL, sequence(1, start=6), sequence(7), "do not begin at the same index"),
        (CAUSAL, _reversed(7), None, "do not stand in order"),
        (CAUSAL, sequence(7, start=jnp.int32(0)), None, "known only at run time"),
        (FULL, sequence(7), sequence(7, valid=jnp.ones((1, 7), bool)), "known only at run time"),
        (FULL, sequence(3), sequence(3, valid=np.array([[0, 1, 1]], bool)), "not its first ones"),
    ],
)
def test_a_mask_without_kernel_arguments_is_refused(mask, q, k, reason):
    with pytest.raises(Refused, match=reason.replace("|", r"\|")):
        lower(connect(mask, q, k))


def test_valid_keys_that_come_first_are_a_length():
    valid = np.arange(5)[None] < np.array([[3], [5]])
    edges = connect(FULL, sequence(5), sequence(5, valid=valid))
    np.testing.assert_array_equal(lower(edges).lengths, [3, 5])


def test_a_mask_may_name_a_tag_that_only_the_keys_carry():
    prefix = np.array([[1, 0, 0]], np.int32)
    keys = sequence(3, tags={"prefix": prefix})
    np.testing.assert_array_equal(
        connect(Where("prefix"), sequence(2), keys).allowed(), [[[1, 0, 0], [1, 0, 0]]]
    )
    with pytest.raises(ValueError, match=r"'prefix', but the nodes carry only \['index'\]"):
        connect(Where("prefix", of="query"), sequence(2), keys)


@pytest.mark.parametrize("arguments", [(8,), (60,), (4, 7), (DOCUMENTS,)])
def test_a_plot_is_a_picture(arguments, tmp_path):
    mask = CAUSAL & Near(left=5)
    figure = mask.plot(*arguments, path=tmp_path / "graph.png")
    square, arcs = figure.axes
    edges = np.asarray(square.collections[0].get_array()).reshape(-1) > 0
    assert edges.sum() == mask.draw(*arguments).count("1")
    assert arcs.patches or arcs.texts
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_positions_default_to_the_index_in_the_row():
    positions = np.array([[0, 1, 0, 1]], np.int32)
    mask = CAUSAL & Before("position")
    own, explicit = sequence(4), sequence(4, tags={"position": positions})
    np.testing.assert_array_equal(connect(mask, own).allowed(), connect(CAUSAL, own).allowed())
    assert connect(mask, explicit).allowed().sum() < connect(CAUSAL, explicit).allowed().sum()


def test_a_mask_that_compares_positions_needs_no_tag_of_the_caller():
    config = tj.GPT2Config(vocab_size=32, n_positions=16, n_embd=24, n_layer=1, n_head=4)
    plain = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    model, ids = plain.with_mask(CAUSAL & Before("position")), np.arange(3, 9)[None]
    whole = model(input_ids=ids).logits
    np.testing.assert_allclose(whole, plain(input_ids=ids).logits, atol=1e-6)
    first = model(input_ids=ids[:, :4], cache=tj.init_cache(model, batch=1, length=8))
    rest = model(input_ids=ids[:, 4:], cache=first.cache)
    np.testing.assert_allclose(rest.logits, whole[:, 4:], atol=1e-5)
    padded = np.pad(ids, ((0, 0), (2, 0)))
    options = dict(max_new_tokens=3, eos_token_id=None, pad_token_id=0)
    np.testing.assert_array_equal(
        tj.generate(model, padded, attention_mask=(padded > 0).astype(int), **options)[:, 2:],
        tj.generate(plain, ids, **options),
    )
