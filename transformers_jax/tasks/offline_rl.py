"""OfflineRL: actions, learned from recorded episodes, by which an episode returns what is asked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax.acting.rollout import rollout
from transformers_jax.data.tables import Records
from transformers_jax.models.base import Model
from transformers_jax.nn.embed.trajectory import PER_STEP
from transformers_jax.nn.loss import IGNORED, cross_entropy
from transformers_jax.nn.param import bind, flatten, params, unflatten
from transformers_jax.tasks.decisions import Decisions
from transformers_jax.tasks.episodes import EpisodeWindows, episodes_of
from transformers_jax.tasks.rows import NUMBER, Form, Rows

LEAST = 1e-6  # of a deviation: a number of the state that is always the same


@dataclass(frozen=True)
class OfflineRL(Decisions):
    """What was done in recorded episodes, given what they returned (Chen et al. 2021), by a
    Decision Transformer. Of actions to choose from the loss is the cross-entropy, of vectors the
    squared error.

    The model is trained on states of mean 0 and deviation 1 and on returns divided by the greatest.
    The model that is exported reads and predicts them as they are, because it is linear in both.
    """

    discrete: bool = True
    """whether actions are chosen from several; the table says it"""
    state_mean: tuple[float, ...] = ()
    """of the numbers of a state; the table says it"""
    state_deviation: tuple[float, ...] = ()
    """the same of their deviations"""
    return_scale: float = 1.0
    """the greatest return; the table says it"""

    head: ClassVar[str] = "trajectory"

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        sizes: Any = form.model.config
        if PER_STEP * self.context > sizes.n_positions:
            raise ValueError(
                f"--objective.context ({self.context}) are {PER_STEP * self.context} tokens, and "
                f"the model has {sizes.n_positions} positions: raise --model.n-positions, or read "
                f"at most {sizes.n_positions // PER_STEP} steps"
            )
        widths = (sizes.state_dim, sizes.act_dim)
        whole = episodes_of(records, form.columns, widths, sizes.max_ep_len)
        windows = [(number, 0) for number in range(len(records))]
        examples = EpisodeWindows(whole, windows, self.context)
        returns = [one.total for one in whole.episodes]
        notes = (f"{records.name}: {whole.note}",)
        return Rows(records, examples, examples.owners, returns, notes=notes)

    def learned(self, rows, form):
        examples: Any = rows.examples
        some, whole = examples.whole.episodes, examples.whole
        states = np.concatenate([one.states for one in some]).astype(np.float64)
        greatest = max(abs(one.returns).max() for one in some)
        return dataclasses.replace(
            self,
            discrete=whole.discrete,
            state_mean=tuple(states.mean(0).round(6).tolist()),
            state_deviation=tuple(np.maximum(states.std(0), LEAST).round(6).tolist()),
            return_scale=float(greatest) or 1.0,
        )

    # ------------------------------------------------------------ training

    def inputs(self, batch):
        given = super().inputs(batch)
        if self.state_mean:
            mean, deviation = (jnp.array(x) for x in (self.state_mean, self.state_deviation))
            given["states"] = (given["states"] - mean) / deviation
        given["returns_to_go"] = given["returns_to_go"] / self.return_scale
        return given

    def compare(self, output, batch):
        """(how far the actions are from those that were taken, with how many are the same)."""
        real = (batch["attention_mask"] > 0) & (batch[NUMBER] >= 0)[:, None]
        predicted, taken = output.action_preds, batch["actions"]
        if not self.discrete:
            errors = jnp.square(predicted - taken).mean(-1)
            total, count = (errors * real).sum(), real.sum()
            return total / jnp.maximum(count, 1), {"loss": (total, count)}
        labels = jnp.where(real, taken.argmax(-1), IGNORED)
        total, count = cross_entropy(predicted, labels)
        same = (predicted.argmax(-1) == labels).sum().astype(jnp.float32)
        return total / jnp.maximum(count, 1), {"loss": (total, count), "accuracy": (same, count)}

    def finished(self, model, corpus):
        return self.scaled(model, inwards=True)

    def equipped(self, model):
        return self.scaled(model, inwards=False)

    def scaled(self, model: Model, *, inwards: bool) -> Model:
        """The same function of states and returns as they are (`inwards`: scaling has become part
        of the weights), of a model of scaled ones; or the other way round."""
        if not self.state_mean:
            return model
        flat = flatten(params(model))
        mean, deviation = (jnp.array(x) for x in (self.state_mean, self.state_deviation))
        weight, bias = flat["embed.states.weight"], flat["embed.states.bias"]
        predict, shift = flat["head.state.weight"], flat["head.state.bias"]
        scale = self.return_scale
        if inwards:
            weight = weight / deviation[:, None]
            bias = bias - mean @ weight
            predict, shift = predict * deviation, shift * deviation + mean
        else:
            bias = bias + mean @ weight
            weight = weight * deviation[:, None]
            predict, shift = predict / deviation, (shift - mean) / deviation
        power = 1 / scale if inwards else scale
        flat |= {
            "embed.states.weight": weight,
            "embed.states.bias": bias,
            "embed.returns.weight": flat["embed.returns.weight"] * power,
            "head.state.weight": predict,
            "head.state.bias": shift,
            "head.value.weight": flat["head.value.weight"] / power,
            "head.value.bias": flat["head.value.bias"] / power,
        }
        return bind(model, unflatten(flat))

    def acted(self, model, asked, seeds):
        raw = self.scaled(model, inwards=True)
        return rollout(raw, self.environment, asked, seeds=seeds, context=self.context)
