"""How embedders, stacks and heads are connected. A family chooses a wiring; it does not write one.

Single     embed -> stack -> head                  encoders and decoders: only the mask differs
Seq2Seq    embed -> encoder;  embed -> decoder (hearing the encoder) -> head
"""

from transformers_jax.models.wiring.seq2seq import Seq2Seq
from transformers_jax.models.wiring.single import Single

__all__ = ["Seq2Seq", "Single"]
