"""Does the memory of a long run grow?   python -m benchmarks.soak --steps 5000

A small run with a checkpoint, samples and an evaluation every 20 steps, as many as a run of days
makes. Its memory is that of metrics.jsonl, of the process after each step; the slope is that of a
line through the second half, once every program is compiled and every buffer has its size. With
--trace the places are listed whose Python objects have grown most meanwhile (much slower).
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np

import transformers_jax as tj
from benchmarks.survival import write_text
from transformers_jax.data.config import Data
from transformers_jax.training.config import Evaluation, Sample, TrainConfig
from transformers_jax.training.loop import Loop
from transformers_jax.training.metrics import read

EVERY = 20


def config(root: Path, steps: int) -> TrainConfig:
    """A run in which everything that happens on the way happens often."""
    return TrainConfig(
        model=tj.GPT2Config(n_layer=2, n_head=2, n_embd=64, n_positions=64, vocab_size=256),
        data=Data(path=str(write_text(root / "text.txt")), tokenizer="byte", length=32, batch=8),
        steps=steps,
        evaluation=Evaluation(every=EVERY, batches=2),
        sample=Sample(count=1, tokens=16, every=EVERY),
        save_every=EVERY,
        log_every=100,
        out=str(root / "run"),
    )


def slope(lines: list[dict]) -> float:
    """Bytes per step, of the second half."""
    half = lines[len(lines) // 2 :]
    steps, sizes = ([line[name] for line in half] for name in ("step", "memory"))
    return float(np.polyfit(steps, sizes, 1)[0])


def trace(steps: int) -> None:
    """Lists, at the end, the lines whose objects have grown since shortly after the middle."""
    finished, marks = Loop.report_saved, []

    def marked(loop: Loop) -> None:
        finished(loop)
        step = int(loop.state.step)
        if step == steps // 2:
            tracemalloc.start(12)
        if step in (steps // 2 + 2 * EVERY, steps - 1):
            gc.collect()
            marks.append(tracemalloc.take_snapshot())
        if len(marks) == 2:
            for place in marks.pop().compare_to(marks[0], "traceback")[:20]:
                print(place, *place.traceback.format(), sep="\n")

    Loop.report_saved = marked  # type: ignore[method-assign]


def main() -> None:
    """Prints the slope, and the memory every tenth of the run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    if options.trace:
        trace(options.steps)
    with tempfile.TemporaryDirectory() as folder:
        run = config(Path(folder), options.steps)
        tj.fit(run)
        lines = read(Path(run.out) / "metrics.jsonl")
    for line in lines[:: max(1, len(lines) // 10)]:
        print(f"step {line['step']:>6,}  {line['memory'] / 1e6:8.1f} MB")
    print(f"{1000 * slope(lines) / 1e6:.2f} MB in 1000 steps")


if __name__ == "__main__":
    main()
