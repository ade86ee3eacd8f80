"""Evaluation and prediction with rows of like length in a batch, beside rows padded to the longest.

    python -m benchmarks.run bucketing

Texts are words of a list, in records of log-normal length (median 40 words, at most 250); the model
is a BERT of 2 layers x 256. Both ways run in turns in one process, after a first time each in which
programs are compiled; a ratio is taken within a round, and the median over rounds is reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

RECORDS, BATCH = 256, 32
WAYS = ("bucketed", "padded")
SIZES = dict(
    hidden_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=1024,
    max_position_embeddings=512,
)


def records(count: int) -> list[dict[str, str]]:
    """Texts of unlike length, each with a label."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(np.log(40), 0.7, count).astype(int).clip(2, 250)
    return [
        {"text": " ".join(f"w{n}" for n in rng.integers(0, 200, length)), "label": "ab"[length % 2]}
        for length in lengths
    ]


def measure(
    rounds: int = 5, count: int = RECORDS, sizes: Any = None, batch: int = BATCH
) -> dict[str, Any]:
    """{"predict": {"bucketed": records a second, "padded": ..., "ratios": [...]}, "evaluate": ...,
    "fill": {"bucketed": the share of positions that hold a token, ...}}."""
    import jax

    import transformers_jax as tj
    from transformers_jax.data.tokenizers import train_tokenizer

    rows = records(count)
    texts = [row["text"] for row in rows]
    words = train_tokenizer("wordpiece", texts, 400, roles=("pad", "unk", "cls", "sep"))
    config = tj.BertConfig(vocab_size=words.max_id + 1, **(sizes or SIZES)).replace(
        id2label={0: "a", 1: "b"}, problem_type="single_label_classification"
    )
    model = tj.from_config(config, head="sequence_classification", key=jax.random.key(0))
    common: dict[str, Any] = dict(tokenizer=words, batch=batch)
    calls: dict[str, Callable[[str], Any]] = {
        "predict": lambda way: tj.predict(model, texts, rows=way, **common),
        "evaluate": lambda way: tj.evaluate(model, rows, rows=way, **common),
    }
    figures: dict[str, Any] = {"fill": fills([len(row) for row in words.encode_many(texts)], batch)}
    for name, call in calls.items():
        answers = {way: call(way) for way in WAYS}  # compiles
        check(name, answers)
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(rounds):
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                began = time.perf_counter()
                call(way)
                seconds[way].append(time.perf_counter() - began)
        figures[name] = {way: count / statistics.median(times) for way, times in seconds.items()}
        pairs = zip(seconds["padded"], seconds["bucketed"])
        figures[name]["ratios"] = [padded / bucketed for padded, bucketed in pairs]
    return figures


def fills(lengths: list[int], batch: int) -> dict[str, float]:
    """The share of positions that hold a token, of rows as wide as the longest, and of batches each
    as wide as its longest (which widths of a few sizes come near)."""
    ordered, used = sorted(lengths), sum(lengths)
    batches = [ordered[n : n + batch] for n in range(0, len(ordered), batch)]
    bucketed = used / sum(len(one) * one[-1] for one in batches)
    return {"bucketed": bucketed, "padded": used / (len(lengths) * ordered[-1])}


def check(name: str, answers: dict[str, Any]) -> None:
    """Raises RuntimeError where the two ways do not answer the same."""
    one, other = (answers[way] for way in WAYS)
    if name == "predict":
        one, other = ([row["score"] for row in rows] for rows in (one, other))
    else:
        one, other = ([found[key] for key in sorted(found)] for found in (one, other))
    if not np.allclose(one, other, atol=1e-4):
        raise RuntimeError(f"{name}: rows of like length and padded ones give other answers")
