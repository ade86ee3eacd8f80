"""Sound to the arguments of a model: reading, the sampling rate, and the model's features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.json_files import errors_of
from transformers_jax.processing.audio.features import (
    OPTIONS,
    Features,
    Lengths,
    SpectrogramFeatures,
    Waveforms,
    WhisperFeatures,
)
from transformers_jax.processing.audio.read import Samples, check_samples, read_audio, resample
from transformers_jax.spelling import nearest

TYPES: Mapping[str, type[Features]] = {
    "WhisperFeatureExtractor": WhisperFeatures,
    "ASTFeatureExtractor": SpectrogramFeatures,
    "Wav2Vec2FeatureExtractor": Waveforms,
}
OF_MODELS: Mapping[str, type[Features]] = {
    "whisper": WhisperFeatures,
    "audio-spectrogram-transformer": SpectrogramFeatures,
    **dict.fromkeys(
        ("wav2vec2", "hubert", "wavlm", "unispeech", "sew", "data2vec-audio"), Waveforms
    ),
}
"""The type of a model -> its features, for files that name none."""
DERIVED = ("n_samples", "nb_max_frames")  # Whisper's, of its other settings
IGNORED = ("feature_extractor_type", "processor_class", "auto_map", "mel_filters", "window")
IGNORED += ("return_tensors", "_processor_class", "tokenizer_class")


class OtherRate(ValueError):
    """Sound has another rate than the model reads, and is not to be resampled.

    Attributes:
        said: the two rates.
    """

    def __init__(self, said: str, setting: str):
        super().__init__(f"{said}; {setting} makes them that")
        self.said = said


@dataclass(frozen=True)
class AudioProcessor:
    """Sound in, a dict of the model's arguments out.

    Attributes:
        features: what the model takes, with all its settings.
    """

    features: Features

    @property
    def sampling_rate(self) -> int:
        """Samples a second that the model was trained with."""
        return self.features.sampling_rate

    def __call__(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        *,
        resample: bool = False,
        **lengths: Any,
    ) -> dict[str, Any]:
        """{"input_features"} or {"input_values"}, and "attention_mask" where it is asked for.

        Args:
            audio: one of what `read_audio` reads, a list of them, or an array `[B T]` of mono rows.
            sampling_rate: of arrays; left out, it is the model's. Files have their own.
            resample: whether another rate is made the model's; otherwise it is an error.
            lengths: `padding`, `max_length`, `truncation`, `pad_to_multiple_of` and
                `return_attention_mask`, as of `features.Lengths`.

        Raises:
            TypeError: an unknown option.
            ValueError: what is no audio, of another rate, too short or too long.
        """
        for name in lengths.keys() - {*OPTIONS}:
            raise TypeError(f"audio has no option {name!r}{nearest(name, (*OPTIONS, 'resample'))}")
        rows = [
            self.samples(source, sampling_rate, resample=resample, name=name)
            for name, source in named(audio)
        ]
        return self.features(rows, Lengths(**lengths))

    def samples(
        self,
        source: Any,
        sampling_rate: int | None = None,
        *,
        resample: bool = False,
        name: str = "audio",
    ) -> Samples:
        """One channel of samples at the model's rate.

        Raises:
            ValueError: as of `read_audio`.
            OtherRate: another rate, and `resample` is not asked for.
        """
        samples, rate = read_audio(source, sampling_rate, name)
        if rate is None or rate == self.sampling_rate:
            return samples
        name = str(source) if isinstance(source, (str, Path)) else name
        if type(rate) is not int or rate < 1:
            raise ValueError(f"sampling_rate is {rate!r}; expected samples a second, such as 16000")
        if not resample:
            raise OtherRate(
                f"{name} has {rate} samples a second, and the model was trained with "
                f"{self.sampling_rate}",
                "resample=True",
            )
        return check_samples(_resampled(samples, rate, self.sampling_rate), name)


_resampled = resample  # which an argument of the same name hides


def named(audio: Any) -> list[tuple[str, Any]]:
    """(what messages call it, source) of one source, of a list of them, or of an array `[B T]`.

    Raises:
        ValueError: there is none, or an array that looks like channels of one sound.
    """
    if isinstance(audio, (list, tuple)):
        whole = bool(audio) and all(isinstance(x, (int, float, np.number)) for x in audio)
        sources = [np.asarray(audio, np.float32)] if whole else list(audio)
        sources = [
            np.asarray(s, np.float32) if isinstance(s, (list, tuple)) else s for s in sources
        ]
        if not sources:
            raise ValueError("audio is empty: it has no samples")
    elif hasattr(audio, "__array__") and np.ndim(audio) == 2:
        rows, length = np.shape(audio)
        if length < rows:
            raise ValueError(
                f"audio has shape {(rows, length)}, which is a batch of {rows} rows of {length} "
                "samples; of one sound [T channels], pass array.mean(1)"
            )
        sources = list(np.asarray(audio))
    else:
        sources = [audio]
    return [(f"audio {n}" if len(sources) > 1 else "audio", one) for n, one in enumerate(sources)]


def audio_processor(config: Mapping[str, Any], model_type: str | None = None) -> AudioProcessor:
    """The processor that preprocessor_config.json describes.

    Args:
        model_type: of the model's config, where the file names no class.

    Raises:
        ValueError: an unknown class, or settings that it does not have or that mean nothing.
    """
    name = config.get("feature_extractor_type")
    kind = OF_MODELS.get(str(model_type)) if name is None else TYPES.get(name)
    if kind is None:
        known = ", ".join(TYPES)
        raise ValueError(
            f"{name or 'audio of models of the type ' + repr(model_type)} is not supported"
            f"{nearest(str(name), TYPES)}; known are {known}"
        )
    known_settings = {field.name: field.default for field in fields(kind)}
    given = {k: v for k, v in config.items() if k not in IGNORED and v is not None}
    derived = {k: given.pop(k) for k in DERIVED if k in given and kind is WhisperFeatures}
    with errors_of(name or kind.__name__):
        _check(given, known_settings)
        features = kind(**given)
        _check_values(features, derived)
    return AudioProcessor(features)


def _check(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"there is no setting {name!r}{nearest(name, known)}")
        expected = type(known[name])
        right = type(value) is expected or (expected is float and type(value) is int)
        if not right:
            raise ValueError(f"{name} is {value!r}; expected {expected.__name__}")


def _check_values(features: Features, derived: Mapping[str, Any]) -> None:
    if features.padding_side not in ("left", "right"):
        raise ValueError(f"padding_side is {features.padding_side!r}; expected 'left' or 'right'")
    if features.sampling_rate < 1 or features.feature_size < 1:
        raise ValueError(
            f"sampling_rate={features.sampling_rate} and feature_size={features.feature_size}; "
            "expected numbers from 1 on"
        )
    if not isinstance(features, WhisperFeatures):
        if features.feature_size != 1:
            raise ValueError(f"feature_size={features.feature_size}; samples have one feature")
        return
    if features.dither:
        raise ValueError(f"dither={features.dither}: noise is not added; pass dither=0.0")
    samples = features.chunk_length * features.sampling_rate
    expected = {"n_samples": samples, "nb_max_frames": samples // features.hop_length}
    for name, value in derived.items():
        if value != expected[name]:
            raise ValueError(
                f"{name}={value}, and chunk_length, sampling_rate and hop_length make it "
                f"{expected[name]}"
            )
