"""Renders docs/objectives.md by running the code."""

from __future__ import annotations

import numpy as np

from transformers_jax.objectives import (
    OBJECTIVES,
    UL2,
    BlockDiffusion,
    Denoiser,
    Denoising,
    FillInTheMiddle,
    GapSentences,
    MaskedLM,
    NextSentence,
    Piece,
    SpanCorruption,
    Vocabulary,
)

ONE = "thank you for inviting me to your party last week"
THREE = ("we met at the party", "the party was last week", "it rained")
FAR = ("ships sail", "ports wait for ships")

ROLES = dict(
    bos="<s>", eos="</s>", cls="[CLS]", sep="[SEP]", mask="[MASK]", pad="<pad>",
    fim_prefix="<PRE>", fim_middle="<MID>", fim_suffix="<SUF>",
)  # fmt: skip
PLAIN = sorted({word for text in (ONE, *THREE, *FAR) for word in text.split()})
SENTINELS = [f"<{n}>" for n in range(8)]
MODES = dict(R="[R]", S="[S]", X="[X]")
NAMES = [*ROLES.values(), *PLAIN, *SENTINELS, *MODES.values()]
WORDS = Vocabulary(
    len(NAMES),
    {role: NAMES.index(name) for role, name in ROLES.items()},
    tuple(NAMES.index(name) for name in SENTINELS),
    {mode: NAMES.index(name) for mode, name in MODES.items()},
)

# Name, record, seed: one at which the example shows what is special about it.
SHOWN = [
    ("CausalLM", OBJECTIVES["CausalLM"](), 0),
    ("PrefixLM", OBJECTIVES["PrefixLM"](), 1),
    ("FillInTheMiddle", FillInTheMiddle(rate=1.0, spm=0.0), 0),
    ("FillInTheMiddle", FillInTheMiddle(rate=1.0, spm=1.0), 0),
    ("MaskedLM", MaskedLM(rate=0.3), 1),
    ("MaskedDiffusion", OBJECTIVES["MaskedDiffusion"](counted=True), 1),
    ("BlockDiffusion", BlockDiffusion(block=4, counted=True), 1),
    ("ReplacedToken", OBJECTIVES["ReplacedToken"](), 0),
    ("NextSentence", NextSentence(random=0.0, short=0.0), 0),
    ("NextSentence", NextSentence(random=1.0, short=0.0), 0),
    ("SentenceOrder", OBJECTIVES["SentenceOrder"](swapped=1.0), 1),
    ("SpanCorruption", SpanCorruption(rate=0.3, mean_span=1.5), 0),
    ("UL2", UL2((Denoiser("X", 3, 0.5),)), 0),
    ("UL2", UL2((Denoiser("S", None, 0.25),)), 0),
    ("Denoising", Denoising(), 2),
    ("GapSentences", GapSentences(), 0),
]

TABLE = {
    "CausalLM": ("the text", "every next token", "Radford et al. 2018", "gpt2, llama"),
    "PrefixLM": (
        "a prefix in both directions, the rest from the left",
        "the tokens after the prefix",
        "Raffel et al. 2019",
        "gpt2, llama",
    ),
    "FillInTheMiddle": (
        "the text, in half of the pieces with its middle at the end",
        "every next token",
        "Bavarian et al. 2022",
        "gpt2, llama",
    ),
    "MaskedLM": (
        "the text with 15 % of its tokens masked",
        "the masked tokens, in place",
        "Devlin et al. 2018; Liu et al. 2019",
        "bert, roberta, electra (generator)",
    ),
    "MaskedDiffusion": (
        "the text with a random share of its tokens masked, from none to all",
        "the masked tokens, in place, each weighted by one over the share",
        "Sahoo et al. 2024; Nie et al. 2025",
        "bert, modernbert",
    ),
    "BlockDiffusion": (
        "the text, and behind it the same with a random share of each block masked",
        "the masked tokens, from their block and the blocks before it",
        "Arriola et al. 2025",
        "bert, modernbert",
    ),
    "ReplacedToken": (
        "the text with 15 % of its tokens filled in by a small generator",
        "of each token, whether it was replaced; of the generator, the masked tokens",
        "Clark et al. 2020",
        "electra",
    ),
    "NextSentence": (
        "two segments with masked tokens",
        "the masked tokens, and whether the second segment follows the first",
        "Devlin et al. 2018",
        "bert",
    ),
    "SentenceOrder": (
        "two consecutive segments with masked tokens",
        "the masked tokens, and whether the segments were swapped",
        "Lan et al. 2019",
        "bert",
    ),
    "SpanCorruption": (
        "the text with spans replaced by sentinels",
        "the spans, each after its sentinel",
        "Raffel et al. 2019",
        "t5",
    ),
    "UL2": (
        "a mode token, and the text with spans or a suffix replaced by sentinels",
        "the spans, each after its sentinel",
        "Tay et al. 2022",
        "t5",
    ),
    "Denoising": (
        "the text with its sentences shuffled and spans replaced by one mask token each",
        "the whole text",
        "Lewis et al. 2019",
        "bart",
    ),
    "GapSentences": (
        "the text with its principal sentences replaced by mask tokens",
        "these sentences",
        "Zhang et al. 2019",
        "bart, t5",
    ),
}

