"""An action with a cache is that of a whole forward pass over the steps that are remembered."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.acting.codes import Codes
from transformers_jax.acting.policy import TokenPolicy

SIZES = dict(
    state_dim=4, act_dim=2, hidden_size=16, max_ep_len=40, n_positions=30, n_layer=2, n_head=2,
    action_tanh=False, initializer_range=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return tj.from_config(tj.DecisionTransformerConfig(**SIZES), key=jax.random.key(0))


def whole(model, policy):
    """The last action of a forward pass over what a policy remembers."""
    names = ("states", "actions", "returns_to_go", "timesteps")
    return model(**{name: policy.remembered[name] for name in names}).action_preds[:, -1]


@pytest.mark.parametrize("discrete", [True, False])
def test_a_policy_equals_whole_forward_passes(model, discrete):
    policy = tj.Policy(model, [50.0, 20.0], context=5, discrete=discrete)
    rng, held = np.random.default_rng(0), []
    for _ in range(13):
        actions = policy.act(rng.normal(size=(2, 4)))
        np.testing.assert_allclose(actions, whole(model, policy), atol=1e-5)
        held.append(policy.held)
        policy.reward(rng.normal(size=2))
    assert held == [1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4]
    assert policy.remembered["timesteps"][0].tolist() == [9, 10, 11, 12]
    rewards = policy.remembered["rewards"][:, :-1].sum(1)[:, 0]
    returns = policy.remembered["returns_to_go"][..., 0]
    np.testing.assert_allclose(returns[:, 0] - rewards, returns[:, -1], rtol=1e-5)


def test_actions_that_were_taken_are_remembered_and_count(model):
    states = np.random.default_rng(1).normal(size=(3, 1, 4))
    policy, other = (tj.Policy(model, [9.0], discrete=True) for _ in range(2))
    for n in range(2):
        taken = 1 - np.eye(2)[policy.act(states[n]).argmax(-1)]
        policy.reward(1.0, actions=taken)
        other.act(states[n])
        other.reward(1.0)
    actions = policy.act(states[2])
    np.testing.assert_allclose(actions, whole(model, policy), atol=1e-5)
    assert np.abs(actions - other.act(states[2])).max() > 1e-3  # the control


def test_a_decoder_of_codes_equals_whole_forward_passes():
    codes = Codes.learned(np.random.default_rng(0).normal(size=(200, 6)), actions=2, bins=5)
    assert (codes.per_step, codes.before, codes.size) == (7, 5, 32)
    config = tj.GPT2Config(
        vocab_size=codes.size, n_positions=28, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3
    )
    decoder = tj.from_config(config, head="causal_lm", key=jax.random.key(1))
    policy, rng = TokenPolicy(decoder, [0.5, -1.0], codes), np.random.default_rng(2)
    for _ in range(7):
        scores = policy.act(rng.normal(size=(2, 4)))
        ids = codes.whole(policy.remembered)[:, :-2]  # up to the state
        expected = decoder(input_ids=ids).logits[:, -1, codes.chosen]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        policy.reward(rng.normal(size=2))
    assert policy.context == 4


def test_codes_are_bins_that_hold_as_many_numbers_each():
    numbers = np.random.default_rng(0).normal(size=(1000, 6)) * (1, 2, 3, 4, 5, 6)
    codes = Codes.learned(numbers, actions=3, bins=4, first=10)
    step = {"returns_to_go": numbers[None, :, :1], "states": numbers[None, :, 1:5]}
    ids = codes.seen(step)[0]
    for kind in range(5):
        found = np.bincount(ids[:, kind] - 10, minlength=24)[4 * kind : 4 * kind + 4]
        assert (found == 250).all()
    assert codes.chosen == slice(34, 37)


def test_equal_seeds_are_equal_episodes_here_and_in_gymnasium(model):
    ours = tj.rollout(model, "cartpole", 30.0, seeds=[3, 4, 5])
    theirs = tj.rollout(model, "gymnasium:CartPole-v1", 30.0, seeds=[3, 4, 5])
    np.testing.assert_array_equal(ours.returns, theirs.returns)
    np.testing.assert_array_equal(ours.lengths, ours.returns)
    assert repr(ours).startswith("Episodes(3, returns ")


def test_vectors_are_actions_of_gymnasium():
    config = tj.DecisionTransformerConfig(**{**SIZES, "state_dim": 3, "act_dim": 1})
    pendulum = tj.from_config(config, key=jax.random.key(0))
    episodes = tj.rollout(pendulum, "gymnasium:Pendulum-v1", -100.0, seeds=[0, 1])
    assert episodes.lengths.tolist() == [40, 40]  # steps that the model knows
    assert (episodes.returns < 0).all()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m: tj.Policy(m, [np.nan]), r"target_return is \[nan\]; expected a finite number"),
        (lambda m: tj.Policy(m, [1.0], context=11), "context is 11 steps, of 3 tokens .* 1 to 10"),
        (lambda m: tj.Policy(m, [1.0]).act(np.zeros((1, 5))), r"\(1, 5\); expected \(1, 4\)"),
        (lambda m: tj.rollout(m, "cartpole", 501.0), "returns 1 to 500: ask for a return"),
        (lambda m: tj.rollout(m, "cartpole", [1.0, 2.0]), r"\(2,\) for 1 episodes"),
        (
            lambda m: tj.rollout(m, "gymnasium:Pendulum-v1", -1.0),
            "states of 3 numbers, and the model has state_dim 4; actions of 1 numbers",
        ),
    ],
)
def test_what_does_not_fit_is_refused(model, call, error):
    with pytest.raises(ValueError, match=error):
        call(model)


def test_an_episode_that_is_longer_than_the_model_knows_is_refused():
    config = tj.DecisionTransformerConfig(**{**SIZES, "max_ep_len": 2})
    policy = tj.Policy(tj.from_config(config, key=jax.random.key(0)), [1.0])
    for _ in range(2):
        policy.act(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"more than 2 steps \(max_ep_len"):
        policy.act(np.zeros((1, 4)))


def test_a_policy_needs_a_model_of_trajectories():
    config = tj.GPT2Config(vocab_size=9, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    gpt2 = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    with pytest.raises(ValueError, match="gpt2 reads none; give a Decision Transformer"):
        tj.Policy(gpt2, [1.0])
