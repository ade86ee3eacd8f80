"""What tasks have in common that learn to act of recorded episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transformers_jax.acting.named import environment
from transformers_jax.acting.rollout import Episodes
from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.episodes import ASKED, COLUMNS
from transformers_jax.tasks.figures import scatter_of
from transformers_jax.tasks.rows import NUMBER, Rows


@dataclass(frozen=True)
class Decisions(Task):
    """Recorded episodes to learn from: a table with columns "states", "actions" and "rewards", an
    episode in each record. Actions are numbers of a choice, 0 and up, or vectors.

    In evaluations the model acts in the environment, once for each held-out episode: asked for
    `target_return`, or for what that episode returned.

    Raises:
        ValueError: settings that are no sizes.
    """

    environment: str = "cartpole"
    """where evaluations act: cartpole, or gymnasium:NAME"""
    context: int = 20
    """steps that are read together"""
    target_return: float | None = None
    """the return that evaluations ask for; by default that of each held-out episode"""

    metric: ClassVar[str] = "return"
    reads: ClassVar[tuple[str, ...]] = ()
    needed: ClassVar[tuple[str, ...]] = ()
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = COLUMNS
    answered: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[bool] = True
    peak: ClassVar[float] = 1e-3
    withheld: ClassVar[tuple[str, ...]] = (NUMBER, ASKED)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("objective.", context=1)

    def tabled(self, data: Table) -> Table:
        """All rows are of one length: none are sorted by it."""
        return dataclasses.replace(data, rows="padded") if data.rows == "bucketed" else data

    def columns(self, data, records: Records, *, answered=True):
        columns = super().columns(data, records, answered=answered)
        if missing := [role for role in COLUMNS if role not in columns]:
            raise ValueError(
                f"{records.name} has the columns {', '.join(map(repr, records.columns))}, and none "
                f"of {', '.join(map(repr, COLUMNS[missing[0]]))}: a record is an episode, with "
                "lists of its states, actions and rewards"
            )
        return columns

    def used(self, train, held_out):
        """Trained on are as many parts of an episode as it is long."""
        examples: Any = train.examples
        every = examples.every()
        return Rows(train.records, every, every.owners, train.references), held_out

    def measure(self, model, batch):
        return self.minimise(model, batch, None)[1], {}

    # ------------------------------------------------------------ answers

    def acted(self, model: Any, asked: np.ndarray, seeds: Sequence[int]) -> Episodes:
        """Episodes of a model, each asked for a return."""
        raise NotImplementedError

    def write(self, model: Any, batch: Mapping[str, Any], **options: Any) -> dict[str, np.ndarray]:
        """What the model obtains in an episode for each row of a batch, whose number is its seed,
        and what it was asked for."""
        numbers = np.asarray(batch[NUMBER])
        asked = np.asarray(batch[ASKED])[:, 0].astype(np.float64)
        if self.target_return is not None:
            environment(self.environment).check_return(self.target_return)
            asked = np.full(len(numbers), self.target_return)
        asked[numbers < 0] = asked[0]
        episodes = self.acted(model, asked, np.maximum(numbers, 0).tolist())
        return {"obtained": episodes.returns, "asked": asked, NUMBER: numbers}

    def metrics(self, answers, rows, form):
        obtained, asked = answers["obtained"], answers["asked"]
        return {
            "return": float(obtained.mean()),
            "asked": float(asked.mean()),
            "return_error": float(np.abs(obtained - asked).mean()),
        }

    def predictions(self, answers, rows, form):
        pairs = zip(answers["obtained"].tolist(), answers["asked"].tolist())
        return [{"return": obtained, "asked": asked} for obtained, asked in pairs]

    def figure(self, answers, rows, form):
        names = dict(across="asked", up="obtained", what="returns")
        return scatter_of(answers["asked"], answers["obtained"], **names)
