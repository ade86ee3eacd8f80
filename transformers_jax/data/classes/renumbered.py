"""A tokenizer of the Rust library whose ids are renumbered on the way out.

Some classes look up the pieces of one file in the vocabulary of another, and a piece that is not
there is unknown. No model of the Rust library gives one id to several pieces, so those have ids of
their own behind the vocabulary, which nobody sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

OWN = ("inner", "known", "unknown", "alias", "surfaces", "ready", "join")


class Renumbered:
    """The face of a tokenizer of the Rust library; ids behind `known` are `unknown`.

    Attributes:
        inner: the tokenizer with all pieces.
        known: id -> token, of the vocabulary that others see.
        unknown: the id of what is not in it.
        alias: id of the inner tokenizer -> id that others see.
        surfaces: token -> id, of what the vocabulary has though no piece is it: characters that
            the model does not know are looked up as they stand in the text.
        ready: what is done to a text first; it may not change its length.
        join: (tokens, which of them are special) -> their text.
    """

    def __init__(
        self,
        inner: Any,
        known: dict[int, str],
        unknown: int,
        *,
        alias: dict[int, int] | None = None,
        surfaces: dict[str, int] | None = None,
        ready: Callable[[str], str] | None = None,
        join: Callable[[list[str], list[bool]], str] | None = None,
    ):
        self.inner, self.known, self.unknown = inner, known, unknown
        self.alias, self.surfaces = alias or {}, surfaces or {}
        self.ready, self.join = ready, join

    def __getattr__(self, name: str) -> Any:
        if name in OWN:  # not there yet, while it is copied
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.inner, name, value)

    def encode(self, sequence: Any, pair: Any = None, **options: Any) -> Row:
        """One text, or a pair of texts."""
        texts = [self._made(sequence), *([] if pair is None else [self._made(pair)])]
        return Row(self.inner.encode(*texts, **options), self)

    def encode_batch(self, texts: Sequence[Any], **options: Any) -> list[Row]:
        """Texts, on all cores."""
        ready = [self._made(text) for text in texts]
        return [Row(one, self) for one in self.inner.encode_batch(ready, **options)]

    def encode_batch_fast(self, texts: Sequence[Any], **options: Any) -> list[Row]:
        """Texts, on all cores, without the places of tokens."""
        if self.surfaces:  # the fast way leaves the tokens out, too
            return self.encode_batch(texts, **options)
        ready = [self._made(text) for text in texts]
        return [Row(one, self) for one in self.inner.encode_batch_fast(ready, **options)]

    def post_process(self, encoding: Any, pair: Any = None, *options: Any, **more: Any) -> Row:
        """Special tokens around a text or a pair."""
        bare = lambda one: one.inner if isinstance(one, Row) else one
        return Row(self.inner.post_process(bare(encoding), bare(pair), *options, **more), self)

    def _made(self, text: Any) -> Any:
        if self.ready is None:
            return text
        if isinstance(text, str):
            return self.ready(text)
        return type(text)(self._made(one) for one in text)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """The vocabulary that others see."""
        if with_added_tokens:
            return {token: number for number, token in self.known.items()}
        added = self.inner.get_added_tokens_decoder()
        return {token: number for number, token in self.known.items() if number not in added}

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """How many tokens others see."""
        return len(self.get_vocab(with_added_tokens))

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        return self.get_vocab().get(token)

    def id_to_token(self, number: int) -> str | None:
        """The token of an id, or None."""
        return self.known.get(number)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids."""
        added = self.inner.get_added_tokens_decoder()
        marked = [(n, n in added and added[n].special) for n in ids if n in self.known]
        kept = [one for one in marked if not (skip_special_tokens and one[1])]
        if self.join is None:
            return str(self.inner.decode([n for n, _ in kept], skip_special_tokens=False))
        return self.join([self.known[n] for n, _ in kept], [special for _, special in kept])

    def decode_batch(self, rows: Sequence[Sequence[int]], **options: Any) -> list[str]:
        """The texts of rows of ids."""
        return [self.decode(row, **options) for row in rows]

    def save(self, path: str, pretty: bool = True) -> None:
        """Not done.

        Raises:
            ValueError: always: a tokenizer.json has no place for what this does.
        """
        raise ValueError(f"{path} cannot be written: its class has no tokenizer.json")


class Row:
    """An encoding of the Rust library with the ids that others see."""

    def __init__(self, inner: Any, of: Renumbered):
        self.inner, self.of = inner, of

    def __getattr__(self, name: str) -> Any:
        if name in ("inner", "of"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __len__(self) -> int:
        return len(self.inner)

    @property
    def ids(self) -> list[int]:
        """The ids of the vocabulary, unknown ones as the unknown token's."""
        known, unknown, alias = self.of.known, self.of.unknown, self.of.alias
        found = [alias.get(number, number) for number in self.inner.ids]
        found = [number if number in known else unknown for number in found]
        if self.of.surfaces and unknown in found:
            shown = zip(found, self.inner.tokens)
            return [
                self.of.surfaces.get(text, number) if number == unknown else number
                for number, text in shown
            ]
        return found

    @property
    def tokens(self) -> list[str]:
        """The tokens of the ids."""
        return [self.of.known[number] for number in self.ids]

    @property
    def overflowing(self) -> list[Row]:
        """What was cut off, in rows of their own."""
        return [Row(one, self.of) for one in self.inner.overflowing]
