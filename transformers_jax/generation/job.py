"""The input of a search, the text that it writes, and its result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.generation.constraints import Forest
from transformers_jax.generation.guidance import Guidance
from transformers_jax.generation.options import Options
from transformers_jax.generation.processors import Processor
from transformers_jax.generation.processors.cutoffs import TemperatureLogitsWarper
from transformers_jax.generation.stopping import Criterion
from transformers_jax.generation.text import Prompt, Text


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Job:
    """The input of a search; its static fields determine the compiled program.

    The key is there if and only if the options say `do_sample`. Of the options those are here that
    choose the search; the others are processors and criteria.
    """

    prompt: Prompt
    processors: tuple[Processor, ...]
    limit: Int[Array, ""]  # most new tokens
    length_penalty: Float[Array, ""]
    criteria: tuple[Criterion, ...]
    guidance: Guidance | None
    key: Key | None
    options: Options = field(metadata={"static": True})
    width: int = field(metadata={"static": True})  # of cache and text: prompt and new tokens fit
    with_scores: bool = field(metadata={"static": True})
    with_log_probs: bool = field(default=False, metadata={"static": True})
    forest: Forest | None = None  # words that every text has to contain
    reader: Any = None  # the model as it reads prompts, its layers stacked; None: as it decodes

    @property
    def pad(self) -> int:
        """What fills ended rows; where nothing ends, nothing but unwritten columns."""
        return self.options.pad_token_id or 0

    @property
    def temperature(self) -> Any:
        """By what the processors divide scores."""
        found = [p.temperature for p in self.processors if isinstance(p, TemperatureLogitsWarper)]
        return math.prod(found, start=1.0)

    def step_key(self, step: Int[Array, ""]) -> Key:
        """The key of one step's draw."""
        assert self.key is not None
        return jax.random.fold_in(self.key, step)

    def begin_text(self, copies: int) -> Text:
        """The prompt at the left of an array as wide as the cache, every row `copies` times; the
        rest is padding."""
        prompt, begin = self.prompt, self.prompt.ids.shape[1]
        after = ((0, 0), (0, self.width - begin))
        ids = jnp.pad(prompt.ids, after, constant_values=self.pad)
        each = ids, prompt.start, prompt.tags
        ids, start, tags = jax.tree.map(lambda x: jnp.repeat(x, copies, axis=0), each)
        return Text(ids, start, prompt.offset, begin, jnp.int32(begin), tags)

    def stops(self, text: Text) -> Bool[Array, " R"]:
        """Which rows end with their last token."""
        ended = jnp.zeros(text.ids.shape[0], bool)
        for criterion in self.criteria:
            ended |= criterion.stops(text)
        return ended

    def begun(self) -> Job:
        """The job when its search begins."""
        return replace(self, criteria=tuple(one.begin() for one in self.criteria))


class Result(NamedTuple):
    """The result of a search. R rows: batch x returned sequences."""

    ids: Int[Array, "R width"]
    steps: Int[Array, ""]  # the longest row's number of new tokens
    counts: Int[Array, " R"]  # new tokens of each row, its end included
    row_scores: Float[Array, " R"] | None = None
    scores: Float[Array, "width N V"] | None = None
    log_probs: Float[Array, "width R"] | None = None  # of each new token, at temperature 1
    accepted: Int[Array, " R"] | None = None  # drafted tokens that are in the text
    drafted: Int[Array, " R"] | None = None
