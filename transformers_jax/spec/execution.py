"""How a model is run, as opposed to what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transformers_jax.arrays import to_dtype

ENGINES = ("reference", "tiled", "xla", "cudnn", "pallas", "edges", "linear")
"""The engines of attention, `nn/attend/`."""
REMAT = (
    "full",
    "dots",
    "attention",
    "ffn",
    "nothing_saveable",
    "everything_saveable",
    "dots_saveable",
    "checkpoint_dots",
    "dots_with_no_batch_dims_saveable",
    "checkpoint_dots_with_no_batch_dims",
)
"""What may be recomputed in the backward pass; beyond the first four, jax.checkpoint_policies."""


@dataclass(frozen=True)
class Execution:
    """How a model is run, as opposed to what it computes (without a key, at least).

    Attributes:
        attention: backend of `attend`, or "auto".
        layers: "stacked" parameters have a leading layers axis; with "list" each layer has its own
            tree, which is faster in decoding loops.
        unroll: whether stacked layers are unrolled inside the trace (faster steps on a CPU)
            or scanned (compile time independent of depth); None chooses by platform.
        remat: what the backward pass recomputes: None (nothing), "full" (each block), "dots"
            (all but products of activations and parameters), "attention" or "ffn" (those branches
            alone), or the name of one of jax.checkpoint_policies, which says what of a block is
            stored. On a CPU memory is saved only where layers are scanned (`unroll=False`).
        compute: dtype of activations; None means that of the parameters; "mixed" means float32,
            with products of activations and parameters made from bfloat16 operands, forward and
            backward (1.6 times faster steps on CPUs with AVX-512-bf16).
        drop_path: stochastic depth (Huang et al. 2016): with a key, each row leaves out a branch
            of layer l of L (from 1) with probability drop_path * l / L.
    """

    attention: str = "auto"
    layers: Literal["stacked", "list"] = "stacked"
    unroll: bool | None = None
    remat: str | None = None
    compute: str | None = None
    drop_path: float = 0.0

    def __post_init__(self):
        for name, value, options in (
            ("attention", self.attention, ("auto", *ENGINES)),
            ("unroll", self.unroll, (None, True, False)),
            ("layers", self.layers, ("stacked", "list")),
            ("remat", self.remat, (None, *REMAT)),
        ):
            if value not in options:
                raise ValueError(f"{name}={value!r}: expected one of {options}")
        if self.compute not in (None, "mixed"):
            to_dtype(self.compute)
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path ({self.drop_path}) must lie in [0, 1)")
