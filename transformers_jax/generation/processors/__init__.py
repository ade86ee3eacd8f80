"""Logits processors: frozen records, from (the text so far, scores) to scores.

They run in the order of transformers. What is banned gets a large finite negative score. Padding is
not text: a row's scores do not depend on the padding of a ragged batch. (transformers agrees for
its repetition penalty, but counts padding ids in n-grams.)

record.py     what each is
penalties.py  tokens of the text or its source
ngrams.py     sequences that may not occur again
words.py      sequences that are favoured, banned or allowed
lengths.py    when a text may end
tokens.py     tokens that are forced or suppressed
diversity.py  groups of beams that differ
times.py      Whisper's times
values.py     invalid values, log-probabilities
cutoffs.py    temperature, cut-offs by rank and probability
entropy.py    cut-offs by entropy
guidance.py   away from another prompt
watermark.py  green lists; synthid.py, tournaments; words64.py, integers of 64 bits
own.py        the caller's
build.py      those of a call, in order
"""

from __future__ import annotations

from transformers_jax.arrays import Array, Float
from transformers_jax.generation.processors.cutoffs import (
    EpsilonLogitsWarper,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers_jax.generation.processors.entropy import (
    EtaLogitsWarper,
    TopHLogitsWarper,
    TypicalLogitsWarper,
)
from transformers_jax.generation.processors.guidance import (
    ClassifierFreeGuidanceLogitsProcessor,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)
from transformers_jax.generation.processors.lengths import (
    ExponentialDecayLengthPenalty,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
)
from transformers_jax.generation.processors.ngrams import (
    EncoderNoRepeatNGramLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
)
from transformers_jax.generation.processors.penalties import (
    EncoderRepetitionPenaltyLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)
from transformers_jax.generation.processors.record import Processor
from transformers_jax.generation.processors.synthid import (
    SynthIDTextWatermarkLogitsProcessor,
)
from transformers_jax.generation.processors.times import (
    WhisperTimeStampLogitsProcessor,
)
from transformers_jax.generation.processors.tokens import (
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)
from transformers_jax.generation.processors.values import (
    InfNanRemoveLogitsProcessor,
    LogitNormalization,
)
from transformers_jax.generation.processors.watermark import (
    WatermarkLogitsProcessor,
)
from transformers_jax.generation.processors.words import (
    NoBadWordsLogitsProcessor,
    PrefixConstrainedLogitsProcessor,
    SequenceBiasLogitsProcessor,
)
from transformers_jax.generation.text import Text

__all__ = [
    "ClassifierFreeGuidanceLogitsProcessor",
    "EncoderNoRepeatNGramLogitsProcessor",
    "EncoderRepetitionPenaltyLogitsProcessor",
    "EpsilonLogitsWarper",
    "EtaLogitsWarper",
    "ExponentialDecayLengthPenalty",
    "ForcedBOSTokenLogitsProcessor",
    "ForcedEOSTokenLogitsProcessor",
    "InfNanRemoveLogitsProcessor",
    "LogitNormalization",
    "MinLengthLogitsProcessor",
    "MinNewTokensLengthLogitsProcessor",
    "MinPLogitsWarper",
    "NoBadWordsLogitsProcessor",
    "NoRepeatNGramLogitsProcessor",
    "PrefixConstrainedLogitsProcessor",
    "Processor",
    "RepetitionPenaltyLogitsProcessor",
    "SequenceBiasLogitsProcessor",
    "SuppressTokensAtBeginLogitsProcessor",
    "SuppressTokensLogitsProcessor",
    "SynthIDTextWatermarkLogitsProcessor",
    "TemperatureLogitsWarper",
    "TopHLogitsWarper",
    "TopKLogitsWarper",
    "TopPLogitsWarper",
    "TypicalLogitsWarper",
    "UnbatchedClassifierFreeGuidanceLogitsProcessor",
    "WatermarkLogitsProcessor",
    "WhisperTimeStampLogitsProcessor",
    "apply",
]


def apply(
    processors: tuple[Processor, ...], text: Text, scores: Float[Array, "R V"]
) -> Float[Array, "R V"]:
    """The scores after all processors, in order."""
    for processor in processors:
        scores = processor.process(text, scores)
    return scores
