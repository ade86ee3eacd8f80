"""What a text has to contain: values that say it, their checks, and their tables for a search.

A constraint is a trie of tokens, and all of them are one forest. It is stored by its edges, of
which there are as many as forced tokens: a state of the search is the edge that was followed last,
and no table is as wide as the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int

Word = tuple[int, ...]
ForcedWords = tuple[Any, ...]
"""Words, and tuples of words of which one is enough."""


@dataclass(frozen=True)
class PhrasalConstraint:
    """The text contains these tokens, one after the other.

    Attributes:
        token_ids: at least one.
    """

    token_ids: Any

    def __post_init__(self) -> None:
        if not _is_word(word := _plain(self.token_ids)):
            raise ValueError(
                "PhrasalConstraint: token_ids must be a list of ids of tokens, at least one, got "
                f"{self.token_ids!r}"
            )
        object.__setattr__(self, "token_ids", word)

    @property
    def words(self) -> tuple[Word, ...]:
        """The word."""
        return (self.token_ids,)


@dataclass(frozen=True)
class DisjunctiveConstraint:
    """The text contains one of these words.

    Attributes:
        nested_token_ids: lists of ids of tokens, none of which begins with another.
    """

    nested_token_ids: Any

    def __post_init__(self) -> None:
        words = _plain(self.nested_token_ids)
        if not isinstance(words, tuple) or not words or not all(map(_is_word, words)):
            raise ValueError(
                "DisjunctiveConstraint: nested_token_ids must be a list of words, each a list of "
                f"ids of tokens ([[5], [7, 8]]), and none of them empty, got "
                f"{self.nested_token_ids!r}"
            )
        for short, long in zip(sorted(words), sorted(words)[1:]):
            if long[: len(short)] == short:
                raise ValueError(
                    f"DisjunctiveConstraint: {list(long)} begins with {list(short)}, so that the "
                    f"longer one is never needed; leave {list(long)} out"
                )
        object.__setattr__(self, "nested_token_ids", words)

    @property
    def words(self) -> tuple[Word, ...]:
        """Those of which one is enough."""
        return self.nested_token_ids


Constraint = PhrasalConstraint | DisjunctiveConstraint


class Forest(NamedTuple):
    """The tries of n constraints by their E edges, both filled up to a few sizes.

    An edge without a `parent` (-1) leaves a root; one that fills up has the token -1.
    """

    parent: Int[Array, " E"]
    token: Int[Array, " E"]
    owner: Int[Array, " E"]  # the constraint of an edge
    rest: Int[Array, " E"]  # tokens behind it, in the longest word of the constraint
    need: Int[Array, " E"]  # tokens behind it, in the shortest word through it
    leaf: Bool[Array, " E"]  # a word ends
    same: Int[Array, " E"]  # of those that leave a root, the first edge with this token
    shortest: Int[Array, " n"]  # tokens of the shortest word of a constraint; 0 where it fills up
    longest: Int[Array, ""]  # tokens of the longest word of all


def forest_of(constraints: tuple[Constraint, ...]) -> Forest:
    """The tries of constraints."""
    edges: dict[tuple[int, Word], int] = {}  # (constraint, beginning of a word) to edge
    rows: list[tuple[int, int, int, int, int, bool]] = []
    first: dict[int, int] = {}  # token to edge
    for owner, constraint in enumerate(constraints):
        longest = max(map(len, constraint.words))
        for start in sorted({w[:n] for w in constraint.words for n in range(1, len(w) + 1)}):
            through = [len(w) for w in constraint.words if w[: len(start)] == start]
            edges[owner, start] = len(rows)
            parent, depth = edges.get((owner, start[:-1]), -1), len(start)
            need = min(through) - depth
            rows.append((parent, start[-1], owner, longest - depth, need, not need))
            if parent < 0:
                first.setdefault(start[-1], len(rows) - 1)
    same = [first[token] if parent < 0 else n for n, (parent, token, *_) in enumerate(rows)]
    width = _size(len(rows))
    fill = [(-1, -1, 0, 0, 0, False)] * (width - len(rows))
    *numbers, leaf = (np.array(column) for column in zip(*rows, *fill))
    shortest = [min(map(len, one.words)) for one in constraints]
    shortest += [0] * (_size(len(constraints)) - len(constraints))
    same += range(len(rows), width)
    longest = max(len(word) for one in constraints for word in one.words)
    parent, token, owner, rest, need, firsts, least, most = (
        jnp.asarray(one, jnp.int32) for one in (*numbers, same, shortest, longest)
    )
    return Forest(parent, token, owner, rest, need, jnp.asarray(leaf), firsts, least, most)


def _size(count: int) -> int:
    """A power of two, so that few programs serve all constraints."""
    return max(4, 1 << (count - 1).bit_length())


def read_constraints(given: Any) -> tuple[Constraint, ...]:
    """The constraints of an option.

    Raises:
        ValueError: no list, an empty one, or what is no constraint.
    """
    if not isinstance(given, (list, tuple)) or not given:
        raise ValueError(
            "constraints must be a list of tj.PhrasalConstraint and tj.DisjunctiveConstraint, at "
            f"least one (None: off), got {given!r}"
        )
    for number, one in enumerate(given):
        if not isinstance(one, Constraint):
            raise ValueError(
                f"constraints[{number}] is {one!r}; expected tj.PhrasalConstraint([5, 7]), or "
                "tj.DisjunctiveConstraint([[5], [7, 8]])"
            )
    return tuple(given)


def read_words(given: Any) -> ForcedWords:
    """The words of `force_words_ids`, as tuples.

    Raises:
        ValueError: no list of words, or one that is empty.
    """
    words = _plain(given)
    if (
        not isinstance(words, tuple)
        or not words
        or not all(_is_word(one) or _are_words(one) for one in words)
    ):
        raise ValueError(
            "force_words_ids must be a list of words, each a list of ids of tokens ([[5], [7, 8]]) "
            "or a list of words of which one is enough ([[[5], [7, 8]]]), and none of them empty "
            f"(None: off), got {given!r}"
        )
    return words


def forced(options: Any) -> tuple[Constraint, ...]:
    """The constraints of both options, as transformers joins them."""
    words = (
        DisjunctiveConstraint(one) if _are_words(one) else PhrasalConstraint(one)
        for one in options.force_words_ids
    )
    return *options.constraints, *words


def words_of(options: Any) -> dict[str, tuple[Word, ...]]:
    """All words, by the option that says them."""
    given = {
        "force_words_ids": forced(replace(options, constraints=())),
        "constraints": options.constraints,
    }
    return {name: tuple(w for one in of for w in one.words) for name, of in given.items()}


def check_forced(options: Any) -> None:
    """The words can be written, and beams are there to search for them.

    Raises:
        ValueError: options that do not go with them, or that ban one.
    """
    if not (constraints := forced(options)):
        return
    given = [name for name in ("force_words_ids", "constraints") if getattr(options, name)]
    name, without = " and ".join(given), ", ".join(f"{one}=None" for one in given)
    others = {
        "penalty_alpha": options.penalty_alpha > 0,
        "do_sample": options.do_sample,
        "num_beam_groups": options.num_beam_groups > 1,
    }
    if wrong := [other for other, is_on in others.items() if is_on]:
        listed = ", ".join(f"{other}={getattr(options, other)}" for other in wrong)
        switch = ", ".join(f"{other}=None" for other in wrong)
        raise ValueError(
            f"{name}: words are forced by beams that take the best tokens, which does not go with "
            f"{listed}; pass {switch}, or {without}"
        )
    if options.num_beams == 1:
        raise ValueError(
            f"{name}: words are forced by beams, some of which write them, and num_beams is 1; "
            f"pass num_beams=4, or {without}"
        )
    for word in (word for one in constraints for word in one.words):
        for option, banned in _bans(options, word):
            raise ValueError(
                f"{name}: the word {list(word)} has to be written, and {option} bans {banned}; "
                f"leave one of them out"
            )


def check_room(options: Any, new: int) -> None:
    """All words can be written.

    Raises:
        ValueError: they have more tokens than a text may get.
    """
    least = sum(min(map(len, one.words)) for one in forced(options))
    if least > new:
        raise ValueError(
            f"force_words_ids and constraints have {least} tokens, and a text gets at most {new} "
            f"new ones; pass max_new_tokens={least} or more, or fewer words"
        )


def _bans(options: Any, word: Word) -> Iterator[tuple[str, Any]]:
    """The options that ban a part of a word, and the part."""
    ends = options.eos_token_id
    for name, tokens in (
        ("suppress_tokens", options.suppress_tokens),
        ("eos_token_id, which ends a text,", ends),
    ):
        yield from ((name, token) for token in word if token in tokens)
    for bad in options.bad_words_ids:
        parts = (word[n : n + len(bad)] for n in range(len(word)))
        if bad not in {(end,) for end in ends} and bad in parts:
            yield "bad_words_ids", list(bad)


def _plain(value: Any) -> Any:
    """Lists and arrays as tuples, and the numbers of arrays as Python's."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(_plain(v) for v in value) if isinstance(value, (list, tuple)) else value


def _is_word(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) > 0
        and all(isinstance(t, int) and not isinstance(t, bool) for t in value)
    )


def _are_words(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and all(map(_is_word, value))
