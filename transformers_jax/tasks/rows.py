"""Records as the rows that a model reads, and what is told about them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data import packing
from transformers_jax.data.config import Table
from transformers_jax.data.mixed import Mixing
from transformers_jax.data.tables import Records
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.embedding.plan import EmbeddingPlan
from transformers_jax.models.base import Model
from transformers_jax.objectives.example import Example
from transformers_jax.processing.processor import Processor

NUMBER = "number"
"""The entry of a batch that says which example a row is; -100 where it is none."""
READ = ("text", "text_pair", "audio", "image")
"""Roles of the columns that are read, not predicted."""
ROLES = frozenset((*READ, "label", "negatives"))
"""Roles of all columns that a config can name."""
TOKENIZER = "model_max_length in the tokenizer's tokenizer_config.json"
TOGETHER = 10_000  # texts that are encoded together


@dataclass(frozen=True)
class Form:
    """How records become rows: what all splits of a run share.

    Attributes:
        tokenizer: of texts; None where the task reads none.
        model: without arrays.
        columns: role -> column of the table, of those that the task reads.
        length: most tokens of a row; 0 until it is known.
        classes: the names of classes, by number; () where there are none.
        reference: the second model that the task reads, without arrays; None where it reads none.
        processor: of pictures; None where the task reads none.
    """

    data: Table
    tokenizer: Tokenizer | Any
    model: Model
    columns: dict[str, str]
    classes: tuple[str, ...] = ()
    length: int = 0
    target_length: int = 0
    reference: Model | None = None
    processor: Processor | None = None

    @property
    def limits(self) -> dict[str, int]:
        """Who allows how many tokens in a row at most: the models, the directory of a sentence
        embedding, the tokenizer."""
        limits: dict[str, int | None] = {}
        for name, model in (("the model", self.model), ("the reference model", self.reference)):
            if model is not None:
                reading = model.reading
                if reading.source_raw and "audio" in self.columns:  # rows are frames, not tokens
                    limits[name] = reading.source_positions
                    continue
                source = reading.source_raw or reading.source
                positions = reading.source_positions if source else None
                limits[name] = positions or reading.positions
        plan = self.model.plan
        sentence = plan.sentence.longest if isinstance(plan, EmbeddingPlan) else None
        limits["the sentence embedding (max_seq_length)"] = sentence
        limits[TOKENIZER] = getattr(self.tokenizer, "model_max_length", None)
        return {name: most for name, most in limits.items() if most is not None}

    @property
    def limit(self) -> int | None:
        """The most tokens that all of them allow in a row."""
        return min(self.limits.values(), default=None)

    @property
    def at_most(self) -> str:
        """How many tokens rows have at most, who says so, and what to do about a longer one."""
        limit, said = self.limit, self.data.length
        if limit is None or 0 < said < limit:
            more = "if the model can read more" if limit is None else f"to {limit:,} at most"
            return f"{self.length:,} at most (--data.length): raise it {more}"
        if told := self.told_by_tokenizer:
            return f"{self.length:,} at most ({told}): raise it there"
        least = next(name for name, most in self.limits.items() if most == limit)
        return f"{self.length:,} at most ({least} reads no more): shorten it"

    @property
    def told_by_tokenizer(self) -> str | None:
        """Where the tokenizer's limit stands, and what the model reads, if that is more."""
        models = [most for name, most in self.limits.items() if name != TOKENIZER]
        own = self.limits.get(TOKENIZER)
        if own is None or not models or own >= min(models):
            return None
        return f"{TOKENIZER}; the model reads {min(models):,}"

    @property
    def typed(self) -> bool:
        """Whether the model distinguishes the texts of a pair by token types; a tokenizer may give
        them to a model that has none."""
        towers: Any = getattr(self.model, "towers", {}).values()
        return any(getattr(tower.embed.spec, "types", None) is not None for tower in towers)

    def texts(self, records: Records, role: str) -> list[str]:
        """The texts of a column, by its role."""
        return records.texts(self.columns[role], f"data.{role.replace('_', '-')}")

    def values(self, records: Records, role: str) -> list[Any]:
        """The values of a column, by its role."""
        return records.column(self.columns[role], f"data.{role.replace('_', '-')}")


class Drawn(Sequence[Example]):
    """Examples that are made when they are read, as those of pictures and of sound are, and for
    training changed at random.

    Attributes:
        length: tokens of the longest, on the side that is read.
        fingerprint: 16 hex digits: which these are.
        mixing: what is done with a batch that is trained on; None: nothing.
    """

    length: int
    fingerprint: str
    mixing: Mixing | None = None

    @property
    def lengths(self) -> Int[np.ndarray, "N 2"]:
        """Tokens of each on its two sides."""
        return np.tile((self.length, 0), (len(self), 1))

    def draw(self, number: int, noise: np.random.Generator) -> Example:
        """One as it is trained on."""
        raise NotImplementedError

    def outline(self, number: int) -> Example:
        """One without what takes long to make: what says its lengths is there."""
        return self[number]

    def sized(self, batch: dict[str, Any], width: int) -> dict[str, Any]:
        """A batch of rows of so many tokens, of arrays that were made for the longest."""
        return batch

    def select(self, numbers: Sequence[int]) -> Drawn:
        """Some of them."""
        raise NotImplementedError

    def compared(self, number: int) -> frozenset[bytes]:
        """The texts of one, by their ids, where rows are compared with one another."""
        raise NotImplementedError


