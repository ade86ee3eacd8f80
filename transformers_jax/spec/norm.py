"""Norms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerNorm:
    """(x - mean) / sqrt(variance + eps) * scale + shift (Ba et al. 2016)."""

    eps: float = 1e-5
    shift: bool = True


@dataclass(frozen=True)
class RMSNorm:
    """x / sqrt(mean square + eps) * scale (Zhang and Sennrich 2019)."""

    eps: float = 1e-6


Norm = LayerNorm | RMSNorm
