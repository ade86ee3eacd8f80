"""The image processors of transformers that are known: what each does where its file is silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers_jax.spelling import nearest

STANDARD = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
BILINEAR, BICUBIC = 2, 3

ALWAYS: Mapping[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "do_center_crop": False,
    "do_convert_rgb": False,
    "do_pad": False,
    "default_to_square": True,
    "crop_size": None,
    "pad_size": None,
}
_SHORTEST = {"size": {"shortest_edge": 224}, "default_to_square": False, "resample": BICUBIC}
_CROPPED = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
_SQUARE = {"size": {"height": 224, "width": 224}}

TYPES: Mapping[str, Mapping[str, Any]] = {
    "Beit": {**STANDARD, **_SQUARE, "resample": BICUBIC, "crop_size": _CROPPED["crop_size"]}
    | {"do_reduce_labels": False},
    "Bit": {**CLIP, **_SHORTEST, **_CROPPED, "do_convert_rgb": True},
    "Blip": {**CLIP, "size": {"height": 384, "width": 384}, "resample": BICUBIC}
    | {"do_convert_rgb": True},
    "CLIP": {**CLIP, **_SHORTEST, **_CROPPED, "do_convert_rgb": True},
    "ConvNext": {**STANDARD, "size": {"shortest_edge": 384}, "default_to_square": False}
    | {"resample": BICUBIC, "crop_pct": 224 / 256},
    "DINOv3ViT": {**IMAGENET, **_SQUARE, "resample": BILINEAR},
    "DeiT": {**STANDARD, "size": {"height": 256, "width": 256}, **_CROPPED, "resample": BICUBIC},
    "Idefics": {**CLIP, **_SQUARE, "resample": BICUBIC, "do_convert_rgb": True}
    | {"image_num_channels": 3, "image_size": None},
    "Llava": {**CLIP, **_SHORTEST, **_CROPPED, "do_convert_rgb": True},
    "Perceiver": {**IMAGENET, **_SQUARE, "resample": BICUBIC, "do_center_crop": True}
    | {"crop_size": {"height": 256, "width": 256}},
    "Siglip": {**STANDARD, **_SQUARE, "resample": BICUBIC, "do_convert_rgb": True}
    | {"default_to_square": False, "image_seq_length": None},
    "Siglip2": {**STANDARD, "size": None, "resample": BILINEAR}
    | {"patch_size": 16, "max_num_patches": 256},
    "ViT": {**STANDARD, **_SQUARE, "resample": BILINEAR},
}
"""Name without "ImageProcessor" -> its settings, beyond `ALWAYS`."""

OF_MODELS = {
    **dict.fromkeys(("vit", "vit_mae", "swin", "swinv2", "vit_msn", "trocr", "vit-hybrid"), "ViT"),
    **dict.fromkeys(("clip", "clip_vision_model", "vipllava"), "CLIP"),
    **dict.fromkeys(("dinov2", "dinov2_with_registers", "bit"), "Bit"),
    **dict.fromkeys(("convnext", "convnextv2", "resnet", "regnet"), "ConvNext"),
    **dict.fromkeys(("siglip", "siglip_vision_model", "paligemma"), "Siglip"),
    **dict.fromkeys(("blip", "blip-2"), "Blip"),
    "deit": "DeiT",
    "beit": "Beit",
    "dinov3_vit": "DINOv3ViT",
    "siglip2": "Siglip2",
    "llava": "Llava",
    "perceiver": "Perceiver",
    "idefics": "Idefics",
    "siglip2_vision_model": "Siglip2",
}
"""The type of a model -> its image processor, for files that name none."""

RENAMED = {"reduce_labels": "do_reduce_labels"}  # settings of files before version 4.25
IGNORED = {  # of the file, and of calls with other kinds of input or output
    *("image_processor_type", "feature_extractor_type", "processor_class", "auto_map"),
    *("device", "disable_grouping", "input_data_format", "return_tensors", "_valid_processor_keys"),
    *("model_input_names", "_processor_class", "size_divisor", "image_seq_length"),
}


def settings_of(config: Mapping[str, Any], model_type: str | None) -> tuple[str, dict[str, Any]]:
    """(the type without "ImageProcessor", all its settings); what the file says wins.

    Raises:
        ValueError: an unknown type, one for videos, or settings that the type does not have.
    """
    kind = type_of(config, model_type)
    settings = {**ALWAYS, **TYPES[kind]}
    given = {
        name: value
        for name, value in config.items()
        if (name not in IGNORED or name in settings) and value is not None
    }
    for earlier, name in RENAMED.items():
        if earlier in given:
            given.setdefault(name, given.pop(earlier))
    if given.pop("data_format", "channels_first") != "channels_first":
        raise ValueError(f"data_format={config['data_format']!r}: models take 'channels_first'")
    if unknown := sorted(given.keys() - settings.keys()):
        raise ValueError(
            f"{kind}ImageProcessor has no {', '.join(map(repr, unknown))}"
            f"{nearest(unknown[0], settings)}"
        )
    return kind, settings | given


def type_of(config: Mapping[str, Any], model_type: str | None) -> str:
    """The name of the processor's class, without "ImageProcessor" and "Fast".

    Raises:
        ValueError: it is unknown, or nothing says it.
    """
    name = config.get("image_processor_type") or config.get("feature_extractor_type")
    if name is None:
        if model_type in OF_MODELS:
            return OF_MODELS[model_type]
        raise ValueError(
            f"no image_processor_type, and models of the type {model_type!r} say none; pass "
            "image_processor_type='ViTImageProcessor' or another"
        )
    bare = str(name).removesuffix("Fast").removesuffix("Pil")
    bare = bare.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if "Video" in bare or bare == "Vivit":
        raise ValueError(f"{name} reads videos, which are not supported; pictures are")
    if bare not in TYPES:
        known = ", ".join(sorted(TYPES))
        raise ValueError(
            f"{name} is no known image processor{nearest(bare, TYPES)}; known are those of {known}"
        )
    return bare
