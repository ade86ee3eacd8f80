"""What a stack computes: frozen descriptions into which every family is translated.

One slot holds one value: a rotary position is `rotary=Rotary(base=1e4)`, never a flag and a
number. Nothing here has parameters; `nn/` builds modules from these records. `Execution` is the
one record that says *how* a model is run, which changes speed and memory and never the result.
"""

from __future__ import annotations

from transformers_jax.spec.execution import REMAT as REMAT
from transformers_jax.spec.execution import Execution as Execution
from transformers_jax.spec.initial import ONES as ONES
from transformers_jax.spec.initial import ZEROS as ZEROS
from transformers_jax.spec.initial import Draw as Draw
from transformers_jax.spec.initial import Initial as Initial
from transformers_jax.spec.initial import InitialT5 as InitialT5
from transformers_jax.spec.initial import InitialXavier as InitialXavier
from transformers_jax.spec.initial import Sizes as Sizes
from transformers_jax.spec.layers import TOKENS as TOKENS
from transformers_jax.spec.layers import Block as Block
from transformers_jax.spec.layers import Branch as Branch
from transformers_jax.spec.layers import Recurrence as Recurrence
from transformers_jax.spec.layers import Summaries as Summaries
from transformers_jax.spec.norm import LayerNorm as LayerNorm
from transformers_jax.spec.norm import Norm as Norm
from transformers_jax.spec.norm import OfHeads as OfHeads
from transformers_jax.spec.norm import RMSNorm as RMSNorm
from transformers_jax.spec.operation import OpFlops as OpFlops
from transformers_jax.spec.operation import OpSpec as OpSpec
from transformers_jax.spec.operation import ResidualSpec as ResidualSpec
from transformers_jax.spec.position import Additive as Additive
from transformers_jax.spec.position import Alibi as Alibi
from transformers_jax.spec.position import Buckets as Buckets
from transformers_jax.spec.position import Counted as Counted
from transformers_jax.spec.position import Disentangled as Disentangled
from transformers_jax.spec.position import DynamicScaling as DynamicScaling
from transformers_jax.spec.position import EdgeFeatures as EdgeFeatures
from transformers_jax.spec.position import GridBias as GridBias
from transformers_jax.spec.position import GridRotary as GridRotary
from transformers_jax.spec.position import Kernel as Kernel
from transformers_jax.spec.position import LinearScaling as LinearScaling
from transformers_jax.spec.position import Llama3Scaling as Llama3Scaling
from transformers_jax.spec.position import LongScaling as LongScaling
from transformers_jax.spec.position import OwnScore as OwnScore
from transformers_jax.spec.position import RelativeTable as RelativeTable
from transformers_jax.spec.position import Rotary as Rotary
from transformers_jax.spec.position import Scaling as Scaling
from transformers_jax.spec.position import ScoreSpec as ScoreSpec
from transformers_jax.spec.position import YarnScaling as YarnScaling
from transformers_jax.spec.stack import Layout as Layout
from transformers_jax.spec.stack import Segment as Segment
from transformers_jax.spec.stack import StackSpec as StackSpec
from transformers_jax.spec.stack import masked_by_layer as masked_by_layer
from transformers_jax.spec.stack import segments_of as segments_of
from transformers_jax.spec.stages import GridOpSpec as GridOpSpec
from transformers_jax.spec.stages import Stage as Stage
from transformers_jax.spec.stages import StagesSpec as StagesSpec
from transformers_jax.spec.stages import before_merging as before_merging
from transformers_jax.spec.stages import with_drop_path as with_drop_path
from transformers_jax.spec.stages import with_ops as with_ops
