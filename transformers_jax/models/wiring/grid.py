"""Networks over the grid of an image, whose states have the shapes of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transformers_jax.arrays import Array, Float
from transformers_jax.models.base import by_name
from transformers_jax.models.output import Output
from transformers_jax.models.wiring.network import Network

Sizes = Sequence[tuple[int, int]]
"""(rows, columns) of the grid of each hidden state."""


class GridNetwork(Network):
    """One tower of stages. Hidden states are tokens [B T D]; `reshaped_hidden_states` are the same
    as images [B D rows columns] (Swin)."""

    def sizes(self, images: tuple[int, ...]) -> Sizes:
        """The grids behind the embedder and behind each stage, of images of this shape."""
        spec: Any = self.last.stack.spec
        embed: Any = self.last.embed
        sizes: Sizes = spec.sizes(*embed.grid_of(images[2:]))
        return sizes

    def check(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        super().check(inputs, method)
        sizes = self.sizes(np.shape(inputs["pixel_values"]))
        if any(0 in size for size in sizes):
            height, width = np.shape(inputs["pixel_values"])[2:]
            raise ValueError(
                f"pixel_values are of {height} x {width} pixels, of which "
                f"stage {next(n for n, size in enumerate(sizes) if 0 in size)} of "
                f"{len(sizes) - 1} has nothing left; enlarge them"
            )

    @by_name
    def forward(self, **arguments: Any) -> Output:
        out = super().forward(**arguments)
        sizes = self.sizes(np.shape(arguments["pixel_values"]))
        fields = self.shaped(self.with_maps(dict(out), sizes), sizes)
        return Output(loss_terms=out.loss_terms, **fields)

    def with_maps(self, fields: dict[str, Any], sizes: Sizes) -> dict[str, Any]:
        """The fields, of a backbone's with tokens of some stages."""
        if (maps := fields.get("feature_maps")) is None:
            return fields
        head: Any = self.head
        pairs = zip(maps, head.stages)
        return {**fields, "feature_maps": tuple(as_image(x, sizes[n]) for x, n in pairs)}

    def shaped(self, fields: dict[str, Any], sizes: Sizes) -> dict[str, Any]:
        """The fields of the output, of those with tokens: a hook of families."""
        hidden = fields.get("hidden_states")
        if hidden is None:
            return fields
        maps = tuple(as_image(x, size) for x, size in zip(hidden, sizes))
        return {**fields, "reshaped_hidden_states": maps}


class MapNetwork(GridNetwork):
    """The same, whose states are images [B D rows columns] (ConvNeXt, ResNet)."""

    def shaped(self, fields, sizes):
        if (hidden := fields.get("hidden_states")) is not None:
            hidden = tuple(as_image(x, size) for x, size in zip(hidden, sizes))
            fields = {**fields, "hidden_states": hidden}
        if (last := fields.get("last_hidden_state")) is not None:
            fields = {**fields, "last_hidden_state": as_image(last, sizes[-1])}
        return fields


class TokenMaps(GridNetwork):
    """The same of a backbone whose hidden states stay tokens (Swin V2)."""

    def shaped(self, fields, sizes):
        return fields


def as_image(x: Float[Array, "B T D"], size: tuple[int, int]) -> Float[Array, "B D h w"]:
    """The tokens of a grid as an image."""
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], *size)
