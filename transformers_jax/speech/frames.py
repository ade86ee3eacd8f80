"""Audio of any length to text, by a model of connectionist temporal classification: the scores of
its frames, of chunks that overlap, decoded as one row."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.generation.ctc import Decoded, decode_ctc
from transformers_jax.generation.ctc_symbols import Symbols
from transformers_jax.processing.audio.features import Lengths, Waveforms
from transformers_jax.speech.chunks import spans
from transformers_jax.speech.symbols import symbols_of
from transformers_jax.speech.transcript import Segment, Transcript, UnreadableAudio, Word
from transformers_jax.spelling import nearest

Samples = Float[np.ndarray, " T"]
Show = Callable[[float], None]
CHUNK = 30.0  # seconds that are read at once
PAUSE = 0.6  # seconds without a word, behind which another segment begins
LONGEST = 80  # characters of a segment: two lines of subtitles
SEARCH = {"num_beams": "beams", "words": "words", "scorer": "scorer", "weight": "weight"}
"""Options of `transcribe` -> those of `decode_ctc`."""


@dataclass(frozen=True)
class Frames:
    """A model of frames, and what it reads and writes.

    Attributes:
        batch: chunks that are read at once.
    """

    model: Any
    features: Waveforms
    symbols: Symbols
    batch: int

    @cached_property
    def stride(self) -> int:
        """Samples from one frame to the next."""
        return math.prod(self.model.last.embed.spec.strides)

    @property
    def reach(self) -> int:
        """Samples that a frame is made of."""
        return self.model.last.embed.spec.samples(1)

    def transcripts(
        self,
        audios: Sequence[Samples],
        timestamps: str,
        chunk: float | None,
        overlap: float | None,
        show: Show,
        options: Mapping[str, Any],
    ) -> list[Transcript]:
        """What each audio says; arguments are those of `transcribe`.

        Raises:
            TypeError: an unknown option.
            ValueError: chunks that do not move on.
            UnreadableAudio: audio that is too short.
        """
        for name in options.keys() - SEARCH.keys():
            raise TypeError(
                f"transcribe has no option {name!r} of models of frames{nearest(name, SEARCH)}"
            )
        rate, reach = self.features.sampling_rate, self.reach
        for number, audio in enumerate(audios):
            if len(audio) < reach:
                raise UnreadableAudio(
                    f"audio {number} has {len(audio)} samples, and a frame of this model is made "
                    f"of {reach}"
                )
        size = round((CHUNK if chunk is None else chunk) * rate) // self.stride * self.stride
        over = size // 3 if overlap is None else round(overlap * rate)
        over = over // (2 * self.stride) * 2 * self.stride
        least = 2 * reach  # of which half is left out on either side
        if not least <= over <= size - least:
            raise ValueError(
                f"chunks of {size / rate:g} s that overlap by {over / rate:g} s do not move on: "
                f"an overlap is at least two frames ({least / rate:g} s), and a chunk is longer "
                "than it by as much"
            )
        search = {SEARCH[name]: value for name, value in options.items() if value is not None}
        seconds, found = self.stride / rate, []
        for audio, scores in zip(audios, self.scores(audios, size, over, show)):
            text = decode_ctc(scores[None], self.symbols, seconds=seconds, **search)[0]
            found.append(_transcript(text, timestamps, len(audio) / rate))
        return found

    def scores(
        self, audios: Sequence[Samples], chunk: int, overlap: int, show: Show
    ) -> list[Float[np.ndarray, "T V"]]:
        """The scores of the frames of each audio. Of chunks that overlap, each frame is taken from
        the chunk in which it is further from the end.

        Args:
            chunk, overlap: in samples, multiples of the stride.
        """
        cuts = [spans(len(audio), chunk, overlap) for audio in audios]
        places = [(row, begin, end) for row, cut in enumerate(cuts) for begin, end in cut]
        of_chunk = self._of_chunks([audios[row][a:b] for row, a, b in places], show)
        found: list[list[Any]] = [[] for _ in audios]
        middle = overlap // self.stride // 2
        for (row, begin, end), scores in zip(places, of_chunk):
            first = 0 if begin == 0 else middle
            whole = end == len(audios[row])
            last = len(scores) if whole else (chunk - overlap) // self.stride + middle
            found[row].append(scores[first:last])
        return [np.concatenate(parts) for parts in found]

    def _of_chunks(self, chunks: Sequence[Samples], show: Show) -> list[Float[np.ndarray, "T V"]]:
        """The scores of each chunk. Where the model is given no mask, or normalises a channel over
        all samples of a row, a row in a batch is what it is alone only beside others of its
        length."""
        by_frame = self.model.last.embed.spec.stem_norm == "layer"
        masked = self.features.return_attention_mask and by_frame
        groups: dict[int, list[int]] = defaultdict(list)
        for number, chunk in enumerate(chunks):
            second = self.features.sampling_rate
            groups[-(-len(chunk) // second) * second if masked else len(chunk)].append(number)
        found: dict[int, Any] = {}
        for width, numbers in groups.items():
            for begin in range(0, len(numbers), self.batch):
                some = numbers[begin : begin + self.batch]
                rows = [chunks[number] for number in some]
                rows += rows[:1] * (self.batch - len(rows)) if len(numbers) > self.batch else []
                lengths = Lengths(padding="max_length", max_length=width, truncation=False)
                logits = np.asarray(self.model(**self.features(rows, lengths)).logits)
                for number, scores in zip(some, logits):
                    frames = self.model.last.embed.spec.frames(len(chunks[number]))
                    found[number] = scores[:frames]
                show(len(found) / len(chunks))
        return [found[number] for number in range(len(chunks))]


def frames_of(model: Any, processor: Any, batch: int) -> Frames:
    """The model with what it reads and writes.

    Raises:
        ValueError: a model or a processor of something else, or without a tokenizer.
    """
    features: Any = getattr(getattr(processor, "audio_processor", None), "features", None)
    if not isinstance(features, Waveforms) or processor.tokenizer is None:
        raise ValueError(
            "transcribe needs the processor of the model, with waveforms and a tokenizer of "
            "characters: processor=tj.load_processor(directory)"
        )
    if getattr(model.last, "reduce", None) is not None:
        raise ValueError(
            "transcribe reads the frames of an encoder without an adapter, and this one has "
            "add_adapter"
        )
    config = model.config
    symbols = symbols_of(processor.tokenizer, config.vocab_size, config.pad_token_id)
    return Frames(model, features, symbols, batch)


def _transcript(said: Decoded, timestamps: str, duration: float) -> Transcript:
    if timestamps == "none":
        segments = (Segment(0.0, duration, said.text),) if said.text else ()
        return Transcript(said.text, segments, None, duration)
    groups: list[list[Word]] = []
    for one in said.words or ():
        word = Word(f" {one.text}", one.start, one.end)
        last = groups[-1] if groups else []
        length = sum(len(each.text) for each in last) + len(word.text)
        if last and word.start - last[-1].end < PAUSE and length <= LONGEST:
            last.append(word)
        else:
            groups.append([word])
    words = timestamps == "words"
    segments = tuple(
        Segment(
            group[0].start,
            group[-1].end,
            "".join(word.text for word in group),
            words=tuple(group) if words else None,
        )
        for group in groups
    )
    return Transcript(said.text, segments, None, duration)
