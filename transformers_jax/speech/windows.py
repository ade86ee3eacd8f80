"""Long audio, read in windows one after the other: each begins where the last whole sentence of the
one before ended (Radford et al. 2022, section 3.8). Several audios are read side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.speech.decoding import Decoded, Decoder
from transformers_jax.speech.segments import Cut, cut_at_times


@dataclass(frozen=True)
class Steps:
    """How long things are.

    Attributes:
        frame: seconds of a frame of features.
        window: frames that the encoder reads at once.
        per_time: frames in a step of the times that are written.
    """

    frame: float
    window: int
    per_time: int

    def seconds(self, frames: float) -> float:
        """The time after so many frames."""
        return frames * self.frame


@dataclass(frozen=True)
class Piece:
    """A cut of a window that begins at a frame of the audio, with what the window gave."""

    cut: Cut
    window: Decoded
    prompt: tuple[int, ...]
    begin: int
    frames: int

    @property
    def tokens(self) -> tuple[int, ...]:
        """Those of this piece, times included."""
        return self.window.tokens[self.cut.begin : self.cut.end]


@dataclass
class Progress:
    """One audio while it is read.

    Attributes:
        features: of all of it, and of silence after it where it is shorter than a window.
        length: its frames of sound.
        initial: the tokens that every text begins with.
        context: what is given as said before: a text of the caller's, then what was written.
    """

    features: Float[np.ndarray, "M F"]
    length: int
    initial: tuple[int, ...]
    context: list[int]
    at: int = 0
    pieces: list[Piece] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether all frames were read."""
        return self.at >= self.length

    def window(self, length: int) -> Float[np.ndarray, "M F"]:
        """The features from here on, filled up with 0."""
        part = self.features[:, self.at : self.at + length]
        return np.pad(part, ((0, 0), (0, length - part.shape[1])))


@dataclass(frozen=True)
class Sequential:
    """Reads audios window by window.

    Attributes:
        conditioned: whether a window is told what was said before it.
        kept: of how many tokens, at most.
    """

    decoder: Decoder
    steps: Steps
    conditioned: bool
    kept: int

    def __call__(self, audios: Sequence[Progress], show: Callable[[float], None]) -> None:
        """Reads all of them, at most a batch at once; `show` is told which share is done."""
        waiting, running, number = list(audios), list[Progress](), 0
        total = sum(audio.length for audio in audios)
        while waiting or running:
            while waiting and len(running) < self.decoder.batch:
                running.append(waiting.pop(0))
            self._step(running, number)
            running, number = [audio for audio in running if not audio.done], number + 1
            show(sum(min(audio.at, audio.length) for audio in audios) / max(total, 1))

    def _step(self, running: list[Progress], number: int) -> None:
        """The next window of each."""
        length = self.steps.window
        states = self.decoder.encode([audio.window(length) for audio in running])
        prompts = [self._prompt(audio) for audio in running]
        for audio, prompt, one in zip(running, prompts, self.decoder(states, prompts, number)):
            begin, frames = audio.at, min(length, audio.length - audio.at)
            if one.silent:
                audio.at += frames
                continue
            first = self.decoder.vocabulary.first_time if self.decoder.times else None
            cuts, further = cut_at_times(one.tokens, first, frames, self.steps.per_time)
            pieces = [Piece(cut, one, tuple(prompt), begin, frames) for cut in cuts]
            audio.pieces += pieces
            audio.at += further
            if not self.conditioned:
                audio.context = []
                continue
            audio.context += [token for piece in pieces for token in piece.tokens]
            if one.temperature > 0.5:  # a text that had to be drawn so freely would mislead
                audio.context = []

    def _prompt(self, audio: Progress) -> list[int]:
        """What was said before, cut to its end, and how the text begins."""
        previous = self.decoder.vocabulary.previous
        if not audio.context or previous is None:
            return list(audio.initial)
        return [previous, *audio.context[-self.kept :], *audio.initial]
