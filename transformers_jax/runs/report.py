"""What a run leaves: curves, report.md and the exported model, all from the files of its folder.

`write_report` and `describe` need no run: they read run.json, config.json, metrics.jsonl,
goodput.json and samples, so that a report can be made again at any time, elsewhere, of any run.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.publish import publish
from transformers_jax.runs import plots
from transformers_jax.runs.card import task_of
from transformers_jax.training.clock import KINDS
from transformers_jax.training.metrics import (
    figures,
    measured,
    read,
    show_bytes,
    show_count,
    show_time,
)
from transformers_jax.training.provenance import (
    commit,
    read_json,
    read_run,
    versions,
)
from transformers_jax.runs.summary import Summary, summarise
from transformers_jax.training.samples import read_samples

SHOWN_EVALUATIONS = 12  # rows of the table of evaluations: the last ones, and every so many
LONGEST = 1500  # characters of a sample in a report


def plot_run(folder: Path) -> list[str]:
    """Draws loss.png and curves.png of a run, as far as there is something to draw; their names."""
    lines, drawn = read(folder / "metrics.jsonl"), []
    if any("loss" in line for line in lines):
        plots.plot_loss(lines, folder / "loss.png")
        drawn.append("loss.png")
    if plots.plot_curves(lines, folder / "curves.png"):
        drawn.append("curves.png")
    return drawn


def write_report(folder: Path) -> Path:
    """Draws the curves of a run and writes its report.md; returns the path of that."""
    images = plot_run(folder)
    file = folder / "report.md"
    publish(file, describe(folder, images))
    return file


def describe(folder: Path, images: list[str], where: str = "") -> str:
    """The report of a run as Markdown; `where` stands before the names of its images."""
    about, run, config = summarise(folder), read_run(folder), read_json(folder / "config.json")
    lines = read(folder / "metrics.jsonl")
    pictures = "\n\n".join(f"![{name.partition('.')[0]}]({where}{name})" for name in images)
    parts = {
        f"# {about.name}: {about.model or 'unknown model'}, {about.step:,} steps": (
            f"```sh\n{run.get('command') or 'command not recorded'}\n```\n\n"
            f"{table(facts(folder, about, run, lines))}"
        ),
        "## Curves": pictures,
        "## Held-out text": evaluations(lines),
        "## Where the time went": goodput(folder),
        "## Samples": samples(folder),
        "## Go on from here": next_steps(folder, about),
        "## Config": f"```json\n{json.dumps(config, indent=2)}\n```" if config else "",
    }
    return "\n\n".join(f"{title}\n\n{text}" for title, text in parts.items() if text) + "\n"


def facts(
    folder: Path, about: Summary, run: dict[str, Any], lines: list[dict[str, Any]]
) -> dict[str, str]:
    """The figures and the circumstances of a run; what is not known is left out."""
    source = run.get("data") or {}
    spent = read_json(folder / "goodput.json")
    memory = max((line["memory"] for line in lines if "memory" in line), default=None)
    number = lambda value, form: None if value is None else form.format(value)
    rows = {
        "state": f"{about.state}: {about.why}" if about.why else about.state,
        "steps": f"{about.step:,}" + (f" of {about.steps:,}" if about.steps else ""),
        "objective": about.objective,
        "parameters": number(about.parameters, "{:,}"),
        "training loss": number(about.loss, "{:.4f}"),
        "held-out loss (nats per token)": number(about.eval_loss, "{:.4f}"),
        "held-out bits per byte": number(about.bits_per_byte, "{:.4f}"),
        "tokens seen": None if about.tokens is None else show_count(about.tokens),
        "training compute (FLOPs)": number(about.flops, "{:.3g}"),
        "tokens per second (median)": _median(lines, "tokens_per_second", "{:,.0f}"),
        "model FLOPs utilisation (median)": _median(lines, "mfu", "{:.1%}"),
        "places of a row that hold a token": _median(lines, "fill", "{:.1%}"),
        "memory at most": None if memory is None else show_bytes(memory),
        "wall time": show_time(spent["total"]) if "total" in spent else None,
        "goodput": number(spent.get("goodput"), "{:.1%}"),
        "text": source.get("origin"),
        "text fingerprint": source.get("fingerprint"),
        "devices": (run.get("devices") or {}).get("devices"),
        "platform": (run.get("system") or {}).get("platform"),
        "python": run.get("python"),
        "versions": versions(run),
        "commit": commit(run),
        "started": run.get("started"),
        "ended": run.get("ended"),
        "resumed": _times(run.get("resumed", 0)),
    }
    return {name: str(value) for name, value in rows.items() if value}


def evaluations(lines: list[dict[str, Any]]) -> str:
    """A table of evaluations: the last one and others evenly before it."""
    found = [line for line in lines if measured(line)]
    if not found:
        return ""
    every = -(-len(found) // SHOWN_EVALUATIONS)
    shown = found[::-1][::every][::-1]
    usual = {name for line in lines if not measured(line) for name in line} - {"loss"}
    rows = [dict(figures({k: v for k, v in line.items() if k not in usual})) for line in shown]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = [f"| step | {' | '.join(names)} |", "|---:" * (len(names) + 1) + "|"]
    for line, row in zip(shown, rows):
        text.append(f"| {line['step']:,} | {' | '.join(row.get(n, '') for n in names)} |")
    return "\n".join(text)


def goodput(folder: Path) -> str:
    """A table of seconds by what they went into."""
    spent = read_json(folder / "goodput.json")
    seconds = spent.get("seconds") or {}
    total = sum(seconds.values())
    if not total:
        return ""
    rows = {
        KINDS.get(kind, kind): f"{value:,.1f} s | {value / total:.1%}"
        for kind, value in sorted(seconds.items(), key=lambda item: -item[1])
        if value > 0
    }
    text = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"| | seconds | share |\n|---|---:|---:|\n{text}"


def samples(folder: Path) -> str:
    """The newest samples, and the first sample of earlier steps."""
    found = read_samples(folder)
    if not found:
        file = folder / "samples.txt"
        return _fence(file.read_text(errors="replace")) if file.exists() else ""
    last = max(found)
    parts = [f"### Step {last:,}", *(_fence(text) for text in found[last])]
    earlier = [step for step in found if step != last]
    for step in earlier[:: -(-len(earlier) // 6) or 1]:
        parts += [f"### Step {step:,}", _fence(found[step][0][: LONGEST // 3])]
    return "\n\n".join(parts)


def next_steps(folder: Path, about: Summary) -> str:
    """Commands that go on with a run: train on, write, load."""
    place = shlex.quote(str(folder))
    more = (about.steps or about.step) if about.state != "finished" else 2 * max(about.step, 1)
    commands = [
        f"transformers-jax pretrain {place}/config.json --out {place} --steps {more}  # train on"
    ]
    if not (folder / "model").is_dir():
        return f"```sh\n{commands[0]}\n```"
    if (task_of(folder / "model") or "").endswith("generation"):
        commands.append(f'transformers-jax generate {place} --prompt "..." --do-sample')
    commands.append(f"transformers-jax inspect {place}")
    return (
        "```sh\n" + "\n".join(commands) + "\n```\n\n```python\nimport transformers_jax as tj\n\n"
        f'model = tj.from_pretrained("{folder}/model")\n```'
    )


def table(rows: dict[str, str]) -> str:
    """Two columns of Markdown."""
    cell = lambda text: " ".join(text.split()).replace("|", "\\|")
    return "| | |\n|---|---|\n" + "\n".join(f"| {n} | {cell(v)} |" for n, v in rows.items())


def _fence(text: str) -> str:
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return f"```text\n{cut.rstrip().replace('```', chr(39) * 3)}\n```"


def _median(lines: list[dict[str, Any]], name: str, form: str) -> str | None:
    values = [line[name] for line in lines if name in line]
    return form.format(float(np.median(values))) if values else None


def _times(count: int) -> str | None:
    return None if not count else "once" if count == 1 else f"{count} times"
