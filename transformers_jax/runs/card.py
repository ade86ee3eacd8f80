"""The card of a model or of an adapter that a run has made: README.md, as a hub reads it.

Made only from the files of the run's folder. No license and no language are stated: they are for
the owner of the model and of its text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers_jax.data.tables import is_stored
from transformers_jax.hub.download import is_id
from transformers_jax.json_files import json_or_empty, json_text
from transformers_jax.publish import publish
from transformers_jax.runs.page import sections, table
from transformers_jax.runs.pipelines import pipeline_of
from transformers_jax.runs.report import facts
from transformers_jax.runs.summary import METRICS, Summary, at_step, summarise
from transformers_jax.tasks import TASKS
from transformers_jax.tasks.rows import READ
from transformers_jax.training import metrics
from transformers_jax.training.provenance import read_run

FACTS = """objective, started from, parameters, steps, exported, tokens seen,
    training compute (FLOPs), training loss (nats per token), held-out loss (nats per token),
    training loss, held-out loss,
    held-out bits per byte, held-out loss at the end, held-out bits per byte at the end,
    held-out batches, text, text fingerprint, devices, started, ended, commit, versions"""
"""The rows of a report that a card has too."""

SETTINGS = """init_from, from_scratch, reinitialise_layers, adapter, objective, epochs, steps, seed,
    data.batch, data.length, data.target_length, data.too_long, optimizer, accumulate, clip, dtype,
    compute_dtype"""
"""Those that a card shows, where they are set."""

EMPTY: tuple[Any, ...] = (None, False, 0, "", [], {})

METRIC_TYPES = {
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "matthews": "matthews_correlation",
    "mean_squared_error": "mse",
}
"""Our name of a metric -> that of the hub; of others `type_of`."""

CLASSES = {
    "causal_lm": "AutoModelForCausalLM",
    "seq2seq_lm": "AutoModelForSeq2SeqLM",
    "masked_lm": "AutoModelForMaskedLM",
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "question_answering": "AutoModelForQuestionAnswering",
    "multiple_choice": "AutoModelForMultipleChoice",
}
"""Head -> the class of transformers whose model PEFT puts an adapter on."""


def write_card(run: Path, model: Path | None = None, step: int | None = None) -> Path:
    """Writes README.md next to a model, or an adapter, that a run has made; returns its path.
    Figures are those of the step that was exported.

    `model` is by default RUN/model; it is of `step`, by default that in run.json.
    """
    from huggingface_hub import ModelCard, ModelCardData

    summary = summarise(run)
    model = run / "model" if model is None else model
    if step is None:
        step = summary.exported
    else:
        summary = replace(summary, exported=step, exported_why="as it was saved")
    summary = summary if step is None else at_step(summary, step)
    config, figures = json_or_empty(run / "config.json"), figures_of(run, summary)
    task = summary.objective if summary.objective in TASKS else None
    origin = (read_run(run).get("init_from") or {}).get("path")
    tags = ("transformers_jax", "jax", summary.model, summary.objective, _kind(model))
    data = ModelCardData(
        library_name=library_of(model),
        base_model=origin if is_id(origin) else None,  # a directory is none that a hub knows
        pipeline_tag=pipeline_of(model, task),
        tags=[tag for tag in tags if tag],
        model_name=summary.name,
        eval_results=_results(task, config, model, figures) or None,
    )
    rows = facts(run, summary)
    names = [name for name in " ".join(FACTS.split()).split(", ") if name in rows]
    parts = {
        f"# {summary.name}": _about(summary, model, origin),
        "## Results": _shown(figures) if task else "",
        "## Data": _data(run, config) if task else "",
        "## Settings": _settings(config) if task else "",
        "## Training": f"{table(['', ''], [[name, rows[name]] for name in names])}\n\n"
        f"```sh\n{read_run(run).get('command') or 'not recorded'}\n```",
        "## Use": _use(run, config, model, task, origin),
    }
    file = model / "README.md"
    publish(file, str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{sections(parts)}")))
    return file


def library_of(model: Path) -> str:
    """The library that loads a directory."""
    if (model / "adapter_config.json").is_file():
        return "peft"
    return "sentence-transformers" if (model / "modules.json").is_file() else "transformers"


def figures_of(run: Path, summary: Summary) -> dict[str, float]:
    """What the evaluation of the step of a summary measured, by name."""
    lines = [line for line in metrics.read(run / METRICS) if line["step"] == summary.step]
    found: dict[str, float] = {}
    for line in lines:
        found |= {
            name.removeprefix("eval_"): float(value)
            for name, value in line.items()
            if name.startswith("eval_") and not metrics.is_hidden(name) and metrics.is_number(value)
        }
    return found


def type_of(name: str) -> str:
    """The hub's name of a metric: "f1" of "f1_macro", "rouge" of "rougeLsum"."""
    name = name.partition("/")[0]
    families = (family for family in ("rouge", "f1") if name.startswith(family))
    return METRIC_TYPES.get(name) or next(families, name)


