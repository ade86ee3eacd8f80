"""Time and peak host memory of loading a checkpoint, against PyTorch's `from_pretrained`.

    python -m benchmarks.checkpoints SIDE NAME FOLDER

loads a checkpoint in a fresh process and prints what it took: until the call returns, and until
every number of every parameter has been read, because a loader may map a file and read nothing.
`measure` writes a checkpoint of random numbers and lets both sides load it in turns; the file is in
the page cache for both.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.loading import ROOT, status

T5_3B = dict(d_model=1024, d_ff=16384, d_kv=128, num_layers=24, num_heads=32)
LOADS: dict[str, dict[str, Any]] = {
    "load bert-large": dict(
        config=dict(
            model_type="bert",
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
        ),
        head="masked_lm",
        dtype="float32",
        theirs="BertForMaskedLM",
    ),
    "load t5-3b": dict(
        config=dict(model_type="t5", **T5_3B),
        head="seq2seq_lm",
        dtype="bfloat16",
        theirs="T5ForConditionalGeneration",
    ),
    "load t5-3b in shards": dict(
        config=dict(model_type="t5", **T5_3B),
        head="seq2seq_lm",
        dtype="bfloat16",
        theirs="T5ForConditionalGeneration",
        shards="1GB",
    ),
}
TIMES = ("wall", "cpu", "returned wall", "returned cpu")


def write(setting: dict[str, Any], folder: str) -> None:
    """Writes random weights tensor by tensor: no model of this size is made."""
    import ml_dtypes  # noqa: F401 - gives NumPy bfloat16
    import numpy as np

    from transformers_jax.hub import files
    from transformers_jax.models import load_config
    from transformers_jax.models.base import Plan
    from transformers_jax.nn.param import flatten, params

    config, head = load_config(setting["config"]), setting["head"]
    config = config.replace(architectures=(config.architecture(head),), dtype=setting["dtype"])
    model = Plan(config, head).build()
    shapes = {path: leaf.shape for path, leaf in flatten(params(model)).items()}
    dtype = np.dtype(setting["dtype"])
    pool = (0.02 * np.random.default_rng(0).standard_normal(2**22, np.float32)).astype(dtype)
    entries = {
        name: files.Entry(fill.shape, dtype, lambda shape=fill.shape: np.resize(pool, shape))
        for name, fill in config.table(head).fills(shapes).items()
    }
    files.save(entries, folder, max_shard_size=setting.get("shards", "50GB"))
    config.save(folder)


# ---------------------------------------------------------------- one load


def read_all(arrays: Iterable[Any]) -> int:
    """How many bytes arrays of integers have, all of which are read."""
    size = 0
    for array in arrays:
        array.max(initial=0)
        size += array.nbytes
    return size


def touch(size: int) -> None:
    """Writes to as much memory and gives it back. A virtual machine gets a page of its host when it
    is first written, which takes seconds a gigabyte; which load paid for that would be chance."""
    import numpy as np

    np.ones(size, np.uint8)


Loader = tuple[Callable[[str], Any], Callable[[Any], int]]
"""Loads a folder's model; reads all numbers of a model and returns their bytes."""


def ours(name: str, folder: str) -> Loader:
    """`tj.from_pretrained`, after it has loaded a small model."""
    import jax
    import numpy as np

    import transformers_jax as tj
    from transformers_jax.nn.param import params

    setting = LOADS[name]

    def load(folder: str) -> Any:
        model = tj.from_pretrained(folder, head=setting["head"], dtype="auto")
        return jax.block_until_ready(jax.tree.leaves(params(model)))

    def read(leaves: Any) -> int:
        return read_all(np.asarray(leaf).view(f"u{leaf.dtype.itemsize}") for leaf in leaves)

    with tempfile.TemporaryDirectory() as small:  # the runtime is no cost of a checkpoint
        write(tiny(setting), small)
        read(load(small))
    return load, read


