"""Embedders: where a modality ends. Behind them everything is tokens.

An embedder reads arguments of a call (`Embedder.arguments`), checks them, and makes `Tokens`:
vectors and nodes. What a family says of its raw inputs is a setting of its embedder.
"""

from __future__ import annotations

from transformers_jax.nn.embed.base import Embedder, Tokens, nodes_of
from transformers_jax.nn.embed.description import EmbedSpec, PadToMultiple, TagArgument
from transformers_jax.nn.embed.frames import FrameEmbedder, FrameSpec
from transformers_jax.nn.embed.patches import PatchEmbedder, PatchSpec, pair
from transformers_jax.nn.embed.words import Projection, TokenEmbedder, rows

__all__ = [
    "EmbedSpec",
    "Embedder",
    "FrameEmbedder",
    "FrameSpec",
    "PadToMultiple",
    "PatchEmbedder",
    "PatchSpec",
    "Projection",
    "TagArgument",
    "TokenEmbedder",
    "Tokens",
    "nodes_of",
    "pair",
    "rows",
]
