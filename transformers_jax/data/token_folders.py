"""Folders of tokens on a disk: written shard by shard, each whole or not there at all.

A shard ends with the document that fills it, so where shards end depends on the documents alone: a
writer that was stopped goes on behind the last shard that is whole, and writes the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.data.tokens import (
    DTYPES,
    Encoded,
    Joined,
    Tokens,
    chunks,
    collect,
    fingerprint,
)
from transformers_jax.data.verification import Expected, verify
from transformers_jax.json_files import digest_of, parse_json, with_digest
from transformers_jax.publish import as_text, publish, publish_json, remove_drafts

FORMAT, VERSION = "transformers_jax tokens", 1
META = "meta.json"
ARGUMENTS = "arguments.json"  # of the command that made the folder, above its splits
TOKENIZER = "tokenizer.json"
LEARNED = "tokenizer_fingerprint.json"  # written once the tokenizer is there, whole
SHARD_SIZE = 256 * 2**20  # bytes of ids


@dataclass
class Writer:
    """Puts documents into a folder: `add` each, then `close`.

    Args:
        folder: created if it does not exist; whole shards in it stay, and `documents` says how many
            documents they hold: the caller goes on behind them.
        dtype: uint16, uint32 or int32.
        sentences: whether `add` gets the starts of sentences.
        shard_size: bytes of ids after which a shard ends, with its document.

    Raises:
        ValueError: an unknown dtype or size, shards of another kind, or ids that do not fit.
    """

    folder: Path
    dtype: str = "uint16"
    sentences: bool = False
    shard_size: int = SHARD_SIZE
    shards: list[dict[str, Any]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if self.shard_size < 1:
            raise ValueError(f"a shard has at least 1 byte, not {self.shard_size}")
        self.folder = Path(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_drafts(self.folder)
        while (record := record_of(self.folder, len(self.shards))).is_file():
            self.shards.append(read_checked(record))
        for shard in self.shards:
            if (shard["dtype"], shard["with_sentences"]) != (self.dtype, self.sentences):
                raise ValueError(
                    f"{self.folder} holds {shard['dtype']} shards (sentences: "
                    f"{shard['with_sentences']}), not {self.dtype} (sentences: "
                    f"{self.sentences}); use another folder"
                )
        self._waiting: list[Encoded] = []
        self._size = 0

    @property
    def documents(self) -> int:
        """How many documents there are, on the disk and waiting."""
        return sum(shard["documents"] for shard in self.shards) + len(self._waiting)

    def add(self, one: Encoded) -> None:
        """One more document."""
        ids, limits = np.asarray(one.ids), np.iinfo(self.dtype)
        if ids.size and not limits.min <= int(ids.min()) <= int(ids.max()) <= limits.max:
            raise ValueError(f"ids in [{ids.min()}, {ids.max()}] do not fit {self.dtype}")
        if self.sentences and one.breaks is None:
            raise ValueError("this writer keeps sentences; say where they start")
        self._waiting.append(one._replace(ids=ids.astype(self.dtype)))
        self._size += self._waiting[-1].ids.nbytes
        if self._size >= self.shard_size:
            self._finish_shard()

    def _finish_shard(self) -> None:
        """Data first, then the record that says that it is there."""
        tokens = collect(self._waiting, self.dtype, self.sentences)
        number = f"{len(self.shards):05d}"
        little_endian = tokens.ids.astype(tokens.ids.dtype.newbyteorder("<"))
        files = {f"ids-{number}.bin": little_endian.tobytes()}
        files[f"starts-{number}.npy"] = _npy(tokens.starts)
        if tokens.sentences is not None:
            files[f"sentences-{number}.npy"] = _npy(tokens.sentences)
        for name, content in files.items():
            publish(self.folder / name, content)
        record = {
            "documents": len(tokens),
            "ids": len(tokens.ids),
            "text_bytes": tokens.text_bytes or 0,
            "dtype": self.dtype,
            "with_sentences": self.sentences,
            "bytes": {name: len(content) for name, content in files.items()},
            "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }
        record = with_digest(record)
        publish_json(record_of(self.folder, len(self.shards)), record)
        self.shards.append(record)
        self._waiting, self._size = [], 0

    def close(self, **more: Any) -> Tokens:
        """Writes what waits, then meta.json, with `more` in it; the folder is then whole."""
        if self._waiting:
            self._finish_shard()
        tokens = _read_shards(self.folder, self.shards, self.dtype, self.sentences)
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "dtype": self.dtype,
            "documents": len(tokens),
            "ids": len(tokens.ids),
            "largest": largest(tokens.ids),
            "sentences": self.sentences,
            "text_bytes": sum(shard["text_bytes"] for shard in self.shards) or None,
            "fingerprint": tokens.fingerprint,
            "shards": self.shards,
            **more,
            "complete": True,
        }
        publish_json(self.folder / META, with_digest(meta))
        return load_tokens(self.folder)


def is_token_folder(folder: str | Path) -> bool:
    """Whether tokens were written here, or began to be."""
    folder = Path(folder)
    return (folder / META).is_file() or record_of(folder, 0).is_file()


def record_of(folder: Path, shard: int) -> Path:
    """The file that says what is in a shard, written after it."""
    return folder / f"shard-{shard:05d}.json"


def mend(folder: Path) -> str:
    """What makes a folder whole again."""
    made = next((place for place in (folder, folder.parent) if (place / ARGUMENTS).is_file()), None)
    if made is None:
        return "make it anew"
    return f"`transformers-jax tokenize --out {shlex.quote(str(made))}` makes it anew"


def read_checked(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a folder of tokens.

    Raises:
        ValueError: it cannot be read, or differs from its digest; earlier versions wrote none.
    """
    known = file.name != ARGUMENTS  # without which the command knows nothing
    anew = f"the folder is damaged: {mend(file.parent) if known else 'make a new one'}"
    values = parse_json(file.read_bytes(), file, advice=anew)
    if isinstance(values, dict) and values.get("digest") in (None, digest_of(values)):
        return values
    raise ValueError(f"{file} differs from its own digest; {anew}")


