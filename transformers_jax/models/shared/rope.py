"""`rope_parameters` of a config.json as the rotary positions that they describe, with scalings."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

from transformers_jax import spec


def modern_rope(values: dict[str, Any], default_base: float = 10000.0) -> dict[str, Any]:
    """v4's `rope_theta`, `rope_scaling` and `partial_rotary_factor` as v5's `rope_parameters`."""
    scaling = values.pop("rope_scaling", None)
    base = values.pop("rope_theta", None)
    fraction = values.pop("partial_rotary_factor", None)
    rope = dict(scaling or values.get("rope_parameters") or {})
    rope["rope_type"] = rope.pop("type", rope.get("rope_type", "default"))
    rope.setdefault("rope_theta", default_base if base is None else base)
    if fraction is not None:
        rope.setdefault("partial_rotary_factor", fraction)
    values["rope_parameters"] = rope
    return values


def rope_by_type(
    name: str, values: dict[str, Any], bases: Mapping[str, float], scaled: Container[str]
) -> dict[str, Any]:
    """`rope_parameters` of each type of layer, whose bases are these where a file does not say it;
    v4's `rope_scaling` is that of the `scaled` types. `name` is that of the config.

    Raises:
        ValueError: settings of other types of layers.
    """
    scaling, nested = values.pop("rope_scaling", None) or {}, values.get("rope_parameters") or {}
    if unknown := sorted(set(nested) - set(bases)):
        raise ValueError(
            f"{name}: rope_parameters has {', '.join(unknown)}; expected settings for each of "
            f"{', '.join(bases)}"
        )
    rope = {}
    for kind, base in bases.items():
        own = {**(scaling if kind in scaled else {}), **(nested.get(kind) or {})}
        settings = {"rope_parameters": {"rope_theta": base, **own}}
        rope[kind] = modern_rope(settings)["rope_parameters"]
    return rope


def rotary(rope: Mapping[str, Any], positions: int) -> spec.Rotary:
    """The rotary position that `rope_parameters` describes; `positions` is the trained length.

    Raises:
        ValueError: a `rope_type` or a setting that is not implemented.
    """
    rope = dict(rope)
    kind, base = rope.pop("rope_type", "default"), float(rope.pop("rope_theta"))
    fraction = float(rope.pop("partial_rotary_factor", 1.0))
    original = rope.pop("original_max_position_embeddings", None) or positions
    makers = {
        "default": lambda: None,
        "linear": lambda: spec.LinearScaling(rope.pop("factor")),
        "dynamic": lambda: spec.DynamicScaling(rope.pop("factor"), positions),
        "yarn": lambda: spec.YarnScaling(
            factor=rope.pop("factor"),
            original=original,
            beta_fast=rope.pop("beta_fast", None) or 32.0,
            beta_slow=rope.pop("beta_slow", None) or 1.0,
            attention_factor=rope.pop("attention_factor", None),
            mscale=rope.pop("mscale", None),
            mscale_all_dim=rope.pop("mscale_all_dim", None),
            truncate=rope.pop("truncate", True),
        ),
        "longrope": lambda: long_scaling(rope, positions, original),
        "llama3": lambda: spec.Llama3Scaling(
            rope.pop("factor"), rope.pop("low_freq_factor"), rope.pop("high_freq_factor"), original
        ),
    }
    if kind not in makers:
        raise ValueError(f"rope_type {kind!r} is not implemented; known are {', '.join(makers)}")
    try:
        scaling = makers[kind]()
    except KeyError as missing:
        raise ValueError(f"rope_parameters of type {kind!r} lack {missing}") from None
    if kind == "default":
        rope.pop("factor", None)
    if rope:
        raise ValueError(f"rope_parameters of type {kind!r} have unknown settings {sorted(rope)}")
    return spec.Rotary(base, fraction, scaling)


def most_positions(rope: Mapping[str, Any], positions: int) -> int | None:
    """How many tokens a text may have under these `rope_parameters`; None: no limit."""
    # a dynamic rotation turns more slowly beyond the positions of training
    return None if rope.get("rope_type") == "dynamic" else positions


def long_scaling(rope: dict[str, Any], positions: int, original: int) -> spec.LongScaling:
    """LongRoPE's settings; the attention factor grows with the extension of the trained length."""
    factor, attention_factor = rope.pop("factor", None), rope.pop("attention_factor", None)
    factor = positions / original if factor is None else factor
    if attention_factor is None:
        attention_factor = (
            1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
        )
    short, long = tuple(rope.pop("short_factor")), tuple(rope.pop("long_factor"))
    return spec.LongScaling(short, long, original, attention_factor)
