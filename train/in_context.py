"""Learning in a prompt, twice:  python -m train.in_context [--out DIR]

A decoder is trained once, and then learns from what stands in its prompt, without a step of
training more:

    regression   a new linear function in every prompt: after k examples (x, w x) it says w x of
                 another x  (Garg et al. 2022, section 3)
    induction    a new random text in every prompt: where it repeats itself, the next token is the
                 one behind its earlier occurrence  (Olsson et al. 2022)

The chapters:

    1. regression  prompts, the model and its loss, and the error beside that of least squares
    2. induction   texts that repeat themselves, and which head finds the earlier occurrence
    3. pictures    both, with matplotlib (extra `viz`)

What was measured: docs/in-context-learning.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tyro.conf import DisallowNone, Positional

import transformers_jax as tj
from transformers_jax.flags import parse
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.param import axes
from transformers_jax.objectives import supervised
from transformers_jax.optim import AdamW, Cosine

OFF = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)

# ---------------------------------------------------------------- 1. regression

SIZE, EXAMPLES = 2, 8
"""The numbers of an x, and the examples of a prompt."""

REGRESSION = tj.GPT2Config(
    vocab_size=SIZE + 1, n_positions=2 * EXAMPLES, n_embd=48, n_layer=3, n_head=4,
    tie_word_embeddings=False, initializer_range=0.1, **OFF,
)  # fmt: skip
"""Its words are the SIZE numbers of an x, and y: a prompt holds mixtures of their vectors."""


def prompts(seed: int, step: int, rows: int) -> dict[str, np.ndarray]:
    """x Float[rows EXAMPLES SIZE] and y Float[rows EXAMPLES]: in each row y = w x of a w of its
    own, all from a normal distribution, so that y has the variance SIZE."""
    rng = np.random.default_rng((seed, step))
    x = rng.standard_normal((rows, EXAMPLES, SIZE), np.float32)
    w = rng.standard_normal((rows, SIZE), np.float32)
    return {"x": x, "y": np.einsum("bkd,bd->bk", x, w)}


def predictions(model: Any, x: Any, y: Any) -> Any:
    """Float[B k]: y of each x, by the pairs before it. The prompt is x1 y1 x2 y2 ...: an x is the
    sum of the vectors of words, each times a number, and what is predicted is the logit of the
    word y."""
    first = jnp.pad(x, ((0, 0), (0, 0), (0, 1)))
    second = jnp.pad(y[..., None], ((0, 0), (0, 0), (x.shape[-1], 0)))
    numbers = jnp.stack([first, second], 2).reshape(len(x), -1, x.shape[-1] + 1)
    vectors = numbers @ model.token_table("stack")
    return model(inputs_embeds=vectors).logits[:, ::2, -1]


def squared_error(model: Any, batch: Any, key: Any) -> Any:
    """The objective: the squared error at every x of every prompt."""
    error = jnp.square(predictions(model, batch["x"], batch["y"]) - batch["y"])
    return error.mean(), {"loss": (error.sum(), jnp.float32(error.size))}


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same by the w of least norm among those that fit the pairs before it best."""
    found = np.zeros_like(y)
    for k in range(1, x.shape[1]):
        w = np.einsum("bdk,bk->bd", np.linalg.pinv(x[:, :k]), y[:, :k])
        found[:, k] = np.einsum("bd,bd->b", x[:, k], w)
    return found


