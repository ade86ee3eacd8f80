"""Image encoders at their own sizes: a forward pass, and a training step of ViT-B/16; float32.

Forward passes are of the base model (CLIP: of both towers, each by itself) through the public call;
PyTorch's run in inference mode. The step is classification with all of the model trained, AdamW and
a clipped gradient. Sides compare states, and the first losses.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side

UNIT = "images/s"
CONFIGS: dict[str, dict[str, Any]] = {
    # the sizes of google/vit-base-patch16-224
    "vit-b16": dict(model_type="vit"),
    # openai/clip-vit-base-patch32
    "clip-b32": dict(
        model_type="clip",
        projection_dim=512,
        text_config=dict(eos_token_id=49407, bos_token_id=49406, pad_token_id=1),
        vision_config=dict(patch_size=32),
    ),
    # microsoft/swin-tiny-patch4-window7-224
    "swin-t": dict(model_type="swin", drop_path_rate=0.0),
    # facebook/convnext-tiny-224
    "convnext-t": dict(model_type="convnext"),
    # microsoft/resnet-50
    "resnet-50": dict(model_type="resnet"),
}
CASES: dict[str, dict[str, Any]] = {
    "vision vit-b16 forward": dict(config=CONFIGS["vit-b16"], batch=4),
    "vision vit-b16 step": dict(config=CONFIGS["vit-b16"], batch=2, steps=3),
    "vision clip-b32 images": dict(config=CONFIGS["clip-b32"], batch=8, tower="image"),
    "vision clip-b32 texts": dict(config=CONFIGS["clip-b32"], batch=8, tower="text"),
    "vision swin-t forward": dict(config=CONFIGS["swin-t"], batch=4),
    "vision convnext-t forward": dict(config=CONFIGS["convnext-t"], batch=4),
    "vision resnet-50 forward": dict(config=CONFIGS["resnet-50"], batch=4),
}
UNITS = {"vision clip-b32 texts": "texts/s"}
RATE, DECAY, BETAS, CLIP, CLASSES = 1e-5, 0.1, (0.9, 0.95), 1.0, 10


def arrays(setting: dict[str, Any]) -> dict[str, Any]:
    """Pixels Float[B 3 224 224] with labels for a step, or ids Int[B 77], the same on all sides."""
    import numpy as np

    rng, rows = np.random.default_rng(0), setting["batch"]
    if setting.get("tower") == "text":
        ids = rng.integers(0, 49406, (rows, 77))
        ids[:, -1] = 49407
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    pixels = rng.normal(size=(rows, 3, 224, 224)).astype(np.float32)
    if "steps" not in setting:
        return {"pixel_values": pixels}
    return {"pixel_values": pixels, "labels": rng.integers(0, CLASSES, rows)}


def head(setting: dict[str, Any]) -> str:
    """That of the model."""
    if "tower" in setting:
        return "contrastive"
    return "image_classification" if "steps" in setting else "none"


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model with random weights."""
    import jax

    import transformers_jax as tj
    from transformers_jax.models import load_config

    config = load_config(setting["config"])
    if "steps" in setting:
        config = config.replace(num_labels=CLASSES)
    model = tj.from_config(config, head=head(setting), key=jax.random.key(0))
    model.save_pretrained(folder)


def some(states: Any) -> list[float]:
    """A few numbers of states, of their first row."""
    return [float(n) for n in states[0].reshape(-1)[:9]]


def ours(setting: dict[str, Any], folder: str) -> Side:
    """A call of the model, with its checks of the input; or a step of the engine."""
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    read = {name: jnp.asarray(rows) for name, rows in arrays(setting).items()}
    if "steps" in setting:
        return our_step(setting, folder, read)
    model = tj.from_pretrained(folder, head=head(setting), layers="list")
    if "tower" in setting:
        called = getattr(model, f"get_{setting['tower']}_features")
        run = lambda: called(**read).pooler_output.block_until_ready()
    else:
        run = lambda: model(**read).last_hidden_state.block_until_ready()
    return Side(run, setting["batch"], some(np.asarray(run())))


def our_step(setting: dict[str, Any], folder: str, read: dict[str, Any]) -> Side:
    """The step of the package's engine."""
    import jax
    import optax

    import transformers_jax as tj
    from transformers_jax.nn.param import axes
    from transformers_jax.optim import matrices

    model = tj.from_pretrained(folder, head=head(setting))
    tx = optax.adamw(RATE, *BETAS, weight_decay=DECAY, mask=matrices(axes(model)))
    step = tj.make_step(model, tj.supervised, tx, clip=CLIP)
    state = [tj.init_state(model, tx, jax.random.key(0))]

    def run():
        state[0], metrics = step(state[0], read)
        return float(metrics["loss"])

    return Side(run, setting["batch"], [run() for _ in range(setting["steps"])])


def torch_side(setting: dict[str, Any], folder: str, compiled: bool) -> Side:
    """transformers' model, with scaled_dot_product_attention where it can."""
    import torch
    import transformers

    read = {name: torch.tensor(rows) for name, rows in arrays(setting).items()}
    if "steps" in setting:
        return torch_step(setting, folder, compiled, read)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    called = model if "tower" not in setting else getattr(model, f"get_{setting['tower']}_features")
    name = "last_hidden_state" if "tower" not in setting else "pooler_output"
    called = torch.compile(called) if compiled else called

    def run():
        with torch.inference_mode():
            return getattr(called(**read), name)

    return Side(run, setting["batch"], some(run()))


def torch_step(setting: dict[str, Any], folder: str, compiled: bool, read: dict[str, Any]) -> Side:
    """A step in a plain loop, with fused AdamW."""
    import torch
    import transformers

    auto = transformers.AutoModelForImageClassification
    model = auto.from_pretrained(folder, dtype=torch.float32).train()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
    called = torch.compile(model) if compiled else model

    def run():
        loss = called(**read).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return Side(run, setting["batch"], [run() for _ in range(setting["steps"])])


def eager(setting: dict[str, Any], folder: str) -> Side:
    """PyTorch in eager mode."""
    return torch_side(setting, folder, compiled=False)


def compiled(setting: dict[str, Any], folder: str) -> Side:
    """PyTorch with torch.compile."""
    return torch_side(setting, folder, compiled=True)


SIDES = {"ours": ours, "eager": eager, "compiled": compiled}
