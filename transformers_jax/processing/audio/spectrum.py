"""Log-mel spectra: the filters of the mel scale, and the power of windows of sound.

Two definitions of the scale: Slaney's (Auditory Toolbox, 1998; linear up to 1 kHz), by which
Whisper was trained, and Kaldi's, by which audio spectrogram transformers were.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float

Samples = Float[np.ndarray, " T"]
Frames = Float[np.ndarray, "frames bins"]
LINEAR, STEP = 200 / 3, np.log(6.4) / 27  # Hz a mel below 1 kHz; of the logarithm above
BLOCK = 4096  # frames whose spectra are in memory together


def _slaney(hertz: np.ndarray) -> np.ndarray:
    """Mels of frequencies."""
    above = 15 + np.log(np.maximum(hertz, 1000) / 1000) / STEP
    return np.where(hertz >= 1000, above, hertz / LINEAR)


def _of_slaney(mels: np.ndarray) -> np.ndarray:
    """Frequencies of mels."""
    return np.where(mels >= 15, 1000 * np.exp(STEP * (mels - 15)), LINEAR * mels)


def _kaldi(hertz: np.ndarray | float) -> np.ndarray:
    return np.asarray(1127 * np.log(1 + np.asarray(hertz) / 700))


def _triangles(places: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Triangles over three neighbouring corners each, at these places: `[places corners - 2]`."""
    steps = np.diff(corners)
    distance = corners[None] - places[:, None]
    return np.maximum(0, np.minimum(-distance[:, :-2] / steps[:-1], distance[:, 2:] / steps[1:]))


@lru_cache(maxsize=8)
def slaney_filters(bins: int, mels: int, rate: int) -> Float[np.ndarray, "bins mels"]:
    """Triangles from 0 to 8000 Hz, each of the same area (Slaney's normalisation)."""
    low, high = _slaney(np.array([0.0, 8000.0]))
    corners = _of_slaney(np.linspace(low, high, mels + 2))
    filters = _triangles(np.linspace(0, rate // 2, bins), corners)
    return filters * (2 / (corners[2:] - corners[:-2]))


@lru_cache(maxsize=8)
def kaldi_filters(bins: int, mels: int, rate: int) -> Float[np.ndarray, "bins mels"]:
    """Triangles on the mel scale itself, from 20 Hz to half the sampling rate."""
    corners = np.linspace(float(_kaldi(20)), float(_kaldi(rate // 2)), mels + 2)
    return _triangles(_kaldi(rate / ((bins - 1) * 2) * np.arange(bins)), corners)


def framed(samples: Samples, length: int, hop: int) -> Float[np.ndarray, "frames length"]:
    """Windows of the samples, each `hop` after the one before; a view."""
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]


def mel_power(
    frames: Float[np.ndarray, "frames length"],
    window: Samples,
    filters: Float[np.ndarray, "bins mels"],
    fft: int,
    preemphasis: float = 0.0,
) -> Float[np.ndarray, "frames mels"]:
    """The power of frames in the bands of the filters, in float64.

    Args:
        preemphasis: where it is not 0, Kaldi's steps: each frame's mean is taken away, and this
            share of the sample before from every sample.
    """
    rows = []
    for start in range(0, len(frames), BLOCK):
        block = np.asarray(frames[start : start + BLOCK], np.float64)
        if preemphasis:
            block = block.copy()
            block -= block.mean(1, keepdims=True)
            block[:, 1:] -= preemphasis * block[:, :-1]
            block[:, 0] *= 1 - preemphasis
        spectra = np.fft.rfft(block * window, fft)
        power = np.square(spectra.real)
        power += np.square(spectra.imag)
        rows.append(power @ filters)
    return np.concatenate(rows)
