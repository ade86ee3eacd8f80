"""Texts with several images a row, to which words attend: embedders, head and network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float
from transformers_jax.models.base import by_name
from transformers_jax.models.output import Output
from transformers_jax.models.wiring import ImageText
from transformers_jax.nn.embed import EmbedSpec, PatchEmbedder, TokenEmbedder
from transformers_jax.nn.embed.tokens import rows
from transformers_jax.nn.head import LanguageModel
from transformers_jax.nn.param import param
from transformers_jax.nn.unembedding import Unembedding
from transformers_jax.spec import Initial


class ImagesEmbedder(PatchEmbedder):
    """The patches of the images of all rows, [B N channels height width], which are rows of its
    tower."""

    def check(self, inputs, prefix="", rank=2):
        pixels = inputs.get(f"{prefix}pixel_values")
        if pixels is None:
            return None
        if np.ndim(pixels) != 5:
            raise ValueError(
                f"pixel_values has shape {np.shape(pixels)}; expected (rows, images of a row, "
                f"{self.spec.channels} channels, height, width)"
            )
        return super().check(self._flat(inputs, prefix), prefix, rank)

    def __call__(self, inputs, **options):
        return super().__call__(self._flat(inputs, ""), **options)

    def _flat(self, inputs: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        """The arguments, with the images of all rows one after the other."""
        name = f"{prefix}pixel_values"
        pixels = inputs[name]
        shape = (pixels.shape[0] * pixels.shape[1], *pixels.shape[2:])
        if isinstance(pixels, jax.ShapeDtypeStruct):
            return {**inputs, name: jax.ShapeDtypeStruct(shape, pixels.dtype)}
        return {**inputs, name: pixels.reshape(shape)}


class WordEmbedder(TokenEmbedder):
    """An embedder of ids of which the last `added` are in a table of their own, which is learned
    where the other is not."""

    def __init__(self, embed: EmbedSpec, added: int):
        super().__init__(embed)
        sizes = {"embed": embed.width, "vocab": added}
        draw = embed.initial.draw("table", sizes)
        self.added = param("vocab embed", sizes, draw) if added else None
        self.vocabulary = embed.vocab + added

    def embed_ids(self, ids, dtype, table=None):
        if self.added is None:
            return super().embed_ids(ids, dtype, table)
        vocab = self.spec.vocab
        behind = ids >= vocab
        usual = super().embed_ids(jnp.where(behind, 0, ids), dtype, table)
        further = rows(self.added[...], jnp.where(behind, ids - vocab, 0)).astype(dtype)
        return jnp.where(behind[..., None], further, usual)

    def check(self, inputs, prefix="", rank=2):
        shape = super().check(inputs, prefix, rank)
        pixels, mask = (inputs.get(n) for n in ("pixel_values", "image_attention_mask"))
        if shape is None or pixels is None or np.ndim(pixels) != 5:
            return shape
        if np.shape(pixels)[0] != shape[0]:
            raise ValueError(
                f"pixel_values has images of {np.shape(pixels)[0]} rows, and the text has "
                f"{shape[0]} rows; give as many"
            )
        if mask is not None and np.shape(mask)[2] != np.shape(pixels)[1]:
            raise ValueError(
                f"image_attention_mask is of {np.shape(mask)[2]} images a row, and pixel_values of "
                f"{np.shape(pixels)[1]}; give as many"
            )
        return shape


class WordLogits(LanguageModel):
    """Logits over the vocabulary, and over words behind it, which have a table of their own."""

    def __init__(self, vocab: int, added: int, width: int, initial: Initial, *, tied: bool):
        super().__init__(vocab, width, initial, tied=tied, shift=True)
        sizes = {"vocab": added, "embed": width}
        own = added and not tied
        self.added = param("vocab embed", sizes, initial.draw("head", sizes)) if own else None
        self.vocab = vocab + added

    def unembedding(self, x: Float[Array, "B T D"], table: Float[Array, "V D"]) -> Unembedding:
        usual = super().unembedding(x, table)
        if self.added is None:
            return usual
        whole = jnp.concatenate([usual.table, self.added[...].astype(usual.table.dtype)])
        return Unembedding(usual.features, whole, usual.bias, usual.softcap, usual.mixed)


class Interleaved(ImageText):
    """A tower "vision", a "resampler" of its states if there is one, and a text tower that attends
    to what is made of each image of its row."""

    @property
    def output_table(self):
        embed: Any = self.last.embed
        table: Any = super().output_table
        return table if embed.added is None else jnp.concatenate([table, embed.added[...]])

    @by_name
    def resampler_forward(self, **arguments: Any) -> Output:
        """What the resampler makes of each image."""
        return self.tower_output("resampler", **arguments)

    def further_fields(self, outputs, arguments):
        """`image_hidden_states`, Float[B N L E]: what words attend to of each image."""
        name = str(self.last.source)
        if name not in outputs or (pixels := arguments.get("pixel_values")) is None:
            return {}
        states = self.states_of(name, outputs[name])
        return {"image_hidden_states": states.reshape(*pixels.shape[:2], *states.shape[1:])}
