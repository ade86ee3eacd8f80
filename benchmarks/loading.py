"""Peak host memory while a checkpoint is loaded, above what the loaded parameters take.

    python -m benchmarks.loading FOLDER [DEVICES]

loads a checkpoint in a fresh process and prints what it took. `measure` writes checkpoints and
loads each; the claim is at most 1.3 times the largest tensor of the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MIB = 2**20
CHECKPOINTS: dict[str, dict[str, Any]] = {
    "GPT-2 124M, one file": dict(),
    "GPT-2 355M, one file": dict(n_embd=1024, n_layer=24, n_head=16),
    "GPT-2 355M, shards of 300 MB": dict(n_embd=1024, n_layer=24, n_head=16, shards="300MB"),
    "GPT-2 124M over 4 devices (fsdp)": dict(devices=4),
}


def status(field: str) -> int:
    """A number of bytes in /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def load(folder: str, devices: int = 1) -> dict[str, float]:
    """Loads a checkpoint; bytes of the peak, of the parameters and of the file's largest tensor."""
    import jax

    import transformers_jax as tj
    from transformers_jax.hub.files import open_checkpoint
    from transformers_jax.nn.param import params

    # The runtime itself (backend, compiler, thread pools) is no cost of a checkpoint: start it.
    config = tj.GPT2Config(vocab_size=64, n_positions=64, n_embd=64, n_layer=2, n_head=4)
    mesh = tj.make_mesh({"fsdp": devices}) if devices > 1 else None
    with tempfile.TemporaryDirectory() as small:
        model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
        model.save_pretrained(small)
        jax.block_until_ready(params(tj.from_pretrained(small, mesh=mesh)))
    del model
    checkpoint = open_checkpoint(Path(folder))
    largest = max(stored.nbytes for stored in checkpoint.tensors.values())
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = status("VmRSS")
    model = tj.from_pretrained(folder, mesh=mesh)
    leaves = jax.block_until_ready(jax.tree.leaves(params(model)))
    loaded = sum(shard.data.nbytes for leaf in leaves for shard in leaf.addressable_shards)
    return {"peak": status("VmHWM") - before, "parameters": loaded, "largest": largest}


def write(folder: str, shards: str = "50GB", devices: int = 1, **sizes: int) -> None:
    """Writes a random GPT-2."""
    import jax

    import transformers_jax as tj

    config = tj.GPT2Config(bos_token_id=None, eos_token_id=None, **sizes)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    tj.save_pretrained(model, folder, max_shard_size=shards)


def measure() -> dict[str, dict[str, float]]:
    """{checkpoint: {"peak", "parameters", "largest", "above": in largest tensors}}."""
    results = {}
    for name, setting in CHECKPOINTS.items():
        with tempfile.TemporaryDirectory() as folder:
            code = f"from benchmarks.loading import write; write({folder!r}, **{setting!r})"
            subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
            devices = setting.get("devices", 1)
            flags = f"--xla_force_host_platform_device_count={devices}"
            out = subprocess.run(
                [sys.executable, "-m", "benchmarks.loading", folder, str(devices)],
                cwd=ROOT,
                env={**os.environ, "XLA_FLAGS": flags, "JAX_ENABLE_COMPILATION_CACHE": "false"},
                check=True,
                capture_output=True,
                text=True,
            )
        usage = json.loads(out.stdout.splitlines()[-1])
        usage["above"] = (usage["peak"] - usage["parameters"]) / usage["largest"]
        results[name] = usage
    return results


if __name__ == "__main__":
    print(json.dumps(load(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1)))
