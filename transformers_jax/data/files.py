"""Files of a data set: found by a path, a folder or a pattern; unpacked, and read as lines."""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import io
import itertools
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from transformers_jax.data.texts import ENCODING
from transformers_jax.extras import need

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKED = (*OPENERS, ".zst")
SAME = {".jsonlines": ".jsonl", ".ldjson": ".jsonl", ".tab": ".tsv", ".pq": ".parquet"}
"""Further endings of kinds that are read."""
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".au")
"""The endings of files of recordings."""
UNPACK = "unpack it, and give what is in it"
AS_TEXT = "make it plain text, or records with their text in a field"
NO_TEXT = {
    **dict.fromkeys((".zip", ".tar", ".tgz", ".tbz", ".txz", ".7z", ".rar", ".z", ".lz4"), UNPACK),
    **dict.fromkeys(
        ".html .htm .xhtml .pdf .doc .docx .odt .rtf .epub .xls .xlsx .ods .ppt .pptx "
        ".png .jpg .jpeg .gif .webp .tif .tiff .bmp .mp4 .avi .mov".split(),
        AS_TEXT,
    ),
    **dict.fromkeys(SOUNDS, AS_TEXT),
    **dict.fromkeys(
        ".arrow .feather .orc .avro .sqlite .db .h5 .hdf5 .npz .pkl .pickle .tfrecord".split(),
        "write its texts as .jsonl or .parquet",
    ),
    **dict.fromkeys((".bin", ".npy"), "token ids are given as a file, not in a folder of texts"),
    **dict.fromkeys((".safetensors", ".pt", ".pth", ".msgpack"), "these are weights, not texts"),
}
"""Endings of what is no plain text, and what to do with it."""
LOOKED_AT = 8192  # characters in which no text has a NUL
CHUNK = 1 << 20  # bytes that are decoded together, where a position is looked for


def find_files(path: str, setting: str, expected: str) -> list[Path]:
    """The files that a path, a folder or a pattern means, in the order of their names.

    Args:
        setting: where the path is from, such as "data.path".
        expected: what else it may be, for the error.

    Raises:
        ValueError: there are none.
    """
    check_given(path, setting, expected)
    root = Path(path).expanduser()
    if root.is_file():
        return [root]
    if root.is_dir():
        hidden = lambda file: any(part.startswith(".") for part in file.relative_to(root).parts)
        files = sorted(file for file in root.rglob("*") if file.is_file() and not hidden(file))
        if not files:
            raise ValueError(f"{setting} {path!r} is a folder without files")
        return files
    if any(sign in path for sign in "*?["):
        matches = map(Path, sorted(glob.glob(str(root), recursive=True)))
        if files := [file for file in matches if file.is_file()]:
            return files
        raise ValueError(f"{setting} {path!r} is a pattern that no file fits")
    raise ValueError(f"{setting} {path!r} is not a file; give {expected} with {flag(setting)}")


def flag(setting: str) -> str:
    """How a setting is given on the command line: "data.train" as "--data.train"."""
    return setting if setting.startswith("--") else f"--{setting}"


def check_given(path: str, setting: str, expected: str) -> None:
    """Raises ValueError for an empty path, which would mean the working directory."""
    if not path.strip():
        raise ValueError(f"{setting} is empty; give {expected} with {flag(setting)}")


def kind_of(file: Path) -> str:
    """The ending that says what a file holds, in small letters: ".jsonl" of a.jsonl and of
    a.JSONL.gz; one for all of those that mean the same."""
    kind = Path(file.stem).suffix if _packing(file) in PACKED else file.suffix
    return SAME.get(kind.lower(), kind.lower())


def _packing(file: Path) -> str:
    return file.suffix.lower()


def check_plain(file: Path) -> None:
    """Raises ValueError for a file that is no plain text, by its ending. Plain text may have any
    other, or none."""
    if kind_of(file) in NO_TEXT:
        raise ValueError(
            f"{file} is no plain text, by its ending {kind_of(file)!r}: {NO_TEXT[kind_of(file)]}; "
            "if it is beside others, give a pattern that leaves it out, such as 'FOLDER/*.txt'"
        )


def check_characters(text: str, file: Path) -> None:
    """Raises ValueError for the beginning of a file that is no text, by its characters."""
    if "\0" in text[:LOOKED_AT]:
        raise ValueError(
            f"{file} is no plain text: it holds NUL at character {text.index(chr(0))}; if it is a "
            f"text of another encoding, such as utf-16, name it with {ENCODING}"
        )


def open_file(file: Path) -> IO[bytes]:
    """A file as bytes, unpacked by its ending.

    Raises:
        ValueError: .zst and no pyarrow.
    """
    if _packing(file) == ".zst":
        arrow = need("pyarrow", "train", str(file))
        return io.BufferedReader(arrow.input_stream(str(file), compression="zstd"))
    return cast(IO[bytes], OPENERS.get(_packing(file), open)(file, "rb"))


def lines_of(file: Path, encoding: str, whole: bool = False) -> Iterator[str]:
    """The lines of a file, with their ends; or the whole file at once.

    Raises:
        ValueError: a damaged file, or bytes that are not of the encoding, with line and position.
    """
    try:
        with io.TextIOWrapper(open_file(file), encoding, newline="\n") as opened:
            yield from [opened.read()] if whole else opened
    except UnicodeError:
        raise ValueError(_undecodable(file, encoding)) from None
    except (EOFError, lzma.LZMAError, OSError, zlib.error) as error:
        raise ValueError(f"{file} cannot be unpacked ({error}); is it whole?") from None


def _undecodable(file: Path, encoding: str) -> str:
    """What is wrong with a text, and where: found by reading again, so that the first is fast."""
    decoder, read, line = codecs.getincrementaldecoder(encoding)(), 0, 1
    with open_file(file) as opened:
        while True:
            some = opened.read(CHUNK)
            read += len(some)
            try:
                line += decoder.decode(some, final=not some).count("\n")
            except UnicodeDecodeError as error:
                line += error.object[: error.start].decode(encoding, "ignore").count("\n")
                at, why = read - len(error.object) + error.start, error.reason
                break
            except UnicodeError as error:  # such as UTF-16 without the mark of its byte order
                at, why = read - len(some), str(error)
                break
    return (
        f"{file} is not {encoding.upper()} text ({why} at byte {at}, in line {line}); name its "
        f"encoding with {ENCODING}"
    )


def without_mark(lines: Iterator[str]) -> Iterator[str]:
    """Lines without the mark of the byte order, which some programs put before the first."""
    first = next(lines, "")
    return itertools.chain([first.removeprefix("\ufeff")], lines)
