"""One page about one run or several: figures, what differs in their configs, curves, samples."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers_jax.runs import plots
from transformers_jax.training.metrics import Line, read
from transformers_jax.training.provenance import read_json, read_run
from transformers_jax.runs.report import describe, plot_run, samples
from transformers_jax.runs.summary import (
    COLUMNS,
    Summary,
    cells,
    names,
    summarise,
    tokens_per_step,
)

SUFFIXES = (".html", ".md")

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border:1px solid #ccc;
padding:.2rem .6rem;text-align:left;font-variant-numeric:tabular-nums}pre{background:#f6f6f6;
padding:.8rem;overflow-x:auto;white-space:pre-wrap}img{max-width:100%}"""


def write_page(folders: Sequence[Path], out: Path) -> Path:
    """The report of one run, or of several side by side, as HTML with its pictures inside, or as
    Markdown with its pictures beside it, by the ending of `out`; returns `out`.

    Raises:
        ValueError: another ending, or no folder that is a run.
    """
    if out.suffix not in SUFFIXES:
        raise ValueError(f"--out {out}: expected a name that ends in {' or '.join(SUFFIXES)}")
    found = [summarise(folder) for folder in folders]
    usable = [run for run in found if run.state not in ("broken", "not a run")]
    if not usable:
        why = "; ".join(f"{run.folder}: {run.state}, {run.why}" for run in found)
        raise ValueError(f"no run to report on ({why or 'there is none in these folders'})")
    out.parent.mkdir(parents=True, exist_ok=True)
    if len(found) == 1:
        folder = Path(usable[0].folder)
        where = f"{Path(os.path.relpath(folder, out.parent)).as_posix()}/"
        text = describe(folder, plot_run(folder), "" if where == "./" else where)
    else:
        image = out.with_name(f"{out.stem}-loss.png")
        plots.plot_runs(_lines(usable), image)
        text = compare(found, image.name)
    title = text.split("\n", 1)[0].removeprefix("# ")
    out.write_text(to_html(text, out.parent, title) if out.suffix == ".html" else text)
    if out.suffix == ".html" and len(found) > 1:
        image.unlink()  # it is in the page
    return out


def compare(found: Sequence[Summary], image: str) -> str:
    """Several runs side by side, as Markdown."""
    labels = names(found)
    rows = [[label, *cells(run)[1:]] for label, run in zip(labels, found)]
    parts = {
        f"# {len(found)} runs": grid(list(COLUMNS.values()), rows),
        "## What went wrong": "\n".join(
            f"- {label}: {run.state}: {run.why}" for label, run in zip(labels, found) if run.why
        ),
        "## What differs": differing(found, labels),
        "## Loss": f"![loss]({image})",
    }
    for label, run in zip(labels, found):
        texts = samples(Path(run.folder))
        if texts:
            parts[f"## Samples of {label}"] = texts
    return "\n\n".join(f"{title}\n\n{text}" for title, text in parts.items() if text) + "\n"


def differing(found: Sequence[Summary], labels: Sequence[str]) -> str:
    """A table of the fields of the configs that are not the same in all runs."""
    configs = [flat(read_json(Path(run.folder) / "config.json")) for run in found]
    known = [config for config in configs if config]
    keys = sorted({key for config in known for key in config})
    absent = object()
    differ = [k for k in keys if any(c.get(k, absent) != known[0].get(k, absent) for c in known)]
    if not differ:
        return "Nothing but the folder." if len(known) > 1 else "One config is known."
    rows = [[key, *(str(config.get(key, "-")) for config in configs)] for key in differ]
    return grid(["", *labels], rows)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"n_layer": 2}} -> {"model.n_layer": 2}; without the folder, which differs."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{name}."))
        elif prefix or name != "out":
            found[prefix + name] = value
    return found


def with_tokens(folder: Path) -> list[Line]:
    """The lines of a run with `tokens`, as far as they can be told: all it has seen until then."""
    lines = read(folder / "metrics.jsonl")
    each = tokens_per_step(read_run(folder), read_json(folder / "config.json"))
    if each is None or any("tokens" in line for line in lines):
        return list(lines)
    return [{**line, "tokens": each * line["step"]} for line in lines]


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    cell = lambda text: " ".join(text.split()).replace("|", "\\|")
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def to_html(text: str, folder: Path, title: str) -> str:
    """A page that needs no other file: pictures, named relative to `folder`, are inside of it."""
    from markdown_it import MarkdownIt

    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)

    def embed(match: re.Match[str]) -> str:
        file = folder / _unescape(match[1])
        if not file.is_file():
            return match[0]
        data = base64.b64encode(file.read_bytes()).decode()
        return f'<img src="data:image/png;base64,{data}"'

    page = re.sub(r'<img src="([^"]+)"', embed, page)
    head = f'<meta charset="utf-8"><title>{_escape(title)}</title><style>{STYLE}</style>'
    return f"<!doctype html>\n<html><head>{head}</head><body>\n{page}</body></html>\n"


def _lines(found: Sequence[Summary]) -> dict[str, list[Line]]:
    return {label: with_tokens(Path(run.folder)) for label, run in zip(names(found), found)}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _unescape(link: str) -> str:
    """The file that a link of rendered Markdown names."""
    from html import unescape
    from urllib.parse import unquote

    return unquote(unescape(link))
