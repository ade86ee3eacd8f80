"""Knowledge distillation: a student learns what a frozen teacher answers, and how it comes there.

    loss = kl_weight       * T^2 KL(teacher / T || student / T)      of logits, over their rows
         + label_weight    * the loss of the labels
         + cosine_weight   * 1 - cos(student, teacher)               of hidden states, over tokens
         + attention_weight * KL or MSE                              of attention probabilities

Sources: Hinton et al. 2015, section 2 (softened logits); Sanh et al. 2019 (DistilBERT: weights 5, 2
and 1 at a temperature of 2); Jiao et al. 2020, section 3 (TinyBERT: attention, a map of layers);
Wang et al. 2020, section 3.1 (MiniLM: the KL of attention).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, Key, wide
from transformers_jax.nn.loss import Mean, cross_entropy, sum_of_means
from transformers_jax.objectives.decoding import CausalLM
from transformers_jax.objectives.losses import causal_targets, read_inputs
from transformers_jax.objectives.masking import MaskedLM
from transformers_jax.objectives.metrics import Batch, LossAndMetrics, Objective
from transformers_jax.objectives.reference import WithReference
from transformers_jax.settings import Settings

WIDTHS, HEADS = "are {} and {} wide", "have {} and {} heads"
LEAST = 1e-12  # of a probability whose log is taken


# ---------------------------------------------------------------- the terms


def softened_kl(
    student: Float[Array, "*n V"], teacher: Float[Array, "*n V"], temperature: float
) -> Float[Array, "*n"]:
    """T^2 KL(teacher / T || student / T) of each row of logits: the factor keeps gradients of the
    size that they have at T = 1 (Hinton et al. 2015, section 2.1)."""
    ours = jax.nn.log_softmax(student.astype(wide(student)) / temperature)
    theirs = jax.nn.log_softmax(teacher.astype(wide(teacher)) / temperature)
    return temperature**2 * (jnp.exp(theirs) * (theirs - ours)).sum(-1)


def cosine_distance(
    student: Float[Array, "*n D"], teacher: Float[Array, "*n D"]
) -> Float[Array, "*n"]:
    """1 - cos of each pair of vectors."""
    a, b = (x.astype(wide(x)) for x in (student, teacher))
    lengths = jnp.sqrt(jnp.maximum((a * a).sum(-1) * (b * b).sum(-1), LEAST))
    return 1 - (a * b).sum(-1) / lengths


def attention_distance(
    student: Float[Array, "B H T S"], teacher: Float[Array, "B H T S"], kind: str
) -> Float[Array, "B T"]:
    """How far the attention of each token is from the teacher's: KL(teacher || student) over the
    keys ("kl"), or the mean squared difference over them ("mse"); the mean over heads."""
    ours, theirs = (x.astype(wide(x)) for x in (student, teacher))
    if kind == "mse":
        return jnp.square(ours - theirs).mean((1, 3))
    logs = jnp.log(jnp.maximum(theirs, LEAST)) - jnp.log(jnp.maximum(ours, LEAST))
    return (theirs * logs).sum(-1).mean(1)


def mean_of(values: Array, counted: Bool[Array, "..."]) -> Mean:
    """(sum, count) of the values that are counted."""
    return jnp.where(counted, values, 0.0).sum(), counted.sum().astype(jnp.float32)


# ---------------------------------------------------------------- the settings


@dataclass(frozen=True)
class Distilled(Settings, WithReference):
    """What all objectives of a student share: its teacher, and the weight of each term."""

    role: ClassVar[str] = "teacher"

    teacher: str = ""
    """a directory, a run or a hub id: a model with the same head, and the same vocabulary"""
    temperature: float = 2.0
    """by which both logits are divided"""
    kl_weight: float = 5.0
    """of the divergence of the student's softened logits from the teacher's"""
    label_weight: float = 2.0
    """of the loss of the labels"""
    cosine_weight: float = 1.0
    """of the cosine distance of hidden states, of models of the same width"""
    attention_weight: float = 0.0
    """of the difference of attention probabilities, of models with as many heads"""
    attention_loss: Literal["kl", "mse"] = "kl"
    layers: tuple[int, ...] = ()
    """of which layer of the teacher, counted from 0, each layer of the student learns hidden states
    and attention; by default the last of the last"""
    fingerprint: str = ""
    """of the weights of the teacher; found when the run starts"""

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = (self.kl_weight, self.label_weight, self.cosine_weight, self.attention_weight)
        if min(weights) < 0 or not any(weights) or self.temperature <= 0:
            raise ValueError(
                f"distillation: weights {weights} must be at least 0 and not all 0, and the "
                f"temperature ({self.temperature}) above 0"
            )

    @property
    def options(self) -> dict[str, bool]:
        """What a call of either model is to return."""
        wanted = dict(
            output_hidden_states=self.cosine_weight, output_attentions=self.attention_weight
        )
        return {name: True for name, weight in wanted.items() if weight}

    def teach(self, teacher: Any, inputs: Mapping[str, Any]) -> Any:
        """The teacher's output for the inputs that it takes, without noise and gradient."""
        known = teacher.arguments()
        inputs = {name: x for name, x in inputs.items() if name in known}
        return jax.lax.stop_gradient(teacher(**inputs, key=None, **self.options))

    def terms(
        self,
        student: Any,
        teacher: Any,
        labels: Mean,
        rows: Bool[Array, "*n"],
        tokens: Bool[Array, "B T"],
    ) -> dict[str, Mean]:
        """The terms of the loss, weighted.

        Args:
            labels: the loss of the labels.
            rows: the rows of logits that count.
            tokens: the tokens whose hidden states and attention count.

        Raises:
            ValueError: models that cannot be compared.
        """
        terms: dict[str, Mean] = {}
        if self.kl_weight:
            if student.logits.shape != teacher.logits.shape:
                raise ValueError(
                    f"the student has {student.logits.shape[-1]} classes or tokens and the teacher "
                    f"{teacher.logits.shape[-1]}; both are to answer alike"
                )
            kl = softened_kl(student.logits, teacher.logits, self.temperature)
            terms["kl_loss"] = _times(self.kl_weight, mean_of(kl, rows))
        if self.label_weight:
            terms["label_loss"] = _times(self.label_weight, labels)
        if self.cosine_weight:
            pairs = self._pairs(student, teacher, "hidden_states", -1, WIDTHS, "cosine_weight")
            distance = [mean_of(cosine_distance(a, b), tokens) for a, b in pairs]
            terms["cosine_loss"] = _times(self.cosine_weight, _mean_over(distance))
        if self.attention_weight:
            pairs = self._pairs(student, teacher, "attentions", 1, HEADS, "attention_weight")
            kind = self.attention_loss
            distance = [mean_of(attention_distance(a, b, kind), tokens) for a, b in pairs]
            terms["attention_loss"] = _times(self.attention_weight, _mean_over(distance))
        return terms

    def _pairs(
        self, student: Any, teacher: Any, field: str, axis: int, what: str, weight: str
    ) -> list[tuple[Array, Array]]:
        """What each layer of the student has, and that of its layer of the teacher."""
        ours, theirs = student[field], teacher[field]
        first = int(field == "hidden_states")  # of the embeddings
        count, most = len(ours) - first, len(theirs) - first
        if self.layers and (len(self.layers) != count or not _within(self.layers, most)):
            raise ValueError(
                f"objective.layers {self.layers} must name, for each of the {count} layers of the "
                f"student, one of the {most} of the teacher, counted from 0"
            )
        chosen = [(ours[n + first], theirs[k + first]) for n, k in enumerate(self.layers)]
        pairs = chosen or [(ours[-1], theirs[-1])]
        sizes = [x.shape[axis] for x in pairs[0]]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"student and teacher {what.format(*sizes)}, and cannot be compared there: set "
                f"objective.{weight} to 0"
            )
        return pairs


