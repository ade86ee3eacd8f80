"""Position, in three hooks that are the identity by default.

    embed    added to the embedding: learned tables, sinusoids      (in embed.py and sinusoidal.py)
    rotate   queries and keys, before their product                 (here: `rotation`, `rotate`)
    score    added to the scaled product                            (here: score rules)

Nothing here is ever a T x S array: score rules are called with whole arrays or with one tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int, Key, wide
from transformers_jax.graph import Nodes
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.attend.linear import KernelRule
from transformers_jax.nn.disentangled import Disentangled, RelativeTable
from transformers_jax.nn.edge_scores import AdditiveRule, EdgeRule
from transformers_jax.nn.grid_bias import GridBias, grid_of
from transformers_jax.nn.param import param

PLACES = np.uint32(2**32 - 1)
"""What the key of a stack has folded in for the noise of places: no layer has this number."""

# ---------------------------------------------------------------- rotate


def rotation(
    rotary: spec.Rotary, width: int, nodes: Nodes, key: Key | None = None
) -> tuple[Float[Array, "b T R/2"], Float[Array, "b T R/2"]]:
    """Cosines and sines that rotate R of the `width` numbers of a head at each node; with noise, if
    the positions have any, where there is a key."""
    if isinstance(rotary, spec.GridRotary):
        return grid_rotation(rotary, width, nodes, key)
    position = nodes.position
    dim = int(width * rotary.fraction)
    frequency = _frequencies(rotary, dim, position)
    angle = jnp.asarray(position, jnp.float32)[..., None] * frequency
    factor = _attention_factor(rotary.scaling)
    return jnp.cos(angle) * factor, jnp.sin(angle) * factor


def grid_rotation(
    rotary: spec.GridRotary, width: int, nodes: Nodes, key: Key | None = None
) -> tuple[Float[Array, "b T K/2"], Float[Array, "b T K/2"]]:
    """Cosines and sines of patches, by the places of their centres; of other tokens 1 and 0."""
    places = jnp.stack([jnp.asarray(nodes.tag(name)) for name in ("row", "column")], -1)
    center = 2 * (places + 0.5) / np.array(grid_of(nodes), np.float32) - 1
    center = _augmented(rotary, center.astype(jnp.float32), key)
    frequency = rotary.base ** -np.arange(0, 1, 4 / width, dtype=np.float32)
    angle = 2 * np.float32(np.pi) * center[..., None] * frequency
    angle = jnp.where(places[..., :1, None] < 0, 0, angle).reshape(*places.shape[:2], -1)
    return jnp.cos(angle), jnp.sin(angle)


def _augmented(
    rotary: spec.GridRotary, center: Float[Array, "b T 2"], key: Key | None
) -> Float[Array, "b T 2"]:
    """Places that are shifted and stretched by chance, alike for all images of a call."""
    if key is None:
        return center
    keys = jax.random.split(jax.random.fold_in(key, PLACES), 3)
    draw = lambda n, count, most: jax.random.uniform(keys[n], (count,), jnp.float32, -most, most)
    if rotary.shift is not None:
        center = center + draw(0, 2, rotary.shift)
    if rotary.jitter is not None:
        center = center * jnp.exp(draw(1, 2, math.log(rotary.jitter)))
    if rotary.rescale is not None:
        center = center * jnp.exp(draw(2, 1, math.log(rotary.rescale)))
    return center


def rotate(
    x: Float[Array, "B T H K"], rotation: tuple[Array, Array], interleaved: bool = False
) -> Float[Array, "B T H K"]:
    """Each pair (i, i + R/2), or (2i, 2i + 1), of the first R numbers of a head, rotated, in
    float32."""
    cos, sin = (x[:, :, None, :] for x in rotation)
    half = cos.shape[-1]
    part, rest = x[..., : 2 * half], x[..., 2 * half :]
    if interleaved:
        a, b = part[..., 0::2], part[..., 1::2]
    else:
        a, b = part[..., :half], part[..., half:]
    a, b = a.astype(wide(x)), b.astype(wide(x))
    pair = a * cos - b * sin, b * cos + a * sin
    rotated = jnp.stack(pair, -1).reshape(part.shape) if interleaved else jnp.concatenate(pair, -1)
    rotated = rotated.astype(x.dtype)
    return jnp.concatenate([rotated, rest], -1) if rest.shape[-1] else rotated


def _frequencies(rotary: spec.Rotary, dim: int, position: Array) -> Array | np.ndarray:
    """Radians per position of each pair, after scaling."""
    if rotary.frequencies is not None:
        return np.array(rotary.frequencies, np.float32)
    exponent = np.arange(0, dim, 2, dtype=np.float64) / dim
    frequency = (1.0 / rotary.base**exponent).astype(np.float32)
    scaling = rotary.scaling
    if scaling is None:
        return frequency
    if isinstance(scaling, spec.LinearScaling):
        return frequency / np.float32(scaling.factor)
    if isinstance(scaling, spec.Llama3Scaling):
        return _llama3(scaling, frequency)
    if isinstance(scaling, spec.YarnScaling):
        return _yarn(scaling, rotary.base, dim, frequency)
    if isinstance(scaling, spec.LongScaling):
        beyond = jnp.max(jnp.asarray(position)) + 1 > scaling.original
        short, long = (np.asarray(f, np.float32) for f in (scaling.short, scaling.long))
        return frequency / jnp.where(beyond, long, short)
    # Dynamic: the longest row of the batch decides, once it is longer than the model was trained.
    length = jnp.maximum(jnp.max(jnp.asarray(position)) + 1, scaling.original).astype(jnp.float32)
    stretch = scaling.factor * length / scaling.original - (scaling.factor - 1)
    base = rotary.base * stretch ** (dim / (dim - 2))
    return 1.0 / base ** exponent.astype(np.float32)


def _llama3(scaling: spec.Llama3Scaling, frequency: np.ndarray) -> np.ndarray:
    wavelength = 2 * np.pi / frequency
    blend = (scaling.original / wavelength - scaling.low) / (scaling.high - scaling.low)
    blend = np.clip(blend, 0.0, 1.0)  # 0: a long one, divided; 1: a short one, as it is
    return ((1 - blend) * frequency / scaling.factor + blend * frequency).astype(np.float32)


def _yarn(scaling: spec.YarnScaling, base: float, dim: int, frequency: np.ndarray) -> np.ndarray:
    def pair_of_rotations(times: float) -> float:
        """The pair that makes so many full rotations within the original length."""
        return dim * math.log(scaling.original / (times * 2 * math.pi)) / (2 * math.log(base))

    low, high = pair_of_rotations(scaling.beta_fast), pair_of_rotations(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    ramp = (np.arange(dim // 2) - low) / (max(high - low, 0.001))
    keep = 1 - np.clip(ramp, 0.0, 1.0)
    return (frequency / scaling.factor * (1 - keep) + frequency * keep).astype(np.float32)


def _attention_factor(scaling: spec.Scaling | None) -> float:
    """YaRN's factor on both queries and keys (Peng et al. 2023, equation 22)."""
    if isinstance(scaling, spec.LongScaling):
        return scaling.attention_factor
    if not isinstance(scaling, spec.YarnScaling):
        return 1.0
    if scaling.attention_factor is not None:
        return scaling.attention_factor

    def mscale(weight: float) -> float:
        return 1.0 if scaling.factor <= 1 else 0.1 * weight * math.log(scaling.factor) + 1.0

    if scaling.mscale and scaling.mscale_all_dim:
        return mscale(scaling.mscale) / mscale(scaling.mscale_all_dim)
    return mscale(1.0)


