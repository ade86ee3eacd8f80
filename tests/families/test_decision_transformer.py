"""What is special about the Decision Transformer: steps of three tokens, and what does not fit."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.families.conftest import _tiny
from transformers_jax.inspection.description import positions
from transformers_jax.training.flops import flops_per_row

STEP = dict(states=5, actions=3, returns_to_go=1)  # numbers of a step, of the tiny model


def steps(count, **changes):
    """The arguments of a call of so many steps."""
    call = {name: np.zeros((2, count, width), np.float32) for name, width in STEP.items()}
    call["timesteps"] = np.tile(np.arange(count), (2, 1))
    return {name: x for name, x in {**call, **changes}.items() if x is not None}


@pytest.fixture(scope="module")
def model():
    return _tiny("decision_transformer", None, None, ())


def test_an_action_is_not_seen_before_it_is_taken(model):
    rng = np.random.default_rng(0)
    call = steps(4, states=rng.normal(size=(2, 4, 5)).astype(np.float32))
    before = model(**call)
    after = model(**{**call, "actions": call["actions"] + (np.arange(4) == 2)[:, None]})
    moved = np.abs(after.action_preds - before.action_preds).max((0, 2)) > 1e-5
    assert moved.tolist() == [False, False, False, True]
    moved = np.abs(after.state_preds - before.state_preds).max((0, 2)) > 1e-5
    assert moved.tolist() == [False, False, True, True]


def test_rewards_are_taken_and_not_read(model):
    call = steps(3)
    rewards = np.ones((2, 3, 1), np.float32)
    np.testing.assert_array_equal(
        model(**call, rewards=rewards).action_preds, model(**call).action_preds
    )


def test_actions_are_squashed_unless_the_config_says_no(model):
    call = steps(3, states=np.full((2, 3, 5), 9, np.float32))
    config = model.config.replace(action_tanh=False)
    plain = tj.bind(tj.from_config(config, key=jax.random.key(0)), tj.functional(model)[1])
    actions = plain(**call).action_preds
    assert np.abs(actions).max() > 1
    np.testing.assert_allclose(model(**call).action_preds, np.tanh(actions), rtol=1e-5)


def test_it_is_described_and_counted(model):
    assert positions(model) == "a learned table of 9 time steps"
    assert flops_per_row(model, 6).others > 0
    assert model.reading.positions == 24


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (dict(), "give states"),
        (steps(3, actions=None), "actions is missing; give returns_to_go, states, actions"),
        (steps(3, states=np.zeros((2, 3, 4), np.float32)), r"\(2, 3, 4\); expected .* 5\)"),
        (steps(3, actions=np.zeros((2, 3, 2), np.float32)), "as act_dim of the config says"),
        (steps(3, actions=np.zeros((2, 3, 3), int)), "actions must hold floating-point"),
        (steps(3, returns_to_go=np.zeros((2, 3), np.float32)), "expected .rows, steps, 1.: 1 num"),
        (steps(3, returns_to_go=np.full((2, 3, 1), np.inf)), "ask for a return that an episode"),
        (steps(3, timesteps=None), r"give timesteps, Int\[2, 3\]"),
        (steps(3, timesteps=np.full((2, 3), -1)), r"timesteps\[0, 0\] is -1, .* 0 to 8"),
        (steps(3, timesteps=np.array([[0, 1, 2], [7, 8, 9]])), r"\[1, 2\] is 9, .*max_ep_len 9"),
        (steps(3, timesteps=np.zeros((2, 2), int)), r"timesteps has shape \(2, 2\)"),
        (steps(3, attention_mask=np.ones((2, 9), int)), "attention_mask has shape"),
        (steps(9, timesteps=np.zeros((2, 9), int)), "9 steps, which are 27 tokens, .* last 8"),
    ],
)
def test_what_does_not_fit_is_refused(model, call, error):
    with pytest.raises(ValueError, match=error):
        model(**call)


def test_the_advice_is_right(model):
    """Zeros for an action that is not known, the last steps, and a part of a step with a cache."""
    assert model(**steps(8)).action_preds.shape == (2, 8, 3)
    cache = tj.init_cache(model, 2, 6)
    out = model(**steps(1, actions=None), cache=cache)
    assert model(**steps(1, states=None, returns_to_go=None), cache=out.cache).state_preds.shape
    with pytest.raises(ValueError, match="returns_to_go and actions are missing"):
        model(**steps(1, actions=None, returns_to_go=None), cache=cache)
    with pytest.raises(ValueError, match="actions is missing"):
        model(**steps(2, actions=None), cache=cache)


def test_the_heads_divide_the_width():
    with pytest.raises(ValueError, match=r"hidden_size \(20\) must be a multiple of n_head \(3\)"):
        tj.from_config(
            tj.DecisionTransformerConfig(hidden_size=20, n_head=3), key=jax.random.key(0)
        )
