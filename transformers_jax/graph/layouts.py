"""The tags of long rows: blocks of tokens, and tokens that attend to all others.

A layout only writes tags; which of them a mask compares is the mask's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transformers_jax.graph.nodes import Nodes


def _real(nodes: Nodes) -> Any:
    """Int[b T], 1 where there is a token, 0 in padding; NumPy where it is known while tracing."""
    if nodes.valid is None:
        return np.ones((1, nodes.length), np.int32)
    return nodes.valid.astype(np.int32)


def with_global(nodes: Nodes) -> Nodes:
    """Nodes with the tags `real`, 1 where there is a token, and `global`: that of the nodes, or 0;
    padding is never global."""
    real = _real(nodes)
    marked: Any = nodes.tags.get("global", np.zeros((1, nodes.length), np.int32))
    return nodes.with_tags(real=real, **{"global": (marked > 0) * real})


def blocked(nodes: Nodes, size: int, longest: int = 0) -> Nodes:
    """Nodes in blocks of `size` tokens, the last of which may be shorter.

    Adds the tags `block` (its number), `blocks` (how many there are), `first` (1 in the first),
    `edge` (1 in the first and in the last), `real` (1 where there is a token) and `repeats` (1
    outside of the edges, in a call without noise). In rows of at most `longest` tokens all are
    `edge` and `real`.
    """
    index = nodes.tag("index")
    block = index // size
    count = -(-nodes.length // size)
    short = nodes.length <= longest
    edge = (block == 0) | (block == count - 1) | short
    blocks: Any = np.full((1, nodes.length), count, np.int32)
    real = _real(Nodes(nodes.tags) if short else nodes)
    noise: Any = nodes.tags.get("noise", np.zeros((1, nodes.length), np.int32))
    return nodes.with_tags(
        block=block,
        blocks=blocks,
        first=(block == 0).astype(np.int32),
        edge=edge.astype(np.int32),
        real=real,
        noise=noise,
        repeats=(~edge & (noise == 0)).astype(np.int32),
    )
