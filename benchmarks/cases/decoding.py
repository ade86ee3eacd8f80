"""Greedy decoding with GPT-2 124M: `generate` of both libraries, prompt of 16, 64 new tokens.

PyTorch's compiled side keeps a static cache and compiles the model's forward, which is what
transformers does for a static cache on accelerators.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side

UNIT = "tokens/s"
CASES: dict[str, dict[str, int]] = {
    "gpt2 decode batch 1": dict(batch=1, prompt=16, new=64),
    "gpt2 decode batch 8": dict(batch=8, prompt=16, new=64),
}


def tokens(setting: dict[str, int]) -> Any:
    """Ids Int[B T], the same on all sides."""
    import numpy as np

    shape = (setting["batch"], setting["prompt"])
    return np.random.default_rng(0).integers(0, 50257, shape)


def prepare(setting: dict[str, int], folder: str) -> None:
    """Writes a GPT-2 124M with random weights; large ones, so that texts do not repeat."""
    import jax

    import transformers_jax as tj

    config = tj.GPT2Config(bos_token_id=None, eos_token_id=None, initializer_range=0.1)
    tj.from_config(config, head="causal_lm", key=jax.random.key(0)).save_pretrained(folder)


def ours(setting: dict[str, int], folder: str) -> Side:
    """`tj.generate`."""
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    model = tj.from_pretrained(folder, layers="list")
    ids = jnp.asarray(tokens(setting), jnp.int32)
    run = lambda: np.asarray(tj.generate(model, input_ids=ids, max_new_tokens=setting["new"]))
    return Side(run, setting["batch"] * setting["new"], some(run(), setting))


def some(ids: Any, setting: dict[str, int]) -> list[float]:
    """The first new tokens of the first row."""
    return [float(n) for n in ids[0, setting["prompt"] : setting["prompt"] + 16]]


def torch_side(setting: dict[str, int], folder: str, compiled: bool) -> Side:
    """transformers' generate, with its dynamic cache or compiled with a static one."""
    import torch
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    options: dict[str, Any] = dict(do_sample=False, use_cache=True, pad_token_id=0)
    options |= dict(max_new_tokens=setting["new"], min_new_tokens=setting["new"])
    if compiled:
        model.forward = torch.compile(model.forward)
        options["cache_implementation"] = "static"
    ids = torch.tensor(tokens(setting))
    mask = torch.ones_like(ids)

    def run():
        with torch.inference_mode():
            return model.generate(ids, attention_mask=mask, **options)

    run()
    return Side(run, setting["batch"] * setting["new"], some(run(), setting))


def eager(setting: dict[str, int], folder: str) -> Side:
    """PyTorch in eager mode."""
    return torch_side(setting, folder, compiled=False)


def compiled(setting: dict[str, int], folder: str) -> Side:
    """PyTorch with torch.compile and a static cache."""
    return torch_side(setting, folder, compiled=True)


SIDES = {"ours": ours, "eager": eager, "compiled": compiled}