def _results(
    task: str | None, config: Mapping[str, Any], model: Path, figures: Mapping[str, float]
) -> list[Any]:
    """The figures as the model index of a hub has them: of tasks that it lists."""
    from huggingface_hub import EvalResult

    kind, data = pipeline_of(model, task), config.get("data") or {}
    source = _source(data, "validation") or _source(data, "train")
    if task is None or kind is None or not source:
        return []
    name = str(source) if ":" in str(source) else Path(str(source)).name
    return [
        EvalResult(
            task_type=kind,
            dataset_type=name.partition(":")[2] or Path(name).stem,
            dataset_name=name,
            metric_type=type_of(metric),
            metric_name=metric,
            metric_value=round(value, 6),
        )
        for metric, value in figures.items()
        if math.isfinite(value)
    ]


# ---------------------------------------------------------------- the sections


def _kind(model: Path) -> str | None:
    """The method of an adapter, as a tag."""
    kind = json_or_empty(model / "adapter_config.json").get("peft_type")
    return None if kind is None else str(kind).lower()


def _about(summary: Summary, model: Path, origin: str | None) -> str:
    begun = "from scratch" if origin is None else f"from the weights of {origin}"
    with_tokenizer = (model / "tokenizer.json").exists()
    reads = ", with its tokenizer" if with_tokenizer else ", without a tokenizer: it reads ids"
    what = summary.model or "model"
    if library_of(model) == "peft":
        what, reads = f"{(_kind(model) or 'peft').upper()} adapter of a {what}", ""
    return (
        f"A {what} trained {begun} with transformers_jax{reads}. No "
        "license has been stated, and nothing is known here of the language of the text or of what "
        "the model should not be used for."
    )


def _shown(figures: Mapping[str, float]) -> str:
    rows = [[name.replace("_", " "), f"{value:.4f}"] for name, value in figures.items()]
    return table(["held out", ""], rows) if rows else ""


def _data(run: Path, config: Mapping[str, Any]) -> str:
    data, about = config.get("data") or {}, read_run(run).get("data") or {}
    train, share = (
        _source(data, "train"),
        f"{data.get('validation_fraction', 0):.0%} of it, by hash",
    )
    if train.startswith("generated:"):
        share = "its validation split"
    elif ":" in train:  # of a dataset by name, which may have one
        share = f"its validation split, or else {share}"
    rows = [["trained on", train], ["held out", _source(data, "validation") or share]]
    rows += [["records", about["origin"].rpartition(": ")[2]]] if about.get("origin") else []
    rows += [[role.replace("_", " "), name] for role, name in (about.get("columns") or {}).items()]
    classes = (config.get("model") or {}).get("id2label") or {}
    named = [str(name) for name in classes.values()]
    rows += [["classes", ", ".join(named[:30]) + ", ..." * (len(named) > 30)]] if named else []
    return table(["", ""], rows)


def _source(data: Mapping[str, Any], split: str) -> str:
    """The source of a split for people; "" if there is none."""
    path = str(data.get(split) or "")
    return "records in memory" if path and is_stored(path) else path


def _settings(config: Mapping[str, Any]) -> str:
    """The settings as a table, without those that are empty."""
    rows = []
    for name in " ".join(SETTINGS.split()).split(", "):
        record, _, field = name.rpartition(".")
        value = (config.get(record) or {} if record else config).get(field)
        if value not in EMPTY:
            rows.append([field.replace("_", " "), _spelled(value)])
    return table(["", ""], rows)


def _spelled(value: Any) -> str:
    """ "AdamW(peak=2e-05, ...)" of a record of settings, without those that are empty."""
    if not isinstance(value, Mapping):
        return str(value)
    inner = [f"{k}={_spelled(v)}" for k, v in value.items() if k != "kind" and v not in EMPTY]
    return f"{value.get('kind', '')}({', '.join(inner)})"


def _use(
    run: Path, config: Mapping[str, Any], model: Path, task: str | None, origin: str | None
) -> str:
    here = '"path/to/this/folder"'
    if library_of(model) == "peft":
        return _use_of_adapter(config, task, origin or "BASE")
    architecture = (json_or_empty(model / "config.json").get("architectures") or ["AutoModel"])[0]
    columns = (read_run(run).get("data") or {}).get("columns") or {}
    read = {name: "..." for role, name in columns.items() if role in READ}
    ours = f"model = tj.from_pretrained({here})"
    if task is not None and TASKS[task]().scored and read:
        ours = f'tj.predict({here}, [{json_text(read)}], task="{task}")'
    return (
        f"```python\nimport transformers_jax as tj\n\n{ours}\n```\n\n"
        f"```python\nimport transformers\n\n"
        f"model = transformers.{architecture}.from_pretrained({here})\n```"
    )


def _use_of_adapter(config: Mapping[str, Any], task: str | None, base: str) -> str:
    head = TASKS[task].head if task else "causal_lm"
    classes = len((config.get("model") or {}).get("id2label") or {})
    count = f", num_labels={classes}" if classes and head.endswith("classification") else ""
    return (
        "```python\nimport jax\nimport transformers_jax as tj\n\n"
        f'base = tj.from_pretrained("{base}", head="{head}", key=jax.random.key(0){count})\n'
        'model = tj.load_adapter(base, "path/to/this/folder")\n```\n\n'
        "```python\nimport peft\nimport transformers\n\n"
        f"base = transformers.{CLASSES.get(head, 'AutoModel')}.from_pretrained("
        f'"{base}"{count})\n'
        'model = peft.PeftModel.from_pretrained(base, "path/to/this/folder")\n```'
    )
