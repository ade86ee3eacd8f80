"""Direct preference optimisation: a decoder learns which of two answers is preferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float, Int, Key
from transformers_jax.data.tables import Records
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.nn.loss import token_log_probs
from transformers_jax.objectives.example import IGNORED, Example
from transformers_jax.objectives.metrics import Batch, LossAndMetrics
from transformers_jax.objectives.reference import WithReference
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.figures import histogram_of
from transformers_jax.tasks.preferences import Preference, preferences
from transformers_jax.tasks.rows import NUMBER, Form, Rows, numbered

Ids = Int[np.ndarray, " T"]
FIGURES = ("chosen_reward", "rejected_reward", "margin", "chosen_log_prob", "rejected_log_prob")


class Pair(NamedTuple):
    """The ids of a preference."""

    prompt: Ids
    answers: tuple[Ids, Ids]


@dataclass(frozen=True)
class DPO(Task, WithReference):
    """Which of two answers is preferred (Rafailov et al. 2023, equation 7): the model is to find
    the chosen one likelier than the rejected one, by more than a frozen reference model does.

    A record has `prompt`, `chosen` and `rejected`, as texts or messages (tasks/preferences.py). The
    reward of an answer is beta times the difference of its log-probabilities by the model and by
    the reference, which is the model that the run starts from (with an adapter: without it), unless
    one is named. Where a pair is longer than `data.length`, the prompt loses its beginning, and
    what is still too long of an answer its end.
    """

    head: ClassVar[str] = "causal_lm"
    metric: ClassVar[str] = "loss"
    lower: ClassVar[bool] = True
    peak: ClassVar[float] = 1e-6
    role: ClassVar[str] = "reference"
    own_start: ClassVar[bool] = True
    answers_with: ClassVar[bool] = True
    needed: ClassVar[tuple[str, ...]] = ("label", "text_pair")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": ("prompt", "question", "instruction"),
        "label": ("chosen",),
        "text_pair": ("rejected",),
    }
    answered: ClassVar[tuple[str, ...]] = ("rewards", "log_probs")

    beta: float = 0.1
    """how much a difference of log-probabilities counts: the less, the further the model may go
    from the reference"""
    loss_type: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """sigmoid: equation 7; ipo: the squared distance of the difference, of means over tokens, from
    1 / (2 beta) (Azar et al. 2023, equation 17); hinge (Zhao et al. 2023, SLiC)"""
    label_smoothing: float = 0.0
    """chance that a label is wrong, of the sigmoid loss (cDPO: Mitchell 2023)"""
    dropout: bool = False
    """whether the dropout of the model is computed, which makes differences to the reference noisy
    (TRL: disable_dropout)"""
    system: str = ""
    """a message that stands in front of every prompt, where the template has place for one"""
    reference: str = ""
    """a directory, a run or a hub id; by default the model that the run starts from"""
    fingerprint: str = ""
    """of the weights of the reference; found when the run starts"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0 or not 0 <= self.label_smoothing < 0.5:
            raise ValueError(
                f"dpo: beta ({self.beta}) must be above 0, and label_smoothing "
                f"({self.label_smoothing}) from 0 to below 0.5"
            )
        if self.label_smoothing and self.loss_type != "sigmoid":
            raise ValueError(
                f"dpo: label_smoothing is of the sigmoid loss, not of {self.loss_type}"
            )

    # ------------------------------------------------------------ data

    def columns(self, data, records, *, answered=True):
        """Those of both answers, which rewards need as well."""
        return super().columns(data, records, answered=True)

    def _pairs(self, form: Form, records: Records) -> list[Pair]:
        """The ids of the preferences. Prompt and answer are encoded together, as they will be read;
        the answer begins where that differs from the prompt alone, as in TRL.

        Raises:
            ValueError: a prompt without a token that stays, or an answer without one.
        """
        texts, pairs = preferences(form, records, self.system), []
        flat = _encoded(form.tokenizer, texts)
        for where, number in zip(records.places, range(0, len(flat), 3)):
            prompt, *whole = flat[number : number + 3]
            shared = min(_common(prompt, ids) for ids in whole)
            if not shared or min(map(len, whole)) == shared:
                lacking = "an answer" if shared else "the prompt"
                raise ValueError(f"{where}: {lacking} has no token")
            pairs.append(Pair(prompt[:shared], (whole[0][shared:], whole[1][shared:])))
        return pairs

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        if form.length == 1:
            raise ValueError("data.length (1) leaves no room for an answer; raise --data.length")
        pairs, alike, examples = self._pairs(form, records), 0, []
        cut = {"prompts": 0, "answers": 0}
        for where, pair in zip(records.places, pairs):
            if form.length and _length(pair) > form.length and form.data.too_long == "error":
                raise ValueError(
                    f"{where} has {_length(pair)} tokens, and rows have {form.at_most}, or "
                    "pass --data.too-long truncate"
                )
            short = _cut(pair, form.length) if form.length else pair
            alike += np.array_equal(*short.answers)
            cut["prompts"] += len(short.prompt) < len(pair.prompt)
            cut["answers"] += sum(len(a) < len(b) for a, b in zip(short.answers, pair.answers))
            examples.append(Example(_row(short)))
        total, longest = len(examples), max(map(_length, pairs))
        what = "none is cut"
        if any(cut.values()):
            what = f"cut to {form.length:,}: the beginning of {cut['prompts']:,} prompts, the end "
            what += f"of {cut['answers']:,} answers"
        notes = [f"{records.name}: {total:,} pairs; the longest has {longest:,} tokens; {what}"]
        notes += [f"{records.name}: of {alike:,} pairs both answers are the same"] if alike else []
        owners = np.arange(total)
        return Rows(records, numbered(examples), owners, None, notes=tuple(notes))

    # ------------------------------------------------------------ training

    def inputs(self, batch):
        """The two answers of each pair as rows, Int[2B T-1]: the last token predicts none."""
        rows = {name: batch[name] for name in ("input_ids", "attention_mask")}
        return {name: x.reshape(-1, x.shape[-1])[:, :-1] for name, x in rows.items()}

    def minimise(self, model, batch, key, reference=None):
        log_probs = self.log_probs(model, batch, key if self.dropout else None)
        ratios = log_probs - jax.lax.stop_gradient(self.log_probs(reference, batch, None))
        return self._compared(log_probs, ratios, batch)

    def measure(self, model, batch, reference=None):
        log_probs = self.log_probs(model, batch, None)
        ratios = log_probs - self.log_probs(reference, batch, None)
        answers = {"rewards": self.beta * ratios, "log_probs": log_probs, NUMBER: batch[NUMBER]}
        return self._compared(log_probs, ratios, batch)[1], answers

    def log_probs(self, model: Any, batch: Batch, key: Key | None) -> Float[Array, "B 2"]:
        """Log-probabilities of the answers, chosen and rejected, in nats, summed over tokens."""
        output = model(**self.inputs(batch), key=key, output_unembedding=True)
        labels = batch["labels"].reshape(-1, batch["labels"].shape[-1])[:, 1:]
        return token_log_probs(output.unembedding, labels).sum(-1).reshape(-1, 2)

    def _compared(
        self, log_probs: Float[Array, "B 2"], ratios: Float[Array, "B 2"], batch: Batch
    ) -> LossAndMetrics:
        """(mean loss, what is reported of it) of log-probabilities, and of their differences to
        those of the reference."""
        known = batch[NUMBER] != IGNORED
        count = known.sum().astype(jnp.float32)
        summed = lambda x: (jnp.where(known, x, 0.0).sum(), count)
        rewards = self.beta * ratios
        figures = dict(zip(FIGURES, _figures(rewards, log_probs)))
        metrics = {name: summed(x) for name, x in figures.items()}
        metrics["accuracy"] = summed((figures["margin"] > 0).astype(jnp.float32))
        metrics["loss"] = summed(self.loss_of(ratios, (batch["labels"] != IGNORED).sum(-1)))
        return metrics["loss"][0] / jnp.maximum(count, 1), metrics

    def loss_of(self, ratios: Float[Array, "B 2"], tokens: Int[Array, "B 2"]) -> Float[Array, " B"]:
        """The loss of each pair, by how much likelier each answer is than by the reference, in
        nats, and by how many tokens it has."""
        if self.loss_type == "ipo":
            ratios = ratios / jnp.maximum(tokens, 1)
        difference = ratios[:, 0] - ratios[:, 1]
        if self.loss_type == "ipo":
            return jnp.square(difference - 1 / (2 * self.beta))
        logits = self.beta * difference
        if self.loss_type == "hinge":
            return jax.nn.relu(1 - logits)
        right, wrong = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
        return -(1 - self.label_smoothing) * right - self.label_smoothing * wrong

    # ------------------------------------------------------------ answers

    def metrics(self, answers, rows, form):
        figures = _figures(answers["rewards"], answers["log_probs"])
        means = {name: float(np.mean(x)) for name, x in zip(FIGURES, figures)}
        return {"accuracy": float(np.mean(figures[2] > 0)), **means}

    def figure(self, answers, rows, form):
        margins = _figures(answers["rewards"], answers["log_probs"])[2]
        # As far on either side of 0, where the preference turns, so that no bin lies across it.
        most = float(np.max(np.abs(margins), initial=0, where=np.isfinite(margins))) or 1.0
        return histogram_of("margin of rewards", margins, -most, most)

    def predictions(self, answers, rows, form):
        figures = [x.tolist() for x in _figures(answers["rewards"], answers["log_probs"])]
        return [
            {"preferred": "chosen" if one[2] > 0 else "rejected", **dict(zip(FIGURES, one))}
            for one in zip(*figures)
        ]


