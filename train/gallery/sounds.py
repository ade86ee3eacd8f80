"""The families of `train.gallery` that hear: tones one after the other, and what names them.

A second of sound at 2 kHz has three tones of four pitches, at places drawn from the seed, in noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import transformers_jax as tj
from transformers_jax.inspection.images import draw_tiles, enlarged, over
from transformers_jax.inspection.measures import rollout
from transformers_jax.inspection.sounds import draw_over_time
from transformers_jax.processing.audio.processor import audio_processor

RATE, MELS, FRAMES, NOTES = 2000, 16, 50, 3
PITCHES = (200, 320, 500, 800)
PAD, START, END = 0, 1, 2
"""The pitch n is the token n + 3."""
NAMES = [f"{pitch} Hz" for pitch in PITCHES]


def sounds(rng: np.random.Generator, notes: np.ndarray) -> np.ndarray:
    """Float[N 2000]: tones at places drawn from `rng`, of the pitches Int[N notes]."""
    time = np.arange(RATE) / RATE
    made = rng.normal(0, 0.1, (len(notes), RATE))
    for sound, row in zip(made, notes):
        gaps = rng.dirichlet(np.full(len(row) + 1, 2.0)) * (1 - 0.2 * len(row))
        for number, pitch in enumerate(row):
            begin = int(RATE * (gaps[: number + 1].sum() + 0.2 * number))
            sound[begin : begin + 300] += np.sin(2 * np.pi * PITCHES[pitch] * time[:300])
    return made.astype(np.float32)


def mels(samples: np.ndarray) -> np.ndarray:
    """Float[N 16 50]: log-mel features."""
    settings = dict(feature_size=MELS, chunk_length=1, sampling_rate=RATE, hop_length=40, n_fft=128)
    processor = audio_processor({"feature_extractor_type": "WhisperFeatureExtractor", **settings})
    return np.asarray(processor([*samples], RATE)["input_features"], np.float32)


def batch(kind: str, seed: int, rows: int = 16) -> dict[str, Any]:
    """The arguments of a call: a pure function of the seed."""
    rng = np.random.default_rng(seed)
    notes = rng.integers(0, len(PITCHES), (rows, 1 if kind == "names" else NOTES))
    samples = sounds(rng, notes)
    end = np.full((rows, 1), END)
    if kind == "names":
        return {"input_values": mels(samples).transpose(0, 2, 1), "labels": notes[:, 0]}
    if kind == "spells":
        return {"input_values": samples, "labels": notes + 3}
    written = np.concatenate([notes + 3, end], axis=1)
    if kind == "hears samples":
        return {"input_values": samples, "labels": written}
    return {"input_features": mels(samples), "labels": written}


TOWER: dict[str, Any] = dict(
    hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
)
WAVES: dict[str, Any] = dict(
    **TOWER, vocab_size=7, conv_dim=(32, 48), conv_kernel=(40, 4), conv_stride=(20, 2),
    num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, feat_extract_norm="layer",
    do_stable_layer_norm=True, apply_spec_augment=False, layerdrop=0.0, hidden_dropout=0.0,
    attention_dropout=0.0, activation_dropout=0.0, final_dropout=0.0, feat_proj_dropout=0.0,
    ctc_loss_reduction="mean", pad_token_id=PAD,
)  # fmt: skip
BEGINS: dict[str, Any] = dict(decoder_start_token_id=START, pad_token_id=PAD, eos_token_id=END)


def _whisper() -> Any:
    sides = {f"{side}_layers": 2 for side in ("encoder", "decoder")}
    sides |= {f"{side}_attention_heads": 4 for side in ("encoder", "decoder")}
    sides |= {f"{side}_ffn_dim": 96 for side in ("encoder", "decoder")}
    return tj.WhisperConfig(
        vocab_size=7, num_mel_bins=MELS, d_model=48, max_source_positions=FRAMES // 2,
        max_target_positions=8, init_std=0.1, **sides, **BEGINS,
    )  # fmt: skip


def _speech() -> Any:
    decoder = tj.GPT2Config(
        vocab_size=7, n_positions=8, n_embd=48, n_layer=1, n_head=4, add_cross_attention=True,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return tj.SpeechEncoderDecoderConfig(
        encoder=tj.Wav2Vec2Config(**WAVES), decoder=decoder, **BEGINS
    )


@dataclass(frozen=True)
class Heard:
    """What is trained for a family that hears; its figure follows from `kind`."""

    config: Callable[[], Any]
    head: str
    kind: str
    steps: int = 150


HEARD = {
    "audio-spectrogram-transformer": Heard(
        lambda: tj.ASTConfig(
            **TOWER, patch_size=4, frequency_stride=4, time_stride=4, max_length=FRAMES,
            num_mel_bins=MELS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ).replace(num_labels=len(PITCHES)),
        "audio_classification", "names",
    ),
    "wav2vec2": Heard(lambda: tj.Wav2Vec2Config(**WAVES), "ctc", "spells"),
    "hubert": Heard(lambda: tj.HubertConfig(**WAVES), "ctc", "spells", steps=400),
    "whisper": Heard(_whisper, "seq2seq_lm", "hears", steps=400),
    "speech-encoder-decoder": Heard(_speech, "seq2seq_lm", "hears samples", steps=400),
}  # fmt: skip


def draw(name: str, model: Any, path: Path) -> None:
    """Writes the figure of a family, of a sound that was in no batch."""
    kind = HEARD[name].kind
    inputs = batch(kind, 10**6, 1)
    labels = inputs.pop("labels")
    if kind == "names":
        out = model(**inputs, output_attentions=True)
        weights = [np.asarray(each, np.float64) for each in out.attentions]
        shown = rollout(weights)[0, 0, 2:].reshape(model.embed.spec.grid)
        heard = inputs["input_values"][0].T[::-1]
        levels = (heard - heard.min()) / np.ptp(heard)
        picture = np.repeat(levels[..., None], 3, -1)
        tiles = [[enlarged(picture, 300)], [over(picture[:, :48], shown[::-1], 288)]]
        draw_tiles(tiles, f"{name}: log-mel features, and rollout", path, ("read", "rollout"))
    elif kind == "spells":
        scores = np.asarray(model(**inputs).logits[0], np.float64)
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        title = f"{name}: symbols over time; there are {_names(labels[0])}"
        draw_over_time(shares[:, 3:].T, 1.0, NAMES, title, "symbol", path)
    else:
        first = np.full((1, 1), START)
        inputs["decoder_input_ids"] = np.concatenate([first, labels[:, :-1]], axis=1)
        layer = model(**inputs, output_attentions=True).cross_attentions[-1]
        rows = np.asarray(layer[0], np.float64).mean(0)[:NOTES]
        names = [NAMES[token - 3] for token in labels[0, :NOTES]]
        title = f"{name}: cross-attention of each token to the sound"
        draw_over_time(rows[::-1], 1.0, names[::-1], title, "token", path)


def _names(tokens: Any) -> str:
    return ", ".join(NAMES[token - 3] for token in tokens)
