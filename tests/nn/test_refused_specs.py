"""Records that no module could compute as they say are refused where they are made."""

import pytest

from transformers_jax import FULL
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.residual import Gate, LayerScale
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import (
    Additive,
    Alibi,
    Branch,
    Buckets,
    Execution,
    Rotary,
    StackSpec,
)

ATTEND = AttentionSpec(3, 4, mask=FULL)
FFN = Branch("ffn", FeedForwardSpec(16))
LAYER = (Branch("self", ATTEND), FFN)


ATTENTIONS = {
    "bias of an attention is 'query'; expected a tuple .* 'query', 'key', 'value', 'out'": {
        "bias": "query"
    },
    r"bias of an attention is \('query', 'o'\)": {"bias": ("query", "o")},
    "AttentionSpec.heads=0 must be a whole number, at least 1": {"heads": 0},
    "AttentionSpec.heads=True must": {"heads": True},
    "AttentionSpec.kv=4.0 must": {"kv": 4.0},
    "AttentionSpec.kv_heads=0 must": {"kv_heads": 0},
    r"rotation turns pairs: kv \(5\) times the fraction \(1.0\)": {"kv": 5, "rotary": Rotary()},
    "softcap of an attention is 0.0; expected a number above 0": {"softcap": 0.0},
    r"dropout of an attention is 1.0; expected a number in \[0, 1\)": {"dropout": 1.0},
    "dropout of an attention is -0.1": {"dropout": -0.1},
}


@pytest.mark.parametrize("message", ATTENTIONS)
def test_attentions_out_of_range_are_refused(message):
    with pytest.raises(ValueError, match=message):
        AttentionSpec(**{"heads": 3, "kv": 4, **ATTENTIONS[message]})


def test_an_odd_head_may_rotate_an_even_part():
    assert AttentionSpec(3, 5, rotary=Rotary(fraction=0.8)).kv == 5


@pytest.mark.parametrize("value", [1.0, -0.5, "0.1", None])
def test_rates_of_dropout_are_in_range(value):
    expected = r"expected a number in \[0, 1\)"
    with pytest.raises(ValueError, match=f"dropout of the branch 'ffn' is {value!r}; {expected}"):
        Branch("ffn", FeedForwardSpec(16), dropout=value)
    with pytest.raises(ValueError, match=f"dropout of a stack is {value!r}; {expected}"):
        StackSpec(12, (LAYER,), dropout=value)


@pytest.mark.parametrize("value", [1.5, -0.5, None])
def test_layerdrop_is_a_probability(value):
    with pytest.raises(ValueError, match=f"layerdrop of a stack is {value!r}; expected a number"):
        StackSpec(12, (LAYER,), layerdrop=value)


@pytest.mark.parametrize("order", [(0, 2), (-1, 0)])
def test_an_order_names_layers_that_there_are(order):
    with pytest.raises(ValueError, match="numbers of the 2 there are, from 0"):
        StackSpec(12, (LAYER, LAYER), order=order)


@pytest.mark.parametrize("name", ["branches", "_apply", "train", "a.b", "", "1st"])
def test_a_branch_has_a_name_that_can_be_an_attribute(name):
    block = (Branch(name, FeedForwardSpec(16)),)
    with pytest.raises(ValueError, match=f"a branch is called {name!r}; expected an identifier"):
        Stack(StackSpec(12, (block,)), Execution())


def test_residuals_that_could_not_be_computed_are_refused():
    with pytest.raises(ValueError, match="of a gate is 'relu'; not 'tanh', 'sigmoid', 'identity'"):
        Gate("relu")
    with pytest.raises(ValueError, match="the value of LayerScale is None; expected the number"):
        LayerScale(None)


def test_a_score_learned_by_a_stack_fits_the_attentions_that_read_it():
    other = (Branch("self", AttentionSpec(2, 4)), FFN)
    with pytest.raises(ValueError, match=r"score Buckets .*: 2 heads of 4, 3 heads of 4; give"):
        StackSpec(12, (LAYER, other), score=Buckets())
    with pytest.raises(ValueError, match="these read it: none"):
        StackSpec(12, ((FFN,),), score=Buckets())
    wider = (Branch("self", AttentionSpec(3, 6)), FFN)
    with pytest.raises(ValueError, match="score Additive"):
        StackSpec(12, (LAYER, wider), score=Additive())
    own = (Branch("self", AttentionSpec(2, 4, score=Buckets())), FFN)
    for layers, score in [
        ((LAYER, other), Alibi()),  # has no parameters
        ((LAYER, wider), Buckets()),  # is shaped by the number of heads alone
        ((own, LAYER), Buckets()),  # the first has a score of its own
    ]:
        assert Stack(StackSpec(12, layers, score=score), Execution()).score is not None
