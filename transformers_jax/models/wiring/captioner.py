"""Networks whose tower of texts attends to an image (BLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from transformers_jax.inputs import checks
from transformers_jax.models.wiring.check import check_call
from transformers_jax.models.wiring.network import Network


class SeesImages(Network):
    """A tower of images, called `IMAGE`, and what reads it, last the tower "decoder". The fields
    without a prefix are those of the image, as in Hugging Face's classes. A text that is written
    begins with `bos_token_id` and ends with `sep_token_id`."""

    IMAGE: ClassVar[str] = "encoder"

    def further_fields(self, outputs, arguments):
        image = outputs.get(self.IMAGE, {})
        fields = {n: image.get(n) for n in ("last_hidden_state", "hidden_states", "attentions")}
        return {**fields, "image_embeds": image.get("last_hidden_state")}

    @property
    def generation_config(self):
        text: Any = self.plan.config.side("decoder")
        ends = {"eos_token_id": text.sep_token_id, "pad_token_id": text.pad_token_id}
        start = dict.fromkeys(("bos_token_id", "decoder_start_token_id"), text.bos_token_id)
        return {**super().generation_config, **start, **ends}


class Answering(SeesImages):
    """Answers questions about images: the tower "encoder" reads the question, and attends to the
    image; the answer attends to that. It attends to the padding of a question as well, as in the
    reference, whose `generate` gives a mask of ones, and whose v5 drops that of a call."""

    IMAGE = "vision"

    def as_source(self, name, output, rows, attention_mask=None, tags=None):
        return super().as_source(name, output, rows, None, tags)

    @property
    def reading(self):
        return replace(super().reading, blocks=True)  # so that generation pads no question


class Captioner(SeesImages):
    """Describes images."""

    def generate(  # type: ignore[override]
        self, pixel_values=None, input_ids=None, attention_mask=None, **options: Any
    ):
        """`transformers_jax.generate` of a prompt as a tokenizer gives it: the token that ends it
        is taken off, the first one is replaced by `bos_token_id`. Without one, of the image."""
        if input_ids is not None:
            ids = np.array(input_ids)
            checks.integers("input_ids", ids, 2)
            text: Any = self.plan.config.side("decoder")
            ids[:, 0] = text.bos_token_id
            options["input_ids"] = ids[:, :-1]
            if attention_mask is not None:
                options["attention_mask"] = np.asarray(attention_mask)[:, :-1]
        return super().generate(pixel_values=pixel_values, **options)


class Retrieval(SeesImages):
    """Scores texts with images: pair by pair, by a text that attends to its image; or, with
    `use_itm_head=False`, every image with every text, by cosines of what both are by themselves."""

    def arguments(self, method="forward"):
        names = super().arguments(method)
        return (*names, "use_itm_head") if method == "forward" else names

    def check(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        if inputs.get("use_itm_head", True) or method != "forward":
            return super().check(inputs, method)
        for name in self._chosen(method):
            check_call(self, inputs, [name])
        for raw in ("pixel_values", "input_ids"):
            if inputs.get(raw) is None:
                raise ValueError(f"give {raw}: every image is scored with every text")

    def _run(self, name, arguments, outputs, *rest: Any):
        apart = not arguments.get("use_itm_head", True)
        return super()._run(name, arguments, {} if apart else outputs, *rest)
