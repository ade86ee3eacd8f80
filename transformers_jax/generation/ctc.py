"""Text from the frames of a model of connectionist temporal classification (Graves et al. 2006).

A path names a class for each frame. Its text is what remains when repeated classes are merged and
blanks left out: "hh-e-ll-lo" is "hello". Greedy decoding takes the likeliest path; prefix beam
search the likeliest text, whose probability is the sum over all its paths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transformers_jax.arrays import Float, Int
from transformers_jax.generation.ctc_symbols import Symbols, words_of
from transformers_jax.sizes import check_count

NEVER = -1e30
"""The log of the probability of what is impossible; minus infinity less itself is not a number."""

Scorer = Callable[[str], float]
"""What a language model adds for a text: a log probability, of the whole text so far."""


@dataclass(frozen=True)
class Word:
    """A word, and from when to when it is spoken, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Decoded:
    """The text of a row.

    Attributes:
        ids: its symbols.
        score: the log of its probability: of the best path (greedy), or of all paths (beams), with
            what the scorer adds.
        words: its words with their times; None where the length of a frame is not known.
    """

    text: str
    ids: tuple[int, ...]
    score: float
    words: tuple[Word, ...] | None = None


def decode_ctc(
    logits: Float[Any, "B T V"],
    symbols: Symbols,
    *,
    lengths: Iterable[int] | None = None,
    beams: int = 1,
    words: Iterable[str] | None = None,
    scorer: Scorer | None = None,
    weight: float = 1.0,
    seconds: float | None = None,
) -> list[Decoded]:
    """The text of each row.

    Args:
        lengths: how many frames of each row are audio; by default all.
        beams: how many prefixes the search keeps; 1 is greedy.
        words: the only words that a text may have.
        scorer: log p(text), `weight` times of which is added whenever a word is complete.
        seconds: the length of a frame (`model.config.seconds_per_frame(rate)`), for times of words.

    Raises:
        ValueError: logits of another shape, or of other symbols; lengths that do not fit; words or
            a scorer without beams; a word that the symbols cannot write.
    """
    scores = _log_probabilities(logits, len(symbols))
    counts = _lengths(lengths, scores.shape)
    check_count("beams", beams)
    if beams == 1 and (words is not None or scorer is not None):
        raise ValueError(
            "words= and scorer= choose between texts, and greedy decoding follows one path; give "
            "beams=16, say"
        )
    trie = None if words is None else _trie(words, symbols)
    found = []
    for row, count in zip(scores, counts):
        own = row[:count]
        if beams == 1:
            path: Any = own.argmax(1)
            ids, score = symbols.collapse(path), float(own.max(1).sum())
        else:
            search = _Search(symbols, beams, trie, scorer, weight)
            ids, score = search.run(own)
            path = None if seconds is None else align(own, ids, symbols.blank)
        spoken = None
        if seconds is not None and path is not None:
            spans = words_of(path, symbols)
            spoken = tuple(Word(text, a * seconds, b * seconds) for text, a, b in spans)
        found.append(Decoded(symbols.text(ids), tuple(ids), score, spoken))
    return found


