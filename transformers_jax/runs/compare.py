"""One page about one run or several: figures, what differs in their configs, curves, samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers_jax.json_files import json_or_empty, json_text
from transformers_jax.nn.param import flatten
from transformers_jax.publish import publish
from transformers_jax.runs import plots
from transformers_jax.runs.page import sections, table, to_html
from transformers_jax.runs.report import describe, plot_run, samples
from transformers_jax.runs.summary import (
    COLUMNS,
    Summary,
    compared_by,
    names,
    rows,
    summarise,
    tokens_per_step,
)
from transformers_jax.training.metrics import Line, read
from transformers_jax.training.provenance import read_run

SUFFIXES = (".html", ".md")


def write_page(folders: Sequence[Path], out: Path) -> Path:
    """The report of one run, or of several side by side, as HTML with its pictures inside, or as
    Markdown with pictures next to it, by the ending of `out`; returns `out`.

    Raises:
        ValueError: another ending, or no folder that is a run.
    """
    if out.suffix not in SUFFIXES:
        raise ValueError(f"--out {out}: expected a name that ends in {' or '.join(SUFFIXES)}")
    runs = [summarise(folder) for folder in folders]
    usable = [run for run in runs if run.state not in ("broken", "not a run")]
    if not usable:
        why = "; ".join(f"{run.folder}: {run.state}, {run.why}" for run in runs)
        raise ValueError(f"no run to report on ({why or 'there is none in these folders'})")
    out.parent.mkdir(parents=True, exist_ok=True)
    image = out.with_name(f"{out.stem}-loss.png")
    if len(runs) == 1:
        folder = Path(usable[0].folder)
        where = f"{Path(os.path.relpath(folder, out.parent)).as_posix()}/"
        text = describe(folder, plot_run(folder), "" if where == "./" else where)
    else:
        lines = {label: with_tokens(Path(r.folder)) for label, r in zip(names(usable), usable)}
        plots.plot_runs(lines, image, compared_by(usable) == "bits_per_byte")
        text = compare(runs, image.name)
    if out.suffix == ".html":
        text = to_html(text, out.parent, text.split("\n", 1)[0].removeprefix("# "))
        image.unlink(missing_ok=True)  # it is in the page
    publish(out, text)
    return out


def compare(runs: Sequence[Summary], image: str) -> str:
    """Several runs side by side, as Markdown."""
    labels = names(runs)
    heads = [label for label, _ in COLUMNS.values()]
    parts = {
        f"# {len(runs)} runs": table(heads, [list(row.values()) for row in rows(runs)]),
        "## What went wrong": "\n".join(
            f"- {label}: {run.state}: {run.why}" for label, run in zip(labels, runs) if run.why
        ),
        "## What differs": differing(runs, labels),
        "## Loss": _without_bits(runs, labels) + f"![loss]({image})",
    }
    of_samples = {
        f"## Samples of {label}": samples(Path(r.folder)) for label, r in zip(labels, runs)
    }
    return sections(parts | of_samples)


def _without_bits(runs: Sequence[Summary], labels: Sequence[str]) -> str:
    """What is said of a picture in bits per byte."""
    if compared_by(runs) == "eval_loss":
        return ""
    without = [label for label, run in zip(labels, runs) if run.bits_per_byte is None]
    left_out = f" Without them, and left out: {', '.join(without)}." if without else ""
    return f"The tokenizers differ, so losses are in bits per byte.{left_out}\n\n"


def differing(runs: Sequence[Summary], labels: Sequence[str]) -> str:
    """A table of the fields of the configs that are not the same in all runs."""
    configs = [flatten(json_or_empty(Path(run.folder) / "config.json")) for run in runs]
    known = [config for config in configs if config]
    keys = sorted({key for config in known for key in config} - {"out"})
    absent = object()
    differ = [k for k in keys if any(c.get(k, absent) != known[0].get(k, absent) for c in known)]
    if not differ:
        return "Nothing but the folder." if len(known) > 1 else "One config is known."
    texts = [[key, *(shown(config.get(key, "-")) for config in configs)] for key in differ]
    return table(["", *labels], texts)


def shown(value: Any) -> str:
    """A value of a config in a table: text that would not be seen, such as "\\n", is escaped."""
    text = str(value)
    visible = text and text.isprintable() and text == text.strip()
    return text if visible else json_text(value, ensure_ascii=False)


def with_tokens(folder: Path) -> list[Line]:
    """The lines of a run, each with its `tokens` where these are recorded or can be computed."""
    lines: list[Line] = list(read(folder / "metrics.jsonl"))
    per_step = tokens_per_step(read_run(folder), json_or_empty(folder / "config.json"))
    if per_step is None or any("tokens" in line for line in lines):
        return lines
    return [{**line, "tokens": per_step * line["step"]} for line in lines]
