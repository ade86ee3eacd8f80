"""A graph as the options of a fixed-function kernel, in place of a matrix.

Kernels such as cuDNN's have options for a few graphs: causal, a window, one length per row,
segments. A graph is lowered only if these options describe it exactly; any part without one refuses
the whole. A mask part that is silently dropped is the characteristic bug of this field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from transformers_jax.arrays import Array
from transformers_jax.graph.edges import Edges
from transformers_jax.graph.mask import All, Mask
from transformers_jax.graph.nodes import Nodes
from transformers_jax.graph.primitives import Before, Full, Near, Same


class Refused(ValueError):
    """A backend cannot compute exactly this graph; the message says why."""


@dataclass(frozen=True)
class Lowered:
    """A graph as the options of a kernel; their conjunction is the graph.

    Attributes:
        causal: the queries at the index of a key and after it attend to it.
        left, right: how far a window reaches from the query's index; None: without limit.
        lengths: Int[b], each row's keys that are valid, which come first; None: all of them.
        segments: tags whose values must agree.
    """

    causal: bool = False
    left: int | None = None
    right: int | None = None
    lengths: np.ndarray | None = None
    segments: tuple[str, ...] = ()


def lower(edges: Edges) -> Lowered:
    """The graph as the options of a kernel.

    Raises:
        Refused: naming the part of the mask, or the nodes, that the options cannot describe.
    """
    causal, left, right, segments = False, None, None, set()
    for part in conjuncts(edges.mask):
        match part:
            case Full():
                continue
            case Same(tag):
                segments.add(tag)
            case Before("index"):
                causal = True
            case Near(near_left, near_right, "index"):
                left, right = _narrower(left, near_left), _narrower(right, near_right)
            case _:
                raise Refused(f"kernels have no option for {part}")
    if causal or left is not None or right is not None:
        _require_columns(edges.q, edges.k)
    if right == 0:
        causal = True
    right = None if causal else right
    lengths = _lengths(edges.k.valid)
    return Lowered(causal, left, right, lengths, tuple(sorted(segments)))


def conjuncts(mask: Mask) -> Iterator[Mask]:
    """The parts of which a mask is the conjunction."""
    if isinstance(mask, All):
        yield from conjuncts(mask.a)
        yield from conjuncts(mask.b)
    else:
        yield mask


def _narrower(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _require_columns(q: Nodes, k: Nodes) -> None:
    """A kernel compares columns of the arrays, so `index` must be just that, on both sides."""
    for name, index in (("queries", q.tag("index")), ("keys", k.tag("index"))):
        if not isinstance(index, np.ndarray):
            raise Refused(f"the index of the {name} is known only at run time")
        if (np.diff(index, axis=1) != 1).any():
            raise Refused(f"the {name} do not stand in order of their index")
    if (q.tag("index")[:, :1] != k.tag("index")[:, :1]).any():
        raise Refused("queries and keys do not begin at the same index")


def _lengths(valid: Array | None) -> np.ndarray | None:
    if valid is None:
        return None
    if not isinstance(valid, np.ndarray):
        raise Refused("which keys are valid is known only at run time")
    lengths = valid.sum(1)
    if (valid != (np.arange(valid.shape[1]) < lengths[:, None])).any():
        raise Refused("the valid keys of a row are not its first ones")
    return None if valid.all() else lengths.astype(np.int32)
