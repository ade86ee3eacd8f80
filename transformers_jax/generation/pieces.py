"""Tokens become text as they come: whole characters only, and nothing behind a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

INCOMPLETE = "\ufffd"  # what a tokenizer decodes the first bytes of a character to


class Pieces:
    """The text of tokens, piece by piece: the pieces together are the text of all tokens.

    Tokens are decoded with some of those before them, as spaces depend on their neighbours; those
    that end within a character wait for the next ones.

    Args:
        before: the tokens of the prompt, behind which the text stands.
        special: whether special tokens are part of the text.
    """

    def __init__(self, tokenizer: Any, before: Sequence[int] = (), special: bool = False):
        self.tokenizer, self.special = tokenizer, special
        self.tokens = list(before)
        self.start = max(0, len(self.tokens) - 8)  # of the tokens that are decoded
        self.told = len(self.tokens)  # those whose text was given out

    def add(self, token: int) -> str:
        """The text that this token completes; empty while a character is incomplete."""
        self.tokens.append(token)
        return self._next(last=False)

    def rest(self) -> str:
        """The text that is left at the end, incomplete characters included."""
        return self._next(last=True)

    def _next(self, last: bool) -> str:
        old = self._text(self.tokens[self.start : self.told])
        new = self._text(self.tokens[self.start :])
        if len(new) <= len(old) or (new.endswith(INCOMPLETE) and not last):
            return ""
        self.start, self.told = self.told, len(self.tokens)
        return new[len(old) :]

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=not self.special)


class Stops:
    """Text up to the first of some stop strings, which may come in pieces."""

    def __init__(self, strings: Sequence[str]):
        self.strings = [string for string in strings if string]
        self.held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """(what can be given out, whether a stop string was found behind it). What might be the
        beginning of a stop string is held back."""
        self.held += text
        found = [at for string in self.strings if (at := self.held.find(string)) >= 0]
        if found:
            out, self.held = self.held[: min(found)], ""
            return out, True
        most = max((self._beginning(string) for string in self.strings), default=0)
        cut = len(self.held) - most
        out, self.held = self.held[:cut], self.held[cut:]
        return out, False

    def rest(self) -> str:
        """What was held back, where no more text comes."""
        out, self.held = self.held, ""
        return out

    def _beginning(self, string: str) -> int:
        """How much of the end of the text is the beginning of a stop string."""
        sizes = range(min(len(string) - 1, len(self.held)), 0, -1)
        return next((size for size in sizes if self.held.endswith(string[:size])), 0)
