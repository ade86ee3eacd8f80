"""From the tokens of a window to segments: cut where two times stand together (Radford et al. 2022,
section 3.8, and the released code)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """A piece of what was written in a window: the tokens `begin` to `end`, excluded, and the times
    in steps of the model's times from the beginning of the window."""

    begin: int
    end: int
    start_time: float
    end_time: float


def cut_at_times(
    tokens: Sequence[int], first_time: int | None, frames: int, per_time: int
) -> tuple[list[Cut], int]:
    """(the pieces, how many frames further the next window begins).

    Two times in a row end a piece and begin the next one. What follows the last such pair was cut
    off by the window's end, so that the next window begins there; a single time at the end says
    that nothing follows it, so that the whole window is done.

    Args:
        tokens: what was written, without the end of the text.
        frames: of the window that hold sound.
        per_time: frames in a step of time.
    """
    is_time = [first_time is not None and token >= first_time for token in tokens]
    single = is_time[-2:] == [False, True]
    ends = [i + 1 for i in range(len(tokens) - 1) if is_time[i] and is_time[i + 1]]
    zero = first_time or 0
    if not ends:
        times = [token for token, time in zip(tokens, is_time) if time]
        last = times[-1] - zero if times and times[-1] != zero else frames // per_time
        return [Cut(0, len(tokens), 0.0, float(last))], frames
    if single:
        ends.append(len(tokens))
    pieces, begin = [], 0
    for end in ends:
        pieces.append(Cut(begin, end, tokens[begin] - zero, tokens[end - 1] - zero))
        begin = end
    return pieces, frames if single else (tokens[begin - 1] - zero) * per_time
