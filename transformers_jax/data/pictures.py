"""Pictures in tables: a record holds where a picture is, and it is read when it is needed.

A picture is a file, a part of a tar file, or bytes (of Parquet, of data sets). Records of tables
that hold one have a `Picture` in its column.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from transformers_jax.processing.image.read import read_image
from transformers_jax.spelling import type_name

PICTURES = frozenset(".jpg .jpeg .png .bmp .gif .webp .tif .tiff .ppm .pgm".split())
"""The endings of files of pictures."""
BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class Picture:
    """A picture that is not read yet. As text it is the hash of its content, so that equal ones are
    on one side where a part of a table is held out.

    Attributes:
        name: where it is, for messages.
        file: that it is in.
        start, size: of a part of the file, its bytes.
        content: the bytes, where they are in memory.
        levels: what is no file but an array, uint8 or floats, as of `read_image`.
    """

    name: str
    file: Path | None = None
    start: int = 0
    size: int | None = None
    content: bytes | None = field(default=None, repr=False)
    levels: np.ndarray | None = field(default=None, repr=False, compare=False)

    def encoded(self) -> bytes:
        """The bytes of the picture as a file.

        Raises:
            ValueError: they are no longer there.
        """
        if self.levels is not None:
            return str(self.levels.shape).encode() + np.ascontiguousarray(self.levels).tobytes()
        if self.content is not None:
            return self.content
        assert self.file is not None
        try:
            with open(self.file, "rb") as opened:
                opened.seek(self.start)
                return opened.read() if self.size is None else opened.read(self.size)
        except OSError as error:
            raise ValueError(f"{self.name} cannot be read ({error.strerror})") from None

    def read(
        self, rgb: bool = True, white: bool = True, grey: bool = False
    ) -> Num[np.ndarray, "C H W"]:
        """The picture, upright; files are uint8 and RGB.

        Args:
            rgb: whether arrays of grey get three channels.
            white: whether, with `rgb`, the transparent colour of a file becomes white.
            grey: whether files in levels of grey have one.

        Raises:
            ValueError: it is damaged, by its name.
        """
        source = self.encoded() if self.levels is None else self.levels
        return read_image(source, rgb=rgb, white=white, grey=grey, name=self.name)

    def stored(self) -> str | list[Any]:
        """The same as `in_column` takes it of JSON: the path of its file, or its levels."""
        if self.file is not None and self.size is None and self.file.suffix.lower() in PICTURES:
            return str(self.file.absolute())
        return self.read(rgb=False).tolist()

    def __str__(self) -> str:
        return hashlib.sha256(self.encoded()).hexdigest()


def picture_of(value: Any, where: str) -> Picture | None:
    """The picture that a value of a table is: Hugging Face's {"bytes", "path"}, one of Pillow, the
    bytes of a file, or levels as an array of uint8; None of anything else."""
    if isinstance(value, Picture):
        return value
    if isinstance(value, Mapping) and set(value) == {"bytes", "path"}:
        name = f"{where} ({value['path']})" if value["path"] else where
        if isinstance(value["bytes"], bytes):
            return Picture(name, content=value["bytes"])
        return None if value["path"] is None else Picture(name, Path(value["path"]))
    if hasattr(value, "getbands"):
        file = io.BytesIO()
        value.save(file, "PNG")
        return Picture(where, content=file.getvalue())
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3):
        return Picture(where, levels=value)
    if isinstance(value, bytes) and (
        value.startswith(BEGINNINGS) or (value[:4] == b"RIFF" and value[8:12] == b"WEBP")
    ):
        return Picture(where, content=value)
    return None


def in_column(value: Any, where: str, column: str) -> Picture:
    """The picture that a record has in a column: what `picture_of` knows, the path of a file, or
    levels as an array or as lists of lists.

    Raises:
        ValueError: none of these.
    """
    if isinstance(value, str) and Path(value).suffix.lower() in PICTURES:
        return Picture(f"{where} ({value})", Path(value).expanduser())
    if (picture := picture_of(value, where)) is not None:
        return picture
    try:
        levels = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray)) else None
    except ValueError:  # of unlike length
        levels = None
    if levels is None or levels.ndim not in (2, 3) or levels.dtype.kind not in "uif":
        raise ValueError(
            f"{where}: {column!r} holds {type_name(value)}, not a picture: expected a file, its "
            "path, its bytes, or levels of [H W], [H W C] or [C H W]"
        )
    return Picture(where, levels=levels)
