"""How a task reads the recordings of a table: each when it is needed, by the model's processor."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from transformers_jax.arrays import Float, Int
from transformers_jax.data.augment.spectra import SpecAugment
from transformers_jax.data.damaged import leave_out
from transformers_jax.data.tables import Records
from transformers_jax.data.threads import in_threads
from transformers_jax.nn.embed.waves import WaveSpec
from transformers_jax.objectives.example import Example
from transformers_jax.processing.audio.features import Lengths, Waveforms, WhisperFeatures
from transformers_jax.processing.audio.processor import AudioProcessor, OtherRate
from transformers_jax.spelling import type_name
from transformers_jax.tasks.rows import NUMBER, Drawn, Form

AUDIO = ("audio", "input_values", "samples", "path", "file", "file_name")
"""Usual names of the column of recordings."""
RATE = "sampling_rate"
"""The column that says the rate of arrays, where the table has it."""
SAMPLES = "samples"
"""The entry of a batch that says how many samples of a row are audio."""
RESAMPLE = "--data.resample (in Python, resample=True)"
KEPT = 2**29  # bytes of features that stay in memory

Noise = np.random.Generator
Samples = Float[np.ndarray, " T"]
Numbers = Int[np.ndarray, " N"]


@dataclass(frozen=True)
class Sounds:
    """The recordings of records, which are read one by one.

    Attributes:
        sources: paths, the bytes of files, arrays, or the dicts of data sets of Hugging Face.
        rates: of those that are arrays, in Hz; None is that of the processor.
        places: of the records, for messages.
        column: of the table.
        lengths: samples of each, at the rate of the processor.
    """

    sources: Sequence[Any]
    rates: Sequence[int | None]
    places: Sequence[str]
    column: str
    processor: AudioProcessor
    resample: bool
    lengths: Int[np.ndarray, " N"] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.sources)

    def samples(self, number: int) -> Samples:
        """The samples of a recording, at the rate of the processor.

        Raises:
            ValueError: no audio, a damaged file, or another rate, by the place of the record.
        """
        source, where = self.sources[number], self.places[number]
        rate = self.rates[number]
        if not isinstance(source, (str, os.PathLike, bytes, bytearray, Mapping)):
            source = samples_of(source, where, self.column)
        elif isinstance(source, str) and not source:
            raise ValueError(f"{where}: {self.column!r} is empty; expected the path of a recording")
        if isinstance(source, Mapping) and RATE in source:
            rate = None
        elif not isinstance(source, np.ndarray):
            rate = None  # a file says its own
        options: dict[str, Any] = {"resample": self.resample, "name": "the audio"}
        try:
            return self.processor.samples(source, rate, **options)
        except OtherRate as error:
            raise OtherRate(f"{where}: {error.said}", RESAMPLE) from None
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def named(self, number: int) -> str:
        """What messages call a recording: its place, and its file."""
        source = self.sources[number]
        source = source.get("path") if isinstance(source, Mapping) else source
        file = f" ({source})" if isinstance(source, (str, os.PathLike)) else ""
        return f"{self.places[number]}{file}"

    def select(self, numbers: Sequence[int]) -> Sounds:
        """Some of them."""
        some = lambda values: [values[number] for number in numbers]
        return Sounds(
            some(self.sources), some(self.rates), some(self.places), self.column, self.processor,
            self.resample, self.lengths[list(numbers)],
        )  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """16 hex digits: which recordings these are, and what is made of them. Of files it is the
        names and the sizes, not the content, so that they are read once."""
        sums = hashlib.sha256(repr((self.processor.features, self.resample)).encode())
        for source, rate, length in zip(self.sources, self.rates, self.lengths.tolist()):
            sums.update(f"{rate} {length} ".encode() + _known_by(source))
        return sums.hexdigest()[:16]


def sounds_of(form: Form, records: Records, *, least: int = 1) -> tuple[Records, Sounds]:
    """(the records whose recording can be read, their recordings). Each is read once, for its
    length.

    Args:
        least: samples that the model makes something of.

    Raises:
        ValueError: recordings that cannot be read, all by their places, unless `data.damaged`
            leaves them out; none that can be read; a rate that is no number.
        OtherRate: one of another rate than the processor's, unless it is to be resampled.
    """
    assert form.processor is not None
    assert form.processor.audio_processor is not None
    values, column = form.values(records, "audio"), form.columns["audio"]
    said = [record.get(RATE) for record in records.records]
    rates = [None if rate is None else int(rate) for rate in said]
    processor = form.processor.audio_processor
    sounds = Sounds(values, rates, records.places, column, processor, form.data.resample)
    found = in_threads(partial(_length_or_error, sounds, least), range(len(sounds)))
    wrong = [one if isinstance(one, str) else None for one in found]
    kept = leave_out(records, wrong, "recordings", form.data.damaged)
    lengths = np.array([0 if isinstance(one, str) else one for one in found], np.int64)
    whole = [number for number in range(len(records)) if number not in kept.left_out]
    return kept, replace(sounds, lengths=lengths).select(whole)


def _length_or_error(sounds: Sounds, least: int, number: int) -> int | str:
    """The samples of a recording; or what is wrong with it, which another rate is not."""
    try:
        length = len(sounds.samples(number))
    except OtherRate:
        raise
    except ValueError as error:
        return str(error)
    if length >= least:
        return length
    return (
        f"{sounds.named(number)}: {length} samples are less than one frame, which the model makes "
        f"of {least} ({1000 * least / sounds.processor.sampling_rate:g} ms)"
    )


def samples_of(value: Any, where: str, column: str) -> Samples:
    """The samples that a record holds.

    Raises:
        ValueError: what is no audio of one channel, or holds no finite numbers.
    """
    shape = ""
    try:
        array = np.asarray(value, np.float32)
        shape = f" {array.shape}" if array.ndim else ""
    except (TypeError, ValueError):
        array = np.zeros((0, 0), np.float32)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"{where}: {column!r} holds {type_name(value)}{shape}; expected the path or the bytes "
            "of a recording, or the samples of one channel, finite numbers"
        )
    return array


@dataclass(frozen=True)
class Waves:
    """Samples as a model takes them, filled up to the longest with zeros.

    Attributes:
        longest: samples of a row, before a batch is cut to those that it needs.
        stem: how frames are made of samples.
    """

    features: Waveforms
    longest: int
    stem: WaveSpec

    def __call__(self, samples: Samples) -> dict[str, Any]:
        """{"input_values": [S], "samples": how many are audio}."""
        own = self.features([samples], Lengths(padding=False, return_attention_mask=False))
        row = np.zeros(self.longest, np.float32)
        row[: len(samples)] = own["input_values"][0]
        return {"input_values": row, SAMPLES: len(samples)}

    def tokens(self, lengths: Numbers) -> Numbers:
        """The frames of recordings of so many samples."""
        return self.stem.frames(lengths)

    def drawn(self, arrays: dict[str, Any], samples: int, noise: Noise) -> dict[str, Any]:
        """The same: of waveforms it is the model that hides frames."""
        return arrays

    def sized(self, batch: dict[str, Any], width: int) -> dict[str, Any]:
        """A batch of as many samples as so many frames are made of: silence is cut off, or added,
        so that a width is compiled once, whatever the longest of a table."""
        values, needed = batch["input_values"], self.stem.samples(width)
        room = max(needed - values.shape[1], 0)
        return {**batch, "input_values": np.pad(values[:, :needed], [(0, 0), (0, room)])}


def waves_for(form: Form, sounds: Sounds, stem: WaveSpec) -> Waves:
    """What becomes of recordings whose processor makes waveforms.

    Raises:
        ValueError: one has more frames than rows may have.
    """
    longest, most = int(sounds.lengths.max()), form.data.length
    if most and (frames := stem.frames(longest)) > most:
        where = sounds.places[int(sounds.lengths.argmax())]
        raise ValueError(
            f"{where}: the audio gives {frames:,} frames, and rows have {most:,} at most "
            "(--data.length): raise it, or cut the recording"
        )
    return Waves(cast(Waveforms, sounds.processor.features), longest, stem)


@dataclass(frozen=True)
class Spectra:
    """Log-mel features of a window, in which training hides bands and stretches.

    Attributes:
        states: that the encoder makes of a window.
        hidden: None hides nothing.
    """

    features: WhisperFeatures
    states: int
    hidden: SpecAugment | None = None

    def __call__(self, samples: Samples) -> dict[str, Any]:
        """{"input_features": [mels frames]}."""
        return {"input_features": self.features([samples], Lengths())["input_features"][0]}

    def tokens(self, lengths: Numbers) -> Numbers:
        """As many, whatever the length."""
        return np.full_like(lengths, self.states)

    def drawn(self, arrays: dict[str, Any], samples: int, noise: Noise) -> dict[str, Any]:
        """The features with masks, which depend on the noise alone."""
        if self.hidden is None:
            return arrays
        frames = -(-samples // self.features.hop_length)
        masked = self.hidden(arrays["input_features"], noise, frames)
        return {**arrays, "input_features": masked}

    def sized(self, batch: dict[str, Any], width: int) -> dict[str, Any]:
        """The same: a window is all that the encoder reads."""
        return batch


class SoundExamples(Drawn):
    """Examples of recordings; as many as KEPT bytes hold stay in memory once they were made.

    Args:
        read: what becomes of samples.
        once: of each recording, what else there is, such as labels.
        targets: of each, the ids that are written; () where none are.
    """

    def __init__(
        self,
        sounds: Sounds,
        read: Waves | Spectra,
        once: Sequence[Mapping[str, Any]],
        targets: Sequence[Int[np.ndarray, " T"]] = (),
    ):
        self.sounds, self.read, self.once, self.targets = sounds, read, once, targets
        self.tokens = read.tokens(sounds.lengths)
        self.length = int(self.tokens.max())
        sums = hashlib.sha256(f"{sounds.fingerprint} {read!r}".encode())
        for some in once:
            for name, value in sorted(some.items()):
                sums.update(name.encode() + np.ascontiguousarray(value).tobytes())
        for ids in targets:
            sums.update(ids.tobytes() + b" ")
        self.fingerprint = sums.hexdigest()[:16]
        size = sum(np.asarray(array).nbytes for array in self._read(0).values())
        self._kept = lru_cache(KEPT // size)(self._read)

    def _read(self, number: int) -> dict[str, Any]:
        return self.read(self.sounds.samples(number))

    def __len__(self) -> int:
        return len(self.sounds)

    def __getitem__(self, number: Any) -> Any:
        return self._example(number, self._kept(number))

    def draw(self, number: int, noise: Noise) -> Example:
        samples = int(self.sounds.lengths[number])
        return self._example(number, self.read.drawn(self._kept(number), samples, noise))

    def select(self, numbers: Sequence[int]) -> SoundExamples:
        kept = lambda values: [values[number] for number in numbers] if values else ()
        once, targets = kept(self.once), kept(self.targets)
        return SoundExamples(self.sounds.select(numbers), self.read, once, targets)

    @property
    def lengths(self) -> Int[np.ndarray, "N 2"]:
        targets = [len(ids) for ids in self.targets] or [0] * len(self)
        return np.stack([self.tokens, targets], axis=1).astype(np.int64)

    def outline(self, number: int) -> Example:
        return self._example(number, {})

    def sized(self, batch: dict[str, Any], width: int) -> dict[str, Any]:
        return self.read.sized(batch, width)

    def _example(self, number: int, arrays: Mapping[str, Any]) -> Example:
        target = {"labels": self.targets[number]} if self.targets else {}
        once = {**arrays, **self.once[number], NUMBER: number}
        return Example(target=target, once=once, size=int(self.tokens[number]))


def _known_by(source: Any) -> bytes:
    """What tells a recording from others."""
    if isinstance(source, Mapping):
        inner = next(
            (source[n] for n in ("array", "bytes", "path") if source.get(n) is not None), ""
        )
        return f"{source.get(RATE)} ".encode() + _known_by(inner)
    if isinstance(source, (str, os.PathLike)):
        return f"{Path(source).name}\n".encode()
    if isinstance(source, (bytes, bytearray)):
        return hashlib.sha256(source).digest()
    return hashlib.sha256(np.ascontiguousarray(source, np.float32).tobytes()).digest()
