"""`facts`: questions about invented people, in the format of SQuAD 2.0.

A context states three facts of two kinds about two people, in any order. A question asks for one of
them, or, a quarter of the questions, for the fourth, which is not stated. Whoever goes by the kind
of the fact alone, and not by the name, is right about half of the time. Names of people and of
towns are drawn from syllables, and a name is of one split alone.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from transformers_jax.data.generated.splits import split_of

COUNTS = {"train": 6000, "validation": 800, "test": 800}
PEOPLE, KINDS, FACTS = 2, 2, 3
UNANSWERED = 0.25


class Relation(NamedTuple):
    """What can be told of a person: wordings of the fact, and of the question for it."""

    told: tuple[str, ...]
    asked: tuple[str, ...]


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


RELATIONS = {
    "town": Relation(
        ("{who} was born in {what}.", "{what} is the birthplace of {who}."),
        ("Where was {who} born?", "In which town was {who} born?"),
    ),
    "home": Relation(
        ("{who} lives in {what}.", "The home of {who} is in {what}."),
        ("Where does {who} live?", "In which town does {who} live?"),
    ),
    "date": Relation(
        ("{who} married on {what}.", "On {what} {who} married."),
        ("When did {who} marry?", "On which day did {who} marry?"),
    ),
    "work": Relation(
        ("{who} works as a {what}.", "The trade of {who} is that of a {what}."),
        ("What does {who} work as?", "What is the trade of {who}?"),
    ),
    "teacher": Relation(
        ("{who} was taught by {what}.", "{what} taught {who}."),
        ("Who taught {who}?", "By whom was {who} taught?"),
    ),
}
WORK = """baker miller smith weaver potter farmer painter teacher doctor lawyer sailor tailor
carpenter printer gardener fisherman mason cook singer writer""".split()
MONTHS = """January February March April May June July August September October November
December""".split()
ONSETS = "b d f g k l m n p r s t v z br dr gr kr st tr".split()
VOWELS = "a e i o u ai ei".split()
ENDS = {"person": "a o in el is us".split(), "town": "burg ville stad ton field grad".split()}


def records(split: str) -> list[dict[str, Any]]:
    """{"id", "question", "context", "answers": {"text": [...], "answer_start": [...]}} of a split,
    whose names no other split has."""
    draw = random.Random(f"facts {split}")
    names = {kind: _names(kind, split, draw) for kind in ENDS}
    person = lambda: next(names["person"])
    values = {
        "town": lambda: next(names["town"]),
        "home": lambda: next(names["town"]),
        "date": lambda: f"{draw.randint(1, 28)} {draw.choice(MONTHS)} {draw.randint(1850, 1999)}",
        "work": lambda: draw.choice(WORK),
        "teacher": person,
    }
    found = []
    for number in range(COUNTS[split]):
        people: list[str] = []
        while len(people) < PEOPLE:
            people += [name for name in (person(),) if name not in people]
        kinds = draw.sample([*RELATIONS], KINDS)
        pairs = draw.sample([*itertools.product(people, kinds)], FACTS + 1)
        facts = [Fact(who, name, values[name](), draw.choice(RELATIONS[name].told))
                 for who, name in pairs[:FACTS]]  # fmt: skip
        chosen: int | None = draw.randrange(FACTS)
        if draw.random() < UNANSWERED:
            chosen = None
        who, relation = pairs[FACTS if chosen is None else chosen]
        found.append({
            "id": f"{split}-{number}",
            "question": draw.choice(RELATIONS[relation].asked).format(who=who),
            "context": " ".join(fact.sentence for fact in facts),
            "answers": _answers(facts, chosen),
        })  # fmt: skip
    return found


def _answers(facts: list[Fact], chosen: int | None) -> dict[str, list[Any]]:
    """Where the answer of a fact is, as SQuAD has it; empty lists where there is none."""
    if chosen is None:
        return {"text": [], "answer_start": []}
    before = sum(len(fact.sentence) + 1 for fact in facts[:chosen])
    return {"text": [facts[chosen].what], "answer_start": [before + facts[chosen].place]}


def _names(kind: str, split: str, draw: random.Random) -> Iterator[str]:
    """Names of a kind that are of this split."""
    while True:
        parts = (draw.choice(some) for some in (ONSETS, VOWELS, ONSETS, ENDS[kind]))
        name = "".join(parts).capitalize()
        if split_of(name) == split:
            yield name
