"""Characters of texts that a vocabulary lacks: they are counted and told, and a text of which none
is left is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from transformers_jax.data.classes.characters import NAME

SHOWN = 5  # characters that a message names


def check_characters(
    tokenizer: Any, texts: Sequence[str], places: Sequence[str], *, refuse: bool = True
) -> list[str]:
    """A line about the characters that the vocabulary lacks; none where it has all.

    Args:
        places: of the texts, for messages.
        refuse: whether a text without a known character is an error.

    Raises:
        ValueError: a text of whose characters the vocabulary has none; one that it lacks, where it
            has no token for those.
    """
    counts = Counter(character for text in texts for character in text)
    lacking = {one for one in counts if not is_known(tokenizer, one)}
    if not lacking:
        return []
    advice, wrong = _casing(tokenizer, lacking), list[str]()
    for where, text in zip(places, texts):
        letters = {one for one in text if not one.isspace()}
        if refuse and letters and letters <= lacking:
            raise ValueError(
                f"{where}: the vocabulary has no character of the text {text!r:.60}{advice}"
            )
        if not lacking.isdisjoint(text):
            _check_written(tokenizer, text, where, advice)
            wrong.append(where)
    some = [one for one, _ in counts.most_common() if one in lacking]
    shown = ", ".join(f"{one!r} ({counts[one]:,})" for one in some[:SHOWN])
    more = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
    unknown = tokenizer.special.get("unk", "nothing")
    number = f"{len(some):,} character{'s' * (len(some) > 1)}"
    return [
        f"{number} that the vocabulary lacks: {shown}{more}; written as {unknown} in "
        f"{len(wrong):,} of {len(texts):,} texts, the first at {wrong[0]}{advice}"
    ]


def is_known(tokenizer: Any, character: str) -> bool:
    """Whether a tokenizer has ids for a character; spaces may have none."""
    try:
        ids = tokenizer.encode(character, parse_special=False)
    except ValueError:
        return False
    unknown = "unk" in tokenizer.special and tokenizer.special_id("unk") in ids
    return not unknown and (len(ids) > 0 or character.isspace())


def _check_written(tokenizer: Any, text: str, where: str, advice: str) -> None:
    """Raises ValueError for a text that the tokenizer refuses, with its place."""
    try:
        tokenizer.encode(text, parse_special=False)
    except ValueError as error:
        raise ValueError(f"{where}: {error}{advice}") from None


def _casing(tokenizer: Any, lacking: Iterable[str]) -> str:
    """What to do where the vocabulary has the same letters in the other case; "" elsewhere."""
    other = lambda one: is_known(tokenizer, one.swapcase()) and one.swapcase() != one
    found = [one for one in lacking if other(one)]
    if not found:
        return ""
    if not all(one.islower() for one in found):
        return "; it has small letters: write the texts in them (text.lower())"
    set_ = ', or set "do_lower_case": true in tokenizer_config.json'
    named = set_ if tokenizer.tokenizer_class == NAME else ""
    return f"; it has capitals: write the texts in them (text.upper()){named}"
