"""Strategies of search: which token comes next, and which of several texts is kept.

Each is a value with one method, `search`; what a call asks for is said by its options, of which
`strategy_of` makes one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax.numpy as jnp

from transformers_jax.arrays import top_k
from transformers_jax.generation.beam import beam_search
from transformers_jax.generation.constrained import constrained_search
from transformers_jax.generation.constraints import forced
from transformers_jax.generation.contrastive import contrastive_search
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.options import Options
from transformers_jax.generation.search import begin_search, go_on, result_of, search


class Strategy(Protocol):
    """A way to search for a text."""

    def search(self, model: Any, job: Job) -> Result:
        """The texts of a job, inside of its compiled program."""
        ...


@dataclass(frozen=True)
class Greedy:
    """Takes the best token."""

    def search(self, model: Any, job: Job) -> Result:
        return search(model, job)


@dataclass(frozen=True)
class Sample:
    """Draws a token of what temperature and cut-offs leave."""

    def search(self, model: Any, job: Job) -> Result:
        return search(model, job)


@dataclass(frozen=True)
class Beams:
    """Keeps the best of several texts, in one group or in several that differ, by the best tokens
    or by drawn ones. The numbers are in the options of the job."""

    num_beams: int
    groups: int = 1

    def search(self, model: Any, job: Job) -> Result:
        return beam_search(model, job)


@dataclass(frozen=True)
class ConstrainedBeams:
    """Keeps the best of several texts that contain all of some words. The words are in the job."""

    num_beams: int

    def search(self, model: Any, job: Job) -> Result:
        return constrained_search(model, job)


@dataclass(frozen=True)
class Contrastive:
    """Takes, of the `top_k` likeliest tokens, one that is not like the text (Su et al. 2022)."""

    penalty_alpha: float
    top_k: int

    def search(self, model: Any, job: Job) -> Result:
        return contrastive_search(model, job, self.penalty_alpha, self.top_k)


@dataclass(frozen=True)
class BestOf:
    """Draws `n` texts of each prompt and keeps those with the highest sum of log-probabilities
    divided by length ** length_penalty."""

    n: int

    def search(self, model: Any, job: Job) -> Result:
        options, batch = job.options, job.prompt.ids.shape[0]
        drawn = replace(options, num_return_sequences=self.n)
        several = replace(job, options=drawn, with_log_probs=True).begun()
        state = go_on(model, several, begin_search(model, several), several.limit)
        found = result_of(state)
        assert found.log_probs is not None
        step = jnp.arange(len(found.log_probs))[:, None]
        total = jnp.where(step < state.written, found.log_probs, 0.0).sum(axis=0)
        length = jnp.maximum(state.written, 1).astype(jnp.float32)
        score = (total / length**job.length_penalty).reshape(batch, self.n)
        score, best = top_k(score, options.num_return_sequences)
        rows = (jnp.arange(batch)[:, None] * self.n + best).reshape(-1)
        likely = found.log_probs[:, rows] if job.with_log_probs else None
        scores = None if found.scores is None else found.scores[:, rows]
        counts = state.written[rows]
        return Result(found.ids[rows], counts.max(), counts, score.reshape(-1), scores, likely)


def strategy_of(options: Options, constrained: bool = False) -> Strategy:
    """The strategy that options ask for; whether a job is `constrained` is said by its arrays."""
    if options.penalty_alpha:
        assert options.top_k is not None
        return Contrastive(options.penalty_alpha, options.top_k)
    if options.best_of is not None:
        return BestOf(options.best_of)
    if constrained or forced(options):
        return ConstrainedBeams(options.num_beams)
    if options.num_beams > 1:
        return Beams(options.num_beams, options.num_beam_groups)
    return Sample() if options.do_sample else Greedy()