def read_meta(folder: str | Path) -> dict[str, Any]:
    """What meta.json says.

    Raises:
        ValueError: it is not there, not JSON, or of another format or version.
    """
    file = Path(folder) / META
    if not file.is_file():
        hint = "`transformers-jax tokenize` makes such folders"
        if is_token_folder(folder):
            hint = "it was not finished: run the same command again"
        raise ValueError(f"{folder} is no folder of tokens: {META} is missing; {hint}")
    meta = read_checked(file)
    if meta.get("format") != FORMAT or not meta.get("complete"):
        raise ValueError(f"{file} does not describe a whole folder of tokens; {mend(file.parent)}")
    if meta.get("version") != VERSION:
        raise ValueError(f"{file} is of version {meta.get('version')}; this reads {VERSION}")
    return meta


def load_tokens(folder: str | Path) -> Tokens:
    """A folder of tokens, memory-mapped; sizes, counts and all but the ids are checked.

    Raises:
        ValueError: a file is missing, has another size, or counts do not agree.
    """
    folder, meta = Path(folder), read_meta(folder)
    for one in expected(folder, meta):
        if one.file.suffix == ".npy" and one.file.is_file():
            verify(one)
    tokens = _read_shards(
        folder,
        *(meta[name] for name in ("shards", "dtype", "sentences")),
        **{name: meta[name] for name in ("fingerprint", "text_bytes")},
    )
    if (len(tokens), len(tokens.ids)) != (meta["documents"], meta["ids"]):
        raise ValueError(
            f"{folder} holds {len(tokens)} documents of {len(tokens.ids)} ids; {META} says "
            f"{meta['documents']} of {meta['ids']}: {mend(folder)}"
        )
    return tokens


def check_tokens(folder: str | Path) -> Tokens:
    """Reads a folder wholly and holds every file against its checksum.

    Raises:
        ValueError: naming all files that are missing or differ.
    """
    folder, meta, wrong = Path(folder), read_meta(folder), []
    for one in expected(folder, meta):
        try:
            verify(one)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError(f"{folder} is damaged: {'; '.join(wrong)}")
    tokens = load_tokens(folder)
    if fingerprint(tokens.ids, tokens.starts, tokens.sentences) != meta["fingerprint"]:
        raise ValueError(f"{folder} differs from the fingerprint in {META}; {mend(folder)}")
    return tokens


