"""Texts with pictures: the tokens at which pictures are put, for each class of processors."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

import transformers_jax as tj
from tests.processing import pictures, text_cases

STORED = json.loads((Path(__file__).parent / "texts.json").read_text())
DIFFERENT = {  # what the reference gives and is left out here, and why
    "PaliGemma": {"labels"},  # without a suffix it gives labels of which none counts
}


@functools.cache
def images():
    return pictures.pillows()


def write(folder, kind, own=None):
    """The folder of a processor of a class."""
    image_kind, settings = text_cases.IMAGES[kind]
    config = {"image_processor_type": f"{image_kind}ImageProcessor", **settings}
    files = {"preprocessor_config.json": config, **STORED["tokenizers"][kind]}
    files["processor_config.json"] = {"processor_class": f"{kind}Processor", **(own or {})}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def load(case, folder):
    kind = case.split("-")[0]
    own = text_cases.OWN.get(case, text_cases.OWN.get(kind, {}))
    return tj.load_processor(write(folder, kind, own))


@pytest.mark.parametrize("case", text_cases.CASES)
def test_ids_and_masks_equal_those_of_transformers(case, tmp_path):
    texts, names, options = text_cases.CASES[case]
    call = {"text": text_cases.with_pictures(texts, images())}
    if names is not None:
        call["images"] = text_cases.pictures_of(names, images())
    out = load(case, tmp_path)(**call, **options)
    wanted = dict(STORED["cases"][case])
    shape = wanted.pop("shape")
    assert (out["pixel_values"].shape == tuple(shape)) if shape else "pixel_values" not in out
    for name in DIFFERENT.get(case.split("-")[0], ()):
        if "suffix" not in options:
            wanted.pop(name)
    arrays = {name for name, value in out.items() if value.dtype.kind in "iu"}
    assert arrays - {"spatial_shapes", "pixel_attention_mask"} == set(wanted)
    for name, value in wanted.items():
        assert np.array_equal(out[name], value), name


@pytest.mark.parametrize(
    ("kind", "call", "words"),
    [
        ("Llava", {"text": "a cat", "images": ["rgb"]}, "text 0 has 0 <image> and 1 image$"),
        (
            "Llava",
            {"text": "<image> <image>", "images": ["rgb"]},
            "text 0 has 2 <image> and 1 image$",
        ),
        ("Llava", {"text": "<image> a cat"}, "has <image> and no images were passed"),
        (
            "Llava",
            {"text": ["<image>", "a"], "images": [[], ["rgb"]]},
            "text 0 has 1 <image> and 0 images; text 1 has 0 <image> and 1 image .*list of lists",
        ),
        (
            "Llava",
            {"text": "<image>", "images": ["rgb"], "truncation": True, "max_length": 3},
            "has 2 of the 4 <image> .* after truncation",
        ),
        ("PaliGemma", {"text": ["a", "the"], "images": ["rgb"]}, "1 images and 2 texts"),
        ("PaliGemma", {"text": "a"}, "reads an image with every text"),
        ("Blip2", {"text": ["a", "the"], "images": ["rgb"]}, "pass one image for each text"),
        ("Blip2", {"text": "<image> a", "images": ["rgb"]}, "BLIP-2 takes .* leave it out"),
        ("Idefics", {"text": ["a", "the"], "images": ["rgb"]}, "1 images and 2 texts"),
        ("Idefics", {"text": [["a"], "the"]}, "a prompt is a list of texts and images"),
        ("Idefics", {"text": ["https://a.b/c.png"]}, "is an address"),
    ],
)
def test_images_and_texts_that_do_not_belong_together_are_refused(kind, call, words, tmp_path):
    processor = tj.load_processor(write(tmp_path, kind, text_cases.OWN.get(kind)))
    if "images" in call:
        call = {**call, "images": text_cases.pictures_of(call["images"], images())}
    with pytest.raises(ValueError, match=words):
        processor(**call)


def test_older_files_say_of_llava_only_what_its_model_is(tmp_path):
    """Files of before there was a processor_config.json: the tower's patches count."""
    write(tmp_path, "Llava")
    (tmp_path / "processor_config.json").unlink()
    vision = {"model_type": "clip_vision_model", "patch_size": 4}
    config = {"model_type": "llava", "vision_config": vision}
    (tmp_path / "config.json").write_text(json.dumps(config))
    out = tj.load_processor(tmp_path)(text="<image> a cat", images=images()["rgb"])
    assert (out["input_ids"] == 4).sum() == 4
    full = {**config, "vision_feature_select_strategy": "full"}
    (tmp_path / "config.json").write_text(json.dumps(full))
    out = tj.load_processor(tmp_path)(text="<image> a cat", images=images()["rgb"])
    assert (out["input_ids"] == 4).sum() == 5
    siglip = {**full, "vision_config": {"model_type": "siglip_vision_model", "patch_size": 4}}
    (tmp_path / "config.json").write_text(json.dumps(siglip))
    out = tj.load_processor(tmp_path)(text="<image> a cat", images=images()["rgb"])
    assert (out["input_ids"] == 4).sum() == 4


def test_saving_keeps_the_rule_and_the_tokenizer(tmp_path):
    loaded = load("Llava-one", tmp_path)
    loaded.save(tmp_path / "saved")
    call = {"text": text_cases.ONE, "images": images()["rgb"]}
    again = tj.load_processor(tmp_path / "saved")(**call)
    assert all(np.array_equal(again[name], array) for name, array in loaded(**call).items())


def test_siglip_fills_texts_up_as_it_was_trained(tmp_path):
    processor = load("Siglip-several", tmp_path)
    assert processor(text="a cat")["input_ids"].shape == (1, 20)
    assert processor(text=["a cat"], padding=True)["input_ids"].shape == (1, 3)
