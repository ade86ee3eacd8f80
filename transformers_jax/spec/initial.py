"""How the parameters of a family are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Draw:
    """How one parameter is drawn: normal with `scale` as deviation (before what lies beyond `cut`
    deviations is cut off), uniform within +-scale, the constant `scale`, or `scale` times an
    orthogonal matrix or a table of sinusoids, alternating or in `halves` (`nn.sinusoidal`), or of
    those of a `grid`, the last rows of a table."""

    kind: Literal["normal", "uniform", "constant", "orthogonal", "sinusoids", "grid"]
    scale: float
    cut: float | None = None
    halves: bool = False
    grid: tuple[int, int] = (1, 1)


ZEROS, ONES = Draw("constant", 0.0), Draw("constant", 1.0)


@dataclass(frozen=True)
class Initial:
    """A family's rule for weight matrices: normal(std); those that write into the residual stream
    (`out`, `down`) may have a deviation of their own (GPT-2 section 2.3). Nothing is drawn beyond
    `cut` deviations."""

    std: float = 0.02
    residual: float | None = None
    cut: float | None = None

    def draw(self, role: str, sizes: Sizes) -> Draw:
        """How the weight called `role` (`query`, `up`, `table`, ...) of these sizes is drawn."""
        if self.residual is not None and role in ("out", "down"):
            return Draw("normal", self.residual, self.cut)
        return Draw("normal", self.std, self.cut)


@dataclass(frozen=True)
class InitialT5(Initial):
    """T5's rule: unscaled attention, hence queries smaller by sqrt(K) (Mesh TensorFlow; T5 v1)."""

    factor: float = 1.0

    def draw(self, role: str, sizes: Sizes) -> Draw:
        width = sizes["embed"]
        inner = sizes.get("heads", 1) * sizes.get("kv", 1)
        std = {
            "query": (width * sizes.get("kv", 1)) ** -0.5,
            "out": inner**-0.5,
            "down": sizes.get("mlp", 1) ** -0.5,
            "table": 1.0,
        }.get(role, width**-0.5)
        return Draw("normal", self.factor * std)


@dataclass(frozen=True)
class InitialXavier(Initial):
    """Glorot and Bengio 2010, as torch.nn.Transformer draws it; embeddings are normal(D^-0.5)
    so that the scaled embedding has unit variance (Vaswani et al. 2017, section 3.4)."""

    def draw(self, role: str, sizes: Sizes) -> Draw:
        width = sizes["embed"]
        if role == "table":
            return Draw("normal", width**-0.5)
        if role in ("up", "down", "gate"):
            fans = width + sizes["mlp"]
        else:  # torch draws query, key and value as one matrix of 3 D rows
            fans = 2 * width if role == "out" else 4 * width
        return Draw("uniform", math.sqrt(6.0 / fans))
