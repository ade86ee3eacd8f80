"""RESULTS.md from results.json."""

from __future__ import annotations

import statistics
from typing import Any

HEAD = """# Results

Written by `python -m benchmarks.run --torch-python PATH` (README.md says what is measured and how).
"Ratio" is ours over the faster of PyTorch's sides: the median over pairs of runs in turns (in
brackets the least and the greatest pair). Above 1 we are ahead. "CPU" is PyTorch's CPU seconds over
ours, for the same work.
"""

ACCELERATOR = """
## NVIDIA H200

`python -m benchmarks.accelerator` times a training step of GPT-2 124M in bfloat16 (batch 32 x 1024)
beside torch.compile on the same card. It has not been run: no such card was at hand.
"""


def text(results: dict[str, Any], order: list[str]) -> str:
    """The whole report."""
    parts = [HEAD, about(results)]
    timed = [c for c in order if c in results and "rates" in results[c]["figures"]]
    if timed:
        parts += [table(results, timed)]
    for name, section in (("start", starts), ("loading", loads), ("importing", imports)):
        if name in results:
            parts.append(section(results[name]["figures"]) + stamp(results[name]))
    return "\n".join(parts) + ACCELERATOR


def about(results: dict[str, Any]) -> str:
    """Machine and versions of the newest case."""
    newest = max(results.values(), key=lambda result: result["when"])["about"]
    listed = ", ".join(f"{name} {value}" for name, value in newest.items() if name != "machine")
    return f"Machine: {newest['machine']}. Versions: {listed}.\n"


def stamp(result: dict[str, Any]) -> str:
    """When it was measured, and how busy the machine was."""
    return f"\n({result['when']} UTC, load {result['load']:.1f})\n"


def table(results: dict[str, Any], cases: list[str]) -> str:
    """The timed cases."""
    lines = [
        "| case | ours | PyTorch | ratio | CPU | agree to | when (UTC), load |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for case in cases:
        figures = results[case]["figures"]
        rates = figures["rates"]
        pairs, best = figures["ratios"][figures["best"]], figures["best"]
        shown = ", ".join(
            f"{'**' if side == best else ''}{side} {rate:,.0f}{'**' if side == best else ''}"
            for side, rate in rates.items()
            if side != "ours"
        )
        ratio = f"**{statistics.median(pairs):.2f}** ({min(pairs):.2f}-{max(pairs):.2f})"
        when = f"{results[case]['when']}, {results[case]['load']:.1f}"
        lines.append(
            f"| {case} | {rates['ours']:,.0f} {figures['unit']} | {shown} | {ratio} "
            f"| {figures['cpu'][best]:.2f} | {figures['difference']:.0e} | {when} |"
        )
        for side, why in figures["failed"].items():
            notes.append(f"- {case}, {side}: {why}")
    return "\n".join(lines) + "\n" + ("\nDid not run:\n\n" + "\n".join(notes) if notes else "")


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
    for name, took in figures.items():
        sizes = " | ".join(f"{took[n] / 2**20:,.0f} MiB" for n in ("parameters", "largest", "peak"))
        lines.append(f"| {name} | {sizes} | **{took['above']:.2f}** |")
    return "\n".join(lines)


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
