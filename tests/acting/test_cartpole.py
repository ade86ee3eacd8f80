"""CartPole in NumPy is Gymnasium's CartPole-v1, step by step; and what its table holds."""

import gymnasium
import numpy as np
import pytest

from transformers_jax.acting import cartpole
from transformers_jax.acting.cartpole import CartPole, fallen, moved
from transformers_jax.acting.named import environment
from transformers_jax.data.generated.cartpole import records


def both(seed, steps=300):
    """(states, rewards, ends) of ours and of Gymnasium's, of the same actions."""
    ours, theirs = CartPole(), gymnasium.make("CartPole-v1")
    states, rng = ours.reset([seed]), np.random.default_rng(seed)
    first, _ = theirs.reset(seed=seed)
    found, expected = [(states[0], 0.0, False)], [(first, 0.0, False)]
    for _ in range(steps):
        weighed = states[0] @ (0.05, 0.15, 1.0, 0.4) > 0
        action = int(rng.integers(2)) if rng.random() < 0.3 else int(weighed)
        states, rewards, ended = ours.step(np.array([action]))
        state, reward, fell, late, _ = theirs.step(action)
        found.append((states[0], rewards[0], ended[0]))
        expected.append((state, reward, fell or late))
        if fell or late:
            break
    return found, expected


@pytest.mark.parametrize("seed", range(5))
def test_each_step_is_that_of_gymnasium(seed):
    found, expected = both(seed, 600)
    for (state, *said), (theirs, *expectation) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(state.astype(np.float32), theirs)
        assert said == expectation


def test_another_mass_of_the_pole_is_another_environment(monkeypatch):
    monkeypatch.setattr(cartpole, "POLE", 0.101)
    found, expected = both(0, 5)
    assert not np.array_equal(found[-1][0].astype(np.float32), expected[-1][0])


def test_rows_do_not_know_of_each_other():
    place, alone = CartPole(), CartPole()
    both = place.reset([3, 4])
    np.testing.assert_array_equal(alone.reset([4]), both[1:])
    for _ in range(60):
        step, own = place.step(np.array([1, 0])), alone.step(np.array([0]))
        np.testing.assert_array_equal(step.states[1:], own.states)
        assert (step.rewards[1], step.ended[1]) == (own.rewards[0], own.ended[0])
    assert step.ended.all()
    assert not step.rewards.any()  # an episode that has ended is not rewarded
    assert fallen(step.states).all()


def test_an_episode_ends_after_500_steps():
    place = CartPole()
    states, total = place.reset([0]), 0.0
    for _ in range(500):
        states, rewards, ended = place.step((states @ (0.05, 0.15, 1.0, 0.4) > 0).astype(int))
        total += rewards[0]
    assert total == 500.0
    assert ended.all()
    assert not fallen(states).any()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: moved(np.zeros((1, 4)), np.array([2])), r"expected 0 \(left\) or 1 \(right\)"),
        (lambda: environment("cartpol"), "did you mean 'cartpole'"),
        (lambda: environment("gymnasium:CartPol-v1"), "gymnasium:CartPol-v1: Environment"),
        (lambda: environment("gymnasium:FrozenLake-v1"), "expected states that are vectors"),
        (lambda: CartPole().check_return(501.0), "target_return is 501, .* returns 1 to 500"),
        (lambda: CartPole().check_return(float("nan")), "ask for a return in between"),
    ],
)
def test_what_there_is_not_is_refused(call, error):
    with pytest.raises(ValueError, match=error):
        call()


def test_the_table_is_of_mixed_quality_and_always_the_same():
    train, again = records("train"), records("train")
    assert train == again
    returns = np.array([one["return"] for one in train])
    assert returns.mean() < 455
    assert {*(returns // 100)} == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
    one = train[7]
    states, actions = np.array(one["states"]), np.array(one["actions"])
    assert len(states) == len(actions) == len(one["rewards"]) == one["return"]
    np.testing.assert_allclose(moved(states[:-1], actions[:-1]), states[1:], atol=1e-5)
    held_out = {tuple(record["states"][0]) for record in records("validation")}
    assert held_out.isdisjoint(tuple(record["states"][0]) for record in train)
