"""The report of a run, made only from the files of its folder.

Needs no run: a report can be made again at any time, elsewhere, of any run.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.json_files import json_or_empty
from transformers_jax.publish import publish
from transformers_jax.runs import plots
from transformers_jax.runs.page import sections, table
from transformers_jax.runs.pictures import (
    CHOICES,
    PICTURE,
    answers_of,
    plot_answers,
    plot_routing,
    routing_of,
)
from transformers_jax.runs.pipelines import pipeline_of
from transformers_jax.runs.summary import Summary, summarise
from transformers_jax.tasks import TASKS
from transformers_jax.training import metrics
from transformers_jax.training.clock import KINDS
from transformers_jax.training.provenance import commit, read_run, versions
from transformers_jax.training.samples import read_samples

SHOWN_EVALUATIONS = 12  # rows of the table of evaluations: the last one, and every nth before it
LONGEST = 1500  # characters of a sample in a report


def plot_run(folder: Path) -> list[str]:
    """Draws loss.png, curves.png and the pictures of answers and of routers of a run, as far
    as there is something to draw; their names."""
    lines, drawn = metrics.read(folder / "metrics.jsonl"), []
    if any("loss" in line for line in lines):
        plots.plot_loss(lines, folder / "loss.png")
        drawn.append("loss.png")
    if plots.plot_curves(lines, folder / "curves.png"):
        drawn.append("curves.png")
    return drawn + plot_answers(folder) + plot_routing(folder)


def write_report(folder: Path) -> Path:
    """Draws the curves of a run and writes its report.md; returns the path of that."""
    file = folder / "report.md"
    publish(file, describe(folder, plot_run(folder)))
    return file


def describe(folder: Path, images: list[str], where: str = "") -> str:
    """The report of a run as Markdown; `where` is the path to its images."""
    summary, config = summarise(folder), json_or_empty(folder / "config.json")
    title = f"# {summary.name}: {summary.model or 'unknown model'}, {summary.step:,} steps"
    command = read_run(folder).get("command") or "command not recorded"
    rows = list(facts(folder, summary).items())
    parts = {
        title: f"```sh\n{command}\n```\n\n{table(['', ''], rows)}",
        "## Curves": "\n\n".join(
            f"![{Path(name).stem}]({where}{name})"
            for name in images
            if name not in (PICTURE, CHOICES)
        ),
        "## Answers": answers_of(folder, images, where),
        "## Experts": routing_of(folder, images, where),
        "## Evaluations": evaluations(metrics.read(folder / "metrics.jsonl")),
        "## Where the time went": goodput(folder),
        "## Samples": samples(folder),
        "## Go on from here": next_steps(folder, summary),
        "## Config": _file(folder / "config.json") if config else "",
    }
    return sections(parts)


def facts(folder: Path, summary: Summary) -> dict[str, str]:
    """The figures of a run after a step (that of the summary) and its circumstances; what is not
    known is left out."""
    run, spent = read_run(folder), json_or_empty(folder / "goodput.json")
    source, every = run.get("data") or {}, metrics.read(folder / "metrics.jsonl")
    lines = [line for line in every if line["step"] <= summary.step]
    column = lambda name: [line[name] for line in lines if name in line]
    at_end = lambda name: (lines or [{}])[-1].get(name)
    form = lambda template, value: None if value is None else template.format(value)
    median = lambda template, name: form(
        template, np.median(values) if (values := column(name)) else None
    )
    memory = max(column("memory"), default=None)
    per_token = "" if summary.objective in TASKS else " (nats per token)"
    resumed, sets = run.get("resumed", 0), run.get("evaluation_batches") or {}
    rows = {
        "state": f"{summary.state}: {summary.why}" if summary.why else summary.state,
        "steps": f"{summary.step:,}" + (f" of {summary.steps:,}" if summary.steps else ""),
        "steps left out": left_out(lines),
        "exported": form(f"step {{:,}}, {summary.exported_why}", summary.exported),
        "objective": summary.objective,
        "started from": started_from(run),
        "parameters": form("{:,}", summary.parameters),
        f"training loss{per_token}": form("{:.4f}", summary.loss),
        f"held-out loss{per_token}": form("{:.4f}", summary.eval_loss),
        "held-out bits per byte": form("{:.4f}", summary.bits_per_byte),
        "held-out loss at the end": form("{:.4f}", at_end("eval_loss/final")),
        "held-out bits per byte at the end": form("{:.4f}", at_end("bits_per_byte/final")),
        "held-out batches": ", ".join(f"{count} ({name})" for name, count in sets.items()),
        "tokens seen": None if summary.tokens is None else metrics.show_count(summary.tokens),
        "training compute (FLOPs)": form("{:.3g}", summary.flops),
        "tokens per second (median)": median("{:,.0f}", "tokens_per_second"),
        "model FLOPs utilisation (median)": median("{:.1%}", "mfu"),
        "positions of a row that hold a token": median("{:.1%}", "fill"),
        "memory at most": None if memory is None else metrics.show_bytes(memory),
        "wall time": metrics.show_time(spent["total"]) if "total" in spent else None,
        "goodput": form("{:.1%}", spent.get("goodput")),
        "text": source.get("origin"),
        "text fingerprint": source.get("fingerprint"),
        "devices": (run.get("devices") or {}).get("devices"),
        "platform": (run.get("system") or {}).get("platform"),
        "python": run.get("python"),
        "versions": versions(run),
        "commit": commit(run),
        "started": run.get("started"),
        "ended": run.get("ended"),
        "resumed": {0: None, 1: "once"}.get(resumed, f"{resumed} times"),
    }
    return {name: str(value) for name, value in rows.items() if value}


def left_out(lines: Sequence[metrics.Line]) -> str | None:
    """ "3, of which 2 were spikes": the steps whose update was not made; None if all were."""
    most = lambda name: max((line.get(name, 0) for line in lines), default=0)
    spikes = f", of which {most('spikes')} were spikes" if most("spikes") else ""
    return f"{most('skipped')}{spikes}" if most("skipped") else None


def started_from(run: Mapping[str, Any]) -> str | None:
    """The checkpoint whose weights a run began with, and what was drawn; None: all was drawn."""
    initial = run.get("init_from") or {}
    if not initial.get("path"):
        return None
    drawn = initial.get("drawn") or []
    return initial["path"] + (f"; newly initialised: {', '.join(drawn)}" if drawn else "")


def evaluations(lines: Sequence[metrics.Line]) -> str:
    """A table of evaluations: the last one and others evenly before it."""
    evaluated = [line for line in lines if metrics.measured(line)]
    if not evaluated:
        return ""
    every = -(-len(evaluated) // SHOWN_EVALUATIONS)
    shown = evaluated[::-1][::every][::-1]
    of_a_step = {name for line in lines if not metrics.measured(line) for name in line} - {"loss"}
    of_evaluation = lambda line: {k: v for k, v in line.items() if k not in of_a_step}
    rows = [dict(metrics.figures(of_evaluation(line))) for line in shown]
    names = list(dict.fromkeys(name for row in rows for name in row))
    texts = [
        [f"{line['step']:,}", *(row.get(name, "") for name in names)]
        for line, row in zip(shown, rows)
    ]
    return table(["step", *names], texts)


def goodput(folder: Path) -> str:
    """A table of seconds by what they went into."""
    seconds = json_or_empty(folder / "goodput.json").get("seconds") or {}
    total = sum(seconds.values())
    rows = [
        [KINDS.get(kind, kind), f"{value:,.1f} s", f"{value / total:.1%}"]
        for kind, value in sorted(seconds.items(), key=lambda item: -item[1])
        if value > 0
    ]
    return table(["", "seconds", "share"], rows) if rows else ""


def samples(folder: Path) -> str:
    """The newest samples, and the first sample of earlier steps."""
    texts = read_samples(folder)
    if not texts:
        file = folder / "samples.txt"
        return _fence(file.read_text(errors="replace")) if file.exists() else ""
    *earlier, last = texts
    parts = [f"### Step {last:,}", *(_fence(text) for text in texts[last])]
    for step in earlier[:: -(-len(earlier) // 6) or 1]:
        parts += [f"### Step {step:,}", _fence(texts[step][0][: LONGEST // 3])]
    return "\n\n".join(parts)


def next_steps(folder: Path, summary: Summary) -> str:
    """Commands that go on with a run: train on, watch, generate, load."""
    path, steps = shlex.quote(str(folder)), summary.steps or summary.step
    if summary.state == "finished":
        steps = 2 * max(summary.step, 1)
    length, learns = f"--steps {steps}", summary.objective in TASKS
    if epochs := json_or_empty(folder / "config.json").get("epochs"):  # they decide the steps
        length = f"--epochs {epochs * (1 + (summary.state == 'finished'))}"
    command = "finetune" if learns else "pretrain"
    commands = [f"transformers-jax {command} {path}/config.json --out {path} {length}  # train on"]
    if learns and summary.state == "finished":
        commands += [
            f"transformers-jax predict {path} --input new.csv --out predicted.jsonl",
            f"transformers-jax evaluate --model {path} --data test.csv  # by the task's metrics",
        ]
    if any(folder.glob("events.out.tfevents*")):
        commands.append(
            f"tensorboard --logdir {path}  # all curves, in a browser; pip install tensorboard"
        )
    load = ""
    if (folder / "model").is_dir():
        if (pipeline_of(folder / "model") or "").endswith("generation"):
            commands.append(f'transformers-jax generate {path} --prompt "..." --do-sample')
        commands.append(f"transformers-jax inspect {path}")
        load = (
            "\n\n```python\nimport transformers_jax as tj\n\n"
            f'model = tj.from_pretrained("{folder}/model")\n```'
        )
    return "```sh\n" + "\n".join(commands) + f"\n```{load}"


def _file(path: Path) -> str:
    return f"```json\n{path.read_text().strip()}\n```"


def _fence(text: str) -> str:
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return f"```text\n{cut.rstrip().replace('```', chr(39) * 3)}\n```"