class _Search:
    """Prefix beam search (Hannun et al. 2014, algorithm 1): of each prefix the probabilities of the
    paths that end with a blank and of those that do not."""

    def __init__(self, symbols, beams, trie, scorer, weight):
        self.symbols, self.beams, self.trie = symbols, beams, trie
        self.scorer, self.weight = scorer, weight
        self.language: dict[tuple[int, ...], float] = {(): 0.0}

    def run(self, scores: Float[np.ndarray, "T V"]) -> tuple[list[int], float]:
        """The likeliest text, and the log of its probability."""
        blank = self.symbols.blank
        beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, NEVER)}
        for frame in scores:
            ends: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [NEVER, NEVER])
            for prefix, (quiet, loud) in beams.items():
                either = np.logaddexp(quiet, loud)
                own = ends[prefix]
                own[0] = np.logaddexp(own[0], either + frame[blank])
                if prefix:
                    own[1] = np.logaddexp(own[1], loud + frame[prefix[-1]])
                for symbol in self._next(prefix):
                    before = quiet if prefix and prefix[-1] == symbol else either
                    longer = ends[(*prefix, symbol)]
                    longer[1] = np.logaddexp(longer[1], before + frame[symbol])
            best = sorted(ends, key=lambda p: -self._total(p, ends[p]))[: self.beams]
            beams = {prefix: (ends[prefix][0], ends[prefix][1]) for prefix in best}
        finished = [p for p in beams if self._complete(p)]
        if not finished:
            return [], NEVER
        total = lambda p: np.logaddexp(*beams[p]) + self._added(p, whole=True)
        text = max(finished, key=total)
        return list(text), float(total(text))

    def _total(self, prefix: tuple[int, ...], ends: Sequence[float]) -> float:
        return float(np.logaddexp(ends[0], ends[1])) + self._added(prefix)

    def _added(self, prefix: tuple[int, ...], whole: bool = False) -> float:
        """What the scorer adds for the complete words of a prefix."""
        if self.scorer is None:
            return 0.0
        gap, ids = self.symbols.delimiter, list(prefix)
        if not whole:
            last = max((n for n, symbol in enumerate(ids) if symbol == gap), default=-1)
            ids = ids[: last + 1]
        key = tuple(ids)
        if key not in self.language:
            text = self.symbols.text(ids)
            self.language[key] = self.weight * float(self.scorer(text)) if text else 0.0
        return self.language[key]

    def _next(self, prefix: tuple[int, ...]) -> Iterable[int]:
        """The symbols that may follow."""
        if self.trie is None:
            return self.symbols.written
        node = self._node(prefix)
        after = [symbol for symbol in node if symbol is not None]
        gap = self.symbols.delimiter
        if gap is not None and (None in node or not prefix or prefix[-1] == gap):
            after.append(gap)
        return after

    def _node(self, prefix: tuple[int, ...]) -> Any:
        """Where a prefix is in the tree of words."""
        node: Any = self.trie
        for symbol in prefix:
            node = self.trie if symbol == self.symbols.delimiter else node[symbol]
        return node

    def _complete(self, prefix: tuple[int, ...]) -> bool:
        """Whether a text may end here."""
        if self.trie is None or not prefix or prefix[-1] == self.symbols.delimiter:
            return True
        return None in self._node(prefix)


def align(
    scores: Float[np.ndarray, "T V"], ids: Sequence[int], blank: int
) -> Int[np.ndarray, " T"] | None:
    """The likeliest path of a text: a class for each frame; None where the text does not fit."""
    states = np.full(2 * len(ids) + 1, blank)
    states[1::2] = ids
    count = len(states)
    # a state may be entered from the one before the blank, unless the symbol is the same
    skips = np.zeros(count, bool)
    skips[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    best = np.full(count, NEVER)
    best[:2] = scores[0, states[:2]] if len(scores) else NEVER
    origins = np.zeros((len(scores), count), int)
    for step in range(1, len(scores)):
        moves = np.stack([best, np.r_[NEVER, best[:-1]], np.r_[NEVER, NEVER, best[:-2]][:count]])
        moves[2, ~skips] = NEVER
        origins[step] = moves.argmax(0)
        best = moves.max(0) + scores[step, states]
    last = count - 1 if count == 1 or best[-1] >= best[-2] else count - 2
    if not len(scores) or best[last] <= NEVER / 2:
        return None
    path = np.empty(len(scores), int)
    for step in reversed(range(len(scores))):
        path[step] = states[last]
        last -= origins[step, last]
    return path


def _log_probabilities(logits: Any, symbols: int) -> Float[np.ndarray, "B T V"]:
    array = np.asarray(logits, np.float64)
    if array.ndim != 3 or array.shape[-1] != symbols:
        raise ValueError(
            f"logits has shape {np.shape(logits)}; expected (rows, frames, {symbols} symbols): "
            "check that vocab.json and the model belong together"
        )
    if not np.isfinite(array).all():
        raise ValueError("logits are not finite: look for an empty or damaged recording")
    high = array.max(-1, keepdims=True)
    return array - high - np.log(np.exp(array - high).sum(-1, keepdims=True))


def _lengths(lengths: Iterable[int] | None, shape: tuple[int, ...]) -> list[int]:
    counts = [shape[1]] * shape[0] if lengths is None else [int(n) for n in lengths]
    if len(counts) != shape[0] or any(not 0 <= n <= shape[1] for n in counts):
        raise ValueError(
            f"lengths is {counts}; expected a number of frames for each of {shape[0]} rows, from 0 "
            f"to {shape[1]}"
        )
    return counts


def _trie(words: Iterable[str], symbols: Symbols) -> dict[Any, Any]:
    """The words as a tree of symbols; `None` marks where one ends."""
    tree: dict[Any, Any] = {}
    for word in words:
        ids, node = symbols.encode(word), tree
        if not ids or symbols.delimiter in ids:
            raise ValueError(f"words: {word!r} is no single word")
        for symbol in ids:
            node = node.setdefault(symbol, {})
        node[None] = True
    if not tree:
        raise ValueError("words is empty; leave it out where any word may be written")
    return tree
