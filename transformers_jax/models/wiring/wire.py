"""How towers are connected: which reads which, and what of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float
from transformers_jax.graph import Nodes, sequence


@dataclass(frozen=True)
class States:
    """Which states of a tower another one reads.

    Attributes:
        layers: the hidden states of these numbers, side by side; None: the last, behind the final
            norm.
        first: the first token that is read (1: without that of the class).
    """

    layers: tuple[int, ...] | None = None
    first: int = 0

    def of(self, output: Mapping[str, Any]) -> Float[Array, "B T E"]:
        """Those of the output of a tower."""
        if self.layers is None:
            chosen: Any = output["last_hidden_state"]
        else:
            chosen = jnp.concatenate([output["hidden_states"][n] for n in self.layers], axis=-1)
        return chosen[:, self.first :]


class Wire(NamedTuple):
    """How a tower is connected (see `Tower`)."""

    name: str
    source: str | None = None
    prefix: str = ""
    placed: str | None = None
    grouped: str | None = None
    states: States = States()

    @property
    def reads(self) -> tuple[str, ...]:
        """The towers whose states it reads."""
        return tuple(name for name in (self.source, self.placed) if name is not None)


def side_by_side(x: Float[Array, "BN L E"], rows: int, tag: str) -> tuple[Array, Nodes]:
    """(the tokens of N rows each as one, [B N*L E]; their nodes, which a tag numbers from 0)."""
    joined = x.reshape(rows, -1, x.shape[-1])
    number: Any = np.arange(joined.shape[1], dtype=np.int32) // x.shape[1]
    return joined, sequence(joined.shape[1], tags={tag: number[None]})


def upstream(wires: tuple[Wire, ...], name: str) -> list[str]:
    """The towers whose states a tower reads, and theirs, in their order; itself the last."""
    by_name = {wire.name: wire for wire in wires}
    needed, waiting = {name}, [name]
    while waiting:
        read = [other for other in by_name[waiting.pop()].reads if other not in needed]
        needed.update(read)
        waiting += read
    return [wire.name for wire in wires if wire.name in needed]
