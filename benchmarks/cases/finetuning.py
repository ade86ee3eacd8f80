"""A step of fine-tuning: all of BERT-base for classes of texts, and LoRA on GPT-2 124M; float32,
without dropout.

Both sides read the same checkpoint, and the same adapter, which ours has written. PyTorch's is a
plain loop over the model of `transformers` (with PEFT's adapter), with its linear schedule, fused
AdamW and `clip_grad_norm_`; ours is the step, optimizer and schedule of `train.finetune`. First
losses are compared.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side
from benchmarks.cases.configs import SIZES

UNIT = "steps/s"
GPT2 = dict(model_type="gpt2", vocab_size=50257, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
CASES: dict[str, dict[str, Any]] = {
    "finetune bert-base": dict(
        config=SIZES["bert-base"], loss="sequence_classification", batch=8, length=128
    ),
    "finetune gpt2 lora": dict(
        config=GPT2, loss="causal_lm", batch=4, length=128, rank=8, targets=("c_attn",)
    ),
}
RATE, DECAY, CLIP, WARMUP, TOTAL, STEPS = 2e-5, 0.01, 1.0, 2, 10_000, 3


def head(setting: dict[str, Any]) -> str:
    """That of the model."""
    return setting["loss"]


def batch(setting: dict[str, Any]) -> dict[str, Any]:
    """What a step reads, the same on all sides."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (setting["batch"], setting["length"])
    ids = rng.integers(10, setting["config"]["vocab_size"], shape)
    if setting["loss"] == "causal_lm":
        return {"input_ids": ids, "attention_mask": np.ones_like(ids), "labels": ids}
    labels = rng.integers(0, 2, len(ids))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "labels": labels}


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model's initial weights, and an adapter over them."""
    import jax

    import transformers_jax as tj

    model = tj.from_config(setting["config"], head=head(setting), key=jax.random.key(0))
    model.save_pretrained(folder)
    if "rank" in setting:
        adapter = tj.LoRA(rank=setting["rank"], alpha=16, targets=setting["targets"])
        adapted = tj.adapt(model, adapter, key=jax.random.key(1))
        tj.save_adapter(adapted, f"{folder}/adapter")


def ours(setting: dict[str, Any], folder: str, steps: int = STEPS) -> Side:
    """The step that fine-tuning makes."""
    import jax
    import jax.numpy as jnp

    import transformers_jax as tj
    from transformers_jax.nn.param import trained_axes
    from transformers_jax.optim.schedules import Linear

    model = tj.from_pretrained(folder)
    if "rank" in setting:
        model = tj.load_adapter(model, f"{folder}/adapter")
    schedule = Linear(warmup=WARMUP, from_zero=True)
    record = tj.AdamW(peak=RATE, schedule=schedule, weight_decay=DECAY, b2=0.999)
    optimizer = record.build(trained_axes(model), TOTAL)
    step = tj.make_step(model, tj.supervised, optimizer, clip=CLIP)
    state = [tj.init_state(model, optimizer, jax.random.key(0))]
    read = {name: jnp.asarray(rows, jnp.int32) for name, rows in batch(setting).items()}

    def run():
        state[0], metrics = step(state[0], read)
        return float(metrics["loss"])

    losses = [run() for _ in range(steps)]
    return Side(run, 1, losses)


def torch_side(setting: dict[str, Any], folder: str, compiled: bool, steps: int) -> Side:
    """The model of `transformers`, with PEFT's adapter if there is one, eager or compiled."""
    import torch
    import transformers

    auto = {
        "sequence_classification": transformers.AutoModelForSequenceClassification,
        "causal_lm": transformers.AutoModelForCausalLM,
    }[setting["loss"]]
    model = auto.from_pretrained(folder, dtype=torch.float32).train()
    if "rank" in setting:
        import peft

        model = peft.PeftModel.from_pretrained(model, f"{folder}/adapter", is_trainable=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([one for one in groups if one["params"]], lr=RATE, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP, TOTAL)
    called = torch.compile(model) if compiled else model
    read = {name: torch.tensor(rows) for name, rows in batch(setting).items()}

    def run():
        loss = called(**read).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    losses = [run() for _ in range(steps)]
    return Side(run, 1, losses)


def eager(setting: dict[str, Any], folder: str, steps: int = STEPS) -> Side:
    """PyTorch in eager mode."""
    return torch_side(setting, folder, compiled=False, steps=steps)


def compiled(setting: dict[str, Any], folder: str, steps: int = STEPS) -> Side:
    """PyTorch with torch.compile."""
    return torch_side(setting, folder, compiled=True, steps=steps)


SIDES = {"ours": ours, "eager": eager, "compiled": compiled}
