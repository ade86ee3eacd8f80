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
times.py      Whisper's times
values.py     invalid values, log-probabilities
cutoffs.py    temperature, cut-offs by rank and probability
entropy.py    cut-offs by entropy
own.py        the caller's
build.py      those of a call, in order
"""

from __future__ import annotations

from transformers_jax.arrays import Array, Float
from transformers_jax.generation.processors.record import Processor
from transformers_jax.generation.text import Text

__all__ = ["Processor", "apply"]


def apply(
    processors: tuple[Processor, ...], text: Text, scores: Float[Array, "R V"]
) -> Float[Array, "R V"]:
    """The scores after all processors, in order."""
    for processor in processors:
        scores = processor.process(text, scores)
    return scores
