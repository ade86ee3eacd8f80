"""Renders docs/zoo.md and the README's table of families."""

from __future__ import annotations

import re
import statistics

from tests.docs.zoo import SAVED, Family, code_lines

HEAD = """# The zoo

*Written by the test run (`tests/docs/test_zoo_docs.py`), which fails if it finds anything else.*

Every family is one file with a config, a description of its stack and a table of weights. What
follows was measured on checkpoints that PyTorch has written, with
`python -m tests.docs.measure_zoo`, on a CPU in float32.

- *cases*: checkpoints that are loaded and give PyTorch's hidden states, logits, losses and tokens.
- *error / tolerance*: the worst output of any case, as a share of its tolerance (three times what
  it moves when all parameters are nudged by 1e-6); *error*: the same output, relative to its
  largest number.
- *gradient*: the worst relative error of the gradient of any parameter, in one step of training.
- *bfloat16*: of a decoder in bfloat16 the error against float32, divided by that of PyTorch in
  bfloat16: of the logits of 576 random tokens, the median over tokens. (The few whose router takes
  another expert are off by ten times as much, there and here, and which they are is chance.)
- *export*: loaded and saved, a file has the same bytes; one of an older layout is written under the
  current names.
- *generate*: how the cases generate, with the tokens that PyTorch generates.
- *lines*: lines of code of the file, imports and tables of weights included, without comments,
  docstrings and blank lines. The median is {median:g}; a file of several families counts once.

"""

PARTS = """
## Heads, and objectives that can pretrain them

"""

CASES = """
## Cases

"""

WORDS = {"causal_lm": "causal LM", "masked_lm": "masked LM", "seq2seq_lm": "seq2seq LM"}


def page(families: list[Family]) -> str:
    """The whole page."""
    head = ["family", "`model_type`", "source", "cases", "error / tolerance", "error", "gradient"]
    head += ["bfloat16", "export", "generate", "lines"]
    parts = [HEAD.format(median=median(families)), table([head, *map(summary, families)])]
    parts += [PARTS, table([["`model_type`", "heads", "objectives"], *map(abilities, families)])]
    head = ["case", "`model_type`", "class", "worst output", "error / tolerance", "error", "export"]
    parts += [CASES, table([head, *(row for f in families for row in cases(f))])]
    return "".join(parts)


def median(families: list[Family]) -> float:
    """Of the lines of code of the families' files."""
    files = {family.file: family.text for family in families}
    return statistics.median(code_lines(text) for text in files.values())


def summary(family: Family) -> list[str]:
    """The row of a family."""
    link = f"[{family.name}](../transformers_jax/models/{family.file.name})"
    good = [case for case in family.cases.values() if case["status"] == "ok"]
    worst = max(good, key=lambda case: case["used"], default=None)
    count = f"{len(good)}" if len(good) == len(family.cases) else f"{len(good)}/{len(family.cases)}"
    kinds = [case["export"] for case in family.cases.values()]
    exports = [f"{kind} ({kinds.count(kind)})" for kind in dict.fromkeys(sorted(kinds)[::-1])]
    steps = [step["gradient"] for step in family.steps.values() if "gradient" in step]
    gradient = max(steps, default=None)
    return [
        link,
        f"`{family.kind}`",
        family.source,
        count,
        share(worst["used"]) if worst else "-",
        f"{worst['relative']:.0e}" if worst else "-",
        "-" if gradient is None else f"{gradient:.0e}",
        next((f"{c['bfloat16']:.2f}" for c in family.cases.values() if "bfloat16" in c), "-"),
        ", ".join(exports) or "-",
        family.generates or ("no case" if family.can_generate else "-"),
        str(code_lines(family.text)),
    ]


def abilities(family: Family) -> list[str]:
    """Its heads and what it can learn."""
    heads = ", ".join(f"`{head}`" for head in family.heads)
    return [f"`{family.kind}`", heads or "-", ", ".join(family.objectives) or "-"]


def cases(family: Family) -> list[list[str]]:
    """A row a case."""
    return [
        [
            name,
            f"`{family.kind}`",
            f"`{case['architecture']}`",
            f"`{case['key']}`" if "key" in case else "-",
            share(case["used"]) if "used" in case else case["status"],
            f"{case['relative']:.0e}" if "relative" in case else "-",
            case["export"],
        ]
        for name, case in sorted(family.cases.items())
    ]


def share(used: float) -> str:
    """0.034 as "3.4 %"."""
    return f"{100 * used:.1f} %"


def table(rows: list[list[str]]) -> str:
    """Rows, the first as head, as Markdown."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- in the README


def with_table(readme: str, families: list[Family]) -> str:
    """The README with a table of these families between its two marks."""
    text = f"<!-- families -->\n{readme_table(families)}<!-- /families -->"
    return re.sub(r"<!-- families -->.*?<!-- /families -->", lambda _: text, readme, flags=re.S)


def readme_table(families: list[Family]) -> str:
    """A row a shape: its families, what holds for all of them, and their heads."""
    rows = [["", "load", "agree", "gradients", "write", "generate", "heads"]]
    for shape in dict.fromkeys(family.shape for family in families):
        group = [family for family in families if family.shape == shape]
        agree = [
            bool(f.cases) and all(c["status"] == "ok" for c in f.cases.values()) for f in group
        ]
        write = [f.cases and all(c["export"] in SAVED for c in f.cases.values()) for f in group]
        heads = dict.fromkeys(head for family in group for head in family.heads)
        names = ", ".join(family.name for family in group)
        rows.append(
            [
                f"**{shape[0].upper() + shape[1:]}**: {names}",
                *(ticks(group, agree), ticks(group, agree)),
                ticks(group, [any("gradient" in s for s in f.steps.values()) for f in group]),
                ticks(group, write),
                ticks(group, [bool(family.generates) for family in group]),
                ", ".join(head_in_words(head) for head in heads),
            ]
        )
    count = sum(len(family.cases) for family in families)
    return table(rows) + (
        f"\nEach tick is a test: {count} checkpoints written by PyTorch, with its hidden states, "
        "logits, losses and the tokens that it generates.\n"
        "The default suite runs those of each family and each head, and `--slow -m slow` the "
        "others.\n"
        "[docs/zoo.md](docs/zoo.md) has a row for every family, with what was measured.\n"
    )


def ticks(group: list[Family], holds: list[bool]) -> str:
    """A tick if something holds for all, but for the few that are named; else for whom it does."""
    names = [family.name for family, is_so in zip(group, holds) if is_so]
    others = [family.name for family, is_so in zip(group, holds) if not is_so]
    if names and len(others) < min(3, len(names)):
        return "✓" + (f" but {', '.join(others)}" if others else "")
    return ", ".join(names)


def head_in_words(head: str) -> str:
    """A head in words."""
    return WORDS.get(head, head.removesuffix("_classification").replace("_", " "))
