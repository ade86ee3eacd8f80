"""What was said, and when: the records that `transcribe` returns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


class UnreadableAudio(ValueError):
    """Audio that cannot be read, or is too short for a model: another might be written down."""


@dataclass(frozen=True)
class Word:
    """A word with the punctuation beside it; times in seconds from the beginning of the audio."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech, in seconds from the beginning of the audio.

    Attributes:
        tokens: as the model wrote them, times included.
        temperature: of the draw that was kept; 0 is the likeliest text.
        log_probability: mean over the tokens of its window, the end included.
        compression_ratio: of the text (or the ids) of its window; high where it repeats itself.
        no_speech_probability: of the token for silence, at the beginning of its window.
        words: with times, if they were asked for.
    """

    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    log_probability: float | None = None
    compression_ratio: float | None = None
    no_speech_probability: float | None = None
    words: tuple[Word, ...] | None = None


@dataclass(frozen=True)
class Transcript:
    """What one audio says.

    Attributes:
        language: the code of what was spoken, told or found; None of a model of one language.
        duration: of the audio, in seconds.
    """

    text: str
    segments: tuple[Segment, ...]
    language: str | None
    duration: float

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON holds it."""
        return dataclasses.asdict(self)
