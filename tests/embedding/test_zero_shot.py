"""Images classified by the names of classes."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.embedding.zero_shot import class_vectors

SIZES = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12)
TEXT = dict(**SIZES, vocab_size=128, max_position_embeddings=24)
VISION = dict(**SIZES, image_size=8, patch_size=4)
LABELS = ("cat", "horse", "fox")
TEMPLATES = ("a photo of a {}.", "{}!")


def processor(text=None, images=None, padding=True, max_length=None):
    """A token per letter, and pixels as they are."""
    if images is not None:
        return {"pixel_values": np.asarray(images)}
    rows = [[ord(letter) for letter in each] + [3] for each in text]
    width = max_length if padding == "max_length" else max(map(len, rows))
    ids = np.array([row + [1] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 1).astype(int)}


@pytest.fixture(scope="module", params=["clip", "siglip"])
def model(request):
    if request.param == "clip":
        config = tj.CLIPConfig(
            text_config=tj.CLIPTextConfig(**TEXT, eos_token_id=3, pad_token_id=1),
            vision_config=tj.CLIPVisionConfig(**VISION),
            projection_dim=6,
        )
    else:
        towers = tj.SiglipTextConfig(**TEXT), tj.SiglipVisionConfig(**VISION)
        config = tj.SiglipConfig(text_config=towers[0], vision_config=towers[1])
    return tj.from_config(config, key=jax.random.key(0))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)


def test_one_template_gives_the_scores_of_the_model_itself(model, images):
    found = tj.zero_shot(model, images, LABELS, processor=processor, batch_size=2)
    siglip = model.config.model_type == "siglip"
    whole = dict(padding="max_length", max_length=24) if siglip else {}
    texts = processor(text=[f"a photo of a {label}." for label in LABELS], **whole)
    if siglip:
        texts.pop("attention_mask")
    logits = model(**texts, pixel_values=images).logits_per_image
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-5)
    sums = found.probabilities.sum(1)
    assert (np.abs(sums - 1) > 1e-3).all() if siglip else np.allclose(sums, 1, atol=1e-5)
    assert found.names == tuple(LABELS[best] for best in np.argmax(logits, axis=1))


def test_several_templates_are_averaged_as_unit_vectors(model):
    of = lambda *templates: class_vectors(model, LABELS, processor=processor, templates=templates)
    both, one, other = of(*TEMPLATES), of(TEMPLATES[0]), of(TEMPLATES[1])
    if model.config.model_type == "clip":  # shorter texts are padded in the ensemble
        np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, rtol=1e-5)
    mean = (one + other) / 2
    mean = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(both, mean, rtol=1e-4, atol=1e-5)
    assert np.abs(both - one).max() > 1e-3  # the control


def test_wrong_arguments_are_refused(model, images):
    ask = lambda labels=LABELS, images=images, model=model, **options: tj.zero_shot(
        model, images, labels, processor=processor, **options
    )
    for call, words in (
        (lambda: ask("cat"), "expected a list of the names"),
        (lambda: ask([]), "expected a list of the names"),
        (lambda: ask(["cat", "cat"]), "each once"),
        (lambda: ask(templates=("a photo",)), "with {} where a name stands"),
        (lambda: ask(templates="a {}"), "expected texts with"),
        (lambda: ask(images=images[:0]), "0 images"),
        (lambda: ask(batch_size=0), "batch_size=0"),
        (
            lambda: ask(model=tj.from_config(tj.ViTConfig(**VISION), key=jax.random.key(0))),
            "does not compare images with texts",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            call()
