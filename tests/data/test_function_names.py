"""The table `function_names`, and BM25 on it: what a trained encoder is compared with."""

import math
from collections import Counter

import numpy as np

from transformers_jax.data.generated.function_names import records, words


def bm25(queries, documents, k1=1.2, b=0.75):
    """[Q N]: how well each document fits each query (Robertson and Zaragoza 2009, equation 3.15,
    with the weight of a word that Lucene has)."""
    counts = [Counter(words(one)) for one in documents]
    lengths = np.array([sum(one.values()) for one in counts])
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    columns = {}
    for number, one in enumerate(counts):
        for word, count in one.items():
            columns.setdefault(word, np.zeros(len(documents)))[number] = count
    for word, own in columns.items():
        found = (own > 0).sum()
        weight = math.log(1 + (len(documents) - found + 0.5) / (found + 0.5))
        columns[word] = weight * own * (k1 + 1) / (own + norm)
    nothing = np.zeros(len(documents))
    return np.array([sum((columns.get(w, nothing) for w in words(q)), nothing) for q in queries])


def recall(scores, k):
    """How often the own document is among the first k; of equally good ones, the first is first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((best == np.arange(len(scores))[:, None]).any(1).mean())


def test_names_are_on_one_side_and_bm25_finds_two_thirds_of_them():
    splits = {name: records(name) for name in ("train", "validation", "test")}
    names = [one["document"] for some in splits.values() for one in some]
    assert len(names) == len({*names}) > 3000
    assert len(splits["train"]) > 7 * len(splits["test"])
    some = splits["validation"]
    scores = bm25([one["query"] for one in some], [one["document"] for one in some])
    assert 0.5 < recall(scores, 10) < 0.75
    other = scores[np.random.default_rng(0).permutation(len(scores))]
    assert recall(other, 10) < 0.1  # the control


def test_names_are_words_in_lower_case():
    assert words("uuid._find_mac_nearKeyword") == ["uuid", "find", "mac", "near", "keyword"]
    assert words("http.HTTPServer2") == ["http", "http", "server", "2"]
