"""Special tokens: what each is for, and those that are added to a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from tokenizers import AddedToken

from transformers_jax.arrays import Bool
from transformers_jax.data.tokenizer_settings import NAMED
from transformers_jax.data.wrapped import Wrapped
from transformers_jax.objectives.vocabulary import Vocabulary
from transformers_jax.spelling import nearest

SENTINEL = re.compile(r"<extra_id_(\d+)>")
MODES = {"R": ("[R]", "[NLU]"), "S": ("[S]", "[S2S]"), "X": ("[X]", "[NLG]")}  # UL2's own, second


def vocabulary(tokenizer: Wrapped, size: int | None) -> Vocabulary:
    """See `Tokenizer.vocabulary`."""
    size = tokenizer.max_id + 1 if size is None else size
    ids = tokenizer.inner.get_vocab(with_added_tokens=True)
    numbered = {int(m[1]): ids[t] for t in ids if (m := SENTINEL.fullmatch(t))}
    count = next(n for n in range(len(numbered) + 1) if n not in numbered)
    added = {token.content for token in tokenizer.inner.get_added_tokens_decoder().values()}
    modes = {
        mode: next((ids[t] for t in texts if t in added), None) for mode, texts in MODES.items()
    }
    return Vocabulary(
        size=size,
        special={role: ids[token] for role, token in tokenizer.special.items()},
        sentinels=tuple(numbered[n] for n in range(count)),
        modes={mode: i for mode, i in modes.items() if i is not None},
        continues=_continues(tokenizer.inner, size),
    )


def _continues(inner: Any, size: int) -> Bool[np.ndarray, " V"]:
    """WordPiece marks what continues a word; the others mark the space before one."""
    tokens = inner.get_vocab(with_added_tokens=False)
    added = {token.content for token in inner.get_added_tokens_decoder().values()}
    prefix = getattr(inner.model, "continuing_subword_prefix", None)
    if type(inner.model).__name__ == "WordPiece":
        within = lambda token: token.startswith(prefix or "##")
    else:  # a space, tab or line as byte-level BPE, SentencePiece and characters write it
        starts = ("Ġ", "Ċ", "ĉ", "č", "▁", "<0x0A>", "<0x20>", " ", "\n", "\t", "\r")
        within = lambda token: not token.startswith(starts)
    continues = np.zeros(size, bool)
    for token, i in tokens.items():
        if i < size and token and token not in added:
            continues[i] = within(token)
    return continues


def records(new_tokens: Any, special: bool) -> list[Any]:
    """Tokens to add, as the Rust library's records; see `Tokenizer.add_tokens`."""
    several = isinstance(new_tokens, Iterable) and not isinstance(new_tokens, str)
    tokens = []
    for token in new_tokens if several else [new_tokens]:
        content = token.content if isinstance(token, AddedToken) else token
        if not isinstance(content, str) or not content:
            raise ValueError(f"{token!r} is no token: a token is a text of at least a character")
        if isinstance(token, str):
            token = AddedToken(token, special=special, normalized=not special)
        elif special:
            token.special = True
        tokens.append(token)
    return tokens


def check_names(tokens: Mapping[str, Any]) -> None:
    """Every key is the name of a special token.

    Raises:
        ValueError: one that is not, with the nearest name.
    """
    names = (*(f"{role}_token" for role in NAMED), "additional_special_tokens")
    if wrong := [name for name in tokens if name not in names]:
        hint = nearest(str(wrong[0]), names)
        raise ValueError(f"{wrong[0]!r} is no special token{hint}; they are {', '.join(names)}")
