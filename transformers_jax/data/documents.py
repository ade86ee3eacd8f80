"""What is at a path of a config: text, rows of ids, or tokens; how it is split and encoded.

A document of text is marked with its sentences, and becomes ids together with others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.file_sums import file_sum
from transformers_jax.data.files import check_given
from transformers_jax.data.held_out import hold_out
from transformers_jax.data.sources import EXPECTED, open_source
from transformers_jax.data.texts import RULES, Source, digest
from transformers_jax.data.token_folders import (
    check_split,
    expected,
    is_token_folder,
    load_tokens,
    read_meta,
    saved_tokenizer,
)
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
    path: str,
    *,
    field: str,
    documents: str,
    encoding: str,
    fraction: float | None,
    eos: bool,
    rules: int = RULES,
) -> Source:
    """What is at a path, split.

    Args:
        field, documents, encoding: as in `open_source`.
        fraction: of the text that is held out, where the source holds none out itself; None, or 0:
            nothing is.
        eos: whether a token will end each document, so that no text need part them.
        rules: `texts.RULES`, or those of an earlier version, for its runs.

    Raises:
        ValueError: nothing is there, or it is damaged.
    """
    check_given(path, "data.path", EXPECTED)
    folder = Path(path).expanduser()
    if folder.suffix.lower() in TOKEN_FILES:
        return _open_file(path, fraction, rules)
    if is_token_folder(folder) or is_token_folder(folder / "train"):
        return _open_folder(path, folder, fraction)
    source = open_source(path, field, documents, encoding, rules)
    return hold_out(source, fraction, eos, rules)


def _open_file(path: str, fraction: float | None, rules: int) -> Source:
    """One document, whose end is held out."""
    ids = _read_ids(path)
    if rules == 1:
        edges = np.concatenate([ids[:4096], ids[-4096:]]).astype(np.int64)
        name = digest(f"{len(ids)}".encode() + edges.tobytes())
    else:
        name = file_sum(Path(path).expanduser())[:16]
    splits = {"train": Tokens(ids, fingerprint=name)}
    if fraction:
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
    validated = inner != folder and is_token_folder(folder / "validation")
    if validated:
        splits["validation"] = load_tokens(folder / "validation")
    elif fraction:
        first = int(np.searchsorted(train.starts, len(train.ids) * (1 - fraction)))
        first = min(first, len(train))
        splits["train"] = cut_documents(train, 0, first)
        splits["validation"] = cut_documents(train, first, len(train))
    own = saved_tokenizer(folder, inner.parent)
    split_folders = [inner, *([folder / "validation"] if validated else [])]
    for part in split_folders if inner != folder else ():
        check_split(part)
    files = [one for part in split_folders for one in expected(part, read_meta(part))]
    note = "" if files else f"{path} has no checksums: its files are not verified"
    return Source(
        path,
        splits,
        ids=True,
        meta=read_meta(inner),
        tokenizer=own,
        expected=tuple(files),
        note=note,
    )


def _read_ids(path: str) -> Int[np.ndarray, " N"]:
    """A memory map, so that a corpus may be larger than the memory."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(
            f"data.path {path!r} is not a file; pass --data.path with one of token ids"
        )
    if file.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        if file.suffix.lower() == ".npy":
            ids = np.load(file, mmap_mode="r", allow_pickle=False)
        else:
            ids = np.memmap(file, np.uint16, mode="r")
    except ValueError as error:
        raise ValueError(f"{path} is no file of token ids: {error}") from None
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{path} holds {ids.dtype}{list(ids.shape)}; expected one row of integers")
    return ids


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
