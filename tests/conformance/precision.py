"""How far logits in bfloat16 are from those in float32, of the same texts in PyTorch and here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
PYTORCH = HERE / "precision.json"
"""PyTorch's errors by case, written by make_precision.py."""
ROWS, LENGTH, FIRST = 24, 24, 3


def decoder_cases() -> dict[str, dict[str, Any]]:
    """The config of the first case of each family with a decoder's language model."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in sorted((HERE / "cases").glob("*/config.json")):
        config = json.loads(path.read_text())
        name = (config.get("architectures") or [""])[0]
        head = name.endswith(("ForCausalLM", "LMHeadModel"))
        if head and not config.get("vision_config") and path.parent.name.split("-")[0] != "older":
            found.setdefault(config["model_type"], (path.parent.name, config))
    return dict(found.values())


def ids_of(config: dict[str, Any]) -> np.ndarray:
    """Texts of random tokens, Int[24 24]."""
    vocabulary = config["vocab_size"]
    return np.random.default_rng(0).integers(FIRST, vocabulary, (ROWS, LENGTH))


def error(low: np.ndarray, high: np.ndarray) -> float:
    """The root mean square of the difference of a token's logits, relative to that of the logits in
    float32: the median over tokens. (The few tokens whose router takes another expert are off by
    ten times as much, there and here, and which they are is chance.)"""
    low, high = (x.astype(np.float64) for x in (low, high))
    square = lambda x: np.mean(x**2, axis=-1)
    return float(np.median(np.sqrt(square(low - high) / square(high))))


def pytorch_errors() -> dict[str, float]:
    """PyTorch's errors by case."""
    return json.loads(PYTORCH.read_text())
