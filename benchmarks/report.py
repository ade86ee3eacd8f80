"""RESULTS.md from results.json."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.checkpoints import LOADS

HEAD = """# Results

Written by `python -m benchmarks.run --torch-python PATH` (README.md says what is measured and how).
Ratios are ours over the faster of PyTorch's sides (in bold); above 1 we are ahead.

- *all cores*: the median over pairs of runs in turns (in brackets the least and the greatest pair),
  in wall time. Where other work ran on the machine (a load above its cores) this flatters us:
  PyTorch's threads wait for each other, actively, and suffer more from sharing a core.
- *one core*: PyTorch's CPU seconds over ours for the same work, every process on one core
  (`--one-core`): what other work cannot touch.
"""

BEHIND = """
## Where PyTorch is ahead, and why

- *Cold start against eager PyTorch*: nothing is compiled there, while XLA compiles the whole step
  before the first one (5 to 6 CPU seconds for 4 layers). The case `start` has not been completed
  yet; a single round on a busy machine gave 9.5 s for us, 3.7 eager and 69 compiled, and for the
  second start 2.4, 5.6 and 14.8.
- *Window, forward only*: the loop over live tiles takes about as many CPU seconds as
  flex_attention's kernel, but its steps follow one another, and flex_attention spreads blocks over
  the cores: expect it to be ahead on an idle machine with several. It has no gradient on a CPU.
- *Training of very small models on one core*: about half (an estimate) of a step's CPU time at the
  nanoGPT setting is small matrix products, the rest many operations on attention weights and on
  parameters; what PyTorch does better there has not been found yet. The wall-time ratio of this
  case was taken on a busy machine and proves little: believe the column for one core.
