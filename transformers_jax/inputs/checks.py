"""Checks of inputs, before anything is compiled.

JAX clamps, wraps or drops indices that are out of range, each silently, and broadcasts what has the
wrong shape. Every check names the argument, the index, the value and what was expected.

Names, shapes and dtypes are known under any transformation of JAX, and are checked there; values
where there are some (`readable`). A wrong one is otherwise NaN: a compiled program cannot raise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.graph import Dense, Mask, Same
from transformers_jax.inputs import edges
from transformers_jax.inputs.arguments import dtype_of, holds, kind_of, readable


class OtherSize(ValueError):
    """Images are of a size that a model does not read.

    Attributes:
        trained: height and width that it was made for.
        patch: height and width of what it cuts them into.
    """

    def __init__(
        self, size: Sequence[int], trained: Sequence[int], patch: Sequence[int], said: str = ""
    ):
        self.trained, self.patch = tuple(trained), tuple(patch)
        said = said or (
            f"but the model was made for {trained[0]} x {trained[1]}: resize them, or give "
            "interpolate_pos_encoding=True"
        )
        super().__init__(f"pixel_values are of {size[0]} x {size[1]} pixels, {said}")


def at(array: np.ndarray, wrong: np.ndarray) -> str:
    """The index and the value of the first wrong entry: "[1, 7] is 99"."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{list(index)} is {array[index]}"


def exceeds(count: Any, limit: Any) -> bool:
    """Whether count > limit; False where a symbolic size (of jax.export) leaves it open."""
    try:
        return bool(count > limit)
    except jax.errors.InconclusiveDimensionOperation:
        return False


def integers(name: str, value: Any, rank: int | None = 2) -> np.ndarray | None:
    """The array, if it holds integers and has the rank; None if it cannot be read now."""
    if not holds(value, jnp.integer):
        texts = "; give texts as texts= with tokenizer=" if dtype_of(value).kind == "U" else ""
        raise ValueError(f"{name} must hold integers, but its dtype is {dtype_of(value)}{texts}")
    if rank is not None and np.ndim(value) != rank:
        one = "; a row is a batch of one: [row]" if np.ndim(value) == rank - 1 else ""
        raise ValueError(f"{name} must have {rank} axes, but its shape is {np.shape(value)}{one}")
    return readable(value)


def ids(
    name: str,
    value: Any,
    size: int,
    what: str = "vocabulary",
    rank: int | None = 2,
    first: int = 0,
) -> None:
    """Ids lie in [first, size)."""
    if 0 in np.shape(value):
        raise ValueError(f"{name} is empty (shape {np.shape(value)}); give at least one token")
    array = integers(name, value, rank)
    if array is None or (array.min() >= first and array.max() < size):
        return
    wrong = (array < first) | (array >= size)
    raise ValueError(
        f"{name}{at(array, wrong)}, outside the {what} [{first}, {size}); "
        "check that tokenizer and model belong together"
    )


def vectors(name: str, value: Any, width: int, rank: int = 3) -> None:
    """Embeddings that are passed in place of ids have the width of the model's."""
    if np.ndim(value) != rank or np.shape(value)[-1] != width:
        raise ValueError(
            f"{name} has shape {np.shape(value)}; expected {rank} axes, the last of {width}"
        )
    floats(name, value)


def floats(name: str, value: Any) -> None:
    """The array holds floating-point numbers."""
    if not holds(value, jnp.floating):
        raise ValueError(f"{name} must hold floating-point numbers, not {dtype_of(value)}")


def finite(name: str, value: Any) -> None:
    """No number of the array is infinite or NaN, as far as they can be read."""
    array = readable(value)
    if array is not None and not np.isfinite(array).all():
        raise ValueError(
            f"{name}{at(array, ~np.isfinite(array))}; expected finite numbers: look for an empty "
            "or damaged recording"
        )


def encoded(outputs: Any, width: int | None = None) -> None:
    """The output of an encoder is a record of states of its width."""
    if not isinstance(outputs, Mapping) or "last_hidden_state" not in outputs:
        raise ValueError(
            f"encoder_outputs is {kind_of(outputs)}; expected what model.encode(...)"
            " gives, or {'last_hidden_state': Float[B S D]}"
        )
    if width is not None:
        vectors("encoder_outputs['last_hidden_state']", outputs["last_hidden_state"], width)


def encoded_from(
    inputs: Mapping[str, Any], shape: tuple[int, ...], of: tuple[int, ...], ids: str = "input_ids"
) -> None:
    """The source passed with an encoder's states [B S D] is the one encoded, `of` [B S]."""
    if tuple(shape) != tuple(of):
        name = "inputs_embeds" if "inputs_embeds" in inputs else ids
        raise ValueError(
            f"{name} have {tuple(shape)} and encoder_outputs are of {tuple(of)} (rows, "
            f"tokens); give the {name} that were encoded, or only encoder_outputs"
        )


