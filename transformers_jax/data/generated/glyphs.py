"""`glyphs`: pictures of characters, and their names in Unicode.

A record has `image` (uint8 [32, 32], white on black), `text` ("LATIN SMALL LETTER A WITH GRAVE"),
`character` and `face`, the font that it is drawn in. The characters are those of DejaVu Sans, which
comes with matplotlib; Pillow draws them. What is trained on is drawn in eight faces of DejaVu and a
little aside, what is held out in the upright one alone.

Splits are by the hash of the name. A held-out name is made of words, each of which names that are
trained on have several times, so that the character is new and its parts are known. Of characters
that look the same, such as A in Latin, Greek and Cyrillic, the first is in the table.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from transformers_jax.data.generated.splits import split_of
from transformers_jax.extras import need

SIZE = 32  # pixels of a side
POINTS, LEAST_POINTS = 22, 6
BASE = 23  # the row of the baseline
FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
)
HELD_OUT = 256  # characters of "validation" and of "test"
KNOWN = 3  # names with a word, at least, for it to be in a held-out name
UNSEEN = ("C", "Z", "M")  # categories: control, separators, marks that combine with a letter
WORD = re.compile(r"[^ -]+")

Glyph = UInt8[np.ndarray, "32 32"]


def records(split: str) -> list[dict[str, Any]]:
    """The records of a split."""
    if split != "train":
        return [_record(name, FACES[0], (0, 0)) for name in _names()[split]]
    made = []
    for name in _names()[split]:
        for face in FACES:
            if ord(_character(name)) in _font(face).characters:
                made.append(_record(name, face, _aside(f"{name} {face}")))
    return made


def words(name: str) -> list[str]:
    """The words of a name, at spaces and hyphens."""
    return WORD.findall(name)


@functools.cache  # the font stays the same, and drawing all of it takes seconds
def _names() -> dict[str, list[str]]:
    """The names of the characters of each split."""
    different: dict[bytes, str] = {}
    for code in sorted(_font(FACES[0]).characters):
        name = unicodedata.name(chr(code), "")
        if not name or unicodedata.category(chr(code))[0] in UNSEEN:
            continue
        glyph = _drawn(chr(code), FACES[0], (0, 0))
        if glyph.any():
            different.setdefault(glyph.tobytes(), name)
    found: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for name in different.values():
        found[split_of(name)].append(name)
    times = collections.Counter(word for name in found["train"] for word in {*words(name)})
    for split in ("validation", "test"):
        known = [n for n in found[split] if all(times[word] >= KNOWN for word in words(n))]
        found[split] = sorted(known, key=_order)[:HELD_OUT]
    return found


def _order(name: str) -> bytes:
    """By which some of the names are taken."""
    return hashlib.sha256(f"glyph {name}".encode()).digest()


def _aside(key: str) -> tuple[int, int]:
    """By how many pixels a glyph is drawn to the right and further down."""
    first, second = hashlib.sha256(key.encode()).digest()[:2]
    return first % 3 - 1, second % 3 - 1


def _record(name: str, face: str, aside: tuple[int, int]) -> dict[str, Any]:
    character = _character(name)
    image = _drawn(character, face, aside)
    return {"image": image, "text": name, "character": character, "face": face}


def _character(name: str) -> str:
    return unicodedata.lookup(name)


def _drawn(character: str, face: str, aside: tuple[int, int]) -> Glyph:
    """A character on its baseline, smaller where it would not fit."""
    image_of, draw_of = (
        need(f"PIL.{name}", "vision", "generated:glyphs") for name in ("Image", "ImageDraw")
    )
    across, down = aside
    for points in range(POINTS, LEAST_POINTS - 1, -2):
        font = _font(face).of(points)
        left, top, right, bottom = font.getbbox(character, anchor="ms")
        if max(-left, right) <= SIZE // 2 and -top <= BASE and bottom <= SIZE - BASE:
            break
    picture = image_of.new("L", (SIZE, SIZE))
    place = (SIZE // 2 + across, BASE + down)
    draw_of.Draw(picture).text(place, character, fill=255, font=font, anchor="ms")
    return np.asarray(picture)


class _Face:
    """A face of DejaVu: the characters that it has, and its sizes."""

    def __init__(self, name: str):
        matplotlib = need("matplotlib", "viz", "generated:glyphs")
        self.path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
        ft2font = need("matplotlib.ft2font", "viz", "generated:glyphs")
        self.characters = frozenset(ft2font.FT2Font(str(self.path)).get_charmap())
        self.of = functools.cache(self._of)

    def _of(self, points: int) -> Any:
        fonts = need("PIL.ImageFont", "vision", "generated:glyphs")
        # of the two layouts only this one is on every machine
        layout = fonts.Layout.BASIC
        return fonts.truetype(str(self.path), points, layout_engine=layout)


_font = functools.cache(_Face)
