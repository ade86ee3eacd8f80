"""Texts as rows of tokens: encoded, cut to a length or into windows, with special tokens around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers_jax.data.lookup import Frame, Record, Spans, framed, refuse_surrogates, windows
from transformers_jax.data.wrapped import Wrapped


@dataclass(frozen=True)
class Cut:
    """How rows become as short as they must be.

    Attributes:
        length: the most tokens of a row, special ones included.
        strategy: of a pair, which text is cut: "longest_first", "only_first", "only_second".
        side: "right" keeps the first tokens, "left" the last.
        stride: how many tokens each window of a text shares with the one before.
        windows: whether what is cut off is asked for.
    """

    length: int
    strategy: str = "longest_first"
    side: str = "right"
    stride: int = 0
    windows: bool = False


def encoded(
    tokenizer: Wrapped,
    sides: Sequence[Sequence[Any]],
    cut: Cut | None,
    *,
    special: bool,
    split: bool,
    spans: bool,
) -> list[Any]:
    """A record for each text or pair, with `overflowing` records for what was cut off.

    Args:
        sides: the texts, or first the texts and then those beside them.
        special: whether special tokens are put around.
        split: whether each text is a sequence of words.
        spans: whether the characters or words of tokens are asked for.

    Raises:
        ValueError: texts that cannot be cut as told.
    """
    if tokenizer.simple:
        refuse_surrogates([text for side in sides for text in side])
        return _looked_up(tokenizer, sides, cut, special)
    rows = list(sides[0]) if len(sides) == 1 else list(zip(*sides))
    settings: dict[str, Any] = {"add_special_tokens": special, "is_pretokenized": split}
    method = "encode_batch" if spans else "encode_batch_fast"
    if cut is None:
        return tokenizer.run(method, rows, **settings)
    rules = {"strategy": cut.strategy, "direction": cut.side, "stride": cut.stride}
    around = tokenizer.inner.num_special_tokens_to_add(len(sides) == 2) if special else 0
    rules |= {"max_length": cut.length}
    try:
        found = tokenizer.run(method, rows, truncation=rules, **settings)
    except ValueError:
        _check_whole(tokenizer, rows, cut, around, settings)
        raise
    if len(sides) == 2 and any(
        row.overflowing and not {0, 1} <= {*row.sequence_ids} for row in found
    ):
        _check_whole(tokenizer, rows, cut, around, settings)
    return found


def _check_whole(
    tokenizer: Wrapped, rows: Sequence[Any], cut: Cut, around: int, settings: dict[str, Any]
) -> None:
    """Says of which text nothing would be left; the library would panic, or write long rows."""
    for number, row in enumerate(tokenizer.run("encode_batch_fast", rows, **settings)):
        owners = [n for n in row.sequence_ids if n is not None]
        sides = range(2 if isinstance(rows[0], tuple) else 1)
        check_room(number, [owners.count(side) for side in sides], cut, around)


def _looked_up(
    tokenizer: Wrapped, sides: Sequence[Sequence[Any]], cut: Cut | None, special: bool
) -> list[Record]:
    """Rows of bytes or characters."""
    frame = None
    if special and tokenizer.inner.num_special_tokens_to_add(False):
        frame = Frame(tokenizer.special_id("cls"), tokenizer.special_id("sep"))
    around = 0 if frame is None else 1 + len(sides)
    found = []
    for number, row in enumerate(zip(*sides)):
        parts = [[tokenizer.lookup.spans(text)] for text in row]
        sizes = [len(part[0].ids) for part in parts]
        if cut is not None and sum(sizes) + around > cut.length:
            lengths = check_room(number, sizes, cut, around)
            parts = [
                windows(part[0], length, cut.stride, cut.side) if length < size else part
                for part, length, size in zip(parts, lengths, sizes)
            ]
        if cut is None or not cut.windows:
            parts = [part[:1] for part in parts]
        first, *others = [framed(sides, frame) for sides in _combined(parts)]
        first.overflowing = others
        found.append(first)
    return found


def _combined(parts: list[list[Spans]]) -> list[list[Spans]]:
    """Each window of a text, or of the first text with each of the second, in the library's order:
    what is kept of both comes first, the further windows of the second alone last."""
    if len(parts) == 1:
        return [[one] for one in parts[0]]
    first, second = parts
    further = [[one, other] for one in first[1:] for other in second]
    return [[first[0], second[0]], *further, *([first[0], other] for other in second[1:])]


def check_room(number: int, sizes: Sequence[int], cut: Cut, around: int) -> list[int]:
    """How many tokens are kept of a text, or of each of two.

    Raises:
        ValueError: nothing is left of a text that is cut, or windows that get nowhere.
    """
    room, lengths = cut.length - around, list(sizes)
    over = sum(sizes) - room
    if over <= 0:
        return lengths
    if cut.strategy in ("only_first", "only_second"):
        side = int(cut.strategy == "only_second")
        lengths[side] -= over
        if lengths[side] < 1:
            raise ValueError(
                f"text {number}: the other of the pair alone leaves no room in max_length "
                f"({cut.length}), and truncation={cut.strategy!r} keeps it; use 'longest_first'"
            )
    elif len(lengths) == 2:
        lengths = [*longest_first(lengths[0], lengths[1], room)]
    else:
        lengths = [room]
    for side, (length, size) in enumerate(zip(lengths, sizes)):
        if length == 0 < size:
            raise ValueError(
                f"text {number}: max_length ({cut.length}) leaves no room for any token of "
                f"{'its pair' if side else 'it beside its pair'}"
            )
        if length < size and length <= cut.stride:
            raise ValueError(
                f"text {number}{' of text_pair' * side}: its windows have room for {length} tokens "
                f"and share stride={cut.stride} of them with the one before; choose a smaller "
                "stride or a greater max_length"
            )
    return lengths


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts are kept where the longer one is cut before the other is."""
    if first + second <= room:
        return first, second
    short = min(first, second)
    if 2 * short > room:  # both are cut; the longer one has the odd token
        short = room // 2
    long = room - short
    return (short, long) if first <= second else (long, short)
