"""Sound as one channel of samples between -1 and 1, from a file, its bytes or an array."""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from transformers_jax.extras import need

Samples = Float[np.ndarray, " T"]
PCM, FLOATS, EXTENSIBLE = 1, 3, 0xFFFE  # formats of WAV
FEW = 8  # axes that are no longer than this are taken for channels, in messages


def read_audio(
    source: Any, sampling_rate: int | None = None, name: str = "audio"
) -> tuple[Samples, int | None]:
    """(samples in float32, their sampling rate): channels are averaged.

    WAV of 8, 16, 24 or 32 bits and of floats is read without any library; FLAC, Ogg, MP3 and other
    kinds by soundfile (the extra `audio`).

    Args:
        source: a path, the bytes of a file, a dict with "array" and "sampling_rate" or with "bytes"
            or "path" (as data sets of Hugging Face hold audio), or an array `[T]`.
        sampling_rate: of an array, in Hz. A file has its own, which it must be if it is given.

    Raises:
        ValueError: no audio, a damaged file (by its name), an empty one, samples that are not
            finite, an array of several channels, or two sampling rates.
    """
    if isinstance(source, Mapping):
        source, sampling_rate, name = _struct(source, sampling_rate, name)
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        path = isinstance(source, (str, os.PathLike))
        name = str(source) if path else name
        samples, rate = _file(source, name)
        if sampling_rate not in (None, rate):
            raise ValueError(
                f"{name} has {rate} samples a second, and sampling_rate is {sampling_rate}"
            )
        samples = samples.mean(1) if samples.shape[1] > 1 else samples[:, 0]
    else:
        samples, rate = _array(source, name), sampling_rate
    return check_samples(samples.astype(np.float32), name), rate


def check_samples(samples: Samples, name: str) -> Samples:
    """The samples, of which there are some, and which are finite.

    Raises:
        ValueError: otherwise, with the first place.
    """
    if not len(samples):
        raise ValueError(f"{name} is empty: it has no samples")
    if not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise ValueError(f"{name} has samples that are not finite, the first at {first}")
    return samples


def resample(samples: Samples, rate: int, target: int) -> Samples:
    """The samples at another rate (soxr, high quality): ceil(T * target / rate) of them.

    Raises:
        ValueError: the extra `audio` is missing, or nothing is left.
    """
    if rate == target:
        return samples
    length = math.ceil(len(samples) * target / rate)
    made = need("soxr", "audio", "resampling").resample(samples, rate, target, quality="soxr_hq")
    made = np.pad(made, (0, max(0, length - len(made))))[:length]
    return np.ascontiguousarray(made, dtype=np.float32)


def _struct(
    source: Mapping[str, Any], sampling_rate: int | None, name: str
) -> tuple[Any, int | None, str]:
    rate = source.get("sampling_rate", sampling_rate)
    if source.get("array") is not None:
        return np.asarray(source["array"]), rate, name
    content, path = source.get("bytes"), source.get("path")
    if content is None and path is None:
        raise ValueError(
            f"{name} is a dict with {sorted(map(str, source))}; expected 'array', 'bytes' or 'path'"
        )
    return (path if content is None else content), sampling_rate, str(path or name)


def _array(source: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(source)
    except ValueError:
        array = np.asarray(source, dtype=object)
    if array.dtype.kind not in "fiu":
        kind = "None" if source is None else f"a {type(source).__name__} of {array.dtype}"
        raise ValueError(f"{name} is {kind}; expected a path, bytes or samples")
    if array.ndim != 1:
        axis = int(np.argmin(array.shape))
        advice = f"; mix them with array.mean({axis})" if array.shape[axis] <= FEW else ""
        raise ValueError(f"{name} has shape {array.shape}; expected one channel [T]{advice}")
    if array.dtype.kind in "iu":
        raise ValueError(
            f"{name} has samples in {array.dtype}; expected floats between -1 and 1 (of int16: "
            "array / 32768)"
        )
    return array


# ---------------------------------------------------------------- files


def _file(source: Any, name: str) -> tuple[np.ndarray, int]:
    """(samples `[T channels]`, sampling rate)."""
    try:
        path = isinstance(source, (str, os.PathLike))
        content = Path(source).read_bytes() if path else bytes(source)
    except FileNotFoundError:
        raise ValueError(f"{name} does not exist") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror})") from None
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        plain = _wav(content, name)
        if plain is not None:
            return plain
    if not content:
        raise ValueError(f"{name} is empty: it has no bytes")
    soundfile = need("soundfile", "audio", name)
    try:
        return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = str(getattr(error, "error_string", error)).rstrip(".")  # no repr of an object
        raise ValueError(f"{name} is no audio that can be read: {reason}") from None


def _wav(content: bytes, name: str) -> tuple[np.ndarray, int] | None:
    """A plain WAV file; None of one that is compressed."""
    form: tuple[int, int, int, int] | None = None
    place = 12
    while place + 8 <= len(content):
        kind, size = (
            content[place : place + 4],
            int.from_bytes(content[place + 4 : place + 8], "little"),
        )
        body = content[place + 8 : place + 8 + size]
        if kind == b"fmt " and len(body) >= 16:
            code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
            if code == EXTENSIBLE and len(body) >= 26:
                code = int.from_bytes(body[24:26], "little")
            form = code, channels, rate, bits
        if kind == b"data" and form is not None:
            code, channels, rate, bits = form
            samples = _samples(body, code, bits)
            if samples is None:
                return None
            if not channels or not rate or len(body) < size or len(samples) % channels:
                raise ValueError(
                    f"{name} is a damaged WAV file: {len(body)} of {size} bytes of samples, "
                    f"{channels} channels, {rate} samples a second"
                )
            return samples.reshape(-1, channels), rate
        place += 8 + size + size % 2
    raise ValueError(f"{name} is a damaged WAV file: it has no samples")


def _samples(body: bytes, code: int, bits: int) -> np.ndarray | None:
    """The samples of a chunk, scaled to -1 to 1; None of a format that is not plain."""
    if code == FLOATS and bits in (32, 64):
        width = bits // 8
        return np.frombuffer(body[: len(body) // width * width], f"<f{width}").astype(np.float32)
    if code != PCM or bits not in (8, 16, 24, 32):
        return None
    if bits == 8:
        return ((np.frombuffer(body, np.uint8).astype(np.float32) - 128) / 128).astype(np.float32)
    width = bits // 8
    raw = np.frombuffer(body[: len(body) // width * width], np.uint8).reshape(-1, width)
    words = np.zeros((len(raw), 4), np.uint8)
    words[:, 4 - width :] = raw  # the sign stays at the top
    return (words.view("<i4")[:, 0] / 2**31).astype(np.float32)
