"""Texts of uneven lengths, served continuously in slots and in static batches:

    python -m benchmarks.serving [--requests 48] [--slots 8] [--rounds 3]

A GPT-2 of 6 layers with random weights writes texts whose prompts have 8 to 128 tokens and whose
answers have 4 to 128, both log-uniform. A static batch takes as long as its longest answer; a slot
that is free takes the next text. Also: conversations whose turns are read from where the slot was.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import jax
import numpy as np

import transformers_jax as tj
from benchmarks.cases.serving import LENGTH, SIZES, WORDS, in_slots, requests
from transformers_jax.generation.slots import Slots


def in_batches(model: Any, texts: list[tuple[list[int], int]], count: int) -> None:
    """Writes the texts in batches as they come, each until its longest answer has ended."""
    for start in range(0, len(texts), count):
        part = texts[start : start + count]
        width = max(len(prompt) for prompt, _ in part)
        ids = np.array([[0] * (width - len(prompt)) + prompt for prompt, _ in part])
        new = max(new for _, new in part)
        mask = (ids > 0).astype(int)
        np.asarray(tj.generate(model, ids, attention_mask=mask, max_new_tokens=new))


def turns(model: Any, reuse: bool) -> float:
    """Seconds until the first token of the last of eight turns of 32 tokens."""
    slots, text = Slots(model, 1, LENGTH), np.random.default_rng(1).integers(3, WORDS, 480).tolist()
    for turn in range(1, 9):
        if not reuse:
            slots = Slots(model, 1, LENGTH)
        begin = time.perf_counter()
        slot, _ = slots.admit(text[: 56 * turn])
        while slots.reading(slot):
            slots.read()
        slots.step()
        spent = time.perf_counter() - begin
        slots.free(slot)
    return spent


def main() -> None:
    """See the head of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    config = tj.GPT2Config(**SIZES)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0)).decoding()
    texts = requests(options.requests)
    new = sum(count for _, count in texts)
    ways = {"slots": in_slots, "static batches": in_batches}
    for way in ways.values():  # compiles
        way(model, texts, options.slots)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way(model, texts, options.slots)
            times[name].append(time.perf_counter() - begin)
    for name, spent in times.items():
        print(f"{name}: {new / np.median(spent):.0f} new tokens/s")
    ratios = np.array(times["static batches"]) / np.array(times["slots"])
    print(f"slots beside static batches: {np.median(ratios):.2f} (median of {options.rounds})")
    turns(model, True)
    seconds = {reuse: min(turns(model, reuse) for _ in range(3)) for reuse in (True, False)}
    print(f"first token of the 8th turn: {1e3 * seconds[True]:.0f} ms, read anew "
          f"{1e3 * seconds[False]:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
