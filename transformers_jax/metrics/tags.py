"""Entities in sequences of tags such as B-PER: where they are, and how many were found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, get_args

from transformers_jax.extras import need
from transformers_jax.metrics.checks import lists_of_texts, named, same_length

Scheme = Literal["conll", "BIO", "BIOES"]
"""How tags are read.

"conll" takes both notations, and forgives as the CoNLL evaluation does: an entity also begins where
an inside tag follows another type or no entity. "BIO" and "BIOES" are strict: an entity is a B-
followed by I- of its type; of BIOES it ends with E-, or is a single S-. What lacks its beginning,
or in BIOES its end, is no entity.
"""

_TAG = re.compile(r"O|([BIES])(?:-(?!-)(.*[^-]))?", re.DOTALL)
_PREFIXES = {"conll": "BIES", "BIO": "BI", "BIOES": "BIES"}
_NO_TYPE = "_"


class Span(NamedTuple):
    """An entity: the tags from `start` up to, without, `end`."""

    type: str
    start: int
    end: int


def scheme_of(labels: Iterable[str]) -> Literal["BIO", "BIOES"]:
    """The notation of these tags: BIOES if any begins with E- or S-.

    Raises:
        ValueError: one of them is no tag.
    """
    prefixes = {prefix for prefix, _ in _read(list(labels), "conll", "labels")}
    return "BIOES" if prefixes & set("ES") else "BIO"


def spans(tags: Sequence[str], scheme: Scheme = "conll") -> list[Span]:
    """The entities of a sequence of tags, in order. A tag without a type has the type "_".

    Raises:
        ValueError: a tag is none of this scheme.
    Source:
        seqeval, whose `get_entities` is "conll" and whose IOB2 and IOBES in strict mode are the
        others. Its ends are those of the last tag in the first of these, one further in the others.
    """
    return _spans(tags, scheme, "tags")


def tags_of(
    entities: Iterable[tuple[str, int, int]], length: int, scheme: Literal["BIO", "BIOES"] = "BIO"
) -> list[str]:
    """The tags of a sequence of this length with these entities: `spans` gives them back.

    Raises:
        ValueError: an entity is empty or beyond the sequence, or two overlap.
    """
    tags = ["O"] * length
    for kind, start, end in entities:
        if not 0 <= start < end <= length:
            raise ValueError(f"{kind} from {start} to {end}: there are the tags 0 to {length - 1}")
        if any(tag != "O" for tag in tags[start:end]):
            raise ValueError(f"{kind} from {start} to {end} overlaps with another entity")
        prefixes = ["B"] + ["I"] * (end - start - 1)
        if scheme == "BIOES":
            prefixes[-1] = "E" if len(prefixes) > 1 else "S"
        tags[start:end] = [f"{p}-{kind}".removesuffix(f"-{_NO_TYPE}") for p in prefixes]
    return tags


def entities(
    predicted: Sequence[Sequence[str]], expected: Sequence[Sequence[str]], scheme: Scheme = "conll"
) -> dict[str, float]:
    """Precision, recall and F1 of entities: right are those whose type, start and end are right.

    Returns:
        `precision`, `recall` and `f1` over all entities, `f1_macro` as the mean over types, and
        `accuracy` over tags; for each type, such as PER: `PER_precision`, `PER_recall`, `PER_f1`
        and `PER_number`, how many are expected. What nothing can be divided by is 0.
    Raises:
        ValueError: lengths differ, there is no tag, a tag is none of this scheme, or seqeval is not
            installed (extra `eval`).
    Source:
        seqeval 1.2; `conlleval` of the shared tasks for the scheme "conll".
    """
    library = need("seqeval.metrics", "eval", "the score of entities")
    of_what = "lists of tags, one list for each text"
    predicted = lists_of_texts("predicted", predicted, of_what)
    expected = lists_of_texts("expected", expected, of_what)
    same_length(predicted=predicted, expected=expected)
    pairs = list(zip(predicted, expected))
    if wrong := [
        f"text {n}: {len(p)}, {len(e)}" for n, (p, e) in enumerate(pairs) if len(p) != len(e)
    ]:
        raise ValueError(f"there must be a predicted tag for each expected one, but {named(wrong)}")
    tags = [tag for pair in pairs for tag in zip(*pair)]
    if not tags:
        raise ValueError("no text has a tag; a metric needs an example")
    sides = (("predicted", predicted), ("expected", expected))
    lists = [(f"{name}[{n}]", each) for name, rows in sides for n, each in enumerate(rows)]
    found = [span for name, each in lists for span in _spans(each, scheme, name)]
    result = dict.fromkeys(("precision", "recall", "f1", "f1_macro"), 0.0)
    result["accuracy"] = sum(p == e for p, e in tags) / len(tags)
    if found:  # of none seqeval takes means of nothing
        report = library.classification_report(
            expected, predicted, output_dict=True, zero_division=0, **_mode(scheme)
        )
        result |= _flat(report)
    return result


def _mode(scheme: Scheme) -> dict[str, Any]:
    """seqeval's arguments for a scheme."""
    if scheme == "conll":
        return {}
    schemes = need("seqeval.scheme", "eval", "the score of entities")
    return {"mode": "strict", "scheme": schemes.IOB2 if scheme == "BIO" else schemes.IOBES}


