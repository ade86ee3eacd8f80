"""Green lists: which tokens a watermark favours after a text, and the settings of watermarks.

Source: Kirchenbauer et al. 2023 (algorithms 2 and 3), and 2023b for wider contexts. The lists are
those that transformers draws on CPUs, so that texts of either library are detected by the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.generation.mersenne import permutation, permutation_start

TABLE = 1000003
"""Tokens are numbered anew by a table of this size, in the scheme "selfhash"."""
WORD = 2**64
MOST_CANDIDATES = 40
"""So many of the best tokens are looked at in the scheme "selfhash", as in transformers."""


@dataclass(frozen=True)
class WatermarkingConfig:
    """Settings of a watermark of green lists.

    Attributes:
        greenlist_ratio: which part of the vocabulary is green after each text.
        bias: what is added to the scores of green tokens.
        hashing_key: a secret; detection needs it.
        seeding_scheme: a list depends on the token before ("lefthash"), or on the token itself and
            those before ("selfhash").
        context_width: how many tokens a list depends on, in "selfhash" the token itself included.
    """

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: Literal["lefthash", "selfhash"] = "lefthash"
    context_width: int = 1

    def __post_init__(self) -> None:
        rules = {
            "greenlist_ratio": (_number(self.greenlist_ratio, 0, 1), "in (0, 1)"),
            "bias": (_number(self.bias, -np.inf, np.inf), "a finite number"),
            "hashing_key": (_whole(self.hashing_key, 0), "a whole number from 0 on"),
            "seeding_scheme": (
                self.seeding_scheme in ("lefthash", "selfhash"),
                '"lefthash" or "selfhash"',
            ),
            "context_width": (_whole(self.context_width, 1), "a whole number from 1 on"),
        }
        check_rules(self, rules)


@dataclass(frozen=True)
class SynthIDTextWatermarkingConfig:
    """Settings of a watermark by tournaments. Source: Dathathri et al. 2024.

    Attributes:
        ngram_len: how many tokens decide, the next one included.
        keys: a secret, one number for each layer of the tournament.
        context_history_size: of so many contexts none is marked twice.
        sampling_table_seed, sampling_table_size: of the table of zeros and ones.
        skip_first_ngram_calls: whether the first ngram_len - 1 tokens are left unmarked.
        debug_mode: whether all scores are taken for the same.
    """

    ngram_len: int
    keys: tuple[int, ...]
    context_history_size: int = 1024
    sampling_table_seed: int = 0
    sampling_table_size: int = 2**16
    skip_first_ngram_calls: bool = False
    debug_mode: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.keys, (list, np.ndarray)):
            object.__setattr__(self, "keys", tuple(int(key) for key in self.keys))
        keys = isinstance(self.keys, tuple) and len(self.keys) > 0
        rules = {
            "ngram_len": (_whole(self.ngram_len, 2), "a whole number from 2 on"),
            "keys": (keys and all(_whole(key, 0) for key in self.keys), "whole numbers from 0 on"),
            "context_history_size": (_whole(self.context_history_size, 1), "from 1 on"),
            "sampling_table_seed": (_whole(self.sampling_table_seed, 0), "from 0 on"),
            "sampling_table_size": (
                _whole(self.sampling_table_size, 1) and self.sampling_table_size <= 2**24,
                "from 1 to 2**24",
            ),
        }
        check_rules(self, rules)


Marking = WatermarkingConfig | SynthIDTextWatermarkingConfig


def marking(value: Any) -> Marking:
    """The settings of a watermark: a record, a mapping, or an object with `to_dict()`.

    Raises:
        ValueError: what is neither, or an unknown name among them.
    """
    if isinstance(value, (WatermarkingConfig, SynthIDTextWatermarkingConfig)):
        return value
    value = value.to_dict() if hasattr(value, "to_dict") else value
    if not isinstance(value, Mapping):
        raise ValueError(
            "watermarking_config must be a tj.WatermarkingConfig, a "
            f"tj.SynthIDTextWatermarkingConfig, or a dict of their fields, got {value!r}"
        )
    kind: Any = SynthIDTextWatermarkingConfig if "ngram_len" in value else WatermarkingConfig
    names = {field.name for field in fields(kind)}
    if unknown := sorted(set(value) - names):
        raise ValueError(
            f"watermarking_config: {kind.__name__} has no field {unknown[0]!r}; it has "
            f"{', '.join(sorted(names))}"
        )
    try:
        return kind(**value)
    except TypeError as error:
        raise ValueError(f"watermarking_config: {error}") from error


def greens(
    config: WatermarkingConfig, vocabulary: int, context: Sequence[int] | Int[np.ndarray, " T"]
) -> Int[np.ndarray, " N"]:
    """The green tokens after a context (of "selfhash": whose last token is the one that is asked
    about)."""
    context = [int(token) for token in context][-config.context_width :]
    key = config.hashing_key
    if config.seeding_scheme == "selfhash":
        table = permutation(key, TABLE)
        last = int(table[context[-1] % TABLE]) + 1
        products = (key * (int(table[token % TABLE]) + 1) * last for token in context)
        seed = min(_signed(product) for product in products)
    else:
        seed = _signed(key * context[-1])
    count = int(vocabulary * config.greenlist_ratio)
    return permutation_start((seed % (WORD - 1)) & 0xFFFFFFFF, vocabulary, count)


def _signed(value: int) -> int:
    """As an integer of 64 bits has it."""
    value %= WORD
    return value - WORD if value >= WORD // 2 else value


def check_rules(owner: Any, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Raises ValueError that names every field whose rule does not hold."""
    wrong = [
        f"{name} must be {expected}, got {getattr(owner, name)!r}"
        for name, (holds, expected) in rules.items()
        if not holds
    ]
    if wrong:
        raise ValueError(f"{type(owner).__name__}: {'; '.join(wrong)}")


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low < value < high


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
