"""A forward pass through the public call: BERT-base, DeBERTa-v3-base and T5-small."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side
from benchmarks.cases.configs import SIZES

UNIT = "tokens/s"
CASES: dict[str, dict[str, Any]] = {
    f"{name} forward": dict(config=config, batch=8, length=128) for name, config in SIZES.items()
}


def arrays(setting: dict[str, Any]) -> dict[str, Any]:
    """Ids and masks Int[B T], the same on all sides; a decoder reads a quarter of the length."""
    import numpy as np

    rng, vocab = np.random.default_rng(0), setting["config"]["vocab_size"]
    ids = rng.integers(0, vocab, (setting["batch"], setting["length"]))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if setting["config"]["model_type"] == "t5":
        inputs["decoder_input_ids"] = ids[:, : setting["length"] // 4]
    return inputs


def tokens(read: dict[str, Any]) -> int:
    """How many tokens are read, on both sides of an encoder-decoder."""
    return sum(read[name].size for name in ("input_ids", "decoder_input_ids") if name in read)


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model with random weights."""
    import jax

    import transformers_jax as tj

    key = jax.random.key(0)
    tj.from_config(setting["config"], head="none", key=key).save_pretrained(folder)


def some(last: Any) -> list[float]:
    """A few numbers of the last hidden state."""
    return [float(n) for n in last[0, :3, :3].reshape(-1)]


def ours(setting: dict[str, Any], folder: str) -> Side:
    """A call of the model, with its checks of the input."""
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    model = tj.from_pretrained(folder, head="none", layers="list")
    read = {name: jnp.asarray(rows, jnp.int32) for name, rows in arrays(setting).items()}
    run = lambda: model(**read).last_hidden_state.block_until_ready()
    return Side(run, tokens(read), some(np.asarray(run())))


def torch_side(setting: dict[str, Any], folder: str, compiled: bool) -> Side:
    """transformers' model in inference mode, with scaled_dot_product_attention where it can."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    called = torch.compile(model) if compiled else model
    inputs = arrays(setting)
    read = {name: torch.tensor(rows) for name, rows in inputs.items()}

    def run():
        with torch.inference_mode():
            return called(**read).last_hidden_state

    run()
    return Side(run, tokens(inputs), some(run()))


def eager(setting: dict[str, Any], folder: str) -> Side:
    """PyTorch in eager mode."""
    return torch_side(setting, folder, compiled=False)


def compiled(setting: dict[str, Any], folder: str) -> Side:
    """PyTorch with torch.compile."""
    return torch_side(setting, folder, compiled=True)


SIDES = {"ours": ours, "eager": eager, "compiled": compiled}
