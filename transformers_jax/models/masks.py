"""The masks of a model: those of the caller, and those that config.json stores.

A model's own masks are its family's, or those that its config.json stores under the key
`transformers_jax`, as the text that `str(mask)` prints: {"mask": "CAUSAL | Where('prefix')"}, or
{"mask": {"encoder": ..., "decoder": ..., "cross": ...}} where there are two stacks. PyTorch's
transformers ignore the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers_jax.graph import OWN, Mask, PerLayer, parse
from transformers_jax.models.config import OWN_KEY, FamilyConfig
from transformers_jax.models.frozen import Frozen

STACKS = ("encoder", "decoder", "cross", "text", "vision")
Masks = Mask | Frozen | None
"""A mask, masks by the name of a stack, or None for the model's own."""


def masks_of(mask: Any) -> Masks:
    """The caller's mask, or masks by stack, as a plan holds them; a list is a mask per layer.

    Raises:
        ValueError: something that is no mask, or an unknown stack.
    """
    masks = {
        name: PerLayer(tuple(value)) if isinstance(value, (list, tuple)) else value
        for name, value in by_stack(mask).items()
    }
    for name, value in masks.items():
        entries = value.masks if isinstance(value, PerLayer) else (value,)
        alike = Mask if isinstance(value, PerLayer) else Mask | None
        if name not in STACKS or not entries or not all(isinstance(m, alike) for m in entries):
            raise ValueError(
                f"mask={mask!r}: expected a mask such as tj.CAUSAL & tj.Same('document'), a list "
                "of masks, one per layer, or, where there are two stacks, {'encoder': ..., "
                "'decoder': ..., 'cross': ...}"
            )
    return Frozen(masks) if isinstance(mask, Mapping) else masks["decoder"]


def by_stack(mask: Any, name: str = "decoder") -> Mapping[str, Any]:
    """Masks by the name of a stack; a single one is that of the stack `name`."""
    return mask if isinstance(mask, Mapping) else {name: mask}


def over(masks: Masks, own: Masks) -> Masks:
    """The caller's masks, in which OWN stands for the model's own."""
    if masks is None or own is None:
        return own if masks is None else masks
    if not isinstance(masks, Mapping) and not isinstance(own, Mapping):
        return masks.over(own)
    new, old = by_stack(masks), by_stack(own)
    both = {name: over(new.get(name), old.get(name)) for name in {**old, **new}}
    return Frozen(both)


def stored(config: FamilyConfig, head: str) -> Masks:
    """The masks that a config stores for a model with this head, and those of the configs inside.

    Raises:
        ValueError: something else under the key than masks in words.
    """
    parts = {field.removesuffix("_config"): getattr(config, field) for field in config.PARTS}
    inner = {name: stored(part, "none") for name, part in parts.items()}
    inner = {name: mask for name, mask in inner.items() if mask is not None}
    return over(_fitting(_read(config), config.mask_names(head)), Frozen(inner) if inner else None)


def _read(config: FamilyConfig) -> Masks:
    """The masks of the whole model that a config stores."""
    entry = getattr(config, OWN_KEY)
    if entry is None:
        return None
    try:
        if set(entry) != {"mask"}:
            raise ValueError(f"expected only the key 'mask', got {sorted(entry)}")
        texts = entry["mask"]
        if isinstance(texts, Mapping):
            return masks_of({name: parse(text) for name, text in texts.items()})
        return masks_of(parse(texts))
    except ValueError as error:
        raise ValueError(
            f"config.json, key {OWN_KEY!r}: {error}; take the key out for the family's own mask"
        ) from None


def _fitting(masks: Masks, names: tuple[str, ...]) -> Masks:
    """Of the masks of a whole model those of the stacks that a head has; `names` are the config's
    `mask_names`: () for one stack, which is the decoder where there were two."""
    if masks is None:
        return None
    if not names:
        return masks.get("decoder") if isinstance(masks, Mapping) else masks
    each = by_stack(masks).items()
    fitting = {name: mask for name, mask in each if name in names and mask is not None}
    return Frozen(fitting) if fitting else None


def written(masks: Masks, names: tuple[str, ...]) -> Frozen | None:
    """The masks in words, as config.json stores them; None where all are the family's own."""
    if isinstance(masks, Mask) and names:
        masks = Frozen({"decoder" if "decoder" in names else names[0]: masks})
    if isinstance(masks, Mapping):
        texts = {n: str(m) for n, m in masks.items() if m is not None and m != OWN}
        return Frozen({"mask": texts}) if texts else None
    return None if masks is None or masks == OWN else Frozen({"mask": str(masks)})


def without(config: FamilyConfig) -> FamilyConfig:
    """The config, and the configs inside, without stored masks."""
    changes: dict[str, Any] = {OWN_KEY: None}
    changes |= {field: without(getattr(config, field)) for field in config.PARTS}
    return config.replace(**changes)


def by_layer(masks: Masks) -> bool:
    """Whether layers of a stack differ by a mask of the caller's."""
    each = [mask for mask in by_stack(masks).values() if mask is not None]
    return any(isinstance(part, PerLayer) for mask in each for part in mask.parts())
