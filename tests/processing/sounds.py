"""Sounds that are computed, and the settings of what makes features of them."""

import numpy as np

RATE = 16000
CASES = {  # name -> (class, settings, sounds, options of the call)
    "whisper-80": ("Whisper", {"feature_size": 80, "chunk_length": 1}, ("chirp",), {}),
    "whisper-128": ("Whisper", {"feature_size": 128, "chunk_length": 1}, ("noise", "short"), {}),
    "whisper-mask": (
        "Whisper",
        {"feature_size": 12, "chunk_length": 1},
        ("chirp", "short"),
        {"return_attention_mask": True},
    ),
    "whisper-normal": (
        "Whisper",
        {"feature_size": 12, "chunk_length": 1},
        ("chirp", "short"),
        {"do_normalize": True},
    ),
    "whisper-longest": (
        "Whisper",
        {"feature_size": 12, "chunk_length": 1},
        ("long", "short"),
        {"padding": "longest", "truncation": False, "return_attention_mask": True},
    ),
    "whisper-other": (
        "Whisper",
        {"feature_size": 20, "chunk_length": 1, "hop_length": 128, "n_fft": 512},
        ("chirp",),
        {},
    ),
    "ast-plain": ("AST", {"max_length": 60}, ("chirp", "short"), {}),
    "ast-cut": ("AST", {"max_length": 20, "num_mel_bins": 64}, ("noise",), {"truncation": True}),
    "ast-raw": ("AST", {"max_length": 30, "do_normalize": False}, ("short",), {}),
    "wav2vec2-one": ("Wav2Vec2", {}, ("short",), {}),
    "wav2vec2-two": ("Wav2Vec2", {}, ("short", "brief"), {"padding": True}),
    "wav2vec2-mask": (
        "Wav2Vec2",
        {"return_attention_mask": True, "padding_value": 0.5},
        ("brief", "short"),
        {"padding": True},
    ),
    "wav2vec2-left": (
        "Wav2Vec2",
        {"return_attention_mask": True, "padding_side": "left", "do_normalize": False},
        ("brief", "short"),
        {"padding": "max_length", "max_length": 1200, "truncation": True},
    ),
    "wav2vec2-raw": (
        "Wav2Vec2",
        {"do_normalize": False},
        ("brief",),
        {"padding": True, "pad_to_multiple_of": 64},
    ),
}


def sound(name):
    """float32 `[T]` between -1 and 1."""
    rng = np.random.default_rng(1)
    times = np.arange(2 * RATE) / RATE
    chirp = 0.6 * np.sin(2 * np.pi * (200 * times + 900 * times**2)) * np.exp(-times)
    noise = 0.1 * rng.standard_normal(len(times))
    samples = {
        "chirp": chirp[:9000] + 0.01 * noise[:9000],
        "noise": noise[:12345],
        "short": chirp[:2000] + 0.1 * noise[:2000],
        "brief": noise[:777] + 0.05,
        "long": (chirp + 0.1 * noise)[:20000],
    }
    return samples[name].astype(np.float32)
