"""What every stopping criterion is, and those of length, tokens and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from transformers_jax.arrays import Array, Bool, Int
from transformers_jax.generation.processors.record import (
    is_number,
    number,
    record,
    static,
    token_tuple,
)
from transformers_jax.generation.text import Text, whole_rows


class Criterion:
    """From the text so far to which rows have ended.

    `stops` is what the loop of `generate` calls, when every row has one token more. A record is
    called as in transformers too, `criterion(input_ids, scores)`, on whole rows.
    """

    def stops(self, text: Text) -> Bool[Array, " R"]:
        raise NotImplementedError(f"{type(self).__name__} has no method `stops`")

    def begin(self) -> Any:
        """The criterion when a search begins."""
        return self

    def __call__(self, input_ids: Int[Array, "B T"], scores: Any = None) -> Bool[Array, " B"]:
        return self.stops(whole_rows(input_ids))


@record
class MaxLengthCriteria(Criterion):
    """All rows end where the text, its prompt included, has `max_length` columns.

    In `generate` it takes the place of `max_new_tokens` and `max_length`. `max_position_embeddings`
    is without effect: what a model cannot read is refused before anything is written.
    """

    max_length: Any
    max_position_embeddings: Any = None

    def __post_init__(self) -> None:
        refuse_unless(self, "max_length", lambda value: value > 0, "> 0")

    def stops(self, text: Text) -> Bool[Array, " R"]:
        return jnp.broadcast_to(text.length >= self.max_length, text.ids.shape[0])


@record
class EosTokenCriteria(Criterion):
    """A row ends with one of these tokens."""

    eos_token_id: Any = static()

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "eos_token_id", token_tuple(self, "eos_token_id", self.eos_token_id)
        )

    def stops(self, text: Text) -> Bool[Array, " R"]:
        return jnp.isin(_last(text), jnp.array(self.eos_token_id, text.ids.dtype))


@record
class MaxTimeCriteria(Criterion):
    """All rows end with the first token that is written after `max_time` seconds.

    The clock of the host is read in a callback after every token, so one process computes.

    Attributes:
        initial_timestamp: when the time begins, as `time.time()` says it; None: when the record is
            made. The option `max_time` begins with the search, when it has been compiled.
    """

    max_time: Any
    initial_timestamp: Any = None

    def __post_init__(self) -> None:
        refuse_unless(self, "max_time", lambda value: value >= 0, ">= 0")
        object.__setattr__(self, "max_time", number(self.max_time))
        begun = time.time() if self.initial_timestamp is None else self.initial_timestamp
        object.__setattr__(self, "initial_timestamp", _stamp(begun) if is_number(begun) else begun)

    def begin(self) -> MaxTimeCriteria:
        like = jax.ShapeDtypeStruct((2,), np.uint32)
        now = io_callback(lambda: _stamp(time.time()), like)
        begun = jnp.asarray(self.initial_timestamp)
        return replace(self, initial_timestamp=jnp.where(begun[0] == 0, now, begun))

    def stops(self, text: Text) -> Bool[Array, " R"]:
        like = jax.ShapeDtypeStruct((), bool)
        late = io_callback(_is_late, like, self.max_time, self.initial_timestamp, text.end)
        return jnp.broadcast_to(late, text.ids.shape[0])


OF_SEARCH = 0.0
"""A timestamp that stands for the beginning of the search."""


def _stamp(seconds: float) -> Int[np.ndarray, " 2"]:
    """(seconds, microseconds): no float of 32 bits holds a time of today."""
    whole = int(seconds)
    return np.array([whole, (seconds - whole) * 1e6], np.uint32)


def _is_late(most: Any, begun: Any, end: Any) -> np.ndarray:
    seconds, micro = np.asarray(begun).tolist()
    return np.asarray(time.time() - (seconds + micro / 1e6) > float(most))


EXPECTED = (
    "a criterion of transformers_jax (tj.StopStringCriteria(tokenizer, ['END'])), or a function "
    "(text) -> which rows end, of jax.numpy, where text is a transformers_jax.generation.text.Text"
)


@record
class Function(Criterion):
    """A function of the caller's: text -> Bool[R], or Bool[] for all rows.

    Attributes:
        name: by which errors call it.
    """

    function: Callable[[Text], Array] = static()
    name: str = static()

    def stops(self, text: Text) -> Bool[Array, " R"]:
        try:
            made = jnp.asarray(self.function(text))
        except (TypeError, AttributeError) as error:  # what JAX and NumPy raise of traced arrays
            raise ValueError(
                f"{self.name} cannot be traced by JAX ({type(error).__name__}: {error}); expected "
                f"{EXPECTED}"
            ) from error
        rows = text.ids.shape[0]
        if made.dtype != bool or made.shape not in ((), (rows,)):
            raise ValueError(
                f"{self.name} returned {made.dtype}{list(made.shape)}; return truth values, "
                f"bool[{rows}] or bool[]"
            )
        return jnp.broadcast_to(made, rows)


def _last(text: Text) -> Int[Array, " R"]:
    return jax.lax.dynamic_slice_in_dim(text.ids, text.end - 1, 1, axis=1)[:, 0]


def refuse_unless(owner: Criterion, name: str, holds: Callable[[Any], bool], expected: str) -> None:
    """Raises ValueError for a number that is known and out of its range."""
    value = getattr(owner, name)
    if isinstance(value, (bool, str)) or (is_number(value) and not holds(value)):
        raise ValueError(f"{type(owner).__name__}: {name} must be {expected}, got {value!r}")
