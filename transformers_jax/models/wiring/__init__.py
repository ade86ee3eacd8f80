"""How embedders, stacks and heads are connected: a model is its towers in order, and a head.

BERT, GPT, ViT          one tower
T5, BART, Whisper       an encoder; a decoder whose source it is
BLIP                    a tower for images; one for texts whose source it is, or compared with it
CLIP                    a tower for texts and one for images, which the head compares
LLaVA                   a tower for images; one for texts, whose embedder places its states
"""

from transformers_jax.models.wiring.captioner import Answering, Captioner, Retrieval
from transformers_jax.models.wiring.dual import DualEncoder
from transformers_jax.models.wiring.family import EncoderDecoderFamily, OneTower
from transformers_jax.models.wiring.image_text import ImageText
from transformers_jax.models.wiring.network import Network
from transformers_jax.models.wiring.shift import AsLabels, ShiftRight
from transformers_jax.models.wiring.tower import Tower, TowerOutput
from transformers_jax.models.wiring.wire import States

__all__ = [
    "Answering",
    "AsLabels",
    "Captioner",
    "DualEncoder",
    "EncoderDecoderFamily",
    "ImageText",
    "Network",
    "OneTower",
    "Retrieval",
    "ShiftRight",
    "States",
    "Tower",
    "TowerOutput",
]
