"""Renders docs/masks.md from the results of the laws."""

from __future__ import annotations

import numpy as np

from tests.laws import mask_cases
from tests.laws.mask_cases import BACKENDS, CASES, OPTIONS, Case, kernel_arguments
from transformers_jax.graph import connect, sequence

HEAD = """# Masks and backends

*Written by the test run (`tests/laws/test_masks.py`), which fails if it finds anything else.*

A mask is a directed graph: row = the query, column = the key it attends to. Masks
are expressions, combined with `&`, `|` and `~`; `mask.draw()` prints the matrix and `mask.plot()`
draws the graph.

"""

MATRIX = """## Which backend computes which graph

Every cell is a run on a CPU in float32, forward and gradient (`pallas` in interpret mode; `tiled`
with tiles of 8 x 16, so that each graph is cut). `edges` lists the edges of a mask that has no
list, while it is traced. *exact* means all of:

- output and gradients of queries, keys and values equal the reference's to 3e-6;
- a query without edges receives exactly zero and sends exactly zero back;
- *perturbation*: changing a key and value to which a query does not attend leaves its output
  unchanged in every bit, and the gradient it sends there is exactly zero.

`cudnn` does not run on a CPU: its column has the options that it would get for the graph
(bfloat16, heads of 64), or why it refuses. A backend that is chosen by name and refuses raises an
error; `auto` goes on to the next one and says so once.

"""

OPTION = """
## Which backend honours which option

On the packed decoder, forward and gradient (of the option's own parameters too).

"""


def page(graphs: dict[tuple[str, str], dict[str, str]], options: dict[tuple[str, str], str]) -> str:
    """The whole page; `graphs[case, backend]` and `options[option, backend]` are verdicts."""
    parts = [HEAD, "## The graphs\n\n", *(_picture(case) for case in CASES), MATRIX]
    names = [f"{n} {way}" for n in BACKENDS for way in ("forward", "gradient")]
    rows = [["graph", *names, "cudnn"]]
    for case in CASES:
        cells = [graphs[case.name, n][way] for n in BACKENDS for way in ("forward", "gradient")]
        rows.append([case.name, *cells, kernel_arguments(case)])
    parts += [_table(rows), OPTION]
    rows = [["option", "meaning", *BACKENDS]]
    rows += [[o, OPTIONS[o], *(options[o, n] for n in BACKENDS)] for o in OPTIONS]
    return "".join([*parts, _table(rows)])


def _table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines) + "\n"


def _picture(case: Case) -> str:
    """The graph over eight tokens, as text."""
    tags = {
        "document": np.array([[0, 0, 0, 1, 1, 1, 1, 2]]),
        "prefix": np.array([[1, 1, 0, 0, 0, 0, 0, 0]]),
        "block": np.arange(8)[None],
        "blocks": np.full((1, 8), 8),
        "images": np.array([[1, 1, 3, 3, 2, 2, 2, 2]]),
        "image": np.array([[0, 0, 0, 0, 1, 1, 1, 1]]),
    }
    links = (np.arange(8)[:, None] * 3 + np.arange(8) * 5) % 4 == 0
    valid = None
    if case.valid:
        valid = np.arange(8)[None] < (6 if case.valid == "ragged" else 0)
    nodes = sequence(8, tags=tags, valid=valid)
    edges = np.array([[0, 2, 1, 5, 7, 7], [1, 1, 2, 6, 0, 7]])
    again = np.concatenate([edges, edges[:, 1:3], [[-1], [-1]]], 1)
    pairs = {"links": links[None], "edges": edges, "edges_again": again}
    text = case.mask.draw(nodes if case.self else 5, nodes, pairs)
    connect(case.mask, nodes, pairs=pairs)
    return f"**{case.name}**: {case.of}, `{case.mask}`\n\n```\n{text}\n```\n\n"


assert set(mask_cases.NAMES) == {case.name for case in CASES}
