"""Stacks of several streams: branches join the one that they name and see all."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import spec
from transformers_jax.nn.embed import nodes_of
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.param import initialise, param
from transformers_jax.nn.stack import Stack
from transformers_jax.spec.layers import check_names

WIDTH, OTHER, DEPTH = 6, 4, 3


@dataclass(frozen=True)
class ReadSpec(spec.OpSpec):
    """One stream, made a delta of another."""

    of: str
    width: int

    def build(self, width, initial, source=None):
        return Read(self, width, initial)

    def flops(self, width, queries, keys, edges):
        return spec.OpFlops(2.0 * self.width * width * queries)

    def describe(self):
        return f"reads {self.of}"


class Read(Op):
    def __init__(self, read, width, initial):
        sizes = {"source": read.width, "embed": width}
        self.spec, self.weight = read, param("source embed", sizes, initial.draw("up", sizes))

    def apply(self, x, context, *, cache=None, key=None):
        return OpResult(context.streams[self.spec.of] @ self.weight[...])


def two_streams(**changes):
    block = (
        spec.Branch("compute", FeedForwardSpec(5, "tanh"), spec.LayerNorm()),
        spec.Branch("hear", ReadSpec(spec.TOKENS, WIDTH), stream="other"),
        spec.Branch("answer", ReadSpec("other", OTHER), spec.LayerNorm()),
    )
    settings = dict(blocks=(block,) * DEPTH, streams=(("other", OTHER),), **changes)
    return spec.StackSpec(WIDTH, initial=spec.Initial(0.5), **settings)


@pytest.fixture(scope="module")
def streams():
    rng = np.random.default_rng(0)
    draw = lambda width: jnp.asarray(rng.normal(size=(2, 5, width)), jnp.float32)
    return draw(WIDTH), draw(OTHER)


def run(streams, description=None, **execution):
    stack = Stack(description or two_streams(), spec.Execution(**execution))
    stack = initialise(stack, jax.random.key(0))
    x, other = streams
    return stack, stack(x, nodes_of(5), streams={"other": other}, collect=frozenset({"hidden"}))


def test_branches_are_applied_one_after_the_other_to_their_streams(streams):
    stack, ran = run(streams)
    x, other = streams
    block = stack.blocks[0]
    norm = lambda y: (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 1e-5)
    for n in range(DEPTH):
        ffn = block.compute
        hidden = jnp.tanh(norm(x) @ ffn.up[n] + ffn.up_bias[n])
        x = x + hidden @ ffn.down[n] + ffn.down_bias[n]
        other = other + x @ block.hear.weight[n]
        x = x + other @ block.answer.weight[n]
    np.testing.assert_allclose(ran.x, x, atol=1e-5)
    np.testing.assert_allclose(ran.streams["other"], other, atol=1e-5)
    np.testing.assert_allclose(ran.hidden[-1], x, atol=1e-5)
    assert len(ran.hidden) == DEPTH + 1


@pytest.mark.parametrize("execution", [{"unroll": False}, {"remat": "full"}])
def test_scanned_and_rematerialised_layers_give_the_same(execution, streams):
    usual, other = run(streams)[1], run(streams, **execution)[1]
    np.testing.assert_allclose(other.x, usual.x, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(other.streams["other"], usual.streams["other"], atol=1e-5, rtol=1e-5)


def test_a_layer_that_is_left_out_leaves_all_streams(streams):
    stack, _ = run(streams, two_streams(layerdrop=1.0))
    x, other = streams
    ran = stack(x, nodes_of(5), streams={"other": other}, key=jax.random.key(1))
    np.testing.assert_array_equal(ran.x, x)
    np.testing.assert_array_equal(ran.streams["other"], other)


def test_streams_that_are_missing_or_unknown_are_refused(streams):
    stack, _ = run(streams)
    x, _ = streams
    with pytest.raises(ValueError, match=r"further streams \{'other': 4\}.*none came"):
        stack(x, nodes_of(5))
    with pytest.raises(ValueError, match=r"\{'other': 6\} came"):
        stack(x, nodes_of(5), streams={"other": x})
    branch = spec.Branch("hear", ReadSpec(spec.TOKENS, WIDTH), stream="pair")
    with pytest.raises(ValueError, match=r"joins the stream 'pair'; the stack has 'tokens'"):
        spec.StackSpec(WIDTH, ((branch,),))
    check_names((branch,))  # its name is fine
