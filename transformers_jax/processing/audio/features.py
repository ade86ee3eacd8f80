"""What models take of sound: Whisper's log-mel features, those of audio spectrogram transformers,
and normalised waveforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from transformers_jax.processing.audio import spectrum
from transformers_jax.processing.audio.read import Samples

Padding = bool | Literal["longest", "max_length", "do_not_pad"]
Arrays = dict[str, Any]
LONG = (
    "truncation=True takes the beginning, truncation=False all of it; tj.transcribe reads it in "
    "windows"
)


@dataclass(frozen=True)
class Lengths:
    """How samples of several lengths become one array: the options of a call.

    `padding` is False (a list of arrays), True or "longest", or "max_length"; None is what the
    model takes. `truncation` None refuses what is longer than `max_length`.
    """

    padding: Padding | None = None
    max_length: int | None = None
    truncation: bool | None = None
    pad_to_multiple_of: int | None = None
    return_attention_mask: bool | None = None


OPTIONS = tuple(field.name for field in fields(Lengths))


def together(
    rows: Sequence[Samples], lengths: Lengths, value: float, side: str, advice: str
) -> tuple[list[Samples], list[Int[np.ndarray, " T"]]]:
    """(rows, masks): cut and filled up as `lengths` says.

    Raises:
        ValueError: a row is too long, or the options say no length.
    """
    most, multiple = lengths.max_length, lengths.pad_to_multiple_of or 1
    if most is not None:
        most = -(-most // multiple) * multiple
        if lengths.truncation:
            rows = [row[:most] for row in rows]
        longest = max(map(len, rows))
        if lengths.truncation is None and longest > most:
            raise ValueError(f"audio of {longest} samples is longer than {most}; {advice}")
    elif lengths.truncation or lengths.padding == "max_length":
        raise ValueError("truncation=True and padding='max_length' need a max_length")
    widths = [len(row) for row in rows]
    if lengths.padding not in (None, False, "do_not_pad"):
        width = most if lengths.padding == "max_length" and most is not None else max(widths)
        width = -(-max(width, *widths) // multiple) * multiple if multiple > 1 else width
        widths = [max(width, len(row)) for row in rows]
    filled, masks = [], []
    for row, width in zip(rows, widths):
        gap = (0, width - len(row)) if side == "right" else (width - len(row), 0)
        filled.append(np.pad(row, gap, constant_values=value))
        masks.append(np.pad(np.ones(len(row), np.int32), gap))
    return filled, masks


def unit_variance(row: Samples) -> Samples:
    """Zero mean and unit variance, in float32."""
    return ((row - row.mean()) / np.sqrt(row.var() + 1e-7)).astype(np.float32)


@dataclass(frozen=True)
class WhisperFeatures:
    """Log-mel features of 30 seconds (Radford et al. 2022, section 2.2), `[mels frames]` a row.

    The logarithm is cut off 8 below the greatest of a row, and scaled to about -1 to 1.
    """

    feature_size: int = 80
    sampling_rate: int = 16000
    hop_length: int = 160
    chunk_length: int = 30
    n_fft: int = 400
    padding_value: float = 0.0
    padding_side: str = "right"
    dither: float = 0.0
    return_attention_mask: bool = False
    do_normalize: bool = False

    def __call__(self, rows: Sequence[Samples], lengths: Lengths) -> Arrays:
        """{"input_features": Float `[B mels frames]`}, and "attention_mask" where it is asked for.

        Raises:
            ValueError: audio of more than the chunk, unless `truncation` says what becomes of it.
        """
        lengths = Lengths(
            padding="max_length" if lengths.padding is None else lengths.padding,
            max_length=lengths.max_length or self.chunk_length * self.sampling_rate,
            truncation=lengths.truncation,
            pad_to_multiple_of=lengths.pad_to_multiple_of,
            return_attention_mask=lengths.return_attention_mask,
        )
        rows, masks = together(rows, lengths, self.padding_value, self.padding_side, LONG)
        if self.do_normalize:
            rows = [_normalized(row, mask, self.padding_value) for row, mask in zip(rows, masks)]
        features = [self.log_mel(row) for row in rows]
        alike = len({len(row) for row in rows}) == 1
        out: Arrays = {"input_features": np.stack(features) if alike else features}
        wants = lengths.return_attention_mask
        if self.return_attention_mask if wants is None else wants:
            frames = [mask[:: self.hop_length][: f.shape[1]] for mask, f in zip(masks, features)]
            out["attention_mask"] = np.stack(frames) if alike else frames
        return out

    def log_mel(self, samples: Samples) -> Float[np.ndarray, "mels frames"]:
        """The features of one row of samples, of any length.

        Raises:
            ValueError: fewer samples than half a window, which cannot be mirrored at the ends.
        """
        half = self.n_fft // 2
        if len(samples) <= half:
            raise ValueError(
                f"audio of {len(samples)} samples is shorter than half a window ({half + 1}); "
                "padding='max_length' fills it up"
            )
        padded = np.pad(samples.astype(np.float64), half, mode="reflect")
        window = np.hanning(self.n_fft + 1)[:-1]
        frames = spectrum.framed(padded, self.n_fft, self.hop_length)[:-1]
        filters = spectrum.slaney_filters(half + 1, self.feature_size, self.sampling_rate)
        power = spectrum.mel_power(frames, window, filters, self.n_fft)
        logs = np.log10(np.maximum(power, 1e-10)).T
        logs = np.maximum(logs, logs.max() - 8)
        return ((logs + 4) / 4).astype(np.float32)


def _normalized(row: Samples, mask: Int[np.ndarray, " T"], fill: float) -> Samples:
    """The samples with zero mean and unit variance, without those that fill the row up."""
    real = mask.astype(bool)
    out = np.full_like(row, fill)
    out[real] = unit_variance(row[real])
    return out


@dataclass(frozen=True)
class SpectrogramFeatures:
    """Kaldi's filter banks of an audio spectrogram transformer, `[frames mels]` a row
    (Gong et al. 2021, section 2.1), cut or filled up to `max_length` frames."""

    feature_size: int = 1
    sampling_rate: int = 16000
    num_mel_bins: int = 128
    max_length: int = 1024
    padding_value: float = 0.0
    padding_side: str = "right"
    do_normalize: bool = True
    mean: float = -4.2677393
    std: float = 4.5689974
    return_attention_mask: bool = False

    def __call__(self, rows: Sequence[Samples], lengths: Lengths) -> Arrays:
        """{"input_values": Float `[B frames mels]`}.

        Raises:
            ValueError: audio shorter than a frame, or longer than `max_length` frames unless
                `truncation` says what becomes of it; options that mean nothing here.
        """
        unused = [n for n in OPTIONS if n != "truncation" and getattr(lengths, n) is not None]
        if unused or lengths.truncation is False:
            raise ValueError(
                f"every row has max_length={self.max_length} frames; "
                f"{', '.join(unused) or 'truncation=False'} means nothing here"
            )
        made = [self.bank(row) for row in rows]
        longest = max(map(len, made))
        if longest > self.max_length and not lengths.truncation:
            raise ValueError(
                f"audio of {longest} frames is longer than max_length={self.max_length}; "
                "truncation=True takes the beginning"
            )
        fixed = [
            np.pad(m[: self.max_length], ((0, max(0, self.max_length - len(m))), (0, 0)))
            for m in made
        ]
        values = np.stack(fixed)
        if self.do_normalize:
            values = (values - np.float32(self.mean)) / np.float32(self.std * 2)
        return {"input_values": values}

    def bank(self, samples: Samples) -> Float[np.ndarray, "frames mels"]:
        """The logarithm of the power in each band, 10 ms a frame."""
        if len(samples) < 400:
            raise ValueError(f"audio of {len(samples)} samples is shorter than a frame of 400")
        filters = spectrum.kaldi_filters(257, self.num_mel_bins, self.sampling_rate)
        frames = spectrum.framed(samples, 400, 160)
        power = spectrum.mel_power(frames, np.hanning(400), filters, 512, preemphasis=0.97)
        return np.log(np.maximum(power, 1.192092955078125e-07)).astype(np.float32)


@dataclass(frozen=True)
class Waveforms:
    """Samples as they are, or with zero mean and unit variance (wav2vec 2.0, HuBERT, WavLM)."""

    feature_size: int = 1
    sampling_rate: int = 16000
    padding_value: float = 0.0
    padding_side: str = "right"
    do_normalize: bool = True
    return_attention_mask: bool = False

    def __call__(self, rows: Sequence[Samples], lengths: Lengths) -> Arrays:
        """{"input_values": Float `[B T]`}, and "attention_mask" where the file or the call asks."""
        wants = lengths.return_attention_mask
        wants = self.return_attention_mask if wants is None else wants
        padding = "longest" if lengths.padding is None else lengths.padding
        lengths = Lengths(
            padding, lengths.max_length, lengths.truncation, lengths.pad_to_multiple_of, wants
        )
        advice = "truncation=True takes the beginning"
        rows, masks = together(rows, lengths, self.padding_value, self.padding_side, advice)
        if self.do_normalize:
            pads = padding not in (False, "do_not_pad")
            whole = not (wants and pads)  # without a mask, what fills rows up counts like silence
            rows = [
                unit_variance(row) if whole else _normalized(row, mask, self.padding_value)
                for row, mask in zip(rows, masks)
            ]
        alike = len({len(row) for row in rows}) == 1
        stack = lambda parts: np.stack(parts) if alike else parts
        out: Arrays = {"input_values": stack(rows)}
        return {**out, "attention_mask": stack(masks)} if wants else out


Features = WhisperFeatures | SpectrogramFeatures | Waveforms
