"""TrajectoryTokens: recorded episodes as texts, whose words are returns, states, actions and
rewards."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transformers_jax.acting.codes import Borders, Codes
from transformers_jax.acting.named import environment
from transformers_jax.acting.rollout import rollout
from transformers_jax.data.tables import Records
from transformers_jax.models.config import FamilyConfig
from transformers_jax.tasks.decisions import Decisions
from transformers_jax.tasks.episodes import Episodes, EpisodeWindows, episodes_of
from transformers_jax.tasks.rows import Form, Rows

MOST = 2**31 - 1  # steps of an episode: any


@dataclass(frozen=True)
class TrajectoryTokens(Decisions):
    """All of recorded episodes, token by token, by a decoder of texts (Janner et al. 2021, section
    3.1): every number of a step is one of `bins`, with ids of its own. What is still to be returned
    stands in front of each state, so that the decoder acts as it is asked to (section 3.2).
    """

    bins: int = 32
    """of each number, which hold as many of the recorded ones each"""
    borders: Borders = ()
    """between the bins of returns, the numbers of a state, and rewards; the table says them"""

    head: ClassVar[str] = "causal_lm"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("objective.", bins=2)

    @property
    def learns_labels(self):
        return False

    @property
    def codes(self) -> Codes:
        """Which ids numbers have."""
        return Codes(self.borders, environment(self.environment).act_dim)

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        place = environment(self.environment)
        whole = episodes_of(records, form.columns, (place.state_dim, place.act_dim), MOST)
        if not whole.discrete:
            raise ValueError(
                f"{records.name}: actions are vectors, and here each is one of several: give their "
                "numbers, or train a Decision Transformer (offline_rl)"
            )
        windows = [(number, 0) for number in range(len(records))]
        codes = self.codes if self.borders else codes_of(whole, place.act_dim, self.bins)
        needed, most = codes.per_step * self.context, form.model.reading.positions
        if most is not None and needed > most:
            raise ValueError(
                f"--objective.context ({self.context}) are {needed} tokens, {codes.per_step} a "
                f"step, and the model has {most} positions: raise them, or lower it"
            )
        examples = EpisodeWindows(whole, windows, self.context, codes)
        returns = [one.total for one in whole.episodes]
        notes = (f"{records.name}: {whole.note}",)
        return Rows(records, examples, examples.owners, returns, notes=notes)

    def used(self, train, held_out):
        """Both by the codes of what is trained on."""
        train, examples = super().used(train, held_out)[0], train.examples
        if held_out is None:
            return train, None
        other: Any = held_out.examples
        same = EpisodeWindows(other.whole, other.windows, self.context, examples.codes)
        return train, dataclasses.replace(held_out, examples=same)

    def learned(self, rows, form):
        examples: Any = rows.examples
        return dataclasses.replace(self, borders=examples.codes.borders)

    def fitted(self, model: FamilyConfig, classes: Any) -> FamilyConfig:
        ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
        return model.replace(vocab_size=self.codes.size, **ends)

    def acted(self, model, asked, seeds):
        options: Any = {"seeds": seeds, "context": self.context, "codes": self.codes}
        return rollout(model, self.environment, asked, **options)


def codes_of(whole: Episodes, actions: int, bins: int, first: int = 0) -> Codes:
    """The codes of recorded episodes."""
    parts = [
        np.column_stack([one.returns, one.states, one.rewards]).astype(np.float64)
        for one in whole.episodes
    ]
    return Codes.learned(np.concatenate(parts), actions, bins, first)
