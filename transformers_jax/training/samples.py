"""Samples of a model, by its head: continuations, filled-in tokens, answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.objectives.example import IGNORED, Example
from transformers_jax.processes import on_host
from transformers_jax.publish import publish
from transformers_jax.training.config import Sample

POSITIONS = ("n_positions", "max_position_embeddings")
"""What configs call the size of a table of positions."""

BETWEEN = "\n\n--- sample ---\n\n"


def draw_samples(
    model: Any,
    head: str,
    settings: Sample,
    *,
    prompt: Int[np.ndarray, " T"],
    examples: Sequence[Example] = (),
    tokenizer: Any = None,
    seed: int = 0,
    mask: int | None = None,
) -> list[str]:
    """`settings.count` texts: a decoder continues the prompt, and so does a model of masked
    diffusion, whose mask token is `mask`; other models answer the examples.

    Without a tokenizer, texts are ids. Heads that give no text give no samples. Where the devices
    of several processes hold the model, each of them calls it with the same arguments.
    """
    if settings.count < 1:
        return []
    if head == "causal_lm":
        return continuations(model, settings, prompt, tokenizer, seed)
    if mask is not None:
        return revisions(model, settings, prompt, mask, tokenizer, seed)
    examples = examples[: settings.count]
    if head in ("masked_lm", "pretraining"):
        return [fill_in(model, example, tokenizer) for example in examples]
    if head == "seq2seq_lm":
        return [answer(model, example, tokenizer, settings.tokens) for example in examples]
    return []


def prompt_ids(
    settings: Sample, tokenizer: Any, text: Int[np.ndarray, " N"]
) -> Int[np.ndarray, " T"]:
    """The prompt as ids; where there is no tokenizer, or nothing to encode, the first of a text.

    Raises:
        ValueError: a prompt that the tokenizer cannot encode.
    """
    try:
        ids = [] if tokenizer is None else tokenizer.encode(settings.prompt)
    except Exception as error:  # half of a character; Rust's tokenizers raise a TypeError
        raise ValueError(
            f"sample.prompt {settings.prompt!r:.80} cannot be encoded: {error}"
        ) from None
    return np.asarray(ids if len(ids) else text[:1], np.int32)


def check_prompt(settings: Sample, head: str, model: Any, tokenizer: Any) -> None:
    """Raises ValueError for a prompt that cannot be encoded, or leaves no position for a token
    behind it; before the first step, as samples come at the end."""
    if settings.count < 1 or head != "causal_lm":
        return
    count, tables = len(prompt_ids(settings, tokenizer, np.zeros(1, np.int32))), _tables(model)
    if tables and count >= min(tables):
        raise ValueError(
            f"sample.prompt has {count} tokens, and the model has {min(tables)} positions: none is "
            "left to continue it; pass a shorter --sample.prompt, or --sample.count 0"
        )


def _tables(model: Any) -> list[int]:
    """The lengths of the model's tables of positions, from its config."""
    return [count for name in POSITIONS if (count := getattr(model, name, None))]


def continuations(
    model: Any, settings: Sample, prompt: Int[np.ndarray, " T"], tokenizer: Any, seed: int
) -> list[str]:
    """Continuations of the prompt, no longer than the model's table of positions."""
    from transformers_jax.generation import generate
    from transformers_jax.generation.tags import needed_tags

    rows = jnp.tile(jnp.asarray(prompt, jnp.int32), (settings.count, 1))
    tags = needed_tags(model.reading)
    room = min(_tables(model.config), default=len(prompt) + settings.tokens)
    ids = generate(
        model,
        input_ids=rows,
        attention_mask=jnp.ones_like(rows),  # id 0 is text here, not padding
        tags=dict.fromkeys(tags, jnp.ones_like(rows)) or None,  # the prompt is the prefix
        max_new_tokens=max(1, min(settings.tokens, room - len(prompt))),
        do_sample=True,
        temperature=settings.temperature,
        top_k=settings.top_k,
        key=jax.random.key(seed),
    )
    return [spell(tokenizer, row) for row in np.asarray(ids).tolist()]