- *A training step of BERT, Llama and T5, on a CPU*: PyTorch is ahead, at 4 layers x 256 as at the
  sizes of BERT-base and T5-small (not at DeBERTa's). Forward the products are as fast; backward
  XLA writes the gradient of a weight as a product with a transposed copy, outside of the library
  that it uses for all others. Of a plain MLP (1024 tokens, 256 x 1024, one core) the gradient
  took 40.4 ms of CPU, and 35.9 with a derivative that asks for the product as it stands; that
  would cost forward-mode differentiation, so it is not used. With `compute_dtype="mixed"`, which
  is not used here either, our step is about 1.6 times faster on processors with AVX-512-bf16.
- *Loading on a CPU*: PyTorch maps the file and copies nothing; pages are read when they are first
  used, and a file that is overwritten later changes the model. Our parameters have layouts of
  their own, with the layers of a stack in one array, which no mapping can be: every number is
  read, checked to be finite and written once, most of them transposed. Of a gigabyte, parts timed
  by themselves, in CPU seconds: reading 0.06, the check 0.03, clearing new memory (the kernel)
  0.11, transposing 0.12 to 0.2, writing into place 0.1. In a virtual machine whose host has taken
  free memory back, new memory alone takes up to two seconds a gigabyte, and was most of the time in
  the table: outside of the kernel T5-3B took 2.5 to 3 CPU seconds. Memory beyond the parameters is
  20 to 40 MiB; ours are in memory of their own, PyTorch's are pages of the file.
- *Image encoders, forward*: matrix products are as fast at their sizes (CPU time of one core: 34 to
  36 ms of ours and 40 of PyTorch's for 788 x 768 x 3072), convolutions of 3 x 3 take 10 to 20 %
  longer than oneDNN's, which is most of a ResNet, and GELU 5.4 ms where PyTorch takes 3.0 (12544 x
  384). A ConvNeXt's depthwise convolutions take a fifth of its CPU time; they took two fifths when
  the row for all cores was measured, because XLA computed them again for each reduction of the
  norm behind them. ViT-B's step is behind for the reason of BERT's.
- *Decoding with many rows, on a CPU*: of a step of GPT-2 with 32 rows, 95 of 126 ms are matrix
  products. Of weights that are stored by inputs, as ours, XLA's library makes a packed copy in each
  product: with 32 rows and 768 x 3072 it reaches 65 GFLOP/s, and 129 where the same weights are
  stored by outputs (41 and 80 with 16 rows of 2048 x 8192; below 8 rows and above 64 they are as
  fast). So do short prompts, beams and servers: 16 slots have 16 rows.
- *Decoding one row of a billion parameters in float32*: a step is as fast as its products alone,
  and they read weights at three quarters of the speed of the memory. `python -m
  benchmarks.bandwidth`, four rounds in turns: sums of the weights 19.0 GB/s (18.3-21.0), their
  products with one row in a chain 14.4 (14.2-15.1), `generate` 14.5 (13.8-15.2). What is left of
  the distance is the prompt, whose rows are few.
- *Decoding in bfloat16, on a CPU*: XLA has no product in bfloat16 there and converts the weights
  to float32, once for all steps: they have the memory and the speed of float32. oneDNN multiplies
  in bfloat16 on processors that can.
- *Drafts*: with two layers of twelve and a table of 50,257 words a draft costs two fifths of a
  step; both sides then save as much.
- *Whisper, ten minutes in chunks*: not looked into yet.
- *Matrix products* are as fast on both sides (within 2 % of CPU time at the sizes of BERT-base), so
  a forward pass of a large encoder cannot differ by much.
"""

ACCELERATOR = """
## Adapters

`python -m benchmarks.adapters`: a step of GPT-2 124M with AdamW in float32, batch 4 x 128, on a
CPU. The state is what is trained and the moments of the optimizer; beside it and the arguments
(the frozen parameters, 498 MB) the compiler needs the memory of the last column.

| | trained | state | beside it, in a step |
|---|---:|---:|---:|
| all is trained | 124,439,808 | 1,493.3 MB | 1,295 MB |
| LoRA, rank 8 | 294,912 | 3.5 MB | 956 MB |
| LoRA, rank 8, all-linear | 1,179,648 | 14.2 MB | 1,149 MB |
| DoRA, rank 8 | 322,560 | 3.9 MB | 1,013 MB |
| BitFit | 102,144 | 1.2 MB | 943 MB |

## NVIDIA H200

`benchmarks/accelerator.py` times a training step of GPT-2 124M in bfloat16 (batch 32 x 1024)
beside torch.compile on the same card. It is ready and has not been run: no card was at hand.
"""


def text(results: dict[str, Any], order: list[str]) -> str:
    """The whole report."""
    apart = {*SECTIONS, *LOADS}
    timed = [case for case in order if case in results and case not in apart]
    parts = [HEAD, about(results), table(results, timed)] if timed else [HEAD]
    if loaded := [case for case in LOADS if case in results]:
        parts.append(checkpoints({case: results[case]["all cores"] for case in loaded}))
    for name, section in SECTIONS.items():
        if name in results:
            result = results[name]["all cores"]
            parts.append(section(result["figures"]) + f"\n\n({stamp(result)})\n")
    return "\n".join(parts) + BEHIND + ACCELERATOR


def about(results: dict[str, Any]) -> str:
    """Machine and versions of the newest case."""
    every = [result for kinds in results.values() for result in kinds.values()]
    newest = max(every, key=lambda result: result["when"])["about"]
    listed = ", ".join(f"{name} {value}" for name, value in newest.items() if name != "machine")
    return f"Machine: {newest['machine']}. Versions: {listed}.\n"


def stamp(result: dict[str, Any]) -> str:
    """When it was measured, and how busy the machine was before."""
    return f"{result['when']} UTC, load {result['load']:.1f}"


def table(results: dict[str, Any], cases: list[str]) -> str:
    """The timed cases."""
    lines = [
        "| case | ours | PyTorch | ratio, all cores | ratio, one core | memory, MiB | agree to "
        "| measured |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes = {}
    for case in cases:
        kinds = results[case]
        all_cores, one_core = kinds.get("all cores"), kinds.get("one core")
        shown = all_cores or one_core
        figures = shown["figures"]
        rates, best = figures["rates"], figures["best"]
        sides = ", ".join(
            f"{'**' if side == best else ''}{side} {number(rate)}{'**' if side == best else ''}"
            for side, rate in rates.items()
            if side != "ours"
        )
        lines.append(
            f"| {case} | {number(rates['ours'])} {figures['unit']} | {sides} "
            f"| {in_pairs(all_cores)} | {on_one_core(one_core)} | {memory(figures)} "
            f"| {figures['difference']:.0e} | {stamp(shown)} |"
        )
        notes |= {f"- {case}, {side}: {why}": None for side, why in figures["failed"].items()}
    return "\n".join(lines) + "\n" + ("\nDid not run:\n\n" + "\n".join(notes) if notes else "")


NO_PYTORCH = "PyTorch did not run"


def memory(figures: dict[str, Any]) -> str:
    """Ours, and the least of PyTorch's sides."""
    used = figures.get("memory", {})
    theirs = [size for side, size in used.items() if side != "ours"]
    least = f"{min(theirs):,.0f}" if theirs else "-"
    return f"{used['ours']:,.0f} / {least}" if used else "-"


def number(rate: float) -> str:
    """Three digits."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def in_pairs(result: dict[str, Any] | None) -> str:
    """The ratio of wall times."""
    if result is None:
        return "not measured"
    if result["figures"]["best"] is None:
        return NO_PYTORCH
    pairs = result["figures"]["ratios"][result["figures"]["best"]]
    return f"**{statistics.median(pairs):.2f}** ({min(pairs):.2f}-{max(pairs):.2f})"


def on_one_core(result: dict[str, Any] | None) -> str:
    """The ratio of CPU times to the side that takes the least."""
    if result is None:
        return "not measured"
    theirs = [ratio for side, ratio in result["figures"]["cpu"].items() if side != "ours"]
    return f"**{min(theirs):.2f}**" if theirs else NO_PYTORCH


def starts(figures: dict[str, dict[str, float]]) -> str:
    """Cold and second start."""
    lines = [
        "\n## Start of the process to the first finished training step (nanoGPT setting)\n",
        "Cold: empty compile caches. Second: with the caches that the first start left.\n",
        "| | ours | PyTorch eager | PyTorch compiled | ratio to the better |",
        "|---|---|---|---|---|",
    ]
    for kind, sides in figures.items():
        best = min(sides["eager"], sides["compiled"])
        shown = " | ".join(f"{sides[side]:.2f} s" for side in ("ours", "eager", "compiled"))
        lines.append(f"| {kind} | {shown} | **{best / sides['ours']:.2f}** |")
    return "\n".join(lines)


def loads(figures: dict[str, dict[str, float]]) -> str:
    """Memory of loading."""
    lines = [
        "\n## Peak host memory while loading\n",
        "Growth of the process's high-water mark beyond the loaded parameters, in units of the "
        "file's largest tensor (wanted: at most 1.3).\n",
        "| checkpoint | parameters | largest tensor | peak growth | above parameters |",
        "|---|---|---|---|---|",
    ]
    for name, usage in figures.items():
        sizes = " | ".join(
            f"{usage[n] / 2**20:,.0f} MiB" for n in ("parameters", "largest", "peak")
        )
        lines.append(f"| {name} | {sizes} | **{usage['above']:.2f}** |")
    return "\n".join(lines)


def checkpoints(results: dict[str, Any]) -> str:
    """Time and memory of loading, compared with PyTorch."""
    lines = [
        "\n## Loading, beside PyTorch\n",
        "From the call of `from_pretrained` until every number of every parameter has been read, "
        "and until it returns: PyTorch maps the file and has read nothing then. In fresh "
        "processes in turns, the file in the page cache, as much memory written and given back "
        "before; medians. Ratios are PyTorch over ours; above 1 we are ahead. Peak: growth of the "
        "process's memory, pages of a mapped file included; own: without them.\n",
        "| checkpoint | file | until | ours | PyTorch | ratio, wall | ratio, CPU | peak, MiB "
        "| own, MiB | measured |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, result in results.items():
        figures, sides = result["figures"], result["figures"]["sides"]
        memory = " | ".join(
            " / ".join(f"{side[kind] / 2**20:,.0f}" for side in sides.values())
            for kind in ("peak", "own")
        )
        file = f"{figures['file'] / 2**20:,.0f} MiB in {figures['shards']}"
        name = case.removeprefix("load ")
        for until, prefix in (("all is read", ""), ("it returns", "returned ")):
            wall, cpu = f"{prefix}wall", f"{prefix}cpu"
            cells = [f"{side[wall]:.2f} s ({side[cpu]:.2f} s CPU)" for side in sides.values()]
            for pairs in (figures["ratios"][wall], figures["ratios"][cpu]):
                spread = f"({min(pairs):.2f}-{max(pairs):.2f})"
                cells.append(f"**{statistics.median(pairs):.2f}** {spread}")
            row = " | ".join([name, file, until, *cells, memory, stamp(result)])
            lines.append(f"| {row} |")
    return "\n".join(lines) + "\n"


def imports(figures: dict[str, float]) -> str:
    """Time of importing."""
    base = figures["jax, flax.nnx"]
    lines = [
        "\n## Import\n",
        "Whole processes; wanted: at most 1.2 times `import jax, flax.nnx`.\n",
        "| import | seconds | ratio |",
        "|---|---|---|",
    ]
    for name, seconds in figures.items():
        lines.append(f"| {name} | {seconds:.2f} | {seconds / base:.2f} |")
    return "\n".join(lines)


def engines(figures: dict[str, Any]) -> str:
    """What the engine adds to the time of a step."""
    lines = [
        "\n## The engine beside the step\n",
        "Rows of 512 made by one thread, corruption and packing included; fill: the share of "
        "places that hold a token.\n",
        "| rows and objective | tokens/s | fill |",
        "|---|---|---|",
    ]
    for name, speed in figures["reading"].items():
        lines.append(f"| {name} | {number(speed['tokens_per_second'])} | {speed['fill']:.3f} |")
    lines += ["", "| | |", "|---|---|"]
    for name, seconds in figures["continuing"].items():
        lines.append(f"| first packed batch, continued {name} | {seconds * 1000:.0f} ms |")
    for name, seconds in figures["saving"].items():
        lines.append(f"| a save of GPT-2 124M with Adam: {name} | {seconds:.2f} s |")
    for name, ratio in figures["guards"].items():
        lines.append(f"| step with checks over step without, {name} | **{ratio:.3f}** |")
    return "\n".join(lines)


def buckets(figures: dict[str, Any]) -> str:
    """Evaluation and prediction by the lengths of rows."""
    fill = figures["fill"]
    lines = [
        "\n## Evaluation and prediction, with rows of like length in a batch\n",
        "Records of log-normal length through `tj.predict` and `tj.evaluate`, tokenization "
        f"included; places that hold a token: {fill['bucketed']:.0%} with rows of like length in "
        f"a batch, {fill['padded']:.0%} with all rows as wide as the longest.\n",
        "| | of like length | padded to the longest | ratio |",
        "|---|---|---|---|",
    ]
    for name in ("predict", "evaluate"):
        found = figures[name]
        pairs = found["ratios"]
        spread = f"({min(pairs):.2f}-{max(pairs):.2f})"
        rates = " | ".join(f"{number(found[way])} records/s" for way in ("bucketed", "padded"))
        lines.append(f"| {name} | {rates} | **{statistics.median(pairs):.2f}** {spread} |")
    return "\n".join(lines)


def inputs(figures: dict[str, Any]) -> str:
    """How fast pictures are read, beside a step."""
    lines = [
        "\n## Pictures of a folder\n",
        "JPEG files of 500 x 375 to rows of 224 x 224, by the one thread that makes batches ahead "
        f"of the steps; a training step of ViT-S/16 takes {number(figures['step'])} images/s here. "
        "Share: time of reading over time of the step beside which it runs.\n",
        "| | images/s | share of a step |",
        "|---|---|---|",
    ]
    for way, rate in figures["images"].items():
        lines.append(f"| {way} | {number(rate)} | {figures['step'] / rate:.1%} |")
    return "\n".join(lines)


SECTIONS = {
    "start": starts, "loading": loads, "importing": imports, "engine": engines,
    "bucketing": buckets, "pictures": inputs,
}  # fmt: skip
