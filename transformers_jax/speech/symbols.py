"""The symbols that a model of connectionist temporal classification writes, of its tokenizer."""

from __future__ import annotations

from typing import Any

from transformers_jax.data.classes.characters import DELIMITER, GAP, NAME
from transformers_jax.data.classes.options import text
from transformers_jax.generation.ctc_symbols import Symbols


def symbols_of(tokenizer: Any, vocab_size: int, blank: int | None) -> Symbols:
    """The symbols of a tokenizer of characters, by the ids of the model's classes.

    Args:
        vocab_size: classes of the model; ids without a token stand for nothing.
        blank: the model's `pad_token_id`; None: the tokenizer's padding.

    Raises:
        ValueError: tokens that are no characters, or no blank.
    """
    vocabulary = tokenizer.inner.get_vocab(with_added_tokens=True)
    ids = {token: number for token, number in vocabulary.items() if number < vocab_size}
    special = {number for role in tokenizer.special if (number := tokenizer.special_id(role)) >= 0}
    written = [token for token, number in ids.items() if number not in special]
    released = tokenizer.tokenizer_class == NAME
    if not released and any(len(token) > 1 for token in written):
        longest = max(written, key=len)
        raise ValueError(
            f"a model of frames writes characters, and the tokenizer has tokens such as "
            f"{longest!r}: train it with --data.tokenizer character, or use tj.decode_ctc with "
            "symbols of your own"
        )
    if blank is None and "pad" not in tokenizer.special:
        raise ValueError("the model has no pad_token_id, which is the blank; set it in config.json")
    blank = tokenizer.special_id("pad") if blank is None else blank
    names = [""] * vocab_size
    for token, number in ids.items():
        names[number] = token
    gap = text(tokenizer.config.get(DELIMITER, GAP)) if released else " "
    role = lambda name: tokenizer.special_id(name) if name in tokenizer.special else None
    unknown = role("unk")
    return Symbols(
        tuple(names),
        blank,
        delimiter=ids.get(str(gap)),
        unknown=unknown,
        special=frozenset(special - {blank, unknown}),
        lower=bool(tokenizer.config.get("do_lower_case", False)) and released,
    )
