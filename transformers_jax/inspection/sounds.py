"""Pictures of a recording: what a model hears, and where in it each of its tokens is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.arrays import Float
from transformers_jax.inspection.pictures import INK, PAPER, show_token
from transformers_jax.processing.audio.features import Lengths, WhisperFeatures
from transformers_jax.processing.processor import Processor
from transformers_jax.speech import Transcript, Trust, transcribe
from transformers_jax.speech.frames import frames_of
from transformers_jax.speech.vocabulary import vocabulary_of
from transformers_jax.speech.words import attention_of

LONGEST = 60  # tokens of a picture that bear their names


def draw_sound(model: Any, processor: Processor, audio: Any, folder: Path) -> list[Path]:
    """Writes sound.png, the log-mel features (of models of frames, the scores of their symbols)
    over time, and alignment.png, in which frames each token of what was written was seen: by the
    cross-attention that follows the sound, or by the scores. Returns the files.

    Raises:
        ValueError: a model that writes no text of sound, or audio that cannot be read.
    """
    sound: Any = processor.audio_processor
    if sound is None:
        raise ValueError("--audio: the processor of this model takes no sound")
    samples = sound.samples(audio, resample=True)
    if model.plan.head == "ctc":
        return _of_frames(model, processor, samples, folder)
    features: Any = sound.features
    if not isinstance(features, WhisperFeatures) or processor.tokenizer is None:
        raise ValueError(
            f"--audio: {model.config.model_type} with the head {model.plan.head!r} writes no text "
            "of log-mel features; give Whisper, or a model with a head of CTC"
        )
    samples = samples[: features.chunk_length * features.sampling_rate]
    once = Trust(temperatures=(0.0,), no_speech=None)
    said = transcribe(model, samples, processor=processor, trust=once)
    frames = -(-len(samples) // features.hop_length)
    mels = features([samples], Lengths())["input_features"][0]
    seconds = len(samples) / features.sampling_rate
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "sound.png"]
    title = f"{model.config.model_type}: log-mel features, {said.text!r:.80}"
    draw_over_time(mels[:, :frames], seconds, None, title, "mel channel", written[0])
    matrix, tokens = _aligned(model, processor, said, mels, frames)
    if tokens:
        written.append(folder / "alignment.png")
        title = f"{model.config.model_type}: cross-attention, {said.text!r:.80}"
        draw_over_time(matrix[::-1], seconds, tokens[::-1], title, "token", written[1])
    return written


def _aligned(
    model: Any, processor: Processor, said: Transcript, mels: Any, frames: int
) -> tuple[Float[np.ndarray, "T S"], list[str]]:
    """(the attention of each token that was written, the tokens)."""
    words = vocabulary_of(model, processor.tokenizer)
    ids = [token for segment in said.segments for token in segment.tokens]
    if words.first_time is not None:
        ids = [token for token in ids if token < words.first_time]
    code = said.language if words.languages else None
    prompt = words.prompt(code, "transcribe" if words.tasks else None, False)
    heads = words.heads or [  # as the released code does it: those of the upper half
        (layer, head)
        for layer in range(model.config.decoder_layers // 2, model.config.decoder_layers)
        for head in range(model.config.decoder_attention_heads)
    ]
    ids = ids[: model.reading.positions - len(prompt) - 1]
    if not ids:
        return np.zeros((0, 0)), []
    states = model.encode(input_features=mels[None])
    given = [int(token) for token in prompt if token is not None]
    matrix = attention_of(model, states, given, ids, heads, frames // 2, model.reading.positions)
    tokenizer: Any = processor.tokenizer
    return matrix.mean(0), [show_token(tokenizer.decode([token])) for token in ids]


def _of_frames(model: Any, processor: Processor, samples: Any, folder: Path) -> list[Path]:
    """The probabilities of symbols over time, of those that are ever likely."""
    frames = frames_of(model, processor, 1)
    said = frames.transcripts([samples], "segments", None, None, lambda share: None, {})[0]
    second = frames.features.sampling_rate
    size = max(len(samples) // frames.stride * frames.stride + frames.stride, 30 * second)
    scores = frames.scores([samples], size, 0, lambda share: None)[0].astype(np.float64)
    exponents = np.exp(scores - scores.max(1, keepdims=True))
    shares = (exponents / exponents.sum(1, keepdims=True)).T
    likely = [n for n in range(len(shares)) if shares[n].max() > 0.3 and n != frames.symbols.blank]
    names = [show_token(frames.symbols.names[n] or str(n)) for n in likely]
    order = sorted(range(len(likely)), key=lambda n: shares[likely[n]].argmax())
    path, seconds = folder / "alignment.png", len(samples) / second
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{model.config.model_type}: symbols over time, {said.text!r:.80}"
    rows = shares[[likely[n] for n in order]] if likely else shares
    draw_over_time(rows[::-1], seconds, [names[n] for n in order][::-1], title, "symbol", path)
    return [path]


def draw_over_time(
    rows: Float[np.ndarray, "R T"],
    seconds: float,
    names: Sequence[str] | None,
    title: str,
    what: str,
    path: Path,
) -> None:
    """One figure: a row for each channel or token, time from left to right.

    Args:
        names: of the rows, from the bottom.
        what: a row is.
    """
    from matplotlib.figure import Figure

    height = 3.5 if names is None else min(2.0 + 0.2 * len(rows), 14.0)
    figure = Figure(figsize=(10, height), facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    colours = "magma" if names is None else "Blues"
    drawn = axes.imshow(
        rows, origin="lower", aspect="auto", cmap=colours, interpolation="nearest",
        extent=(0, seconds, 0, len(rows)),
    )  # fmt: skip
    axes.set_title(title.replace("$", r"\$"), loc="left", color=INK, fontsize=10)
    axes.set(xlabel="seconds", ylabel=what)
    if names is not None and len(names) <= LONGEST:
        axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    figure.savefig(path, dpi=120)
