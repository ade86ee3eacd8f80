"""Which text of a source is held out for evaluation, where the source does not say so itself.

The texts alone decide, so that it is the same everywhere; when documents are added it stays so, or
nearly so where they are few.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from transformers_jax.data.texts import RULES, Source, Texts

FEW = 1000  # documents whose sizes are looked at; among more, chance comes near enough
LARGEST = 2**64
WITHIN = 2  # times what was asked for, or as much less, a side of whole documents may be


def hold_out(source: Source, fraction: float | None, eos: bool, rules: int = RULES) -> Source:
    """The source with the splits train and validation; its own split is used, if it has one.

    Args:
        fraction: of the text; None, or 0: nothing is held out.
        eos: whether a token will end each document, so that no text need part them.
        rules: `texts.RULES`, or those of an earlier version, for its runs.
    """
    splits, how, single = dict(source.splits), "", False
    if len(splits) == 1:
        (whole,) = splits.values()
        looked_at = itertools.islice(iter(whole), FEW + 1 if fraction else 2)
        few = [(number_of(document), len(document)) for document in looked_at]
        single = len(few) < 2
        if fraction and "train" in splits:
            splits, how = _split(whole, few, fraction, rules)
    separator = "" if eos or single or source.ids else source.separator
    return dataclasses.replace(source, splits=splits, separator=separator, held_out=how)


def _split(
    train: Texts, few: Sequence[tuple[int, int]], fraction: float, rules: int
) -> tuple[dict[str, Texts], str]:
    """The two sides, and by what they were parted.

    Of many documents, those with the lowest numbers are held out. Of few, those with which the
    share comes nearest to the fraction; where none comes near, because few hold most of the text,
    the end of each.
    """
    if len(few) > FEW or (rules == 1 and len(few) > 1):
        return _sides(train, lambda number: number < fraction * LARGEST), "hash"
    chosen = _nearest(few, fraction)
    if chosen and (rules == 2 or _is_near(chosen, few, fraction) or not _can_be_cut(few, fraction)):
        return _sides(train, chosen.__contains__), "size"
    return _ends(train, fraction), "end" if len(few) < 2 else "ends"


def number_of(document: Any) -> int:
    """A number below 2^64 that its content decides: documents that are equal are on one side."""
    if isinstance(document, str):
        content = document.encode(errors="surrogatepass")
    else:
        content = np.asarray(document).tobytes()
    return int.from_bytes(hashlib.sha256(content).digest()[:8])


def _nearest(few: Sequence[tuple[int, int]], fraction: float) -> set[int]:
    """The numbers of those that are held out: each, from the lowest number on, with which the share
    of the text is nearer to the fraction than without it; never all."""
    sizes: Counter[int] = Counter()
    for number, size in few:
        sizes[number] += size
    target, held, chosen = fraction * sum(sizes.values()), 0, set[int]()
    for number, size in sorted(sizes.items()):
        if abs(held + size - target) < abs(held - target) and len(chosen) + 1 < len(sizes):
            held += size
            chosen.add(number)
    return chosen


def _is_near(chosen: set[int], few: Sequence[tuple[int, int]], fraction: float) -> bool:
    """Whether both sides are at most twice, and at least half, as large as they were to be."""
    share = sum(size for number, size in few if number in chosen) / sum(size for _, size in few)
    return all(
        part / WITHIN <= actual <= part * WITHIN
        for actual, part in ((share, fraction), (1 - share, 1 - fraction))
    )


def _can_be_cut(few: Sequence[tuple[int, int]], fraction: float) -> bool:
    """Whether there is something on both sides if each document is cut."""
    cuts = [(int(size * (1 - fraction)), size) for _, size in few]
    return any(cut for cut, _ in cuts) and any(cut < size for cut, size in cuts)


def _sides(documents: Texts, is_held_out: Callable[[int], bool]) -> dict[str, Texts]:
    select = lambda held_out: Texts(
        lambda: (d for d in documents if is_held_out(number_of(d)) is held_out)
    )
    return {"train": select(False), "validation": select(True)}


def _ends(documents: Texts, fraction: float) -> dict[str, Texts]:
    """Each document is cut near its end."""

    def part(first: bool) -> Iterator[Any]:
        for document in documents:
            cut = int(len(document) * (1 - fraction))
            if len(half := document[:cut] if first else document[cut:]):
                yield half

    return {"train": Texts(lambda: part(True)), "validation": Texts(lambda: part(False))}
