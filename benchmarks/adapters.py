"""Memory of fine-tuning with and without adapters.   python -m benchmarks.adapters --model gpt2

Of a training step of GPT-2 124M, or of BERT-base, with AdamW: the bytes of the state (what is
trained, and the optimizer's moments), and what the compiler says that the step needs beside its
arguments. Nothing is computed: models are shapes.
"""

from __future__ import annotations

import argparse
from typing import Any

import jax
import jax.numpy as jnp

import transformers_jax as tj
from transformers_jax.models.base import Plan
from transformers_jax.nn.param import axes
from transformers_jax.training.state import abstract_state

MODELS = {
    "gpt2": (tj.GPT2Config(), "causal_lm", ("c_attn",)),
    "bert": (tj.BertConfig(), "masked_lm", ("query", "value")),
}


def adapters(targets: tuple[str, ...]) -> dict[str, Any]:
    """What is compared, by its name."""
    return {
        "all is trained": None,
        "LoRA, rank 8": tj.LoRA(rank=8, alpha=16, targets=targets),
        "LoRA, rank 8, all-linear": tj.LoRA(rank=8, alpha=16),
        "DoRA, rank 8": tj.LoRA(rank=8, alpha=16, targets=targets, dora=True),
        "BitFit": tj.BitFit(),
    }


def size(tree: Any) -> int:
    """Bytes of arrays or of their shapes; keys have 8."""
    leaves = jax.tree.leaves(tree)
    return sum(x.size * getattr(x.dtype, "itemsize", 8) for x in leaves)


def measured(model: Any, batch: int, length: int) -> tuple[int, int, int]:
    """(numbers that are trained, bytes of the state, bytes beside the arguments of the step)."""
    optimizer = tj.AdamW(peak=1e-4).build(axes(model), 100)
    step = tj.make_step(model, tj.supervised, optimizer)
    state = abstract_state(model, optimizer, jnp.float32)
    ids = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    compiled = step.lower(state, {"input_ids": ids, "labels": ids}).compile()
    count = sum(x.size for x in jax.tree.leaves(state.params))
    return count, size(state), compiled.memory_analysis().temp_size_in_bytes


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", choices=MODELS, default="gpt2")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    options = parser.parse_args()
    config, head, targets = MODELS[options.model]
    print("| | trained | state | beside it, in a step |\n|---|---:|---:|---:|")
    for name, adapter in adapters(targets).items():
        model = Plan(config, head, adapter=adapter).build()
        count, state, beside = measured(model, options.batch, options.length)
        print(
            f"| {name} | {count:,} | {state / 1e6:,.1f} MB | {beside / 1e6:,.0f} MB |", flush=True
        )


if __name__ == "__main__":
    main()
