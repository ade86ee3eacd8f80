"""Heads: from hidden states to outputs, and from outputs and labels to a loss.

A head is called with the stream, the nodes and the labels that it names in `labels`; it returns
the fields of the output under Hugging Face's names, the loss and what it is a mean over first.
"""

from __future__ import annotations

from transformers_jax.nn.head.attention_pooler import AttentionPooler as AttentionPooler
from transformers_jax.nn.head.audio import CTC as CTC
from transformers_jax.nn.head.audio import FrameClassification as FrameClassification
from transformers_jax.nn.head.audio import OfEveryLayer as OfEveryLayer
from transformers_jax.nn.head.audio import XVector as XVector
from transformers_jax.nn.head.base import Activated as Activated
from transformers_jax.nn.head.base import Beside as Beside
from transformers_jax.nn.head.base import Dense as Dense
from transformers_jax.nn.head.base import Head as Head
from transformers_jax.nn.head.base import HeadFlops as HeadFlops
from transformers_jax.nn.head.base import HeadInputs as HeadInputs
from transformers_jax.nn.head.base import Pooler as Pooler
from transformers_jax.nn.head.base import Square as Square
from transformers_jax.nn.head.base import TokenPooler as TokenPooler
from transformers_jax.nn.head.base import loss_of as loss_of
from transformers_jax.nn.head.base import no_head as no_head
from transformers_jax.nn.head.classify import MultipleChoice as MultipleChoice
from transformers_jax.nn.head.classify import QuestionAnswering as QuestionAnswering
from transformers_jax.nn.head.classify import SequenceClassification as SequenceClassification
from transformers_jax.nn.head.classify import TokenClassification as TokenClassification
from transformers_jax.nn.head.contrastive import Contrastive as Contrastive
from transformers_jax.nn.head.contrastive import PairScores as PairScores
from transformers_jax.nn.head.contrastive import Projected as Projected
from transformers_jax.nn.head.contrastive import SigmoidContrastive as SigmoidContrastive
from transformers_jax.nn.head.denoising import Denoising as Denoising
from transformers_jax.nn.head.double import DoubleHeads as DoubleHeads
from transformers_jax.nn.head.graphs import GraphClassification as GraphClassification
from transformers_jax.nn.head.graphs import NodeScores as NodeScores
from transformers_jax.nn.head.images import ClassAndPatches as ClassAndPatches
from transformers_jax.nn.head.images import Distilled as Distilled
from transformers_jax.nn.head.images import FeatureMaps as FeatureMaps
from transformers_jax.nn.head.images import MaskedImage as MaskedImage
from transformers_jax.nn.head.images import StageMaps as StageMaps
from transformers_jax.nn.head.images import VisualTokens as VisualTokens
from transformers_jax.nn.head.matching import ImageTextMatching as ImageTextMatching
from transformers_jax.nn.head.pretraining import LanguageModel as LanguageModel
from transformers_jax.nn.head.pretraining import NextSentence as NextSentence
from transformers_jax.nn.head.pretraining import Pretraining as Pretraining
from transformers_jax.nn.head.pretraining import ReplacedTokens as ReplacedTokens
from transformers_jax.nn.head.pretraining import binary_cross_entropy as binary_cross_entropy
from transformers_jax.nn.head.quantized import QuantizedPretraining as QuantizedPretraining
from transformers_jax.nn.head.segmentation import Auxiliary as Auxiliary
from transformers_jax.nn.head.segmentation import Segmentation as Segmentation
from transformers_jax.nn.head.trajectory import Trajectory as Trajectory
