"""Long audio in chunks that overlap, which are decoded side by side in batches; their texts are
joined where they agree, as in transformers' pipeline. Faster than windows one after the other, and
less exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.speech.decoding import Decoder
from transformers_jax.speech.segments import cut_at_times
from transformers_jax.speech.windows import Steps


@dataclass(frozen=True)
class Chunk:
    """A stretch of an audio.

    Attributes:
        features: of a window, filled up with silence.
        begin: its first frame in the audio.
        frames: of sound.
    """

    features: Float[np.ndarray, "M F"]
    begin: int
    frames: int
    initial: tuple[int, ...]


@dataclass(frozen=True)
class Said:
    """A token of text, and when the piece that it is of was said, in frames of the audio."""

    token: int
    start: float
    end: float


def spans(samples: int, chunk: int, overlap: int) -> list[tuple[int, int]]:
    """(begin, end) of the chunks of so many samples, each `overlap` samples over the next.

    Raises:
        ValueError: chunks that would not move on.
    """
    if not 0 <= overlap < chunk:
        raise ValueError(f"an overlap of {overlap} samples needs chunks of more, not of {chunk}")
    step, found = chunk - overlap, list[tuple[int, int]]()
    for begin in range(0, samples, step):
        found.append((begin, min(begin + chunk, samples)))
        if begin + chunk >= samples:
            break
    return found


def read_chunks(
    decoder: Decoder, steps: Steps, chunks: Sequence[Chunk], show: Callable[[float], None]
) -> list[list[Said]]:
    """What each chunk says; `show` is told which share is done."""
    found: list[list[Said]] = []
    first = decoder.vocabulary.first_time if decoder.times else None
    for number, begin in enumerate(range(0, len(chunks), decoder.batch)):
        some = chunks[begin : begin + decoder.batch]
        states = decoder.encode([chunk.features for chunk in some])
        texts = decoder(states, [chunk.initial for chunk in some], number)
        for chunk, one in zip(some, texts):
            said: list[Said] = []
            tokens = () if one.silent else one.tokens
            for cut in cut_at_times(tokens, first, chunk.frames, steps.per_time)[0]:
                times = (chunk.begin + t * steps.per_time for t in (cut.start_time, cut.end_time))
                start, end = times
                of_text = [t for t in tokens[cut.begin : cut.end] if first is None or t < first]
                said += [Said(token, start, end) for token in of_text]
            found.append(said)
        show(min(1.0, (begin + decoder.batch) / len(chunks)))
    return found


def joined(parts: Sequence[Sequence[Said]]) -> list[Said]:
    """The texts of chunks that overlap as one text: each is joined to the next in the middle of the
    stretch where they agree most."""
    whole: list[Said] = []
    left: Sequence[Said] = parts[0] if parts else ()
    for right in parts[1:]:
        upto, since = agreement([s.token for s in left], [s.token for s in right])
        whole += left[:upto]
        left = right[since:]
    return [*whole, *left]


def agreement(left: Sequence[int], right: Sequence[int]) -> tuple[int, int]:
    """(how much of the left text is kept, where the right one goes on).

    Of all ways to lay the beginning of the right text over the end of the left one, the one with
    the greatest share of equal tokens; of like shares, the longer. One equal token says nothing.
    """
    a, b = np.asarray(left), np.asarray(right)
    best, where = 0.0, (len(a), 0)
    for shift in range(1, len(a) + len(b)):
        at = max(0, len(a) - shift), min(len(a), len(a) + len(b) - shift)
        on = max(0, shift - len(a)), min(len(b), shift)
        equal = int((a[slice(*at)] == b[slice(*on)]).sum())
        share = equal / shift + shift / 10_000
        if equal > 1 and share > best:
            best, where = share, (sum(at) // 2, sum(on) // 2)
    return where
