"""Texts, or pairs of texts, as the inputs of a model: cut, with special tokens around, filled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from transformers_jax.arrays import Int

if TYPE_CHECKING:
    from transformers_jax.data.tokenizer import Tokenizer

Truncation = bool | Literal["longest_first", "only_first", "only_second"]
CUTS = (False, True, "longest_first", "only_first", "only_second")


class Part(NamedTuple):
    """A text as ids; `encoding` is what the Rust library's template is put around."""

    ids: list[int]
    encoding: Any = None

    def cut(self, length: int) -> Part:
        """Its first tokens."""
        if self.encoding is not None:
            self.encoding.truncate(length)
        return Part(self.ids[:length], self.encoding)


class Row(NamedTuple):
    """Ids, and for each whether it is of the first text (0) or of the second."""

    ids: list[int]
    types: list[int]


def batch(
    tokenizer: Tokenizer,
    texts: Iterable[str],
    text_pair: Iterable[str] | None = None,
    *,
    max_length: int | None = None,
    truncation: Truncation = False,
    add_special_tokens: bool = True,
    return_token_type_ids: bool | None = None,
) -> dict[str, Int[np.ndarray, "B T"]]:
    """See `Tokenizer.batch`."""
    sides = [_parts(tokenizer, texts)]
    if text_pair is not None:
        sides.append(_parts(tokenizer, text_pair))
        if len(sides[0]) != len(sides[1]):
            raise ValueError(
                f"{len(sides[0])} texts and {len(sides[1])} in text_pair; each text has one beside"
            )
    if not sides[0]:
        raise ValueError("a batch has at least one text; this one has none")
    if truncation not in CUTS or (truncation == "only_second" and text_pair is None):
        beside = "" if truncation not in CUTS else ", and there is no text_pair"
        raise ValueError(f"truncation={truncation!r}: expected one of {CUTS}{beside}")
    pairs = text_pair is not None
    around = tokenizer.inner.num_special_tokens_to_add(pairs) if add_special_tokens else 0
    if max_length is not None and max_length <= around:
        raise ValueError(
            f"max_length ({max_length}) leaves no room: {around} special tokens are put around"
        )
    parts = list(zip(*sides))
    if max_length is not None:
        parts = _cut(parts, max_length, around, truncation)
    rows = [_joined(tokenizer, row, add_special_tokens) for row in parts]
    found = _filled(tokenizer, rows)
    if return_token_type_ids is None:
        return_token_type_ids = pairs and bool(found["token_type_ids"].any())
    if not return_token_type_ids:
        del found["token_type_ids"]
    return found


def _parts(tokenizer: Tokenizer, texts: Iterable[str]) -> list[Part]:
    if tokenizer.simple:
        return [Part(ids.tolist()) for ids in tokenizer.encode_many(texts)]
    return [Part(list(one.ids), one) for one in tokenizer.encodings(texts)]


def _cut(
    parts: list[tuple[Part, ...]], max_length: int, around: int, truncation: Truncation
) -> list[tuple[Part, ...]]:
    room, found = max_length - around, []
    for number, row in enumerate(parts):
        lengths = [len(part.ids) for part in row]
        if sum(lengths) > room and not truncation:
            longest = max(range(len(parts)), key=lambda n: sum(len(p.ids) for p in parts[n]))
            raise ValueError(
                f"text {longest} has {sum(len(p.ids) for p in parts[longest]) + around} tokens"
                f"{' with its pair' if len(row) == 2 else ''}; max_length is {max_length}: pass "
                "truncation=True to cut it, or raise max_length"
            )
        if truncation in ("only_first", "only_second"):
            side = int(truncation == "only_second")
            over = max(0, sum(lengths) - room)
            lengths[side] -= over
            if over and lengths[side] < 1:
                raise ValueError(
                    f"text {number}: the other of the pair alone leaves no room in max_length "
                    f"({max_length}), and truncation={truncation!r} keeps it; use 'longest_first'"
                )
        elif len(row) == 2:
            lengths = [*longest_first(lengths[0], lengths[1], room)]
        else:
            lengths = [min(room, *lengths)]
        found.append(tuple(part.cut(length) for part, length in zip(row, lengths)))
    return found


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts are kept where the longer one is cut before the other is."""
    if first + second <= room:
        return first, second
    short = min(first, second)
    if 2 * short > room:  # both are cut; the longer one has the odd token
        short = room // 2
    long = room - short
    return (short, long) if first <= second else (long, short)


def _joined(tokenizer: Tokenizer, row: tuple[Part, ...], special: bool) -> Row:
    """One row of one or two texts, with what the tokenizer's own template puts around."""
    if special and not tokenizer.simple:
        found = tokenizer.inner.post_process(*(part.encoding for part in row))
        return Row(list(found.ids), list(found.type_ids))
    ids, types = [], []
    around = tokenizer.inner.num_special_tokens_to_add(False) if special else 0
    if around:  # the template is ours: [CLS] a [SEP] b [SEP]
        ids, types = [tokenizer.special_id("cls")], [0]
    for side, part in enumerate(row):
        end = [tokenizer.special_id("sep")] if around else []
        ids += part.ids + end
        types += [side] * (len(part.ids) + len(end))
    return Row(ids, types)


def _filled(tokenizer: Tokenizer, rows: list[Row]) -> dict[str, np.ndarray]:
    """All three arrays, filled on the right to the longest row."""
    lengths = np.array([len(row.ids) for row in rows])
    width = int(lengths.max())
    if (lengths < width).any() and "pad" not in tokenizer.special:
        raise ValueError(
            "rows of unlike length are filled with the pad token, and this tokenizer has "
            "none; name one in tokenizer_config.json (pad_token), or batch texts of one length"
        )
    mask = np.arange(width) < lengths[:, None]
    pad = tokenizer.special_id("pad") if "pad" in tokenizer.special else 0
    ids, types = np.full(mask.shape, pad, np.int32), np.zeros(mask.shape, np.int32)
    ids[mask] = [i for row in rows for i in row.ids]
    types[mask] = [i for row in rows for i in row.types]
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask.astype(np.int32)}
