"""Arguments of a call that say of each token to which images of its row it attends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.graph import Holds
from transformers_jax.graph.primitives import BITS
from transformers_jax.inputs import checks
from transformers_jax.nn.embed.description import TagArgument

WORDS = 4
"""How many tags hold a set, of `BITS` numbers each."""


@dataclass(frozen=True)
class Needed:
    """No tag can be made without the argument of this name."""

    argument: str
    says: str

    def check(self, ids: Any) -> None:
        raise ValueError(f"give {self.argument}: {self.says}")

    def __call__(self, ids: Any, shape: tuple[int, int]) -> Any:
        return self.check(ids)


@dataclass(frozen=True)
class SetPart:
    """The numbers from `first` on of sets, Bool[B T N], as bits."""

    first: int

    def __call__(self, values: Any) -> Any:
        numpy: Any = np if isinstance(values, np.ndarray) else jnp
        part = values[..., self.first : self.first + BITS] > 0
        bits = numpy.left_shift(np.int32(1), np.arange(part.shape[-1], dtype=np.int32))
        return (part * bits).sum(-1).astype(np.int32)


@dataclass(frozen=True)
class SetArgument(TagArgument):
    """A part of a set for each token, such as `image_attention_mask`."""

    def check_values(self, name, values, shape, like):
        checks.integers(name, values, None)
        found = np.shape(values)
        if len(found) != 3 or found[:2] != tuple(shape) or not 0 < found[2] <= WORDS * BITS:
            raise ValueError(
                f"{name} has shape {found}; expected {tuple(shape)}, as {like}, and 1 to "
                f"{WORDS * BITS} images of a row"
            )


def sets(argument: str, tag: str, says: str) -> tuple[SetArgument, ...]:
    """The tags of an argument Int[B T N]: `tag`0, `tag`1, ...; `says` what it is, for errors."""
    needed = Needed(argument, says)
    return tuple(
        SetArgument(argument, f"{tag}{word}", needed, SetPart(word * BITS)) for word in range(WORDS)
    )


def members(tag: str, number: str) -> Any:
    """The mask under which a token attends to those whose `number` is in its set."""
    mask: Any = Holds(f"{tag}0", number)
    for word in range(1, WORDS):
        mask = mask | Holds(f"{tag}{word}", number, word * BITS)
    return mask
