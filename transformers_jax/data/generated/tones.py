"""`dtmf` and `morse`: the tones of telephone keys, and letters in Morse code, in noise.

A record has `audio` (float32 samples at `sampling_rate`, two seconds at most), `text`, and
`decibels`: how much louder the signal is than the noise. What is said is of one split; durations,
pauses, pitch and noise are drawn for each record.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.data.generated.splits import split_of

RATE = 4000
KEYS = ("123A", "456B", "789C", "*0#D")
LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)  # Hz (ITU-T Q.23)
DIGITS, LETTERS = 6, 3  # of a text at most
ALONE = 60  # recordings of each letter by itself, which are trained on
TONE, PAUSE = (0.05, 0.09), (0.04, 0.08)  # seconds
DOT = (0.03, 0.04)  # seconds; a dash is three of them (ITU-R M.1677)
RAMP = 0.005  # seconds in which a tone rises and falls
CODES = {
    "A": ".-", "B": "-...", "C": "-.-.", "D": "-..", "E": ".", "F": "..-.", "G": "--.", "H": "....",
    "I": "..", "J": ".---", "K": "-.-", "L": ".-..", "M": "--", "N": "-.", "O": "---", "P": ".--.",
    "Q": "--.-", "R": ".-.", "S": "...", "T": "-", "U": "..-", "V": "...-", "W": ".--", "X": "-..-",
    "Y": "-.--", "Z": "--..",
}  # fmt: skip
COUNTS = {"train": 6000, "validation": 400, "test": 400}
QUIET, LOUD = 5.0, 20.0  # decibels of the records that are trained on
MEASURED = 10.0  # of the others


def dtmf(split: str) -> list[dict[str, Any]]:
    """The records of a split: numbers as they are dialled."""
    symbols = "".join(KEYS)
    return [_record(text, split, _dialled) for text in _texts(split, symbols, DIGITS, 0)]


def morse(split: str) -> list[dict[str, Any]]:
    """The records of a split: two or three letters in Morse code, and among those that are trained
    on letters by themselves, by which codes are learned before their order is."""
    texts = _texts(split, "".join(CODES), LETTERS, 1)
    found = [_record(text, split, _keyed) for text in texts]
    if split == "train":
        takes = [(letter, take) for letter in CODES for take in range(ALONE)]
        found += [_record(letter, split, _keyed, take) for letter, take in takes]
    return found


def _texts(split: str, symbols: str, most: int, seed: int) -> list[str]:
    """Different texts of one split, of two symbols up to so many."""
    draw = random.Random(f"{split} {seed}")
    found: dict[str, None] = {}
    for _ in range(100 * COUNTS[split]):
        if len(found) == COUNTS[split]:
            break
        text = "".join(draw.choices(symbols, k=draw.randint(2, most)))
        if split_of(text) == split:
            found[text] = None
    return list(found)


def _record(text: str, split: str, sound: Any, take: int = 0) -> dict[str, Any]:
    number = int.from_bytes(text.encode(), "big") % 2**63
    seeds = (number, len(text), take) if take else (number, len(text))
    rng = np.random.default_rng(seeds)
    signal = np.concatenate([_silence(rng), sound(text, rng), _silence(rng)])
    decibels = rng.uniform(QUIET, LOUD) if split == "train" else MEASURED
    # the power of the tones themselves, not of the pauses between them
    power = float(np.square(signal[signal != 0]).mean())
    noise = rng.normal(size=signal.shape) * np.sqrt(power / 10 ** (decibels / 10))
    heard = signal + noise
    heard = (heard - heard.mean()) / heard.std()
    return {
        "audio": heard.astype(np.float32),
        "sampling_rate": RATE,
        "text": text,
        "decibels": float(decibels),
    }


def _dialled(text: str, rng: np.random.Generator) -> Float[np.ndarray, " T"]:
    """A key is a low tone and a high one together."""
    parts = []
    for number, key in enumerate(text):
        row = next(n for n, keys in enumerate(KEYS) if key in keys)
        column = KEYS[row].index(key)
        if number:
            parts.append(np.zeros(int(rng.uniform(*PAUSE) * RATE)))
        pitches = (LOW[row], HIGH[column])
        parts.append(_tone(pitches, rng.uniform(*TONE), rng))
    return np.concatenate(parts)


def _keyed(text: str, rng: np.random.Generator) -> Float[np.ndarray, " T"]:
    """One dot of silence within a letter, three between letters."""
    dot, pitch = rng.uniform(*DOT), (rng.uniform(500, 900),)
    parts = []
    for number, letter in enumerate(text):
        if number:
            parts.append(np.zeros(int(3 * dot * RATE)))
        for place, mark in enumerate(CODES[letter]):
            if place:
                parts.append(np.zeros(int(dot * RATE)))
            parts.append(_tone(pitch, dot * (3 if mark == "-" else 1), rng))
    return np.concatenate(parts)


def _tone(
    pitches: tuple[float, ...], seconds: float, rng: np.random.Generator
) -> Float[np.ndarray, " T"]:
    time = np.arange(int(seconds * RATE)) / RATE
    waves = [np.sin(2 * np.pi * (p * time + rng.random())) for p in pitches]
    rise = np.minimum(1, np.minimum(time, time[-1] - time) / RAMP)
    return np.asarray(sum(waves) * rise / len(pitches))


def _silence(rng: np.random.Generator) -> Float[np.ndarray, " T"]:
    return np.zeros(int(rng.uniform(0.02, 0.1) * RATE))
