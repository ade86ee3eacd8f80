"""How the tokens of predictions are drawn, of a task that writes texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from transformers_jax.settings import Settings
from transformers_jax.tasks import TASKS, Task


@dataclass(frozen=True)
class Sampling(Settings):
    """Tokens are drawn where a temperature or top_p is given; else the likeliest are taken.

    Raises:
        ValueError: a seed where nothing is drawn, or one of more than 64 bits.
    """

    temperature: float | None = None
    """what scores are divided by before tokens are drawn"""
    top_p: float | None = None
    """tokens are drawn from the likeliest, with this probability (Holtzman et al. 2019)"""
    seed: int | None = None
    """of what is drawn, 0 by default; same seed, same texts"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed is not None and not self.draws:
            raise ValueError(
                f"seed ({self.seed}) is of tokens that are drawn, and the likeliest are taken: "
                "give temperature or top_p"
            )
        if not -(2**63) <= (self.seed or 0) < 2**63:
            raise ValueError(f"seed ({self.seed}) must fit in a signed 64-bit integer")

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn."""
        return self.temperature is not None or self.top_p is not None

    def options(self, first: int, number: int) -> dict[str, Any]:
        """Arguments of `generate` for a batch, by the first record of those that are sorted
        together and the number of the batch among theirs; {} where nothing is drawn."""
        if not self.draws:
            return {}
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed or 0), first), number)
        chosen = {"temperature": self.temperature, "top_p": self.top_p}
        named = {name: value for name, value in chosen.items() if value is not None}
        return {"do_sample": True, "key": key, **named}


def check_written(task: Task, settings: Mapping[str, Any]) -> None:
    """Raises ValueError for settings of texts that are written, of a task that writes none."""
    names = ("max_new_tokens", *(field.name for field in dataclasses.fields(Sampling)))
    wrong = [name for name in names if name in settings]
    if wrong and not task.generates:
        writing = [name for name, kind in TASKS.items() if kind().generates]
        raise ValueError(
            f"{', '.join(wrong)}: of texts that are written, and {type(task).__name__} writes "
            f"none; those that do are {', '.join(writing)}"
        )