HEAD = """# Objectives

*Written by the test run (`tests/objectives/test_objective_docs.py`), which fails if it finds
anything else.*

How a piece of text becomes the input of a model, and its targets. Each objective
is a frozen record; every number in it has its source in the docstring:

```python
from transformers_jax.objectives import MaskedLM, SpanCorruption

MaskedLM(rate=0.15, whole_word=True)
SpanCorruption(rate=0.15, mean_span=3.0).room(512)  # 568: tokens of text that fill a row of 512
```

`example(piece, rng, vocabulary, other)` is a pure function of its arguments: the same state of the
generator gives the same example, so a run can be resumed, and a new epoch draws anew. `vocabulary`
is a `Vocabulary`: the ids of special tokens by role, of sentinels and of mode tokens. What is
missing there is listed in one error, with what to do.

"""

LENGTHS = """
## Lengths and masks

Of a length of 512: most tokens of text in a row, columns of the row (one more where the loss shifts
the labels), columns that always suffice for the decoder, and the mask of rows that are packed with
several documents, in which `OWN` stands for the model's own. Rows of next sentence and sentence
order hold one example each.

"""

EXAMPLES = """
## Examples

One text, or three sentences of it where the objective is about sentences, `|` between them:

    {one}
    {three}

In a row of labels `.` is a position without a target. Rates are larger than the defaults where the
text is too short to show them; the call above each example says which.

"""


def page() -> str:
    """The whole page."""
    head = ["record", "input", "targets", "source", "families", "head"]
    rows = [[f"`{n}`", *TABLE[n], f"`{OBJECTIVES[n].head}`"] for n in OBJECTIVES]
    parts = [HEAD, _table([head, *rows])]
    parts += [LENGTHS, _lengths()]
    parts.append(EXAMPLES.format(one=ONE, three=" | ".join(THREE)))
    shown = None
    for name, record, seed in SHOWN:
        if name != shown:
            summary = record.__doc__.strip().splitlines()[0]
            parts.append(f"### {name}\n\n{summary}\n\n")
        shown = name
        parts.append(_shown(record, seed))
    return "".join(parts).rstrip() + "\n"


def _table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines) + "\n"


def _lengths() -> str:
    """What follows from a length of 512, record by record."""
    rows = [["record", "room(512)", "width(512)", "target_width(512)", "mask(packed=True)"]]
    for name, kind in OBJECTIVES.items():
        record = kind()
        sizes = record.room(512), record.width(512), record.target_width(512)
        mask = record.mask(packed=not record.single)
        parts = mask if isinstance(mask, dict) else {"": mask}
        shown = ", ".join(f"{side} `{part}`".strip() for side, part in parts.items() if part)
        rows.append([f"`{name}`", *(str(size or "-") for size in sizes), shown or "-"])
    return _table(rows)


def piece_of(sentences: tuple[str, ...]) -> Piece:
    """Sentences as a piece: an id for each word."""
    sizes = [len(sentence.split()) for sentence in sentences]
    ids = [NAMES.index(word) for sentence in sentences for word in sentence.split()]
    return Piece(np.array(ids, np.int32), np.cumsum([0, *sizes[:-1]]))


def _shown(record, seed: int) -> str:
    """One example: its call, and its arrays as text in columns."""
    original = piece_of(THREE if record.sentences else (ONE,))
    example = record.example(original, np.random.default_rng(seed), WORDS, lambda: piece_of(FAR))
    sides = [example.tokens | example.tags, example.target]
    rows = [row for side in sides if side for row in _columns(side)]
    rows += [f"{name:<19}  {value}" for name, value in example.once.items()]
    return f"`{_call(record)}`\n\n```text\n" + "\n".join(rows) + "\n```\n\n"


def _call(record) -> str:
    """The record as one would type it: what differs from its defaults."""
    plain = type(record)()
    arguments = {
        name: value
        for name, value in vars(record).items()
        if name in type(record).__dataclass_fields__ and value != getattr(plain, name)
    }
    inner = ", ".join(f"{name}={_value(value)}" for name, value in arguments.items())
    return f"{type(record).__name__}({inner})"


def _value(value) -> str:
    if isinstance(value, tuple):  # UL2's denoisers
        return "[" + ", ".join(str(tuple(v)[:3]) for v in value) + "]"
    return repr(value)


def _columns(side: dict[str, np.ndarray]) -> list[str]:
    """Arrays of one side as lines, a column per token."""
    cells = {name: [_cell(name, i) for i in value] for name, value in side.items()}
    sizes = [max(map(len, column)) for column in zip(*cells.values(), strict=True)]
    return [
        f"{name:<19}  " + " ".join(c.ljust(n) for c, n in zip(row, sizes, strict=True)).rstrip()
        for name, row in cells.items()
    ]


def _cell(name: str, i: int) -> str:
    if name == "weights":
        return f"{i:.3g}"
    if name in ("prefix", "token_type_ids"):
        return str(i)
    return "." if i == -100 else NAMES[i]
