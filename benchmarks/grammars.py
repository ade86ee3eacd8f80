"""What a grammar costs a token.   python -m benchmarks.grammars --vocabularies 512 8192 32768

Texts are drawn from a small model with random weights, with a JSON schema and without, in turns;
the fastest of each are compared: what a step of the loop waits for the host. A vocabulary (byte
pairs) is learned from the documentation of Python. The host's part is measured once more by itself:
`GrammarState.mask` and `.consume` of each token of the texts that were written.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import transformers_jax as tj
from transformers_jax.data.python_docs import documents
from transformers_jax.data.tokenizers import train_tokenizer

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3},
        "at": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
    },
    "required": ["name", "age", "tags", "at"],
    "additionalProperties": False,
}
PEOPLE = {"type": "array", "items": PERSON, "minItems": 100}  # longer than what is written
ROLES = ("bos", "eos", "pad")


def microseconds(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    jax.block_until_ready(work())
    return (time.perf_counter() - begin) * 1e6


def of_host(grammar: tj.Grammar, rows: Any) -> tuple[float, float]:
    """The median microseconds of a mask and of the step to the next token."""
    masks, steps = [], []
    for row in rows:
        state = grammar.start()
        for token in row:
            masks.append(microseconds(state.mask))
            steps.append(microseconds(lambda token=token, state=state: state.consume(token)))
    return statistics.median(masks), statistics.median(steps)


def measure(tokenizer: Any, batch: int, tokens: int, rounds: int) -> dict[str, float]:
    """Microseconds a step, without and with the grammar, and of the host alone."""
    special = {f"{role}_token_id": tokenizer.special_id(role) for role in ROLES}
    sizes = dict(vocab_size=tokenizer.max_id + 1, n_embd=64, n_layer=2, n_head=4, n_positions=256)
    model = tj.from_config(
        tj.GPT2Config(**sizes, **special), head="causal_lm", key=jax.random.key(0)
    )
    grammar = tj.Grammar(tokenizer, json_schema=PEOPLE)
    prompt = np.full((batch, 8), special["bos_token_id"])
    options = dict(max_new_tokens=tokens, min_new_tokens=tokens, do_sample=True, top_k=0)

    def run(seed: int, **more: Any) -> Any:
        return tj.generate(model, prompt, key=jax.random.key(seed), **options, **more)

    texts = run(0, grammar=grammar)
    run(0)
    free, bound = [], []
    for seed in range(rounds):
        free.append(microseconds(lambda seed=seed: run(seed)) / tokens)
        bound.append(microseconds(lambda seed=seed: run(seed, grammar=grammar)) / tokens)
    mask, consume = of_host(grammar, np.asarray(texts)[:, 8:])
    return {"free": min(free), "bound": min(bound), "mask": mask, "consume": consume}


def main() -> None:
    """Prints a row of a table for each vocabulary and batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[512, 8192, 32768])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)  # that texts are cut, which is meant
    texts = [document.text for document in documents()]
    print("| tokens | rows | a step | with a schema | more | mask | consume |")
    print("|---|---|---|---|---|---|---|")
    for size in chosen.vocabularies:
        tokenizer = train_tokenizer("bpe", texts, size, roles=ROLES)
        for batch in chosen.batches:
            cost = measure(tokenizer, batch, chosen.tokens, chosen.rounds)
            more = cost["bound"] - cost["free"]
            found = [cost["free"], cost["bound"], more]
            row = [tokenizer.max_id + 1, batch, *(f"{x:.0f}" for x in found)]
            row += [f"{cost[name]:.1f}" for name in ("mask", "consume")]
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
