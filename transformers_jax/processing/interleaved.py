"""Texts and pictures that take turns, as Idefics reads them: each picture between two fake tokens,
and a mask of which picture each token may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from transformers_jax.processing.placeholders import IMAGE, Arrays, token_id

FAKE, END = "<fake_token_around_image>", "<end_of_utterance>"
ADDRESSES = ("http://", "https://")


@dataclass(frozen=True)
class Interleaved:
    """Prompts are lists of texts and pictures; a list of plain texts is one prompt.

    Attributes:
        end: whether `<end_of_utterance>` stands between texts that follow each other; None: where
            the tokenizer has it.
    """

    end: bool | None = None

    def prompts(self, images: Any, text: Any) -> list[list[Any]]:
        """The prompts of a call: of `text` alone, or of images and texts, one for each other.

        Raises:
            ValueError: not as many of the one as of the other, or an address of the web.
        """
        if images is None:
            parts = [text] if isinstance(text, str) else list(text)
            several = any(isinstance(part, (list, tuple)) for part in parts)
            if several and not all(isinstance(part, (list, tuple)) for part in parts):
                raise ValueError("a prompt is a list of texts and images, and all are such lists")
            prompts = [list(part) for part in parts] if several else [parts]
        else:
            images = list(images) if isinstance(images, (list, tuple)) else [images]
            texts = [text] if isinstance(text, str) else list(text)
            if len(images) != len(texts):
                raise ValueError(
                    f"{len(images)} images and {len(texts)} texts; pass one image, or a list of "
                    "images, for each text, or prompts in which they take turns: "
                    "text=[[image, 'text'], ...]"
                )
            nested = isinstance(images[0], (list, tuple))
            prompts = [
                [one, *image] if nested else [image, one] for image, one in zip(images, texts)
            ]
        for part in (part for prompt in prompts for part in prompt):
            if isinstance(part, str) and part.strip().startswith(ADDRESSES):
                raise ValueError(f"{part.strip()} is an address; read the image and pass it")
        return prompts

    def text(self, prompt: Sequence[Any], tokenizer: Any, eos: bool) -> tuple[str, list[Any]]:
        """(a prompt as one text, its pictures); strings are texts, and paths are `Path`.

        Raises:
            ValueError: a text that holds a token of a picture, which the picture itself stands for.
        """
        ends = self.end
        if ends is None:
            ends = tokenizer.inner.token_to_id(END) is not None
        parts, pictures, before = [tokenizer.special["bos"]], [], None
        for part in prompt:
            if isinstance(part, str):
                if IMAGE in part or FAKE in part:
                    raise ValueError(
                        f"the text {part!r:.60} holds {IMAGE if IMAGE in part else FAKE}, which is "
                        "written for each image at its place: leave it out, and pass prompts in "
                        "which texts and images take turns, text=[['a', image, 'b'], ...]"
                    )
                parts.append(END * (ends and before == "text") + part.strip(" "))
                before = "text"
            else:
                parts.append(FAKE * (before != "image") + IMAGE + FAKE)
                pictures.append(part)
                before = "image"
        if eos:
            parts.append(tokenizer.special["eos"])
        return "".join(parts), pictures

    def __call__(
        self,
        tokenizer: Any,
        prompts: Sequence[Sequence[Any]],
        image_processor: Any,
        options: Arrays,
    ) -> Arrays:
        """{"input_ids", "attention_mask" Int `[B T]`, "pixel_values" Float `[B images C H W]`,
        "image_attention_mask" Int `[B T images]`}: rows without a picture have zeros."""
        for token in (IMAGE, FAKE):
            token_id(tokenizer, token)
        eos = options.pop("add_eos_token", False)
        texts, pictures = zip(*(self.text(prompt, tokenizer, eos) for prompt in prompts))
        options = {"padding": "longest", **options, "add_special_tokens": False}
        out = tokenizer.batch(list(texts), **options)
        if isinstance(out["input_ids"], list):
            raise ValueError("prompts with images need rows of one length: padding=True")
        out.pop("token_type_ids", None)
        most = max(1, *map(len, pictures))
        found = [image_processor(list(one))["pixel_values"] if one else None for one in pictures]
        blank = (3, *image_processor.fixed_size)
        shape = next((f.shape[1:] for f in found if f is not None), blank)
        values = np.zeros((len(found), most, *shape), np.float32)
        for row, one in zip(values, found):
            if one is not None:
                row[: len(one)] = one
        out["pixel_values"] = values
        out["image_attention_mask"] = image_mask(
            out["input_ids"], token_id(tokenizer, IMAGE), tokenizer.special_id("eos"), most
        )
        return out


def image_mask(
    ids: Int[np.ndarray, "B T"], image: int, eos: int, images: int
) -> Int[np.ndarray, "B T images"]:
    """1 where a token looks at a picture: the last one before it (or at it), and none behind the
    end of a document."""
    number = (ids == image).cumsum(1) - 1
    # Behind an <eos> a row sees nothing, until the next picture begins another document.
    places = np.arange(ids.shape[1])
    last = lambda hits: np.maximum.accumulate(np.where(hits, places, -1), axis=1)
    ended = np.pad(last(ids == eos), ((0, 0), (1, 0)), constant_values=-1)[:, :-1] > last(
        ids == image
    )
    number = np.where(ended, -1, number)
    return (number[..., None] == np.arange(images)).astype(np.int64)