@dataclass(frozen=True)
class Rows:
    """The examples of a split, in the order of its records.

    Attributes:
        records: what they were made of.
        examples: what the model reads; several of one record where it is read in windows.
        owners: the number of the record of each example.
        references: what is to be answered, of each record; None where the table does not say it.
        details: of each example, what its answer is made a prediction with (offsets, say).
        notes: what is told of them, in a line each.
        asked: how many answers are measured, where a record asks for several; None: one a record.
    """

    records: Records
    examples: Sequence[Example]
    owners: Int[np.ndarray, " N"]
    references: Sequence[Any] | None
    details: Sequence[Any] = ()
    notes: tuple[str, ...] = ()
    asked: int | None = None
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        some = self.examples
        known = some.fingerprint if isinstance(some, Drawn) else fingerprint_of(some)
        object.__setattr__(self, "fingerprint", known)

    def __len__(self) -> int:
        return len(self.examples)

    def some(self, numbers: Sequence[int]) -> Rows:
        """The rows of some examples, and of the records that they are of."""
        if len(numbers) == len(self):
            return self
        owners = self.owners[numbers]
        kept, new = np.unique(owners, return_inverse=True)
        references = self.references
        return Rows(
            self.records.select(kept.tolist()),
            self.examples.select(numbers)
            if isinstance(self.examples, Drawn)
            else [self.examples[number] for number in numbers],
            new,
            None if references is None else [references[number] for number in kept],
            [self.details[number] for number in numbers] if self.details else (),
        )

    @property
    def tokens(self) -> int:
        """How many there are, on both sides."""
        if isinstance(self.examples, Drawn):
            return int(self.examples.lengths.sum())
        return sum(length_of(example) for example in self.examples)

    @property
    def lengths(self) -> Int[np.ndarray, "N 2"]:
        """Tokens of each on its two sides, as `packing.lengths_of`."""
        if isinstance(self.examples, Drawn):
            return self.examples.lengths
        return packing.lengths_of(self.examples)


def length_of(example: Example) -> int:
    """Tokens of an example, on both sides, or in all of its parts."""
    if example.parts:
        return sum(map(length_of, example.parts.values()))
    sides = (example.tokens, example.target)
    return example.size + sum(next(iter(side.values())).shape[-1] for side in sides if side)


def fingerprint_of(examples: Iterable[Example]) -> str:
    """16 hex digits: which tokens and labels these are."""
    sums = hashlib.sha256()
    for example in examples:
        _add(sums, example)
    return sums.hexdigest()[:16]


def _add(sums: Any, example: Example) -> None:
    """Adds an example to a checksum."""
    for side in (example.tokens, example.target, example.tags, example.once):
        for name, value in side.items():
            sums.update(name.encode())
            sums.update(np.ascontiguousarray(value).tobytes())
    for name, part in example.parts.items():
        sums.update(name.encode())
        _add(sums, part)


def numbered(examples: Sequence[Example]) -> list[Example]:
    """The examples, each with its number."""
    return [
        dataclasses.replace(one, once={**one.once, NUMBER: number})
        for number, one in enumerate(examples)
    ]


# ---------------------------------------------------------------- texts


@dataclass(frozen=True)
class Encoded:
    """Texts, or pairs of texts, as ids.

    Attributes:
        sides: of each, {"input_ids": Int[T]}, and "token_type_ids" where the model reads them.
        cut: how many were cut.
        longest: tokens of the longest, before it was cut.
    """

    sides: list[dict[str, np.ndarray]]
    cut: int
    longest: int

    def note(self, what: str, length: int) -> str:
        """What was cut, in a line."""
        if not self.cut:
            return f"{what}: the longest row has {self.longest:,} tokens; none is cut"
        share = self.cut / len(self.sides)
        return (
            f"{what}: {self.cut:,} of {len(self.sides):,} rows ({share:.1%}) are cut to {length:,} "
            f"tokens; the longest has {self.longest:,}"
        )


def encode(form: Form, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Encoded:
    """Texts, or pairs of them, as rows, with the special tokens of the tokenizer.

    Raises:
        ValueError: a row that is longer than `form.length`, if it is not to be cut; a text without
            a token.
    """
    options: dict[str, Any] = dict(padding=False)
    if not form.typed:
        options["return_token_type_ids"] = False
    sides: list[dict[str, np.ndarray]] = []
    for first in range(0, len(texts), TOGETHER):
        part = slice(first, first + TOGETHER)
        pair = None if pairs is None else pairs[part]
        batch = form.tokenizer.batch(texts[part], pair, **options)
        del batch["attention_mask"]
        sides += [dict(zip(batch, row)) for row in zip(*batch.values())]
    lengths = [len(side["input_ids"]) for side in sides]
    long = [number for number, length in enumerate(lengths) if 0 < form.length < length]
    if long and form.data.too_long == "error":
        raise LongRow(long[0], lengths[long[0]], form)
    if long:
        some = [texts[number] for number in long]
        others = None if pairs is None else [pairs[number] for number in long]
        options |= dict(truncation=True, max_length=form.length)
        try:
            batch = form.tokenizer.batch(some, others, **options)
        except ValueError as error:
            raise ValueError(f"data.length ({form.length}): {error}; raise --data.length") from None
        del batch["attention_mask"]
        for number, row in zip(long, zip(*batch.values())):
            sides[number] = dict(zip(batch, row))
    return Encoded(sides, len(long), max(lengths))


class LongRow(ValueError):
    """A row is longer than rows may be.

    Attributes:
        number: of the text.
    """

    def __init__(self, number: int, length: int, form: Form):
        super().__init__(
            f"has {length} tokens, and rows have {form.at_most}, or pass --data.too-long truncate"
        )
        self.number = number
