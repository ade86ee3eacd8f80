"""Layers, positions and masks in words, and masks drawn as text."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transformers_jax import spec
from transformers_jax.graph import Mask
from transformers_jax.models.base import Model

DRAWN = 8  # tokens in the drawing of a mask


@dataclass(frozen=True)
class Layers:
    """Consecutive layers of a stack that are alike; `branches` says what each does, in order."""

    stack: str
    first: int
    last: int
    branches: tuple[tuple[str, str], ...]  # (kind, what it does)
    masks: tuple[tuple[str, str], ...]  # (kind, expression)
    position: str


def describe_layers(model: Model) -> Iterator[Layers]:
    """The layers of every stack, alike ones together."""
    for name, stack in model.stacks().items():
        every = [_layer_in_words(branches) for branches in stack.spec.applied]
        score = in_words(stack.spec.score)
        start = 0
        for (branches, masks, rotary), group in itertools.groupby(every):
            count = len(list(group))
            position = ", ".join(part for part in (rotary, score) if part)
            yield Layers(name, start, start + count - 1, branches, masks, position or "-")
            start += count


def _layer_in_words(branches: tuple[spec.Branch, ...]):
    does = tuple(
        (b.name, b.op.describe() + (f", {b.placement}-{type(b.norm).__name__}" if b.norm else ""))
        for b in branches
    )
    attends = [(b.name, b.op) for b in branches if b.op.drawn]
    masks = tuple((name, str(mask)) for name, op in attends for mask in op.masks)
    positions = (in_words(record) for _, op in attends for record in (op.rotary, op.score))
    return does, masks, next((text for text in positions if text), "")


def in_words(record: Any) -> str:
    """A record of `spec` about positions, in a few words; nothing for None."""
    if record is None:
        return ""
    if isinstance(record, spec.GridRotary):
        return f"rotary, of the places of patches, base {record.base:g}"
    if isinstance(record, spec.GridBias):
        rows, columns = record.grid
        return f"a learned bias of the offsets on a grid of {rows} x {columns}"
    if isinstance(record, spec.Rotary):
        part = "" if record.fraction == 1 else f", {record.fraction:.0%} of each head"
        scaling = "" if record.scaling is None else f", {in_words(record.scaling)}"
        return f"rotary, base {record.base:g}{part}{scaling}"
    if isinstance(record, spec.Buckets):
        way = "the past" if record.directed else "both sides"
        return f"{record.buckets} learned buckets of distance, {way}, up to {record.far}"
    if isinstance(record, spec.Alibi):
        return "ALiBi"
    if isinstance(record, spec.RelativeTable):
        return f"{record.rows} learned relative positions{', normalised' if record.norm else ''}"
    if isinstance(record, spec.Disentangled):
        way = "" if record.far is None else f", in buckets up to {record.far}"
        return f"disentangled from content, up to a distance of {record.reach}{way}"
    fields = ((f.name, getattr(record, f.name), f.default) for f in dataclasses.fields(record))
    changed = ", ".join(f"{name}={value:g}" for name, value, usual in fields if value != usual)
    return f"{type(record).__name__}({changed})"


# ---------------------------------------------------------------- masks


def masks(model: Model) -> dict[str, Mask]:
    """Every distinct mask of the model, by what it is for: {"stack self": CAUSAL}."""
    named: dict[str, Mask] = {}
    for name, stack in model.stacks().items():
        for kind in ("self", "cross"):
            different = stack.masks(kind)
            for number, mask in enumerate(different):
                named[f"{name} {kind}" + (f" {number}" if number else "")] = mask
    return named


def drawings(model: Model) -> dict[str, str]:
    """The drawing of every mask that can be drawn over plain tokens."""
    return {
        str(mask): mask.draw(DRAWN) for mask in dict.fromkeys(masks(model).values()) if plain(mask)
    }


def plain(mask: Mask) -> bool:
    """Whether a mask compares nothing but the tokens' positions."""
    return not mask.pairs and mask.tags <= {"index", "position"}
