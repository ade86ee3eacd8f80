"""What makes arguments of a model of what people have: a tokenizer of texts, a processor of
pictures or of sound."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokenizers import has_tokenizer, load_tokenizer
from transformers_jax.models.config import FamilyConfig
from transformers_jax.processing.audio.processor import TYPES, audio_processor
from transformers_jax.processing.files import MODEL, PREPROCESSOR, PROCESSOR
from transformers_jax.processing.image.processor import image_processor
from transformers_jax.processing.image.sizes import size_dict
from transformers_jax.processing.image.timm import KIND
from transformers_jax.processing.image.types import BICUBIC, OF_MODELS, settings_of
from transformers_jax.processing.processor import (
    CLIP_TOWER,
    RULES,
    Processor,
    load_processor,
    rule_of,
)


@dataclass(frozen=True)
class Readers:
    """Those of one model; None where it reads no such thing."""

    tokenizer: Tokenizer | None = None
    processor: Processor | None = None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the files by which they are read again. What config.json says of pictures (of
        models of timm) is written with the model."""
        if self.processor is not None:
            files = {name: file for name, file in self.processor.files.items() if name != MODEL}
            replace(self.processor, files=files, tokenizer=None).save(folder)
        if self.tokenizer is not None:
            self.tokenizer.save(Path(folder))


def saved_readers(folder: Path) -> Readers:
    """What `Readers.save` wrote into a folder."""
    tokenizer = load_tokenizer(folder) if has_tokenizer(folder) else None
    return Readers(tokenizer, load_processor(folder) if has_processor(folder) else None)


def has_processor(folder: Path) -> bool:
    """Whether a folder has the file of a processor."""
    return any((folder / name).is_file() for name in (PREPROCESSOR, PROCESSOR))


def with_settings(
    path: str | os.PathLike[str], size: int = 0, settings: Mapping[str, Any] | None = None
) -> Processor:
    """The processor of pictures of a folder, with other values of some settings. It names its
    class, so that its file is read without a model beside it.

    Args:
        size: edge of its results; 0: its own.
        settings: others, such as `image_mean`.

    Raises:
        ValueError: as of `load_processor`; it is of sound; settings that it does not have.
    """
    found, settings = load_processor(path), dict(settings or {})
    if found.image_processor is None:
        raise ValueError(f"{path} has a processor of sound, and none of pictures")
    kind, own = found.image_processor.kind, found.files.get(PREPROCESSOR, {})
    if kind == KIND and (size or settings):
        raise ValueError(
            f"{path}: what a model of timm does with pictures stands in its config.json, under "
            "pretrained_cfg: change it there, and leave --data.image-size, --data.image-mean and "
            "--data.image-std out"
        )
    if size:
        settings |= _of_size(found.files, kind, size)
    if own and "image_processor_type" not in own:
        settings["image_processor_type"] = f"{kind}ImageProcessor"
    return load_processor(path, **settings) if settings else found


def _of_size(files: Mapping[str, Any], kind: str, size: int) -> dict[str, Any]:
    """Settings by which the results are squares of an edge; what is cut off around them stays the
    share that it was."""
    own = files.get(PREPROCESSOR) or files.get(PROCESSOR, {}).get("image_processor", {})
    found = settings_of({**own, "image_processor_type": f"{kind}ImageProcessor"}, None)[1]
    if found.get("size") is None:
        raise ValueError(f"data.image_size: {kind}ImageProcessor makes patches, of no one size")
    cuts = found["do_center_crop"] and kind != "ConvNext"
    edges = size_dict(found["size"], found["default_to_square"], "size")
    crop = size_dict(found["crop_size"], True, "crop_size")["height"] if cuts else 0
    resized = {name: round(size * edge / crop) if cuts else size for name, edge in edges.items()}
    return {"size": resized, **({"crop_size": {"height": size, "width": size}} if cuts else {})}


def new_processor(
    model: FamilyConfig, size: int = 0, settings: Mapping[str, Any] | None = None
) -> Processor:
    """The processor of a model that has none yet: pictures are resized to the size that the model
    reads, whatever their shape, and levels between 0 and 1 get the mean and the deviation of the
    settings, by default 0.5.

    Args:
        size: edge of its results; 0: what the model reads.
        settings: of the processor, such as `image_mean`.

    Raises:
        ValueError: neither the settings nor the model say a size.
    """
    reads = vision_of(model)
    channels = channels_of(model)
    file = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "resample": BICUBIC,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": channels == 3,
        "image_mean": [0.5] * channels,
        "image_std": [0.5] * channels,
    }
    if OF_MODELS.get(reads.model_type) == "Siglip2":
        file |= {"image_processor_type": "Siglip2ImageProcessor", "patch_size": reads.patch_size}
        file |= {"max_num_patches": reads.num_patches}
    else:
        edges = (size, size) if size else image_size_of(model)
        if edges is None:
            raise ValueError(
                f"{model.model_type} reads images of any size: say which with --data.image-size"
            )
        file["size"] = {"height": edges[0], "width": edges[1]}
    file |= {name: list(value) for name, value in (settings or {}).items()}
    files: dict[str, Any] = {PREPROCESSOR: file}
    if said := said_of_texts(model):
        files[PROCESSOR] = said
    new = Processor(image_processor(file), None, files=files)
    return replace(new, rule=rule_of(model, new))


