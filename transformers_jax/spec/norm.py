"""Norms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerNorm:
    """(x - mean) / sqrt(variance + eps) * scale + shift (Ba et al. 2016).

    Attributes:
        shift, scale: whether it is learned.
    """

    eps: float = 1e-5
    shift: bool = True
    scale: bool = True


@dataclass(frozen=True)
class RMSNorm:
    """x / sqrt(mean square + eps) * (offset + scale) (Zhang and Sennrich 2019).

    Attributes:
        offset: what the stored scale is a difference from; 1 in Gemma, whose scales begin at 0.
    """

    eps: float = 1e-6
    offset: float = 0.0


Norm = LayerNorm | RMSNorm


@dataclass(frozen=True)
class OfHeads:
    """A norm of queries or keys with a scale (and a shift, if any) for each number of each head.

    Attributes:
        together: whether all heads of a token are normalised as one vector (OLMo 2, section 3.2),
            or each by itself (StableLM 2 12B).
    """

    norm: Norm
    together: bool