# ---------------------------------------------------------------- score


def bucket(
    distance: Int[Array, "..."], buckets: int, far: int, directed: bool
) -> Int[Array, "..."]:
    """T5's bucket of a distance (key minus query): exact when near, logarithmic up to `far`."""
    offset: Array | int = 0
    if directed:
        distance = -jnp.minimum(distance, 0)
    else:
        buckets //= 2
        offset = jnp.where(distance > 0, buckets, 0)
        distance = jnp.abs(distance)
    near = buckets // 2
    ratio = jnp.maximum(distance, 1).astype(jnp.float32) / near
    # The same order of float32 operations as the reference: at bucket edges the last bit decides.
    steps = jnp.log(ratio) / math.log(far / near) * (buckets - near)
    logarithmic = jnp.minimum(near + steps.astype(jnp.int32), buckets - 1)
    return offset + jnp.where(distance < near, distance, logarithmic)


@dataclass(frozen=True)
class BucketRule(ScoreRule):
    """score[h, t, s] = table[bucket(s - t), h]; for a summary s, another table's entry for the
    distance from the block of t."""

    position: spec.Buckets

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs):
        score = self._of(params["table"], "index", qn, kn)
        if "summaries" in params:
            of_blocks = self._of(params["summaries"], "block", qn, kn)
            score = jnp.where(kn.tag("summary")[:, None, None, :] > 0, of_blocks, score)
        return score

    def _of(self, table: Array, tag: str, qn: Nodes, kn: Nodes) -> Float[Array, "b H t s"]:
        p = self.position
        distance = kn.tag(tag)[:, None, :] - qn.tag(tag)[:, :, None]
        rows = bucket(distance, p.buckets, p.far, p.directed)
        return jnp.moveaxis(jnp.take(table, rows, axis=0), -1, 1)