def said_of_texts(model: FamilyConfig) -> dict[str, Any]:
    """What processor_config.json says of a model whose texts have the tokens of pictures; {} of
    others."""
    if model.model_type not in RULES:
        return {}
    reads = vision_of(model)
    said: dict[str, Any] = {"processor_class": RULES[model.model_type][0]}
    if model.model_type == "llava":
        whole = model.vision_feature_select_strategy  # type: ignore[attr-defined]
        front = int(reads.model_type == CLIP_TOWER)
        said |= {"patch_size": reads.patch_size, "vision_feature_select_strategy": whole}
        said |= {"num_additional_image_tokens": front}
    if model.model_type == "paligemma":
        said["image_seq_length"] = (reads.image_size // reads.patch_size) ** 2
    if model.model_type == "blip-2":
        said["num_query_tokens"] = model.num_query_tokens  # type: ignore[attr-defined]
    return said


def vision_of(model: FamilyConfig) -> Any:
    """The config of what reads images: of a model of several, that of its part."""
    for name in ("vision_config", "encoder"):
        if (part := getattr(model, name, None)) is not None:
            return part
    return model


def image_size_of(model: FamilyConfig) -> tuple[int, int] | None:
    """(height, width) of the images that a model reads, as its config says; None: it does not."""
    reads = vision_of(model)
    built = getattr(reads, "built", {})  # of timm
    size: Any = built.get("img_size") if built else getattr(reads, "image_size", None)
    if size is None:
        return None
    return (size[0], size[1]) if isinstance(size, (tuple, list)) else (size, size)


def channels_of(model: FamilyConfig) -> int:
    """The channels of the images that a model reads."""
    reads = vision_of(model)
    built: Any = getattr(reads, "built", {})
    return int(built["in_chans"] if built else getattr(reads, "num_channels", 3))


# ---------------------------------------------------------------- sound

HERTZ = 16_000
"""Samples a second of released models."""


def of_sound(path: str | os.PathLike[str]) -> Processor:
    """The processor of sound of a folder. It names its class, so that its file is read without a
    model beside it.

    Raises:
        ValueError: as of `load_processor`; it is of pictures.
    """
    found = load_processor(path)
    if found.audio_processor is None:
        raise ValueError(f"{path} has a processor of pictures, and none of sound")
    own = found.files.get(PREPROCESSOR)
    if own is None or "feature_extractor_type" in own:
        return found
    kind = next(name for name, one in TYPES.items() if type(found.audio_processor.features) is one)
    return load_processor(path, feature_extractor_type=kind)


def new_sound(model: FamilyConfig, rate: int) -> Processor:
    """The processor of sound of a model that has none yet: log-mel features of windows of 25 ms,
    each 10 ms after the one before (Radford et al. 2022, section 2.2), or waveforms of zero mean
    and unit variance.

    Args:
        rate: samples a second.

    Raises:
        ValueError: a model that reads no sound, or whose length is no whole number of seconds.
    """
    reads: Any = vision_of(model)
    file: dict[str, Any] = {"sampling_rate": rate, "padding_value": 0.0, "padding_side": "right"}
    if hasattr(reads, "conv_stride"):
        file |= {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1}
        file |= {"do_normalize": True}
        file |= {"return_attention_mask": getattr(reads, "feat_extract_norm", "") == "layer"}
    elif hasattr(reads, "max_source_positions") and hasattr(reads, "num_mel_bins"):
        seconds, rest = divmod(reads.max_source_positions, 50)
        if rest or rate % 200:
            raise ValueError(
                f"max_source_positions ({reads.max_source_positions}) are states of 20 ms, 50 to a "
                f"second, and a processor of whole seconds at {rate} samples a second is made of "
                "multiples of 50 and of 200; or name one: --data.processor DIR"
            )
        file |= {"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": seconds}
        file |= {"feature_size": reads.num_mel_bins, "hop_length": rate // 100}
        file |= {"n_fft": rate // 40, "return_attention_mask": False}
    else:
        raise ValueError(
            f"{model.model_type} has no processor of sound that can be made here: name the folder "
            "of one, --data.processor DIR"
        )
    return Processor(None, audio_processor(file), files={PREPROCESSOR: file})
