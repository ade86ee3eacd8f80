"""CTC: sound as text, by connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.classes import characters
from transformers_jax.data.classes.table import ANGLES
from transformers_jax.data.tables import Records
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.unknown import check_characters
from transformers_jax.metrics import character_error_rate, exact_match, word_error_rate
from transformers_jax.nn.ctc import ctc_loss
from transformers_jax.processing.audio.features import Waveforms
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.figures import errors_of
from transformers_jax.tasks.rows import NUMBER, Form, Rows
from transformers_jax.tasks.sounds import (
    AUDIO,
    SAMPLES,
    SoundExamples,
    Sounds,
    Waves,
    sounds_of,
    waves_for,
)
from transformers_jax.tasks.warned import WARNING

NO_FRAME = -1
"""Stands for the class of a frame behind the audio."""


def waves_of(form: Form, records: Records) -> tuple[Records, Sounds, Waves, list[str]]:
    """(records, their recordings, what becomes of each, what is told of them).

    Raises:
        ValueError: as of `sounds_of` and `waves_for`; a processor that makes no waveforms.
    """
    spec = reader_of(form.model)
    records, sounds = sounds_of(form, records, least=spec.samples(1))
    features: Any = sounds.processor.features
    if not isinstance(features, Waveforms):
        raise ValueError(
            f"{form.model.config.model_type} reads waveforms, and the processor makes "
            f"{type(features).__name__}: name that of the model, --data.processor DIR"
        )
    longest = int(sounds.lengths.max())
    frames = spec.frames(longest)
    rate = features.sampling_rate
    note = (
        f"{records.name}: the longest has {longest:,} samples ({longest / rate:.1f} s at {rate:,} "
        f"Hz), {frames:,} frames"
    )
    return records, sounds, waves_for(form, sounds, spec), [note]


def with_mask_of_samples(batch: Mapping[str, Any], withheld: tuple[str, ...]) -> dict[str, Any]:
    """What the model reads of a batch; a row that only fills it up is silence."""
    given = {name: value for name, value in batch.items() if name not in withheld}
    length, samples = batch["input_values"].shape[1], batch[SAMPLES][:, None]
    given["attention_mask"] = ((np.arange(length) < samples) | (samples < 0)).astype("int32")
    return given


@dataclass(frozen=True)
class CTC(Task):
    """The text of a recording: a table with columns "audio" (files, or samples) and "text". The
    blank is the tokenizer's padding. The loss is the mean over records of -log p(text), divided by
    the length of the text."""

    head: ClassVar[str] = "ctc"
    metric: ClassVar[str] = "exact_match"
    needed: ClassVar[tuple[str, ...]] = ("audio", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "audio": AUDIO,
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

    def learned_tokenizer(self, kind, texts, size):
        """Characters are those of Wav2Vec2CTCTokenizer, by which PyTorch reads the model too."""
        if kind != "character":
            return super().learned_tokenizer(kind, texts, size)
        special = {"pad": ANGLES["pad"], "unk": ANGLES["unk"]}
        inner, vocabulary = characters.learned(texts, special)
        settings = {characters.DELIMITER: characters.GAP, "do_lower_case": False}
        settings |= {"bos_token": None, "eos_token": None}
        return Tokenizer(
            inner, "loaded", special, config=settings, files={characters.VOCAB: vocabulary},
            tokenizer_class=characters.NAME, returns_types=False,
        )  # fmt: skip

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        records, sounds, waves, notes = waves_of(form, records)
        texts = form.texts(records, "label") if answered else None
        lacking = check_characters(form.tokenizer, texts or (), records.places)
        notes = [*notes, *(f"{WARNING}{line}" for line in lacking)]
        ids = [form.tokenizer.encode(text) for text in texts or ()]
        width = max(map(len, ids), default=0)
        once: list[dict[str, Any]] = [{} for _ in range(len(sounds))]
        for number, own in enumerate(ids):
            frames = int(reader_of(form.model).frames(int(sounds.lengths[number])))
            if not frames >= _needed(own):
                raise ValueError(
                    f"{sounds.named(number)}: {len(own)} symbols do not fit into the {frames} "
                    "frames of this audio; leave the record out"
                )
            labels = np.full(width, -100, np.int32)
            labels[: len(own)] = own
            once[number] = {"labels": labels}
        examples = SoundExamples(sounds, waves, once)
        return Rows(records, examples, np.arange(len(records)), texts, notes=tuple(notes))

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
        labels = jnp.where(real[:, None], batch["labels"], -100)
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
        figures = {**exact_match(*compared), **character_error_rate(*compared)}
        return {**figures, **word_error_rate(*compared)}

    def predictions(self, answers, rows, form):
        return [{"text": text} for text in self._texts(answers, form)]

    def figure(self, answers, rows, form):
        if rows.references is None:
            return None
        return errors_of(rows.records.places, self._texts(answers, form), rows.references)

    def _texts(self, answers: Any, form: Form) -> list[str]:
        blank = form.model.config.pad_token_id
        texts = []
        for path in np.asarray(answers["path"]):
            merged = path[np.r_[True, path[1:] != path[:-1]]]
            ids = merged[(merged != blank) & (merged >= 0)]
            texts.append(form.tokenizer.decode(ids, skip_special_tokens=True))
        return texts


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
