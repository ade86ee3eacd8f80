"""The embedder of noisy images: their patches, and what the layers are conditioned on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Int
from transformers_jax.inputs import checks
from transformers_jax.nn.affine import affine
from transformers_jax.nn.embed.base import Tokens
from transformers_jax.nn.embed.patches import PatchEmbedder, PatchSpec
from transformers_jax.nn.param import param
from transformers_jax.nn.sinusoidal import Sinusoids, grid_sinusoids, sinusoids, unsigned

TIME = 256  # sines and cosines of a timestep
TIMES = Sinusoids(halves=True, closed=True)


@dataclass(frozen=True)
class ConditionSpec:
    """What layers know of a noisy image: how noisy it is, and its class (Peebles and Xie 2022, DiT,
    section 3.2).

    Attributes:
        layers: L, how many layers there are, each of which has embeddings of its own.
        classes: how many there are; the number behind the last one stands for no class.
        width: E, of the condition.
    """

    layers: int
    classes: int
    width: int
    initial: spec.Initial = spec.Initial()


class Condition(nnx.Module):
    """The sum of the embeddings of a timestep, an MLP of its sines and cosines, and of a class, for
    each layer."""

    def __init__(self, condition: ConditionSpec):
        self.spec = condition
        sizes = {"layers": condition.layers, "inner": TIME, "embed": condition.width}
        sizes |= {"mlp": condition.width, "type": condition.classes + 1}

        def learned(axes: str, role: str) -> nnx.Param:
            return param(axes, sizes, condition.initial.draw(role, sizes))

        self.time_up = learned("layers inner mlp", "time")
        self.time_up_bias = param("layers mlp", sizes, spec.ZEROS)
        self.time_down = learned("layers mlp embed", "time")
        self.time_down_bias = param("layers embed", sizes, spec.ZEROS)
        self.classes = learned("layers type embed", "table")

    def __call__(
        self, timestep: Int[Array, " B"], labels: Int[Array, " B"], dtype: jnp.dtype
    ) -> Float[Array, "L B E"]:
        waves = sinusoids(TIMES, TIME, timestep)
        sine, cosine = jnp.split(waves, 2, axis=-1)
        waves = jnp.concatenate([cosine, sine], axis=-1).astype(dtype)
        hidden = affine("bi,lim->lbm", waves, self.time_up, None) + self._wide(
            self.time_up_bias, dtype
        )
        time = affine("lbm,lme->lbe", jax.nn.silu(hidden), self.time_down, None)
        table = self.classes[...].astype(dtype)
        known = jnp.take(table, unsigned(labels), axis=1, mode="fill", fill_value=jnp.nan)
        return time + self._wide(self.time_down_bias, dtype) + known

    @staticmethod
    def _wide(bias: nnx.Param, dtype: jnp.dtype) -> Float[Array, "L 1 E"]:
        return bias[...][:, None].astype(dtype)


class NoisyImageEmbedder(PatchEmbedder):
    """The patches of images `hidden_states` [B C H W] with sinusoids of their places; each layer is
    conditioned on `timestep` Int[B] and `class_labels` Int[B]."""

    raw = ("hidden_states",)
    arguments = ("hidden_states", "timestep", "class_labels")  # type: ignore[assignment]

    def __init__(self, patches: PatchSpec, condition: ConditionSpec):
        super().__init__(patches)
        self.condition = Condition(condition)

    def check(self, inputs, prefix="", rank=2):
        images = inputs.get("hidden_states")
        if images is None:
            return None
        channels, size = self.spec.channels, self.spec.image
        shape = np.shape(images)
        if len(shape) != 4 or shape[1:] != (channels, *size) or not shape[0]:
            raise ValueError(
                f"hidden_states has shape {shape}; expected (images, {channels} channels, "
                f"{size[0]}, {size[1]}), as in_channels and sample_size of the config say: resize "
                "the images, or make a model with another sample_size"
            )
        checks.floats("hidden_states", images)
        classes = self.condition.spec.classes
        said = f"a class from 0 to {classes - 1}, or {classes} for none (num_embeds_ada_norm)"
        _check_numbers("class_labels", inputs, shape[0], classes, said)
        said = "how many steps of noise were added, from 0"
        _check_numbers("timestep", inputs, shape[0], None, said)
        return shape[0], self.grid_of(size)[0] * self.grid_of(size)[1]

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        x = self.project(inputs["hidden_states"], dtype)
        grid = (x.shape[1], x.shape[2])
        x = x.reshape(x.shape[0], -1, x.shape[3])
        x = x + jnp.asarray(grid_sinusoids(grid, x.shape[1], x.shape[2]), x.dtype)
        condition = self.condition(inputs["timestep"], inputs["class_labels"], dtype)
        fields = {"condition": condition[0]}
        return Tokens(x, self.nodes(grid), x.shape[1], fields=fields, condition=condition)

    def describe(self):
        rows, columns = self.spec.grid
        return f"sinusoids of the places of {rows} x {columns} patches"


def _check_numbers(name: str, inputs: Any, rows: int, most: int | None, said: str) -> None:
    """Raises ValueError for what is not one number in range for each image, as `said`."""
    value = inputs.get(name)
    if value is None:
        raise ValueError(f"give {name}, Int[{rows}]: for each image {said}")
    known = checks.integers(name, value, 1)
    if np.shape(value) != (rows,):
        raise ValueError(
            f"{name} has shape {np.shape(value)}; expected ({rows},), for each image of "
            f"hidden_states {said}"
        )
    if known is None:
        return
    wrong = (known < 0) | (known > (known.max(initial=0) if most is None else most))
    if wrong.any():
        raise ValueError(f"{name}{checks.at(known, wrong)}; expected {said}")
