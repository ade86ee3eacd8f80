"""Attention to other tokens, which are normalised before keys and values are computed."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax import spec
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.norm import Norm


@dataclass(frozen=True)
class NormedSourceSpec(AttentionSpec):
    """The attention of a Perceiver to its source (Jaegle et al. 2021, section 3.1).

    Attributes:
        source_norm: of the source; that of the stream is the branch's.
    """

    source_norm: spec.Norm = spec.LayerNorm()

    def build(self, width: int, initial: spec.Initial, source: str | None = None) -> NormedSource:
        return NormedSource(self, width, initial, source)


class NormedSource(Attention):
    """See `NormedSourceSpec`."""

    def __init__(
        self,
        attention: NormedSourceSpec,
        width: int,
        initial: spec.Initial | None = None,
        source: str | None = None,
    ):
        super().__init__(attention, width, initial, source)
        self.source_norm = Norm(attention.source_norm, attention.source or width)

    def project(self, source, rotation=None):
        return super().project(self.source_norm(source), rotation)