def theirs(name: str, folder: str) -> Loader:
    """transformers' `from_pretrained`, after it has loaded a small model."""
    import torch
    import transformers

    setting = LOADS[name]
    kind = getattr(transformers, setting["theirs"])
    dtype = getattr(torch, setting["dtype"])
    plain = {2: torch.int16, 4: torch.int32}[dtype.itemsize]

    def load(folder: str) -> Any:
        return kind.from_pretrained(folder, dtype=dtype)

    def read(model: Any) -> int:
        return read_all(p.detach().view(plain).numpy() for p in model.parameters())

    read(load(str(Path(folder) / "small")))
    return load, read


def tiny(setting: dict[str, Any]) -> dict[str, Any]:
    """The same kind of checkpoint, of a few thousand numbers."""
    bert = setting["config"]["model_type"] == "bert"
    sizes: dict[str, int] = (
        dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
        if bert
        else dict(d_model=8, d_ff=8, d_kv=4, num_layers=2, num_heads=2)
    )
    return setting | dict(config=setting["config"] | sizes | dict(vocab_size=64))


class Watch(threading.Thread):
    """The highest anonymous memory while it runs: what is not the mapped file."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped, self.highest = threading.Event(), 0

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            self.highest = max(self.highest, status("RssAnon"))


def load(side: str, name: str, folder: str) -> dict[str, float]:
    """Seconds, and bytes above those before the call."""
    run, read = {"ours": ours, "PyTorch": theirs}[side](name, folder)
    touch(sum(file.stat().st_size for file in Path(folder).glob("*.safetensors")))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, own = status("VmRSS"), status("RssAnon")
    watch = Watch()
    watch.start()
    began, used = time.perf_counter(), time.process_time()
    elapsed = lambda: (time.perf_counter() - began, time.process_time() - used)
    model = run(folder)
    returned = elapsed()
    size = read(model)
    times = dict(zip(TIMES, (*elapsed(), *returned)))
    watch.stopped.set()
    watch.join()
    memory = dict(peak=status("VmHWM") - before, own=watch.highest - own)
    return times | memory | dict(parameters=size)


# ---------------------------------------------------------------- both sides


def measure(name: str, torch_python: str, rounds: int = 3) -> dict[str, Any]:
    """{"file": bytes, side: {figure: median over the rounds}} of a checkpoint."""
    pythons = {"ours": sys.executable, "PyTorch": torch_python}
    with tempfile.TemporaryDirectory() as folder:
        for setting, where in ((LOADS[name], folder), (tiny(LOADS[name]), f"{folder}/small")):
            code = f"from benchmarks.checkpoints import write; write({setting!r}, {where!r})"
            subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        weights = sorted(Path(folder).glob("*.safetensors"))
        size = sum(file.stat().st_size for file in weights)
        for file in weights:
            subprocess.run(["cat", str(file)], stdout=subprocess.DEVNULL, check=True)
        results: dict[str, list[dict[str, float]]] = {side: [] for side in pythons}
        for number in range(rounds):
            for side in list(pythons)[:: 1 if number % 2 == 0 else -1]:
                command = [pythons[side], "-m", "benchmarks.checkpoints", side, name, folder]
                out = subprocess.run(
                    command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
                )
                results[side].append(json.loads(out.stdout.splitlines()[-1]))
    return summary(results) | {"file": size, "shards": len(weights)}


def summary(runs_by_side: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of each side, and PyTorch over ours in each round.

    Raises:
        RuntimeError: the sides did not load as many bytes.
    """
    sides = {
        side: {key: statistics.median(usage[key] for usage in runs) for key in runs[0]}
        for side, runs in runs_by_side.items()
    }
    if len({side["parameters"] for side in sides.values()}) > 1:
        raise RuntimeError(f"the sides did not load the same: {sides}")
    pairs = list(zip(runs_by_side["PyTorch"], runs_by_side["ours"]))
    ratios = {kind: [theirs[kind] / ours[kind] for theirs, ours in pairs] for kind in TIMES}
    return {"sides": sides, "ratios": ratios}


if __name__ == "__main__":
    print(json.dumps(load(*sys.argv[1:4])))
