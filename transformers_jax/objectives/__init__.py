"""Objectives of training: losses, and the corruption of texts into inputs and targets.

losses.py       objective(model, batch, key) -> (loss, {name: (sum, weight)})
distillation.py DistilledMaskedLM, DistilledCausalLM, and the terms of all distillation
reference.py    objectives that read a second, frozen model
metrics.py      the contract of an objective: Metrics, and their means
pairs.py        contrastive losses, on the vectors of rows that belong together
distances.py    losses of the distance of such vectors: cosine similarity, triplets
example.py      Piece, Example, Corruption: the base of all records below
vocabulary.py   Vocabulary: what a record must know of a tokenizer
decoding.py     CausalLM, PrefixLM, FillInTheMiddle
masking.py      MaskedLM, ReplacedToken
diffusion.py    MaskedDiffusion, BlockDiffusion
sentences.py    NextSentence, SentenceOrder, GapSentences, Denoising
spans.py        SpanCorruption, UL2
"""

from transformers_jax.objectives.decoding import CausalLM as CausalLM
from transformers_jax.objectives.decoding import FillInTheMiddle as FillInTheMiddle
from transformers_jax.objectives.decoding import PrefixLM as PrefixLM
from transformers_jax.objectives.diffusion import BlockDiffusion as BlockDiffusion
from transformers_jax.objectives.diffusion import MaskedDiffusion as MaskedDiffusion
from transformers_jax.objectives.example import Corruption as Corruption
from transformers_jax.objectives.example import Example as Example
from transformers_jax.objectives.example import Piece as Piece
from transformers_jax.objectives.losses import Loss as Loss
from transformers_jax.objectives.losses import causal_lm as causal_lm
from transformers_jax.objectives.losses import objective as objective
from transformers_jax.objectives.losses import supervised as supervised
from transformers_jax.objectives.masking import MaskedLM as MaskedLM
from transformers_jax.objectives.masking import ReplacedToken as ReplacedToken
from transformers_jax.objectives.metrics import Metrics as Metrics
from transformers_jax.objectives.metrics import Objective as Objective
from transformers_jax.objectives.metrics import means as means
from transformers_jax.objectives.pairs import Contrastive as Contrastive
from transformers_jax.objectives.pairs import ImageText as ImageText
from transformers_jax.objectives.pairs import contrastive as contrastive
from transformers_jax.objectives.pairs import image_text as image_text
from transformers_jax.objectives.pairs import matryoshka as matryoshka
from transformers_jax.objectives.sentences import Denoising as Denoising
from transformers_jax.objectives.sentences import GapSentences as GapSentences
from transformers_jax.objectives.sentences import NextSentence as NextSentence
from transformers_jax.objectives.sentences import SentenceOrder as SentenceOrder
from transformers_jax.objectives.spans import UL2 as UL2
from transformers_jax.objectives.spans import Denoiser as Denoiser
from transformers_jax.objectives.spans import SpanCorruption as SpanCorruption
from transformers_jax.objectives.vocabulary import Vocabulary as Vocabulary

OBJECTIVES: dict[str, type[Corruption]] = {
    record.__name__: record
    for record in (
        *(CausalLM, PrefixLM, FillInTheMiddle, MaskedLM, MaskedDiffusion, BlockDiffusion),
        *(ReplacedToken, NextSentence, SentenceOrder, GapSentences, SpanCorruption, UL2, Denoising),
    )
}
"""The records by name, as a run's config.json names them."""
