"""A tokenizer of the Rust library whose ids are renumbered on the way out.

Some classes look up the pieces of one file in the vocabulary of another, and a piece that is not
there is unknown. No model of the Rust library gives one id to several pieces, so those have ids of
their own after the vocabulary, which are not exposed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False, repr=False)
class Renumbered:
    """What `Tokenizer` needs of a tokenizer of the Rust library; ids that `known` has not are
    `unknown`. All else is read from, and set on, the tokenizer within.

    Attributes:
        inner: the tokenizer with all pieces.
        known: id -> token, of the exposed vocabulary.
        unknown: the id of what is not in it.
        join: (tokens, which of them are special) -> their text.
        alias: id of the inner tokenizer -> exposed id.
        surfaces: token -> id, of what the vocabulary has though no piece is it: characters that
            the model does not know are looked up as they are in the text.
        prepare: what is done to a text first; it may not change its length.
    """

    inner: Any
    known: Mapping[int, str]
    unknown: int
    join: Callable[[list[str], list[bool]], str]
    alias: Mapping[int, int] = field(default_factory=dict)
    surfaces: Mapping[str, int] = field(default_factory=dict)
    prepare: Callable[[str], str] | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not there yet, while it is copied
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dataclass_fields__:
            vars(self)[name] = value
        else:
            setattr(self.inner, name, value)

    def encode_batch(self, texts: Sequence[Any], fast: bool = False, **options: Any) -> list[Row]:
        """Texts or pairs of texts, on all cores."""
        encode = self.inner.encode_batch_fast if fast else self.inner.encode_batch
        return [Row(one, self) for one in encode([*map(self._prepared, texts)], **options)]

    def encode_batch_fast(self, texts: Sequence[Any], **options: Any) -> list[Row]:
        """Texts or pairs of texts without the offsets of tokens; nor the tokens: `surfaces` reads
        them."""
        return self.encode_batch(texts, fast=not self.surfaces, **options)

    def _prepared(self, text: Any) -> Any:
        if self.prepare is None:
            return text
        if isinstance(text, str):
            return self.prepare(text)
        return type(text)(self._prepared(one) for one in text)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """The exposed vocabulary."""
        added = {} if with_added_tokens else self.inner.get_added_tokens_decoder()
        return {token: number for number, token in self.known.items() if number not in added}

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        return self.get_vocab().get(token)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids."""
        added = self.inner.get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special}
        ids = [n for n in ids if n in self.known and not (skip_special_tokens and n in special)]
        return self.join([self.known[n] for n in ids], [n in special for n in ids])


class Row:
    """An encoding of the Rust library with the exposed ids."""

    def __init__(self, inner: Any, tokenizer: Renumbered):
        self.inner, self.tokenizer = inner, tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def ids(self) -> list[int]:
        """The ids of the vocabulary, unknown ones as the unknown token's."""
        own, unknown = self.tokenizer, self.tokenizer.unknown
        ids = [own.alias.get(number, number) for number in self.inner.ids]
        ids = [number if number in own.known else unknown for number in ids]
        if own.surfaces:
            ids = [
                own.surfaces.get(token, number) if number == unknown else number
                for token, number in zip(self.inner.tokens, ids)
            ]
        return ids

    @property
    def overflowing(self) -> list[Row]:
        """What was cut off, in rows of their own."""
        return [Row(one, self.tokenizer) for one in self.inner.overflowing]
