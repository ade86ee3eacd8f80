"""Classes of words: named entities, parts of speech and the like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.tables import Records
from transformers_jax.metrics import entities, spans, tags_of
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives.example import Example
from transformers_jax.tasks import classes as names
from transformers_jax.tasks.base import OfClasses
from transformers_jax.tasks.figures import confusion_of
from transformers_jax.tasks.rows import Form, Rows, numbered
from transformers_jax.tasks.sequences import softmax

WORD = re.compile(r"\w+|[^\w\s]")
"""A word of a text that comes without: letters and digits, or a single other character."""
NONE = "O"


class Words(NamedTuple):
    """A text and where its words are: characters, from and to."""

    text: str
    places: list[tuple[int, int]]


class Aligned(NamedTuple):
    """A row of tokens, and its words.

    Attributes:
        words: of the whole text.
        first: the token with which each word begins; -1 of words that were cut.
    """

    words: Words
    first: Int[np.ndarray, " W"]


@dataclass(frozen=True)
class TokenClassification(OfClasses):
    """A class for each word, from the score of its first token (Devlin et al. 2018, section 5.3).

    A record has a list of words and a list of their tags (`B-PER`, `I-PER`, `O`; in CSV, texts of
    them with spaces between), or a text and the entities in it: a list of records with `start`,
    `end` (characters, the second exclusive) and `label`.
    """

    head: ClassVar[str] = "token_classification"
    metric: ClassVar[str] = "f1"
    scorer: ClassVar[tuple[str, str] | None] = ("seqeval.metrics", "the score of entities")
    needed: ClassVar[tuple[str, ...]] = ("text", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": ("tokens", "words", "text", "sentence"),
        "label": ("ner_tags", "tags", "ner", "labels", "label", "entities", "spans"),
    }

    scheme: Literal["BIO", "BIOES"] = "BIO"
    """the tags that entities of a text become"""
    all_tokens: bool = False
    """every token of a word is trained on its class, not the first alone"""

    # ------------------------------------------------------------ data

    def fitted(self, model: FamilyConfig, classes: Sequence[str]) -> FamilyConfig:
        return model.replace(id2label=dict(enumerate(classes)))

    def classes(self, form, records):
        words = self._words(form, records)
        found = {tag for tags in self._tags(form, records, words) for tag in tags}
        known = names.stored(form.model.config)
        if known and found <= {*known}:
            return known
        if found == {NONE}:
            raise ValueError(f"{records.name}: no word has a tag other than {NONE}")
        return (*[NONE] * (NONE in found), *sorted(found - {NONE}))

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        words = self._words(form, records)
        ids, offsets = _encoded(form, [one.text for one in words])
        details = [Aligned(one, _first_tokens(one, some)) for one, some in zip(words, offsets)]
        cut = sum(bool((one.first < 0).any()) for one in details)
        where = f" are cut to {form.length:,} tokens" if cut else " are cut"
        notes = [f"{records.name}: {cut:,} of {len(words):,} texts{where}"]
        sides = [{"input_ids": x} for x in ids]
        references = None
        if answered:
            references = self._tags(form, records, words)
            numbers = [
                [names.number_of(tag, form.classes, where) for tag in tags]
                for tags, where in zip(references, records.places)
            ]
            for side, one, row in zip(sides, details, numbers):
                side["labels"] = self._labels(one.first, row, form, len(side["input_ids"]))
            counted = names.counts((tag for row in numbers for tag in row), form.classes)
            notes.append(f"{records.name}: {counted}")
        examples = numbered([Example(side) for side in sides])
        return Rows(records, examples, np.arange(len(sides)), references, details, tuple(notes))

    def _words(self, form: Form, records: Records) -> list[Words]:
        """The words of each record.

        Raises:
            ValueError: a value that is neither a text nor a list of words, or has none.
        """
        column, found = form.columns["text"], []
        by_spaces = "label" in form.columns and _has_tags(form.values(records, "label"))
        for where, value in zip(records.places, form.values(records, "text")):
            if isinstance(value, str) and not by_spaces:
                found.append(Words(value, [match.span() for match in WORD.finditer(value)]))
            else:
                parts = value.split() if isinstance(value, str) else value
                found.append(_joined(parts, f"{where}: {column!r}"))
            if not found[-1].places:
                raise ValueError(f"{where}: {column!r} has no word; take the record out")
        return found

    def _tags(self, form: Form, records: Records, words: list[Words]) -> list[list[str]]:
        """The tag of each word of each record.

        Raises:
            ValueError: not one for each word, or entities that are none of the text.
        """
        column, values = form.columns["label"], form.values(records, "label")
        tagged, found = _has_tags(values), []
        for where, value, some in zip(records.places, values, words):
            value = value.split() if isinstance(value, str) else value
            if not isinstance(value, (list, tuple)):
                raise ValueError(f"{where}: {column!r} holds {value!r:.60}; expected a list")
            if not tagged:
                found.append(_tags_of_spans(value, some, self.scheme, f"{where}: {column!r}"))
                continue
            tags = [names.name_of(tag, where, column) for tag in value]
            if len(tags) != len(some.places):
                raise ValueError(
                    f"{where} has {len(some.places)} words and {len(tags)} tags; each word has one"
                )
            found.append(tags)
        return found

    def _labels(self, first: np.ndarray, numbers: list[int], form: Form, length: int) -> np.ndarray:
        """The class of each token: of the first of a word, or of all of them."""
        labels = np.full(length, IGNORED, np.int32)
        known = [(token, number) for token, number in zip(first.tolist(), numbers) if token >= 0]
        for (token, number), (after, _) in zip(known, [*known[1:], (length, 0)]):
            labels[token] = number
            if self.all_tokens:
                labels[token + 1 : after] = _inside(number, form.classes)
        return labels

    # ------------------------------------------------------------ answers

    def _found(self, answers, rows, classes) -> list[tuple[list[str], np.ndarray]]:
        """The tag of each word of each text, and its probability; O with 1 of words that were
        cut."""
        found = []
        for logits, one in zip(answers["logits"], rows.details):
            scores = softmax(logits[np.maximum(one.first, 0)])
            best = scores.argmax(-1)
            tags = [classes[n] if f >= 0 else NONE for n, f in zip(best, one.first)]
            found.append((tags, np.where(one.first >= 0, scores.max(-1), 1.0)))
        return found

    def metrics(self, answers, rows, form):
        found = [tags for tags, _ in self._found(answers, rows, form.classes)]
        return entities(found, rows.references)

    def figure(self, answers, rows, form):
        found = [tags for tags, _ in self._found(answers, rows, form.classes)]
        types = list(dict.fromkeys(_type(tag) for tag in form.classes))
        numbers = lambda texts: np.array([types.index(_type(t)) for tags in texts for t in tags])
        if len(types) < 2:
            return None
        return confusion_of(types, numbers(found), numbers(rows.references))

    def predictions(self, answers, rows, form):
        predicted = []
        for (tags, scores), one in zip(self._found(answers, rows, form.classes), rows.details):
            entries = []
            for span in spans(tags):
                start, end = one.words.places[span.start][0], one.words.places[span.end - 1][1]
                score = float(scores[span.start : span.end].mean())
                text = one.words.text[start:end]
                entries.append(dict(label=span.type, start=start, end=end, text=text, score=score))
            predicted.append({"tags": tags, "entities": entries})
        return predicted


def _type(tag: str) -> str:
    """The type of entity of a tag: PER of B-PER; other tags are their own."""
    return tag[2:] if tag[:2] in ("B-", "I-", "E-", "S-") else tag


def _has_tags(labels: Sequence[Any]) -> bool:
    """Whether labels are the tags of words; else they are the entities of a text."""
    first = next((value for value in labels if value), "")
    return isinstance(first, str) or isinstance(first[0], str)


def _joined(parts: Any, where: str) -> Words:
    """Words as one text, with spaces between.

    Raises:
        ValueError: they are no words.
    """
    good = isinstance(parts, (list, tuple))
    if not good or not all(isinstance(part, str) and part.strip() for part in parts):
        raise ValueError(f"{where} holds {parts!r:.60}; expected a text, or a list of words")
    ends = np.cumsum([len(part) + 1 for part in parts]).tolist()
    places = [(end - 1 - len(part), end - 1) for part, end in zip(parts, ends)]
    return Words(" ".join(parts), places)


def _tags_of_spans(
    entries: Sequence[Any], words: Words, scheme: Literal["BIO", "BIOES"], where: str
) -> list[str]:
    """The tags of words, from the entities of their text: of each, the words that it touches.

    Raises:
        ValueError: an entity that is none, or touches no word, or a word of another.
    """
    found = []
    for entry in entries:
        start, end, label = (
            (entry.get(name) for name in ("start", "end", "label"))
            if isinstance(entry, Mapping)
            else (None, None, None)
        )
        if not isinstance(start, int) or not isinstance(end, int) or not isinstance(label, str):
            raise ValueError(f"{where} holds {entry!r:.80}; expected start, end and label")
        touched = [n for n, (a, b) in enumerate(words.places) if a < end and start < b]
        if not touched or not 0 <= start < end <= len(words.text):
            raise ValueError(f"{where}: no word is at {start} to {end} of {words.text!r:.60}")
        found.append((label, touched[0], touched[-1] + 1))
    try:
        return tags_of(found, len(words.places), scheme)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _inside(number: int, classes: Sequence[str]) -> int:
    """The class of the further tokens of a word: B-X becomes I-X, if there is one."""
    tag = classes[number]
    inside = f"I-{tag[2:]}" if tag.startswith("B-") else tag
    return classes.index(inside) if inside in classes else number


def _encoded(form: Form, texts: Sequence[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(ids, characters of each token) of texts, cut to the length of rows."""
    options: dict[str, Any] = dict(padding=False, return_token_type_ids=False)
    options |= dict(return_offsets_mapping=True, return_special_tokens_mask=True)
    options |= dict(truncation=True, max_length=form.length) if form.length else {}
    batch = form.tokenizer.batch(texts, **options)
    offsets = [
        np.where(special[:, None] > 0, -1, places)
        for places, special in zip(batch["offset_mapping"], batch["special_tokens_mask"])
    ]
    return batch["input_ids"], offsets


def _first_tokens(words: Words, offsets: Int[np.ndarray, "T 2"]) -> Int[np.ndarray, " W"]:
    """The first token of each word: the first that ends behind where the word starts, and starts
    before it ends; -1 if there is none."""
    first = np.full(len(words.places), -1)
    tokens = [(n, int(a), int(b)) for n, (a, b) in enumerate(offsets) if b > a >= 0]
    at = 0
    for number, (start, end) in enumerate(words.places):
        while at < len(tokens) and tokens[at][2] <= start:
            at += 1
        if at < len(tokens) and tokens[at][1] < end:
            first[number] = tokens[at][0]
    return first
