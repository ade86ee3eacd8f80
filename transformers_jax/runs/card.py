"""The model card of an exported model, made from what its run has recorded; nothing is typed."""

from __future__ import annotations

from pathlib import Path

from transformers_jax.json_files import json_or_empty
from transformers_jax.runs.page import table
from transformers_jax.runs.report import facts, task_of
from transformers_jax.runs.summary import summarise
from transformers_jax.training.provenance import read_run

FACTS = """objective, parameters, steps, tokens seen, training compute (FLOPs),
    training loss (nats per token), held-out loss (nats per token), held-out bits per byte, text,
    text fingerprint, devices, started, ended, commit, versions"""
"""The rows of a report that a card has too."""


def write_card(run: Path) -> Path:
    """Writes RUN/model/README.md, beside the exported model of a run; returns its path.

    No license and no language are stated: they are for the owner of the model and of its text.
    """
    from huggingface_hub import ModelCard, ModelCardData

    model = run / "model"
    summary, known = summarise(run), facts(run, summarise(run))
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=task_of(model),
        tags=[t for t in ("transformers_jax", "jax", summary.model, summary.objective) if t],
    )
    names = [name for name in " ".join(FACTS.split()).split(", ") if name in known]
    class_name = (json_or_empty(model / "config.json").get("architectures") or ["AutoModel"])[0]
    with_tokenizer = (model / "tokenizer.json").exists()
    reads = ", with its tokenizer" if with_tokenizer else ", without a tokenizer: it reads ids"
    text = (
        f"# {summary.name}\n\n"
        f"A {summary.model or 'model'} trained from scratch with transformers_jax{reads}. No "
        "license has been stated, and nothing is known here of the language of the text or of what "
        "the model should not be used for.\n\n"
        f"## Training\n\n{table(['', ''], [[name, known[name]] for name in names])}\n\n"
        f"```sh\n{read_run(run).get('command') or 'not recorded'}\n```\n\n"
        f"## Use\n\n```python\nimport transformers_jax as tj\n\n"
        'model = tj.from_pretrained("path/to/this/folder")\n```\n\n'
        f"```python\nimport transformers\n\n"
        f'model = transformers.{class_name}.from_pretrained("path/to/this/folder")\n```\n'
    )
    file = model / "README.md"
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}").save(file)
    return file
