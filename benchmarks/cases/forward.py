"""A forward pass of an encoder: BERT-base, 8 rows of 128 tokens, through the public call."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side

UNIT = "tokens/s"
CASES: dict[str, dict[str, int]] = {"bert-base forward": dict(batch=8, length=128)}


def tokens(setting: dict[str, int]) -> Any:
    """Ids Int[B T], the same on all sides."""
    import numpy as np

    shape = (setting["batch"], setting["length"])
    return np.random.default_rng(0).integers(0, 30522, shape)


def prepare(setting: dict[str, int], folder: str) -> None:
    """Writes a BERT-base with random weights."""
    import jax

    import transformers_jax as tj

    config = tj.BertConfig()
    tj.from_config(config, head="none", key=jax.random.key(0)).save_pretrained(folder)


def some(last: Any) -> list[float]:
    """A few numbers of the last hidden state."""
    return [float(n) for n in last[0, :3, :3].reshape(-1)]


def ours(setting: dict[str, int], folder: str) -> Side:
    """A call of the model, with its checks of the input."""
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    model = tj.from_pretrained(folder, head="none", layers="list")
    ids = jnp.asarray(tokens(setting), jnp.int32)
    mask = jnp.ones_like(ids)
    run = lambda: model(input_ids=ids, attention_mask=mask).last_hidden_state.block_until_ready()
    return Side(run, setting["batch"] * setting["length"], some(np.asarray(run())))


def torch_side(setting: dict[str, int], folder: str, compiled: bool) -> Side:
    """transformers' BertModel with scaled_dot_product_attention, in inference mode."""
    import torch
    from transformers import BertModel

    model = BertModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    called = torch.compile(model) if compiled else model
    ids = torch.tensor(tokens(setting))
    mask = torch.ones_like(ids)

    def run():
        with torch.inference_mode():
            return called(input_ids=ids, attention_mask=mask).last_hidden_state

    run()
    return Side(run, setting["batch"] * setting["length"], some(run()))


def eager(setting: dict[str, int], folder: str) -> Side:
    """PyTorch as it stands."""
    return torch_side(setting, folder, compiled=False)


def compiled(setting: dict[str, int], folder: str) -> Side:
    """PyTorch with torch.compile."""
    return torch_side(setting, folder, compiled=True)


SIDES = {"ours": ours, "eager": eager, "compiled": compiled}
