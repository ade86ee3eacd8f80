"""What a hub calls the task of a model, by which it lists it."""

from __future__ import annotations

from pathlib import Path

from transformers_jax.json_files import json_or_empty

OF_TASKS = {
    "sequence_classification": "text-classification",
    "multi_label": "text-classification",
    "regression": "text-classification",
    "token_classification": "token-classification",
    "question_answering": "question-answering",
    "multiple_choice": "multiple-choice",
    "reranking": "text-ranking",
    "embedding": "sentence-similarity",
    "instruction": "text-generation",
    "dpo": "text-generation",
    "summarization": "summarization",
    "translation": "translation",
}
OF_CLASSES = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForConditionalGeneration": "text2text-generation",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
}
"""End of the name of a class -> the task of its models."""


def pipeline_of(model: Path, task: str | None = None) -> str | None:
    """The task of an exported model, as a hub calls it; None where there is no name for it."""
    if task in OF_TASKS:
        return OF_TASKS[task]
    architecture = (json_or_empty(model / "config.json").get("architectures") or [""])[0]
    return next((name for end, name in OF_CLASSES.items() if architecture.endswith(end)), None)
