"""Embedders: from the inputs of a modality to tokens.

An embedder reads arguments of a call (`Embedder.arguments`), checks them, and makes `Tokens`:
vectors and nodes. What a family says of its raw inputs is a setting of its embedder.
"""

from __future__ import annotations

from transformers_jax.nn.embed.base import Embedder as Embedder
from transformers_jax.nn.embed.base import Tokens as Tokens
from transformers_jax.nn.embed.base import nodes_of as nodes_of
from transformers_jax.nn.embed.description import EmbedSpec as EmbedSpec
from transformers_jax.nn.embed.description import PadToMultiple as PadToMultiple
from transformers_jax.nn.embed.description import Placeholder as Placeholder
from transformers_jax.nn.embed.description import TagArgument as TagArgument
from transformers_jax.nn.embed.description import prefix_types as prefix_types
from transformers_jax.nn.embed.diffusion import ConditionSpec as ConditionSpec
from transformers_jax.nn.embed.diffusion import NoisyImageEmbedder as NoisyImageEmbedder
from transformers_jax.nn.embed.flat_patches import FlatPatchEmbedder as FlatPatchEmbedder
from transformers_jax.nn.embed.flat_patches import FlatPatchSpec as FlatPatchSpec
from transformers_jax.nn.embed.frames import FrameEmbedder as FrameEmbedder
from transformers_jax.nn.embed.frames import FrameSpec as FrameSpec
from transformers_jax.nn.embed.graphs import GraphEmbedder as GraphEmbedder
from transformers_jax.nn.embed.graphs import SelfLoops as SelfLoops
from transformers_jax.nn.embed.latents import LatentEmbedder as LatentEmbedder
from transformers_jax.nn.embed.latents import LatentSpec as LatentSpec
from transformers_jax.nn.embed.patches import GridPositions as GridPositions
from transformers_jax.nn.embed.patches import PatchEmbedder as PatchEmbedder
from transformers_jax.nn.embed.patches import PatchSpec as PatchSpec
from transformers_jax.nn.embed.patches import pair as pair
from transformers_jax.nn.embed.placed import check_placed as check_placed
from transformers_jax.nn.embed.spectrogram import SpectrogramEmbedder as SpectrogramEmbedder
from transformers_jax.nn.embed.spectrogram import SpectrogramSpec as SpectrogramSpec
from transformers_jax.nn.embed.tokens import Projection as Projection
from transformers_jax.nn.embed.tokens import TokenEmbedder as TokenEmbedder
from transformers_jax.nn.embed.tokens import rows as rows
from transformers_jax.nn.embed.trajectory import TrajectoryEmbedder as TrajectoryEmbedder
from transformers_jax.nn.embed.trajectory import TrajectorySpec as TrajectorySpec
from transformers_jax.nn.embed.virtual import VirtualTokens as VirtualTokens
from transformers_jax.nn.embed.waves import WaveEmbedder as WaveEmbedder
from transformers_jax.nn.embed.waves import WaveSpec as WaveSpec
