"""Texts, or pairs of texts, as the inputs of a model: rows of ids, filled up to one width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.rows import Cut, encoded
from transformers_jax.data.tokenizer_settings import check_side
from transformers_jax.data.wrapped import Wrapped
from transformers_jax.spelling import nearest

Padding = bool | Literal["longest", "max_length", "do_not_pad"]
Truncation = bool | Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
PADS = {True: "longest", False: None, "do_not_pad": None, "longest": "longest"}
PADS |= {"max_length": "max_length"}
CUTS = {True: "longest_first", False: None, "do_not_truncate": None}
CUTS |= {name: name for name in ("longest_first", "only_first", "only_second")}
OTHERWISE = {  # options of Hugging Face's __call__ that say nothing here
    "return_tensors": "the arrays are NumPy's, which JAX takes as they are",
    "return_attention_mask": "attention_mask is always there",
    "return_length": "attention_mask.sum(1) are the lengths",
    "text_target": "a target is a batch of its own",
    "split_special_tokens": "encode(text, parse_special=False) reads them as text",
}
FILL = {"special_tokens_mask": 1, "word_ids": -1, "sequence_ids": -1}  # others with 0


class Options(TypedDict, total=False):
    """The options of `Tokenizer.batch`."""

    padding: Padding
    truncation: Truncation
    max_length: int | None
    stride: int
    is_split_into_words: bool
    pad_to_multiple_of: int | None
    padding_side: str | None
    truncation_side: str | None
    add_special_tokens: bool
    return_token_type_ids: bool | None
    return_overflowing_tokens: bool
    return_offsets_mapping: bool
    return_special_tokens_mask: bool
    return_word_ids: bool
    return_sequence_ids: bool


@dataclass(frozen=True)
class Asked:
    """What rows are to be like; see `Tokenizer.batch`."""

    padding: str | None
    max_length: int | None
    multiple: int | None
    side: str
    cut: Cut | None
    special: bool
    types: bool | None
    windows: bool
    names: tuple[str, ...]  # of arrays beyond the inputs of a model


def batch(
    tokenizer: Wrapped,
    texts: Iterable[Any],
    text_pair: Iterable[Any] | None = None,
    *,
    is_split_into_words: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """See `Tokenizer.batch`."""
    sides = [check_texts(texts, is_split_into_words)]
    if text_pair is not None:
        sides.append(check_texts(text_pair, is_split_into_words))
        if len(sides[0]) != len(sides[1]):
            raise ValueError(
                f"{len(sides[0])} texts and {len(sides[1])} in text_pair; each text has one beside"
            )
    if not sides[0]:
        raise ValueError("a batch has at least one text; this one has none")
    asked = _asked(tokenizer, len(sides) == 2, **options)
    if is_split_into_words:
        _check_words(tokenizer, [*sides[0], *sides[-1]])
    rules = {"special": asked.special, "split": is_split_into_words, "spans": bool(asked.names)}
    found = encoded(tokenizer, sides, asked.cut, **rules)
    if asked.cut is None and asked.max_length is not None:
        _check_lengths(found, asked.max_length, len(sides) == 2)
    if asked.windows:
        samples = [n for n, row in enumerate(found) for _ in (row, *row.overflowing)]
        found = [one for row in found for one in (row, *row.overflowing)]
    columns = {"input_ids": [np.array(row.ids, np.int32) for row in found]}
    if asked.types is not False:
        types = [np.array(row.type_ids, np.int32) for row in found]
        if asked.types or any(row.any() for row in types):
            columns["token_type_ids"] = types
    columns["attention_mask"] = [np.ones_like(row) for row in columns["input_ids"]]
    columns |= {name: [_column(row, name) for row in found] for name in asked.names}
    filled = _filled(tokenizer, columns, asked)
    if asked.windows:
        filled["overflow_to_sample_mapping"] = np.array(samples, np.int32)
    return filled


def _asked(
    tokenizer: Wrapped,
    pairs: bool,
    *,
    padding: Padding = True,
    truncation: Truncation = False,
    max_length: int | None = None,
    stride: int = 0,
    pad_to_multiple_of: int | None = None,
    padding_side: str | None = None,
    truncation_side: str | None = None,
    add_special_tokens: bool = True,
    return_token_type_ids: bool | None = None,
    return_overflowing_tokens: bool = False,
    return_offsets_mapping: bool = False,
    return_special_tokens_mask: bool = False,
    return_word_ids: bool = False,
    return_sequence_ids: bool = False,
    **others: Any,
) -> Asked:
    """The options, if they go together."""
    for name in others:
        hint = nearest(name, Options.__annotations__, otherwise=OTHERWISE)
        raise TypeError(f"batch has no option {name!r}{hint}")
    strategy = _one_of("truncation", truncation, CUTS)
    fills = _one_of("padding", padding, PADS)
    if strategy == "only_second" and not pairs:
        raise ValueError("truncation='only_second', and there is no text_pair")
    windows = return_overflowing_tokens
    if windows and strategy is None:
        raise ValueError(
            "return_overflowing_tokens=True gives what truncation cuts off: pass truncation, too"
        )
    _whole("stride", stride, 0)
    if stride and not windows:
        raise ValueError(
            f"stride={stride} is what windows of a text share: pass return_overflowing_tokens=True"
        )
    if max_length is None and (strategy or fills == "max_length"):
        max_length = tokenizer.model_max_length
        if max_length is None:
            what = "truncation" if strategy else "padding='max_length'"
            raise ValueError(
                f"{what} needs max_length: this tokenizer does not know how long a row may be "
                "(model_max_length)"
            )
    if max_length is not None:
        _whole("max_length", max_length, 1)
    if pad_to_multiple_of is not None:
        _whole("pad_to_multiple_of", pad_to_multiple_of, 1)
        if strategy and fills and max_length and max_length % pad_to_multiple_of:
            raise ValueError(
                f"max_length ({max_length}) is no multiple of pad_to_multiple_of "
                f"({pad_to_multiple_of}): rows that are cut to it would be filled beyond it"
            )
    around = tokenizer.inner.num_special_tokens_to_add(pairs) if add_special_tokens else 0
    if max_length is not None and max_length <= around:
        raise ValueError(
            f"max_length ({max_length}) leaves no room: {around} special tokens are put around"
        )
    side = tokenizer.padding_side if padding_side is None else padding_side
    end = tokenizer.truncation_side if truncation_side is None else truncation_side
    check_side("padding_side", side)
    check_side("truncation_side", end)
    cut = None
    if strategy is not None and max_length is not None:
        cut = Cut(max_length, strategy, end, stride, windows)
        if max_length - around <= stride:
            raise ValueError(
                f"stride ({stride}) must be less than the {max_length - around} tokens of text "
                f"in a row of max_length ({max_length})"
            )
    more = {
        "offset_mapping": return_offsets_mapping,
        "special_tokens_mask": return_special_tokens_mask,
        "word_ids": return_word_ids,
        "sequence_ids": return_sequence_ids,
    }
    types = return_token_type_ids
    if types is None and not (pairs and tokenizer.gives_types):
        types = False
    names = tuple(name for name, wanted in more.items() if wanted)
    limits = (fills, max_length, pad_to_multiple_of, side, cut)
    return Asked(*limits, add_special_tokens, types, windows, names)


def _one_of(name: str, value: Any, known: Mapping[Any, Any]) -> Any:
    if not isinstance(value, (bool, str)) or value not in known:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, known))}")
    return known[value]


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")


def check_texts(texts: Iterable[Any], split: bool = False) -> list[Any]:
    """Several texts, or several lists of words.

    Raises:
        ValueError: one text, and what is no text.
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError("several texts are a list of str; one text goes to encode")
    found = list(texts)
    for number, text in enumerate(found):
        if not split:
            if not isinstance(text, str):
                hint = "; decode it first"
                if isinstance(text, (list, tuple)) and all(isinstance(word, str) for word in text):
                    hint = "; words of a text go to batch(..., is_split_into_words=True)"
                raise ValueError(f"text {number} is {type(text).__name__}, not str{hint}")
        elif isinstance(text, (str, bytes)) or not isinstance(text, Sequence):
            raise ValueError(
                f"text {number} is {type(text).__name__}; with is_split_into_words=True a text is "
                "a list of its words, and a batch a list of such lists"
            )
        elif wrong := [word for word in text if not isinstance(word, str)]:
            raise ValueError(f"text {number} has a {type(wrong[0]).__name__} among its words")
    return found


