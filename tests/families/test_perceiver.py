"""Perceivers: what latents and queries read, what it costs, and what is refused."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.inputs.checks import OtherSize
from transformers_jax.training.flops import flops_per_row

CASES = Path(__file__).parent.parent / "conformance" / "cases"
KEY = jax.random.key(0)
SMALL = dict(
    num_latents=5,
    d_latents=16,
    d_model=16,
    num_self_attends_per_block=1,
    num_self_attention_heads=2,
    num_cross_attention_heads=2,
    vocab_size=30,
    max_position_embeddings=8,
    image_size=4,
    attention_probs_dropout_prob=0.0,
)
IMAGES = dict(**SMALL, qk_channels=16, v_channels=16)
LEARNED, FOURIER, CONV = (
    f"PerceiverForImageClassification{name}" for name in ("Learned", "Fourier", "ConvProcessing")
)


def model_of(head, **changes):
    return tj.from_config(tj.PerceiverConfig(**{**SMALL, **changes}), head=head, key=KEY)


def case(name):
    """(the model of a conformance case, the arguments of its call)."""
    return tj.from_pretrained(CASES / name), dict(np.load(CASES / name / "inputs.npz"))


def pixels(rows, high, wide):
    return np.random.default_rng(0).normal(size=(rows, 3, high, wide)).astype(np.float32)


# ---------------------------------------------------------------- what it costs


def compiled_flops(model, **inputs):
    """What the compiler counts of a forward pass; of a loop over tiles it would count one turn."""
    apply, _ = tj.functional(model.abstract(attention="reference"))
    params = tj.functional(model)[1]
    lowered = jax.jit(lambda params, inputs: apply(params, **inputs).logits).lower(params, inputs)
    return lowered.compile().cost_analysis()["flops"]


def of_words(length, config):
    model = tj.from_config(config(length), head="masked_lm", key=KEY)
    return compiled_flops(model, input_ids=np.ones((1, length), np.int32))


def test_the_cost_is_linear_in_the_input():
    """Of words, which are asked for at every position, and of pixels; attention among the words
    themselves costs four times as much for twice as many."""
    small = lambda length: tj.PerceiverConfig(**SMALL | {"max_position_embeddings": length})
    assert of_words(1024, small) < 2.1 * of_words(512, small)
    images = tj.PerceiverConfig(**IMAGES)
    model = tj.from_config(images, head=FOURIER, key=KEY)
    costs = [compiled_flops(model, pixel_values=pixels(1, 32, wide)) for wide in (16, 32)]
    assert costs[1] < 2.1 * costs[0]
    bert = lambda length: tj.BertConfig(  # the control
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=length,
    )  # fmt: skip
    assert of_words(1024, bert) > 3 * of_words(512, bert)


def test_the_cost_that_a_run_reports_is_linear_too():
    model = model_of("masked_lm", max_position_embeddings=4096)
    one, two, four = (flops_per_row(model, 1024 * n) for n in (1, 2, 4))
    assert four.forward - two.forward == pytest.approx(2 * (two.forward - one.forward))
    text = model_of("sequence_classification", max_position_embeddings=4096)
    assert flops_per_row(text, 2048).forward < 2.1 * flops_per_row(text, 1024).forward
    counted = flops_per_row(text, 512).forward
    compiled = compiled_flops(text, input_ids=np.ones((1, 512), np.int32))
    assert counted == pytest.approx(compiled, rel=0.25)  # norms and softmax are not counted


# ---------------------------------------------------------------- latents


def test_blocks_apply_the_same_layers_again():
    once, twice = (model_of("none", num_blocks=n) for n in (1, 2))
    assert twice.parameter_count == once.parameter_count
    inputs = np.random.default_rng(0).normal(size=(2, 7, 16)).astype(np.float32)
    params = tj.functional(once)[1]
    first, second = once(inputs), tj.bind(twice, params)(inputs, output_hidden_states=True)
    np.testing.assert_allclose(second.hidden_states[1], first.last_hidden_state, atol=1e-6)
    assert np.array_equal(second.hidden_states[1], second.hidden_states[2])  # as the reference
    assert np.abs(second.last_hidden_state - first.last_hidden_state).max() > 1e-3


def test_latents_are_asked_more_than_once():
    model, inputs = case("perceiver-video")
    points = {name: inputs.pop(name) for name in ("image_points", "audio_points")}
    whole = model(**inputs, **points).logits
    latents = model.encode(**inputs)
    assert latents.last_hidden_state.shape == (2, 5, 24)
    halves = [
        model(latents_outputs=latents, **{name: x[part] for name, x in points.items()}).logits
        for part in (slice(3), slice(3, None))
    ]
    image = jnp.concatenate([half["image"] for half in halves], axis=1)
    np.testing.assert_allclose(image, whole["image"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(halves[0]["label"], whole["label"], rtol=1e-4, atol=1e-4)
    sound = jnp.concatenate([half["audio"] for half in halves], axis=1)
    np.testing.assert_allclose(sound, whole["audio"], rtol=1e-4, atol=1e-4)


def test_the_label_of_a_video_is_not_shown():
    model, inputs = case("perceiver-video")
    before = model(**inputs).logits["label"]
    assert np.array_equal(model(**{**inputs, "label": inputs["label"] + 1}).logits["label"], before)
    louder = model(**{**inputs, "audio": inputs["audio"] + 1}).logits["label"]
    assert not np.array_equal(louder, before)  # the control


def test_a_call_is_spelled_as_in_hugging_face():
    model, inputs = case("perceiver-video")
    points = {name: inputs[f"{name}_points"] for name in ("image", "audio")}
    whole = {name: inputs[name] for name in ("image", "audio", "label")}
    theirs = model(inputs=whole, subsampled_output_points={**points, "label": None})
    assert np.array_equal(theirs.logits["image"], model(**inputs).logits["image"])
    words, inputs = case("perceiver-mlm")
    ids = inputs["input_ids"]
    assert np.array_equal(words(inputs=ids).logits, words(input_ids=ids).logits)
    with pytest.raises(ValueError, match="give inputs or input_ids, one of the two"):
        words(inputs=ids, input_ids=ids)


def test_weights_of_all_attention_are_given_out():
    model, inputs = case("perceiver-blocks")
    out = model(**inputs, output_attentions=True)
    assert [x.shape for x in out.attentions] == [(2, 4, 5, 5)] * 6
    assert [x.shape for x in out.cross_attentions] == [(2, 2, 5, 14), (2, 8, 14, 5)]
    padding = np.asarray(inputs["attention_mask"])[:, None, None] == 0
    assert not np.where(padding, out.cross_attentions[0], 0).any()


# ---------------------------------------------------------------- words


def test_labels_are_of_the_input_or_of_every_position():
    model = model_of("masked_lm")
    ids = np.random.default_rng(0).integers(0, 30, (2, 5))
    out = model(input_ids=ids, labels=ids)
    assert out.logits.shape == (2, 8, 30)
    filled = np.pad(ids, ((0, 0), (0, 3)), constant_values=-100)
    np.testing.assert_allclose(model(input_ids=ids, labels=filled).loss, out.loss, rtol=1e-6)
    with pytest.raises(ValueError, match=r"labels has shape \(2, 6\); expected 2 rows of 5 or 8"):
        model(input_ids=ids, labels=np.pad(ids, ((0, 0), (0, 1))))


def test_a_classifier_reads_the_words_of_a_file_of_another_head():
    loaded = tj.from_pretrained(
        CASES / "perceiver-mlm", head="sequence_classification", num_labels=3, key=KEY,
        return_report=True,
    )  # fmt: skip
    assert {path.split(".")[0] for path in loaded.initialised} == {
        "queries_embed",
        "queries",
        "head",
    }
    assert loaded.model(input_ids=np.ones((1, 4), int)).logits.shape == (1, 3)
    latents = tj.from_pretrained(CASES / "perceiver-mlm", head="none")
    assert latents(np.ones((1, 3, 16), np.float32)).last_hidden_state.shape == (1, 6, 32)


# ---------------------------------------------------------------- images


def test_classes_of_images_are_those_of_the_class_that_the_file_names():
    for name, head in (("perceiver-fourier", FOURIER), ("perceiver-conv", CONV)):
        for load in (tj.AutoModelForImageClassification.from_pretrained, tj.from_pretrained):
            options = {"head": "image_classification"} if load is tj.from_pretrained else {}
            assert load(CASES / name, **options).config.architectures == (head,)
    with pytest.raises(ValueError, match="does not fit"):
        tj.from_pretrained(CASES / "perceiver-fourier", head=LEARNED)


def test_images_of_another_size_are_read_where_positions_can_be_had():
    for head, changes in ((FOURIER, {}), (CONV, {})):
        model = model_of(head, **IMAGES, **changes)
        assert model(pixel_values=pixels(1, 9, 14)).logits.shape == (1, 2)
    model = model_of(LEARNED, **IMAGES)
    with pytest.raises(OtherSize, match=r"6 x 5 pixels.* 4 x 4.*interpolate_pos_encoding=True"):
        model(pixel_values=pixels(1, 6, 5))
    larger = model(pixel_values=pixels(1, 6, 5), interpolate_pos_encoding=True)
    assert larger.logits.shape == (1, 2)
    with pytest.raises(ValueError, match=r"2 x 9 pixels, of which the stem leaves nothing"):
        model_of(CONV, **IMAGES)(pixel_values=pixels(1, 2, 9))


def test_pixels_are_made_again_of_latents():
    model = model_of("image_autoencoding", **IMAGES)
    out = model(pixel_values=pixels(2, 4, 4))
    assert out.reconstruction.shape == (2, 3, 4, 4)
    error = np.square(out.reconstruction - pixels(2, 4, 4)).mean()
    np.testing.assert_allclose(out.loss, error, rtol=1e-6)
    with pytest.raises(ValueError, match=r"5 x 4 pixels, and 4 x 4 are made"):
        model(pixel_values=pixels(2, 5, 4))


def test_statistics_of_a_stem_follow_in_training():
    from transformers_jax.nn.image.batch_norm import norms_of

    assert [*norms_of(model_of(CONV, **IMAGES))] == ["inputs_embed.stem.first.norm"]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(num_latents=0), r"num_latents=0: sizes are at least 1"),
        (dict(num_self_attention_heads=3), r"d_latents \(16\) must be a multiple of num_self_att"),
        (dict(num_cross_attention_heads=3), r"d_latents \(16\) must be a multiple of num_cross"),
        (dict(v_channels=8), r"v_channels \(8\) must be d_latents \(16\).*give v_channels=16"),
        (dict(qk_channels=8), r"qk_channels.* \(8\) must be d_latents \(16\).*give v_channels=16"),
        (dict(train_size=(4,)), r"train_size is \(4,\); give 2 numbers"),
        (dict(output_shape=(4, 4)), r"output_shape is \(4, 4\); give 4 numbers"),
        (dict(cross_attention_shape_for_attention="k"), r"cross_attention_shape_for_attention"),
        (dict(image_size=(4, 8)), r"image_size"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        tj.PerceiverConfig(**{**SMALL, **changes})


def test_the_advice_about_channels_holds():
    with pytest.raises(ValueError, match=r"2 heads must divide the 13 channels of qk_channels"):
        model_of("none", d_model=13)
    with pytest.raises(ValueError, match=r"d_model \(12\) must be a multiple of 8.* 8 and 16"):
        model_of("masked_lm", d_model=12)
    assert model_of("none", d_model=13, qk_channels=16, v_channels=16).parameter_count
    assert model_of("none", qk_channels=8, v_channels=16).parameter_count


def test_latents_that_are_none_are_refused_in_any_network():
    from transformers_jax.nn.embed import LatentSpec

    with pytest.raises(ValueError, match=r"the number of latents=0 must be a whole number"):
        LatentSpec(0, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(label=None), r"label is missing; give image, audio, label together"),
        (dict(image=np.zeros((2, 1, 3, 8, 8), "f4")), r"image has shape .* 2 frames or more"),
        (dict(image=np.zeros((2, 3, 3, 8, 9), "f4")), r"image has .* multiples of 4"),
        (dict(audio=np.zeros((2, 95, 1), "f4")), r"audio has .* a multiple of 8 samples"),
        (dict(audio=np.zeros((1, 96, 1), "f4")), r"audio has .* all of as many rows"),
        (dict(label=np.zeros((2, 4), "f4")), r"label has .* \(rows, 5\)"),
        (dict(audio_points=None), r"give audio_points, .* np.arange\(12\) of the 12"),
        (dict(image_points=np.array([192])), r"image_points\[0\] is 192, outside the points"),
        (dict(image_points=np.array([[1]])), r"image_points must have 1 axes"),
    ],
)
def test_a_video_that_cannot_be_read_is_refused(changes, message):
    model, inputs = case("perceiver-video")
    with pytest.raises(ValueError, match=message):
        model(**{**inputs, **changes})


def test_frames_of_another_size_have_no_flow():
    model, inputs = case("perceiver-flow")
    with pytest.raises(ValueError, match=r"inputs has shape .* expected \(rows, 2, 27, 6, 8\)"):
        model(inputs["inputs"][..., :7])
    with pytest.raises(ValueError, match="give inputs"):
        model()
