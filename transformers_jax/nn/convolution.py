"""A convolution over neighbouring tokens: messages whose weights are learned for each distance.

    y_t = sum over n of W_n x_{t + n}        n = -half ... half, where there is an edge

The neighbours of a token are those from which an edge of the mask leads to it, so that a
convolution, like attention, reads neither padding nor the other documents of a packed row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float, Key
from transformers_jax.graph import FULL, Mask, Nodes
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.operation import Op, OpResult
from transformers_jax.nn.param import add, contract, param
from transformers_jax.spec import Draw, Initial, OpFlops, OpSpec


@dataclass(frozen=True)
class ConvolutionSpec(OpSpec):
    """act(dropout(W * x + b)) over `kernel` neighbouring tokens, in `groups` parts of the width.

    `mask` says which neighbours are read, as in attention: not those of another document.
    """

    kernel: int
    groups: int = 1
    activation: str = "linear"
    mask: Mask = FULL
    dropout: float = 0.0

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"a convolution's kernel ({self.kernel}) must be odd: 1, 3, 5, ...")
        if self.mask.pairs:
            raise ValueError(
                f"a convolution reads its neighbours by their tags, but the mask {self.mask} reads "
                f"the pairs {', '.join(sorted(self.mask.pairs))}; give a mask without them"
            )

    drawn = False

    @property
    def masks(self) -> tuple[Mask, ...]:  # type: ignore[override]
        return (self.mask,)

    def at(self, layer: int) -> Self:
        return replace(self, mask=self.mask.at(layer))

    def build(self, width: int, initial: Initial, source: str | None = None) -> Convolution:
        return Convolution(self, width, initial)

    def flops(self, width, queries, keys, edges) -> OpFlops:
        return OpFlops(2.0 * self.kernel * width * (width // self.groups) * queries)

    def describe(self) -> str:
        parts = f" in {self.groups} parts" if self.groups > 1 else ""
        return f"kernel of {self.kernel} tokens{parts}, {self.activation}"


class Convolution(Op):
    """act(dropout(W * x + b)), as wide as the stream (DeBERTa-v2)."""

    def __init__(self, conv: ConvolutionSpec, width: int, initial: Initial | None = None):
        if width % conv.groups:
            raise ValueError(
                f"the width ({width}) must be a multiple of the convolution's groups "
                f"({conv.groups})"
            )
        activation(conv.activation)  # refuse an unknown one before any work
        self.spec = conv
        part = width // conv.groups
        # as torch draws a Conv1d, whatever `initial` says: the released code does not change it
        draw = Draw("uniform", (conv.kernel * part) ** -0.5)
        sizes = {"taps": conv.kernel, "groups": conv.groups, "inner": part, "embed": part}
        self.weight = param("taps groups inner embed", sizes, draw)
        self.bias = param("embed", {"embed": width}, draw)

    def __call__(
        self, x: Float[Array, "B T D"], nodes: Nodes, *, key: Key | None = None
    ) -> Float[Array, "B T D"]:
        """What each of the tokens `nodes` receives from its neighbours."""
        near, length = self.spec.kernel // 2, x.shape[1]
        allowed = neighbours(self.spec.mask, nodes, near)
        padded = jnp.pad(x, ((0, 0), (near, near), (0, 0)))
        taps = [
            jnp.where(allowed[:, :, n, None], padded[:, n : n + length], 0)
            for n in range(self.spec.kernel)
        ]
        parts = jnp.stack(taps, 2).reshape(*x.shape[:2], self.spec.kernel, self.spec.groups, -1)
        y = contract("btngc,ngce->btge", parts, self.weight).reshape(x.shape)
        y = dropout(nodes.zeroed(add(y, self.bias)), self.spec.dropout, key)
        return activation(self.spec.activation)(y)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        return OpResult(self(x, context.nodes, key=key))


def neighbours(mask: Any, nodes: Nodes, near: int) -> Bool[Array, "b T n"]:
    """From which of the tokens, `near` before to `near` behind, an edge leads to each token."""
    index = np.arange(nodes.length)[:, None] + np.arange(-near, near + 1)
    inside = (index >= 0) & (index < nodes.length)
    index = index.clip(0, nodes.length - 1)
    tags = {name: tag for name, tag in nodes.tags.items() if name in mask.tags | {"index"}}
    rows = max(tag.shape[0] for tag in tags.values())
    each = lambda tag: np.broadcast_to if isinstance(tag, np.ndarray) else jnp.broadcast_to
    tags = {name: each(tag)(tag, (rows, nodes.length)) for name, tag in tags.items()}
    # every token is a row of its own, in which it is the only query
    q = Nodes({name: tag.reshape(-1, 1) for name, tag in tags.items()})
    k = Nodes({name: tag[:, index].reshape(-1, index.shape[1]) for name, tag in tags.items()})
    edges = jnp.broadcast_to(mask.edges(q, k, {}), (rows * nodes.length, 1, index.shape[1]))
    allowed = edges.reshape(rows, *index.shape) & inside
    return allowed if nodes.valid is None else allowed & nodes.valid[:, index]
