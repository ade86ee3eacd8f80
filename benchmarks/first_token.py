"""What `generate` costs before its first token, for a GPT-2 of 12 layers (124M):

    python -m benchmarks.first_token [--rounds 3]

`compile` is the time of XLA for the program of prompt and loop, with the layers of the model
stacked (which reads prompts in a loop over its layers) and as a list (which has every layer in both
parts). `first token` is the wall time of `transformers-jax generate` for one token, from the start
of its process: with an empty cache of compiled programs, and then with the one that this left.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COMPILE = """
import sys, jax, jax.numpy as jnp, transformers_jax as tj
seconds = []
def heard(event, duration, **_):
    if event.endswith("backend_compile_duration"):
        seconds.append(duration)
model = tj.from_pretrained(sys.argv[1], layers=sys.argv[2])
ids = jnp.ones((1, 16), jnp.int32)
jax.block_until_ready(tj.functional(model)[1])
jax.monitoring.register_event_duration_secs_listener(heard)
tj.generate(model, input_ids=ids, max_new_tokens=4)
print(max(seconds))
"""


def printed(arguments: list[str], **environment: str) -> tuple[str, float]:
    """What a process prints, and the seconds that it takes."""
    began = time.perf_counter()
    found = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout, time.perf_counter() - began


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by what was measured."""
    import jax

    import transformers_jax as tj

    config = tj.GPT2Config(bos_token_id=None, eos_token_id=None)
    seconds: dict[str, list[float]] = {}
    keep = lambda name, value: seconds.setdefault(name, []).append(value)
    with tempfile.TemporaryDirectory() as folder:
        tj.from_config(config, head="causal_lm", key=jax.random.key(0)).save_pretrained(folder)
        generate: list[Any] = ["-m", "transformers_jax", "generate", folder, "--ids", "5 17 3"]
        for _ in range(rounds):
            for layers in ("stacked", "list"):
                text, _ = printed(["-c", COMPILE, folder, layers])
                keep(f"compile, layers {layers}", float(text))
            with tempfile.TemporaryDirectory() as cache:
                for start in ("cold", "second"):
                    command = [*generate, "--max-new-tokens", "1"]
                    _, wall = printed(command, TRANSFORMERS_JAX_CACHE=cache)
                    keep(f"first token, {start} start", wall)
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    for name, values in measure(parser.parse_args().rounds).items():
        print(f"{name}: {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})")