def _within(layers: Sequence[int], most: int) -> bool:
    return all(0 <= layer < most for layer in layers)


def _times(weight: float, mean: Mean) -> Mean:
    return weight * mean[0], mean[1]


def _mean_over(means: Sequence[Mean]) -> Mean:
    """The mean over layers of means over the same tokens."""
    total: Any = sum(total for total, _ in means)
    return total / len(means), means[0][1]


# ---------------------------------------------------------------- of text


class DistilledText(Distilled):
    """What the objectives of text share: every token that is read has logits to be compared."""

    loss: ClassVar[str]

    def __call__(
        self, model: Any, batch: Batch, key: Key | None, teacher: Any = None
    ) -> LossAndMetrics:
        inputs, labels = self.read(model, batch)
        student = model(**inputs, key=key, **self.options)
        found = self.teach(teacher, inputs)
        mask = inputs.get("attention_mask")
        tokens = jnp.ones(labels.shape, bool) if mask is None else mask > 0
        hard = cross_entropy(student.logits, labels)
        right = (student.logits.argmax(-1) == labels).sum().astype(jnp.float32)
        terms = self.terms(student, found, hard, tokens, tokens)
        figures = {"accuracy": (right, hard[1]), "cross_entropy": hard}
        return sum_of_means(terms), {"loss": terms, **figures}

    @property
    def objective(self) -> Objective:
        """The loss, which is this record itself."""
        return self

    def read(self, model: Any, batch: Batch) -> tuple[dict[str, Any], Array]:
        """The arguments of both models, and the label of each token that is read."""
        return {name: x for name, x in batch.items() if name != "labels"}, batch["labels"]

    def inputs(self, model: Any, batch: Batch) -> list[Batch]:
        """What the model is called with."""
        return [self.read(model, batch)[0]]


@dataclass(frozen=True)
class DistilledMaskedLM(DistilledText, MaskedLM):
    """A student of masked tokens: what DistilBERT was trained on (Sanh et al. 2019)."""


@dataclass(frozen=True)
class DistilledCausalLM(DistilledText, CausalLM):
    """A student that predicts the next token, as DistilGPT2 was trained."""

    def read(self, model, batch):
        """The arguments of both models, without the last token, and the next ones."""
        return read_inputs(batch), causal_targets(batch)


DISTILLED: dict[str, type[DistilledText]] = {
    "DistilledMaskedLM": DistilledMaskedLM,
    "DistilledCausalLM": DistilledCausalLM,
}
"""The records by name, as a run's config.json names them."""
