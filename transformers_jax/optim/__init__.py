"""Optimizers, from frozen records to optax; each is applied to one layer's matrices.

    AdamW(peak=6e-4, schedule=Cosine(warmup=2000)).build(axes(model), steps) -> Optimizer

records.py     AdamW, Adafactor, Lion, Muon, ScheduleFreeAdamW
schedules.py   Cosine, Linear, WSD, InverseRoot, Constant: the learning rate over the steps
leaves.py      what is known of one parameter: its sides, its decay, its rate, whether it is frozen
layers.py      optax's rules of one matrix, for parameters with a matrix per layer
transform.py   decay, rates, averages and what is frozen, around a rule of optax
"""

from transformers_jax.optim.layers import per_layer as per_layer
from transformers_jax.optim.layers import state_axes as state_axes
from transformers_jax.optim.leaves import matrices as matrices
from transformers_jax.optim.records import Adafactor as Adafactor
from transformers_jax.optim.records import AdamW as AdamW
from transformers_jax.optim.records import Lion as Lion
from transformers_jax.optim.records import Muon as Muon
from transformers_jax.optim.records import Optimization as Optimization
from transformers_jax.optim.records import ScheduleFreeAdamW as ScheduleFreeAdamW
from transformers_jax.optim.schedules import WSD as WSD
from transformers_jax.optim.schedules import Constant as Constant
from transformers_jax.optim.schedules import Cosine as Cosine
from transformers_jax.optim.schedules import InverseRoot as InverseRoot
from transformers_jax.optim.schedules import Linear as Linear
from transformers_jax.optim.schedules import Schedule as Schedule
from transformers_jax.optim.transform import Optimizer as Optimizer
from transformers_jax.optim.transform import without_frozen as without_frozen

OPTIMIZERS: dict[str, type[Optimization]] = {
    record.__name__: record for record in (AdamW, Adafactor, Lion, Muon, ScheduleFreeAdamW)
}
"""The records of optimizers, by name."""

SCHEDULES: dict[str, type[Schedule]] = {
    record.__name__: record for record in (Cosine, Linear, WSD, InverseRoot, Constant)
}
"""The records of schedules, by name."""
