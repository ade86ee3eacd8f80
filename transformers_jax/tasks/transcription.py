"""Transcription: the text of recordings, token by token, as Whisper writes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.augment.spectra import SpecAugment
from transformers_jax.data.tables import Records
from transformers_jax.data.unknown import check_characters
from transformers_jax.generation import generate
from transformers_jax.metrics import character_error_rate, word_error_rate
from transformers_jax.objectives.losses import seq2seq_lm
from transformers_jax.processing.audio.features import Waveforms, WhisperFeatures
from transformers_jax.speech.vocabulary import Vocabulary, checked, vocabulary_of
from transformers_jax.tasks.figures import errors_of
from transformers_jax.tasks.rows import NUMBER, Form, Rows
from transformers_jax.tasks.sounds import (
    AUDIO,
    SAMPLES,
    SoundExamples,
    Sounds,
    Spectra,
    Waves,
    sounds_of,
    waves_for,
)
from transformers_jax.tasks.speech import with_mask_of_samples
from transformers_jax.tasks.warned import WARNING
from transformers_jax.tasks.writing import Writing

PROMPT = "prompt"
"""The entry of a batch with the tokens that a text begins with."""
SEGMENTS = "segments"
"""The column of what was said when: [{"start": seconds, "end": seconds, "text": ...}, ...]."""
FEATURES, WAVES = ("input_features",), ("input_values",)  # what encoders of sound read
TIME = 0.02  # seconds of a token of time


@dataclass(frozen=True)
class Transcription(Writing):
    """What is said in a recording: a table with columns "audio" (files, or samples) and "text".

    The loss is that of Whisper's training (Radford et al. 2022, section 2.3): all tokens behind the
    start are predicted, those of language, task and times among them. In evaluations the model is
    given these and writes the text.
    """

    metric: ClassVar[str] = "word_error_rate"
    lower: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("sound", "text")
    needed: ClassVar[tuple[str, ...]] = ("audio", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "audio": AUDIO,
        "label": ("text", "transcription", "sentence", "label"),
    }
    peak: ClassVar[float] = 1e-5
    withheld: ClassVar[tuple[str, ...]] = (NUMBER, SAMPLES, PROMPT)

    language: str = ""
    """what is spoken, by its English name or its code; needed by models of several languages"""
    translates: bool = False
    """the texts are English, whatever is spoken"""
    timestamps: bool = False
    """texts are those of the column "segments", each between the times at which it begins and
    ends"""
    max_new_tokens: int = 0
    """most tokens of a text that is written; 0: as many as the model allows"""
    num_beams: int = 1
    """texts that beam search keeps; 1: greedy"""
    bands: int = 0
    """SpecAugment: how many bands of frequency are hidden in training"""
    band: int = 27
    """mels of a band at most"""
    stretches: int = 0
    """SpecAugment: how many stretches of time are hidden in training"""
    stretch: int = 100
    """frames of a stretch at most"""
    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("max_new_tokens", "bands", "band", "stretches", "stretch")
        self.at_least("objective.", **dict.fromkeys(counts, 0), num_beams=1)

    @classmethod
    def trains(cls, model: Any) -> bool:
        """Whether a model writes what it hears."""
        return model.plan.head == cls.head and model.reading.source_raw in (FEATURES, WAVES)

    @property
    def _task(self) -> str:
        return "translate" if self.translates else "transcribe"

    @property
    def learns_labels(self) -> bool:
        return True

    # ------------------------------------------------------------ data

    def generation(self, tokenizer):
        """Language and task, which `tj.transcribe` and PyTorch's `generate` take from there."""
        return {"language": self.language, "task": self._task} if self.language else {}

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        records, sounds = sounds_of(form, records, least=self._least(form))
        words = vocabulary_of(form.model, form.tokenizer)
        prompt = self._prompt(words)
        read, note = self._reading(form, sounds)
        once = [{PROMPT: np.array(prompt, np.int32)} for _ in range(len(sounds))]
        notes = [f"{records.name}: {note}"]
        references, targets = None, list[np.ndarray]()
        if answered:
            references, texts = self._texts_of(form, records, words)
            lacking = check_characters(form.tokenizer, references, records.places)
            notes += [f"{WARNING}{line}" for line in lacking]
            targets = [_int32([*prompt[1:], *ids, words.end[0]]) for ids in texts]
            longest, most = max(map(len, targets)), form.model.reading.positions
            for where, ids in zip(records.places, targets):
                if most is not None and len(ids) > most:
                    raise ValueError(
                        f"{where}: {len(ids)} tokens are to be written, and the model writes "
                        f"{most} at most; cut the recording, or leave it out"
                    )
            notes.append(f"{records.name}, targets: the longest has {longest:,} tokens")
        examples = SoundExamples(sounds, read, once, targets)
        return Rows(records, examples, np.arange(len(records)), references, notes=tuple(notes))

    def _prompt(self, words: Vocabulary) -> list[int]:
        """The tokens that a text begins with.

        Raises:
            ValueError: a language or times that the model does not know, or needs.
        """
        if words.languages and not self.language:
            known = ", ".join([*words.languages][:8])
            raise ValueError(
                f"the model knows {len(words.languages)} languages ({known}, ...): say which is "
                "spoken, --objective.language en"
            )
        task = self._task if words.tasks else None
        if task is None and self.translates:
            raise ValueError("the model knows no tasks: leave out --objective.translates")
        code, chosen = checked(words, self.language or None, task, self.timestamps)
        return [int(token) for token in words.prompt(code, chosen, self.timestamps) if token]

    @staticmethod
    def _least(form: Form) -> int:
        """Samples that the encoder makes a state of."""
        tower: Any = form.model
        waves = form.model.reading.source_raw == WAVES
        return tower.towers["encoder"].embed.spec.samples(1) if waves else 1

    def _reading(self, form: Form, sounds: Sounds) -> tuple[Waves | Spectra, str]:
        """(what becomes of samples, what is told of them).

        Raises:
            ValueError: a processor of another kind than the model reads, or a recording that is
                longer than its window.
        """
        features: Any = sounds.processor.features
        raw, model = form.model.reading.source_raw, form.model.config.model_type
        kinds: Any = {FEATURES: WhisperFeatures, WAVES: Waveforms}
        kind = kinds.get(raw)
        if kind is None or not isinstance(features, kind):
            raise ValueError(
                f"{model} reads {', '.join(raw) or 'text'}, and the processor makes "
                f"{type(features).__name__}: name that of the model, --data.processor DIR"
            )
        longest, rate = int(sounds.lengths.max()), features.sampling_rate
        note = f"the longest has {longest / rate:.1f} s at {rate:,} Hz"
        if kind is Waveforms:
            if self.bands or self.stretches:
                raise ValueError(
                    "bands and stretches are of spectra, and this encoder reads waveforms: its own "
                    "settings hide frames, mask_time_prob of its config"
                )
            tower: Any = form.model
            return waves_for(form, sounds, tower.towers["encoder"].embed.spec), note
        window = features.chunk_length * rate
        for where, length in zip(sounds.places, sounds.lengths.tolist()):
            if length > window:
                raise ValueError(
                    f"{where}: {length / rate:.1f} s of audio, and the model reads "
                    f"{features.chunk_length} s: cut the recording, or leave it out "
                    "(tj.transcribe reads audio of any length)"
                )
        states = form.model.reading.source_positions
        hidden = None
        if self.bands or self.stretches:
            hidden = SpecAugment(self.bands, self.band, self.stretches, self.stretch)
        return Spectra(features, int(states or window // features.hop_length), hidden), note

    def _texts_of(
        self, form: Form, records: Records, words: Vocabulary
    ) -> tuple[list[str], list[list[int]]]:
        """(the text of each record, the ids that are written for it).

        Raises:
            ValueError: a value that is no text, or no segments.
        """
        encode = lambda text: form.tokenizer.encode(text, parse_special=False).tolist()
        if not self.timestamps:
            texts = form.texts(records, "label")
            return texts, [encode(text) for text in texts]
        assert words.first_time is not None
        texts, rows = [], []
        for where, value in zip(records.places, records.column(SEGMENTS, "data.label")):
            ids: list[int] = []
            for start, end, text in _segments(value, where):
                times = [words.first_time + round(at / TIME) for at in (start, end)]
                ids += [times[0], *encode(text), times[1]]
            texts.append("".join(text for _, _, text in _segments(value, where)))
            rows.append(ids)
        return texts, rows

    # ------------------------------------------------------------ training, answers

    def inputs(self, batch):
        if SAMPLES in batch:
            return with_mask_of_samples(batch, self.withheld)
        return {name: value for name, value in batch.items() if name not in self.withheld}

    def minimise(self, model, batch, key):
        return seq2seq_lm(model, self.inputs(batch), key)

    def learned(self, rows, form):
        return self

    def writing(self, most):
        return dataclasses.replace(self, max_new_tokens=most)

    def write(self, model: Any, batch: Mapping[str, Any], **options: Any) -> dict[str, np.ndarray]:
        """The ids that the model writes for each row of a batch, behind those it is given."""
        inputs = self.inputs(batch)
        read = ("input_features", "input_values", "attention_mask")
        given = {name: inputs[name] for name in read if name in inputs}
        prompt = np.array(batch[PROMPT], np.int32)
        prompt[(prompt < 0).any(1)] = prompt[0]  # a row without an example has to have one
        room = model.reading.positions
        most = self.max_new_tokens or (448 if room is None else room) - prompt.shape[1]
        options = {"do_sample": False, "num_beams": self.num_beams, **options}
        options = {"max_new_tokens": most, "return_timestamps": self.timestamps, **options}
        ids = generate(model, **given, decoder_input_ids=prompt, **options)
        written = np.asarray(ids)[:, prompt.shape[1] :]
        return {"sequences": written, NUMBER: np.asarray(batch[NUMBER])}

    def _texts(self, answers, form):
        first = vocabulary_of(form.model, form.tokenizer).first_time
        rows = np.asarray(answers["sequences"])
        keep = (rows >= 0) & (rows < (np.iinfo(np.int32).max if first is None else first))
        kept = [row[words].tolist() for row, words in zip(rows, keep)]
        return [form.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in kept]

    def figure(self, answers, rows, form):
        if rows.references is None:
            return None
        return errors_of(rows.records.places, self._texts(answers, form), rows.references)

    def figures(self, texts, references):
        return {**word_error_rate(texts, references), **character_error_rate(texts, references)}


def _int32(ids: list[int]) -> Int[np.ndarray, " T"]:
    return np.array(ids, np.int32)


def _segments(value: Any, where: str) -> list[tuple[float, float, str]]:
    """(start, end, text) of each segment.

    Raises:
        ValueError: no list of them, or times that go back.
    """
    try:
        found = [(float(one["start"]), float(one["end"]), str(one["text"])) for one in value]
    except (TypeError, KeyError, ValueError):
        found = []
    times = [time for start, end, _ in found for time in (start, end)]
    if not found or times != sorted(times) or times[0] < 0:
        raise ValueError(
            f"{where}: {SEGMENTS!r} holds {value!r:.60}; expected a list of "
            '{"start": seconds, "end": seconds, "text": ...}, one after the other'
        )
    return found