def _flat(report: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The figures of seqeval's report that we return, by our names."""
    names = {"precision": "precision", "recall": "recall", "f1-score": "f1", "support": "number"}
    overall, macro = report.pop("micro avg"), report.pop("macro avg")
    report.pop("weighted avg")
    flat = {names[key]: float(overall[key]) for key in ("precision", "recall", "f1-score")}
    flat["f1_macro"] = float(macro["f1-score"])
    for kind, scores in report.items():
        flat |= {f"{kind}_{names[key]}": float(value) for key, value in scores.items()}
    return flat


def _spans(tags: Sequence[str], scheme: Scheme, name: str) -> list[Span]:
    read = _read(tags, scheme, name)
    return _forgiving(read) if scheme == "conll" else _strict(read, scheme)


def _read(tags: Sequence[str], scheme: Scheme, name: str) -> list[tuple[str, str]]:
    """(prefix, type) of each tag, ("O", "_") outside of entities."""
    if scheme not in get_args(Scheme):
        raise ValueError(f"scheme={scheme!r}: it is one of {', '.join(get_args(Scheme))}")
    read, wrong = [], []
    for at, tag in enumerate(tags):
        match = _TAG.fullmatch(tag)
        if not match or (match[1] or "B") not in _PREFIXES[scheme]:
            wrong.append(f"{name}[{at}] = {tag!r}")
        else:
            read.append((match[1] or "O", match[2] or _NO_TYPE))
    if wrong:
        letters = ", ".join(f"{letter}-TYPE" for letter in _PREFIXES[scheme])
        raise ValueError(f"{named(wrong)}: tags of the scheme {scheme} are O, {letters}")
    return read


def _forgiving(read: list[tuple[str, str]]) -> list[Span]:
    found, start, before, kind = [], 0, "O", _NO_TYPE
    for at, (prefix, type) in enumerate([*read, ("O", _NO_TYPE)]):
        changes = type != kind
        if before in "ES" or (before in "BI" and (prefix in "BSO" or changes)):
            found.append(Span(kind, start, at))
        if prefix in "BS" or (prefix in "IE" and (before in "ESO" or changes)):
            start = at
        before, kind = prefix, type
    return found


def _strict(read: list[tuple[str, str]], scheme: Scheme) -> list[Span]:
    found = []
    for start, (prefix, kind) in enumerate(read):
        if prefix == "S":
            found.append(Span(kind, start, start + 1))
        if prefix != "B":
            continue
        end = start + 1
        while end < len(read) and read[end] == ("I", kind):
            end += 1
        if scheme == "BIO":
            found.append(Span(kind, start, end))
        elif end < len(read) and read[end] == ("E", kind):
            found.append(Span(kind, start, end + 1))
    return found
