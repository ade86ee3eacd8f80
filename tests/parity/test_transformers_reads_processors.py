"""PyTorch transformers reads the processors that we write beside models, and makes the same of
files. Runs where the extra `parity` is."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.processing.readers import Readers, new_processor

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", exc_type=ImportError)

SIZES = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
VISION = dict(**SIZES, image_size=16, patch_size=8)
TEXTS = ["a red square", "two white squares on black"]
ROLES = ("pad", "bos", "eos", "cls", "sep", "unk")


def levels(height=30, width=20):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def same(ours, theirs):
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_allclose(array, np.asarray(theirs[name]), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", ["ViT", "Swin", "Siglip2"])
def test_a_new_processor_of_images(kind, tmp_path):
    config = {
        "ViT": lambda: tj.ViTConfig(**VISION),
        "Swin": lambda: tj.SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=(1,),
                                      num_heads=(2,), window_size=4),
        "Siglip2": lambda: tj.Siglip2Config(
            text_config=tj.Siglip2TextConfig(**SIZES, vocab_size=40),
            vision_config=tj.Siglip2VisionConfig(**SIZES, patch_size=8, num_patches=9),
        ),
    }[kind]()  # fmt: skip
    tj.from_config(config, key=jax.random.key(0)).save_pretrained(tmp_path)
    Readers(processor=(made := new_processor(config))).save(tmp_path)
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    same(made(images=[levels()]), theirs(images=[levels()], return_tensors="np"))


def test_a_new_processor_of_images_and_texts(tmp_path):
    tokenizer = train_tokenizer("bpe", TEXTS, 300, ROLES)
    special = {f"{name}_token_id": tokenizer.special_id(name) for name in ("pad", "bos", "eos")}
    text = tj.CLIPTextConfig(
        **SIZES, vocab_size=tokenizer.max_id + 1, max_position_embeddings=60, **special
    )
    config = tj.CLIPConfig(text_config=text, vision_config=tj.CLIPVisionConfig(**VISION))
    tj.from_config(config, key=jax.random.key(0)).save_pretrained(tmp_path)
    Readers(tokenizer, new_processor(config)).save(tmp_path)
    theirs = transformers.AutoProcessor.from_pretrained(tmp_path, backend="pil")
    ours = tj.load_processor(tmp_path)
    call = dict(images=[levels(), levels(16, 40)], text=TEXTS, padding=True)
    found, expected = ours(**call), theirs(**call, return_tensors="np")
    same(found, {name: expected[name] for name in found})


@pytest.mark.parametrize(
    "file",
    [
        dict(feature_extractor_type="WhisperFeatureExtractor", feature_size=80, chunk_length=2),
        dict(feature_extractor_type="Wav2Vec2FeatureExtractor", sampling_rate=8000),
        dict(image_processor_type="CLIPImageProcessor", size={"shortest_edge": 24},
             crop_size={"height": 20, "width": 20}),
    ],
)  # fmt: skip
def test_a_processor_that_was_read_and_written(file, tmp_path):
    from transformers_jax.publish import publish_json

    publish_json(tmp_path / "preprocessor_config.json", file)
    ours = tj.load_processor(tmp_path)
    ours.save(tmp_path / "written")
    if "image_processor_type" in file:
        theirs = transformers.AutoImageProcessor.from_pretrained(
            tmp_path / "written", backend="pil"
        )
        same(ours(images=[levels()]), theirs(images=[levels()], return_tensors="np"))
        return
    theirs = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "written")
    rate = ours.sampling_rate
    sound = np.random.default_rng(0).normal(scale=0.1, size=16_000).astype(np.float32)
    found = ours(audio=sound, sampling_rate=rate)
    expected = theirs(sound, sampling_rate=rate, return_tensors="np")
    same(found, {name: expected[name] for name in found})
