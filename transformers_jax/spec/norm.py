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
