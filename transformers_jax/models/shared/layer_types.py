"""What each layer of a decoder attends to: every token before, or a window (`layer_types`)."""

from __future__ import annotations

from typing import Any

from transformers_jax.graph import CAUSAL, FULL, Mask, Near

EVERY, WINDOW = "full_attention", "sliding_attention"


def causal(window: int | None) -> Mask:
    """Each token attends to itself and to those before it; in a window, to so many of them, itself
    included (Beltagy et al. 2020, 3.1; Jiang et al. 2023, section 2)."""
    return CAUSAL if window is None else CAUSAL & Near(left=window - 1)


def both_ways(window: int | None) -> Mask:
    """Each token attends to every token, or to those at most `window` // 2 away on either side."""
    return FULL if window is None else Near(window // 2, window // 2)


def repeated(depth: int, every: int) -> tuple[str, ...]:
    """The types of layers: each `every`-th attends to every token, the others to a window."""
    return tuple(WINDOW if (n + 1) % every else EVERY for n in range(depth))


def check_layer_types(config: Any) -> None:
    """Checks `config.types`, the type of each layer, and the window of those that have one.

    Raises:
        ValueError: another number of types than layers, an unknown type, or no window of at least
            one token.
    """
    name, types, window = type(config).__name__, config.types, config.sliding_window
    depth = config.num_hidden_layers
    if len(types) != depth or {*types} - {EVERY, WINDOW}:
        raise ValueError(
            f"{name}: layer_types {list(types)}: expected {EVERY!r} or {WINDOW!r} for each of the "
            f"{depth} layers (num_hidden_layers)"
        )
    if WINDOW in types and (window is None or window < 1):
        raise ValueError(
            f"{name}: sliding_window={window}, but layers are of the type {WINDOW!r}: expected how "
            "many tokens each token attends to, itself included; at least 1"
        )