def expected(folder: Path, meta: Mapping[str, Any]) -> list[Expected]:
    """The files of a whole folder with their checksums; none for shards of a version without."""
    files, advice = [], mend(folder)
    for number, shard in enumerate(meta["shards"]):
        sums = dict(shard.get("sha256") or {})
        if sums and record_of(folder, number).is_file():  # a whole folder can do without
            record = hashlib.sha256(as_text(shard).encode()).hexdigest()
            sums[record_of(folder, number).name] = record
        files += [Expected(folder / name, sha256, advice) for name, sha256 in sums.items()]
    return files


def check_split(folder: Path) -> None:
    """Raises ValueError where a folder holds the other split than its name says."""
    written = read_meta(folder).get("split", folder.name)  # earlier versions did not say
    if written != folder.name:
        raise ValueError(
            f"{folder} holds the split {written}, as its {META} says; were folders renamed? Give "
            "them the names with which they were made"
        )


def saved_tokenizer(folder: Path, above: Path) -> Path | None:
    """Which of them has the tokenizer with which the tokens in `folder` were made; None if none.

    Raises:
        ValueError: as of `check_tokenizer`.
    """
    for place in (folder, above):
        saved = (place / LEARNED).is_file()
        if saved or (place == folder and (place / TOKENIZER).is_file()):
            check_tokenizer(place)
            return place
    return None


def check_tokenizer(folder: Path) -> None:
    """Holds the tokenizer that `tokenize` has saved in a folder against its checksums, and the
    arguments against their digest; earlier versions wrote neither.

    Raises:
        ValueError: a file that differs, or is missing.
    """
    if (folder / ARGUMENTS).is_file():
        read_checked(folder / ARGUMENTS)
    if (folder / LEARNED).is_file():
        sums = read_checked(folder / LEARNED).get("sha256", {})
        for name, sha256 in sums.items():
            verify(Expected(folder / name, sha256, mend(folder)))
        if not sums and not (folder / TOKENIZER).is_file():
            raise ValueError(f"{folder / TOKENIZER} is missing; {mend(folder)}")


def forget_damaged_shards(folder: Path) -> None:
    """Makes a folder one that was not finished: what is whole before the first damage stays."""
    (folder / META).unlink(missing_ok=True)
    whole = True
    for number in itertools.count():
        if not (record := record_of(folder, number)).is_file():
            return
        try:
            for name, sha256 in read_checked(record).get("sha256", {}).items():
                verify(Expected(folder / name, sha256, ""))
        except ValueError:
            whole = False
        if not whole:
            record.unlink()


def _read_shards(
    folder: Path, shards: list[dict[str, Any]], dtype: str, with_sentences: bool, **known: Any
) -> Tokens:
    """The documents of shards, their ids as memory maps; `known`: what `Tokens` need not count.

    Raises:
        ValueError: a file is missing, or has another size than its record says.
    """
    for name, size in [file for shard in shards for file in shard["bytes"].items()]:
        actual = (folder / name).stat().st_size if (folder / name).is_file() else None
        if actual != size:
            state = "is missing" if actual is None else f"has {actual} bytes"
            raise ValueError(f"{folder / name} {state}; expected {size}: {mend(folder)}")
    maps, starts, sentences, offset = [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for number, shard in enumerate(shards):
        if shard["ids"]:
            kind = np.dtype(dtype).newbyteorder("<")
            maps.append(np.memmap(folder / f"ids-{number:05d}.bin", kind, mode="r"))
        starts.append(np.load(folder / f"starts-{number:05d}.npy")[:-1] + offset)
        if with_sentences:
            sentences.append(np.load(folder / f"sentences-{number:05d}.npy") + offset)
        offset += shard["ids"]
    ids = maps[0] if len(maps) == 1 else Joined(maps, dtype)
    marks = np.concatenate(sentences) if with_sentences else None
    return Tokens(ids, np.concatenate([*starts, np.array([offset])]), marks, **known)


def largest(ids: Any) -> int:
    """The largest id, read in chunks; -1 if there is none."""
    return max((int(part.max()) for _, part in chunks(ids)), default=-1)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array.astype("<i8"), allow_pickle=False)
    return file.getvalue()
