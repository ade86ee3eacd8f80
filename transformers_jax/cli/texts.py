"""Prompts and token ids on their way into a model, and texts on their way out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from transformers_jax.together import check_together
from transformers_jax.training.exported import is_model, model_folder


def model_source(path: str) -> Any:
    """What is inspected: a model's folder, or the config of a run."""
    file = Path(path).expanduser()
    if file.suffix == ".py" or (file.suffix == ".json" and file.exists() and not is_model(file)):
        from transformers_jax.training.config import load

        run = load(file)
        model, head = run.model, run.objective.head
        if head == "replaced_token_detection":  # two models, of which this one is exported
            head = "replaced_token"
        print("note: a run takes its vocabulary from its tokenizer", file=sys.stderr)
        return model.replace(architectures=(model.architecture(model.head_named(head)),))
    return model_folder(path)


def read_tokenizer(source: Any) -> Any:
    """The tokenizer in the folder of a model."""
    from transformers_jax.data.tokenizers import load_tokenizer
    from transformers_jax.hub.download import resolve

    if not isinstance(source, Path):
        raise ValueError("a config has no tokenizer: give the text as --ids '5 17 3'")
    return load_tokenizer(resolve(source))


def encode(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text; without a tokenizer, the text is ids, such as "5 17 3" or "5,17,3"."""
    if tokenizer is not None:
        return [int(token) for token in tokenizer.encode(text)]
    try:
        ids = [int(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"--ids {text!r}: expected numbers, as in --ids '5 17 3'") from None
    if large := [token for token in ids if abs(token) >= 2**31]:
        raise ValueError(f"--ids: {large[0]} is no token id; they have 31 bits at most")
    return ids


def read_by(model: Any, tokenizer: Any, text: str) -> list[int]:
    """The ids of a text as the model reads it (`generation.texts.ids_of`).

    Raises:
        ValueError: a tokenizer that does not belong to the model.
    """
    if tokenizer is None:
        return encode(None, text)
    from transformers_jax.generation.texts import ids_of

    check_together(model, tokenizer)
    return ids_of(model, tokenizer, text)


def decode(tokenizer: Any, ids: list[int]) -> str:
    """The text of ids; without a tokenizer, the ids as text."""
    return " ".join(map(str, ids)) if tokenizer is None else tokenizer.decode(ids)


def continued(tokenizer: Any, before: list[int], new: list[int]) -> str:
    """The text of new tokens after others; without a tokenizer, the ids as text."""
    if tokenizer is None:
        return decode(None, new)
    from transformers_jax.generation import texts

    return texts.continued(tokenizer, before, new)


def random_key(seed: int) -> Any:
    """The key of a --seed.

    Raises:
        ValueError: a seed of more than 64 bits.
    """
    import jax

    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"--seed {seed} is out of range: it must fit in a signed 64-bit integer")
    return jax.random.key(seed)


def read_prompts() -> list[str]:
    """The lines of standard input."""
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError(
            'no prompt: give --prompt "..." (several times, if you like), or lines on stdin'
        )
    lines = [line for line in sys.stdin.read().splitlines() if line]
    if not lines:
        raise ValueError("no prompt: standard input is empty")
    return lines


def decoder_ids(
    model: Any, inputs: dict[str, Any], tokenizer: Any, target: str | None
) -> list[int]:
    """What the decoder reads: the start token, and the target or what the model would generate."""
    import numpy as np

    start = model.config.decoder_start_token_id
    if target:
        ids = encode(getattr(tokenizer, "target", None) or tokenizer, target)
        return ids if start is None else [start, *ids]
    if start is None:
        raise ValueError("this model names no start token; give --target, the text it decodes")
    return np.asarray(model.generate(**inputs, max_new_tokens=12))[0].tolist()
