"""What every logits processor is: a frozen record of its settings with one method.

A record is a pytree. Numbers (a temperature, a penalty, a cut-off) are its leaves, so that another
value needs no other program; what decides shapes or the structure of a program (the size of an
n-gram, lists of tokens) is static.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import MASKED as BANNED
from transformers_jax.arrays import Array, Bool, Float, Int
from transformers_jax.generation.text import Text, whole_rows

C = TypeVar("C", bound=type)


def static(**options: Any) -> Any:
    """A field that belongs to the program, not to its arguments."""
    return field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, field))
def record(cls: C) -> C:
    """The class as a frozen dataclass and a pytree; two records are equal if they are the same
    object, as their leaves may be arrays."""
    frozen: Any = dataclass(frozen=True, eq=False)(cls)
    return jax.tree_util.register_dataclass(frozen)


class Processor:
    """From (the text so far, scores) to scores.

    `process` is what the loop of `generate` calls: padding is no text, and what is banned gets a
    large finite negative score. A record is called as in transformers too,
    `processor(input_ids, scores)`, on whole rows: then what is banned gets -inf.
    Names and arguments are those of transformers, without `device`: arrays are where JAX has them.
    """

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        raise NotImplementedError(f"{type(self).__name__} has no method `process`")

    def __call__(self, input_ids: Int[Array, "B T"], scores: Float[Array, "B V"]) -> Array:
        return infinite(self.process(whole_rows(input_ids), jnp.asarray(scores)))

    def of_row(self, row: Int[Array, ""], count: int) -> Processor:
        """The record for one of `count` rows alone; another one where it knows of each row."""
        return self

    def settle(self, **values: Any) -> None:
        """Sets fields of a record while it is being made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def check(self, name: str, holds: Callable[[Any], bool], expected: str) -> None:
        """Raises ValueError for a number that is known and out of its range. (Inside a compiled
        program it is an argument: it was checked before.)"""
        value = getattr(self, name)
        if isinstance(value, (bool, str, bytes)) or (is_number(value) and not holds(value)):
            raise ValueError(f"{type(self).__name__}: {name} must be {expected}, got {value!r}")


def is_number(value: Any) -> bool:
    """Whether a value is a Python or NumPy number, and no array of a program."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def number(value: Any) -> Any:
    """A number as a float, so that 1 and 1.0 share a program; anything else as it is."""
    return float(value) if is_number(value) else value


def token_tuple(owner: Any, name: str, value: Any) -> tuple[int, ...]:
    """One token or several as a tuple.

    Raises:
        ValueError: what is no id of a token.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    ids = tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    if not all(isinstance(t, (int, np.integer)) and not isinstance(t, bool) for t in ids) or any(
        token < 0 for token in ids
    ):
        raise ValueError(
            f"{type(owner).__name__}: {name} must be ids of tokens, whole numbers from 0 on, got "
            f"{value!r}"
        )
    return tuple(int(token) for token in ids)


def is_banned(scores: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Which scores are those of what cannot be chosen, by whichever processor."""
    return scores <= BANNED / 10


def infinite(scores: Float[Array, "..."]) -> Float[Array, "..."]:
    """The scores with -inf for what is banned, as transformers has them. (The least finite number
    is what `InfNanRemoveLogitsProcessor` writes, and stays.)"""
    least = jnp.finfo(scores.dtype).min
    return jnp.where(is_banned(scores) & (scores > least), -jnp.inf, scores)


def marked(
    ids: Int[Array, "R N"], chosen: Bool[Array, "R N"], shape: tuple[int, ...]
) -> Bool[Array, "R V"]:
    """True at every token of a row's ids that is chosen."""
    rows, vocab = shape
    spare = jnp.where(chosen, ids, vocab)  # out of bounds: dropped
    return jnp.zeros(shape, bool).at[jnp.arange(rows)[:, None], spare].set(True, mode="drop")


def among(tokens: tuple[int, ...], vocab: int) -> np.ndarray:
    """Which tokens of a vocabulary are some of these."""
    return np.isin(np.arange(vocab), np.array(tokens, int))


def ban(banned: Any, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
    """The scores, with those that are marked banned."""
    return jnp.where(banned, BANNED, scores)


def allow(
    allowed: Bool[Array, "R V"], scores: Float[Array, "R V"], num_beams: int
) -> Float[Array, "R V"]:
    """The scores, with all that is not allowed banned. Where everything allowed is banned already,
    what is allowed wins, in all beams of a prompt at once."""
    kept = jnp.where(allowed, scores, BANNED)
    none = is_banned(kept.max(axis=1)).reshape(-1, num_beams).all(axis=1)
    none = jnp.repeat(none, num_beams)[:, None]
    return jnp.where(none & allowed, 0.0, kept)


def copied(x: Array, rows: int) -> Array:
    """An array with one row per prompt, its rows repeated for the beams or samples of each.

    Raises:
        ValueError: rows of scores that are no multiple of those of the array.
    """
    if not len(x) or rows % len(x):
        raise ValueError(
            f"there are {rows} rows of scores, and {len(x)} rows of encoder_input_ids or of what "
            "belongs to prompts; each prompt has as many rows of scores"
        )
    return jnp.repeat(x, rows // x.shape[0], axis=0)


def row_of(x: Array, row: Int[Array, ""], count: int) -> Array:
    """The prompt's row, with its axis, of an array with one per prompt, for `row` of `count`."""
    return x[row // (count // x.shape[0])][None]
