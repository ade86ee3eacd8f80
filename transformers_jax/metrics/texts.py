"""Metrics of generated texts: ROUGE, BLEU, chrF and exact match."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from transformers_jax.extras import need
from transformers_jax.metrics import checks

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def exact_match(predicted: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """The share of the texts that are equal, character by character.

    Raises:
        ValueError: lengths differ, there is no text, or something is no text.
    """
    pairs = _pairs(predicted, expected)
    return {"exact_match": sum(p == e for p, e in pairs) / len(pairs)}


def character_error_rate(predicted: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """How many characters must be inserted, left out or replaced (Levenshtein 1966) to make the
    texts those that were expected, as a share of the characters of these.

    Raises:
        ValueError: lengths differ, there is no text, or something is no text.
    """
    pairs = _pairs(predicted, expected)
    edits = sum(_edits(p, e) for p, e in pairs)
    return {"character_error_rate": edits / max(sum(len(e) for _, e in pairs), 1)}


def word_error_rate(predicted: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """How many words, as spaces part them, must be inserted, left out or replaced to make the texts
    those that were expected, as a share of the words of these; and the same of texts in small
    letters, without punctuation and what stands in brackets.

    Raises:
        ValueError: lengths differ, there is no text, or something is no text.
    Source:
        Radford et al. 2022, appendix C: the second is that of texts that are not English.
    """
    pairs = _pairs(predicted, expected)
    plain = [(basic_text(p), basic_text(e)) for p, e in pairs]
    return {
        "word_error_rate": _word_errors(pairs),
        "normalized_word_error_rate": _word_errors(plain),
    }


def _word_errors(pairs: Sequence[tuple[str, str]]) -> float:
    split = [(predicted.split(), expected.split()) for predicted, expected in pairs]
    return sum(_edits(p, e) for p, e in split) / max(sum(len(e) for _, e in split), 1)


def basic_text(text: str) -> str:
    """A text in small letters, without what stands in brackets, and with spaces in place of marks,
    symbols and punctuation (Radford et al. 2022, appendix C)."""
    text = re.sub(r"[<\[][^>\]]*[>\]]", "", text.lower())
    text = re.sub(r"\(([^)]+?)\)", "", text)
    letters = (
        " " if unicodedata.category(one)[0] in "MSP" else one
        for one in unicodedata.normalize("NFKC", text)
    )
    return " ".join("".join(letters).split())


def _edits(text: Sequence[str], other: Sequence[str]) -> int:
    """The least number of insertions, deletions and replacements between two texts, or between two
    lists of words."""
    before = [*range(len(other) + 1)]
    for number, character in enumerate(text, 1):
        now = [number]
        for place, own in enumerate(other):
            least = min(before[place + 1], now[place]) + 1
            now.append(min(least, before[place] + (character != own)))
        before = now
    return before[-1]


def rouge(
    predicted: Sequence[str], expected: Sequence[str], stemmer: bool = True
) -> dict[str, float]:
    """ROUGE-1, -2, -L and -Lsum: F-measures from 0 to 1, averaged over the texts.

    With `stemmer`, endings of English words are cut off, as in transformers' examples of
    summarisation. Tokens are runs of a-z and 0-9: of texts in other scripts nothing is left.
    `rougeLsum` takes each line for a sentence: texts of several sentences need line breaks first.

    Raises:
        ValueError: lengths differ, there is no text, or rouge-score is not installed (extra
            `eval`).
    Source:
        Lin 2004; Google's rouge-score 0.1.2.
    """
    pairs = _pairs(predicted, expected)
    library = need("rouge_score.rouge_scorer", "eval", "ROUGE")
    scorer = library.RougeScorer(ROUGE, use_stemmer=stemmer)
    scores = [scorer.score(target=e, prediction=p) for p, e in pairs]
    return {name: float(sum(s[name].fmeasure for s in scores) / len(scores)) for name in ROUGE}


def translation(
    predicted: Sequence[str],
    expected: Sequence[str] | Sequence[Sequence[str]],
    tokenize: str = "13a",
    lowercase: bool = False,
) -> dict[str, float]:
    """BLEU and chrF of the whole corpus, from 0 to 100; `translation_signatures` says which.

    Args:
        predicted: a translation of each text, detokenized.
        expected: for each text its reference, or a list of one or more.
        tokenize: BLEU's tokenizer: "13a", "intl", "char", "zh", "ja-mecab", ...
        lowercase: whether case is ignored.
    Raises:
        ValueError: lengths differ, there is no text, one has no reference, the tokenizer is
            unknown, or sacrebleu is not installed (extra `eval`).
    Source:
        Papineni et al. 2002, Popović 2015; sacreBLEU 2 (Post 2018), with its defaults.
    """
    predicted, references = checks.texts("predicted", predicted), _references(expected)
    checks.same_length(predicted=predicted, expected=references)
    streams = _streams(references)
    scorers = _scorers(tokenize, lowercase)
    return {name: float(s.corpus_score(predicted, streams).score) for name, s in scorers.items()}


def translation_signatures(
    expected: Sequence[str] | Sequence[Sequence[str]],
    tokenize: str = "13a",
    lowercase: bool = False,
) -> dict[str, str]:
    """sacreBLEU's signatures of the `bleu` and `chrf` of `translation`, to be published with them.

    Raises:
        ValueError: as `translation`.
    """
    counts = sorted({len(each) for each in _references(expected)})
    streams = _streams([["a"] * count for count in counts])  # a signature asks only how many
    scorers = _scorers(tokenize, lowercase)
    for scorer in scorers.values():
        scorer.corpus_score(["a"] * len(counts), streams)
    return {name: str(scorer.get_signature()) for name, scorer in scorers.items()}


def _pairs(predicted: Any, expected: Any) -> list[tuple[str, str]]:
    """(predicted, expected) of each example."""
    predicted, expected = checks.texts("predicted", predicted), checks.texts("expected", expected)
    checks.same_length(predicted=predicted, expected=expected)
    return list(zip(predicted, expected))


def _references(expected: Any) -> list[list[str]]:
    """A list of references for each text."""
    of_what = "references: for each text one, or a list of them"
    is_reference = lambda value: isinstance(value, Iterable)
    each = checks.sequence("expected", expected, of_what, is_reference)
    lists = [[x] if isinstance(x, str) else x for x in each]
    references = checks.lists_of_texts("expected", lists, of_what)
    if wrong := [f"expected[{at}]" for at, each in enumerate(references) if not each]:
        raise ValueError(f"texts without a reference: {checks.named(wrong)}")
    return references


def _streams(references: list[list[str]]) -> list[list[str | None]]:
    """The references as sacreBLEU takes them: the first of all texts, then the second, ..."""
    most = max(map(len, references))
    return [[each[n] if n < len(each) else None for each in references] for n in range(most)]


def _scorers(tokenize: str, lowercase: bool) -> dict[str, Any]:
    library = need("sacrebleu.metrics", "eval", "BLEU")
    if tokenize not in (known := library.BLEU.TOKENIZERS):
        raise ValueError(f"tokenize={tokenize!r}: it is one of {', '.join(sorted(known))}")
    return {
        "bleu": library.BLEU(tokenize=tokenize, lowercase=lowercase),
        "chrf": library.CHRF(lowercase=lowercase),
    }