def _figures(rewards: Any, log_probs: Any) -> Sequence[Any]:
    """Those of `FIGURES`, of each pair."""
    margin = rewards[:, 0] - rewards[:, 1]
    return rewards[:, 0], rewards[:, 1], margin, log_probs[:, 0], log_probs[:, 1]


def _encoded(tokenizer: Tokenizer, texts: Sequence[Preference]) -> list[Ids]:
    """The ids of each prompt, and of it with either answer: with the special tokens of the
    tokenizer, where no template wrote them."""
    whole = [[one.prompt, one.prompt + one.chosen, one.prompt + one.rejected] for one in texts]
    flat = [text for some in whole for text in some]
    if texts[0].templated:
        return tokenizer.encode_many(flat)
    return tokenizer.batch(flat, padding=False, return_token_type_ids=False)["input_ids"]


def _common(one: Ids, other: Ids) -> int:
    """How many ids two texts begin with in common."""
    count = min(len(one), len(other))
    return int(np.argmin([*(one[:count] == other[:count]), False]))


def _length(pair: Pair) -> int:
    """Tokens of the longer row of a pair."""
    return len(pair.prompt) + max(map(len, pair.answers))


def _cut(pair: Pair, length: int) -> Pair:
    """A pair whose rows have so many tokens at most: the prompt keeps its end, at least a token of
    it, and answers keep their beginning."""
    room = max(length - max(map(len, pair.answers)), 1)
    prompt = pair.prompt[-room:]
    first, second = (answer[: length - len(prompt)] for answer in pair.answers)
    return Pair(prompt, (first, second))


def _row(pair: Pair) -> dict[str, Int[np.ndarray, "2 T"]]:
    """The two rows of a pair, filled up to the longer, with their mask; labels are the answers."""
    shape = (2, _length(pair))
    row = {"input_ids": np.zeros(shape, np.int32), "labels": np.full(shape, IGNORED, np.int32)}
    row["attention_mask"] = np.zeros(shape, np.int32)
    for number, answer in enumerate(pair.answers):
        first, end = len(pair.prompt), len(pair.prompt) + len(answer)
        row["input_ids"][number, :first] = pair.prompt
        row["input_ids"][number, first:end] = row["labels"][number, first:end] = answer
        row["attention_mask"][number, :end] = 1
    return row
