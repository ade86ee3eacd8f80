"""Texts on their way into a model that continues them, and on their way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.generation.conversations import prompt_of
from transformers_jax.models.base import Model
from transformers_jax.together import check_together


def ids_of(model: Model, tokenizer: Any, text: str) -> list[int]:
    """The ids of a text as the model reads it: with the special tokens that the tokenizer adds.
    Those at the end (</s>, [SEP]) are left out where the model is to continue the text."""
    row = tokenizer.batch([text], return_special_tokens_mask=True)
    ids, special = row["input_ids"][0].tolist(), row["special_tokens_mask"][0]
    if model.plan.head == "causal_lm" and not model.is_encoder_decoder and not special.all():
        ids = ids[: len(ids) - int((special == 0)[::-1].argmax())]
    return ids


def prompts_of(model: Model, tokenizer: Any, texts: Any, messages: Any) -> list[list[int]]:
    """The ids of texts, or of conversations by the chat template.

    Raises:
        ValueError: both, what is neither a text nor a list of them, an empty one, or no tokenizer.
    """
    name = "texts" if texts is not None else "messages"
    if texts is not None and messages is not None:
        raise ValueError("texts and messages are two kinds of prompts; pass one of them")
    if tokenizer is None:
        raise ValueError(
            f"{name} need the model's tokenizer: pass tokenizer=tj.load_tokenizer(path) too"
        )
    check_together(model, tokenizer)
    if texts is None:
        several = isinstance(messages, (list, tuple)) and messages and not _is_message(messages[0])
        return [prompt_of(tokenizer, each) for each in (messages if several else [messages])]
    rows = [texts] if isinstance(texts, str) else texts
    if not isinstance(rows, Sequence) or not rows or not all(isinstance(t, str) for t in rows):
        raise ValueError(f"texts must be a text or a list of them, got {texts!r:.80}")
    ids = [ids_of(model, tokenizer, text) for text in rows]
    if empty := [number for number, row in enumerate(ids) if not row]:
        raise ValueError(f"texts[{empty[0]}] is empty; a prompt has at least one token")
    return ids


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping)


def padded(model: Model, rows: Sequence[Any]) -> dict[str, Int[np.ndarray, "B T"]]:
    """`input_ids` and `attention_mask` of rows: prompts padded in front, sources behind."""
    width, continues = max(map(len, rows)), not model.is_encoder_decoder
    fill = lambda row: (width - len(row), 0) if continues else (0, width - len(row))
    padding = model.config.pad_token_id
    padding = padding if isinstance(padding, int) and padding >= 0 else 0
    ids = [np.pad(np.asarray(row, np.int32), fill(row), constant_values=padding) for row in rows]
    mask = [np.pad(np.ones(len(row), np.int32), fill(row)) for row in rows]
    return {"input_ids": np.array(ids), "attention_mask": np.array(mask)}


def ends_of(model: Model) -> tuple[int, ...]:
    """The tokens that end a text, as the model's files say."""
    ends = (model.generation_config or {}).get("eos_token_id")
    ends = getattr(model.config, "eos_token_id", None) if ends is None else ends
    return () if ends is None else tuple(int(end) for end in np.atleast_1d(ends))


def until_end(
    model: Model, row: Sequence[int], count: int | None = None, ends: Sequence[int] | None = None
) -> list[int]:
    """New tokens up to the first that ends a text; `ends` are those of the call, where it said
    others than the model's files. `count` (`new_tokens`) says where a row ends without such a
    token; where it is not known, the token that fills rows says so, which a model may write."""
    stops: set[Any] = {*(ends_of(model) if ends is None else ends)}
    if count is None:
        said = (model.generation_config or {}).get("pad_token_id")
        stops |= {said, getattr(model.config, "pad_token_id", None)}
    row = row[:count]
    return list(row[: next((n for n, token in enumerate(row) if token in stops), len(row))])


def continued(
    tokenizer: Any, before: Sequence[int], new: Sequence[int], special: bool = True
) -> str:
    """The text of new tokens after others; decoded by itself it would lose its first space.
    `special` says whether special tokens are part of it."""
    text = lambda ids: tokenizer.decode(ids, skip_special_tokens=not special)
    head, whole = text(before), text([*before, *new])
    return whole[len(head) :] if whole.startswith(head) else text(new)


def written(
    model: Model,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    columns: int,
    output: Any,
    ends: Sequence[int] | None = None,
) -> list[str]:
    """The texts of what `generate` returned for prompts, without the prompts: `columns` are those
    before the new tokens, of which an encoder-decoder's text has all but the start token."""
    rows, counts = np.asarray(output.sequences).tolist(), np.asarray(output.new_tokens).tolist()
    copies = len(rows) // len(prompts)
    target = getattr(tokenizer, "target", None) or tokenizer
    texts = []
    for number, (row, count) in enumerate(zip(rows, counts)):
        new = until_end(model, row[columns:], count, ends)
        if model.is_encoder_decoder:
            texts.append(target.decode([*row[1:columns], *new], skip_special_tokens=True))
        else:
            texts.append(continued(tokenizer, prompts[number // copies], new, special=False))
    return texts
