"""Policy: what a model of trajectories does next, with a cache of the steps before."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.acting.codes import Codes
from transformers_jax.arrays import Array, Float, Params
from transformers_jax.models.base import Model, check_model
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed.trajectory import PER_STEP
from transformers_jax.nn.param import merge, split

Numbers = Float[np.ndarray, "B N"]
Steps = dict[str, np.ndarray]


class Acting(ABC):
    """The actions of a model in episodes side by side, of which each is to have a return that is
    asked for.

    When as many steps as the `context` has are in the cache, the later half of them is read anew,
    as the beginning of another one. An action is therefore always that of a forward pass over the
    steps that are `remembered`, which are more than half of the context.

    Args:
        widths: numbers of a state, and of an action.
        longest: steps of an episode that the model knows.
        most: steps that it reads together at most.

    Raises:
        ValueError: a return that is no finite number; a context that is too long.
    """

    def __init__(
        self,
        model: Model,
        target_return: Any,
        *,
        context: int | None,
        discrete: bool,
        widths: tuple[int, int],
        longest: int,
        most: int,
        per_step: int,
    ):
        self.returns = np.array(target_return, np.float32, ndmin=1)
        if self.returns.ndim != 1 or not np.isfinite(self.returns).all():
            raise ValueError(
                f"target_return is {target_return!r:.60}; expected a finite number for each episode"
            )
        self.context = most if context is None else context
        if not 1 <= self.context <= most:
            raise ValueError(
                f"context is {context} steps, of {per_step} tokens each; this model reads 1 to "
                f"{most}"
            )
        self.widths, self.longest, self.per_step = widths, longest, per_step
        self.discrete, self.model = discrete, model.decoding()
        self.definition, self.values = split(self.model)
        self.steps = 0
        rows, (state, action) = len(self.returns), widths
        sizes = {"returns_to_go": 1, "states": state, "actions": action, "rewards": 1}
        self.remembered: Steps = {n: np.zeros((rows, 0, k), np.float32) for n, k in sizes.items()}
        self.remembered["timesteps"] = np.zeros((rows, 0), np.int32)
        self.cache, self.fresh = self._empty(), True

    def act(self, states: Numbers) -> Float[np.ndarray, "B A"]:
        """The numbers of the next action of each episode, by its state: of one that is `discrete`,
        scores of the actions that there are.

        Raises:
            ValueError: states of another shape; more steps than an episode of the model has.
        """
        states, shape = np.asarray(states, np.float32), (len(self.returns), self.widths[0])
        if states.shape != shape:
            raise ValueError(
                f"states have the shape {states.shape}; expected {shape}: a state of {shape[1]} "
                "numbers for each episode"
            )
        if self.steps >= self.longest:
            raise ValueError(
                f"the episode has more than {self.longest} steps (max_ep_len of the model): end it "
                "there, or begin another Policy"
            )
        if self.held == self.context:
            self._forget()
        step = {
            "returns_to_go": self.returns[:, None, None],
            "states": states[:, None],
            "timesteps": np.full((len(self.returns), 1), self.steps, np.int32),
        }
        before = None if self.fresh else {n: x[:, -1:] for n, x in self.remembered.items()}
        scores, self.cache = self._acted(before, step)
        actions = np.asarray(scores)
        known = np.eye(self.widths[1], dtype=np.float32)[actions.argmax(-1)]
        known = known if self.discrete else actions
        whole = {**step, "actions": known[:, None], "rewards": np.zeros_like(step["returns_to_go"])}
        both = {n: [old, whole[n]] for n, old in self.remembered.items()}
        self.remembered = {name: np.concatenate(x, axis=1) for name, x in both.items()}
        self.fresh, self.steps = False, self.steps + 1
        return actions

    def reward(self, rewards: Any, actions: Any = None) -> None:
        """Tells what the actions were rewarded with, which is no longer to be returned.

        Args:
            actions: those that were taken, if they are others than `act` gave: their numbers.
        """
        rewards = np.asarray(rewards, np.float32)
        self.returns = self.returns - rewards
        self.remembered["rewards"][:, -1, 0] = rewards
        if actions is not None:
            self.remembered["actions"][:, -1] = np.reshape(actions, (-1, self.widths[1]))

    @property
    def held(self) -> int:
        """How many steps are remembered."""
        return self.remembered["states"].shape[1]

    def _empty(self) -> Cache:
        return self.model.init_cache(len(self.returns), self.per_step * self.context)

    def _forget(self) -> None:
        """Reads the later half of what is remembered as the beginning of a new cache."""
        kept = self.context // 2
        first = self.held - kept
        self.remembered = {name: old[:, first:] for name, old in self.remembered.items()}
        self.cache, self.fresh = self._empty(), True
        if kept:
            self.cache = self._read(self.remembered)

    @abstractmethod
    def _acted(self, before: Steps | None, step: Steps) -> tuple[Array, Cache]:
        """(the numbers of the next action, the cache), after what was done in the step `before`, if
        the cache lacks it, and what is seen in this one."""

    @abstractmethod
    def _read(self, steps: Steps) -> Cache:
        """The new cache with whole steps."""


class Policy(Acting):
    """The actions of a Decision Transformer (Chen et al. 2021, algorithm 1).

        policy = tj.Policy(model, [500.0], discrete=True)
        states = place.reset([0])
        scores = policy.act(states)
        states, rewards, ended = place.step(scores.argmax(-1))
        policy.reward(rewards)

    A step of the environment costs three tokens: the action before, what is still to be returned,
    and the state.

    Args:
        target_return: what each episode is to return; as many as there are episodes.
        context: the most steps that are remembered; by default as many as the model has positions
            for. One that was trained on parts of episodes remembers as many steps as these have.
        discrete: whether of the numbers of an action the greatest says which of several is chosen,
            so that it is remembered as 1 and the others as 0.

    Raises:
        ValueError: a model of something else; a return that is no finite number; a context that the
            model has no positions for.
    """

    def __init__(
        self,
        model: Model,
        target_return: Any,
        *,
        context: int | None = None,
        discrete: bool = False,
    ):
        check_model(model, "Policy")
        sizes: Any = model.config
        if "returns_to_go" not in model.arguments():
            raise ValueError(
                f"a Policy acts by returns, states and actions, and {sizes.model_type} reads none; "
                "give a Decision Transformer"
            )
        super().__init__(
            model,
            target_return,
            context=context,
            discrete=discrete,
            widths=(sizes.state_dim, sizes.act_dim),
            longest=sizes.max_ep_len,
            most=sizes.n_positions // PER_STEP,
            per_step=PER_STEP,
        )

    def _acted(self, before, step):
        names = ("actions", "timesteps")
        done = None if before is None else {name: before[name] for name in names}
        return _acted(self.definition, self.values, self.cache, done, step)

    def _read(self, steps):
        return _read(self.definition, self.values, self.cache, steps)


class TokenPolicy(Acting):
    """The same of a decoder whose words are the numbers of an episode.

    Args:
        codes: which ids they are.
        longest: steps of an episode.
    """

    def __init__(
        self,
        model: Model,
        target_return: Any,
        codes: Codes,
        *,
        context: int | None = None,
        longest: int = 2**31 - 1,
    ):
        self.codes = codes
        positions = model.reading.positions
        super().__init__(
            model,
            target_return,
            context=context,
            discrete=True,
            widths=(codes.before - 1, codes.actions),
            longest=longest,
            most=longest if positions is None else positions // codes.per_step,
            per_step=codes.per_step,
        )

    def _acted(self, before, step):
        ids = self.codes.seen(step)[:, 0]
        if before is not None:
            ids = np.concatenate([self.codes.done(before)[:, 0], ids], axis=1)
        chosen = self.codes.chosen
        logits, cache = _continued(self.definition, self.values, self.cache, ids)
        return logits[:, chosen], cache

    def _read(self, steps):
        return _continued(self.definition, self.values, self.cache, self.codes.whole(steps))[1]


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _acted(
    definition: Any, values: Params, cache: Cache, before: Any, step: Any
) -> tuple[Array, Cache]:
    """(the actions of the next step, the cache with it): the action before it, where there is one,
    and then its return and state."""
    model = merge(definition, values)
    if before is not None:
        cache = model(**before, cache=cache).cache
    out = model(**step, cache=cache)
    return out.action_preds[:, -1].astype(jnp.float32), out.cache


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _read(definition: Any, values: Params, cache: Cache, steps: Any) -> Cache:
    """The cache with whole steps."""
    return merge(definition, values)(**steps, cache=cache).cache


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _continued(definition: Any, values: Params, cache: Cache, ids: Any) -> tuple[Array, Cache]:
    """(the logits of the token after these, the cache with them)."""
    out = merge(definition, values)(input_ids=ids, cache=cache)
    return out.logits[:, -1].astype(jnp.float32), out.cache
