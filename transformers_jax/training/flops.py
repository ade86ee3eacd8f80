"""FLOPs of training, from what a model is made of; and the share of a device's peak that is used.

    forward  = sum over products of 2 x (numbers in the matrix) x (tokens that meet it)
             + sum over attentions of 2 x heads x (key width + value width) x (edges of the mask)
    training = 3 x forward                  each product has two more in the backward pass

An edge that the mask forbids costs nothing: a causal row of T tokens has T (T + 1) / 2. Looking a
word up costs nothing, the unembedding does. Norms, softmax, activations and the optimizer are left
out, and what rematerialisation computes again is not counted: these are the FLOPs of the *model*.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.graph import Mask, sequence
from transformers_jax.models.base import Model
from transformers_jax.nn.embed import Embedder
from transformers_jax.nn.head import Head
from transformers_jax.nn.matrices import matrix_flops
from transformers_jax.nn.stack import Stack
from transformers_jax.nn.stages import Stages


@dataclass(frozen=True)
class Flops:
    """FLOPs of one row in one forward pass.

    Attributes:
        projections: products of tokens and parameters within stacks.
        attention: products of queries and keys, and of weights and values.
        unembedding: logits over the vocabulary.
        others: poolers, transforms and small heads.
    """

    projections: float
    attention: float
    unembedding: float
    others: float

    @property
    def forward(self) -> float:
        """Of a forward pass."""
        return self.projections + self.attention + self.unembedding + self.others

    @property
    def training(self) -> float:
        """Of a forward and a backward pass."""
        return 3 * self.forward


Length = int | Mapping[str, int]
"""Tokens of a row; where there are towers that do not read one another, those of each, by name."""


def flops_per_row(model: Model, length: Length, target_length: int | None = None) -> Flops:
    """What one row of `length` tokens costs (and, with two sides, a target of `target_length`).

    Raises:
        ValueError: a target length where there is one side, or none where there are two; towers
            with lengths of their own without a length of each.
    """
    name, two = type(model).__name__, model.is_encoder_decoder
    if model.has_separate_towers or isinstance(length, Mapping):
        return _of_towers(model, length)
    if two != (target_length is not None):
        raise ValueError(
            f"{name} has {'two sides' if two else 'one side'}: "
            f"{'give target_length as well' if two else 'target_length has no meaning'}"
        )
    if _has_latents(model):
        return _of_latents(model, length)
    target = length if target_length is None else target_length
    reading = model.reading  # of virtual tokens as much is computed as of others
    length, target = length + reading.source_virtual, target + reading.virtual
    length = length if two else target
    times = {"source": length, "target": target, "row": 1}
    applied = model.applied_to()
    return _counted(model, {path: times[applied[path]] for path in applied}, length)


def _of_towers(model: Any, lengths: Length) -> Flops:
    """The same of towers that do not read one another, and of a head that compares their rows."""
    named = getattr(model, "towers", {}) if model.has_separate_towers else {}
    if not named or not isinstance(lengths, Mapping) or {*lengths} != {*named}:
        expected = f"those of its towers, {{{', '.join(map(repr, named))}}}" if named else "one"
        raise ValueError(f"{type(model).__name__}: length is {lengths!r}; expected {expected}")
    applied, parts = model.applied_to(), list[Flops]()
    for name, tower in named.items():
        own = [path for path in type(tower).paths(name).values() if path in applied]
        times = {path: 1 if applied[path] == "row" else lengths[name] for path in own}
        parts.append(_counted(model, times, lengths[name]))
    parts.append(_counted(model, {"head": 1}, 1))
    return Flops(*(sum(values) for values in zip(*map(dataclasses.astuple, parts))))


def _has_latents(model: Any) -> bool:
    """Whether one tower reads the input, and all others are latents and queries (Perceiver)."""
    raw = [bool(tower.embed.raw) for tower in getattr(model, "towers", {}).values()]
    return len(raw) > 1 and sum(raw) == 1


def _of_latents(model: Any, length: int) -> Flops:
    """The same of towers whose tokens are as many however long the input is."""
    applied, tokens, parts = model.applied_to(), dict[str, int](), list[Flops]()
    for name, tower in model.towers.items():
        usual = tower.embed.tokens or tokens.get(tower.placed, length)
        tokens[name] = length if tower.embed.raw else usual
        own = [path for path in type(tower).paths(name).values() if path in applied]
        source = tokens.get(tower.source, length)
        parts.append(_counted(model, dict.fromkeys(own, tokens[name]), source))
    if model.head is not None:
        parts.append(_counted(model, {"head": tokens[name]}, length))
    return Flops(*(sum(values) for values in zip(*map(dataclasses.astuple, parts))))


def _counted(model: Model, times: Mapping[str, int], length: int) -> Flops:
    """Parts of a model, by attribute, each applied to so many tokens, with a source of `length`."""
    projections = attention = unembedding = others = 0.0
    for path, tokens in times.items():
        part = getattr(model, path)
        if isinstance(part, Stack):
            count: Any = _stages if isinstance(part, Stages) else _stack
            counted = count(part.spec, tokens, length)
            projections, attention = projections + counted[0], attention + counted[1]
        elif isinstance(part, Head):
            dense, logits = part.flops(tokens, model.output_words)
            others, unembedding = others + dense, unembedding + logits
        elif isinstance(part, Embedder):
            others += part.flops(tokens)
        else:
            others += tokens * matrix_flops(part)
    return Flops(projections, attention, unembedding, others)


def flops_per_step(
    model: Model, rows: int, length: Length, target_length: int | None = None
) -> float:
    """FLOPs of a training step over a batch of `rows` rows."""
    return rows * flops_per_row(model, length, target_length).training


def _stack(stack: spec.StackSpec, length: int, source: int) -> tuple[float, float]:
    """(projections, attention) of a forward pass over a row."""
    dense = along_edges = 0.0
    for block, times in Counter(stack.applied).items():
        for branch in block:
            keys = length if branch.source is None else source
            edges = functools.partial(_edges, length=length, keys=keys)
            width = stack.widths[branch.stream]
            projections, attention = branch.op.flops(width, length, keys, edges)
            if branch.residual is not None:
                projections += branch.residual.flops(width)
            dense, along_edges = dense + times * projections, along_edges + times * attention
    return dense, along_edges


def _stages(stages: spec.StagesSpec, length: int, source: int) -> tuple[float, float]:
    """The same of stages, over a grid of so many tokens that is as high as wide, or a single row
    where there is no such grid."""
    side = math.isqrt(length)
    size = (side, side) if side**2 == length else (1, length)
    dense = sum(op.flops(width, *on) for op, width, *on in stages.grid_ops(*size))
    along_edges = 0.0
    for stage in stages.stages:
        size = size if stage.enter is None else stage.enter.size(*size)
        if stage.stack is not None:
            counted = _stack(stage.stack, math.prod(size), source)
            dense, along_edges = dense + counted[0], along_edges + counted[1]
        size = size if stage.leave is None else stage.leave.size(*size)
    return dense, along_edges


def _edges(mask: Mask, length: int, keys: int, block: int = 1024) -> int:
    """How many edges a mask draws in a row that is one document without a prefix.

    Masks that read pairs of run time are counted as if those allowed every edge.
    """
    if mask.pairs:
        return length * keys
    names = mask.tags - {"index", "position"}
    tags_of: Any = lambda count: {name: np.zeros((1, count), np.int32) for name in names}
    sources = sequence(keys, tags=tags_of(keys))
    count = 0
    for start in range(0, length, block):
        size = min(block, length - start)
        queries = sequence(size, start=start, tags=tags_of(size))
        drawn = np.asarray(mask.edges(queries, sources, {}))[0]
        count += int(np.broadcast_to(drawn, (size, keys)).sum())
    return count


# ---------------------------------------------------------------- utilisation

PEAKS: tuple[tuple[str, float], ...] = (
    ("B200", 2.25e15),  # NVIDIA Blackwell datasheet, half of the sparse figure
    ("H200", 989e12),  # nvidia.com/data-center/h200: 1979 with sparsity
    ("H100 PCIE", 756e12),  # nvidia.com/data-center/h100: 1513 with sparsity
    ("H100 NVL", 835e12),  # the same page: 1671 with sparsity
    ("H100", 989e12),  # the same page, SXM: 1979 with sparsity
    ("GH200", 989e12),
    ("A100", 312e12),  # nvidia.com/data-center/a100
    ("L40S", 362e12),  # nvidia.com/data-center/l40s: 733 with sparsity, rounded
    ("L4", 121e12),  # nvidia.com/data-center/l4: 242 with sparsity
    ("A10G", 70e12),  # AWS' variant of the A10
    ("V100", 125e12),  # float16: it has no bfloat16
    ("T4", 65e12),  # float16
    ("TPU V6 LITE", 918e12),  # cloud.google.com/tpu/docs/v6e
    ("TPU V6E", 918e12),
    ("TPU V5 LITE", 197e12),  # cloud.google.com/tpu/docs/v5e
    ("TPU V5E", 197e12),
    ("TPU V5P", 459e12),  # cloud.google.com/tpu/docs/v5p
    ("TPU V5", 459e12),
    ("TPU V4", 275e12),  # cloud.google.com/tpu/docs/v4
)
"""Dense bfloat16 FLOP/s of a device by a part of its kind, from its maker's page; first match."""


def peak(device_kind: str) -> float | None:
    """Dense bfloat16 FLOP/s of a device (`jax.devices()[0].device_kind`); None if not known."""
    kind = device_kind.upper().replace("-", " ")
    words = f" {kind} "
    return next((value for name, value in PEAKS if f" {name} " in words), None)


def measured_peak(dtype: Any = "float32", size: int = 1536, seconds: float = 0.5) -> float:
    """FLOP/s of the best of several square products on the default device, with a result in
    float32: the peak of a CPU, whose maker names none."""
    a = jnp.ones((size, size), dtype)
    run = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32))
    jax.block_until_ready(run(a))
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(run(a))
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def utilisation(flops: float, seconds: float, peak: float | None, devices: int = 1) -> float | None:
    """Model FLOPs utilisation: the share of the devices' peak that a step of `flops` that takes
    `seconds` makes use of (Chowdhery et al. 2022, appendix B); None if the peak is not known."""
    return None if peak is None else flops / seconds / (peak * devices)
