"""Hidden patches of pictures: which are hidden, what the loss is of, and what is refused."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Table
from transformers_jax.data.tables import of_python
from transformers_jax.models.plan import Plan
from transformers_jax.nn.param import params
from transformers_jax.processing.readers import Readers, new_processor
from transformers_jax.tasks import ImagePretraining
from transformers_jax.tasks.image_pretraining import hidden_patches
from transformers_jax.tasks.rows import Form
from transformers_jax.training.metrics import read

SIZES = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
IMAGE = dict(image_size=8, patch_size=2, num_channels=1)
DECODER = dict(
    decoder_hidden_size=8,
    decoder_num_attention_heads=2,
    decoder_num_hidden_layers=1,
    decoder_intermediate_size=8,
)


def batch(number, size=8):
    pixels = np.random.default_rng(0).normal(size=(3, 1, size, size)).astype(np.float32)
    return {"pixel_values": pixels, "number": np.array(number, np.int32)}


@pytest.fixture(scope="module")
def autoencoder():
    config = tj.ViTMAEConfig(**SIZES, **IMAGE, **DECODER, norm_pix_loss=True)
    return tj.from_config(config, head="pretraining", key=jax.random.key(0))


def test_whole_squares_are_hidden_and_others_for_another_key():
    hidden = lambda n: hidden_patches(jax.random.key(n), 5, (6, 9), (2, 3), 0.6)
    found = np.asarray(hidden(0)).reshape(5, 3, 2, 3, 3)
    assert (found == found[:, :, :1, :, :1]).all()  # a square is hidden whole
    assert (found.sum((1, 2, 3, 4)) == 6 * 6).all()  # 6 of 9 squares, of 6 patches each
    np.testing.assert_array_equal(hidden(0), hidden(0))
    assert (np.asarray(hidden(0)) != np.asarray(hidden(1))).any()


def test_the_loss_is_the_models_and_rows_that_fill_a_batch_count_nothing(autoencoder):
    task = ImagePretraining().of_family(autoencoder.config)
    whole = batch([0, 1, 2])
    drawn = jax.random.split(jax.random.key(0))[0]
    loss, figures = task.minimise(autoencoder, whole, None)
    given = task.given(autoencoder, whole, drawn)
    np.testing.assert_allclose(loss, autoencoder(**given).loss, rtol=1e-5)
    total, count = task.measure(autoencoder, batch([0, 1, -100]))[0]["loss"]
    assert count == 2 * 12  # of 16 patches, three quarters
    assert float(total) < float(figures["loss"][0])


def test_other_patches_are_hidden_in_each_step_and_the_same_in_evaluations(autoencoder):
    task = ImagePretraining().of_family(autoencoder.config)
    losses = [
        float(task.minimise(autoencoder, batch([0, 1, 2]), jax.random.key(n))[0]) for n in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]
    first, second = (task.measure(autoencoder, batch([0, 1, 2]))[0]["loss"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


WINDOWS = dict(
    image_size=8, patch_size=1, num_channels=1, embed_dim=8, depths=(1, 1), num_heads=(1, 2),
    window_size=4, encoder_stride=2,
)  # fmt: skip
HIDING = {
    "vit": tj.ViTConfig(**SIZES, **IMAGE, encoder_stride=2),
    "deit": tj.DeiTConfig(**SIZES, **IMAGE, encoder_stride=2),
    "swin": tj.SwinConfig(**WINDOWS),
    "swinv2": tj.Swinv2Config(**WINDOWS),
}


@pytest.mark.parametrize("name", HIDING)
def test_simmim_hides_patches_of_rows_that_are_pictures(name):
    config = HIDING[name]
    model = Plan(config, "masked_image_modeling").build()
    task = ImagePretraining(unit=4).of_family(config)
    assert (task.method, task.head) == ("simmim", "masked_image_modeling")
    given = task.objective.inputs(model, batch([0, 1, -100]))[0]
    model.check(given)
    share = 3 / 4 * 64 / config.patch_size**2  # three of four squares
    assert np.asarray(given["bool_masked_pos"]).sum(1).tolist() == [share, share, 0]


def test_a_perceiver_makes_pixels_again_and_rows_that_fill_a_batch_count_nothing():
    config = tj.PerceiverConfig(
        num_latents=3, d_latents=16, num_self_attends_per_block=1, num_self_attention_heads=2,
        num_cross_attention_heads=2, qk_channels=16, v_channels=16, image_size=4,
    )  # fmt: skip
    task = ImagePretraining().of_family(config)
    assert (task.method, task.head) == ("autoencoding", "image_autoencoding")
    model = tj.from_config(config, head=task.head, key=jax.random.key(0))
    rows = batch([0, 1, 2], size=4)
    rows["pixel_values"] = rows["pixel_values"].repeat(3, axis=1)
    loss, _ = task.minimise(model, rows, None)
    np.testing.assert_allclose(loss, model(rows["pixel_values"]).loss, rtol=1e-5)
    part = {**rows, "number": np.array([0, 1, -100], np.int32)}
    total, count = task.measure(model, part)[0]["loss"]
    assert count == 2
    own = model(rows["pixel_values"][:2]).loss
    np.testing.assert_allclose(total / count, own, rtol=1e-5)


@pytest.mark.slow
def test_a_swin_learns_hidden_pixels_and_then_classes(tmp_path):
    levels = np.random.default_rng(0).integers(0, 100, (24, 8, 8)).astype(np.uint8)
    levels[::2, :4] += 150
    table = [{"image": x, "label": ("high", "low")[n % 2]} for n, x in enumerate(levels)]
    model = tj.from_config(HIDING["swin"], head="masked_image_modeling", key=jax.random.key(0))
    tj.save_pretrained(model, tmp_path / "new")
    Readers(processor=new_processor(model.config)).save(tmp_path / "new")
    settings = dict(batch=8, learning_rate=3e-3)
    hidden = tj.finetune(
        tmp_path / "new", "image_pretraining", table, table, unit=2, epochs=8,
        out=tmp_path / "hidden", **settings,
    )  # fmt: skip
    losses = [x["eval_loss"] for x in read(tmp_path / "hidden/metrics.jsonl") if "eval_loss" in x]
    assert hidden.metrics["loss"] <= losses[0]
    assert losses[-1] < 0.9 * losses[0]
    tuned = tj.finetune(
        tmp_path / "hidden", "image_classification", table, table, epochs=8,
        out=tmp_path / "tuned", **settings,
    )  # fmt: skip
    assert tuned.metrics["accuracy"] == 1


def test_a_table_is_read_without_labels_or_a_tokenizer(autoencoder):
    records = of_python("train", [{"image": np.eye(8, dtype=np.uint8) * 255}] * 3)
    form = Form(
        Table(), None, autoencoder.abstract(), {"image": "image"},
        processor=new_processor(autoencoder.config),
    )  # fmt: skip
    task = ImagePretraining().of_family(autoencoder.config)
    rows = task.read(form, records)
    assert len(rows) == 3
    assert rows.examples[0].once["pixel_values"].shape == (1, 8, 8)
    with pytest.raises(ValueError, match=r"evaluate\(\) gives its loss"):
        task.respond(autoencoder, batch([0, 1, 2]))


@pytest.mark.parametrize("settings", [{"masked": 1.0}, {"masked": 0.0}, {"unit": 0}])
def test_shares_and_sizes_that_are_none_are_refused(settings):
    with pytest.raises(ValueError, match="lies between 0 and 1"):
        ImagePretraining(**settings)


# ---------------------------------------------------------------- what is made of an autoencoder


@pytest.fixture(scope="module")
def pretrained(autoencoder, tmp_path_factory):
    """The folder of an autoencoder, with its processor."""
    folder = tmp_path_factory.mktemp("mae")
    autoencoder.save_pretrained(folder)
    Readers(processor=new_processor(autoencoder.config)).save(folder)
    return folder


@pytest.mark.parametrize("head", ["ViTModel", "image_classification", "ViTForImageClassification"])
def test_the_encoder_of_an_autoencoder_is_a_vit(head, autoencoder, pretrained, tmp_path):
    """Its states are those of the autoencoder from which nothing is hidden, in a file of a ViT."""
    made = tj.from_pretrained(
        pretrained, head=head, num_labels=3, key=jax.random.key(1), return_report=True
    )
    assert type(made.model.config) is tj.ViTConfig
    assert {path.split(".")[0] for path in made.initialised} <= {"head", "pooler"}
    assert all(name.startswith("decoder.") for name in made.report.ignored)
    whole = tj.from_pretrained(pretrained, head="none", mask_ratio=0.0)
    pixels = batch([0, 1, 2])["pixel_values"]
    expected = whole(pixel_values=pixels).last_hidden_state
    found = made.model(pixel_values=pixels, output_hidden_states=True)
    if head == "ViTModel":
        np.testing.assert_array_equal(found.last_hidden_state, expected)
    else:
        weight, bias = (params(made.model)["head"]["classify"][n] for n in ("weight", "bias"))
        np.testing.assert_allclose(found.logits, expected[:, 0] @ weight + bias, atol=1e-6)
    made.model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "vit"
    again = tj.from_pretrained(tmp_path)
    same = jax.tree.map(np.array_equal, params(again), params(made.model))
    assert jax.tree.all(same)


def test_an_autoencoder_stays_one_where_it_is_asked_for(pretrained):
    for head in (None, "pretraining", "ViTMAEForPreTraining", "ViTMAEModel"):
        assert tj.from_pretrained(pretrained, head=head).config.model_type == "vit_mae"
    assert tj.AutoConfig.from_pretrained(pretrained).model_type == "vit_mae"
    assert tj.ViTConfig.from_pretrained(pretrained).hidden_size == 16
    with pytest.raises(ValueError, match="wrong shape"):  # the sizes are the file's
        tj.from_pretrained(pretrained, head="ViTModel", intermediate_size=24, key=jax.random.key(0))


@pytest.mark.slow
def test_classes_are_learned_from_an_autoencoder_and_probed(pretrained, tmp_path):
    """What a run exports is a ViT, of a checkpoint whose encoder it was."""
    levels = np.random.default_rng(0).integers(0, 100, (24, 8, 8)).astype(np.uint8)
    levels[::2, :4] += 150
    table = [{"image": x, "label": ("high", "low")[n % 2]} for n, x in enumerate(levels)]
    settings = dict(task="image_classification", batch=8)
    tuned = tj.finetune(
        pretrained, train=table, validation=table, out=tmp_path / "tuned", epochs=8,
        learning_rate=3e-3, **settings,
    )  # fmt: skip
    assert tuned.metrics["accuracy"] == 1
    said = json.loads((tmp_path / "tuned" / "model" / "config.json").read_text())
    assert (said["model_type"], said["architectures"]) == ("vit", ["ViTForImageClassification"])
    probed = tj.finetune(
        pretrained, train=table, validation=table, out=tmp_path / "probed", adapter="probe",
        **settings,
    )  # fmt: skip
    assert probed.metrics["accuracy"] == 1
