"""Swin Transformer V2 (Liu et al. 2022): cosines as scores, positions from a small network in
logarithmic coordinates, norms behind the operations. Hugging Face model_type "swinv2"."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, wide
from transformers_jax.models.shared.class_names import IMAGE, heads_of
from transformers_jax.models.swin import L, SwinConfig
from transformers_jax.models.wiring.grid import TokenMaps
from transformers_jax.nn.attend import Score
from transformers_jax.nn.embed import pair
from transformers_jax.nn.image.windows import GridRule, WindowAttention, WindowSpec
from transformers_jax.nn.norm import unit
from transformers_jax.nn.param import add, contract, param

HIGHEST = math.log(100)  # of the logarithm of the scale (section 3.2: tau is at least 0.01)
STEEPNESS, INNER = 16, 512  # the greatest bias, and the width of the network (released code)


@dataclass(frozen=True)
class ContinuousBias(spec.OwnScore):
    """16 sigmoid(W relu(V (sign(d) log(1 + |d|)) + b)) of the distances of rows and columns, d, in
    units of an eighth of the window (section 3.3)."""

    window: int
    pretrained: int = 0

    def build(self, attention, initial):
        return ContinuousBiasScore(self, attention.heads, initial)

    @property
    def coordinates(self) -> Float[np.ndarray, "N 2"]:
        """The logarithmic coordinates of all distances within a window."""
        span = (self.pretrained or self.window) - 1
        distance = np.arange(1 - self.window, self.window) / max(span, 1) * 8
        scaled = np.sign(distance) * np.log2(np.abs(distance) + 1) / math.log2(8)
        pairs = np.stack(np.meshgrid(scaled, scaled, indexing="ij"), -1)
        return pairs.reshape(-1, 2).astype(np.float32)


class ContinuousBiasScore(nnx.Module):
    """See `ContinuousBias`."""

    def __init__(self, bias: ContinuousBias, heads: int, initial: spec.Initial):
        self.spec = bias
        sizes = {"coordinates": 2, "mlp": INNER, "heads": heads}
        self.up = param("coordinates mlp", sizes, initial.draw("bias", sizes))
        self.up_bias = param("mlp", sizes, spec.ZEROS)
        self.down = param("mlp heads", sizes, initial.draw("bias", sizes))

    def __call__(
        self, shared: Any = None, attention: Any = None, key: Any = None, nodes: Any = None
    ) -> Score:
        x = self.spec.coordinates.astype(wide(self.up[...]))
        x = jax.nn.relu(add(contract("nc,cf->nf", jnp.asarray(x), self.up), self.up_bias))
        table = STEEPNESS * jax.nn.sigmoid(contract("nf,fh->nh", x, self.down))
        return Score(GridRule(self.spec.window), {"table": table})


@dataclass(frozen=True)
class CosineSpec(WindowSpec):
    """Attention within windows whose scores are cosines, times a learned number for each head."""

    def build(self, width, initial, source=None):
        return CosineAttention(self, width, initial)

    def describe(self):
        return f"{super().describe()}, cosines"


class CosineAttention(WindowAttention):
    """See `CosineSpec` (section 3.2)."""

    def __init__(self, op: CosineSpec, width: int, initial: spec.Initial):
        super().__init__(op, width, initial)
        self.log_scale = param("heads", {"heads": op.heads}, spec.Draw("constant", math.log(10)))

    def queries(self, x, rotation=None) -> Float[Array, "B T H K"]:
        scale = jnp.exp(jnp.minimum(self.log_scale[...], HIGHEST))[:, None]
        return unit(super().queries(x, rotation)) * scale.astype(x.dtype)

    def keys_of(self, source, rotation=None) -> Float[Array, "B S G K"]:
        return unit(super().keys_of(source, rotation))


@dataclass(frozen=True, kw_only=True)
class Swinv2Config(SwinConfig):
    """The fields of a Swin V2 config.json; defaults are Swin V2-T (28M) but for its window."""

    model_type = "swinv2"
    PREFIX = "swinv2."
    MAPS = TokenMaps
    MAP_NORM = None
    ALIASES = ()
    IGNORE = ("*.relative_position_index", "*.relative_coords_table")
    HEADS = heads_of("Swinv2", *IMAGE, "backbone")
    FIXED: ClassVar[dict[str, Any]] = {"use_absolute_embeddings": False}  # PyTorch's fail
    use_absolute_embeddings: ClassVar[bool] = False

    pretrained_window_sizes: tuple[int, ...] = (0, 0, 0, 0)

    def attend(self, number, displaced):
        image, patch = pair(self.image_size), pair(self.patch_size)
        rows = image[0] // patch[0] // 2**number
        window = min(rows, self.window_size)
        one, known = super().attend(number, displaced), self.pretrained_window_sizes
        given = {field.name: getattr(one, field.name) for field in fields(one)}
        changes = dict(
            window=window,
            shift=one.shift if rows > window else 0,
            clamped=False,
            scale=1.0,
            bias=tuple(name for name in one.bias if name != "key"),
            score=ContinuousBias(window, known[number] if number < len(known) else 0),
        )
        return CosineSpec(**{**given, **changes})

    def block(self, number, displaced):
        attend, ffn = super().block(number, displaced)
        rate = self.attention_probs_dropout_prob  # also of what leaves the heads
        return replace(attend, placement="behind", dropout=rate), replace(ffn, placement="behind")

    def described(self, head):
        spec = super().described(head)
        return replace(spec, final_norm=None) if head == "backbone" else spec

    def merge(self, width):
        return replace(super().merge(width), behind=True)

    def stage_rows(self, ours):
        table = "\n".join(
            line for line in super().stage_rows(ours).splitlines() if "bias_table" not in line
        )
        theirs, inner = f"{L}.attention.self", "continuous_position_bias_mlp"
        return f"""{table}
{theirs}.logit_scale | {ours}.self.log_scale | h 1 1 -> h
{theirs}.{inner}.0.weight | {ours}.self.score.up | f c -> c f
{theirs}.{inner}.0.bias | {ours}.self.score.up_bias
{theirs}.{inner}.2.weight | {ours}.self.score.down | h f -> f h
"""
