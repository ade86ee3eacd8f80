"""One GPU: a training step of GPT-2 124M in bfloat16, batch 32 x 1024, against torch.compile.

    python -m benchmarks.accelerator prepare --weights FOLDER
    python -m benchmarks.accelerator ours | torch --weights FOLDER  [--batch 32] [--length 1024]

Run the two one after the other on the same card; each prints tokens/s and the share of the card's
dense bfloat16 peak (MFU, 6 N + 12 L D T operations a token; the peak is an H200's unless --peak).
Parameters and optimizer are float32, activations bfloat16, on both sides; the update is AdamW after
clipping to norm 1; no dropout. PyTorch: transformers' shapes in a plain model (cases/training.py),
autocast to bfloat16, fused AdamW, torch.compile; the vocabulary is padded to 50304 on both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from typing import Any

PEAK = 989e12  # H200, dense bfloat16 operations a second (data sheet)
WARM = 5


def timed(run: Any, steps: int) -> float:
    """Median seconds a step; `run` waits for its result."""
    for _ in range(WARM):
        run()
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def ours(setting: dict[str, int], steps: int) -> float:
    """Seconds a step of the package's engine."""
    import jax
    import jax.numpy as jnp
    import optax

    import transformers_jax as tj
    from benchmarks.cases import training
    from transformers_jax.nn.param import axes
    from transformers_jax.objectives import causal_lm
    from transformers_jax.optim import matrices
    from transformers_jax.training.state import init_state
    from transformers_jax.training.step import make_step

    with tempfile.TemporaryDirectory() as folder:
        training.prepare(setting, folder)
        model = tj.from_pretrained(folder)
    rates = (training.RATE, *training.BETAS)
    tx = optax.adamw(*rates, weight_decay=training.DECAY, mask=matrices(axes(model)))
    step = make_step(model, causal_lm, tx, clip=training.CLIP, compute_dtype="bfloat16")
    state = [init_state(model, tx, jax.random.key(0))]
    batch = {"input_ids": jnp.asarray(training.tokens(setting), jnp.int32)}

    def run():
        state[0], metrics = step(state[0], batch)
        return float(metrics["loss"])

    return timed(run, steps)


def theirs(setting: dict[str, int], steps: int, folder: str) -> float:
    """Seconds a step of the compiled PyTorch model; `folder` holds what `prepare` wrote."""
    import torch

    from benchmarks.cases import training

    torch.set_float32_matmul_precision("high")
    model = training.plain(setting, folder).cuda()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": training.DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=training.RATE, betas=training.BETAS, fused=True)
    called = torch.compile(model)
    ids = torch.tensor(training.tokens(setting)).cuda()
    x, y = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def run():
        with torch.autocast("cuda", torch.bfloat16):
            loss = called(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return timed(run, steps)


def main() -> None:
    """See the head of the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("prepare", "ours", "torch"))
    parser.add_argument("--weights", default="", help="a folder that `prepare` writes")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--peak", type=float, default=PEAK)
    options = parser.parse_args()
    if options.side != "ours" and not options.weights:
        parser.error("--weights FOLDER: `prepare` writes it and `torch` reads it")
    setting = dict(layers=12, heads=12, width=768, vocab=50304)
    setting |= dict(length=options.length, batch=options.batch)
    if options.side == "prepare":
        from benchmarks.cases import training

        training.prepare(setting, options.weights)
        return
    if options.side == "ours":
        seconds = ours(setting, options.steps)
    else:
        seconds = theirs(setting, options.steps, options.weights)
    layers, width = setting["layers"], setting["width"]
    parameters = 12 * layers * width**2 + setting["vocab"] * width
    rate = options.batch * options.length / seconds
    operations = 6 * parameters + 12 * layers * width * options.length
    mfu = rate * operations / options.peak
    print(json.dumps({"side": options.side, "tokens_per_second": rate, "mfu": mfu}))


if __name__ == "__main__":
    main()
