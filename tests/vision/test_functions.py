"""`classify`, `encode_images` and `caption`: what they give is what the model says by itself."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.vision.models import pixels


@pytest.fixture(scope="module")
def vit(vision_model):
    folder = vision_model("vit")
    return tj.from_pretrained(folder), tj.load_processor(folder)


def test_labels_are_those_of_the_largest_logits(vit, picture_files):
    model, processor = vit
    files = picture_files[1]
    logits = model(**processor(images=files)).logits
    found = tj.classify(model, files, processor=processor, batch_size=2)
    names = ("cat", "dog", "red fox")
    probabilities = np.asarray(jax.nn.softmax(logits))
    for row, labels in zip(probabilities, found, strict=True):
        assert [one["label"] for one in labels] == [names[n] for n in np.argsort(-row)]
        np.testing.assert_allclose([one["score"] for one in labels], -np.sort(-row), rtol=1e-4)
    best = tj.classify(model, str(files[0]), processor=processor, top_k=1)
    assert [len(labels) for labels in best] == [1]
    given = tj.classify(model, processor(images=files), processor=processor, batch_size=2)
    assert [one[0]["label"] for one in given] == [one[0]["label"] for one in found]


def test_several_labels_are_judged_each_by_itself(vit):
    model, processor = vit
    several = tj.from_config(
        model.config.replace(problem_type="multi_label_classification"),
        head="image_classification",
        key=jax.random.key(0),
    )
    images = {"pixel_values": pixels(2)}
    found = tj.classify(several, images, processor=processor)
    logits = several(**images).logits
    for row, labels in zip(np.asarray(jax.nn.sigmoid(logits)), found, strict=True):
        np.testing.assert_allclose([one["score"] for one in labels], -np.sort(-row), rtol=1e-5)
    assert abs(sum(one["score"] for one in found[0]) - 1) > 1e-3


def test_vectors_are_those_of_the_pooler_or_pooled(vit, vision_model, picture_files):
    model, processor = vit
    files = picture_files[1]
    with pytest.raises(ValueError, match="pooling='cls'"):
        tj.encode_images(model, files, processor=processor)
    vectors = tj.encode_images(model, files, processor=processor, pooling="cls", batch_size=2)
    states = tj.features(model, **processor(images=files))
    np.testing.assert_allclose(vectors, states[:, 0], rtol=1e-4, atol=1e-5)
    folder = vision_model("clip")
    clip, both = tj.from_pretrained(folder), tj.load_processor(folder)
    vectors = tj.encode_images(clip, files, processor=both, batch_size=2, normalize=True)
    texts = ["a photo of a dog .", "red fox"]
    words = tj.encode_texts(clip, texts, processor=both, normalize=True)
    inputs = {**both(images=files), **both(text=texts, padding=True)}
    cosines = clip(**inputs).logits_per_image / np.exp(np.asarray(clip.head.scale))
    np.testing.assert_allclose(vectors @ words.T, cosines, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="leave pooling out"):
        tj.encode_images(clip, files, processor=both, pooling="cls")


@pytest.mark.parametrize("kind", ["blip", "described", "llava"])
def test_captions_are_what_the_model_writes(kind, vision_model, picture_files):
    folder = vision_model(kind)
    model, processor = tj.from_pretrained(folder), tj.load_processor(folder)
    files = picture_files[1][:3]
    prompt = "<image> a photo" if kind == "llava" else "a photo"
    options = dict(processor=processor, max_new_tokens=6, prompt=prompt)
    found = tj.caption(model, files, **options)
    assert len(found) == 3
    assert tj.caption(model, files, **options, batch_size=2) == found
    if kind == "llava":
        inputs = processor(images=files, text=[prompt] * 3, padding=True)
        rows = np.asarray(model.generate(**inputs, max_new_tokens=6))
        expected = rows[:, inputs["input_ids"].shape[1] :]
    else:
        assert all(text.startswith("a photo") for text in found)
        plain = tj.caption(model, files, processor=processor, max_new_tokens=6)
        arrays = processor(images=files)
        expected = np.asarray(model.generate(**arrays, max_new_tokens=6))[:, 1:]
        found = plain
    ends = lambda row: next((n for n, token in enumerate(row) if token in (0, 2)), len(row))
    words = [processor.tokenizer.decode(row[: ends(row)], True).strip() for row in expected]
    assert found == words


@pytest.mark.parametrize("kind", ["blip_2", "blip_2_t5", "paligemma", "idefics"])
def test_captions_of_language_models_are_what_stands_behind_the_prompt(
    kind, vision_model, picture_files
):
    folder = vision_model(kind)
    model, processor = tj.from_pretrained(folder), tj.load_processor(folder)
    files = picture_files[1][:3]
    options = dict(processor=processor, max_new_tokens=6)
    read = lambda n: processor(images=[files[n]], text=["a photo of"])
    inputs = [read(n) for n in range(3)]
    found = tj.caption(model, files, **options, prompt="a photo of", batch_size=2)
    assert found == [_written(model, processor, one, one["input_ids"].shape[1]) for one in inputs]
    assert any(found)
    if not kind.startswith("blip_2"):
        with pytest.raises(ValueError, match="give prompt="):
            tj.caption(model, files, **options)
        return
    plain = tj.caption(model, files, **options, batch_size=2)
    inputs = [processor(images=[file]) for file in files]
    assert plain == [_written(model, processor, one, 4) for one in inputs]
    ids = np.array([[3, 3, 3, 1]])
    said = model.generate(**inputs[0], input_ids=ids, max_new_tokens=6)
    np.testing.assert_array_equal(model.generate(**inputs[0], max_new_tokens=6), said)


def _written(model, processor, inputs, prompt):
    """What a model writes of one picture, token by token."""
    row = np.asarray(model.generate(**inputs, max_new_tokens=6))[0]
    row = row[1 if model.is_encoder_decoder else prompt :].tolist()
    ends = [n for n, token in enumerate(row) if token in (0, 2)]
    return processor.tokenizer.decode(row[: ends[0]] if ends else row, True).strip()


@pytest.mark.parametrize(
    ("kind", "call", "words"),
    [
        ("clip", lambda m, p: tj.classify(m, pixels(1), processor=p), "call tj.zero_shot"),
        ("vit", lambda m, p: tj.classify(m, [], processor=p), "holds no picture"),
        ("vit", lambda m, p: tj.classify(m, pixels(1), processor=p, top_k=0), "top_k"),
        ("vit", lambda m, p: tj.caption(m, pixels(1), processor=p), "writes no texts"),
        ("vit", lambda m, p: tj.encode_texts(m, ["a"], processor=p), "does not compare"),
        ("clip", lambda m, p: tj.encode_texts(m, [], processor=p), "one or more texts"),
        ("llava", lambda m, p: tj.caption(m, pixels(1), processor=p), "give prompt="),
        ("blip", lambda m, p: tj.caption(m, pixels(1), processor=None), "need the tokenizer"),
        (
            "idefics",
            lambda m, p: tj.caption(m, pixels(1), processor=p, prompt="<image> a"),
            "leave it out",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(kind, call, words, vision_model):
    folder = vision_model(kind)
    with pytest.raises(ValueError, match=words):
        call(tj.from_pretrained(folder), tj.load_processor(folder))
