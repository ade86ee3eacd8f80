"""`facts`: questions about invented people, in the format of SQuAD 2.0.

A context states facts of one or two kinds about two or three people, in any order; three in ten
leave one out, which is what half of their questions ask for, so that about one question in seven
has no answer. Names and values are common to all splits, and what is told of whom is of one split
alone: a fact that a context of the test split states ("Ann was born in Oslo") is in no other, so
that only the context tells the answer.

`baselines` says how often one is right who reads less than that.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from transformers_jax.data.generated.splits import split_of

COUNTS = {"train": 24000, "validation": 1000, "test": 1000}
PEOPLE, KINDS = (2, 2, 2, 3), (1, 1, 1, 2)
LEFT_OUT, UNANSWERED = 0.3, 0.5  # of the contexts; of those that leave a fact out


class Relation(NamedTuple):
    """What can be told of a person: wordings of the fact, of the question for it, and values."""

    told: tuple[str, ...]
    asked: tuple[str, ...]
    values: tuple[str, ...]


class Fact(NamedTuple):
    """A fact, and the wording of its sentence."""

    who: str
    relation: str
    what: str
    wording: str

    @property
    def sentence(self) -> str:
        """What the context says of it."""
        return self.wording.format(who=self.who, what=self.what)

    @property
    def place(self) -> int:
        """The character of the sentence at which `what` begins."""
        return len(self.wording.partition("{what}")[0].format(who=self.who))


NAMES = tuple("Ann Bob Carl Dora Eve Fred Gina Hugo".split())
TOWNS = tuple("""Athens Berlin Bonn Cairo Delhi Dublin Geneva Hanoi Kiev Lima Lisbon London Madrid
Milan Oslo Paris Prague Quito Riga Rome Seoul Sofia Tokyo Vienna""".split())  # fmt: skip
WORK = tuple("""baker carpenter cook doctor farmer fisherman gardener lawyer mason miller painter
potter printer sailor singer smith tailor teacher weaver writer""".split())  # fmt: skip
MONTHS = """January February March April May June July August September October November
December""".split()
DAYS = tuple(f"{day} {month}" for month in MONTHS for day in range(1, 29))
RELATIONS = {
    "town": Relation(
        ("{who} was born in {what}.", "{what} is the birthplace of {who}."),
        ("Where was {who} born?", "In which town was {who} born?"),
        TOWNS,
    ),
    "home": Relation(
        ("{who} lives in {what}.", "The home of {who} is in {what}."),
        ("Where does {who} live?", "In which town does {who} live?"),
        TOWNS,
    ),
    "date": Relation(
        ("{who} married on {what}.", "On {what} {who} married."),
        ("When did {who} marry?", "On which day did {who} marry?"),
        DAYS,
    ),
    "work": Relation(
        ("{who} works as a {what}.", "The trade of {who} is that of a {what}."),
        ("What does {who} work as?", "What is the trade of {who}?"),
        WORK,
    ),
    "teacher": Relation(
        ("{who} was taught by {what}.", "{what} taught {who}."),
        ("Who taught {who}?", "By whom was {who} taught?"),
        NAMES,
    ),
}


def records(split: str) -> list[dict[str, Any]]:
    """{"id", "question", "context", "answers": {"text": [...], "answer_start": [...]}} of a split,
    whose facts no other split has."""
    draw = random.Random(f"facts {split}")
    found: list[dict[str, Any]] = []
    while len(found) < COUNTS[split]:
        people = draw.sample(NAMES, draw.choice(PEOPLE))
        kinds = draw.sample([*RELATIONS], draw.choice(KINDS))
        pairs = [*itertools.product(people, kinds)]
        draw.shuffle(pairs)
        stated = len(pairs) - (draw.random() < LEFT_OUT)
        facts = _facts(pairs[:stated], split, draw)
        if facts is None or not all(_values(split, *pair) for pair in pairs):
            continue
        chosen: int | None = draw.randrange(stated)
        if stated < len(pairs) and draw.random() < UNANSWERED:
            chosen = None
        who, relation = pairs[stated if chosen is None else chosen]
        found.append({
            "id": f"{split}-{len(found)}",
            "question": draw.choice(RELATIONS[relation].asked).format(who=who),
            "context": " ".join(fact.sentence for fact in facts),
            "answers": _answers(facts, chosen),
        })  # fmt: skip
    return found


def _facts(pairs: list[tuple[str, str]], split: str, draw: random.Random) -> list[Fact] | None:
    """A fact of a split about each of these people, of its kind; no value is told of two of them.
    None where the split has too few."""
    found: list[Fact] = []
    for who, relation in pairs:
        taken = {fact.what for fact in found}
        left = [value for value in _values(split, who, relation) if value not in taken]
        if not left:
            return None
        told = draw.choice(RELATIONS[relation].told)
        found.append(Fact(who, relation, draw.choice(left), told))
    return found


@functools.cache
def _values(split: str, who: str, relation: str) -> tuple[str, ...]:
    """What facts of this split tell of a person."""
    return tuple(
        value
        for value in RELATIONS[relation].values
        if value != who and split_of(f"{who} {relation} {value}") == split
    )


def _answers(facts: list[Fact], chosen: int | None) -> dict[str, list[Any]]:
    """Where the answer of a fact is, as SQuAD has it; empty lists where there is none."""
    if chosen is None:
        return {"text": [], "answer_start": []}
    before = sum(len(fact.sentence) + 1 for fact in facts[:chosen])
    return {"text": [facts[chosen].what], "answer_start": [before + facts[chosen].place]}


def baselines(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The share of questions that are answered rightly by those who read less than the question:

    none: there is no answer.
    kind: one of the facts of the kind that is asked for, drawn.
    person: one of the facts about the person who is asked about, drawn; none, if there are none.
    """
    sums, count = dict.fromkeys(("none", "kind", "person"), 0.0), 0
    for record in records:
        stated = [_told(sentence) for sentence in record["context"][:-1].split(". ")]
        who, relation = _asked(record["question"])
        answer = [*record["answers"]["text"], None][0]
        choices: dict[str, list[str | None]] = {
            "none": [None],
            "kind": [what for _, name, what in stated if name == relation],
            "person": [what for name, _, what in stated if name == who],
        }
        for name, among in choices.items():
            sums[name] += (among or [None]).count(answer) / len(among or [None])
        count += 1
    return {name: total / count for name, total in sums.items()}


def _told(sentence: str) -> tuple[str, str, str]:
    """(who, relation, what) of a sentence, without its full stop."""
    for name, relation in RELATIONS.items():
        for wording in relation.told:
            if found := re.fullmatch(
                wording[:-1].format(who="(?P<who>.+)", what="(?P<what>.+)"), sentence
            ):
                return found["who"], name, found["what"]
    raise ValueError(f"{sentence!r} states no fact")


def _asked(question: str) -> tuple[str, str]:
    """(who, relation) of a question."""
    for name, relation in RELATIONS.items():
        for wording in relation.asked:
            before, _, after = wording.partition("{who}")
            if question.startswith(before) and question.endswith(after):
                return question[len(before) : len(question) - len(after)], name
    raise ValueError(f"{question!r} asks for no fact")