def same_shape(name: str, value: Any, shape: tuple[int, ...], like: str) -> None:
    """One value per token."""
    if np.shape(value) != tuple(shape):
        raise ValueError(f"{name} has shape {np.shape(value)}, but {like} has {tuple(shape)}")


def shared_shape(name: str, value: Any, shape: tuple[int, ...], like: str) -> None:
    """One value per token, or one row of them for all rows."""
    if np.shape(value) != (1, *shape[1:]):
        same_shape(name, value, shape, like)


GRAPHS = "other graphs are masks: from_pretrained(..., mask=), pairs="


def mask(name: str, value: Any, shape: tuple[int, ...], like: str) -> None:
    """An attention mask is 1 (or True) for tokens and 0 for padding, one number per token.

    It is never of floats: an additive mask has 0 for a token, which would be read as padding, and
    the two differ only in their values.
    """
    if not holds(value, jnp.integer, jnp.bool_):
        raise ValueError(
            f"{name} must hold integers or booleans (1 for a token, 0 for padding), but its dtype "
            f"is {dtype_of(value)}; give {name} > 0.5, or of an additive mask (0 and -inf) "
            f"{name} == 0"
        )
    if np.ndim(value) != len(shape):
        raise ValueError(
            f"{name} has shape {np.shape(value)}, but {like} has {tuple(shape)} ({GRAPHS})"
        )
    same_shape(name, value, shape, like)
    array = readable(value)
    if array is not None and (array.min(initial=0) < 0 or array.max(initial=0) > 1):
        wrong = (array != 0) & (array != 1)
        raise ValueError(
            f"{name}{at(array, wrong)}; expected 1 for a token and 0 for padding ({GRAPHS})"
        )


def length(name: str, count: int | None, limit: int | None) -> None:
    """A row is no longer than the learned positions; None where its tokens cannot be counted."""
    if limit is not None and count is not None and exceeds(count, limit):
        raise ValueError(
            f"{name} has {count} tokens, but the model has {limit} positions; "
            f"truncate to {limit} or use a model with more"
        )


# ---------------------------------------------------------------- all inputs of a model


def tags(
    argument: str,
    values: Mapping[str, Any] | None,
    masks: Sequence[Mask],
    shape: tuple[int, ...],
    positions: int | None = None,
) -> None:
    """Every tag that is passed is read by some mask, or is `position`; one integer per token."""
    if not values:
        return
    if ignored := sorted(set(values) - {"position"}.union(*(mask.tags for mask in masks))):
        raise ValueError(
            f"{argument} {ignored} are read by no mask of this model ({shown(masks)}); "
            f"load it with a mask that compares them, e.g. mask=tj.OWN & tj.Same({ignored[0]!r})"
        )
    for name, tag in values.items():
        integers(f"{argument}[{name!r}]", tag)
        shared_shape(f"{argument}[{name!r}]", tag, shape, "the input")
    if "position" in values and positions is not None:
        ids(f"{argument}['position']", values["position"], positions, "positions")


def pairs(
    values: Mapping[str, Any] | None,
    masks: Sequence[Mask],
    rows: int | None = None,
    sides: Mapping[str, tuple[Any, Any]] | None = None,
    features: frozenset[str] = frozenset(),
) -> None:
    """Every array of pairs that is passed is read by a mask, or by scores (`features`), and has the
    queries and keys that `sides` says of it, as far as these are known."""
    if not values:
        return
    if ignored := sorted(set(values) - features.union(*(mask.pairs for mask in masks))):
        raise ValueError(
            f"pairs {ignored} are read by no mask of this model ({shown(masks)}); "
            f"load it with a mask that reads them, e.g. mask=tj.Dense({ignored[0]!r})"
        )
    for name in values.keys() - edges.lists(values, masks, sides or {}):
        queries, keys = (sides or {}).get(name, (None, None))
        shape = np.shape(values[name])
        expected = (("b", (1, rows)), ("T", (queries,)), ("S", (keys,)))
        ranks = (3, 4, 5) if name in features else (3,)
        fits = len(shape) in ranks and all(
            None in sizes or size in sizes for size, (_, sizes) in zip(shape, expected)
        )
        if not fits:
            known = [letter if sizes[-1] is None else sizes[-1] for letter, sizes in expected]
            raise ValueError(
                f"pairs[{name!r}] has shape {shape}; expected ({', '.join(map(str, known))}): rows "
                "(or 1 for all), queries, keys"
            )


def shown(masks: Sequence[Mask]) -> str:
    """The masks as one would type them."""
    return ", ".join(sorted({str(mask) for mask in masks}))


