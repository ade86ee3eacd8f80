"""When each word is said: the heads of cross-attention that follow the sound, aligned with the
tokens by dynamic time warping (Giorgino 2009; the released code of Radford et al. 2022)."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Float, Int
from transformers_jax.speech.transcript import Word

SMOOTHED = 7  # frames of the median filter, where a config does not say
BEFORE = "'\"“¿([{-"
AFTER = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
UNSPACED = frozenset(("zh", "ja", "th", "lo", "my", "yue"))  # written without spaces between words


def token_times(
    model: Any,
    states: Any,
    prompt: Sequence[int],
    tokens: Sequence[int],
    heads: Sequence[tuple[int, int]],
    places: int,
    width: int,
) -> Float[np.ndarray, " T"]:
    """For each token, the state of the encoder at which it begins.

    Args:
        states: of the encoder, of one row.
        heads: (layer, head) whose attention is averaged.
        places: how many states there are of sound; the others fill the window up.
        width: to which the ids are filled up on the right, so that windows share a program.
    """
    if not tokens:
        return np.zeros(0)
    matrix = attention_of(model, states, prompt, tokens, heads, places, width)
    spread = matrix.std(axis=1, keepdims=True)
    matrix = (matrix - matrix.mean(axis=1, keepdims=True)) / np.where(spread == 0, 1, spread)
    smoothed = median_filter(matrix, getattr(model.config, "median_filter_width", SMOOTHED))
    token, place = warp(-smoothed.mean(axis=0))
    return place[np.flatnonzero(np.diff(token, prepend=-1))].astype(np.float64)


def attention_of(
    model: Any,
    states: Any,
    prompt: Sequence[int],
    tokens: Sequence[int],
    heads: Sequence[tuple[int, int]],
    places: int,
    width: int,
) -> Float[np.ndarray, "H T S"]:
    """How much each token attends to each state of the encoder, by some heads; arguments are those
    of `token_times`."""
    ids = np.zeros((1, width), np.int32)
    ids[0, : len(prompt) + len(tokens)] = [*prompt, *tokens]
    out = model(encoder_outputs=states, decoder_input_ids=ids, output_attentions=True)
    rows = slice(len(prompt), len(prompt) + len(tokens))
    weights = jnp.stack([out.cross_attentions[layer][0, head] for layer, head in heads])
    return np.asarray(weights, np.float64)[:, rows, :places]


def median_filter(x: Float[np.ndarray, "... T"], width: int) -> Float[np.ndarray, "... T"]:
    """The median of `width` values around each, the ends mirrored; what is too short for that stays
    as it is."""
    half = width // 2
    if x.shape[-1] <= half:
        return x
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, half)], mode="reflect")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1), axis=-1)


def warp(cost: Float[np.ndarray, "N M"]) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """The path of least cost from the first pair to the last, by steps of one in either or both.

    Anti-diagonals are computed at once: no pair of one depends on another of it.
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    step = np.zeros((rows + 1, columns + 1), np.int8)  # 0: both, 1: a row, 2: a column
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        both, row, column = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        taken = np.where((row < both) & (row < column), 1, 2)
        taken = np.where((both < row) & (both < column), 0, taken)
        step[i, j] = taken
        total[i, j] = cost[i - 1, j - 1] + np.choose(taken, (both, row, column))
    i, j, path = rows, columns, []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        taken = step[i, j]
        i, j = i - (taken != 2), j - (taken != 1)
    first, second = zip(*path[::-1])
    return np.array(first), np.array(second)


def words_of(
    tokenizer: Any,
    tokens: Sequence[int],
    starts: Sequence[float],
    ends: Sequence[float],
    language: str | None,
) -> tuple[Word, ...]:
    """The words that tokens of text are of: cut at spaces, or at whole characters in languages
    without spaces; punctuation joins the word beside it.

    Args:
        starts, ends: of each token, in seconds.
    """
    found: list[list[Any]] = []  # [text, start, end]
    for text, first, last in _characters(tokenizer, tokens):
        starts_word = (
            language in UNSPACED
            or text.startswith(" ")
            or (text.strip() and text.strip() in string.punctuation)
        )
        if not found or (starts_word and found[-1][0].strip()):
            found.append([text, starts[first], ends[last]])
        else:
            found[-1][0] += text
            found[-1][2] = ends[last]
    return tuple(Word(text, start, end) for text, start, end in _with_punctuation(found))


def _characters(tokenizer: Any, tokens: Sequence[int]) -> list[tuple[str, int, int]]:
    """(text, first token, last token) of the shortest runs of tokens that are whole characters."""
    found, begin = [], 0
    for end in range(len(tokens)):
        text = tokenizer.decode(tokens[begin : end + 1])
        if "�" not in text or end == len(tokens) - 1:
            found.append((text, begin, end))
            begin = end + 1
    return found


def _with_punctuation(found: list[list[Any]]) -> list[list[Any]]:
    """The words, with what opens in front of the next and what closes behind the one before."""
    joined: list[list[Any]] = []
    for text, start, end in found:
        mark = text.strip()
        if joined and mark and mark in AFTER and not joined[-1][0].endswith(" "):
            joined[-1][0] += text
            joined[-1][2] = end
        elif joined and _opens(joined[-1][0]):
            joined[-1] = [joined[-1][0] + text, joined[-1][1], end]
        else:
            joined.append([text, start, end])
    return joined


def _opens(text: str) -> bool:
    mark = text.strip()
    return text.startswith(" ") and bool(mark) and mark in BEFORE
