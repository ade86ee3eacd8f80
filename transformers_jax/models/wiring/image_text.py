"""ImageText: a tower for images, whose states a text tower reads."""

from __future__ import annotations

from typing import Any

from transformers_jax.models.base import by_name
from transformers_jax.models.output import Output
from transformers_jax.models.wiring.network import Network


class ImageText(Network):
    """A tower "vision", and a text tower whose embedder puts the states of that, or of a tower that
    attends to it, at the places of images."""

    def get_image_features(self, pixel_values=None, **inputs: Any) -> Output:
        """The vision tower by itself; `pooler_output` Float[N P D] are the vectors of each image,
        as the text tower reads them."""
        return self.call("vision_forward", pixel_values=pixel_values, **inputs)

    @by_name
    def vision_forward(self, **arguments: Any) -> Output:
        """The vision tower by itself."""
        states = self.towers["vision"].states.layers is not None
        shown = arguments.pop("output_hidden_states", False)
        output = self.tower_output("vision", output_hidden_states=states or shown, **arguments)
        fields = {**output, "pooler_output": self.states_of("vision", output)}
        return Output(**{n: x for n, x in fields.items() if shown or n != "hidden_states"})

    def further_fields(self, outputs, arguments):
        """`image_hidden_states`, Float[N*P D]: the vectors of all images, one after the other."""
        name = str(self.last.placed)
        if name not in outputs:
            return {}
        vectors = self.states_of(name, outputs[name])
        return {"image_hidden_states": vectors.reshape(-1, vectors.shape[-1])}
