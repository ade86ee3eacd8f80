"""What makes arguments of the values of a table: the tokenizer and the image processor that a task
needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.hub.download import resolve
from transformers_jax.processing.processor import Processor
from transformers_jax.processing.readers import (
    Readers,
    has_processor,
    new_processor,
    with_settings,
)
from transformers_jax.tasks import Task
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.exported import model_folder
from transformers_jax.training.initial import weights_folder
from transformers_jax.training.vocabulary import of_languages, task_tokenizer


def readers_of(config: TrainConfig, begun: Path | None, train: Records) -> Readers:
    """Those of a task: of a run that is continued, in the folder `begun`; else of the checkpoint,
    or of those that the config names; else new ones.

    Raises:
        ValueError: one that is needed is not found.
    """
    task = config.objective
    assert isinstance(task, Task)
    return Readers(
        task_tokenizer(config, begun, train) if "text" in task.reads else None,
        _processor(config, begun) if "images" in task.reads else None,
    )


def _processor(config: TrainConfig, begun: Path | None) -> Processor:
    """The image processor of a task.

    Raises:
        ValueError: the checkpoint has none, and none is named.
    """
    data = config.data
    assert isinstance(data, Table)
    if begun is not None and has_processor(begun):
        return with_settings(begun)
    own: dict[str, Any] = {"image_mean": data.image_mean, "image_std": data.image_std}
    own = {name: list(value) for name, value in own.items() if value}
    if not data.processor and config.init_from is None:
        return new_processor(config.model, data.image_size, own)
    folder = Path(data.processor) if data.processor else weights_folder(str(config.init_from))
    try:
        return with_settings(folder, data.image_size, own)
    except ValueError as error:
        if data.processor or has_processor(folder):
            raise
        raise ValueError(
            f"{error}; or name a folder that has one, as in --data.processor DIR"
        ) from None


def readers_beside(task: Task, given: Readers, source: Path | None) -> Readers:
    """What the task needs to read records: what was given, or else stands in the folder
    of its model or its run.

    Raises:
        ValueError: it is in neither.
    """
    tokenizer, processor = given.tokenizer, given.processor
    for kind, name, one in (("text", "tokenizer", tokenizer), ("images", "processor", processor)):
        if kind in task.reads and one is None and source is None:
            raise ValueError(f"a model in memory needs its {name}: pass {name}=")
    if "text" in task.reads and tokenizer is None:
        tokenizer = of_languages(str(source), task)
    if "images" in task.reads and processor is None:
        folder = Path(str(source))
        own = has_processor(folder) or not (folder / "run.json").is_file()
        processor = with_settings(folder if own else resolve(model_folder(str(folder))))
    return Readers(
        tokenizer if "text" in task.reads else None, processor if "images" in task.reads else None
    )
