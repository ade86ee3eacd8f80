"""An audio's features, and the segments of what was written of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.speech import words
from transformers_jax.speech.chunks import Chunk, Said, joined, read_chunks, spans
from transformers_jax.speech.decoding import Decoder
from transformers_jax.speech.transcript import Segment, Word
from transformers_jax.speech.windows import Piece, Progress, Steps

Samples = Float[np.ndarray, " T"]


class Reader:
    """From samples to what the decoder reads, and from its pieces to segments."""

    def __init__(self, processor: Any, decoder: Decoder, steps: Steps, words: bool):
        self.extract = processor.audio_processor.features
        self.decoder, self.steps, self.words = decoder, steps, words

    def features(self, samples: Samples) -> tuple[Float[np.ndarray, "M F"], int]:
        """(the features of an audio, its frames); one shorter than a window is filled up. What is
        left behind the last whole frame has no features, and no window of its own."""
        hop = self.extract.hop_length
        least = self.steps.window * hop
        padded = np.pad(samples, (0, max(0, least - len(samples))))
        return self.extract.log_mel(padded), max(1, len(samples) // hop)

    def languages(
        self,
        samples: list[Samples],
        codes: list[str | None],
        prompts: list[list[int | None]],
    ) -> list[str | None]:
        """The code of each audio's language: told, named by its prompt, or found in its first
        window where the prompt leaves it open."""
        names = {token: code for code, token in self.decoder.vocabulary.languages.items()}
        found = [
            code or next((names[token] for token in prompt if token in names), None)
            for code, prompt in zip(codes, prompts)
        ]
        unknown = [row for row, prompt in enumerate(prompts) if None in prompt]
        window = self.steps.window * self.extract.hop_length
        for begin in range(0, len(unknown), self.decoder.batch):
            some = unknown[begin : begin + self.decoder.batch]
            states = self.decoder.encode([self.features(samples[row][:window])[0] for row in some])
            for row, code in zip(some, self.decoder.languages(states)):
                found[row] = code
        return found

    def segments(self, audio: Progress, language: str | None) -> tuple[Segment, ...]:
        """What was written of an audio, without pieces in which nothing is said."""
        found, last, times = [], None, None
        for piece in audio.pieces:
            text = self.decoder.text(piece.tokens)
            if not text.strip():
                continue
            if self.words and piece.window is not last:
                last, times = piece.window, self._token_times(audio, piece)
            spoken = None if times is None else self._words(piece, times, language)
            found.append(self._segment(piece, text, spoken))
        return tuple(found)

    def chunked(
        self,
        samples: list[Samples],
        initial: list[tuple[int, ...]],
        overlap: float,
        show: Callable[[float], None],
    ) -> list[tuple[Segment, ...]]:
        """The segments of each audio, read in chunks."""
        hop = self.extract.hop_length
        over = round(overlap * self.extract.sampling_rate)
        chunks, owners = [], []
        for row, one in enumerate(samples):
            for begin, end in spans(len(one), self.steps.window * hop, over):
                features, frames = self.features(one[begin:end])
                chunks.append(Chunk(features, begin // hop, frames, initial[row]))
                owners.append(row)
        said = read_chunks(self.decoder, self.steps, chunks, show)
        of_row = lambda row: [part for part, owner in zip(said, owners) if owner == row]
        return [self._grouped(joined(of_row(row))) for row in range(len(samples))]

    def _grouped(self, said: list[Said]) -> tuple[Segment, ...]:
        """Tokens of like times as segments."""
        groups: list[list[Said]] = []
        for one in said:
            if groups and (groups[-1][0].start, groups[-1][0].end) == (one.start, one.end):
                groups[-1].append(one)
            else:
                groups.append([one])
        at, found = self.steps.seconds, []
        for group in groups:
            tokens = tuple(one.token for one in group)
            text = self.decoder.text(tokens)
            found.append(Segment(at(group[0].start), at(group[0].end), text, tokens))
        return tuple(found)

    def _segment(self, piece: Piece, text: str, spoken: tuple[Word, ...] | None) -> Segment:
        at = lambda time: self.steps.seconds(piece.begin + time * self.steps.per_time)
        one = piece.window
        return Segment(
            start=at(piece.cut.start_time),
            end=at(piece.cut.end_time),
            text=text,
            tokens=piece.tokens,
            temperature=one.temperature,
            log_probability=one.log_probability,
            compression_ratio=one.compression_ratio,
            no_speech_probability=one.no_speech,
            words=spoken,
        )

    def _token_times(self, audio: Progress, piece: Piece) -> Float[np.ndarray, " T"]:
        """When each token of the piece's window begins, in seconds."""
        decoder, window = self.decoder, self.steps.window
        part = audio.features[:, piece.begin : piece.begin + window]
        features = np.pad(part, ((0, 0), (0, window - part.shape[1])))
        states = decoder.model.encode(input_features=features[None])
        positions = decoder.model.reading.positions
        places = words.token_times(
            decoder.model,
            states,
            piece.prompt,
            piece.window.tokens,
            decoder.vocabulary.heads,
            max(1, piece.frames // self.steps.per_time),
            positions,
        )
        return (piece.begin + places * self.steps.per_time) * self.steps.frame

    def _words(
        self, piece: Piece, times: Float[np.ndarray, " T"], language: str | None
    ) -> tuple[Word, ...]:
        """The words of a piece, none of which begins or ends outside of it."""
        first = self.decoder.vocabulary.first_time
        at = [
            place
            for place in range(piece.cut.begin, piece.cut.end)
            if first is None or piece.window.tokens[place] < first
        ]
        end = self.steps.seconds(piece.begin + piece.cut.end_time * self.steps.per_time)
        after = [times[p + 1] if p + 1 < len(times) else max(end, times[p]) for p in at]
        tokens = [piece.window.tokens[place] for place in at]
        starts = [float(times[place]) for place in at]
        return words.words_of(
            self.decoder.tokenizer, tokens, starts, [float(t) for t in after], language
        )
