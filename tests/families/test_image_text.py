"""Towers for images and texts of one family or of two: how they are built, named, and refused."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from transformers_jax.nn.embed.flat_patches import antialiased

CASES = Path(__file__).parent.parent / "conformance" / "cases"
SIZES = dict(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=10)
WORDS = dict(**SIZES, vocab_size=40, max_position_embeddings=10)
IMAGES = dict(**SIZES, image_size=8, patch_size=4)
KEY = jax.random.key(0)


def inputs_of(case):
    return dict(np.load(CASES / case / "inputs.npz"))


def test_each_tower_is_read_out_of_a_file_of_both():
    whole, inputs = tj.from_pretrained(CASES / "siglip"), inputs_of("siglip")
    image = tj.from_pretrained(CASES / "siglip", head="SiglipVisionModel")
    text = tj.from_pretrained(CASES / "siglip", head="SiglipTextModel")
    out = whole(**inputs)
    np.testing.assert_allclose(
        image(inputs["pixel_values"]).pooler_output,
        out.vision_model_output.pooler_output,
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        text(inputs["input_ids"]).pooler_output, out.text_model_output.pooler_output, rtol=1e-5
    )


def test_a_classifier_takes_the_tower_of_a_file_of_both():
    loaded = tj.from_pretrained(
        CASES / "siglip", head="SiglipForImageClassification", num_labels=3, key=KEY,
        return_report=True,
    )  # fmt: skip
    assert loaded.initialised
    assert all(path.startswith("head.") for path in loaded.initialised)
    images = inputs_of("siglip")["pixel_values"]
    assert loaded.model(pixel_values=images).logits.shape == (3, 3)


def test_names_in_memory_are_read_of_towers_of_another_family(tmp_path):
    """Transformers v5 writes ViT's names in memory where it is asked to, also within a model."""
    for case, prefix in (
        ("vision-encoder-decoder", "encoder."),
        ("vision-text-dual-encoder", "vision_model."),
    ):
        source = CASES / case
        tensors = {}
        for name, x in load_file(source / "model.safetensors").items():
            if name.startswith(f"{prefix}encoder.layer."):
                name = name.replace(f"{prefix}encoder.layer.", f"{prefix}layers.")
                for old, new in (
                    ("attention.attention.query", "attention.q_proj"),
                    ("attention.attention.key", "attention.k_proj"),
                    ("attention.attention.value", "attention.v_proj"),
                    ("attention.output.dense", "attention.o_proj"),
                    ("intermediate.dense", "mlp.fc1"),
                    (".output.dense", ".mlp.fc2"),
                ):
                    name = name.replace(old, new)
            tensors[name] = x
        folder = tmp_path / case
        folder.mkdir()
        (folder / "config.json").write_text((source / "config.json").read_text())
        save_file(tensors, folder / "model.safetensors")
        expected, actual = (tj.functional(tj.from_pretrained(f))[1] for f in (source, folder))
        assert jax.tree.all(jax.tree.map(np.array_equal, actual, expected))


def test_resized_positions_are_those_of_torch():
    """Linear interpolation with antialias, of torch 2.13: a ramp of 4, made longer and shorter."""
    ramp = jnp.arange(4, dtype=jnp.float32)
    weights = lambda size: antialiased(jnp.arange(size)[None], jnp.full((1, 1), size), 4)[0]
    np.testing.assert_allclose(weights(4) @ ramp, ramp, atol=1e-6)
    np.testing.assert_allclose(weights(2) @ ramp, [0.714286, 2.285714], atol=1e-5)
    np.testing.assert_allclose(weights(1) @ ramp, [1.5], atol=1e-6)
    longer = weights(8) @ ramp
    np.testing.assert_allclose(longer, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)


