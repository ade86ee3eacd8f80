"""Makes small models and tables, and 100 steps of fine-tuning them in PyTorch.

    python tests/training/make_finetune_fixtures.py models [NAME ...]     (this package)
    python tests/training/make_finetune_fixtures.py steps [NAME ...]      (the extra `parity`, peft)

`models` writes models, tables, and the batches that the run of each case reads; `steps` reads them
alone, and writes what PyTorch makes of them: transformers' models and schedule, the groups of its
Trainer (what decays), `torch.optim.AdamW` and `clip_grad_norm_`; PEFT's adapter where there is one.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "finetune"
ROUNDED = 7  # digits of what is stored
CONTROLS = ("late", "unclipped", "decayed")
"""Runs that differ in one thing: a schedule that is a step late, no clipping, decay of all."""


# ---------------------------------------------------------------- by this package


def models(name: str) -> None:
    """The model of a case, its table, and batches.npz: rows, and which rows each batch has."""
    import tempfile

    import transformers_jax as tj
    from tests.training import finetune_cases as cases
    from transformers_jax.training.initial import start_model, with_adapter
    from transformers_jax.training.resolve import resolve

    folder = FOLDER / name
    cases.write(name, folder)
    with tempfile.TemporaryDirectory() as out:
        found = resolve(cases.run_config(name, Path(out)), Path(out), None, print)
    config, stream = found.config, found.stream
    if cases.CASES[name].adapter is not None:
        model, facts = start_model(config, None, print)
        tj.save_adapter(with_adapter(config, model, facts["drawn"]), folder / "adapter")
    taken = stream.batches(stream.start, lambda step: cases.BATCH, 0, None)
    batches = [next(taken)[0] for _ in range(cases.STEPS)]
    columns = {n: np.stack([b[n] for b in batches]) for n in batches[0] if n != "number"}
    flat = {n: x.reshape(len(batches) * cases.BATCH, -1) for n, x in columns.items()}
    widths = {n: x.shape[1] for n, x in flat.items()}
    rows, order = np.unique(np.concatenate([*flat.values()], 1), axis=0, return_inverse=True)
    starts = np.cumsum([0, *widths.values()])
    arrays = {n: rows[:, a:b].astype(np.int16) for n, a, b in zip(flat, starts, starts[1:])}
    order = order.reshape(len(batches), cases.BATCH).astype(np.uint8)
    np.savez_compressed(folder / "batches.npz", order=order, **arrays)
    settings = dict(
        peak=cases.PEAK, warmup=cases.WARMUP, steps=cases.STEPS, decay=cases.DECAY, clip=cases.CLIP,
        architecture=cases.CASES[name].architecture,
    )  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n")


# ---------------------------------------------------------------- by PyTorch


def steps(name: str) -> None:
    """torch.json: losses, norms and parameters of a case, and losses of the controls."""
    folder = FOLDER / name
    settings = json.loads((folder / "settings.json").read_text())
    losses, norms, model, decayed = trained(folder, settings)
    plain = lambda path: path.replace(".default", "").replace(".modules_to_save", "")
    named = {plain(path): x for path, x in model.named_parameters() if x.requires_grad}
    last = {path: x.detach().double() for path, x in named.items()}
    result = {
        "losses": losses,
        "norms": norms,
        "decayed": sorted(map(plain, decayed)),
        "parameters": {path: [float(x.sum()), float(x.norm())] for path, x in last.items()},
        "controls": {control: trained(folder, settings, control)[0] for control in CONTROLS},
    }
    (folder / "torch.json").write_text(json.dumps(shortened(result)) + "\n")
    moved = max(losses) - min(losses)
    clipped = sum(norm > settings["clip"] for norm in norms)
    print(f"{name}: losses move by {moved:.3f}; {clipped} steps are clipped;", end=" ")
    for control, other in result["controls"].items():
        print(control, f"{max(abs(a - b) for a, b in zip(losses, other)):.2e}", end=" ")
    print()


def trained(folder: Path, settings: dict, control: str = ""):
    """(losses, norms, model, what decays) of a run."""
    import torch
    import transformers

    torch.manual_seed(0)
    torch.set_num_threads(1)
    kind = getattr(transformers, settings["architecture"])
    model = kind.from_pretrained(folder, attn_implementation="eager").train()
    if (folder / "adapter").is_dir():
        peft = importlib.import_module("peft")
        model = peft.PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True).train()
    trainer = transformers.Trainer(model, transformers.TrainingArguments("unused", use_cpu=True))
    known = {path: x for path, x in model.named_parameters() if x.requires_grad}
    decayed = {path for path in trainer.get_decay_parameter_names(model) if path in known}
    if control == "decayed":
        decayed = {*known}
    groups = [
        {"params": [x for path, x in known.items() if (path in decayed) == decays],
         "weight_decay": settings["decay"] if decays else 0.0}
        for decays in (True, False)
    ]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=settings["peak"], betas=(0.9, 0.999), eps=1e-8)
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, settings["warmup"] + (control == "late"), settings["steps"]
    )
    with np.load(folder / "batches.npz") as file:
        arrays = {n: torch.from_numpy(x.astype(np.int64)) for n, x in file.items()}
    order, losses, norms = arrays.pop("order"), [], []
    one = arrays["labels"].shape[1] == 1  # a class of a row
    arrays["labels"] = arrays["labels"][:, 0] if one else arrays["labels"]
    for rows in order:
        loss = model(**{n: x[rows] for n, x in arrays.items()}).loss
        loss.backward()
        most = 1e9 if control == "unclipped" else settings["clip"]
        norms.append(float(torch.nn.utils.clip_grad_norm_(known.values(), most)))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, norms, model, decayed


def shortened(value):
    """The numbers with as many digits as float32 has."""
    if isinstance(value, dict):
        return {name: shortened(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shortened(one) for one in value]
    return float(f"{value:.{ROUNDED}g}") if isinstance(value, float) else value


if __name__ == "__main__":
    make = {"models": models, "steps": steps}[sys.argv[1]]
    every = ("bert", "gpt2", "gpt2-lora", "t5")
    for chosen in sys.argv[2:] or every:
        make(chosen)
