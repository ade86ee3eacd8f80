"""From a bottleneck to attention to the Transformer, on dates:  python -m train.dates [--out DIR]

"May 3rd, 1979" becomes "1979-05-03", character by character. Three models of about the same size
learn it from the same examples, in the order in which they were invented:

    bottleneck   a GRU reads, a GRU writes; between them one vector  (Cho et al. 2014)
    attention    the writer attends to all states of the reader      (Bahdanau et al. 2014)
    transformer  nothing but attention                               (Vaswani et al. 2017)

The chapters:

    1. data      a date and a way of writing it, drawn from a seed        `example`, `batch`
    2. models    two configs of one recurrent family, and the 2017 one    `MODELS`
    3. training  the engine's step and optimizer, a dozen lines           `train`
    4. score     exact answers on days that no model was trained on       `exact`
    5. picture   who attends to whom, from the weights of attention       `alignment`, `plot`

The story, and what was measured: docs/attention-history.md.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from tyro.conf import DisallowNone, Positional

import transformers_jax as tj
from transformers_jax.data.generated.dates import DAYS, FIRST, WRITINGS
from transformers_jax.flags import parse
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.recurrent import RecurrentConfig
from transformers_jax.nn.param import axes
from transformers_jax.objectives import supervised
from transformers_jax.optim import AdamW, Cosine

# ---------------------------------------------------------------- 1. data

HELD_OUT = 10
"""Every so many days one is held out for the score."""


LETTERS = "".join(sorted({c for w in WRITINGS for n in range(366) for c in w(
    datetime.date(2000, 1, 1) + datetime.timedelta(n))} | set("-0123456789")))  # fmt: skip
PAD, START = 0, 1
VOCABULARY = len(LETTERS) + 2
WIDTH, ANSWER = 28, 10
"""Characters of the longest text ("Wednesday, 30 September 2026") and of every answer."""


def example(seed: int, number: int, held_out: bool = False) -> tuple[str, str]:
    """("May 3rd, 1979", "1979-05-03"): a pure function of the seed and of the example's number."""
    rng = np.random.default_rng((seed, number, held_out))
    number_of_day = int(rng.integers(DAYS // HELD_OUT)) * HELD_OUT
    if not held_out:
        number_of_day += int(rng.integers(1, HELD_OUT))
    day = FIRST + datetime.timedelta(min(number_of_day, DAYS - 1))
    return WRITINGS[rng.integers(len(WRITINGS))](day), day.isoformat()


def ids(text: str, width: int) -> np.ndarray:
    """Int[width]: its characters, then padding."""
    letters = [LETTERS.index(letter) + 2 for letter in text]
    return np.array(letters + [PAD] * (width - len(letters)), np.int32)


def text_of(row: np.ndarray) -> str:
    """The inverse of `ids`."""
    return "".join(LETTERS[i - 2] for i in np.asarray(row) if i > START)


def batch(seed: int, step: int, rows: int, held_out: bool = False) -> dict[str, np.ndarray]:
    """Inputs and labels of one step."""
    pairs = [example(seed, step * rows + row, held_out) for row in range(rows)]
    texts = np.stack([ids(text, WIDTH) for text, _ in pairs])
    return {
        "input_ids": texts,
        "attention_mask": (texts != PAD).astype(np.int32),
        "labels": np.stack([ids(answer, ANSWER) for _, answer in pairs]),
    }


# ---------------------------------------------------------------- 2. models

GRU = dict(vocab_size=VOCABULARY, embedding_size=24, hidden_size=64, init="torch")
MODELS: dict[str, FamilyConfig] = {
    "bottleneck": RecurrentConfig(**GRU, context="last"),
    "attention": RecurrentConfig(**GRU, context="attention"),
    "transformer": tj.TransformerConfig(
        vocab_size=VOCABULARY,
        d_model=48,
        nhead=4,
        num_encoder_layers=2,
        num_decoder_layers=2,
        dim_feedforward=96,
        dropout=0.0,
    ),
}
PEAKS = {"bottleneck": 5e-3, "attention": 5e-3, "transformer": 3e-3}
"""The highest learning rate of each."""

# ---------------------------------------------------------------- 3. training


def train(
    name: str, *, steps: int = 1000, rows: int = 64, seed: int = 0
) -> tuple[tj.Model, list[float]]:
    """(the trained model, its loss at every step)."""
    model = tj.from_config(MODELS[name], key=jax.random.key(seed))
    record = AdamW(peak=PEAKS[name], schedule=Cosine(warmup=steps // 10))
    optimizer = record.build(axes(model), steps)
    step = tj.make_step(model, supervised, optimizer)
    state, losses = tj.init_state(model, optimizer, jax.random.key(seed + 1)), []
    for number in range(steps):
        state, metrics = step(state, batch(seed, number, rows))
        losses.append(metrics["loss"])
    return tj.bind(model, state.params), [float(loss) for loss in losses]


# ---------------------------------------------------------------- 4. score


def exact(model: tj.Model, rows: int = 2000, seed: int = 0) -> float:
    """The share of texts of held-out days whose answer has no mistake."""
    inputs = batch(seed, 0, rows, held_out=True)
    labels = inputs.pop("labels")
    answers = model.translate(*inputs.values(), start=START, tokens=ANSWER)
    return float((np.asarray(answers)[:, 1:] == labels).all(1).mean())


# ---------------------------------------------------------------- 5. picture


def alignment(model: tj.Model, text: str) -> tuple[str, np.ndarray]:
    """(the answer, Float[answer text]): how much each of its characters attends to those of the
    text. Of a Transformer the mean over the heads of the last cross-attention."""
    row = ids(text, WIDTH)[None]
    inputs = {"input_ids": row, "attention_mask": (row != PAD).astype(np.int32)}
    answers = np.asarray(model.translate(*inputs.values(), start=START, tokens=ANSWER))
    inputs["decoder_input_ids"] = answers[:, :-1]
    if isinstance(model.config, RecurrentConfig):
        weights = model(**inputs).attention[0]
    else:
        weights = model(**inputs, output_attentions=True).cross_attentions[-1][0].mean(0)
    return text_of(answers[0]), np.asarray(weights)[:, : len(text)]


def plot(models: dict[str, tj.Model], texts: Sequence[str], path: Path) -> None:
    """Saves the alignments of every model and text as one figure (extra `viz`: matplotlib)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(texts), 3.2 * len(models)), layout="constrained")
    grid = figure.subplots(len(models), len(texts), squeeze=False)
    for row, (name, model) in zip(grid, models.items()):
        for axes_, text in zip(row, texts):
            answer, weights = alignment(model, text)
            axes_.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes_.set_xticks(range(len(text)), text, family="monospace")
            axes_.set_yticks(range(len(answer)), answer, family="monospace")
            axes_.set_title(name)
    figure.savefig(path, dpi=120)


@dataclass(frozen=True)
class Options:
    """Trains the models, prints what they reached, and draws who attends to whom."""

    models: Positional[tuple[str, ...]] = tuple(MODELS)
    """which of them"""
    steps: int = 1000
    seed: int = 0
    out: DisallowNone[Path | None] = None
    """a directory for models and pictures"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains the models, prints what they reached, and draws who attends to whom."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(Options, arguments, "python -m train.dates", description=__doc__)
        if unknown := set(options.models) - set(MODELS):
            names = ", ".join(sorted(unknown))
            raise ValueError(f"no model is called {names}; there are {', '.join(MODELS)}")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    trained = {}
    print("model          parameters   loss     exact    seconds (CPU)")
    for name in options.models:
        began, cpu = time.perf_counter(), time.process_time()
        model, losses = train(name, steps=options.steps, seed=options.seed)
        spent = f"{time.perf_counter() - began:.0f} ({time.process_time() - cpu:.0f})"
        score = f"{100 * exact(model, seed=options.seed):.1f} %"
        last = np.mean(losses[-20:])
        print(
            f"{name:14} {model.parameter_count:10,}   {last:.4f}   {score:7}  {spent}", flush=True
        )
        trained[name] = model
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, model in trained.items():
            model.save_pretrained(options.out / name)
        attentive = {name: m for name, m in trained.items() if name != "bottleneck"}
        if attentive:
            texts = ("May 3rd, 1979", "Friday, 26 September 2025")
            plot(attentive, texts, options.out / "alignment.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
