"""What each layer of a decoder attends to: every token before, or a window (`layer_types`)."""

from __future__ import annotations

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


class Windowed:
    """What a config in front of whose bases it stands has more: layers that attend to every token
    before, or to a window of them. It is no config itself, or its defaults would be theirs.

    Raises:
        ValueError: another number of `layer_types` than layers, an unknown one, or no window of at
            least one token where a layer has one.
    """

    num_hidden_layers: int
    sliding_window: int | None
    layer_types: tuple[str, ...] | None = None

    def __post_init__(self):
        super().__post_init__()  # type: ignore[misc]  # of the config
        name, types, window = type(self).__name__, self.types, self.sliding_window
        depth = self.num_hidden_layers
        if len(types) != depth or {*types} - {EVERY, WINDOW}:
            raise ValueError(
                f"{name}: layer_types {list(types)}: expected {EVERY!r} or {WINDOW!r} for each of "
                f"the {depth} layers (num_hidden_layers)"
            )
        if WINDOW in types and (window is None or window < 1):
            raise ValueError(
                f"{name}: sliding_window={window}, but layers are of the type {WINDOW!r}: expected "
                "how many tokens each token attends to, itself included; at least 1"
            )

    @property
    def types(self) -> tuple[str, ...]:
        """The type of each layer."""
        return self.usual_types if self.layer_types is None else self.layer_types

    @property
    def usual_types(self) -> tuple[str, ...]:
        """The types where the config lists none."""
        return (EVERY if self.sliding_window is None else WINDOW,) * self.num_hidden_layers

    def window(self, number: int) -> int | None:
        """How many tokens each token of a layer attends to; None: every one before it."""
        return self.sliding_window if self.types[number] == WINDOW else None

    def sees(self, number: int) -> Mask:
        """Which tokens each token of a layer attends to."""
        return causal(self.window(number))
