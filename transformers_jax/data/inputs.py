"""Texts, or pairs of texts, as the inputs of a model: rows of ids, padded to one width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypedDict

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.tokenizer_settings import check_side
from transformers_jax.data.wrapped import Wrapped, check_texts
from transformers_jax.sizes import check_count
from transformers_jax.spelling import nearest

Padding = bool | Literal["longest", "max_length", "do_not_pad"]
Truncation = bool | Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
PADDINGS = {True: "longest", False: None, "do_not_pad": None, "longest": "longest"}
PADDINGS |= {"max_length": "max_length"}
TRUNCATIONS = {True: "longest_first", False: None, "do_not_truncate": None}
TRUNCATIONS |= {name: name for name in ("longest_first", "only_first", "only_second")}
COLUMNS = {"input_ids": "ids", "token_type_ids": "type_ids", "offset_mapping": "offsets"}
"""array -> its name in the Rust library, where that is another"""
OPTIONAL = {"offset_mapping": "return_offsets_mapping"}  # array -> its option
OPTIONAL |= {name: f"return_{name}" for name in ("special_tokens_mask", "word_ids", "sequence_ids")}
OTHERWISE = {  # options of Hugging Face's __call__ that say nothing here
    "return_tensors": "the arrays are NumPy's, which JAX takes as they are",
    "return_attention_mask": "attention_mask is always there",
    "return_length": "attention_mask.sum(1) are the lengths",
    "text_target": "a target is a batch of its own",
    "split_special_tokens": "encode(text, parse_special=False) reads them as text",
}


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


def batch(
    tokenizer: Wrapped,
    texts: Iterable[Any],
    text_pair: Iterable[Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """See `Tokenizer.batch`."""
    split = options.get("is_split_into_words", False)
    sides = [check_texts(texts, split)]
    if text_pair is not None:
        sides.append(check_texts(text_pair, split))
        if len(sides[0]) != len(sides[1]):
            raise ValueError(
                f"{len(sides[0])} texts and {len(sides[1])} in text_pair; each text needs one"
            )
    if not sides[0]:
        raise ValueError("a batch has at least one text; this one has none")
    form = Format(tokenizer, len(sides) == 2, options)
    if split:
        _check_words(tokenizer, [*sides[0], *sides[-1]])
    rows = _encode(tokenizer, sides, form)
    if form.truncation is None and form.max_length is not None:
        _check_lengths(rows, form.max_length, len(sides) == 2)
    if form.windows:
        samples = [n for n, row in enumerate(rows) for _ in (row, *row.overflowing)]
        rows = [window for row in rows for window in (row, *row.overflowing)]
    columns: dict[str, Any] = {name: [_column(row, name) for row in rows] for name in form.columns}
    if form.types is None and not any(row.any() for row in columns["token_type_ids"]):
        del columns["token_type_ids"]
    if form.padding is not None:
        _check_width(columns["input_ids"], form)
        columns = {name: np.stack(rows) for name, rows in columns.items()}
    if form.windows:
        columns["overflow_to_sample_mapping"] = np.array(samples, np.int32)
    return columns


# ---------------------------------------------------------------- options


class Format:
    """How texts become rows: the options of `Tokenizer.batch`, checked against each other.

    Attributes:
        truncation: "longest_first", "only_first", "only_second", or None.
        padding: "longest", "max_length", or None.
        windows: whether what is truncated comes in further rows, which share `stride` tokens.
        multiple: what the width is a multiple of.
        settings: whether special tokens are added, and whether texts are lists of words.
        special: how many special tokens are added to each row.
        types: whether there are token types; None: where one is not 0.
        columns: names of the arrays.
        aligned: those among them that say where tokens are in the texts.
    """

    def __init__(self, tokenizer: Wrapped, pairs: bool, options: Mapping[str, Any]):
        for name in options.keys() - Options.__annotations__:
            hint = nearest(name, Options.__annotations__, otherwise=OTHERWISE)
            raise TypeError(f"batch has no option {name!r}{hint}")
        self.truncation = _one_of("truncation", options.get("truncation", False), TRUNCATIONS)
        self.padding = _one_of("padding", options.get("padding", True), PADDINGS)
        self.windows = options.get("return_overflowing_tokens", False)
        self.stride = _integer("stride", options.get("stride", 0), 0)
        multiple = options.get("pad_to_multiple_of")
        self.multiple = 1 if multiple is None else _integer("pad_to_multiple_of", multiple, 1)
        adds = options.get("add_special_tokens", True)
        words = options.get("is_split_into_words", False)
        self.settings = {"add_special_tokens": adds, "is_pretokenized": words}
        self.special = tokenizer.inner.num_special_tokens_to_add(pairs) if adds else 0
        self.max_length = options.get("max_length")
        if self.max_length is None and (self.truncation or self.padding == "max_length"):
            self.max_length = tokenizer.model_max_length
        side = lambda name: check_side(name, options.get(name) or getattr(tokenizer, name))
        self.padding_side, self.truncation_side = side("padding_side"), side("truncation_side")
        self.types = options.get("return_token_type_ids")
        if self.types is None and not (pairs and tokenizer.gives_types):
            self.types = False
        types = [] if self.types is False else ["token_type_ids"]
        self.aligned = [name for name, option in OPTIONAL.items() if options.get(option)]
        self.columns = ["input_ids", *types, "attention_mask", *self.aligned]
        self._check(pairs)
        self._check_length()

    def _check(self, pairs: bool) -> None:
        if self.truncation == "only_second" and not pairs:
            raise ValueError("truncation='only_second', and there is no text_pair")
        if self.windows and self.truncation is None:
            raise ValueError(
                "return_overflowing_tokens=True: what overflows is cut off; pass truncation, too"
            )
        if self.stride and not self.windows:
            raise ValueError(
                f"stride={self.stride} is what windows of a text share: pass "
                "return_overflowing_tokens=True"
            )

    def _check_length(self) -> None:
        if self.max_length is None:
            if self.truncation or self.padding == "max_length":
                what = "truncation" if self.truncation else "padding='max_length'"
                raise ValueError(
                    f"{what} needs max_length: this tokenizer does not know how long a row may be "
                    "(model_max_length)"
                )
            return
        length = _integer("max_length", self.max_length, 1)
        if self.truncation and self.padding and length % self.multiple:
            raise ValueError(
                f"max_length ({length}) is no multiple of pad_to_multiple_of ({self.multiple}): "
                "rows that are cut to it would be filled beyond it"
            )
        if length <= self.special:
            raise ValueError(
                f"max_length ({length}) leaves no room next to {self.special} special tokens"
            )
        if self.truncation and length - self.special <= self.stride:
            raise ValueError(
                f"stride ({self.stride}) must be less than the {length - self.special} tokens of "
                f"text in a row of max_length ({length})"
            )


def _one_of(name: str, value: Any, known: Mapping[Any, Any]) -> Any:
    if not isinstance(value, (bool, str)) or value not in known:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, known))}")
    return known[value]


def _integer(name: str, value: Any, least: int) -> int:
    check_count(name, value, least)
    return int(value)


def _check_words(tokenizer: Wrapped, texts: Iterable[Sequence[str]]) -> None:
    """Bytes, characters and byte-level BPE need spaces: words would run together."""
    steps = tokenizer.inner.pre_tokenizer
    steps = list(steps) if hasattr(steps, "__getitem__") else [steps]
    bare = [type(one).__name__ == "ByteLevel" and not one.add_prefix_space for one in steps]
    if not tokenizer.simple and not any(bare):
        return
    for number, words in enumerate(texts):
        if joined := [word for word in words[1:] if not word[:1].isspace()]:
            raise ValueError(
                f"text {number}: this tokenizer keeps the spaces of a text, and puts none between "
                f"words: {joined[0]!r} would run into the word before; write {' ' + joined[0]!r}"
            )


# ---------------------------------------------------------------- rows


def _encode(tokenizer: Wrapped, sides: Sequence[Sequence[Any]], form: Format) -> list[Any]:
    """An encoding of the Rust library for each text or pair, with `overflowing` encodings.

    Raises:
        ValueError: a text of which truncation would leave nothing.
    """
    texts = list(sides[0]) if len(sides) == 1 else list(zip(*sides))
    method = "encode_batch" if form.aligned else "encode_batch_fast"
    truncation: dict[str, Any] | None = None
    padding: dict[str, Any] | None = None
    if form.truncation is not None:
        truncation = dict(max_length=form.max_length, strategy=form.truncation, stride=form.stride)
        truncation["direction"] = form.truncation_side
    if form.padding is not None and "pad" in tokenizer.special:
        padding = dict(pad_id=tokenizer.special_id("pad"), pad_token=tokenizer.special["pad"])
        padding |= dict(direction=form.padding_side, pad_to_multiple_of=form.multiple)
        padding["length"] = form.max_length if form.padding == "max_length" else None
    run = partial(tokenizer.run, texts=texts, **form.settings)
    try:
        rows = run(method, truncation=truncation, padding=padding)
    except ValueError:
        if truncation is not None:
            _check_truncated(run("encode_batch_fast"), len(sides), form)
        raise
    if len(sides) == 2 and any(r.overflowing and not {0, 1} <= {*r.sequence_ids} for r in rows):
        _check_truncated(run("encode_batch_fast"), 2, form)
    return rows


def _check_truncated(rows: Sequence[Any], sides: int, form: Format) -> None:
    """Says of which text nothing would be left; the library would panic, or write long rows."""
    assert form.max_length is not None
    for number, row in enumerate(rows):
        sizes = [row.sequence_ids.count(side) for side in range(sides)]
        most = form.max_length - form.special
        if sum(sizes) <= most:
            continue
        if form.truncation == "longest_first":
            shorter = min(sizes) if 2 * min(sizes) <= most else most // 2
            lengths = [most - shorter] if sides == 1 else [shorter, most - shorter]
            lengths = lengths if sizes[0] <= sizes[-1] else lengths[::-1]
        else:
            lengths = list(sizes)
            lengths[form.truncation == "only_second"] -= sum(sizes) - most
        for side, (length, size) in enumerate(zip(lengths, sizes)):
            if length < 1 <= size:
                raise ValueError(
                    f"text {number}: truncation={form.truncation!r} leaves no room in max_length "
                    f"({form.max_length}) for {'its pair' if side else 'it with its pair'}"
                )
            if length < size and length <= form.stride:
                raise ValueError(
                    f"text {number}{' of text_pair' * side}: its windows have room for {length} "
                    f"tokens and share stride={form.stride} of them with the one before; choose a "
                    "smaller stride or a greater max_length"
                )


def _check_lengths(rows: Sequence[Any], max_length: int, pairs: bool) -> None:
    lengths = [sum(row.attention_mask) for row in rows]
    longest = int(np.argmax(lengths))
    if lengths[longest] > max_length:
        raise ValueError(
            f"text {longest} has {lengths[longest]} tokens"
            f"{' with its pair' if pairs else ''}; max_length is {max_length}: pass "
            "truncation=True to cut it, or raise max_length"
        )


def _check_width(rows: Sequence[np.ndarray], form: Format) -> None:
    """Rows are of one width, as they are where the library fills them with a pad token.

    Raises:
        ValueError: they are not, for there is no such token.
    """
    lengths = {len(row) for row in rows}
    width: Any = form.max_length if form.padding == "max_length" else max(lengths)
    if lengths != {-(-int(width) // form.multiple) * form.multiple}:
        raise ValueError(
            "rows of unlike length are filled with the pad token, and this tokenizer has none; "
            'name one, as tokenizer.add_special_tokens({"pad_token": "<pad>"}) does, or batch '
            "texts of one length"
        )


def _column(row: Any, name: str) -> Int[np.ndarray, " T"]:
    """A value, or the two of an offset, for each token of a row; -1 for None."""
    values = getattr(row, COLUMNS.get(name, name))
    if name == "offset_mapping":
        return np.array(values, np.int32).reshape(-1, 2)
    return np.array([-1 if value is None else value for value in values], np.int32)
