"""One training step of each shape (encoder, decoder, encoder-decoder), and of models at their own
sizes; float32, without dropout.

Both sides read the same checkpoint, which ours has written: PyTorch runs the model of
`transformers` with fused AdamW, eager and compiled; ours is the engine's step, with the loss of its
objective. First losses are compared.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side
from benchmarks.cases.configs import SIZES as MODELS

UNIT = "tokens/s"
SIZES = dict(length=128, batch=8, vocab=8192, width=256, layers=4, heads=4)
CASES: dict[str, dict[str, Any]] = {
    "step bert": dict(family="bert", loss="masked_lm", **SIZES),
    "step roberta": dict(family="roberta", loss="masked_lm", **SIZES),
    "step llama": dict(family="llama", loss="causal_lm", **SIZES),
    "step t5": dict(family="t5", loss="seq2seq_lm", **SIZES),
    "step bart": dict(family="bart", loss="seq2seq_lm", **SIZES),
    **{
        f"step {name}": dict(
            config=config,
            loss="seq2seq_lm" if config["model_type"] == "t5" else "masked_lm",
            length=128,
            batch=4,
            vocab=config["vocab_size"],
        )
        for name, config in MODELS.items()
    },
}
HEADS = {"masked_lm": "masked_lm", "causal_lm": "causal_lm", "seq2seq_lm": "seq2seq_lm"}
RATE, DECAY, BETAS, CLIP, STEPS = 1e-3, 0.1, (0.9, 0.95), 1.0, 3


def config(setting: dict[str, Any]) -> dict[str, Any]:
    """config.json of a family at these sizes, or of a model at its own."""
    if "config" in setting:
        return setting["config"]
    width, layers, heads = setting["width"], setting["layers"], setting["heads"]
    encoder = dict(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=setting["length"] + 4,
    )
    own = {
        "bert": encoder,
        "roberta": {**encoder, "type_vocab_size": 1, "pad_token_id": 1},
        "llama": dict(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            intermediate_size=width * 8 // 3,
            max_position_embeddings=setting["length"],
        ),
        "t5": dict(
            d_model=width,
            num_layers=layers,
            num_heads=heads,
            d_kv=width // heads,
            d_ff=4 * width,
            dropout_rate=0.0,
        ),
        "bart": dict(
            d_model=width,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=4 * width,
            decoder_ffn_dim=4 * width,
            dropout=0.0,
            max_position_embeddings=setting["length"],
        ),
    }[setting["family"]]
    return {"model_type": setting["family"], "vocab_size": setting["vocab"], **own}


def batch(setting: dict[str, Any]) -> dict[str, Any]:
    """What a step reads, the same on all sides; encoder-decoders have labels for a quarter."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (setting["batch"], setting["length"])
    ids = rng.integers(10, setting["vocab"], shape)
    if setting["loss"] == "causal_lm":
        return {"input_ids": ids, "labels": ids}
    if setting["loss"] == "masked_lm":
        return {"input_ids": ids, "labels": np.where(rng.random(shape) < 0.15, ids, -100)}
    target = rng.integers(10, setting["vocab"], (shape[0], shape[1] // 4))
    shifted = np.pad(target[:, :-1], ((0, 0), (1, 0)))
    return {"input_ids": ids, "decoder_input_ids": shifted, "labels": target}


def tokens(setting: dict[str, Any]) -> int:
    """Tokens of a step, on both sides of an encoder-decoder."""
    read = batch(setting)
    return sum(read[n].size for n in ("input_ids", "decoder_input_ids") if n in read)


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model's initial weights."""
    import jax

    import transformers_jax as tj

    head = HEADS[setting["loss"]]
    tj.from_config(config(setting), head=head, key=jax.random.key(0)).save_pretrained(folder)


def ours(setting: dict[str, Any], folder: str, steps: int = STEPS) -> Side:
    """The step of the package's engine."""
    import jax
    import jax.numpy as jnp
    import optax

    import transformers_jax as tj
    from transformers_jax.nn.param import axes
    from transformers_jax.objectives import Loss, objective
    from transformers_jax.optim import matrices
    from transformers_jax.training.state import init_state
    from transformers_jax.training.step import make_step

    model = tj.from_pretrained(folder, head=HEADS[setting["loss"]])
    tx = optax.adamw(RATE, *BETAS, weight_decay=DECAY, mask=matrices(axes(model)))
    step = make_step(model, objective(setting["loss"], Loss()), tx, clip=CLIP)
    state = [init_state(model, tx, jax.random.key(0))]
    read = {name: jnp.asarray(rows, jnp.int32) for name, rows in batch(setting).items()}

    def run():
        state[0], metrics = step(state[0], read)
        return float(metrics["loss"])

    losses = [run() for _ in range(steps)]
    return Side(run, tokens(setting), losses)


def torch_side(setting: dict[str, Any], folder: str, compiled: bool, steps: int) -> Side:
    """The model of `transformers`, eager or compiled, with PyTorch's fused AdamW."""
    import torch
    import transformers

    auto = {
        "masked_lm": transformers.AutoModelForMaskedLM,
        "causal_lm": transformers.AutoModelForCausalLM,
        "seq2seq_lm": transformers.AutoModelForSeq2SeqLM,
    }[setting["loss"]]
    model = auto.from_pretrained(folder, dtype=torch.float32).train()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
    called = torch.compile(model) if compiled else model
    read = {name: torch.tensor(rows) for name, rows in batch(setting).items()}

    def run():
        loss = called(**read).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    losses = [run() for _ in range(steps)]
    return Side(run, tokens(setting), losses)


def eager(setting: dict[str, Any], folder: str, steps: int = STEPS) -> Side:
    """PyTorch in eager mode."""
    return torch_side(setting, folder, compiled=False, steps=steps)


def compiled(setting: dict[str, Any], folder: str, steps: int = STEPS) -> Side:
    """PyTorch with torch.compile."""
    return torch_side(setting, folder, compiled=True, steps=steps)


SIDES = {"ours": ours, "eager": eager, "compiled": compiled}
