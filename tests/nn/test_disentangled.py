"""Disentangled attention: the terms of the paper, in every way they are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax.graph import FULL, Nodes, connect, sequence
from transformers_jax.nn.attend import Score, reference, tiled
from transformers_jax.nn.disentangled import DisentangledRule, rows_of, skewed

B, T, S, H, K = 2, 7, 5, 3, 4
CLOSE = dict(rtol=1e-5, atol=1e-6)  # float32, other orders of summation


def random_arrays(t=T, s=S, rows=32, seed=0):
    """(params, q, k) of a rule with so many rows."""
    rng = np.random.default_rng(seed)
    make = lambda *shape: rng.normal(size=shape).astype(np.float32)
    params = {"key": make(rows, H, K), "query": make(rows, H, K)}
    return params, make(B, t, H, K), make(B, s, H, K)


def looped(params, q, k, rows, distance, scale):
    """The two terms, pair by pair (He et al. 2020, equation 4)."""
    score = np.zeros((B, H, *distance.shape))
    for t, s in np.ndindex(distance.shape):
        row = rows[int(distance[t, s])]
        to_position = np.einsum("bhk,hk->bh", q[:, t], params["key"][row])
        to_content = np.einsum("bhk,hk->bh", k[:, s], params["query"][row])
        score[:, :, t, s] = scale * (to_position + to_content)
    return score


def test_scores_are_the_two_terms_of_the_paper():
    rule, (params, q, k) = DisentangledRule(16, None, 0.3), random_arrays()
    scores = jax.jit(lambda params: rule(params, q, k, *nodes, {}))
    distance = np.arange(2, 2 + T)[:, None] - np.arange(S)
    rows = {d: d + 16 for d in range(-16, 16)}
    expected = looped(params, q, k, rows, distance, 0.3)
    nodes = sequence(T, start=2), sequence(S)
    np.testing.assert_allclose(scores(params), expected, **CLOSE)
    every = jax.jit(rule._of_any)(params, q, k, *(n.tag("index") for n in nodes))
    np.testing.assert_allclose(every, expected, **CLOSE)
    one = sum(scores({name: params[name]}) for name in params)
    np.testing.assert_allclose(one, expected, **CLOSE)
    # the control: with distances from the key to the query it is another model
    assert np.abs(looped(params, q, k, rows, -distance, 0.3) - expected).max() > 0.1


def test_skewed_shifts_each_row_to_relative_positions():
    x = np.array([[10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33]])
    np.testing.assert_array_equal(skewed(x, 2), [[12, 13], [21, 22], [30, 31]])


def test_near_distances_have_rows_of_their_own_and_far_ones_share():
    # 6 buckets up to a distance of 40, as PyTorch numbers them: 0 to 3 apart, 4 to 10, 11 to 39
    rows = rows_of(6, 40)
    middle = len(rows) // 2
    expected = [6, 7, 8, 9, *[10] * 7, *[11] * 29]
    np.testing.assert_array_equal(rows[middle : middle + 40], expected)
    np.testing.assert_array_equal(rows[middle - 39 : middle + 1][::-1], [12 - n for n in expected])
    assert rows[0] == 0  # beyond 39 the bucket -6, which the other side does not have
    np.testing.assert_array_equal(rows_of(3, None), [0, 1, 2, 3, 4, 5, 5])
    for reach, far in ((256, 512), (7, 23), (4, 33), (3, 9)):
        assert (np.diff(rows_of(reach, far)) >= 0).all()


@pytest.mark.parametrize("far", [None, 12])
def test_distances_beyond_the_table_read_its_ends(far):
    rule = DisentangledRule(4, far, 1.0)
    ends = rule.rows(np.array([-1000, -4 if far is None else -12, 1000]))
    np.testing.assert_array_equal(ends, [0, 0, 7])


def test_tokens_in_another_order_have_the_same_scores():
    rule, (params, q, k) = DisentangledRule(16, None, 1.0), random_arrays(T, T)
    order = np.random.default_rng(1).permutation(T)
    mixed = Nodes({"index": order[None].astype(np.int32)})
    straight = jax.jit(lambda: rule(params, q, k, sequence(T), sequence(T), {}))()
    scores = jax.jit(lambda nodes: rule(params, q[:, order], k[:, order], nodes, nodes, {}))
    shuffled = scores(mixed)
    np.testing.assert_allclose(shuffled, straight[:, :, order][..., order], **CLOSE)
    unmoved = scores(sequence(T))
    assert np.abs(unmoved - shuffled).max() > 0.1  # the control


def test_tile_by_tile_it_is_the_same():
    length, reach = 13, 20  # in a whole tile consecutive tokens, in the last one not
    params, q, k = random_arrays(length, length, 2 * reach)
    v = random_arrays(length, length, seed=1)[1]
    valid = np.arange(length)[None] < np.array([[length], [length - 4]])
    nodes = sequence(length, valid=jnp.asarray(valid))
    edges = connect(FULL, nodes, nodes)

    def answers(attend, scale=0.3, **size):
        def loss(params, q, k):
            score = Score(DisentangledRule(reach, None, scale), params)
            y = attend(q, k, v, edges, scale=0.3, score=score, **size)
            return jnp.square(jnp.where(valid[:, :, None, None], y, 0.0)).sum()

        haste = {"xla_backend_optimization_level": 0}  # compiling takes longer than computing
        both = jax.value_and_grad(loss, argnums=(0, 1, 2))
        return jax.jit(both, compiler_options=haste)(params, q, k)

    expected, actual = answers(reference.attend), answers(tiled.attend, size=(8, 8))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), actual, expected
    )
    score = Score(DisentangledRule(reach, None, 0.31), params)  # the control
    other = reference.attend(q, k, v, edges, scale=0.3, score=score)
    assert abs(jnp.square(other[0]).sum() + jnp.square(other[1, :9]).sum() - expected[0]) > 1e-3