def _check_words(tokenizer: Wrapped, texts: Iterable[Sequence[str]]) -> None:
    """Bytes, characters and byte-level BPE need spaces: words would run together."""
    content = tokenizer.inner.pre_tokenizer
    parts = () if content is None else _parts(content)
    glues = [type(one).__name__ == "ByteLevel" and not one.add_prefix_space for one in parts]
    if not tokenizer.simple and not any(glues):
        return
    for number, words in enumerate(texts):
        if glued := [word for word in words[1:] if not word[:1].isspace()]:
            raise ValueError(
                f"text {number}: this tokenizer keeps the spaces of a text, and puts none between "
                f"words: {glued[0]!r} would run into the word before; write {' ' + glued[0]!r}"
            )


def _parts(one: Any) -> list[Any]:
    """The pre-tokenizers of a sequence."""
    if type(one).__name__ != "Sequence":
        return [one]
    return [one[n] for n in range(len(one))] if hasattr(one, "__len__") else []


def _check_lengths(rows: Sequence[Any], max_length: int, pairs: bool) -> None:
    lengths = [len(row.ids) for row in rows]
    longest = int(np.argmax(lengths))
    if lengths[longest] > max_length:
        raise ValueError(
            f"text {longest} has {lengths[longest]} tokens"
            f"{' with its pair' if pairs else ''}; max_length is {max_length}: pass "
            "truncation=True to cut it, or raise max_length"
        )