def test_shapes_that_rows_of_patches_do_not_hold_are_refused():
    model, inputs = tj.from_pretrained(CASES / "siglip2"), inputs_of("siglip2")
    shapes = inputs.pop("spatial_shapes")
    for wrong, words in (
        (None, "give spatial_shapes with pixel_values"),
        (shapes[:2], r"has shape \(2, 2\); expected Int\[3, 2\]"),
        (shapes * 3, r"spatial_shapes\[0\] is 9 x 15, which is not within the 19 patches"),
        (shapes * 0, "at least 1"),
        (shapes * 1.0, "must hold integers"),
    ):
        with pytest.raises(ValueError, match=words):
            model(**inputs, spatial_shapes=wrong)
    with pytest.raises(ValueError, match="images as rows of their patches"):
        model(**{**inputs, "pixel_values": np.zeros((3, 2, 12, 12))}, spatial_shapes=shapes)
    apply, params = tj.functional(model)
    out = jax.jit(lambda shapes: apply(params, **inputs, spatial_shapes=shapes).image_embeds)
    assert np.isnan(out(shapes * np.array([[3], [1], [1]]))[0]).all()  # never another image's
    assert np.isfinite(out(shapes)).all()  # the control


def test_a_captioner_and_a_dual_encoder_begin_with_two_checkpoints(tmp_path):
    image = tj.from_config(tj.ViTConfig(**IMAGES), key=KEY)
    writer = tj.from_config(
        tj.GPT2Config(vocab_size=40, n_embd=8, n_layer=1, n_head=2, n_positions=10),
        head="causal_lm",
        key=KEY,
    )
    text = tj.from_config(tj.BertConfig(**WORDS), key=KEY)
    for name, model in (("image", image), ("writer", writer), ("text", text)):
        model.save_pretrained(tmp_path / name)
    pixels = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    captioner = tj.VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "image", tmp_path / "writer", key=KEY,
        pad_token_id=0, decoder_start_token_id=1, eos_token_id=2,
    )  # fmt: skip
    states = captioner.encode(pixels).last_hidden_state
    np.testing.assert_allclose(states, image(pixels).last_hidden_state, rtol=1e-5, atol=1e-6)
    assert captioner.generate(pixel_values=pixels, max_new_tokens=3).shape[0] == 2
    dual = tj.VisionTextDualEncoderModel.from_vision_text_pretrained(
        tmp_path / "image", tmp_path / "text", key=KEY, projection_dim=6
    )
    ids = np.array([[3, 4], [5, 6]])
    out = dual(input_ids=ids, pixel_values=pixels)
    np.testing.assert_allclose(
        out.text_model_output.pooler_output, text(ids).pooler_output, rtol=1e-5, atol=1e-6
    )
    tower = tj.VisionTextDualEncoderModel.from_vision_text_pretrained(
        CASES / "clip", tmp_path / "text", key=KEY
    )
    assert tower.config.vision_config.model_type == "clip_vision_model"


def test_towers_that_cannot_be_compared_are_refused():
    dual = lambda **parts: tj.from_config(tj.VisionTextDualEncoderConfig(**parts), key=KEY)
    gpt2 = tj.GPT2Config(vocab_size=40, n_embd=8, n_layer=1, n_head=2)
    with pytest.raises(ValueError, match="text_config: gpt2 makes no vector of input_ids"):
        dual(text_config=gpt2, vision_config=tj.ViTConfig(**IMAGES))
    with pytest.raises(ValueError, match="vision_config: bert makes no vector of pixel_values"):
        dual(text_config=tj.BertConfig(**WORDS), vision_config=tj.BertConfig(**WORDS))
    siglip = lambda text, vision: tj.from_config(
        tj.SiglipConfig(
            text_config=tj.SiglipTextConfig(**WORDS, **text),
            vision_config=tj.SiglipVisionConfig(**IMAGES, **vision),
        ),
        key=KEY,
    )
    with pytest.raises(ValueError, match="siglip_vision_model makes no vector of pixel_values"):
        siglip({}, dict(vision_use_head=False))
    with pytest.raises(ValueError, match=r"texts have 7 numbers .* and images 12"):
        siglip(dict(projection_size=7), {})
    with pytest.raises(ValueError, match=r"num_patches=10 .* 9 or 16"):
        tj.from_config(tj.Siglip2VisionConfig(**SIZES, num_patches=10), key=KEY)


