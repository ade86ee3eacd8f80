"""The hidden states of one layer: the layers above it are not computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx

from transformers_jax.arrays import Array, Float
from transformers_jax.models.base import Model, by_name, check_model
from transformers_jax.models.output import Output
from transformers_jax.models.wiring import Network
from transformers_jax.nn.layers import unstack
from transformers_jax.nn.param import bind, mixed, params
from transformers_jax.nn.pooling import Pooling, pool
from transformers_jax.nn.stack import Stack
from transformers_jax.nn.stages import Stages


def features(
    model: Model,
    input_ids: Any = None,
    *,
    layer: int | Sequence[int] = -1,
    pooling: str | None = None,
    **inputs: Any,
) -> Float[Array, "B T D"] | tuple[Float[Array, "B T D"], ...]:
    """What `output_hidden_states=True` would give at `layer`, by running that many layers only.

    Args:
        layer: 0 is what goes into the first layer, -1 what leaves the last (and the final norm);
            several layers give a tuple, in their order. Of an encoder-decoder, the encoder's.
        pooling: a vector per row, Float[B D], instead of one per token: "mean", "cls", "max",
            "mean_sqrt_len_tokens", "weightedmean" or "lasttoken", over what `attention_mask` keeps.
        inputs: as of the model (of an encoder-decoder: of its encoder).

    Raises:
        ValueError: a layer that there is not, an unknown pooling, a model of several stacks, and
            inputs that the model would refuse.
    """
    check_model(model, "features")
    towers = model.towers if isinstance(model, Network) else {}
    name = next((name for name in ("stack", "encoder") if name in towers), "")
    if not name:
        raise ValueError(
            f"{type(model).__name__} has the stacks {', '.join(model.stacks()) or '(none)'}; "
            "features are of models with one, or with an encoder"
        )
    depth = towers[name].stack.spec.depth
    one = not isinstance(layer, Iterable)
    layers: tuple[Any, ...] = tuple(layer) if isinstance(layer, Iterable) else (layer,)
    fits = lambda n: isinstance(n, (int, np.integer)) and -depth - 1 <= n <= depth
    if not layers or not all(map(fits, layers)):
        came = next((repr(n) for n in layers if not fits(n)), "none")
        raise ValueError(
            f"layer {came}: there are 0 (the embeddings) to {depth}, or -1 to {-depth - 1} from "
            "the end"
        )
    below = LayersBelow(model, name)
    below.layers = tuple(int(n) % (depth + 1) for n in layers)
    below.pooling = None if pooling is None else Pooling(mode=pooling)
    arguments = inputs if input_ids is None else {"input_ids": input_ids, **inputs}
    states = below.call("forward", **arguments).hidden_states
    return states[0] if one else states


class LayersBelow(Network):
    """One tower of a model, without pooler and head, of which a call computes the hidden states of
    some layers only; arrays are shared."""

    layers: tuple[int, ...]
    pooling: Pooling | None

    def __init__(self, model: Any, name: str, stack: Stack | None = None):
        tower = model.towers[name]
        parts = {"stack": tower.stack if stack is None else stack, "pooler": None, "project": None}
        super().__init__({"stack": replace(tower, **parts)})
        self.plan = model.plan

    @by_name
    def forward(self, **inputs: Any) -> Output:
        last, several = max(self.layers), len(set(self.layers)) > 1
        lower = LayersBelow(self, "stack", shallow(self.towers["stack"].stack, last))
        out = Network.forward(lower, **inputs, output_hidden_states=several)
        states = [out.hidden_states[n] if several else out.last_hidden_state for n in self.layers]
        if self.pooling is not None:
            valid = inputs.get("attention_mask")
            valid = None if valid is None else valid > 0
            states = [pool(x, self.pooling, valid) for x in states]
        return Output(hidden_states=tuple(states))


def shallow(stack: Stack, count: int) -> Stack:
    """The first `count` layers of a stack, as a list, or stages; its final norm only if these are
    all."""
    if isinstance(stack, Stages):
        return stack.first(count)
    own, execution = stack.spec, replace(stack.execution, layers="list")
    values = params(stack) if stack.execution.layers == "list" else unstack(params(stack), own)
    cut = Stack(own, execution)
    cut = bind(mixed(cut) if execution.compute == "mixed" else cut, values)
    if count == own.depth:
        return cut
    cut.norm = None
    if own.order and count:
        cut.spec = replace(own, order=own.order[:count])
    else:
        cut.spec = replace(own, order=())
        cut.blocks = nnx.List(list(cut.blocks)[:count])
    return cut
