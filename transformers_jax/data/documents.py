"""What is at a path of a config: text, rows of ids, or tokens; how it is split and encoded.

A document of text is marked with its sentences, and becomes ids together with others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.sources import open_source
from transformers_jax.data.texts import Source, Texts, digest
from transformers_jax.data.token_folders import is_token_folder, load_tokens, read_meta
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokens import Encoded, Tokens, cut_documents

TOKEN_FILES = (".bin", ".npy")
TOGETHER = 1 << 20  # characters that are encoded together
CLOSING, OPENING = r"\"'\u201d\u2019)\]", r"\"'\u201c\u2018(\["  # quotes and brackets
SENTENCE = re.compile(
    rf"[.!?][{CLOSING}]*\s+(?=[{OPENING}]*[A-Z0-9\u00c0-\u00de\"'\u201c\u2018])|\n[ \t]*\n\s*"
)
"""After . ! or ? and a space, before a capital, a digit or a quote; and after a blank line."""


def open_documents(
    path: str, field: str, documents: str, fraction: float | None, eos: bool
) -> Source:
    """What is at a path, split.

    Args:
        field, documents: as in `open_source`.
        fraction: of the documents that is held out, where the source holds none out itself; None:
            nothing is.
        eos: whether a token will end each document, so that no text need part them.

    Raises:
        ValueError: nothing is there, or it is damaged.
    """
    folder = Path(path).expanduser()
    if folder.suffix in TOKEN_FILES:
        return _open_file(path, fraction)
    if is_token_folder(folder) or is_token_folder(folder / "train"):
        return _open_folder(path, folder, fraction)
    return _split(open_source(path, field, documents), fraction, eos)


def _open_file(path: str, fraction: float | None) -> Source:
    """One document, whose end is held out."""
    ids = _read_ids(path)
    edges = np.concatenate([ids[:4096], ids[-4096:]]).astype(np.int64)  # the file may be huge
    name = digest(f"{len(ids)}".encode() + edges.tobytes())
    splits = {"train": Tokens(ids, fingerprint=name)}
    if fraction is not None:
        cut = int(len(ids) * (1 - fraction))
        splits = {
            "train": Tokens(ids[:cut], fingerprint=f"{name}[:{cut}]"),
            "validation": Tokens(ids[cut:], fingerprint=f"{name}[{cut}:]"),
        }
    return Source(path, splits, ids=True)


def _open_folder(path: str, folder: Path, fraction: float | None) -> Source:
    """A folder of `tokenize`, with train and validation; or bare tokens, whose end is held out."""
    inner = folder / "train" if is_token_folder(folder / "train") else folder
    train = load_tokens(inner)
    splits = {"train": train}
    if inner != folder and is_token_folder(folder / "validation"):
        splits["validation"] = load_tokens(folder / "validation")
    elif fraction is not None:
        first = int(np.searchsorted(train.starts, len(train.ids) * (1 - fraction)))
        first = min(first, len(train))
        splits["train"] = cut_documents(train, 0, first)
        splits["validation"] = cut_documents(train, first, len(train))
    own = next((f for f in (folder, inner) if (f / "tokenizer.json").is_file()), None)
    return Source(path, splits, ids=True, meta=read_meta(inner), tokenizer=own)


def _read_ids(path: str) -> Int[np.ndarray, " N"]:
    """A memory map, so that a corpus may be larger than the memory."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"data.path {path!r} is not a file")
    if file.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        if file.suffix == ".npy":
            ids = np.load(file, mmap_mode="r", allow_pickle=False)
        else:
            ids = np.memmap(file, np.uint16, mode="r")
    except ValueError as error:
        raise ValueError(f"{path} is no file of token ids: {error}") from None
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{path} holds {ids.dtype}{list(ids.shape)}; expected one row of integers")
    return ids


# ---------------------------------------------------------------- splits


def is_held_out(text: str | bytes, fraction: float) -> bool:
    """Whether a document is for evaluation: by its hash, so that duplicates are on one side."""
    content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return int.from_bytes(hashlib.sha256(content).digest()[:8]) < fraction * 2**64


def _split(source: Source, fraction: float | None, eos: bool) -> Source:
    """The source with the splits train and validation.

    Its own split is used; several documents are split by their hashes; a single one is cut near
    its end, and nothing separates its halves. With no fraction all is to train on.
    """
    train, splits, single = source.splits["train"], dict(source.splits), False
    if "validation" not in splits:
        single = len(list(itertools.islice(iter(train), 2))) < 2
        if fraction is not None:
            splits = _halves(train, fraction) if single else _by_hash(source, fraction)
    separator = "" if eos or single or source.ids else source.separator
    return dataclasses.replace(source, splits=splits, separator=separator)


def _by_hash(source: Source, fraction: float) -> dict[str, Texts]:
    content = (lambda ids: np.asarray(ids).tobytes()) if source.ids else (lambda text: text)
    documents = source.splits["train"]
    select = lambda held_out: Texts(
        lambda: (d for d in documents if is_held_out(content(d), fraction) is held_out)
    )
    return {"train": select(False), "validation": select(True)}


def _halves(documents: Texts, fraction: float) -> dict[str, Texts]:
    def half(first: bool) -> Iterator[Any]:
        for text in documents:
            cut = int(len(text) * (1 - fraction))
            yield text[:cut] if first else text[cut:]

    return {"train": Texts(lambda: half(True)), "validation": Texts(lambda: half(False))}


# ---------------------------------------------------------------- ids


def sentence_starts(text: str) -> list[int]:
    """Positions of characters where sentences start; the first is 0."""
    return [0, *(m.end() for m in SENTENCE.finditer(text) if m.end() < len(text))]


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts together until they have TOGETHER characters."""
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text) + 1
        if size >= TOGETHER:
            yield some
            some, size = [], 0
    if some:
        yield some


def encode_batch(
    tokenizer: Tokenizer, texts: list[str], separator: str, eos: int | None, sentences: bool
) -> list[Encoded]:
    """Documents as ids, each with `separator`, or the token eos, behind it."""
    whole = [text + separator for text in texts]
    breaks: list[Any] = [None] * len(texts)
    if sentences:
        rows, breaks = tokenizer.encode_marked(whole, [sentence_starts(text) for text in texts])
    else:
        rows = tokenizer.encode_many(whole, parse_special=False)
    if eos is not None:
        rows = [np.append(ids, np.int32(eos)) for ids in rows]
    if sentences:  # whatever became of its first character, a document starts a sentence
        first = np.zeros(1, np.int64)
        breaks = [np.union1d(first[: len(ids)], marks) for ids, marks in zip(rows, breaks)]
    return [Encoded(r, b, len(t.encode())) for r, b, t in zip(rows, breaks, whole)]
