"""Texts of a grammar: which tokens may come next, so that a text is JSON of a schema, a sentence of
a grammar, or matched by a regular expression.

llguidance (the extra `grammar`, https://github.com/guidance-ai/llguidance) reads the grammar, and
parses a text as it grows. Everything here runs on the host: `processors/grammar.py` asks it from
the compiled loop, and what steps by itself asks a `GrammarState`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transformers_jax.arrays import UInt32
from transformers_jax.extras import need
from transformers_jax.generation.options import Options
from transformers_jax.generation.token_tree import token_tree
from transformers_jax.json_files import json_text, parse_json

log = logging.getLogger(__name__)

SYNTAX = "https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md"
SPACES = r" |\n[ \t]{0,32}"
"""Between the tokens of JSON, where a schema does not say it: a space, or a line and its indent.
Any white space is JSON too, but small models fill texts with it."""

NO_END = (
    "a text of a grammar ends with an end-of-sequence token, and there is none; pass "
    "eos_token_id=..., a token of the tokenizer"
)


@dataclass(frozen=True)
class Regex:
    """A regular expression that the whole text matches, in the syntax of Rust's: it has no
    look-around and no back references.

    >>> tj.generate(model, ids, tokenizer=tokenizer, grammar=tj.Regex(r"[0-9]{3}-[0-9]{4}"))
    """

    pattern: str

    def __post_init__(self) -> None:
        if not isinstance(self.pattern, str):
            raise ValueError(f"Regex: pattern is {self.pattern!r}; expected a str")


class Grammar:
    """What the texts of a tokenizer must be. Made once, it serves many calls and many rows.

    >>> state = tj.Grammar(tokenizer, json_schema={"type": "integer"}).start()
    >>> state.mask()  # bit t % 32 of word t // 32 says whether token t may come next
    >>> state.consume(token)
    >>> state.done

    Attributes:
        name: "json_schema" or "grammar", by which errors call it.
        ends: the tokens that end a text.
        vocabulary: how many tokens a mask has bits for.
    """

    def __init__(
        self,
        tokenizer: Any,
        vocabulary: int | None = None,
        eos_token_id: int | Iterable[int] | None = None,
        *,
        json_schema: Mapping[str, Any] | str | bool | None = None,
        grammar: str | Regex | None = None,
    ) -> None:
        """Reads a grammar.

        Args:
            tokenizer: what `tj.load_tokenizer` reads, or a tokenizer of the libraries tokenizers or
                transformers.
            vocabulary: how many tokens the model scores, where these are more than the tokenizer
                has; the others are never allowed.
            eos_token_id: what ends a text; by default the tokenizer's token for it.
            json_schema: a dict, or its text. Between the tokens of JSON there may be `SPACES`;
                {"x-guidance": {"whitespace_flexible": False}} in the schema allows none.
            grammar: a Lark grammar in llguidance's syntax, or a `Regex`.

        Raises:
            ValueError: the extra is missing; a schema or a grammar that cannot be read or met; no
                tokenizer, or one of another vocabulary, or without an end.
        """
        library = need("llguidance", "grammar", "a grammar or a JSON schema")
        self._given: dict[str, Any] = {"json_schema": json_schema, "grammar": grammar}
        self.name, self._tokenizer = _name(json_schema, grammar), tokenizer
        source = _source(library.LLMatcher, json_schema, grammar)
        inner = _inner(tokenizer, self.name)
        most = max(inner.get_vocab(with_added_tokens=True).values()) + 1
        self.vocabulary = most if vocabulary is None else vocabulary
        if most > self.vocabulary:
            raise ValueError(
                f"the tokenizer has ids up to {most - 1}, and the model scores {self.vocabulary} "
                "tokens: it is of another model, or tokens were added to it; pass the model's own, "
                f"or make room with tj.resize_embeddings(model, {most}, key=key)"
            )
        self.ends = _ends(tokenizer, eos_token_id, most)
        tokens = token_tree(inner.to_str(), self.ends)
        limits = library.LLParserLimits(verbose_errors=False)
        self._first = library.LLMatcher(tokens, source, log_level=0, limits=limits)
        if self._first.is_error():
            raise ValueError(_refusal(self.name, self._first.get_error()))
        for warning in self._first.get_grammar_warnings():
            log.warning("%s: %s", self.name, warning)
        self.last = packed(self.ends, -(-self.vocabulary // 32))
        self.start().mask()  # where nothing can begin a text it is told here

    def __repr__(self) -> str:
        return f"Grammar({self.name}, {self.vocabulary} tokens, ends={list(self.ends)})"

    def start(self) -> GrammarState:
        """The state before the first token."""
        return GrammarState(self, self._first.deep_copy())

    def of_model(self, vocabulary: int | None, ends: tuple[int, ...]) -> Grammar:
        """The same for a model that scores so many tokens, of which these end a text."""
        if not ends:
            raise ValueError(NO_END)
        if vocabulary == self.vocabulary and sorted(ends) == list(self.ends):
            return self
        return Grammar(self._tokenizer, vocabulary, ends, **self._given)

    def decode(self, tokens: Any) -> str:
        """The text of tokens, for messages."""
        return _inner(self._tokenizer, self.name).decode([int(token) for token in tokens])


class GrammarState:
    """How far a text has come in a grammar; `Grammar.start` makes it."""

    def __init__(self, grammar: Grammar, matcher: Any, ended: bool = False) -> None:
        self.grammar, self._matcher, self._ended = grammar, matcher, ended

    @property
    def complete(self) -> bool:
        """Whether the text so far is one of the grammar: it may end here."""
        return bool(self._ended or self._matcher.is_accepting())

    @property
    def done(self) -> bool:
        """Whether nothing but an end can follow, or it has ended."""
        return bool(self._ended or (self._matcher.is_stopped() and self.complete))

    def mask(self) -> UInt32[np.ndarray, " words"]:
        """The tokens that may come next, 32 a word, the first in the lowest bit.

        Raises:
            ValueError: none can, as the tokenizer has no token to go on with, or the parser met one
                of its limits.
        """
        grammar, last = self.grammar, self.grammar.last
        if self.done:
            return last.copy()
        words = np.zeros_like(last)
        found = np.frombuffer(self._matcher.compute_bitmask(), np.uint32)
        words[: len(found)] = found[: len(words)]
        if self._matcher.is_error():
            words[:] = 0
        elif not self._matcher.is_accepting():
            words &= ~last  # an end that has a text as well is no text here
        if not words.any():
            reason = self._matcher.get_error().splitlines() or ["no token"]
            raise ValueError(
                f"{grammar.name}: no token can come next ({reason[0]}): nothing matches the "
                "grammar, the tokenizer lacks a character of it, or it is too large"
            )
        return words

    def consume(self, token: int) -> None:
        """Goes on by one token; an end, where the text may end, ends it.

        What a text must go on with may be cut into other tokens than those of a mask, which has the
        tokenizer's own.

        Raises:
            ValueError: the grammar does not allow the token here. The state stays what it was.
        """
        token = int(token)
        if token in self.grammar.ends and not self._ended and self.complete:
            self._ended = True
        elif self._ended or token in self.grammar.ends or not self._goes_on(token):
            raise ValueError(f"{self.grammar.name}: token {token} is not allowed here")

    def copy(self) -> GrammarState:
        """One that goes its own way from here."""
        return GrammarState(self.grammar, self._matcher.deep_copy(), self._ended)

    def _goes_on(self, token: int) -> bool:
        return self._matcher.try_consume_tokens([token]) == 1


def grammar_of(
    grammar: Any, json_schema: Any, tokenizer: Any, vocabulary: int | None, options: Options
) -> Grammar | None:
    """The grammar of a call of `generate`, for its model and the tokens that end a text; None where
    none is asked for.

    Raises:
        ValueError: as `Grammar`; or both are given.
    """
    if grammar is None and json_schema is None:
        return None
    ends = options.eos_token_id
    if isinstance(grammar, Grammar) and json_schema is None:
        return grammar.of_model(vocabulary, ends)
    _name(json_schema, grammar)
    if not ends:
        raise ValueError(NO_END)
    return Grammar(tokenizer, vocabulary, ends, json_schema=json_schema, grammar=grammar)


def packed(tokens: Iterable[int], words: int) -> UInt32[np.ndarray, " words"]:
    """A mask with the bits of these tokens."""
    bits = np.zeros(words * 32, bool)
    bits[list(tokens)] = True
    return np.packbits(bits, bitorder="little").view(np.uint32)


def _name(json_schema: Any, grammar: Any) -> str:
    if (json_schema is None) == (grammar is None):
        which = "neither came" if grammar is None else "both came"
        raise ValueError(f"a text has one grammar: pass json_schema or grammar; {which}")
    return "json_schema" if grammar is None else "grammar"


def _source(matcher: Any, json_schema: Any, grammar: Any) -> Any:
    """The grammar as the library reads it."""
    if isinstance(grammar, Regex):
        return matcher.grammar_from_regex(grammar.pattern)
    if isinstance(grammar, str):
        return matcher.grammar_from_lark(grammar)
    if grammar is not None:
        raise ValueError(
            f"grammar is {grammar!r}; expected the text of a Lark grammar ('start: /[a-z]+/'), a "
            "tj.Regex or a tj.Grammar"
        )
    if not isinstance(json_schema, (str, bool, Mapping)):
        raise ValueError(
            f"json_schema is {json_schema!r}; expected a dict or its text; of a class of pydantic "
            "it is Class.model_json_schema()"
        )
    try:
        if isinstance(json_schema, str):
            schema = parse_json(json_schema, "json_schema")
        else:
            schema = dict(json_schema) if isinstance(json_schema, Mapping) else json_schema
        text = json_text(schema)
    except (ValueError, TypeError) as error:
        raise ValueError(f"json_schema is no JSON: {error}") from None
    if schema is False:
        raise ValueError("json_schema cannot be met: it is False; no text is JSON of it")
    schema, text = ({}, "{}") if schema is True else (schema, text)
    if not isinstance(schema, dict):
        raise ValueError(
            f"json_schema is {text:.80}; expected an object, as in {{'type': 'object'}}"
        )
    said = schema.get("x-guidance", {})
    spaces = {"whitespace_flexible", "whitespace_pattern"} & set(said)
    defaults = {} if spaces else {"whitespace_pattern": SPACES}
    return matcher.grammar_from_json_schema(text, defaults=defaults)


def _refusal(name: str, message: str) -> str:
    """What the library says of a grammar, and what to do."""
    message = message.strip()
    if message.startswith("Unsatisfiable schema"):
        return f"json_schema cannot be met: {message.partition(': ')[2]}; no text is JSON of it"
    if message.startswith("Unimplemented keys"):
        return (
            f"json_schema has what the parser does not enforce: {message}; leave these keywords "
            'out, or put {"x-guidance": {"lenient": True}} into the schema, which ignores them'
        )
    if name == "json_schema":
        return f"json_schema cannot be read: {message}"
    return (
        f"grammar cannot be read: {message}\nA str is a Lark grammar with a rule `start: ...` "
        f"({SYNTAX}); a regular expression is tj.Regex(...), without look-around"
    )


def _inner(tokenizer: Any, name: str) -> Any:
    """The tokenizer of the Rust library in a tokenizer."""
    if tokenizer is None:
        raise ValueError(
            f"{name} needs the tokenizer of the model, which says what its tokens write: pass "
            "tokenizer=tj.load_tokenizer(path)"
        )
    inner = getattr(tokenizer, "backend_tokenizer", getattr(tokenizer, "inner", tokenizer))
    if not all(hasattr(inner, method) for method in ("get_vocab", "to_str", "decode")):
        raise ValueError(
            f"tokenizer is {tokenizer!r}; expected one that tj.load_tokenizer reads, or one of the "
            "libraries tokenizers or transformers (a fast one)"
        )
    return inner


def _ends(tokenizer: Any, given: Any, most: int) -> tuple[int, ...]:
    """The tokens that end a text, sorted."""
    if given is None:
        role = "eos" in getattr(tokenizer, "special", ())
        given = tokenizer.special_id("eos") if role else getattr(tokenizer, "eos_token_id", None)
    ends = () if given is None else (given,) if isinstance(given, (int, np.integer)) else given
    ends = tuple(sorted({int(token) for token in ends}))
    if not ends:
        raise ValueError(NO_END)
    if wrong := [token for token in ends if not 0 <= token < most]:
        raise ValueError(
            f"eos_token_id is {wrong[0]}, and the tokenizer has ids up to {most - 1}: it is the "
            "tokenizer of another model; pass the model's own, or an eos_token_id that it has"
        )
    return ends
