"""How near to the memory limit a token of a decoder is, for a Llama of a billion parameters:

    python -m benchmarks.bandwidth [--layers 16] [--rounds 5]

A step of decoding with one row reads every weight once and computes little. Three readings of the
same weights are timed in turns, in GB/s: their sums (the memory alone), their products with one row
in a chain (what XLA can reach), and the steps of `tj.generate`, from the difference of a long and a
short text, so that the prompt counts for nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.cases.decoding import LLAMA

FEW, MANY = 4, 20


def readings(layers: int) -> tuple[dict[str, Callable[[], Any]], float]:
    """What is timed, and how many GB the weights have."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    config = tj.LlamaConfig(**{**LLAMA, "num_hidden_layers": layers})
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0)).with_layers("list")
    weights = [w for w in jax.tree.leaves(tj.functional(model)[1]) if w.ndim > 1]
    # as products see them: what is read is the first axis, or the last
    width = config.hidden_size
    read_first = lambda w: w.shape[0] == width
    flat = [w.reshape(width, -1) if read_first(w) else w.reshape(-1, width) for w in weights]

    @jax.jit
    def sums(weights):
        return [w.sum() for w in weights]

    @jax.jit
    def products(weights):
        first = jnp.float32(1)  # each product waits for the one before
        for w in weights:
            w = w.T if w.shape[0] == config.vocab_size else w
            row = jnp.full((1, w.shape[0]), first)
            first = jax.lax.optimization_barrier(row @ w)[0, 0]
        return first

    ids = jnp.ones((1, 4), jnp.int32)
    write = lambda new: np.asarray(tj.generate(model, ids, max_new_tokens=new, pad_token_id=0))
    named = {
        "sums": lambda: jax.block_until_ready(sums(weights)),
        "products": lambda: products(flat).block_until_ready(),
        "few": lambda: write(FEW),
        "many": lambda: write(MANY),
    }
    return named, sum(w.nbytes for w in weights) / 1e9


def measure(layers: int, rounds: int) -> dict[str, list[float]]:
    """GB/s of each round."""
    named, size = readings(layers)
    for run in named.values():  # compiles
        run()
    rates: dict[str, list[float]] = {"sums": [], "products": [], "decoding": []}
    for _ in range(rounds):
        took = {}
        for name, run in named.items():
            began = time.perf_counter()
            run()
            took[name] = time.perf_counter() - began
        took["decoding"] = (took["many"] - took["few"]) / (MANY - FEW)
        for name, every in rates.items():
            every.append(size / took[name])
    return rates


def main() -> None:
    """Prints the medians, with the least and the greatest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=LLAMA["num_hidden_layers"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name, rates in measure(options.layers, options.rounds).items():
        middle = statistics.median(rates)
        print(f"{name:10} {middle:5.1f} GB/s ({min(rates):.1f}-{max(rates):.1f})")


if __name__ == "__main__":
    main()