def revisions(
    model: Any,
    settings: Sample,
    prompt: Int[np.ndarray, " T"],
    mask: int,
    tokenizer: Any,
    seed: int,
) -> list[str]:
    """Texts that begin with the prompt, whose other tokens are written in any order."""
    from transformers_jax.generation.revise import revise

    rows = np.tile(prompt, (settings.count, 1))
    room = min(_tables(model.config), default=len(prompt) + settings.tokens)
    ids = revise(
        model,
        rows,
        attention_mask=np.ones_like(rows),
        max_new_tokens=max(1, min(settings.tokens, room - len(prompt))),
        mask_token_id=mask,
        order="random",  # by which texts are drawn from the model's own distribution
        do_sample=True,
        temperature=settings.temperature,
        key=jax.random.key(seed),
    )
    return [spell(tokenizer, row) for row in np.asarray(ids).tolist()]


def fill_in(model: Any, example: Example, tokenizer: Any = None) -> str:
    """An example: its masked input, the original, and the likeliest tokens in the gaps."""
    inputs = {name: row[None] for name, row in example.tokens.items() if name != "labels"}
    ids, labels = example.tokens["input_ids"], example.tokens["labels"]
    out = model(**inputs, attention_mask=np.ones_like(ids)[None])
    logits = out["logits"] if "logits" in out else out["prediction_logits"]
    masked = labels != IGNORED
    filled = np.where(masked, on_host(jnp.argmax(logits[0], axis=-1)), ids)
    correct = int((filled == labels)[masked].sum())
    return _lines(
        input=spell(tokenizer, ids),
        target=spell(tokenizer, np.where(masked, labels, ids)),
        filled=spell(tokenizer, filled),
        correct=f"{correct} of {int(masked.sum())}",
    )


def answer(model: Any, example: Example, tokenizer: Any = None, tokens: int = 200) -> str:
    """An example: the input of the encoder, the target, and the greedy output of the decoder."""
    from transformers_jax.generation import generate

    ids, labels = example.tokens["input_ids"], example.target["labels"]
    labels = labels[labels != IGNORED]
    most = min(tokens, 2 * len(labels) + 8)  # a longer answer only repeats itself
    rows = jnp.asarray(ids)[None]
    ones = jnp.ones_like(rows)
    output = generate(model, input_ids=rows, attention_mask=ones, max_new_tokens=most)
    return _lines(
        input=spell(tokenizer, ids),
        target=spell(tokenizer, labels),
        output=spell(tokenizer, np.asarray(output)[0, 1:]),  # behind the start token
    )


def spell(tokenizer: Any, ids: Any) -> str:
    """The text of ids; without a tokenizer, the ids."""
    numbers = np.asarray(ids).tolist()
    return " ".join(map(str, numbers)) if tokenizer is None else tokenizer.decode(numbers)


def marked(text: str, title: str) -> str:
    """A sample for a screen: each of its lines, also an empty one, behind a bar."""
    return "\n".join([title, *(f"| {line}".rstrip() for line in text.split("\n"))])


def save_samples(texts: Sequence[str], folder: Path, step: int) -> Path | None:
    """Writes samples/000500.txt of step 500, and samples.txt, the newest; returns the former."""
    if not texts:
        return None
    (folder / "samples").mkdir(exist_ok=True)
    file = folder / "samples" / f"{step:06d}.txt"
    for path in (file, folder / "samples.txt"):
        publish(path, BETWEEN.join(texts) + "\n")
    return file


def read_samples(folder: Path) -> dict[int, list[str]]:
    """{step: texts} of all steps with samples."""
    files = [file for file in (folder / "samples").glob("*.txt") if file.stem.isdigit()]
    texts = lambda file: file.read_text(errors="replace").rstrip("\n").split(BETWEEN)
    return {int(file.stem): texts(file) for file in sorted(files, key=lambda f: int(f.stem))}


def _lines(**parts: str) -> str:
    return "\n".join(f"{name + ':':<9}{text}" for name, text in parts.items())
