"""CTC: sound as text, by connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Float, Int
from transformers_jax.data.tables import Records
from transformers_jax.metrics import character_error_rate, exact_match
from transformers_jax.nn.ctc import ctc_loss
from transformers_jax.objectives.example import Example
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.figures import worst_texts
from transformers_jax.tasks.rows import NUMBER, Form, Rows, numbered

SAMPLES = "samples"
"""The entry of a batch that says how many samples of a row are audio."""
NO_FRAME = -1
"""Stands for the class of a frame behind the audio."""


def sounds_of(form: Form, records: Records) -> list[Float[np.ndarray, " S"]]:
    """The samples of each record."""
    values, column = form.values(records, "audio"), form.columns["audio"]
    return [samples_of(value, where, column) for value, where in zip(values, records.places)]


def example_of(
    sound: Float[np.ndarray, " S"], longest: int, frames: int, once: Mapping[str, Any]
) -> Example:
    """A recording of so many frames, filled up to the longest, with what else there is once a
    row."""
    padded = np.zeros(longest, np.float32)
    padded[: len(sound)] = sound
    once = {"input_values": padded, SAMPLES: len(sound), **once}
    return Example(once=once, size=frames)


def with_mask_of_samples(batch: Mapping[str, Any], withheld: tuple[str, ...]) -> dict[str, Any]:
    """What the model reads of a batch; a row that only fills it up is silence."""
    given = {name: value for name, value in batch.items() if name not in withheld}
    length, samples = batch["input_values"].shape[1], batch[SAMPLES][:, None]
    given["attention_mask"] = ((np.arange(length) < samples) | (samples < 0)).astype("int32")
    return given


@dataclass(frozen=True)
class CTC(Task):
    """The text of a recording: a table with columns "audio" (samples, at the rate of the model) and
    "text". The blank is the tokenizer's padding. The loss is the mean over records of -log p(text),
    divided by the length of the text."""

    head: ClassVar[str] = "ctc"
    metric: ClassVar[str] = "exact_match"
    needed: ClassVar[tuple[str, ...]] = ("audio", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "audio": ("audio", "input_values", "samples"),
        "label": ("text", "transcription", "sentence", "label"),
    }
    peak: ClassVar[float] = 1e-4
    reads: ClassVar[tuple[str, ...]] = ("sound", "text")
    withheld: ClassVar[tuple[str, ...]] = (NUMBER, SAMPLES, "labels")

    @property
    def learns_labels(self) -> bool:
        return True

    @property
    def roles(self) -> tuple[str, ...]:
        return ("pad",)

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        sounds = sounds_of(form, records)
        longest, spec = max(map(len, sounds)), reader_of(form.model)
        frames = spec.frames(longest)
        texts = form.texts(records, "label") if answered else None
        ids = [form.tokenizer.encode(text) for text in texts or ()]
        width = max(map(len, ids), default=0)
        examples = []
        for number, sound in enumerate(sounds):
            once: dict[str, Any] = {}
            if texts is not None:
                if not spec.frames(len(sound)) >= _needed(ids[number]):
                    raise ValueError(
                        f"{records.places[number]}: {len(ids[number])} symbols do not fit into the "
                        f"{spec.frames(len(sound))} frames of this audio; leave the record out"
                    )
                labels = np.full(width, -100, np.float32)
                labels[: len(ids[number])] = ids[number]
                once["labels"] = labels
            examples.append(example_of(sound, longest, frames, once))
        note = f"{records.name}: the longest has {longest:,} samples, {frames:,} frames"
        return Rows(records, numbered(examples), np.arange(len(records)), texts, notes=(note,))

    # ------------------------------------------------------------ training

    def inputs(self, batch):
        return with_mask_of_samples(batch, self.withheld)

    def minimise(self, model, batch, key):
        return self._loss(model, self.output(model, batch, key), batch)

    def measure(self, model, batch):
        output = self.output(model, batch, None)
        answers = {"path": self._path(model, output, batch), NUMBER: batch[NUMBER]}
        return self._loss(model, output, batch)[1], answers

    def respond(self, model, batch):
        output = self.output(model, batch, None)
        path = np.asarray(self._path(model, output, batch))
        return {"path": path, NUMBER: np.asarray(batch[NUMBER])}

    def _loss(self, model: Any, output: Any, batch: Any) -> Any:
        real = batch[NUMBER] >= 0
        lengths = jnp.where(real, reader_of(model).frames(batch[SAMPLES]), 0)
        labels = jnp.where(real[:, None], batch["labels"].astype("int32"), -100)
        blank = model.config.pad_token_id
        losses, count = ctc_loss(output.logits, lengths, labels, blank)
        losses = losses / jnp.maximum(count, 1)
        total = jnp.where(real, losses, 0.0).sum()
        weight = real.sum().astype(jnp.float32)
        return total / jnp.maximum(weight, 1), {"loss": (total, weight)}

    def _path(self, model: Any, output: Any, batch: Any) -> Int[Any, "B T"]:
        """The likeliest class of each frame."""
        best = output.logits.argmax(-1).astype(jnp.int32)
        lengths = reader_of(model).frames(batch[SAMPLES])
        return jnp.where(jnp.arange(best.shape[1]) < lengths[:, None], best, NO_FRAME)

    # ------------------------------------------------------------ answers

    def metrics(self, answers, rows, form):
        assert rows.references is not None
        written = self._texts(answers, form)
        compared = (written, rows.references)
        return {**exact_match(*compared), **character_error_rate(*compared)}

    def predictions(self, answers, rows, form):
        return [{"text": text} for text in self._texts(answers, form)]

    def figure(self, answers, rows, form):
        if rows.references is None:
            return None
        return worst_texts(rows.records.places, self._texts(answers, form), rows.references)

    def _texts(self, answers: Any, form: Form) -> list[str]:
        blank = form.model.config.pad_token_id
        texts = []
        for path in np.asarray(answers["path"]):
            merged = path[np.r_[True, path[1:] != path[:-1]]]
            texts.append(form.tokenizer.decode(merged[(merged != blank) & (merged >= 0)]))
        return texts


def samples_of(value: Any, where: str, column: str) -> Float[np.ndarray, " T"]:
    """The samples of a record.

    Raises:
        ValueError: what is no audio of one channel, or holds no finite numbers.
    """
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        array = np.zeros((0, 0), np.float32)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"{where}: {column!r} holds {type(value).__name__} {np.shape(value)}; expected "
            "the samples of one channel, finite numbers, at the rate of the model"
        )
    return array


def _needed(ids: Int[np.ndarray, " U"]) -> int:
    """How many frames a text needs: one a symbol, and a blank between equal ones."""
    return len(ids) + int((ids[1:] == ids[:-1]).sum())


def reader_of(model: Any) -> Any:
    """How the model's embedder makes frames of samples.

    Raises:
        ValueError: it reads no samples.
    """
    embed = model.last.embed
    if not embed.masks_raw or model.last.reduce is not None:
        raise ValueError(
            f"CTC trains an encoder of waveforms without an adapter, and {model.config.model_type} "
            f"reads {embed.raw[0]} (add_adapter={model.last.reduce is not None}); choose wav2vec2 "
            "or hubert"
        )
    return embed.spec
