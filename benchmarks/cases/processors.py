"""What is made of files before a model reads them: JPEG pictures of 500 x 375 by the processors of
ViT and CLIP, and ten minutes of samples as log-mel features of Whisper, 30 seconds a row.

Both sides decode the files with Pillow and resize with it: transformers' processors are those of
its backend "pil" (its other one needs torchvision). Sides compare values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.cases import Side

UNIT = "images/s"
UNITS = {"process audio whisper": "h of audio/h"}
CASES: dict[str, dict[str, Any]] = {
    "process images vit": dict(
        file=dict(image_processor_type="ViTImageProcessor", size=dict(height=224, width=224)),
        images=16,
    ),
    "process images clip": dict(file=dict(image_processor_type="CLIPImageProcessor"), images=16),
    "process audio whisper": dict(
        file=dict(feature_extractor_type="WhisperFeatureExtractor", feature_size=80), rows=20
    ),
}
RATE, SECONDS, SIZE = 16_000, 30, (375, 500)


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the file of the processor, and pictures."""
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(setting["file"]))
    write_pictures(Path(folder), setting.get("images", 0))


def write_pictures(folder: Path, number: int) -> None:
    """JPEG files: smooth shapes with some noise."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for file in range(number):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
        smooth = np.asarray(small.resize(SIZE[::-1], Image.Resampling.BICUBIC), np.int16)
        levels = (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(levels).save(folder / f"{file:02}.jpg", quality=90)


def paths(setting: dict[str, Any], folder: str) -> list[str]:
    """The pictures."""
    return [str(Path(folder) / f"{number:02}.jpg") for number in range(setting["images"])]


def sounds(setting: dict[str, Any]) -> list[Any]:
    """Rows of samples Float[T]."""
    import numpy as np

    rng = np.random.default_rng(0)
    made = rng.normal(scale=0.1, size=(setting["rows"], SECONDS * RATE))
    return list(made.astype(np.float32))


def some(values: Any) -> list[float]:
    """A few numbers of the last row."""
    return [float(n) for n in values[-1].reshape(-1)[:2000:100]]


def ours(setting: dict[str, Any], folder: str) -> Side:
    """`tj.load_processor`."""
    import transformers_jax as tj

    processor = tj.load_processor(folder)
    if "rows" in setting:
        rows = sounds(setting)
        run = lambda: processor(audio=rows, sampling_rate=RATE)["input_features"]
        return Side(run, setting["rows"] * SECONDS, some(run()))
    files = paths(setting, folder)
    run = lambda: processor(images=files)["pixel_values"]
    return Side(run, setting["images"], some(run()))


def pytorch(setting: dict[str, Any], folder: str) -> Side:
    """transformers' processors, with tensors of PyTorch."""
    import transformers
    from transformers.image_utils import load_image

    if "rows" in setting:
        extract, rows = (
            transformers.WhisperFeatureExtractor.from_pretrained(folder),
            sounds(setting),
        )
        run = lambda: extract(rows, sampling_rate=RATE, return_tensors="pt").input_features
        return Side(run, setting["rows"] * SECONDS, some(run()))
    process = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    files = paths(setting, folder)

    def run():
        upright = [load_image(file) for file in files]
        return process(images=upright, return_tensors="pt").pixel_values

    return Side(run, setting["images"], some(run()))


SIDES = {"ours": ours, "PyTorch": pytorch}
