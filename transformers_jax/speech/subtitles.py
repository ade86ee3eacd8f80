"""Subtitles of a transcript: SubRip (.srt) and WebVTT (.vtt)."""

from __future__ import annotations

from transformers_jax.speech.transcript import Transcript


def srt(transcript: Transcript) -> str:
    """SubRip: numbered blocks, with a comma before milliseconds."""
    blocks = [
        f"{number}\n{_time(one.start, ',')} --> {_time(one.end, ',')}\n{_line(one.text)}\n"
        for number, one in enumerate(transcript.segments, start=1)
    ]
    return "\n".join(blocks)


def vtt(transcript: Transcript) -> str:
    """WebVTT (W3C, 2019)."""
    blocks = [
        f"{_time(one.start, '.')} --> {_time(one.end, '.')}\n{_escaped(_line(one.text))}\n"
        for one in transcript.segments
    ]
    return "WEBVTT\n\n" + "\n".join(blocks)


def _time(seconds: float, point: str) -> str:
    """Hours:minutes:seconds with milliseconds."""
    whole = round(seconds * 1000)
    minutes, rest = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _line(text: str) -> str:
    """The text without empty lines and arrows, which end a block and mark its times."""
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
