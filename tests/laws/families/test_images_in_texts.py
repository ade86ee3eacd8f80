"""Images in texts: packed documents leak nothing, steps are whole rows, errors name places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.families.test_modalities import PATCHES, inputs_of, same

IN_TEXTS = ("llava", "paligemma", "blip-2")
EVERY = (*IN_TEXTS, "idefics")
PROMPTS = {"max_new_tokens": 4, "min_new_tokens": 4}


def packed(model):
    """One row of two documents, each an image behind its first word, a prompt and an answer."""
    image, half = model.reading.placeholder.id, PATCHES + 6
    rng = np.random.default_rng(3)
    documents = [rng.integers(3, 52, 7) for _ in range(2)]
    ids = np.concatenate([np.insert(words, [1] * PATCHES, image) for words in documents])
    index = np.arange(2 * (half + 1)) % (half + 1)
    tags = {"document": np.repeat([0, 1], half + 1), "position": index}
    inputs = {
        "input_ids": ids[None].astype(np.int32),
        "pixel_values": jnp.asarray(rng.normal(size=(2, 3, 12, 12)), jnp.float32),
        "tags": {name: tag[None].astype(np.int32) for name, tag in tags.items()},
    }
    if "token_type_ids" in model.arguments() and model.config.model_type == "paligemma":
        inputs["token_type_ids"] = (index >= PATCHES + 3)[None].astype(np.int32)
    return inputs, half + 1


def moved(model, inputs, image):
    """The tokens whose logits an image of the row changes."""
    before = model(**inputs).logits
    pixels = inputs["pixel_values"].at[image].add(1)
    return np.abs(model(**{**inputs, "pixel_values": pixels}).logits - before).max(-1)[0] > 1e-6


@pytest.mark.parametrize("family", IN_TEXTS)
def test_an_image_of_a_packed_row_is_read_by_no_other_document(family, tiny):
    model = tiny(family, mask=tj.OWN & tj.Same("document"))
    inputs, length = packed(model)
    first, second = (moved(model, inputs, image) for image in (0, 1))
    assert first[1:length].all()
    assert not first[length:].any()
    assert second[length + 1 :].all()
    assert not second[:length].any()
    tags = {"position": inputs["tags"]["position"]}
    leaking = tiny(family)  # the control: without the mask the first document is read
    open_row = {**inputs, "tags": {}} | ({"tags": tags} if family == "blip-2" else {})
    open_row.pop("tags")
    assert moved(leaking, open_row, 0)[length:].any()


@pytest.mark.parametrize("family", IN_TEXTS)
def test_a_packed_row_gives_what_its_documents_give(family, tiny):
    model = tiny(family, mask=tj.OWN & tj.Same("document"))
    inputs, length = packed(model)
    whole = model(**inputs).logits
    alone = tiny(family)
    for number, part in enumerate((slice(None, length), slice(length, None))):
        own = {name: x[:, part] for name, x in inputs.items() if name.endswith("ids")}
        pixels = inputs["pixel_values"][number : number + 1]
        same(whole[:, part], alone(**own, pixel_values=pixels).logits)


def test_a_word_reads_the_images_of_its_mask_only(tiny):
    model = tiny("idefics")
    inputs = inputs_of(model, labels=False)
    inputs.pop("attention_mask")
    before = model(**inputs).logits
    for image, first in ((0, 1), (1, 3)):
        pixels = inputs["pixel_values"].at[1, image].add(1)
        changed = np.abs(model(**{**inputs, "pixel_values": pixels}).logits - before).max(-1) > 1e-6
        assert not changed[[0, 2]].any()
        assert not changed[1, :first].any()
        assert changed[1, first:].all()
    seen = {**inputs, "image_attention_mask": jnp.ones_like(inputs["image_attention_mask"])}
    pixels = inputs["pixel_values"].at[1, 1].add(1)
    difference = model(**{**seen, "pixel_values": pixels}).logits - model(**seen).logits
    assert np.abs(difference[1, 0]).max() > 1e-6  # the control


@pytest.mark.parametrize("family", EVERY)
def test_generation_with_images_is_that_of_whole_rows(family, tiny):
    model = tiny(family)
    inputs = inputs_of(model, labels=False)
    written = model.generate(**inputs, **PROMPTS)
    alone = {name: x[1:2] for name, x in inputs.items()}
    np.testing.assert_array_equal(model.generate(**alone, **PROMPTS)[0], written[1])
    ids, length = alone["input_ids"], alone["input_ids"].shape[1]
    for _ in range(4):
        row = {**alone, "input_ids": ids, "attention_mask": jnp.ones_like(ids)}
        more = ids.shape[1] - length
        if "token_type_ids" in alone:
            row["token_type_ids"] = jnp.pad(
                alone["token_type_ids"], ((0, 0), (0, more)), constant_values=1
            )
        if "image_attention_mask" in alone:
            mask = alone["image_attention_mask"]
            row["image_attention_mask"] = jnp.concatenate([mask, *[mask[:, -1:]] * more], axis=1)
        scores = model(**row).logits[:, -1]
        if (end := model.config.side("decoder").eos_token_id) is not None:
            scores = scores.at[:, end].set(-jnp.inf)
        ids = jnp.concatenate([ids, scores.argmax(-1)[:, None].astype(ids.dtype)], axis=1)
    np.testing.assert_array_equal(ids[0], written[1])


@pytest.mark.parametrize("family", IN_TEXTS)
def test_more_or_fewer_places_than_vectors_are_refused_with_both_numbers(family, tiny):
    model = tiny(family)
    inputs = inputs_of(model, labels=False)
    image = model.reading.placeholder.id
    fewer = inputs["input_ids"].at[1, 1].set(5)
    more = inputs["input_ids"].at[1, 0].set(image)
    for ids, count in ((fewer, 26), (more, 28)):
        for call in (model, model.generate):
            with pytest.raises(
                ValueError, match=f"hold {count} of the image token .* 27 are needed"
            ):
                call(**{**inputs, "input_ids": ids})
    without = {name: x for name, x in inputs.items() if name != "pixel_values"}
    problem = "give pixel_values" if family == "blip-2" else "27 of the image token .* 0 are needed"
    with pytest.raises(ValueError, match=problem):
        model(**without)
    words = {"input_ids": jnp.full_like(fewer, 5), "pixel_values": inputs["pixel_values"]}
    with pytest.raises(ValueError, match="hold 0 of the image token"):
        model(**words)
    vectors = {"inputs_embeds": jnp.zeros((3, 4, 20)), "pixel_values": inputs["pixel_values"]}
    with pytest.raises(ValueError, match="give input_ids"):
        model(**vectors)


def test_a_mask_of_images_has_as_many_as_there_are(tiny):
    model = tiny("idefics")
    inputs = inputs_of(model, labels=False)
    mask, pixels = inputs["image_attention_mask"], inputs["pixel_values"]
    for changes, words in (
        ({"image_attention_mask": mask[:, :, :1]}, "1 images a row, and pixel_values of 2"),
        ({"image_attention_mask": mask[:, :4]}, "image_attention_mask has shape"),
        ({"image_attention_mask": None}, "give image_attention_mask"),
        ({"pixel_values": pixels[:, 0]}, "rows, images of a row"),
        ({"pixel_values": pixels[:2]}, "images of 2 rows, and the text has 3 rows"),
        ({"pixel_values": None}, "give pixel_values"),
    ):
        with pytest.raises(ValueError, match=words):
            model(**{**inputs, **changes})


def test_an_image_features_call_gives_what_a_text_reads(tiny):
    for family in IN_TEXTS:
        model = tiny(family)
        inputs = inputs_of(model, labels=False)
        vectors = model.get_image_features(inputs["pixel_values"]).pooler_output
        whole = model(**inputs).image_hidden_states
        same(vectors.reshape(whole.shape), whole)


@pytest.mark.parametrize(("said", "types"), [(None, 0), (True, 0), (False, 1)])
def test_a_call_without_token_types_is_all_prefix_unless_the_text_is_causal(said, types, tiny):
    model = tiny("paligemma")
    whole = model.config
    config = whole.replace(text_config=whole.text_config.replace(use_bidirectional_attention=said))
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    inputs, _ = packed(model)
    inputs.pop("tags")
    shape = inputs.pop("token_type_ids").shape
    alone = np.asarray(model(**inputs).logits)
    same, other = (
        np.asarray(model(**inputs, token_type_ids=np.full(shape, kind, np.int32)).logits)
        for kind in (types, 1 - types)
    )
    np.testing.assert_allclose(alone, same, atol=1e-6)
    if said is not True:  # of which every token reads all
        assert np.abs(alone - other).max() > 1e-4
