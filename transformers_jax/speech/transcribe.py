"""`transcribe`: what audios of any length say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import jax
import numpy as np

from transformers_jax.arrays import Key
from transformers_jax.models.base import check_model
from transformers_jax.speech.decoding import Decoder, Trust
from transformers_jax.speech.frames import frames_of
from transformers_jax.speech.reader import Reader
from transformers_jax.speech.transcript import Transcript
from transformers_jax.speech.vocabulary import Vocabulary, checked, vocabulary_of
from transformers_jax.speech.windows import Progress, Sequential, Steps

Times = Literal["none", "segments", "words"]
Method = Literal["windows", "chunks"]


def transcribe(
    model: Any,
    audio: Any,
    *,
    processor: Any,
    sampling_rate: int | None = None,
    resample: bool = False,
    language: str | Sequence[str] | None = None,
    task: Literal["transcribe", "translate"] | None = None,
    timestamps: Times | None = None,
    method: Method | None = None,
    chunk: float | None = None,
    overlap: float | None = None,
    batch: int = 8,
    prompt: str | None = None,
    condition_on_previous: bool = False,
    trust: Trust = Trust(),
    key: Key | None = None,
    show: Callable[[float], None] = lambda share: None,
    **options: Any,
) -> Any:
    """What an audio of any length says, as a `Transcript`; a list of them for a list of audios.

    Models that write (Whisper) and models of frames (Wav2Vec2 and HuBERT with the head "ctc") are
    read. The latter know no languages, tasks or prompts; the times of their words are those of
    their frames.

    Args:
        audio: a path, the bytes of a file, an array `[T]` of samples, or a list of these.
        processor: of the model (`load_processor`), with its tokenizer.
        sampling_rate: of arrays, in Hz. Another than the model's needs `resample=True`.
        language: an English name, a code, or one for each audio; None: found in the first window.
        task: "transcribe" (None is the same), or "translate" into English.
        timestamps: "segments", "words" (by the model's alignment heads), or "none"; None is
            segments where the model writes times.
        method: "windows" reads long audio window after window, each from the end of the last whole
            sentence (Radford et al. 2022, section 3.8); "chunks" reads overlapping chunks side by
            side and joins their texts. None is windows where the model writes times.
        chunk: seconds that a model of frames reads at once; None is 30. Others have windows.
        overlap: of chunks, in seconds; None is a third of one.
        batch: how many windows are decoded at once.
        prompt: a text taken as said before, for names and spelling.
        condition_on_previous: whether a window is told what the one before said.
        trust: when a window is decoded again, at which temperatures.
        key: for temperatures above 0; `jax.random.key(0)` without it.
        show: told which share is done.
        options: further options of `generate`, such as `num_beams` or `max_new_tokens`; of models
            of frames, `num_beams`, and `words`, `scorer` and `weight` of `decode_ctc`.

    Raises:
        TypeError: an unknown option.
        ValueError: a model or processor that does not fit, what this model cannot do, or audio that
            cannot be read, by its name.
    """
    check_model(model, "transcribe")
    several = isinstance(audio, (list, tuple)) and not _is_samples(audio)
    sources = list(audio) if several else [audio]
    read = partial(_samples, processor, sources, sampling_rate, resample, several)
    if model.plan.head == "ctc":
        told = {"language": language, "task": task, "prompt": prompt, "key": key, "trust": trust}
        _check_of_frames(timestamps, method, batch, {**told, "condition": condition_on_previous})
        frames = frames_of(model, processor, batch)
        times = timestamps or "segments"
        spoken = frames.transcripts(read(), times, chunk, overlap, show, options)
        return spoken if several else spoken[0]
    if chunk is not None:
        raise ValueError("chunk is of models of frames; this model reads windows of one length")
    steps = _steps(model, processor)
    vocabulary = vocabulary_of(model, processor.tokenizer)
    samples = read()
    if timestamps is None:
        timestamps = "none" if vocabulary.no_timestamps is None else "segments"
    times = timestamps != "none"
    if method is None:
        method = "windows" if times else "chunks"
    _check(vocabulary, timestamps, method, batch)
    window = steps.window * processor.audio_processor.features.hop_length
    if method == "windows" and not times and any(len(one) > window for one in samples):
        raise ValueError(
            f"audio longer than {steps.seconds(steps.window):g} s is read in windows by the times "
            "that are written: pass timestamps='segments', or method='chunks'"
        )
    if task is None and vocabulary.tasks:
        task = "transcribe"
    asked = [checked(vocabulary, one, task, times) for one in _each(language, len(samples))]
    prompts = [vocabulary.prompt(code, wanted, times) for code, wanted in asked]
    before = [] if prompt is None else _context(processor.tokenizer, prompt, vocabulary)
    kept = model.reading.positions // 2 - 1  # of what was said before, as in the released code
    given = kept if condition_on_previous else min(len(before), kept)
    decoder = Decoder(
        model=model,
        vocabulary=vocabulary,
        tokenizer=processor.tokenizer,
        trust=trust,
        times=times,
        options=options,
        key=jax.random.key(0) if key is None else key,
        batch=min(batch, max(1, len(samples))) if method == "windows" else batch,
        width=max(map(len, prompts), default=1) + given + (given > 0),
    )
    reader = Reader(processor, decoder, steps, timestamps == "words")
    languages = reader.languages(samples, [code for code, _ in asked], prompts)
    initial = [
        tuple(vocabulary.languages[code or ""] if token is None else token for token in ids)
        for code, ids in zip(languages, prompts)
    ]
    if method == "windows":
        audios = [
            Progress(*reader.features(one), begin, list(before))
            for one, begin in zip(samples, initial)
        ]
        Sequential(decoder, steps, condition_on_previous, kept)(audios, show)
        found = [reader.segments(one, code) for one, code in zip(audios, languages)]
    else:
        over = steps.seconds(steps.window) / 3 if overlap is None else overlap
        found = reader.chunked(samples, initial, over, show)
    rate = processor.audio_processor.sampling_rate
    transcripts = [
        Transcript("".join(s.text for s in segments).strip(), segments, language, len(one) / rate)
        for segments, language, one in zip(found, languages, samples)
    ]
    return transcripts if several else transcripts[0]


def _samples(
    processor: Any, sources: list[Any], rate: int | None, resample: bool, several: bool
) -> list[Any]:
    """The samples of each audio, at the rate of the model."""
    name = lambda number: f"audio {number}" if several else "audio"
    return [
        processor.audio_processor.samples(one, rate, resample=resample, name=name(number))
        for number, one in enumerate(sources)
    ]


def _check_of_frames(timestamps: Any, method: Any, batch: Any, told: Mapping[str, Any]) -> None:
    """Settings that a model of frames takes.

    Raises:
        ValueError: others.
    """
    _check_words(timestamps, method, batch)
    unused = [name for name, value in told.items() if value not in (None, False, Trust())]
    if method == "windows":
        unused.append("method='windows'")
    if unused:
        raise ValueError(
            f"a model of frames (head 'ctc') writes what each frame says: leave out "
            f"{', '.join(unused)}, which models that write, such as Whisper, are told"
        )


def _steps(model: Any, processor: Any) -> Steps:
    """How long a frame, a window and a step of time are.

    Raises:
        ValueError: a model that does not write what it hears, or a processor without its features
            or tokenizer.
    """
    if model.reading.source_raw != ("input_features",) or not model.reading.writes:
        raise ValueError(
            f"transcribe needs a model that reads input_features and writes text, such as "
            f"WhisperForConditionalGeneration, or one of frames, such as Wav2Vec2ForCTC; this is a "
            f"{model.config.model_type} with the head {model.plan.head!r}"
        )
    extract: Any = getattr(getattr(processor, "audio_processor", None), "features", None)
    if not hasattr(extract, "log_mel") or processor.tokenizer is None:
        raise ValueError(
            "transcribe needs the processor of the model, with log-mel features and a tokenizer: "
            "processor=tj.load_processor(directory)"
        )
    if extract.feature_size != model.config.num_mel_bins:
        raise ValueError(
            f"the processor makes {extract.feature_size} mel channels, and the model reads "
            f"{model.config.num_mel_bins}; load both from one directory"
        )
    per_time = 2  # the stride of the encoder's convolutions
    return Steps(
        extract.hop_length / extract.sampling_rate,
        per_time * model.config.max_source_positions,
        per_time,
    )


def _check(vocabulary: Vocabulary, timestamps: str, method: str, batch: Any) -> None:
    """Settings that are known and fit together.

    Raises:
        ValueError: otherwise, with what is expected.
    """
    _check_words(timestamps, method, batch)
    if timestamps == "words" and method == "chunks":
        raise ValueError("times of words are found in windows; pass method='windows'")
    if timestamps == "words" and not vocabulary.heads:
        raise ValueError(
            "times of words need alignment_heads in generation_config.json; pass "
            "timestamps='segments'"
        )


def _check_words(timestamps: Any, method: Any, batch: Any) -> None:
    """Raises ValueError for settings that are none of those that there are."""
    for name, value, kind in (("timestamps", timestamps, Times), ("method", method, Method)):
        if value is not None and value not in get_args(kind):
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(get_args(kind))}")
    if type(batch) is not int or batch < 1:
        raise ValueError(f"batch is {batch!r}; expected a whole number from 1 on")


def _each(language: str | Sequence[str] | None, rows: int) -> list[str | None]:
    """A language for each audio."""
    if language is None or isinstance(language, str):
        return [language] * rows
    if len(language) != rows:
        raise ValueError(f"language has {len(language)} names for {rows} audios; give one for each")
    return list(language)


def _context(tokenizer: Any, prompt: str, vocabulary: Vocabulary) -> list[int]:
    """The tokens of a text that is taken as said before.

    Raises:
        ValueError: no token says that something was said before.
    """
    if vocabulary.previous is None:
        raise ValueError("this model has no token <|startofprev|>, so that it takes no prompt")
    text = f" {prompt.strip()}"
    return tokenizer.inner.encode(text, add_special_tokens=False).ids


def _is_samples(audio: Sequence[Any]) -> bool:
    return bool(audio) and all(isinstance(x, (int, float, np.number)) for x in audio)
