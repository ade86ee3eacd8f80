"""The perplexity of texts of any length, read in windows that overlap.

Source: the fixed-length perplexity of Hugging Face's documentation ("Perplexity of fixed-length
models"), where each token counts once, behind at least `length - stride` others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from transformers_jax.arrays import ordinary
from transformers_jax.models.base import Model
from transformers_jax.models.output import Output
from transformers_jax.scoring.continuations import scores_of
from transformers_jax.scoring.pairs import Ids, Pair, check_writes, checks_of_ids, rows_of
from transformers_jax.sizes import check_count
from transformers_jax.together import check_together


@ordinary()
def perplexity(
    model: Model,
    texts: Any,
    *,
    tokenizer: Any = None,
    length: int | None = None,
    stride: int | None = None,
    add_special_tokens: bool = True,
    batch_size: int = 8,
    chunk: int | None = None,
) -> Output:
    """How well a decoder predicts texts of any length: exp(-mean log p(token | those before it)).

    A text is read in windows of `length` tokens, each `stride` further than the one before, and
    each token but the first is scored once: in the first window that holds it, behind at least
    `length - stride` tokens. A small stride is nearer to what the model would say of the whole
    text, and costs length / stride times the tokens.

    Args:
        texts: a text or a row of ids, or a list of either; each text begins anew.
        length: tokens of a window; by default the most that the model takes.
        stride: how far windows are apart, below `length`; by default half of it.
        add_special_tokens: whether a text has those that the tokenizer puts in front of it.
        tokenizer, batch_size, chunk: as of `score_continuations`.

    Returns:
        perplexity (of all texts), log_prob Float[N] and count Int[N] of each, and token_log_probs:
        for each text Float[T - 1]. Of texts as well bits_per_byte: their information in bits by
        their bytes in UTF-8, which does not depend on the tokenizer.

    Raises:
        ValueError: a model that is no decoder, a text of fewer than two tokens, a stride that
            leaves tokens without a context, a model that knows no longest text.
    """
    check_writes(model, "perplexity")
    if model.is_encoder_decoder:
        raise ValueError(
            "perplexity reads the text of a decoder; of an encoder-decoder, "
            "tj.score_continuations scores a target after its source"
        )
    for name, value in {"length": length, "stride": stride, "batch_size": batch_size}.items():
        if value is not None:
            check_count(name, value)
    length = longest(model) if length is None else length
    if (most := model.reading.positions) is not None and length > most:
        raise ValueError(f"length={length} is more than the {most} positions of the model")
    if length < 2:
        raise ValueError("length=1 leaves no token in front of one that is scored; give 2 or more")
    stride = length // 2 if stride is None else stride
    if stride >= length:
        raise ValueError(
            f"stride={stride} leaves the first token of a window of {length} without a context; "
            f"give at most stride={length - 1}"
        )
    rows, size = _rows(model, texts, tokenizer, add_special_tokens)
    pairs = [(n, pair) for n, row in enumerate(rows) for pair in windows(row, length, stride)]
    each, _ = scores_of(model, [pair for _, pair in pairs], batch_size, chunk)
    parts: list[list[Any]] = [[] for _ in rows]
    for (number, _), logs in zip(pairs, each):
        parts[number].append(logs)
    logs = [np.concatenate(part) for part in parts]
    sums, count = np.array([row.sum(dtype=np.float64) for row in logs]), sum(map(len, logs))
    with np.errstate(over="ignore"):  # of a mean that no float has the exponential of, infinity
        fields: dict[str, Any] = {"perplexity": float(np.exp(-sums.sum() / count))}
    fields["log_prob"] = sums
    if size:
        fields["bits_per_byte"] = float(-sums.sum() / math.log(2) / size)
    counts = np.array([len(row) for row in logs], np.int32)
    return Output(**fields, count=counts, token_log_probs=tuple(logs))


def longest(model: Model) -> int:
    """The most tokens that a model takes at once.

    Raises:
        ValueError: a model of which no limit is known.
    """
    limits = (model.reading.positions, getattr(model.config, "max_position_embeddings", None))
    known = [int(limit) for limit in limits if limit is not None and limit > 0]
    if not known:
        raise ValueError(
            f"{model.config.model_type} takes texts of any length: give length=, the tokens of a "
            "window"
        )
    return min(known)


def windows(ids: Ids, length: int, stride: int) -> Iterator[Pair]:
    """What is read of a text: each window as the tokens that are scored, behind those before."""
    done = 1
    for start in range(0, len(ids), stride):
        end = min(start + length, len(ids))
        yield Pair(ids[start:done], ids[done:end])
        done = end
        if end == len(ids):
            return


def _rows(model: Model, texts: Any, tokenizer: Any, special: bool) -> tuple[list[Ids], int]:
    """(the ids of each text, their bytes where they are texts).

    Raises:
        ValueError: no text, texts without a tokenizer, what is no row of ids.
    """
    if isinstance(texts, str):
        texts = [texts]
    elif not isinstance(texts, Sequence) or (len(texts) and np.ndim(texts[0]) == 0):
        texts = texts if isinstance(texts, Sequence) and isinstance(texts[0], str) else [texts]
    if not len(texts):
        raise ValueError("there is no text; give at least one")
    if size := sum(len(text.encode()) for text in texts if isinstance(text, str)):
        if tokenizer is None:
            raise ValueError("perplexity of texts: give tokenizer=tj.load_tokenizer(path), or ids")
        check_together(model, tokenizer)
        rows = rows_of(tokenizer, texts, special)
    else:
        rows = [np.asarray(row) for row in texts]
    for number, row in enumerate(rows):
        if row.ndim != 1 or len(row) < 2 or not np.issubdtype(row.dtype, np.integer):
            raise ValueError(
                f"text {number} has shape {row.shape} and dtype {row.dtype}; expected a row of at "
                "least two ids: the first has none before it"
            )
    checks_of_ids(model, [Pair(row[:1], row[1:]) for row in rows])
    return rows, size
