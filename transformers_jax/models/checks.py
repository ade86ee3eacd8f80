"""Checks of inputs on the host, before anything is compiled.

JAX clamps, wraps or drops indices that are out of range, each silently, so a wrong id would train
a wrong row. Every check names the argument, the place, what came and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from transformers_jax.graph import attends_ahead

if TYPE_CHECKING:
    from transformers_jax.graph import Mask
    from transformers_jax.models.base import Model
    from transformers_jax.nn.cache import Cache
    from transformers_jax.nn.embed import EmbedSpec


def at(array: np.ndarray, wrong: np.ndarray) -> str:
    """The place and the value of the first wrong entry: "[1, 7] is 99"."""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{list(place)} is {array[place]}"


def integers(name: str, value: Any, rank: int | None = 2) -> np.ndarray:
    """The array, if it holds integers and has the rank."""
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, but its dtype is {array.dtype}")
    if rank is not None and array.ndim != rank:
        raise ValueError(f"{name} must have {rank} axes, but its shape is {array.shape}")
    return array


def ids(name: str, value: Any, size: int, what: str = "vocabulary", rank: int | None = 2) -> None:
    """Ids lie in [0, size)."""
    if np.size(value) == 0:
        raise ValueError(f"{name} is empty (shape {np.shape(value)}); give at least one token")
    array = integers(name, value, rank)
    wrong = (array < 0) | (array >= size)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}, outside the {what} [0, {size}); "
            "check that tokenizer and model belong together"
        )


def vectors(name: str, value: Any, width: int, rank: int = 3) -> None:
    """What stands for embedded words has their width."""
    if np.ndim(value) != rank or np.shape(value)[-1] != width:
        raise ValueError(
            f"{name} has shape {np.shape(value)}; expected {rank} axes, the last of {width}"
        )


def heard(outputs: Any) -> None:
    """What an encoder said is a record."""
    if not isinstance(outputs, Mapping) or "last_hidden_state" not in outputs:
        raise ValueError(
            f"encoder_outputs is {type(outputs).__name__}; expected what model.encode(...)"
            " gives, or {'last_hidden_state': Float[B S D]}"
        )


def labels(name: str, value: Any, size: int, rank: int | None = None) -> None:
    """Labels lie in [0, size), or are -100 where there is nothing to predict."""
    array = integers(name, value, rank)
    wrong = ((array < 0) & (array != -100)) | (array >= size)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}; expected -100 (ignored) or a class in [0, {size})"
        )


def same_shape(name: str, value: Any, shape: tuple[int, ...], like: str) -> None:
    """One value per token."""
    if np.shape(value) != tuple(shape):
        raise ValueError(f"{name} has shape {np.shape(value)}, but {like} has {tuple(shape)}")


def mask(name: str, value: Any, shape: tuple[int, ...], like: str) -> None:
    """An attention mask is 1 (or True) for tokens and 0 for padding, one number per token."""
    array = np.asarray(value)
    same_shape(name, array, shape, like)
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        raise ValueError(
            f"{name}{at(array, wrong)}; expected 1 for a token and 0 for padding "
            "(other graphs are masks: from_pretrained(..., mask=), pairs=)"
        )


def length(name: str, count: int, limit: int | None) -> None:
    """A row is no longer than the learned positions."""
    if limit is not None and count > limit:
        raise ValueError(
            f"{name} has {count} tokens, but the model has {limit} positions; "
            f"truncate to {limit} or use a model with more"
        )


def hears_before_only(model: Any, what: str) -> None:
    """What is told of the next token comes from those before it, or from a prefix: not in an
    encoder (BERT as it is stored) with the head of a decoder."""
    stack = getattr(model, "decoder" if model.is_encoder_decoder else "stack", None)
    masks = stack.masks("self") if hasattr(stack, "masks") else []
    if wrong := [mask for mask in masks if attends_ahead(mask, prefix=False)]:
        raise ValueError(
            f"{what} needs tokens that attend to those before them only, but under the mask "
            f"{wrong[0]} a token may attend to later ones; load the model with is_decoder=True, or "
            "with mask=tj.CAUSAL"
        )


# ---------------------------------------------------------------- all inputs of a model


def tags(
    argument: str,
    given: Mapping[str, Any] | None,
    masks: Sequence[Mask],
    shape: tuple[int, ...],
    positions: int | None = None,
) -> None:
    """Every tag that is given is read by some mask, or is `position`; one integer per token."""
    given = given or {}
    unread = sorted(set(given) - {"position"}.union(*(mask.tags for mask in masks)))
    if unread:
        raise ValueError(
            f"{argument} {unread} are read by no mask of this model ({shown(masks)}); "
            "load it with a mask that compares them, e.g. mask=CAUSAL & Same('document')"
        )
    for name, tag in given.items():
        integers(f"{argument}[{name!r}]", tag)
        if np.shape(tag)[1:] != shape[1:] or np.shape(tag)[0] not in (1, shape[0]):
            same_shape(f"{argument}[{name!r}]", tag, shape, "the input")
    if "position" in given and positions is not None:
        ids(f"{argument}['position']", given["position"], positions, "positions")


def pairs(given: Mapping[str, Any] | None, masks: Sequence[Mask]) -> None:
    """Every array of pairs that is given is read by some mask."""
    unread = sorted(set(given or {}) - frozenset().union(*(mask.pairs for mask in masks)))
    if unread:
        raise ValueError(
            f"pairs {unread} are read by no mask of this model ({shown(masks)}); "
            f"load it with a mask that reads them, e.g. mask=Dense({unread[0]!r})"
        )


def shown(masks: Sequence[Mask]) -> str:
    """The masks as one would type them."""
    return ", ".join(sorted({str(mask) for mask in masks}))


def tokens(
    inputs: Mapping[str, Any],
    shape: tuple[int, ...],
    like: str,
    embed: EmbedSpec,
    prefix: str = "",
) -> None:
    """Masks, types and positions of one set of tokens."""
    if f"{prefix}attention_mask" in inputs:
        mask(f"{prefix}attention_mask", inputs[f"{prefix}attention_mask"], shape, like)
    if "token_type_ids" in inputs and not prefix:
        same_shape("token_type_ids", inputs["token_type_ids"], shape, like)
        if embed.types is None:
            raise ValueError(
                "this model has no token types; leave token_type_ids out "
                "(tokenizer.batch(..., return_token_type_ids=False))"
            )
        count = embed.vocab if embed.types == "words" else embed.types
        if count:  # otherwise they are not read
            ids("token_type_ids", inputs["token_type_ids"], count, "token types", len(shape))
    if "position_ids" in inputs and not prefix:
        array = integers("position_ids", inputs["position_ids"], None)
        if array.shape[-1] != shape[-1]:
            same_shape("position_ids", array, shape, like)
        if isinstance(embed.positions, int):
            ids("position_ids", array, embed.positions, "positions", None)
    elif inputs.get("cache") is None and "position" not in (inputs.get(f"{prefix}tags") or {}):
        length(like, counted(inputs.get("input_ids"), shape, embed), embed.longest)


def counted(given: Any, shape: tuple[int, ...], embed: EmbedSpec) -> int:
    """How many tokens of the longest row have a position."""
    if embed.padding is None or given is None:
        return shape[-1]
    return int((np.asarray(given) != embed.padding).sum(-1).max())


def present(name: str, given: Any, token: int) -> None:
    """Every row holds the token by which it is pooled."""
    missing = [] if given is None else np.flatnonzero(~(np.asarray(given) == token).any(1))
    if len(missing):
        raise ValueError(
            f"{name}: row {missing[0]} holds no token {token} (eos_token_id), at whose last place "
            "this head reads its answer; end every row with it"
        )


def room(cache: Cache | None, shape: tuple[int, ...]) -> None:
    """The next tokens fit behind those already written."""
    if cache is None:
        return
    if not hasattr(cache, "nodes"):
        raise ValueError(
            f"cache is {type(cache).__name__}; expected what tj.init_cache(model, batch, length) "
            "gives, or the .cache of the call before"
        )
    batch = jax.tree.leaves(cache.nodes)[0].shape[0]
    if batch != shape[0]:
        raise ValueError(f"the input has {shape[0]} rows, but the cache was made for {batch}")
    written = int(cache.length)
    if written + shape[-1] > cache.size:
        raise ValueError(
            f"the cache holds {cache.size} tokens and {written} are written: {shape[-1]} more do "
            f"not fit; make it with init_cache(model, batch, {written + shape[-1]})"
        )


def answers(model: Model, inputs: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    """Labels of the head, by what the head predicts."""
    config, head = model.config, model.plan.head
    per_token = ("causal_lm", "masked_lm", "pretraining", "seq2seq_lm")
    marks = [mark.argument for mark in getattr(model, "marks", ())]  # checked with the tokens
    for name in model.labels:
        value = inputs.get(name)
        if value is None or name in marks:
            continue
        if name in ("next_sentence_label", "sentence_order_label") or head == "next_sentence":
            labels(name, value, 2)
            per_row(name, value, shape[0])
        elif name in ("start_positions", "end_positions"):
            integers(name, value, None)
            per_row(name, value, shape[0])
        elif head == "replaced_token":
            labels(name, value, 2, 2)
            same_shape(name, value, shape, "the input")
        elif head in per_token or head == "token_classification":
            size = config.target_vocab if head in per_token else config.num_labels
            labels(name, value, size, 2)
            same_shape(name, value, shape, "the input")
        elif head == "multiple_choice":
            labels(name, value, shape[1])
            per_row(name, value, shape[0])
        elif head == "sequence_classification":
            classes(name, value, shape[0], config.num_labels, config.problem_type)


def per_row(name: str, value: Any, rows: int, columns: int = 1) -> None:
    """One value per row, or `columns` of them."""
    shape = np.shape(value)
    expected = (rows,) if columns == 1 else (rows, columns)
    if shape not in (expected, (rows, columns)):
        raise ValueError(f"{name} has shape {shape}; expected {expected} for {rows} rows of input")


def classes(name: str, value: Any, rows: int, count: int, problem: str | None) -> None:
    """Labels of whole rows: a class, or a number for each of `count` outputs."""
    whole = np.issubdtype(np.asarray(value).dtype, np.integer)
    if problem is None:
        single = count > 1 and whole
    else:
        single = problem == "single_label_classification"
    if single:
        labels(name, value, count)
        per_row(name, value, rows)
    else:
        per_row(name, value, rows, count)
