"""Writes what the image processors of transformers (by Pillow and by torchvision) and the
evaluation transforms of timm make of the pictures of `pictures.py`.

    python tests/processing/make_processed.py   # torch, torchvision, timm, Pillow, transformers
"""

from pathlib import Path

import image_cases
import numpy as np
import pictures
import timm
import transformers
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

HERE = Path(__file__).parent
SUFFIX = {"pil": "ImageProcessorPil", "torchvision": "ImageProcessor"}


def processor(case, backend):
    """The processor of a case; None where there is none for this backend."""
    kind = case.split("-")[0]
    made = get_image_processor_class_from_name(kind + SUFFIX[backend])
    return None if made is None else made(**image_cases.CASES[case])


def main():
    made = {}
    images = pictures.pillows()
    for case in image_cases.CASES:
        for backend in SUFFIX:
            reference = processor(case, backend)
            for name in image_cases.pictures_of(case) if reference is not None else ():
                out = reference(images[name], return_tensors="np")
                out = {"pixel_values": out} if not hasattr(out, "keys") else out
                for key in out:
                    array = np.asarray(out[key])
                    cut = np.s_[..., ::16, ::16] if case in image_cases.LARGE else np.s_[...]
                    made[f"{case}/{backend}/{name}/{key}"] = array[cut]
    for case, config in image_cases.TIMM.items():
        data = timm.data.resolve_data_config({}, pretrained_cfg=config)
        transform = timm.data.create_transform(**data, is_training=False)
        for name in ("rgb", "small", "alpha", "grey"):
            made[f"timm-{case}/pil/{name}/pixel_values"] = transform(
                images[name].convert("RGB")
            ).numpy()[None]
    for orientation in range(1, 9):
        file = HERE / f"turned_{orientation}.png"
        file.write_bytes(pictures.turned(orientation))
        loaded = transformers.image_utils.load_image(str(file))
        made[f"turned/{orientation}"] = np.asarray(loaded)[::6, ::6]
        file.unlink()
    np.savez_compressed(HERE / "processed.npz", **made)
    print(len(made), (HERE / "processed.npz").stat().st_size)


if __name__ == "__main__":
    main()
