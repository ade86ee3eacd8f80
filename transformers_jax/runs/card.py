"""The model card of an exported model, made from what its run has recorded; nothing is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers_jax.training.metrics import show_count
from transformers_jax.training.provenance import commit, read_json, read_run, versions
from transformers_jax.runs.summary import Summary, summarise

PIPELINES = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForConditionalGeneration": "text2text-generation",
}
"""End of a class name -> the task under which a hub lists it."""


def task_of(model: Path) -> str | None:
    """The task of an exported model, as a hub calls it; None where there is no name for it."""
    architecture = (read_json(model / "config.json").get("architectures") or [""])[0]
    return next((task for end, task in PIPELINES.items() if architecture.endswith(end)), None)


def write_card(run: Path) -> Path:
    """Writes RUN/model/README.md, beside the exported model of a run; returns its path.

    No license and no language are stated: they are for the owner of the model and of its text.
    """
    from huggingface_hub import ModelCard, ModelCardData

    model = run / "model"
    config, record, about = read_json(model / "config.json"), read_run(run), summarise(run)
    architecture = (config.get("architectures") or [""])[0]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=task_of(model),
        tags=[t for t in ("transformers_jax", "jax", about.model, about.objective) if t],
    )
    text = _card(about, record, architecture, (model / "tokenizer.json").exists())
    file = model / "README.md"
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}").save(file)
    return file


def _card(about: Summary, record: dict[str, Any], architecture: str, tokenizer: bool) -> str:
    source = record.get("data") or {}
    rows = {
        "objective": about.objective,
        "parameters": None if about.parameters is None else f"{about.parameters:,}",
        "steps": f"{about.step:,}",
        "tokens seen": None if about.tokens is None else show_count(about.tokens),
        "training compute (FLOPs)": None if about.flops is None else f"{about.flops:.3g}",
        "training loss (nats per token)": _number(about.loss),
        "held-out loss (nats per token)": _number(about.eval_loss),
        "held-out bits per byte": _number(about.bits_per_byte),
        "text": source.get("origin"),
        "text fingerprint": source.get("fingerprint"),
        "devices": (record.get("devices") or {}).get("devices"),
        "trained": " to ".join(str(record[k]) for k in ("started", "ended") if record.get(k)),
        "code": commit(record),
        "versions": versions(record),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    reads = ", with its tokenizer" if tokenizer else ", without a tokenizer: it reads ids"
    return (
        f"# {about.name}\n\n"
        f"A {about.model or 'model'} trained from scratch with transformers_jax{reads}. No license "
        "has been stated, and nothing is known here of the language of the text or of what the "
        "model should not be used for.\n\n"
        f"## Training\n\n| | |\n|---|---|\n{table}\n\n"
        f"```sh\n{record.get('command') or 'not recorded'}\n```\n\n"
        f"## Use\n\n```python\nimport transformers_jax as tj\n\n"
        'model = tj.from_pretrained("path/to/this/folder")\n```\n\n'
        f"```python\nimport transformers\n\n"
        f"model = transformers.{architecture or 'AutoModel'}.from_pretrained"
        '("path/to/this/folder")\n```\n'
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