def _column(row: Any, name: str) -> Int[np.ndarray, " T"]:
    """A value, or the two of an offset, for each token of a row; -1 for None."""
    values = row.offsets if name == "offset_mapping" else getattr(row, name)
    if not isinstance(values, np.ndarray):
        values = [-1 if value is None else value for value in values]
    return np.array(values, np.int32).reshape(len(row.ids), *((2,) * (name == "offset_mapping")))


def _filled(
    tokenizer: Wrapped, columns: dict[str, list[Any]], asked: Asked
) -> dict[str, Int[np.ndarray, "B T"] | Any]:
    """The arrays, filled up to one width; lists of arrays where rows stay as they are."""
    if asked.padding is None:
        return dict(columns)
    lengths = np.array([len(row) for row in columns["input_ids"]])
    width = int(lengths.max())
    if asked.padding == "max_length":
        assert asked.max_length is not None
        width = asked.max_length
    if asked.multiple is not None:
        width = -(-width // asked.multiple) * asked.multiple
    if (lengths < width).any() and "pad" not in tokenizer.special:
        raise ValueError(
            "rows of unlike length are filled with the pad token, and this tokenizer has none; "
            'name one, as tokenizer.add_special_tokens({"pad_token": "<pad>"}) does, or batch '
            "texts of one length"
        )
    places = np.arange(width) if asked.side == "right" else np.arange(width)[::-1]
    inside = places < lengths[:, None]
    fill = dict(FILL)
    if "pad" in tokenizer.special:
        fill["input_ids"] = tokenizer.special_id("pad")
    filled = {}
    for name, rows in columns.items():
        shape = (*inside.shape, 2) if name == "offset_mapping" else inside.shape
        filled[name] = np.full(shape, fill.get(name, 0), np.int32)
        filled[name][inside] = np.concatenate(rows)
    return filled
