"""Training: forward, backward, clipping, AdamW; float32, no dropout, the same GPT on all sides.

PyTorch's model is a plain GPT after nanoGPT's plan: one matrix for query, key and value,
`scaled_dot_product_attention(is_causal=True)`, cross-entropy over the flattened batch, fused AdamW.
It reads the weights that our side has written, and every side reports its first losses.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side

UNIT = "tokens/s"
CASES: dict[str, dict[str, int]] = {
    "train nano": dict(layers=4, heads=4, width=128, length=64, batch=12, vocab=65),
    "train 6x384": dict(layers=6, heads=6, width=384, length=256, batch=8, vocab=8192),
}
RATE, DECAY, BETAS, CLIP = 1e-3, 0.1, (0.9, 0.95), 1.0
STEPS = 3  # whose losses are compared


def tokens(setting: dict[str, int]) -> Any:
    """Ids Int[B T + 1], the same on all sides."""
    import numpy as np

    shape = (setting["batch"], setting["length"] + 1)
    return np.random.default_rng(0).integers(0, setting["vocab"], shape)


def prepare(setting: dict[str, int], folder: str) -> None:
    """Writes the model's initial weights."""
    import jax

    import transformers_jax as tj

    config = tj.GPT2Config(
        vocab_size=setting["vocab"],
        n_positions=setting["length"],
        n_embd=setting["width"],
        n_layer=setting["layers"],
        n_head=setting["heads"],
        bos_token_id=None,
        eos_token_id=None,
    ).replace(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    tj.from_config(config, head="causal_lm", key=jax.random.key(0)).save_pretrained(folder)


def ours(setting: dict[str, int], folder: str, steps: int = STEPS) -> Side:
    """The step of the package's engine."""
    import jax
    import jax.numpy as jnp
    import optax

    import transformers_jax as tj
    from transformers_jax.nn.param import axes
    from transformers_jax.objectives import causal_lm
    from transformers_jax.optim import matrices
    from transformers_jax.training.state import init_state
    from transformers_jax.training.step import make_step

    model = tj.from_pretrained(folder)
    tx = optax.adamw(RATE, *BETAS, weight_decay=DECAY, mask=matrices(axes(model)))
    step = make_step(model, causal_lm, tx, clip=CLIP)
    state = [init_state(model, tx, jax.random.key(0))]
    batch = {"input_ids": jnp.asarray(tokens(setting), jnp.int32)}

    def run():
        state[0], metrics = step(state[0], batch)
        return float(metrics["loss"])

    losses = [run() for _ in range(steps)]
    return Side(run, setting["batch"] * setting["length"], losses)


def plain(setting: dict[str, int], folder: str) -> Any:
    """A plain GPT in PyTorch with the weights of `folder`."""
    import torch
    from safetensors.torch import load_file
    from torch import nn
    from torch.nn import functional as F

    width, heads = setting["width"], setting["heads"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.fused, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            B, T, D = x.shape
            parts = self.fused(self.ln_1(x)).split(D, dim=2)
            q, k, v = (p.view(B, T, heads, D // heads).transpose(1, 2) for p in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
            return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte = nn.Embedding(setting["vocab"], width)
            self.wpe = nn.Embedding(setting["length"], width)
            self.blocks = nn.ModuleList(Block() for _ in range(setting["layers"]))
            self.ln_f = nn.LayerNorm(width)

        def forward(self, ids, answers):
            x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
            for block in self.blocks:
                x = block(x)
            logits = F.linear(self.ln_f(x), self.wte.weight)
            return F.cross_entropy(logits.view(-1, logits.shape[-1]), answers.reshape(-1))

    model, stored = GPT(), load_file(f"{folder}/model.safetensors")
    theirs = {"fused": "attn.c_attn", "out": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"}
    with torch.no_grad():
        for name, leaf in model.named_parameters():
            *path, kind = name.removeprefix("blocks.").split(".")
            renamed = ".".join(theirs.get(part, part) for part in path)
            lead = "transformer.h." if name.startswith("blocks.") else "transformer."
            value = stored[f"{lead}{renamed}.{kind}"]
            conv = path[-1] in theirs and kind == "weight"  # stored as (in, out)
            leaf.copy_(value.T if conv else value)
    return model


def torch_side(setting: dict[str, int], folder: str, compiled: bool, steps: int) -> Side:
    """The plain model, eager or compiled, with PyTorch's fused AdamW."""
    import torch

    model = plain(setting, folder)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
    called = torch.compile(model) if compiled else model
    ids = torch.tensor(tokens(setting))
    x, y = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def run():
        loss = called(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    losses = [run() for _ in range(steps)]
    return Side(run, setting["batch"] * setting["length"], losses)


def eager(setting: dict[str, int], folder: str, steps: int = STEPS) -> Side:
    """PyTorch in eager mode."""
    return torch_side(setting, folder, compiled=False, steps=steps)


def compiled(setting: dict[str, int], folder: str, steps: int = STEPS) -> Side:
    """PyTorch with torch.compile."""
    return torch_side(setting, folder, compiled=True, steps=steps)


SIDES = {"ours": ours, "eager": eager, "compiled": compiled}