def test_a_prompt_of_a_caption_is_continued_as_a_tokenizer_gives_it():
    model = tj.from_pretrained(CASES / "blip-caption")
    pixels = inputs_of("blip-caption")["pixel_values"]
    bos, sep = 4, 3
    plain = model.generate(pixels, max_new_tokens=4)
    assert (plain[:, 0] == bos).all()
    prompt = np.array([[9, 20, 21, sep]] * 2)
    written = model.generate(pixels, prompt, np.ones_like(prompt), max_new_tokens=4)
    assert (written[:, :3] == np.array([bos, 20, 21])).all()
    same = tj.generate(model, np.array([[bos, 20, 21]] * 2), pixel_values=pixels, max_new_tokens=4)
    np.testing.assert_array_equal(written, same)
    out = model(pixel_values=pixels, input_ids=same)
    assert out.image_embeds.shape == out.last_hidden_state.shape == (2, 17, 32)
    assert json.loads((CASES / "blip-caption" / "generation_config.json").read_text())[
        "eos_token_id"
    ] != sep  # fmt: skip  # the text ends with sep_token_id, whatever the file says


def test_every_image_is_scored_with_every_text_or_with_its_own():
    model, inputs = tj.from_pretrained(CASES / "blip-retrieval"), inputs_of("blip-retrieval")
    pairs = model(**inputs).itm_score
    assert pairs.shape == (3, 2)
    cosines = model(**inputs, use_itm_head=False).itm_score
    assert cosines.shape == (3, 3)
    assert np.abs(cosines).max() <= 1.00001
    one = {**inputs, "pixel_values": inputs["pixel_values"][:1]}
    few = model(**one, use_itm_head=False).itm_score
    np.testing.assert_allclose(few, cosines[:1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="source has 1 rows and the decoder 3"):
        model(**one)
    with pytest.raises(ValueError, match="give pixel_values"):
        model(input_ids=inputs["input_ids"], use_itm_head=False)


def test_questions_are_answered_and_labels_are_read():
    model, inputs = tj.from_pretrained(CASES / "blip-question"), inputs_of("blip-question")
    labels = inputs.pop("labels")
    out = model(**inputs, labels=labels)
    given = model(**inputs, decoder_input_ids=labels, labels=labels)
    np.testing.assert_allclose(out.loss, given.loss, rtol=1e-6)
    hidden = np.where(np.arange(4) == 3, -100, labels)  # what is not predicted is read as padding
    assert abs(model(**inputs, labels=hidden).loss - out.loss) > 1e-3
    written = model.generate(**inputs, max_new_tokens=3, decoder_start_token_id=1, eos_token_id=2)
    assert written.shape[0] == 3
    logits = model(**inputs, decoder_input_ids=written[:, :1]).logits
    best = np.argmax(logits[:, 0], -1)
    np.testing.assert_array_equal(best, written[:, 1])
    with pytest.raises(ValueError, match="give decoder_input_ids"):
        model(**inputs)
    config = model.config.replace(vision_config=tj.BlipVisionConfig(**IMAGES))
    with pytest.raises(ValueError, match="one hidden_size"):
        tj.from_config(config, head="BlipForQuestionAnswering", key=KEY)


def test_a_language_model_whose_words_are_narrower_than_its_layers_takes_no_images():
    config = tj.from_pretrained(CASES / "blip-2").config
    text = config.text_config
    build = lambda width: tj.from_config(
        config.replace(text_config=text.replace(word_embed_proj_dim=width)),
        head="causal_lm",
        key=jax.random.key(0),
    )
    build(text.hidden_size)  # as the error advises
    with pytest.raises(ValueError, match="word_embed_proj_dim equal to hidden_size"):
        build(text.hidden_size // 2)
