"""DualEncoder: a tower for texts and one for images, which the head compares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from transformers_jax.models.base import by_name
from transformers_jax.models.output import Output
from transformers_jax.models.wiring.decoding import positions_of
from transformers_jax.models.wiring.network import Network


class DualEncoder(Network):
    """Towers "text" and "vision", and a head that has a projection for each (`head.project`)."""

    @property
    def reading(self):
        text: Any = self.plan.config
        positions = positions_of(self.towers["text"], text.text_config)
        return replace(super().reading, positions=positions)  # of texts, not of images

    def get_text_features(self, input_ids=None, **inputs: Any) -> Output:
        """The text tower by itself; `pooler_output` Float[B E] are the features of each text, as
        the head compares them (before they have unit length)."""
        return self.call("text_forward", input_ids=input_ids, **inputs)

    def get_image_features(self, pixel_values=None, **inputs: Any) -> Output:
        """The vision tower by itself; `pooler_output` Float[B E] are the features of each image."""
        return self.call("vision_forward", pixel_values=pixel_values, **inputs)

    @by_name
    def text_forward(self, **arguments: Any) -> Output:
        """The text tower by itself."""
        return self._features("text", arguments)

    @by_name
    def vision_forward(self, **arguments: Any) -> Output:
        """The vision tower by itself."""
        return self._features("vision", arguments)

    def _features(self, name: str, arguments: dict[str, Any]) -> Output:
        head: Any = self.head
        output = self.tower_output(name, **arguments)
        return Output(**{**output, "pooler_output": head.project(name, output.pooler_output)})
