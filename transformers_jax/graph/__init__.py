"""Who may speak to whom: nodes, masks and the edges between them. No parameters, no flax."""

from transformers_jax.graph.edges import Edges, connect
from transformers_jax.graph.mask import (
    CAUSAL,
    FULL,
    Before,
    Block,
    Dense,
    Full,
    Mask,
    Near,
    Same,
    Strided,
    Where,
)
from transformers_jax.graph.nodes import Nodes, concatenate, sequence

__all__ = [
    "CAUSAL",
    "FULL",
    "Before",
    "Block",
    "Dense",
    "Edges",
    "Full",
    "Mask",
    "Near",
    "Nodes",
    "Same",
    "Strided",
    "Where",
    "concatenate",
    "connect",
    "sequence",
]
