"""What the tokens of a tokenizer write, as llguidance reads it."""

from __future__ import annotations

import functools
from typing import Any

import tokenizers

from transformers_jax.extras import need
from transformers_jax.generation.stopping.token_bytes import token_bytes


@functools.lru_cache(maxsize=4)
def token_tree(content: str, ends: tuple[int, ...]) -> Any:
    """The library's tree of all tokens of a tokenizer.json; of a large one it takes a second.

    It knows what the tokens of bytes and of those that fall back to bytes write; of others it is
    told.
    """
    library = need("llguidance", "grammar", "a grammar or a JSON schema")
    try:
        return library.LLTokenizer(content, eos_token=list(ends))
    except ValueError as error:
        if "decoder" not in str(error):
            raise ValueError(f"llguidance cannot read this tokenizer: {error}") from None
    inner = tokenizers.Tokenizer.from_str(content)
    return library.LLTokenizer(_Spelled(inner, ends[0]), eos_token=list(ends))


class _Spelled:
    """A tokenizer by the bytes of its tokens, as the library asks for one. Where a text is forced,
    it is written with the longest tokens that fit."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, inner: tokenizers.Tokenizer, end: int) -> None:
        texts, added = token_bytes(inner), inner.get_added_tokens_decoder()
        self.eos_token_id = end
        self.special_token_ids = sorted(number for number, t in added.items() if t.special)
        self.tokens = [texts.get(number, b"") for number in range(max(texts) + 1)]
        plain = texts.keys() - set(self.special_token_ids)
        self._numbers = {texts[number]: number for number in plain if texts[number]}
        self._longest = max(map(len, self._numbers), default=0)

    def __call__(self, text: str | bytes) -> list[int]:
        rest, ids = text.encode() if isinstance(text, str) else text, []
        while rest:
            lengths = range(min(self._longest, len(rest)), 0, -1)
            fitting = next((n for n in lengths if rest[:n] in self._numbers), None)
            ids += [] if fitting is None else [self._numbers[rest[:fitting]]]
            rest = rest[fitting or 1 :]
        return ids
