"""Steps whose update was left out, because it was not finite or a spike: said, or the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers_jax.training.config import TrainConfig
from transformers_jax.training.spikes import WINDOW


class LeftOut:
    """Looks at the metrics of each step, once.

    Args:
        start: the step before the first.
        leaves: the names of the parameters, in the order of `jax.tree.leaves`.
        say: prints a line.
    """

    def __init__(
        self, config: TrainConfig, start: int, leaves: Sequence[str], say: Callable[[str], None]
    ):
        self.config, self.leaves, self.say = config, leaves, say
        self._checked, self._in_a_row = start, 0

    def check(self, number: int, metrics: Mapping[str, Any]) -> None:
        """Says that the update of a step was left out.

        Raises:
            FloatingPointError: it ends the run, by `on_nonfinite` or `on_spike`, or because too
                many in a row were skipped.
        """
        if number == self._checked:
            return
        self._checked = number
        spike = bool(metrics.get("spike", False))
        if bool(metrics["finite"]) and not spike:
            self._in_a_row = 0
            return
        config = self.config
        what = far(number, metrics) if spike else self._not_finite(number, metrics)
        self._in_a_row += 1
        if (config.on_spike if spike else config.on_nonfinite) == "abort":
            option = "--on-spike skip" if spike else "--on-nonfinite skip"
            raise FloatingPointError(
                f"{what}; its update was not applied and the last checkpoint is intact. Go on "
                "from it with a lower --optimizer.peak and --allow-change optimizer.peak, or a "
                f"lower --clip and --allow-change clip, or pass {option}"
            )
        self.say(f"WARNING: {what}; skipped")
        if self._in_a_row > config.max_skipped:
            raise FloatingPointError(
                f"{what}; {self._in_a_row} steps in a row were skipped (--max-skipped "
                f"{config.max_skipped}), the last checkpoint is intact"
            )

    def _not_finite(self, number: int, metrics: Mapping[str, Any]) -> str:
        loss, first = float(metrics["loss"]), int(metrics["first_nonfinite"])
        leaf = self.leaves[first] if first >= 0 else None
        where = f", first in the gradient of {leaf}" if leaf else ""
        if not math.isfinite(loss):
            return f"the loss of step {number} is {loss}{where}"
        if not math.isfinite(metrics["gradient_norm"]):
            return f"the gradient of step {number} is not finite{where}"
        where = f"first in {leaf}" if leaf else "in the optimizer's state"
        return f"the update of step {number} is not finite, {where}"


def far(number: int, metrics: Mapping[str, Any]) -> str:
    """A spike in words, by the figure that is farther above its mean."""
    names = {"loss": "loss", "gradient_norm": "gradient norm"}
    name = max(names, key=lambda name: float(metrics[f"{name}_deviation"]))
    return (
        f"the {names[name]} of step {number} is {float(metrics[name]):.4g}, "
        f"{float(metrics[f'{name}_deviation']):.1f} standard deviations above the mean of the last "
        f"{WINDOW} updates"
    )
