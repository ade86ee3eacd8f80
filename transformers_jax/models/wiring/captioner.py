"""Networks whose tower of texts attends to an image (BLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from transformers_jax.inputs import checks
from transformers_jax.models.wiring.check import check_call
from transformers_jax.models.wiring.network import Network


class SeesImages(Network):
    """Towers "encoder", of images, and "decoder", of texts. The fields without a prefix are those
    of the image, as in Hugging Face's classes."""

    def further_fields(self, outputs, arguments):
        image = outputs.get("encoder", {})
        fields = {n: image.get(n) for n in ("last_hidden_state", "hidden_states", "attentions")}
        return {**fields, "image_embeds": image.get("last_hidden_state")}


class Captioner(SeesImages):
    """Describes images: a text begins with `bos_token_id` and ends with `sep_token_id`."""

    @property
    def generation_config(self):
        text: Any = self.plan.config.side("decoder")
        ends = {"eos_token_id": text.sep_token_id, "pad_token_id": text.pad_token_id}
        return {**super().generation_config, "bos_token_id": text.bos_token_id, **ends}

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
