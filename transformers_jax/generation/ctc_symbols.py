"""The symbols of a model of connectionist temporal classification, as Hugging Face's
Wav2Vec2CTCTokenizer keeps them: vocab.json, one id a character, and the roles of some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from transformers_jax.json_files import read_json

SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
BEFORE = {"pad_token": "<pad>", "unk_token": "<unk>", "word_delimiter_token": "|"}
"""The roles of tokens, and the token of each where files name none."""


@dataclass(frozen=True)
class Symbols:
    """Characters by their ids.

    Attributes:
        names: of each id; "" where an id has none.
        blank: the class of frames at which no symbol begins: the padding.
        delimiter: what stands between words; None where nothing does.
        unknown: what stands for characters without an id.
        special: ids that are no text, such as that of the end of a text.
        lower: whether texts are written in small letters, whatever the symbols are.
    """

    names: tuple[str, ...]
    blank: int
    delimiter: int | None = None
    unknown: int | None = None
    special: frozenset[int] = frozenset()
    lower: bool = False

    def __post_init__(self):
        wrong = [n for n in (self.blank, self.delimiter) if n is not None and n >= len(self.names)]
        if wrong or self.blank < 0:
            raise ValueError(
                f"blank={self.blank} and delimiter={self.delimiter} are ids of the "
                f"{len(self.names)} symbols"
            )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def written(self) -> tuple[int, ...]:
        """The ids that stand for text."""
        without = {self.blank, self.unknown, *self.special}
        return tuple(n for n, name in enumerate(self.names) if name and n not in without)

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """The id of each character."""
        return {self.names[n]: n for n in self.written}

    def collapse(self, path: Iterable[int]) -> list[int]:
        """The symbols of a path: repeated classes once, and no blanks."""
        return [int(n) for n, _ in groupby(path) if n != self.blank]

    def text(self, ids: Iterable[int]) -> str:
        """The text of symbols, as Hugging Face's tokenizer writes it."""
        without = {self.blank, *self.special}
        parts = (" " if n == self.delimiter else self.names[n] for n in ids if n not in without)
        text = "".join(parts).strip()
        return text.lower() if self.lower else text

    def encode(self, text: str) -> list[int]:
        """The symbols of a text, spaces as delimiters.

        Raises:
            ValueError: a character that no symbol is, where there is none for unknown ones.
        """
        found = []
        for character in text.strip():
            cases = (character, character.upper(), character.lower())
            if character == " " and self.delimiter is not None:
                found.append(self.delimiter)
                continue
            known = next((self.ids[each] for each in cases if each in self.ids), self.unknown)
            if known is None:
                raise ValueError(
                    f"{text!r}: there is no symbol for {character!r}; there are "
                    f"{' '.join(self.ids)}"
                )
            found.append(known)
        return found


def read_symbols(folder: str | Path) -> Symbols:
    """The symbols of a folder with a vocab.json and a tokenizer_config.json.

    Raises:
        ValueError: no such file, one whose ids are no numbers from 0 on, or without a blank.
    """
    folder = Path(folder)
    file = folder / "vocab.json"
    vocabulary = read_json(file, advice="a model of this kind keeps its symbols in vocab.json")
    settings: dict[str, Any] = {}
    for name in reversed(SETTINGS):
        if (folder / name).exists():
            settings |= read_json(folder / name)
    vocabulary = _of_language(vocabulary, settings, file)
    if not all(isinstance(n, int) and n >= 0 for n in vocabulary.values()):
        raise ValueError(f"{file}: expected an id, from 0 on, for each symbol")
    if (folder / "added_tokens.json").exists():
        vocabulary = {**vocabulary, **read_json(folder / "added_tokens.json")}
    names = [""] * (max(vocabulary.values()) + 1)
    for name, number in vocabulary.items():
        names[number] = name
    role = lambda key: vocabulary.get(_token(settings.get(key, BEFORE.get(key))))
    blank = role("pad_token")
    if blank is None:
        raise ValueError(
            f"{file} has no {settings.get('pad_token', BEFORE['pad_token'])!r}, which is the "
            "blank; say which symbol it is in tokenizer_config.json (pad_token)"
        )
    ends = {role(key) for key in ("bos_token", "eos_token")} - {None}
    return Symbols(
        tuple(names),
        blank,
        delimiter=role("word_delimiter_token"),
        unknown=role("unk_token"),
        special=frozenset(int(n) for n in ends if n is not None),
        lower=bool(settings.get("do_lower_case", False)),
    )


def _of_language(
    vocabulary: Mapping[str, Any], settings: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    """The symbols of one language, where a file has those of several (MMS)."""
    if not any(isinstance(value, Mapping) for value in vocabulary.values()):
        return dict(vocabulary)
    language = str(settings.get("target_lang"))
    if language not in vocabulary:
        known = ", ".join(sorted(vocabulary)[:8])
        raise ValueError(
            f"{file} has the symbols of {len(vocabulary)} languages ({known}, ...), and "
            f"tokenizer_config.json names target_lang={language!r}; set it to one of them"
        )
    return dict(vocabulary[language])


def _token(value: Any) -> str:
    """A token, which files write as a text or as a record."""
    return str(value.get("content")) if isinstance(value, Mapping) else str(value)


def words_of(path: Sequence[int], symbols: Symbols) -> list[tuple[str, int, int]]:
    """(word, its first frame, the frame behind its last) of each word of a path."""
    found: list[tuple[str, int, int]] = []
    ids: list[int] = []
    first = last = frame = 0

    def close() -> None:
        if ids and (text := symbols.text(ids)):
            found.append((text, first, last))
        ids.clear()

    for symbol, run in groupby(path):
        length = len(list(run))
        if symbol == symbols.delimiter:
            close()
        elif symbol != symbols.blank and symbol not in symbols.special:
            first = first if ids else frame
            ids.append(int(symbol))
            last = frame + length
        frame += length
    close()
    return found
