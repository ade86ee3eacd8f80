"""Pairs of a context and its continuation, as ids.

Of a decoder the two are one text. It is read as a whole, since tokens of a text depend on what
follows, and the continuation has the tokens behind as many as the context has by itself; spaces
between the two belong to the continuation, with which tokenizers join them. Of an encoder-decoder
the context is the source, and the continuation the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.inputs import checks
from transformers_jax.models.base import Model, check_model
from transformers_jax.together import check_together

HEADS = ("causal_lm", "seq2seq_lm")

Ids = Int[np.ndarray, " T"]


class Pair(NamedTuple):
    """A context and what follows it, as ids; of an encoder-decoder, a source and its target."""

    context: Ids
    continuation: Ids


def check_writes(model: Any, name: str) -> None:
    """Raises for a model that gives the next token of a text no probability."""
    check_model(model, name)
    head = getattr(model.plan, "head", None)
    if head not in HEADS:
        advice = "; tj.score scores the tokens of a masked model" if head == "masked_lm" else ""
        raise ValueError(
            f"{name} reads a model that continues texts (head {' or '.join(HEADS)}); a model with "
            f"head {head!r} came{advice}"
        )
    if "input_ids" not in model.arguments():
        raise ValueError(f"{name} reads texts, which {model.config.model_type} does not")
    model.reading.check_causal(name)


def pairs_of(model: Model, pairs: Iterable[Any], tokenizer: Any, special: bool) -> list[Pair]:
    """The pairs as ids.

    Args:
        special: whether texts have the special tokens of the tokenizer: those in front of a text,
            and of a source those behind it.

    Raises:
        ValueError: what is no pair, texts without a tokenizer, a continuation without tokens, or a
            context without any; the message has the number of the pair.
    """
    given = [_checked(number, pair) for number, pair in enumerate(pairs)]
    texts = [n for n, (context, _) in enumerate(given) if isinstance(context, str)]
    if texts and tokenizer is None:
        raise ValueError(
            f"pair {texts[0]} holds texts: give tokenizer=tj.load_tokenizer(path), or ids"
        )
    found: dict[int, Pair] = {}
    if texts:
        check_together(model, tokenizer)
        read = _of_sides if model.is_encoder_decoder else _of_texts
        found = dict(zip(texts, read(tokenizer, [given[n] for n in texts], special)))
    result = []
    for number, pair in enumerate(given):
        one = found.get(number) or Pair(*(_ids(number, side) for side in pair))
        _check_lengths(number, one, pair, model.is_encoder_decoder)
        result.append(one)
    checks_of_ids(model, result)
    return result


def checks_of_ids(model: Model, pairs: Sequence[Pair]) -> None:
    """Raises ValueError for ids outside of the vocabulary, with their pair."""
    reading = model.reading
    source = reading.source_vocabulary if model.is_encoder_decoder else reading.vocabulary
    for number, pair in enumerate(pairs):
        for name, ids, size in zip(Pair._fields, pair, (source, reading.vocabulary)):
            checks.ids(f"{name} of pair {number}", ids[None], size or np.iinfo(np.int32).max)


def _checked(number: int, pair: Any) -> tuple[Any, Any]:
    if isinstance(pair, (str, bytes)) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise ValueError(
            f"pair {number} is {pair!r:.80}; expected (context, continuation), two texts or two "
            "rows of ids"
        )
    context, continuation = pair
    if isinstance(context, str) != isinstance(continuation, str):
        raise ValueError(f"pair {number} is a text and ids; give two texts, or two rows of ids")
    return context, continuation


def _ids(number: int, ids: Any) -> Ids:
    array = np.asarray(ids)
    array = array.astype(np.int32) if array.size == 0 else array
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"pair {number} holds {ids!r:.60}, of {array.ndim} axes and dtype {array.dtype}; "
            "expected a row of token ids"
        )
    return array


def _check_lengths(number: int, pair: Pair, given: tuple[Any, Any], sides: bool) -> None:
    of_texts = isinstance(given[0], str)
    if not len(pair.continuation):
        joined = of_texts and given[1] and not sides
        why = "has no tokens of its own: they are joined with the context's" if joined else ""
        raise ValueError(
            f"the continuation of pair {number} {why or 'is empty'}; give one of at least one "
            f"token{', or ids' if joined else ''}"
        )
    if not len(pair.context):
        what = "no source" if sides else "nothing in front of it, so its first token has no "
        what += "" if sides else "probability"
        raise ValueError(
            f"the context of pair {number} is empty: the continuation has {what}; give the token "
            "that stands between texts, such as </s> or <|endoftext|>"
        )


# ---------------------------------------------------------------- texts


def _of_sides(tokenizer: Any, pairs: list[Any], special: bool) -> list[Pair]:
    sources = rows_of(tokenizer, [context for context, _ in pairs], special, whole=True)
    target = getattr(tokenizer, "target", None) or tokenizer
    targets = rows_of(target, [text for _, text in pairs], False)
    return [Pair(*both) for both in zip(sources, targets)]


def _of_texts(tokenizer: Any, pairs: list[Any], special: bool) -> list[Pair]:
    fronts = [context.rstrip() for context, _ in pairs]
    contexts = rows_of(tokenizer, fronts, special)
    texts = rows_of(tokenizer, [context + more for context, more in pairs], special)
    return [Pair(context, text[len(context) :]) for context, text in zip(contexts, texts)]


def rows_of(tokenizer: Any, texts: Sequence[str], special: bool, whole: bool = False) -> list[Ids]:
    """The ids of texts, with the special tokens that the tokenizer puts in front of them; `whole`:
    with those behind them as well (</s>, [SEP]), which end what is to be continued."""
    filled = [text for text in texts if text] if not special else texts
    if not filled:
        return [np.zeros(0, np.int32) for _ in texts]
    options = {"padding": False, "truncation": False, "add_special_tokens": special}
    rows = tokenizer.batch(filled, return_special_tokens_mask=True, **options)
    ids = [np.asarray(row, np.int32) for row in rows["input_ids"]]
    if not whole:
        marks = [np.asarray(mask) for mask in rows["special_tokens_mask"]]
        ids = [row[: _until(mask, text)] for row, mask, text in zip(ids, marks, filled)]
    found = iter(ids)
    return [next(found) if special or text else np.zeros(0, np.int32) for text in texts]


def _until(special: Int[np.ndarray, " T"], text: str) -> int | None:
    """Where the special tokens begin that stand behind a text. Of a text without tokens they are
    not told from those in front: then all but the last are kept, where there are several."""
    if not special.all():
        return len(special) - int((special == 0)[::-1].argmax())
    return max(len(special) - 1, 1) if len(special) > 1 else None
