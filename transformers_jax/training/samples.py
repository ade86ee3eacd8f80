"""What a model makes of held-out text, by head: continuations, words filled in, answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.objectives.example import IGNORED, Example

BETWEEN = "\n\n--- sample ---\n\n"


def draw_samples(
    model: Any,
    head: str,
    *,
    prompt: Int[np.ndarray, " T"],
    examples: Sequence[Example] = (),
    tokenizer: Any = None,
    count: int = 3,
    tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
) -> list[str]:
    """`count` texts: a decoder continues the prompt; the others answer the examples, in order.

    Without a tokenizer, texts are ids. Heads that say nothing in words give no texts.
    """
    if count < 1:
        return []
    if head == "causal_lm":
        chosen: dict[str, Any] = dict(temperature=temperature, top_k=top_k, seed=seed)
        return continuations(model, prompt, count, tokenizer, tokens=tokens, **chosen)
    if head in ("masked_lm", "pretraining"):
        return [fill_in(model, example, tokenizer) for example in examples[:count]]
    if head == "seq2seq_lm":
        return [answer(model, example, tokenizer, tokens) for example in examples[:count]]
    return []


def continuations(
    model: Any,
    prompt: Int[np.ndarray, " T"],
    count: int,
    tokenizer: Any = None,
    *,
    tokens: int,
    temperature: float,
    top_k: int,
    seed: int,
) -> list[str]:
    """What the model writes after the prompt, drawn `count` times; no longer than it has places."""
    from transformers_jax.generation import generate
    from transformers_jax.generation.tags import needed_tags

    rows = jnp.tile(jnp.asarray(prompt, jnp.int32), (count, 1))
    read = needed_tags(model.reading)
    ids = generate(
        model,
        input_ids=rows,
        attention_mask=jnp.ones_like(rows),  # id 0 is text here, not padding
        tags=dict.fromkeys(read, jnp.ones_like(rows)) or None,  # the prompt is the prefix
        max_new_tokens=max(1, min(tokens, _room(model.config, len(prompt) + tokens) - len(prompt))),
        do_sample=True,
        temperature=temperature,
        top_k=top_k,
        key=jax.random.key(seed),
    )
    return [spell(tokenizer, row) for row in np.asarray(ids).tolist()]


def fill_in(model: Any, example: Example, tokenizer: Any = None) -> str:
    """The example as the model read it, as it was, and with the likeliest words in the gaps."""
    given = {name: row[None] for name, row in example.tokens.items() if name != "labels"}
    ids, labels = example.tokens["input_ids"], example.tokens["labels"]
    out = model(**given, attention_mask=np.ones_like(ids)[None])
    logits = out["logits"] if "logits" in out else out["prediction_logits"]
    asked = labels != IGNORED
    found = np.where(asked, np.asarray(jnp.argmax(logits[0], axis=-1)), ids)
    right = int((found == labels)[asked].sum())
    return _together(
        given=spell(tokenizer, ids),
        wanted=spell(tokenizer, np.where(asked, labels, ids)),
        filled=spell(tokenizer, found),
        right=f"{right} of {int(asked.sum())}",
    )


def answer(model: Any, example: Example, tokenizer: Any = None, tokens: int = 200) -> str:
    """The example as the encoder read it, the target, and what the decoder says, greedily."""
    from transformers_jax.generation import generate

    ids, labels = example.tokens["input_ids"], example.target["labels"]
    labels = labels[labels != IGNORED]
    most = min(tokens, 2 * len(labels) + 8)  # what goes on for longer has lost its way
    rows = jnp.asarray(ids)[None]
    said = generate(model, input_ids=rows, attention_mask=jnp.ones_like(rows), max_new_tokens=most)
    return _together(
        given=spell(tokenizer, ids),
        wanted=spell(tokenizer, labels),
        said=spell(tokenizer, np.asarray(said)[0, 1:]),  # behind the start token
    )


def spell(tokenizer: Any, ids: Any) -> str:
    """The text of ids; without a tokenizer, the ids."""
    numbers = np.asarray(ids).tolist()
    return " ".join(map(str, numbers)) if tokenizer is None else tokenizer.decode(numbers)


def save_samples(texts: Sequence[str], folder: Path, step: int) -> Path | None:
    """Writes samples/000500.txt of step 500, and samples.txt, the newest; returns the former."""
    if not texts:
        return None
    (folder / "samples").mkdir(exist_ok=True)
    file = folder / "samples" / f"{step:06d}.txt"
    for place in (file, folder / "samples.txt"):
        place.write_text(BETWEEN.join(texts) + "\n")
    return file


def read_samples(folder: Path) -> dict[int, list[str]]:
    """step -> texts, of all steps at which there were some."""
    found = {}
    for file in (folder / "samples").glob("*.txt"):
        if file.stem.isdigit():
            found[int(file.stem)] = file.read_text(errors="replace").rstrip("\n").split(BETWEEN)
    return dict(sorted(found.items()))


def _room(config: Any, wanted: int) -> int:
    """How many places a decoder has, if their number is bounded."""
    names = ("n_positions", "max_position_embeddings")
    known = [getattr(config, name, None) for name in names]
    return min([places for places in known if places], default=wanted)


def _together(**parts: str) -> str:
    return "\n".join(f"{name + ':':<8}{text}" for name, text in parts.items())
