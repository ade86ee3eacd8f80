"""SpeechPretraining: hidden frames of recordings without a text (wav2vec 2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Int, Key
from transformers_jax.data.tables import Records
from transformers_jax.nn.loss import sum_of_means
from transformers_jax.nn.spec_augment import Spans
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.rows import NUMBER, Form, Rows
from transformers_jax.tasks.sounds import AUDIO, SAMPLES, SoundExamples
from transformers_jax.tasks.speech import reader_of, waves_of, with_mask_of_samples

FIXED = 0  # the seed of what evaluations hide


@dataclass(frozen=True)
class SpeechPretraining(Task):
    """Which quantised frame was hidden, among others of its recording (Baevski et al. 2020, section
    3): a table with a column "audio". Spans are hidden, and the others drawn, in each step anew. No
    text is read, so that no tokenizer is needed.

    The loss is a mean over hidden frames. Its second term rewards the use of all words of the
    codebooks, of which `codevector_perplexity` counts how many are in use: where few are, frames
    cannot be told apart and nothing is learned. A run in which they are fewer than `least_words`
    of all ends.

    Raises:
        ValueError: settings that are no fractions or counts.
    """

    mask_prob: float = 0.65
    """the share of frames that would be hidden if no spans overlapped"""
    mask_length: int = 10
    """frames of a span"""
    min_masks: int = 2
    """spans of a recording at least"""
    temperature: float = 2.0
    """of the quantiser's Gumbel softmax"""
    least_words: float = 0.05
    """of the codebooks' words, how many must be in use; 0: any"""
    grace: int = 500
    """steps before that is asked"""

    head: ClassVar[str] = "pretraining"
    metric: ClassVar[str] = "loss"
    lower: ClassVar[bool] = True
    needed: ClassVar[tuple[str, ...]] = ("audio",)
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {"audio": AUDIO}
    answered: ClassVar[tuple[str, ...]] = ()
    peak: ClassVar[float] = 5e-4
    reads: ClassVar[tuple[str, ...]] = ("sound",)
    withheld: ClassVar[tuple[str, ...]] = (NUMBER, SAMPLES)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mask_prob", "least_words"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number in [0, 1]")
        if self.mask_length < 1 or self.min_masks < 1 or self.temperature <= 0:
            raise ValueError(
                f"mask_length ({self.mask_length}) and min_masks ({self.min_masks}) are at least "
                f"1, and temperature ({self.temperature}) is above 0"
            )

    @property
    def generates(self) -> bool:
        return False

    @property
    def roles(self) -> tuple[str, ...]:
        return ("pad",)

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        records, sounds, waves, notes = waves_of(form, records)
        examples = SoundExamples(sounds, waves, [{} for _ in range(len(sounds))])
        return Rows(records, examples, np.arange(len(records)), None, notes=tuple(notes))

    def inputs(self, batch):
        return with_mask_of_samples(batch, self.withheld)

    def minimise(self, model, batch, key):
        drawn, noise = jax.random.split(jax.random.key(FIXED) if key is None else key)
        return self._loss(model, batch, drawn, None if key is None else noise)

    def measure(self, model, batch):
        return self._loss(model, batch, jax.random.key(FIXED), None)[1], {}

    def respond(self, model, batch):
        """Raises ValueError: there is nothing to predict."""
        raise ValueError(
            "pretraining on recordings predicts nothing; evaluate() gives its loss, and the task "
            "ctc trains such a model to write what was said"
        )

    def _loss(self, model: Any, batch: Any, drawn: Key, noise: Key | None) -> Any:
        """The loss, of frames that are hidden by one key, in a model with the noise of another."""
        inputs, spec = self.inputs(batch), reader_of(model)
        frames = spec.frames(batch["input_values"].shape[1])
        lengths = jnp.where(batch[NUMBER] >= 0, spec.frames(batch[SAMPLES]), 0)
        first, second = jax.random.split(drawn)
        spans = Spans(self.mask_prob, self.mask_length, self.min_masks)
        hidden = spans.draw(first, lengths, frames) & (jnp.arange(frames) < lengths[:, None])
        negatives = drawn_negatives(second, hidden, model.config.num_negatives)
        output = model(
            **inputs,
            mask_time_indices=hidden.astype(jnp.int32),
            sampled_negative_indices=negatives,
            gumbel_temperature=jnp.float32(self.temperature),
            key=noise,
        )
        count = hidden.sum().astype(jnp.float32)
        diversity = output.diversity_loss * model.config.diversity_loss_weight
        terms = {"contrastive": (output.contrastive_loss, count), "diversity": (diversity, count)}
        perplexity = output.codevector_perplexity, jnp.float32(1)
        return sum_of_means(terms), {"loss": terms, "codevector_perplexity": perplexity}

    def watch(self, number: int, figures: Mapping[str, float], model: Any) -> None:
        words = model.num_codevectors_per_group * model.num_codevector_groups
        used = figures.get("codevector_perplexity")
        if used is None or number < self.grace or used >= self.least_words * words:
            return
        raise FloatingPointError(
            f"the codebooks have collapsed: at step {number} the perplexity of their words is "
            f"{used:.1f} of {words} (--objective.least-words {self.least_words} asks for "
            f"{self.least_words * words:.1f}), so that frames cannot be told apart; begin again "
            "with a lower --optimizer.peak, a higher --objective.temperature, or a higher "
            "diversity_loss_weight of the model"
        )


def drawn_negatives(key: Key, hidden: Bool[Array, "B T"], count: int) -> Int[Array, "B T N"]:
    """For each hidden frame other hidden frames of its row, each as likely, numbered through the
    batch; for the others any. A row in which one frame alone is hidden has that as its negatives,
    which then count as none."""
    rows, length = hidden.shape
    number = hidden.sum(1)[:, None, None]
    order = jnp.argsort(~hidden, axis=1, stable=True)  # the hidden frames first
    rank = (jnp.cumsum(hidden, axis=1) - 1)[..., None]
    chance = jax.random.uniform(key, (rows, length, count))
    chosen = jnp.floor(chance * jnp.maximum(number - 1, 1)).astype(jnp.int32)
    chosen = chosen + ((chosen >= rank) & (number > 1))
    chosen = jnp.clip(chosen, 0, length - 1)
    frames = jnp.take_along_axis(order, chosen.reshape(rows, -1), axis=1)
    return frames.reshape(chosen.shape) + length * jnp.arange(rows)[:, None, None]