@dataclass(frozen=True)
class AlibiRule(ScoreRule):
    """score[h, t, s] = -slope[h] * |position of t - position of s|, slopes 2^(-8/H), 2^(-16/H), ...

    Where H is no power of two, the slopes are those of the next smaller one, then every other slope
    of the next larger one (Press et al. 2021, their code).
    """

    alibi: spec.Alibi = spec.Alibi()

    @staticmethod
    def slopes(heads: int) -> np.ndarray:
        power = 2 ** math.floor(math.log2(heads))
        slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
        slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(heads - power)]
        return np.array(slopes, np.float32)

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs):
        slopes, alibi = self.slopes(q.shape[2])[:, None], self.alibi
        if alibi.rounded:  # products with each position, not with their distance
            of_query, of_key = (
                self._product(slopes, n.position[:, None, :])[..., None] for n in (qn, kn)
            )
            bias = of_query - jnp.swapaxes(of_key, -1, -2)
        else:
            gap = qn.position[:, :, None] - kn.position[:, None, :]
            bias = slopes[:, None] * gap[:, None].astype(jnp.float32)
        return -alibi.scale * (bias if alibi.signed else jnp.abs(bias))

    @staticmethod
    def _product(slopes: np.ndarray, position: Int[Array, "b 1 T"]) -> Float[Array, "b H T"]:
        """The products as a machine makes them that rounds all numbers to bfloat16."""
        bfloat16 = lambda x: jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
        return bfloat16(bfloat16(jnp.asarray(slopes)) * bfloat16(position.astype(jnp.float32)))


@dataclass(frozen=True)
class CountedRule(ScoreRule):
    """score[h, t, s] = log(times), where the tags of query t and key s are above 0."""

    counted: spec.Counted

    def __call__(self, params, q, k, qn: Nodes, kn: Nodes, pairs):
        queries, keys = qn.tag(self.counted.query) > 0, kn.tag(self.counted.key) > 0
        both = queries[:, None, :, None] & keys[:, None, None, :]
        return jnp.where(both, math.log(self.counted.times), 0.0)


class RuleScore(nnx.Module):
    """The parameters of a score rule, those of a stack or of one layer."""

    def __init__(self, rule: ScoreRule, **parameters: nnx.Param):
        self.rule, self.names = rule, tuple(parameters)
        for name, parameter in parameters.items():
            setattr(self, name, parameter)

    def __call__(
        self,
        shared: Any = None,
        attention: Any = None,
        key: Key | None = None,
        nodes: Nodes | None = None,
    ) -> Score:
        """The score; that of a layer may read the result of the stack's, and the layer."""
        params = {name: getattr(self, name)[...] for name in self.names}
        return Score(self.rule, {name: array.astype(wide(array)) for name, array in params.items()})


def score_module(
    score: spec.ScoreSpec, attention: spec.OpSpec | None, width: int, initial: spec.Initial
) -> nnx.Module:
    """The module of a score's parameters; `attention` is that of the layer, or of the stack's first
    layer, or None where there is none."""
    match score:
        case spec.OwnScore():
            return score.build(attention, initial)
        case spec.RelativeTable():
            return RelativeTable(score, width, initial)
        case spec.GridBias():
            return GridBias(score)
        case spec.Alibi():
            return RuleScore(AlibiRule(score))
        case spec.Counted():
            return RuleScore(CountedRule(score))
        case spec.Kernel():
            return RuleScore(KernelRule())
    assert attention is not None  # all others are shaped by its heads
    sizes = {"embed": width, "heads": attention.heads, "kv": attention.kv}

    def table(role: str, axes: str, **more: int) -> nnx.Param:
        return param(axes, {**sizes, **more}, initial.draw(role, {**sizes, **more}))

    match score:
        case spec.Disentangled():
            return Disentangled(score, attention, width, initial)
        case spec.Additive():
            made = {"vector": table("score", "heads kv")}
            if score.features is not None:
                made["edges"] = table("edges", "features heads kv", features=score.features[1])
            return RuleScore(AdditiveRule(score), **made)
        case spec.EdgeFeatures(size=size):
            weight = table("edges", "features heads", features=size)
            return RuleScore(EdgeRule(score), weight=weight)
    names = ("table", "summaries") if score.summaries else ("table",)
    rows = score.rows or score.buckets
    tables = {name: table("buckets", "buckets heads", buckets=rows) for name in names}
    return RuleScore(BucketRule(score), **tables)
