"""Folders of synthetic runs: their files, with plausible metrics."""

import json
import math
from pathlib import Path

from transformers_jax.training.provenance import end_run, start_run
from transformers_jax.training.samples import save_samples


def make_run(
    folder: Path,
    steps: int = 60,
    *,
    done: int | None = None,
    state: str = "finished",
    parameters: int = 120_576,
    level: float = 2.0,
    config: dict | None = None,
    more: dict | None = None,
) -> Path:
    """Writes a run of `done` steps of `steps`; its loss falls towards `level`."""
    folder.mkdir(parents=True)
    done = steps if done is None else done
    settings = {
        "model": {"model_type": "gpt2", "n_layer": 2},
        "data": {"batch": 4, "length": 16},
        "optimizer": {"peak": 1e-3},
        "steps": steps,
        "out": str(folder),
        **(config or {}),
    }
    (folder / "config.json").write_text(json.dumps(settings))
    about = {
        "model_type": "gpt2",
        "parameters": parameters,
        "objective": "causal_lm",
        "steps": steps,
        "tokens_per_step": 64,
        "data": {"origin": "a text", "fingerprint": "0123456789abcdef"},
    }
    start_run(folder, f"transformers-jax pretrain nano.py --out {folder}", about=about)
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(1, done + 1):
            loss = level + 3 * math.exp(-step / 20)
            line = {"step": step, "loss": loss, "loss_hex": loss.hex(), "learning_rate": 1e-3,
                    "gradient_norm": 1.0 + 1 / step, "tokens_per_second": 1000.0, "mfu": 0.4,
                    "memory": 3 << 30, "epoch": step / 60, "odd_figure": step / 7}  # fmt: skip
            if step % 20 == 0:
                line |= {"eval_loss": loss + 0.1, "bits_per_byte": 1.5, "eval_loss/wiki": loss + 1}
            file.write(json.dumps(line | (more or {})) + "\n")
    for step in range(20, done + 1, 20):
        save_samples([f"text of step {step} | ```", "another <b>one</b>"], folder, step)
    if state != "running":
        end_run(folder, state, done, "the loss is nan" if state == "failed" else "")
    return folder
