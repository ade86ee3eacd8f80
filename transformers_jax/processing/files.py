"""The files that say what a model takes: preprocessor_config.json, and processor_config.json, which
since version 5 of transformers holds the others in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformers_jax.json_files import errors_of, read_json
from transformers_jax.processing.audio.processor import OF_MODELS as SOUND
from transformers_jax.processing.audio.processor import TYPES as SOUNDS
from transformers_jax.processing.image.timm import KIND, check_names
from transformers_jax.processing.image.types import OF_MODELS as PICTURES

PREPROCESSOR, PROCESSOR, MODEL = "preprocessor_config.json", "processor_config.json", "config.json"
TIMM = "pretrained_cfg"  # in config.json of models of timm
VIDEO = "video_preprocessor_config.json"
NESTED = {"image_processor": "image", "feature_extractor": "audio", "audio_processor": "audio"}


class Described(NamedTuple):
    """What the files of a folder say.

    Attributes:
        image, audio: the settings of the processor of pictures, and of sound; None where there is
            none.
        nested: whether they stood in processor_config.json, as version 5 writes them.
        own: what processor_config.json says beside them: the number of image tokens and the like.
        processor: the name of the processor's class, such as "LlavaProcessor", if a file says it.
        model: the model's config.json, or {}.
        files: name -> content, of the files that were read.
    """

    image: Mapping[str, Any] | None
    audio: Mapping[str, Any] | None
    nested: bool
    own: Mapping[str, Any]
    processor: str | None
    model: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]

    @property
    def model_type(self) -> str | None:
        """The type of the model, if there is a config.json."""
        kind = self.model.get("model_type")
        return None if kind is None else str(kind)


def read_files(folder: Path, overrides: Mapping[str, Any]) -> Described:
    """What the files of a folder say; `overrides` take the place of settings of the one processor,
    of pictures or of sound.

    Raises:
        ValueError: neither file is there, one is damaged, or it is for videos.
    """
    names = [name for name in (PREPROCESSOR, PROCESSOR) if (folder / name).is_file()]
    files = {name: read_json(folder / name) for name in names}
    model = read_json(folder / MODEL, optional=True)
    if not files and isinstance(model.get(TIMM), dict):
        check_names(overrides)
        part = {**model[TIMM], **overrides}
        written = {MODEL: {**model, TIMM: part}}
        part = {**part, "image_processor_type": f"{KIND}ImageProcessor"}
        return Described(part, None, False, {}, None, model, written)
    if not files:
        raise ValueError(
            f"{folder} has neither {PREPROCESSOR} nor {PROCESSOR}, which say what a model takes; "
            f"copy it from where the model came from{_or_a_new_one(model)}"
        )
    own = dict(files.get(PROCESSOR, {}))
    if (folder / VIDEO).is_file() or "video_processor" in own:
        raise ValueError(f"{folder} has a processor of videos, which are not supported")
    parts = {NESTED[name]: own.pop(name) for name in NESTED if isinstance(own.get(name), dict)}
    nested = bool(parts)
    plain = files.get(PREPROCESSOR, {})
    if not parts and plain:
        with errors_of(folder / PREPROCESSOR):
            parts = {_kind(plain, model): plain}
    elif not parts:
        raise ValueError(f"{folder} has no {PREPROCESSOR}, and {PROCESSOR} holds no processor")
    if overrides:
        if len(parts) > 1:
            raise ValueError(
                f"{folder} has processors of pictures and of sound; of which is {overrides}?"
            )
        parts = {kind: {**part, **overrides} for kind, part in parts.items()}
    processor = own.pop("processor_class", None) or plain.get("processor_class")
    return Described(parts.get("image"), parts.get("audio"), nested, own, processor, model, files)


def _or_a_new_one(model: Mapping[str, Any]) -> str:
    """What makes the processor of a new model, by its config.json; "" where it reads neither
    pictures nor sound."""
    kind = str(model.get("model_type"))
    sees = kind in PICTURES or kind.startswith("vision-") or "vision_config" in model
    hears = kind in SOUND or kind.startswith("speech-")
    if not sees and not hears:
        return ""
    make = "new_processor(model.config)" if sees else "new_sound(model.config, 16000)"
    return (
        f", or make that of a new model: Readers(processor={make}).save(folder), by "
        "transformers_jax.processing.readers"
    )


def _kind(config: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Whether a file is of pictures or of sound."""
    if "image_processor_type" in config:
        return "image"
    name = str(config.get("feature_extractor_type", ""))
    if name in SOUNDS or "sampling_rate" in config:
        return "audio"
    if name or "image_mean" in config or "size" in config:
        return "image"
    kind = model.get("model_type")
    if kind in SOUND or kind in PICTURES:
        return "audio" if kind in SOUND else "image"
    raise ValueError(
        "neither image_processor_type nor feature_extractor_type says what it is a processor of"
    )
