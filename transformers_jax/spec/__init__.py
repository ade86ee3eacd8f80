"""What a stack computes, in our own words: frozen descriptions into which every family translates.

One slot holds one value: a rotary position is `rotary=Rotary(base=1e4)`, never a flag beside a
number. Nothing here has parameters; `nn/` builds modules from these records. `Execution` is the
one record that says *how* a model is run, which changes speed and memory and never the result.
"""

from __future__ import annotations

from transformers_jax.spec.execution import (
    REMAT,
    Execution,
)
from transformers_jax.spec.initial import (
    ONES,
    ZEROS,
    Draw,
    Initial,
    InitialT5,
    InitialXavier,
    Sizes,
)
from transformers_jax.spec.layers import (
    Block,
    Branch,
    Summaries,
)
from transformers_jax.spec.norm import (
    LayerNorm,
    Norm,
    RMSNorm,
)
from transformers_jax.spec.operation import (
    OpFlops,
    OpSpec,
    ResidualSpec,
)
from transformers_jax.spec.position import (
    Additive,
    Alibi,
    Buckets,
    Counted,
    Disentangled,
    DynamicScaling,
    EdgeFeatures,
    Heads,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    RelativeTable,
    Rotary,
    Scaling,
    ScoreSpec,
    YarnScaling,
)
from transformers_jax.spec.stack import (
    Layout,
    Segment,
    StackSpec,
    masked_by_layer,
    segments_of,
)

__all__ = [
    "ONES",
    "REMAT",
    "ZEROS",
    "Additive",
    "Alibi",
    "Block",
    "Branch",
    "Buckets",
    "Counted",
    "Disentangled",
    "Draw",
    "DynamicScaling",
    "EdgeFeatures",
    "Execution",
    "Heads",
    "Initial",
    "InitialT5",
    "InitialXavier",
    "LayerNorm",
    "Layout",
    "LinearScaling",
    "Llama3Scaling",
    "LongScaling",
    "Norm",
    "OpFlops",
    "OpSpec",
    "RMSNorm",
    "RelativeTable",
    "ResidualSpec",
    "Rotary",
    "Scaling",
    "ScoreSpec",
    "Segment",
    "Sizes",
    "StackSpec",
    "Summaries",
    "YarnScaling",
    "masked_by_layer",
    "segments_of",
]
