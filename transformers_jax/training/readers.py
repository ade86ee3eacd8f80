"""What makes arguments of the values of a table: the tokenizer and the image processor that a task
needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.hub.download import resolve
from transformers_jax.models.base import Model
from transformers_jax.processing.processor import Processor
from transformers_jax.processing.readers import (
    HERTZ,
    Readers,
    has_processor,
    new_processor,
    new_sound,
    of_sound,
    with_settings,
)
from transformers_jax.tasks import Task
from transformers_jax.tasks.sounds import RATE
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.exported import model_folder
from transformers_jax.training.initial import GENERATION, weights_folder, with_generation
from transformers_jax.training.vocabulary import of_languages, task_tokenizer


def readers_of(config: TrainConfig, begun: Path | None, train: Records) -> Readers:
    """Those of a task: of a run that is continued, in the folder `begun`; else of the checkpoint,
    or of those that the config names; else new ones.

    Raises:
        ValueError: one that is needed is not found.
    """
    task = config.objective
    assert isinstance(task, Task)
    tokenizer = task_tokenizer(config, begun, train) if "text" in task.reads else None
    if "sound" in task.reads:
        return Readers(tokenizer, _sound(config, begun, train))
    return Readers(tokenizer, _processor(config, begun) if "images" in task.reads else None)


def _sound(config: TrainConfig, begun: Path | None, train: Records) -> Processor:
    """The processor of sound of a task.

    Raises:
        ValueError: the checkpoint has none, and none is named.
    """
    data = config.data
    assert isinstance(data, Table)
    if begun is not None and has_processor(begun):
        return of_sound(begun)
    folder = Path(data.processor) if data.processor else None
    if folder is None and config.init_from is not None:
        folder = weights_folder(config.init_from)
        if not has_processor(folder) and not data.sampling_rate:
            raise ValueError(
                f"{config.init_from} has no preprocessor_config.json, which says what it takes of "
                "sound: name a folder that has one, --data.processor DIR, or how many samples a "
                "second it reads, --data.sampling-rate 16000"
            )
        folder = folder if has_processor(folder) else None
    if folder is not None:
        if data.sampling_rate:
            raise ValueError(
                f"{folder} has a processor, which says its sampling rate: leave out "
                "--data.sampling-rate"
            )
        return of_sound(folder)
    return new_sound(config.model, data.sampling_rate or _rate_of(train))


def _rate_of(train: Records) -> int:
    """The sampling rate that a table says, if it is one; else that of released models.

    Raises:
        ValueError: it says several.
    """
    rates = {int(one[RATE]) for one in train.records if one.get(RATE) is not None}
    if len(rates) > 1:
        raise ValueError(
            f"{train.name} has recordings of {len(rates)} sampling rates: say at which the model "
            "is trained, as in --data.sampling-rate 16000 --data.resample"
        )
    return next(iter(rates), HERTZ)


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
    needed = [("text", "tokenizer", tokenizer)]
    needed += [(kind, "processor", processor) for kind in ("images", "sound")]
    for kind, name, one in needed:
        if kind in task.reads and one is None and source is None:
            raise ValueError(f"a model in memory needs its {name}: pass {name}=")
    if "text" in task.reads and tokenizer is None:
        tokenizer = of_languages(str(source), task)
    if "sound" in task.reads and processor is None:
        folder = Path(str(source))
        processor = of_sound(
            folder if has_processor(folder) else resolve(model_folder(str(folder)))
        )
    if "images" in task.reads and processor is None:
        folder = Path(str(source))
        own = has_processor(folder) or not (folder / "run.json").is_file()
        processor = with_settings(folder if own else resolve(model_folder(str(folder))))
    processed = not {"images", "sound"}.isdisjoint(task.reads)
    return Readers(tokenizer if "text" in task.reads else None, processor if processed else None)


def with_own_generation(config: TrainConfig, model: Model, run: Path) -> Model:
    """The model with the settings of generation of the run that goes on, else of the checkpoint
    that it begins with."""
    if (run / GENERATION).is_file() or config.init_from is None:
        return with_generation(model, run)
    return with_generation(model, weights_folder(config.init_from))
