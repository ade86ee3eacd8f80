"""The embedder of an image of which a part is seen (MAE)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int, Key
from transformers_jax.inputs import checks
from transformers_jax.nn.embed.base import Tokens, nodes_of
from transformers_jax.nn.embed.patches import PatchEmbedder, PatchSpec
from transformers_jax.sizes import check_rate


class SeenPatches(PatchEmbedder):
    """[class token, the patches of the least noise], with positions (He et al. 2021, section 3).

    The noise is `noise`, Float[B P], or drawn from the key of a call. Beside the tokens the output
    has `mask`, 1 for a patch that is hidden, and `ids_restore`, the place of each patch in the
    order of the noise.
    """

    def __init__(self, patches: PatchSpec, rate: float):
        super().__init__(patches)
        check_rate("mask_ratio", rate)
        self.rate = rate

    @property
    def arguments(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("pixel_values", "noise", "interpolate_pos_encoding")

    def kept(self, count: int) -> int:
        """How many of so many patches are seen."""
        return int(count * (1 - self.rate))

    def check(self, inputs, prefix="", rank=2):
        shape = super().check(inputs, prefix, rank)
        if shape is None:
            return None
        count, noise = shape[1] - 1, inputs.get(f"{prefix}noise")
        if noise is not None:
            checks.floats("noise", noise)
            checks.same_shape("noise", noise, (shape[0], count), "the grid of patches")
        elif self.rate and inputs.get("key") is None:
            raise ValueError(
                f"{self.rate:.0%} of the patches are hidden by chance: give key=jax.random.key(n), "
                "or noise= with a number for each patch, of which the least are seen; "
                "mask_ratio=0.0 hides none"
            )
        return shape[0], 1 + self.kept(count)

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None) -> Tokens:
        x = self.project(inputs["pixel_values"], dtype)
        grid = (x.shape[1], x.shape[2])
        x = x.reshape(x.shape[0], -1, x.shape[3])
        positions = self.positions_of(grid).astype(dtype)
        order = self.order(x, inputs.get("noise"), key)
        restore, kept = jnp.argsort(order, axis=1), self.kept(x.shape[1])
        seen = order[:, :kept]
        x = jnp.take_along_axis(x + positions[1:], seen[:, :, None], axis=1)
        cls: Any = self.cls  # type: ignore[attr-defined]
        first = self._repeated((cls[...].astype(dtype) + positions[0])[None], x)
        places = self.nodes(grid).tags
        tags = {name: self._seen_tag(places[name], seen) for name in ("row", "column")}
        mask = (restore >= kept).astype(jnp.float32)
        fields = {"mask": mask, "ids_restore": restore}
        x = jnp.concatenate([first, x], axis=1)
        return Tokens(x, nodes_of(1 + kept, tags=tags), 1 + kept, fields=fields)

    def order(
        self, x: Float[Array, "B P D"], noise: Float[Array, "B P"] | None, key: Key | None
    ) -> Int[Array, "B P"]:
        """The patches in the order of the noise; as they stand where there is none."""
        if noise is None and key is not None:
            noise = jax.random.uniform(key, x.shape[:2], jnp.float32)
        if noise is None:
            return jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        return jnp.argsort(noise, axis=1)

    @staticmethod
    def _seen_tag(tag: Int[Array, "1 T"], seen: Int[Array, "B S"]) -> Int[Array, "B T"]:
        """The tag of the class token and of the patches that are seen."""
        patches = jnp.take(jnp.asarray(tag[0, 1:]), seen, mode="clip")
        first = jnp.broadcast_to(jnp.asarray(tag[:, :1]), (seen.shape[0], 1))
        return jnp.concatenate([first, patches], axis=1).astype(np.int32)
