"""`spoken_digits`: numbers digit by digit, as espeak-ng speaks them, in noise.

A record has `audio` (float32 samples at `sampling_rate`), `text` and `voice`. What is said is of
one split; voice, pitch, speed and noise are drawn for each record. It needs the program espeak-ng.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.data.generated.splits import split_of
from transformers_jax.processing.audio.read import read_audio

PROGRAM = "espeak-ng"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COUNTS = {"train": 800, "validation": 100, "test": 100}
LONGEST = 5  # digits of a number
VOICES = ("en-us", "en-gb", "en-gb-scotland", "en-us+f3", "en-gb+m3")
PITCH, SPEED = (30, 70), (140, 200)  # of the program; words a minute
QUIET, LOUD = 10.0, 30.0  # decibels by which the voice is louder than the noise


def digits(split: str) -> list[dict[str, Any]]:
    """The records of a split.

    Raises:
        ValueError: the program is not installed, or fails.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ValueError(
            f"generated:spoken_digits is spoken by the program {PROGRAM}, which is not installed: "
            "apt install espeak-ng, brew install espeak-ng, or github.com/espeak-ng; "
            "generated:dtmf needs nothing"
        )
    draw = random.Random(split)
    found: dict[str, None] = {}
    while len(found) < COUNTS[split]:
        number = "".join(draw.choices("0123456789", k=draw.randint(1, LONGEST)))
        if len(number) > 2 and split_of(number) == split:
            found[number] = None
    return [_spoken(program, number) for number in found]


def _spoken(program: str, number: str) -> dict[str, Any]:
    draw = random.Random(number)
    text, voice = " ".join(WORDS[int(digit)] for digit in number), draw.choice(VOICES)
    pitch, speed = draw.randint(*PITCH), draw.randint(*SPEED)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"  # of what is piped, the header says no length
        command = [program, "-v", voice, "-p", str(pitch), "-s", str(speed), "-w", str(file), text]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise ValueError(f"{' '.join(command)} failed: {said:.200}")
        samples, rate = read_audio(file)
    rng = np.random.default_rng((int(number), len(number)))
    power = float(np.square(samples).mean()) / 10 ** (draw.uniform(QUIET, LOUD) / 10)
    heard = samples + rng.normal(size=samples.shape) * np.sqrt(power)
    return {
        "audio": heard.astype(np.float32),
        "sampling_rate": rate,
        "text": text,
        "voice": voice,
    }
