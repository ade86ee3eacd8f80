"""Texts of uneven lengths, of which many are written at a time: slots, and the continuous batching
of transformers.

A GPT-2 of 6 layers with random weights; prompts of 8 to 128 tokens and answers of 4 to 128, both
log-uniform, all there from the beginning.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.cases import Side

UNIT = "tokens/s"
WORDS, LENGTH = 8192, 512
CASES: dict[str, dict[str, Any]] = {
    "served 24 texts in 8 slots": dict(requests=24, slots=8),
    "served 48 texts in 16 slots": dict(requests=48, slots=16),
}
SIZES: dict[str, Any] = dict(
    vocab_size=WORDS, n_positions=LENGTH, n_embd=384, n_layer=6, n_head=6, bos_token_id=None,
    eos_token_id=None, pad_token_id=0, initializer_range=0.1,
)  # fmt: skip


def requests(count: int) -> list[tuple[list[int], int]]:
    """(prompt, new tokens) of each text."""
    rng = np.random.default_rng(0)
    between = lambda low, high: int(np.exp(rng.uniform(np.log(low), np.log(high))))
    return [
        (rng.integers(3, WORDS, between(8, 128)).tolist(), between(4, 128)) for _ in range(count)
    ]


def in_slots(model: Any, texts: list[tuple[list[int], int]], count: int) -> list[list[int]]:
    """Writes the texts in slots; the new tokens of each."""
    from transformers_jax.generation.slots import Slots

    slots, waiting, running = Slots(model, count, LENGTH), list(enumerate(texts)), {}
    written: list[list[int]] = [[] for _ in texts]
    while waiting or running:
        while waiting and slots.available:
            number, (prompt, _) = waiting.pop(0)
            running[slots.admit(prompt)[0]] = number
        slots.read()
        for slot, new in slots.step().items():
            number = running[slot]
            written[number].append(int(new.token))
            if len(written[number]) == texts[number][1]:
                del running[slot]
                slots.free(slot)
    return written


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model with random weights."""
    import jax

    import transformers_jax as tj

    config = tj.GPT2Config(**SIZES)
    tj.from_config(config, head="causal_lm", key=jax.random.key(0)).save_pretrained(folder)


def ours(setting: dict[str, Any], folder: str) -> Side:
    """`Slots`."""
    import transformers_jax as tj

    model, texts = tj.from_pretrained(folder).decoding(), requests(setting["requests"])
    run = lambda: in_slots(model, texts, setting["slots"])
    return side(run, texts)


def eager(setting: dict[str, Any], folder: str) -> Side:
    """Continuous batching of transformers, with as many texts at a time."""
    import torch
    from transformers import GenerationConfig, GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    texts = requests(setting["requests"])
    # a token a text in each step, and pieces of prompts
    config = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)

    def run() -> list[list[int]]:
        with (
            torch.inference_mode(),
            model.continuous_batching_context_manager(
                generation_config=config, persistent_manager=True, warmup=False
            ) as manager,
        ):
            names = [
                manager.add_request(prompt, max_new_tokens=new, request_id=str(number))
                for number, (prompt, new) in enumerate(texts)
            ]
            written: dict[str, list[int]] = {}
            while len(written) < len(names):
                result = manager.get_result(timeout=1)
                if result is not None and result.is_finished():
                    written[result.request_id] = list(result.generated_tokens)
        return [written[name] for name in names]

    return side(run, texts)


def side(run: Any, texts: list[tuple[list[int], int]]) -> Side:
    """A run, whose answer is the first tokens of each text."""
    written = run()
    assert [len(each) for each in written] == [new for _, new in texts]
    return Side(run, sum(new for _, new in texts), [float(each[0]) for each in written])


SIDES = {"ours": ours, "eager": eager}
