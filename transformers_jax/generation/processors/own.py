"""Processors of the caller's: records, or functions that JAX can trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp

from transformers_jax.arrays import Array, Float
from transformers_jax.generation.processors.record import BANNED, Processor, record, static
from transformers_jax.generation.text import Text

EXPECTED = (
    "a processor of transformers_jax (tj.MinPLogitsWarper(0.1)), or a function (text, scores) -> "
    "scores of jax.numpy, where text is a transformers_jax.generation.text.Text"
)


@record
class Function(Processor):
    """A function of the caller's. Each is a program of its own: define it once, outside of loops.

    Attributes:
        name: by which errors call it.
    """

    function: Callable[[Text, Array], Array] = static()
    name: str = static()

    def process(self, text: Text, scores: Float[Array, "R V"]) -> Float[Array, "R V"]:
        try:
            made = jnp.asarray(self.function(text, scores))
        except (TypeError, AttributeError) as error:  # what JAX and NumPy raise of traced arrays
            raise ValueError(
                f"{self.name} cannot be traced by JAX ({type(error).__name__}: {error}); expected "
                f"{EXPECTED}"
            ) from error
        if made.shape != scores.shape or not jnp.issubdtype(made.dtype, jnp.floating):
            raise ValueError(
                f"{self.name} returned {made.dtype}{list(made.shape)}, but scores are "
                f"{scores.dtype}{list(scores.shape)}; return scores of the same shape"
            )
        return jnp.maximum(made.astype(scores.dtype), BANNED)


def listed(name: str, given: Any, kind: type, wrap: Callable[..., Any], expected: str) -> list[Any]:
    """The caller's list, each a record of a kind, or a function in a record.

    Raises:
        ValueError: no list, or what is neither.
    """
    if given is None:
        return []
    if isinstance(given, kind) or not isinstance(given, Iterable):
        raise ValueError(f"{name} must be a list, got {given!r}; each is {expected}")
    made = []
    for number, one in enumerate(given):
        label = f"{name}[{number}]"
        if isinstance(one, type) or not callable(one):
            raise ValueError(f"{label} is {one!r}; expected {expected}")
        made.append(one if isinstance(one, kind) else wrap(one, f"{label} ({_name(one)})"))
    return made


def merged(built: list[Any], own: list[Any]) -> list[Any]:
    """Those that the options made, then the caller's; one of the caller's replaces a built one of
    the same class, as in transformers."""
    first = {type(one): one for one in reversed(own)}
    replaced = [first.get(type(one), one) for one in built]
    return replaced + [one for one in own if not any(one is other for other in replaced)]


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