def averaging(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same by the mean of y x: the first step of gradient descent."""
    found = np.zeros_like(y)
    for k in range(1, x.shape[1]):
        w = np.einsum("bkd,bk->bd", x[:, :k], y[:, :k]) / k
        found[:, k] = np.einsum("bd,bd->b", x[:, k], w)
    return found


def errors(model: tj.Model, rows: int = 2048, seed: int = 1) -> dict[str, np.ndarray]:
    """Float[EXAMPLES] by name: the mean squared error after k examples, by the variance of y."""
    batch = prompts(seed, 0, rows)
    x, y = batch["x"], batch["y"]
    found = {
        "transformer": np.asarray(predictions(model, x, y)),
        "least squares": least_squares(x, y),
        "averaging": averaging(x, y),
    }
    return {name: np.square(each - y).mean(0) / SIZE for name, each in found.items()}


# ---------------------------------------------------------------- 2. induction

WORDS, LENGTH, PERIODS = 32, 48, (8, 24)
"""Tokens, those of a row, and after how many a row repeats itself: drawn for each, so that the
place of the earlier occurrence has to be found by what stands there."""


def repeating(layers: int) -> FamilyConfig:
    """A GPT-2 of so many layers."""
    return tj.GPT2Config(
        vocab_size=WORDS, n_positions=LENGTH, n_embd=64, n_layer=layers, n_head=4, **OFF
    )


def repeats(seed: int, step: int, rows: int) -> dict[str, np.ndarray]:
    """Rows that repeat themselves, with labels where they do, and their periods."""
    rng = np.random.default_rng((seed, step))
    text = rng.integers(WORDS, size=(rows, LENGTH))
    periods = rng.integers(*PERIODS, size=rows, endpoint=True)
    column = np.arange(LENGTH)
    ids = np.take_along_axis(text, column % periods[:, None], 1).astype(np.int32)
    return {
        "input_ids": ids,
        "labels": np.where(column > periods[:, None], ids, -100).astype(np.int32),
        "periods": periods,
    }


def next_token(model: Any, batch: Any, key: Any) -> Any:
    """The objective: -log p of each token that stands there for the second time."""
    named = {name: batch[name] for name in ("input_ids", "labels")}
    return supervised(model, named, key)


def matching(model: tj.Model, rows: int = 128, seed: int = 1) -> dict[str, Any]:
    """What the heads attend to in rows that repeat themselves.

    Returns:
        prefix Float[L H]: the mean weight of the tokens behind earlier occurrences of the token
        (the prefix-matching score of Olsson et al. 2022), where a row repeats itself; previous
        Float[L H]: that of the token before, where its text is new; accuracy: the share of tokens
        that are predicted.
    """
    batch = repeats(seed, 0, rows)
    ids, periods = batch["input_ids"], batch["periods"]
    out = model(input_ids=ids, output_attentions=True)
    weights = np.stack([np.asarray(layer) for layer in out.attentions])  # [L B H T S]
    query, key = np.arange(LENGTH)[:, None], np.arange(LENGTH)
    back = query - (key - 1)  # from a token to that in front of a key
    behind = (key > 0) & (back > 0) & (back % periods[:, None, None] == 0)  # [B T S]
    repeated = query[:, 0] >= periods[:, None]  # [B T]

    def of_heads(keys: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Float[L H]: the mean weight of these keys, over these queries."""
        weight = (weights * keys[:, None]).sum(-1)  # [L B H T]
        return (weight * queries[:, None]).sum((1, 3)) / queries.sum()

    guess = np.asarray(out.logits).argmax(-1)[:, :-1]
    known = batch["labels"][:, 1:] != -100
    return {
        "prefix": of_heads(behind, repeated),
        "previous": of_heads(np.broadcast_to(back == 2, behind.shape), (key > 0) & ~repeated),
        "accuracy": float((guess == ids[:, 1:])[known].mean()),
    }


# ---------------------------------------------------------------- training


def train(
    config: FamilyConfig,
    objective: Callable[..., Any],
    batch: Callable[[int, int, int], dict[str, np.ndarray]],
    *,
    steps: int,
    rows: int = 64,
    adam: AdamW = AdamW(peak=3e-3),
    seed: int = 0,
) -> tuple[tj.Model, list[float]]:
    """(the trained model, its loss at every step); no prompt comes twice."""
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(seed))
    record = replace(adam, schedule=Cosine(warmup=steps // 20))
    optimizer = record.build(axes(model), steps)
    step = tj.make_step(model, objective, optimizer)
    state, losses = tj.init_state(model, optimizer, jax.random.key(seed + 1)), []
    for number in range(steps):
        state, metrics = step(state, batch(seed, number, rows))
        losses.append(metrics["loss"])
    return tj.bind(model, state.params), [float(loss) for loss in losses]


# ---------------------------------------------------------------- 3. pictures


def plot_errors(found: dict[str, np.ndarray], path: Path) -> None:
    """Saves the error after each number of examples as a figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes_ = figure.add_subplot()
    for (name, error), style in zip(found.items(), ("o-", "s--", "^:")):
        axes_.plot(np.arange(len(error)), error, style, label=name)
    axes_.set(
        xlabel="examples in the prompt",
        ylabel="mean squared error / variance of y",
        title=f"Linear functions of {SIZE} numbers, learned in the prompt",
        ylim=(-0.05, 1.5),
    )
    axes_.axvline(SIZE, color="0.8", zorder=0)
    axes_.legend(frameon=False)
    axes_.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def plot_heads(models: dict[int, tj.Model], path: Path, seed: int = 2) -> None:
    """Saves the scores of every head, and what the best two attend to in a row that repeats
    itself, as a figure: the head of the token before, and the induction head."""
    from matplotlib.figure import Figure

    deepest = models[max(models)]
    scores = matching(deepest)
    batch = repeats(seed, 0, 1)
    weights = deepest(input_ids=batch["input_ids"], output_attentions=True).attentions
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.3, 1.3))
    names = ("previous", "prefix")
    table = np.concatenate([scores[name] for name in names], 1)
    left.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    heads = table.shape[1] // 2
    for (layer, column), value in np.ndenumerate(table):
        colour = "white" if value > 0.6 else "black"
        left.text(column, layer, f"{value:.2f}", ha="center", va="center", color=colour)
    left.set_xticks(range(2 * heads), [*range(heads)] * 2)
    left.set_yticks(range(len(table)), [f"layer {n}" for n in range(len(table))])
    left.axvline(heads - 0.5, color="black", linewidth=0.8)
    left.set_title("token before  |  behind the earlier occurrence", fontsize=9)
    left.set_xlabel("head")
    titles = ("attends to the token before", "attends to what came next, then")
    for axes_, name, title in zip((middle, right), names, titles):
        layer, head = np.unravel_index(scores[name].argmax(), scores[name].shape)
        axes_.imshow(np.asarray(weights[layer])[0, head], cmap="Blues", vmin=0, vmax=1)
        axes_.set_title(f"layer {layer}, head {head}: {title}", fontsize=9)
        axes_.axhline(batch["periods"][0] - 0.5, color="0.5", linewidth=0.8, linestyle=":")
        axes_.set(xlabel="key", ylabel="query")
    figure.savefig(path, dpi=110)


# ---------------------------------------------------------------- command

CHAPTERS = ("regression", "induction")


@dataclass(frozen=True)
class Options:
    """Trains the decoders, prints what they learn in their prompts, and draws it."""

    chapters: Positional[tuple[str, ...]] = CHAPTERS
    """which of them"""
    regression_steps: int = 2500
    induction_steps: int = 700
    seed: int = 0
    out: DisallowNone[Path | None] = None
    """a directory for models and pictures"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains the decoders, prints what they learn in their prompts, and draws it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(Options, arguments, "python -m train.in_context", description=__doc__)
        if unknown := set(options.chapters) - set(CHAPTERS):
            names = ", ".join(sorted(unknown))
            raise ValueError(f"no chapter is called {names}; there are {', '.join(CHAPTERS)}")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    if "regression" in options.chapters:
        regression(options)
    if "induction" in options.chapters:
        induction(options)
    return 0


def regression(options: Options) -> None:
    """Trains the decoder of linear functions, and prints its errors."""
    cpu = time.process_time()
    model, _ = train(
        REGRESSION, squared_error, prompts, steps=options.regression_steps,
        adam=AdamW(peak=3e-3, weight_decay=0.0, b2=0.98), seed=options.seed,
    )  # fmt: skip
    spent, found = time.process_time() - cpu, errors(model)
    print(f"regression, {model.parameter_count:,} parameters, {spent:.0f} s of CPU time")
    print(f"{'examples':14}" + "".join(f"{k:6}" for k in range(EXAMPLES)))
    for name, error in found.items():
        print(f"{name:14}" + "".join(f"{value:6.2f}" for value in error), flush=True)
    if options.out:
        model.save_pretrained(options.out / "regression")
        plot_errors(found, options.out / "regression.png")


def induction(options: Options) -> None:
    """Trains decoders of one and two layers on texts that repeat themselves, and prints what their
    heads attend to."""
    models = {}
    print("layers   accuracy   prefix matching   token before   seconds (CPU)")
    for layers in (1, 2):
        cpu = time.process_time()
        models[layers], _ = train(
            repeating(layers), next_token, repeats, steps=options.induction_steps,
            seed=options.seed,
        )  # fmt: skip
        spent, scores = time.process_time() - cpu, matching(models[layers])
        prefix, previous = (scores[name].max() for name in ("prefix", "previous"))
        print(
            f"{layers:6}   {100 * scores['accuracy']:6.1f} %   {prefix:15.2f}   {previous:12.2f}"
            f"   {spent:13.0f}",
            flush=True,
        )
        if options.out:
            models[layers].save_pretrained(options.out / f"induction-{layers}")
    if options.out:
        plot_heads(models, options.out / "induction.png")


if __name__ == "__main__":
    sys.exit(main())
