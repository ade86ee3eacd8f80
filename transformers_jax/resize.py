"""Resizes the vocabulary of a model: embeddings and output embeddings get further rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Key, check_key
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.param import axes, bind, draw, flatten, is_constant, params, unflatten
from transformers_jax.sizes import check_count

ROWS = ("draw", "mean")


def resize_embeddings(
    model: Model,
    vocab_size: int,
    *,
    key: Key | None = None,
    rows: Literal["draw", "mean"] = "draw",
    pad_to_multiple_of: int | None = None,
    side: Literal["encoder", "decoder"] | None = None,
    shrink: bool = False,
) -> Model:
    """The model for a vocabulary of another size, with a config that says so: its token
    embeddings, its output embedding (tied ones stay tied) and their biases get further rows.

    The old rows stay bit for bit as they were, so old tokens keep their logits.

    Args:
        vocab_size: of the new model; for a tokenizer, `tokenizer.max_id + 1`. Where the last tokens
            have a table of their own (`additional_vocab_size` of Idefics), they are counted, and
            it is that table that is resized.
        key: from which new rows are drawn, each as the family draws its table.
        rows: "draw", or "mean": new rows are the mean of the old ones (Hewitt 2021), so that new
            tokens are as likely as an average one. Biases begin at 0.
        pad_to_multiple_of: makes the size a multiple, for a mesh or for faster products; the rows
            beyond `vocab_size` belong to no token.
        side: which vocabulary to resize, of a model with one for each of its sides.
        shrink: whether the last rows may be cut off. Their tokens are lost.

    The optimizer's state is of the old shapes: make a new one.

    Raises:
        ValueError: fewer rows without `shrink`, special tokens of the config that would be cut
            off, no key where rows are drawn, a model without a vocabulary, or with two vocabularies
            and no `side`, or a size that its tables or its mesh cannot have.
    """
    check_model(model, "resize_embeddings")
    multiple = 1 if pad_to_multiple_of is None else pad_to_multiple_of
    check_count("vocab_size", vocab_size)
    check_count("pad_to_multiple_of", multiple)
    if rows not in ROWS:
        raise ValueError(f"rows={rows!r}: expected 'draw' or 'mean'")
    size = -(-int(vocab_size) // int(multiple)) * int(multiple)
    config, old_size = resized(model.config, size, side, getattr(model, "texts", ()))
    if size < old_size:
        _check_shrinking(model, old_size, size, shrink)
    plan = dataclasses.replace(model.plan, config=config)
    new = plan.build()
    named, shapes, values = (flatten(tree) for tree in (axes(new), params(new), params(model)))
    drawn = {
        path: shapes[path].shape
        for path in values
        if shapes[path].shape != values[path].shape and "vocab" in named[path]
    }
    if size != old_size and not drawn:  # the config states words that nothing reads or scores
        raise ValueError(_none(model.config))
    random = [path for path in drawn if not is_constant(new, path)] if size > old_size else []
    if key is not None:
        check_key(key)
    elif random and rows == "draw":
        raise ValueError(
            f"new rows of {', '.join(random)} are drawn: give key=jax.random.key(seed), or "
            "rows='mean'"
        )
    for path, shape in drawn.items():
        axis = named[path].index("vocab")
        old = values[path]
        if size <= old_size:
            grown = jax.lax.slice_in_dim(old, 0, shape[axis], axis=axis)
        else:
            fresh = _fresh(new, path, old, axis, rows, key)
            grown = jnp.concatenate([old, fresh], axis=axis)
        assert grown.shape == shape, (path, grown.shape, shape)
        values[path] = jax.device_put(grown, _sharding(path, old, shape))
    return bind(new, unflatten(values))


def _none(config: Any) -> str:
    return f"{config.model_type} has no vocabulary: there are no rows to add"


def resized(
    config: Any, size: int, side: str | None, text: Sequence[str]
) -> tuple[FamilyConfig, int]:
    """The config for a vocabulary of the size, and the size that it had.

    Args:
        text: the towers that read text, where encoder and decoder are of two families.

    Raises:
        ValueError: no vocabulary, two and no `side`, or one that cannot have the size.
    """
    parts: dict[str, Any] = {name: getattr(config, name, None) for name in ("encoder", "decoder")}
    if all(isinstance(part, FamilyConfig) for part in parts.values()):  # two families
        old = {name: part.vocab_size for name, part in parts.items() if name in text}
        if side is None and len(old) == 1:  # an encoder of images or sound has none
            (side,) = old
        new = {name: {name: parts[name].replace(vocab_size=size)} for name in old}
    elif getattr(config, "vocab_size", None) is None:
        raise ValueError(_none(config))
    elif "vocab_size" not in {field.name for field in dataclasses.fields(config)}:
        inner, rows = resized(config.text_config, size, side, text)  # of the language model
        return config.replace(text_config=inner), rows
    elif not getattr(config, "share_encoder_decoder_embeddings", True):
        old = {"encoder": config.vocab_size, "decoder": config.target_vocab}
        own = {"encoder": "vocab_size", "decoder": "decoder_vocab_size"}
        both = {own[name]: rows for name, rows in old.items()}
        new = {name: {**both, field: size} for name, field in own.items()}
    else:
        if side is not None:
            raise ValueError(f"side={side!r}: {config.model_type} has one vocabulary; leave it out")
        return _with_words(config, size)
    if len(old) == 1 and side not in old:
        raise ValueError(f"side={side!r}: only the {next(iter(old))} reads text; leave side out")
    if side not in old:
        sizes = ", ".join(f"{rows} tokens of the {name}" for name, rows in old.items())
        raise ValueError(
            f"side={side!r}: this model has two vocabularies ({sizes}); say side='encoder' or "
            "side='decoder'"
        )
    return config.replace(**new[side]), old[side]


def _with_words(config: Any, size: int) -> tuple[FamilyConfig, int]:
    """The config with one vocabulary, of the size, and the size that it had."""
    if getattr(config, "additional_vocab_size", None):  # the last tokens have their own table
        if size <= config.vocab_size:
            raise ValueError(
                f"vocab_size={size}: the first {config.vocab_size} tokens of {config.model_type} "
                f"have a table of their own, which stays; give at least {config.vocab_size + 1}"
            )
        changed = config.replace(additional_vocab_size=size - config.vocab_size)
        return changed, config.target_vocab
    second = getattr(config, "decoder_vocab_size", None)
    further = {} if second is None else {"decoder_vocab_size": size}
    return config.replace(vocab_size=size, **further), config.vocab_size


def _check_shrinking(model: Model, old: int, size: int, shrink: bool) -> None:
    if not shrink:
        raise ValueError(
            f"vocab_size ({size}) is less than the {old} rows that there are: the last "
            f"{old - size} tokens would be cut off; pass shrink=True to cut them off"
        )
    gone = [
        f"{name}={i}"
        for name, value in {**vars(model.config), **model.generation_config}.items()
        if name.endswith("_token_id")
        for i in (value if isinstance(value, (tuple, list)) else (value,))
        if i is not None and size <= i < old
    ]
    if gone:
        raise ValueError(
            f"with {size} rows there is no {', '.join(gone)}; keep at least as many rows as the "
            "special tokens of the config need"
        )


def _fresh(new: Model, path: str, old: Array, axis: int, rows: str, key: Key | None) -> Array:
    """The rows after the old ones."""
    count = old.shape[axis]
    if rows == "mean" and old.ndim > 1:
        mean = old.astype(jnp.float32).mean(axis, keepdims=True).astype(old.dtype)
        shape = dict(enumerate(flatten(params(new))[path].shape))
        shape[axis] -= count
        return jnp.broadcast_to(mean, tuple(shape.values()))
    whole = draw(new, path, jax.random.key(0) if key is None else key, None, old.dtype)
    return jax.lax.slice_in_dim(whole, count, whole.shape[axis], axis=axis)


def _sharding(path: str, old: Any, shape: tuple[int, ...]) -> Any:
    """The sharding of the old array, for the new shape."""
    try:
        old.sharding.shard_shape(shape)
    except ValueError:
        raise ValueError(
            f"{path}: its {shape} cannot be divided as its {old.shape} are ({old.sharding.spec}); "
            "pass pad_to_multiple_of= the size of that axis of the mesh"
        ) from None
    return old.sharding
