"""Causal sliding-window attention (256 keys a query), forward only and with its gradient.

Compared with flex_attention (compiled, with a block mask) and scaled_dot_product_attention with a
mask. One row, two heads of 64, float32.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side

UNIT = "tokens/s"
CASES: dict[str, dict[str, Any]] = {
    f"window {name} {what}": dict(length=length, gradient=what == "gradient")
    for name, length in (("4k", 4096), ("16k", 16384))
    for what in ("forward", "gradient")
}
WINDOW, HEADS, KV = 256, 2, 64


def arrays(setting: dict[str, Any]) -> Any:
    """q, k, v, and the gradient that comes back: Float[B T H K], the same on all sides."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (1, setting["length"], HEADS, KV)
    return [rng.standard_normal(shape, np.float32) for _ in range(4)]


def some(out: Any, grads: Any) -> list[float]:
    """A few numbers of the result and of its gradients (B T H K)."""
    return [float(x[0, n, 1, n % 64]) for x in (out, *grads) for n in (0, 700, 4000)]


def ours(setting: dict[str, Any], folder: str) -> Side:
    """`attend` over the mask as an expression."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    q, k, v, back = (jnp.asarray(x) for x in arrays(setting))
    mask = tj.CAUSAL & tj.Near(left=WINDOW - 1)

    @jax.jit
    def forward(q, k, v):
        edges = tj.connect(mask, tj.sequence(setting["length"]))
        return tj.attend(q, k, v, edges, scale=KV**-0.5)

    @jax.jit
    def both(q, k, v, back):
        out, pull = jax.vjp(forward, q, k, v)
        return out, pull(back)

    work = setting["length"]
    if setting["gradient"]:
        out, grads = both(q, k, v, back)
        answer = some(np.asarray(out), [np.asarray(g) for g in grads])
        return Side(lambda: jax.block_until_ready(both(q, k, v, back)), work, answer)
    answer = some(np.asarray(forward(q, k, v)), [])
    return Side(lambda: forward(q, k, v).block_until_ready(), work, answer)


def torch_side(setting: dict[str, Any], attend: Any) -> Side:
    """`attend(q, k, v)` on [B H T K], forward or with its gradient."""
    import torch

    tensors = [torch.tensor(x).transpose(1, 2).contiguous() for x in arrays(setting)]
    *leaves, back = tensors
    if setting["gradient"]:
        leaves = [x.requires_grad_() for x in leaves]

        def run():
            out = attend(*leaves)
            return out, torch.autograd.grad(out, leaves, back)

    else:

        def run():
            with torch.inference_mode():
                return attend(*leaves), []

    run()
    out, grads = run()
    transposed = [g.transpose(1, 2) for g in grads]
    return Side(run, setting["length"], some(out.detach().transpose(1, 2), transposed))


def flex(setting: dict[str, Any], folder: str) -> Side:
    """flex_attention, compiled."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    T = setting["length"]
    near = lambda b, h, i, j: (i >= j) & (i - j < WINDOW)
    blocks = create_block_mask(near, None, None, T, T, device="cpu")
    called = torch.compile(flex_attention, dynamic=False)
    return torch_side(setting, lambda q, k, v: called(q, k, v, block_mask=blocks))


def sdpa(setting: dict[str, Any], folder: str) -> Side:
    """scaled_dot_product_attention with the mask as a matrix."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    i, j = torch.arange(setting["length"])[:, None], torch.arange(setting["length"])
    mask = (i >= j) & (i - j < WINDOW)
    return torch_side(setting, lambda q, k, v: scaled_dot_product_attention(q, k, v, mask))


SIDES = {"ours": ours, "flex": flex, "sdpa": sdpa}