def packed_documents(
    masks: Sequence[Mask], inputs: Mapping[str, Any], offset: int = 0, prefix: str = ""
) -> None:
    """Positions that start anew within a row mean packed documents, which some mask must separate.
    `offset` is that of position 0 among `position_ids`."""
    name, placed = f"{prefix}tags['position']", inputs.get(f"{prefix}tags", {}).get("position")
    first = 0
    if placed is None:  # these are rows of the table
        name, first = f"{prefix}position_ids", offset
        placed = inputs.get(name)
    array = None if placed is None else readable(placed)
    if array is None or array.ndim != 2 or array.shape[1] < 3:
        return
    valid = inputs.get(f"{prefix}attention_mask")
    real = np.ones(array.shape, bool) if valid is None else readable(valid)
    if real is None:
        return
    array, real = np.broadcast_arrays(array, real > 0)
    before, here = array[:, :-1], array[:, 1:]
    begins, both = np.isin(here, (0, first)), real[:, :-1] & real[:, 1:]
    # every token counts on or begins anew (a permutation does neither), and one that begins is
    # followed: zeros that fill a row up are no documents
    counts_on = here == before + 1
    anew = both & begins & (before > here)
    anew &= np.pad(counts_on[:, 1:], ((0, 0), (0, 1)))
    anew &= (counts_on | begins | ~both).all(1, keepdims=True)
    divided = any(isinstance(part, (Same, Dense)) for mask in masks for part in mask.parts())
    if anew.any() and not divided:
        row, column = (int(i) for i in np.argwhere(anew)[0])
        raise ValueError(
            f"{name}: positions start anew at {[row, column + 1]}, as in rows of several documents,"
            f" but no mask of this model ({shown(masks)}) separates documents; load it with "
            f"mask=tj.OWN & tj.Same('document') and give {prefix}tags={{'document': Int[B T]}}"
        )


def present(name: str, value: Any, token: int) -> None:
    """Every row holds the token whose state is pooled."""
    array = None if value is None else readable(value)
    missing: np.ndarray | list[int] = (
        [] if array is None else np.flatnonzero(~(array == token).any(1))
    )
    if len(missing):
        raise ValueError(
            f"{name}: row {missing[0]} holds no token {token} (eos_token_id), the last of which "
            "this head pools; end every row with it"
        )


def source_with_cache(cache: Any, inputs: Mapping[str, Any], names: Sequence[str]) -> None:
    """With a cache, which was made from a source, arguments of another source are refused."""
    passed = [name for name in names if name in inputs]
    if cache is not None and passed:
        raise ValueError(
            f"{', '.join(passed)}: not read with a cache, which was made from its source; give "
            "them to model.encode, and its output to init_cache(..., encoder_outputs=)"
        )


def cache_dtype(dtype: Any) -> Any:
    """The dtype in which a cache stores keys and values: a floating one, or int8."""
    try:
        known = jnp.dtype(dtype)
    except TypeError:
        known = None
    if known is None or (known != jnp.int8 and not jnp.issubdtype(known, jnp.floating)):
        raise ValueError(
            f"init_cache: dtype={dtype!r}: keys and values are stored as floating-point numbers "
            '("float32", "bfloat16") or as "int8" with scales'
        )
    return known


def room(cache: Any, shape: tuple[int, ...], mask: Any = None) -> None:
    """The next tokens fit after those already written; where rows have lengths of their own,
    without the padding that `mask` says."""
    if cache is None:
        return
    if not hasattr(cache, "nodes"):
        raise ValueError(
            f"cache is {kind_of(cache)}; expected what tj.init_cache(model, batch, length) "
            "gives, or the .cache of the call before"
        )
    if (batch := jax.tree.leaves(cache.nodes)[0].shape[0]) != shape[0]:
        raise ValueError(f"the input has {shape[0]} rows, but the cache was made for {batch}")
    if np.ndim(cache.length) and mask is not None and readable(mask) is None:
        return  # how much of it is padding, which is not written, is not known
    if exceeds(shape[-1], cache.size):
        raise ValueError(
            f"the cache holds {cache.size} tokens: {shape[-1]} do not fit; make it with "
            f"init_cache(model, batch, {shape[-1]})"
        )
    written, more = readable(cache.length), np.array(shape[-1])
    if written is not None and np.ndim(written):
        more = more if mask is None else (np.asarray(readable(mask)) > 0).sum(-1)
    if written is not None and exceeds(int((written + more).max()), cache.size):
        row = int(np.argmax(written + more))
        flat = lambda n: int(np.broadcast_to(n, np.shape(cache.length)).flat[row])
        written, more = flat(written), flat(more)
        raise ValueError(
            f"the cache holds {cache.size} tokens and {written} are written: {more} more do "
            f"not fit; make it with init_cache(model, batch, {written + more})"
        )
