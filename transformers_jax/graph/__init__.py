"""Who may speak to whom: nodes, masks and the edges between them. No parameters, no flax."""

from transformers_jax.graph.blocks import Block, Scattered
from transformers_jax.graph.edges import Edges, connect
from transformers_jax.graph.mask import (
    CAUSAL,
    FULL,
    OWN,
    Before,
    Dense,
    Full,
    Mask,
    Near,
    PerLayer,
    Same,
    Strided,
    Where,
    given,
)
from transformers_jax.graph.nodes import Nodes, concatenate, sequence
from transformers_jax.graph.order import PLACE, attends_ahead, from_first_token
from transformers_jax.graph.parse import parse

__all__ = [
    "CAUSAL",
    "FULL",
    "OWN",
    "PLACE",
    "Before",
    "Block",
    "Dense",
    "Edges",
    "Full",
    "Mask",
    "Near",
    "Nodes",
    "PerLayer",
    "Same",
    "Scattered",
    "Strided",
    "Where",
    "attends_ahead",
    "concatenate",
    "connect",
    "from_first_token",
    "given",
    "parse",
    "sequence",
]
