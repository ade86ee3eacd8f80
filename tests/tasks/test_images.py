"""ImageClassification: pictures of any source, by a processor in place of a tokenizer."""

import dataclasses
import io
import json
import re
import sys
import tarfile

import jax
import numpy as np
import pyarrow as arrow
import pytest
from PIL import Image
from pyarrow import parquet

import transformers_jax as tj
from tests.data.test_sources import prepare
from tests.docs.test_task_pages import rows_of
from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Table
from transformers_jax.data.mixed import some_of, with_partners
from transformers_jax.data.tables import open_table
from transformers_jax.models.timm_mixer import TimmMixerConfig
from transformers_jax.optim import AdamW, Constant
from transformers_jax.processing.readers import Readers, new_processor, with_settings
from transformers_jax.runs.fit import fit
from transformers_jax.tasks import ImageClassification
from transformers_jax.tasks.corpus import read_task
from transformers_jax.tasks.images import pictures_of
from transformers_jax.tasks.rows import Form
from transformers_jax.training.config import Evaluation, Sample, TrainConfig
from transformers_jax.training.exported import is_model
from transformers_jax.training.metrics import read

pytestmark = pytest.mark.usefixtures("without_pictures")

MODEL = dict(
    image_size=12, patch_size=6, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=16,
)  # fmt: skip
EVERYTHING = Augment(crop=(0.4, 1.0), flip=0.5, layers=1, erase=0.5, mixup=0.4, cutmix=1.0, mix=0.8)
NAMES = ("blue", "red")


def pictures(count, seed=0):
    """(uint8 [H W 3], class): what is red is of class 1."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        image = rng.integers(0, 120, (14, 18, 3)).astype(np.uint8)
        image[..., 2 * (1 - number % 2)] += 120
        yield image, number % 2


def encoded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of pictures, whose folders are classes."""
    root = tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 22), ("test", 8)):
        for number, (image, label) in enumerate(pictures(count, seed=count)):
            file = root / split / NAMES[label] / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(image))
    return root


def config_of(folder, out, **settings):
    """A short run."""
    data = Table(train=f"{folder}/train", validation=f"{folder}/test", batch=4)
    config = TrainConfig(
        model=tj.ViTConfig(**MODEL),
        objective=ImageClassification(),
        data=data,
        optimizer=AdamW(peak=3e-3, schedule=Constant()),
        steps=8,
        evaluation=Evaluation(every=4),
        sample=Sample(count=0),
        save_every=4,
        out=str(out),
    )
    return config.replace(**settings)


def losses(folder):
    return {line["step"]: line["loss_hex"] for line in read(folder / "metrics.jsonl")}


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """A run with all augmentations, of two passes."""
    out = tmp_path_factory.mktemp("images") / "run"
    objective = ImageClassification(augment=EVERYTHING, smoothing=0.1)
    fit(config_of(folder, out, objective=objective))
    return out


def test_a_continued_run_with_augmentations_has_the_same_bits(finished, folder, tmp_path):
    out = tmp_path / "run"
    objective = ImageClassification(augment=EVERYTHING, smoothing=0.1)
    config = config_of(folder, out, objective=objective)
    fit(config.replace(steps=4, schedule_steps=8))
    fit(config)
    assert losses(out) == losses(finished)
    other = config_of(folder, tmp_path / "other", objective=objective, seed=1, steps=1)
    fit(other)
    assert losses(tmp_path / "other")[1] != losses(finished)[1]


def test_a_run_has_a_processor_in_place_of_a_tokenizer(finished, folder):
    files = {file.name for file in (finished / "model").iterdir()}
    assert "preprocessor_config.json" in files
    assert "tokenizer.json" not in files
    record = json.loads((finished / "run.json").read_text())
    assert record["data"]["columns"] == {"image": "image", "label": "label"}
    config = json.loads((finished / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "blue", "1": "red"}
    # three ways to a class
    files = sorted((folder / "test").rglob("*.png"))
    predicted = tj.predict(finished, f"{folder}/test")
    model = tj.from_pretrained(finished / "model")
    classified = tj.classify(model, files, processor=tj.load_processor(finished / "model"))
    assert [one["label"] for one in predicted] == [one[0]["label"] for one in classified]
    alone = tj.predict(finished, [str(files[0])])[0]
    assert alone["score"] == pytest.approx(classified[0][0]["score"], abs=1e-5)
    in_memory = tj.predict(
        model, [np.asarray(Image.open(files[0]))], processor=tj.load_processor(finished / "model"),
        task="image_classification",
    )  # fmt: skip
    assert in_memory[0]["score"] == pytest.approx(alone["score"], abs=1e-5)
    assert 0 <= tj.evaluate(finished, f"{folder}/test")["accuracy"] <= 1
    with pytest.raises(ValueError, match="needs its processor: pass processor="):
        tj.predict(model, [str(files[0])], task="image_classification")


def test_pictures_are_learned_from_a_checkpoint_and_by_a_probe(finished, folder, tmp_path):
    """Colours are told apart, by a model that is fine-tuned with the processor of its folder, in
    another size."""
    done = tj.finetune(
        finished / "model", "image_classification", f"{folder}/train", f"{folder}/test",
        out=str(tmp_path / "fine"), batch=8, epochs=6, learning_rate=3e-3,
        image_mean=(0.2, 0.2, 0.2),
    )  # fmt: skip
    assert done.metrics["accuracy"] == 1
    said = json.loads((tmp_path / "fine" / "model" / "preprocessor_config.json").read_text())
    assert said["image_mean"] == [0.2, 0.2, 0.2]
    assert said["size"] == {"height": 12, "width": 12}
    probed = tj.finetune(
        finished / "model", "image_classification", f"{folder}/train", f"{folder}/test",
        adapter="probe", out=str(tmp_path / "probe"), batch=8,
    )  # fmt: skip
    assert probed.metrics["accuracy"] == 1


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize("kind", ["parquet", "tar", "lists"])
def test_every_source_gives_the_same_pictures(kind, tmp_path):
    made = [*pictures(6)]
    if kind == "lists":
        records = [{"image": image.tolist(), "label": label} for image, label in made]
        source = tmp_path / "train.jsonl"
        source.write_text("\n".join(map(json.dumps, records)))
    elif kind == "parquet":
        images = [{"bytes": encoded(image), "path": None} for image, _ in made]
        table = arrow.table({"image": images, "label": [label for _, label in made]})
        parquet.write_table(table, source := tmp_path / "train.parquet")
    else:
        with tarfile.open(source := tmp_path / "train.tar", "w") as file:
            for number, (image, label) in enumerate(made):
                for ending, content in (("png", encoded(image)), ("cls", str(label).encode())):
                    member = tarfile.TarInfo(f"{number}.{ending}")
                    member.size = len(content)
                    file.addfile(member, io.BytesIO(content))
    records = open_table(str(source), "data.train")["train"]
    found = pictures_of(form(), records)[1]
    for number, (image, _) in enumerate(made):
        np.testing.assert_array_equal(found.image(number), image.transpose(2, 0, 1))


def test_pictures_of_tfds_have_its_classes_and_need_no_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    rows = []
    for number, (image, label) in enumerate(pictures(6)):
        (file := tmp_path / f"{number}.png").write_bytes(encoded(image))
        rows.append({"image": str(file), "label": label, "image/filename": file.name})
    prepare(
        tmp_path,
        lambda f: {
            "image": f.Image(), "label": f.ClassLabel(names=[*NAMES]), "image/filename": f.Text(),
        },
        rows,
    )  # fmt: skip
    model = form().model
    data = Table(train="tfds:small", batch=2, validation_fraction=0.0)
    corpus = read_task(
        data, ImageClassification(), None, model, processor=new_processor(model.config)
    )
    assert corpus.form.classes == NAMES
    assert len(corpus.train.records) == 6
    for number, label in enumerate(corpus.train.references):
        pixels = corpus.train.examples[number].once["pixel_values"]
        assert (pixels[0].mean() > pixels[2].mean()) == (label == 1)  # red is 1
    assert "tensorflow" not in sys.modules


def form(**settings):
    config = tj.ViTConfig(**MODEL)
    model = tj.from_config(config, head="image_classification", key=jax.random.key(0)).abstract()
    columns = {"image": "image", "label": "label"}
    processor = new_processor(config)
    return Form(Table(**settings), None, model, columns, NAMES, processor=processor)


def test_damaged_pictures_are_refused_or_left_out_by_name(folder, tmp_path):
    for number, (image, label) in enumerate(pictures(6)):
        (file := tmp_path / NAMES[label] / f"{number}.png").parent.mkdir(exist_ok=True)
        file.write_bytes(encoded(image)[: 40 if number == 3 else None])
    records = open_table(str(tmp_path), "data.train")["train"]
    with pytest.raises(ValueError, match=r"1 of 6 pictures cannot be read: .*3\.png"):
        pictures_of(form(), records)
    kept, found, _ = pictures_of(form(damaged="skip"), records)
    assert len(kept) == len(found) == 5
    assert [*kept.left_out] == [[*records.places].index(f"{tmp_path}/red/3.png")]
    assert "left out, 1 of 6 pictures cannot be read" in kept.note


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (dict(model=tj.BertConfig(num_hidden_layers=1)), "the head 'image_classification'"),
        (dict(data=dict(text="label")), "ImageClassification does not read"),
        (dict(data=dict(image="photo")), "no column 'photo'"),
        (dict(data=dict(image_size=16)), "16"),
        (dict(model=tj.ViTConfig(**MODEL, num_channels=1)), "3 channels"),
        (dict(model=tj.ResNetConfig(embedding_size=4, hidden_sizes=(4,), depths=(1,))),
         "--data.image-size"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(settings, match, folder, tmp_path):
    config = config_of(folder, tmp_path / "run")
    data = dataclasses.replace(config.data, **settings.pop("data", {}))
    with pytest.raises(ValueError, match=match):
        fit(config.replace(data=data, **settings))


# ---------------------------------------------------------------- processors


def test_a_processor_is_read_as_it_was_saved(tmp_path):
    made = new_processor(tj.ViTConfig(**MODEL, num_channels=1), 10, {"image_std": (0.25,)})
    Readers(processor=made).save(tmp_path)
    read_again = with_settings(tmp_path)
    assert read_again.image_processor == made.image_processor
    assert with_settings(tmp_path, 9).image_processor.fixed_size == (9, 9)


@pytest.mark.parametrize(
    ("kind", "edges"),
    [("CLIP", {"shortest_edge": 32}), ("DeiT", {"height": 37, "width": 37}),
     ("ConvNext", {"shortest_edge": 32})],
)  # fmt: skip
def test_another_size_keeps_what_is_cut_off(kind, edges, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": f"{kind}ImageProcessor"})
    )
    processor = with_settings(tmp_path, 32)
    assert processor.image_processor.fixed_size == (32, 32)
    assert processor.files["preprocessor_config.json"]["size"] == edges


# ---------------------------------------------------------------- mixing


def test_processes_mix_the_rows_that_one_would_mix():
    """Rows of a process, with the partners it has to make, are those of the whole batch."""
    labels, rng = np.arange(6) % 2, np.random.default_rng(0)
    pixels = rng.normal(size=(6, 3, 4, 4)).astype(np.float32)
    mixes = form_examples(pixels, labels).mixing
    for count in (6, 5):
        batch = {"pixel_values": pixels, "labels": np.where(np.arange(6) < count, labels, -100)}
        whole = mixes(batch, count, np.random.default_rng(1))
        assert (whole["labels"].sum(1) == (np.arange(6) < count)).all()
        for own in (range(3), range(3, 6)):
            made = with_partners(own, count)
            part = {name: array[made] for name, array in batch.items()}
            mixed = mixes(part, sum(n < count for n in made), np.random.default_rng(1))
            mixed = some_of(mixed, made, own)
            np.testing.assert_array_equal(mixed["labels"], whole["labels"][list(own)])
            np.testing.assert_array_equal(mixed["pixel_values"], whole["pixel_values"][list(own)])
        assert not np.array_equal(whole["pixel_values"], pixels)


def form_examples(pixels, labels):
    from transformers_jax.data.tables import of_python
    from transformers_jax.tasks.images import PictureExamples

    levels = [{"image": np.zeros((12, 12, 3), np.uint8)} for _ in labels]
    _, found, _ = pictures_of(form(), of_python("train", levels))
    once = [{"labels": int(label)} for label in labels]
    return PictureExamples(found, once, Augment(mixup=1.0), classes=2)


def test_the_loss_of_shares_is_that_of_classes_where_each_is_one():
    logits = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    labels = np.array([0, 1, 1, -100])
    output = tj.Output(logits=jax.numpy.asarray(logits))
    batch = {"labels": jax.numpy.asarray(labels)}
    plain = ImageClassification()
    expected = plain.compare(output, batch)
    shares = jax.nn.one_hot(labels, 2)
    got = plain._of_shares(output.logits, shares)
    assert float(got[0]) == pytest.approx(float(expected[0]), rel=1e-6)
    assert float(got[1]["accuracy"][1]) == 3
    smooth = ImageClassification(smoothing=0.2)._of_shares(output.logits, shares)
    logs = np.asarray(jax.nn.log_softmax(logits))[:3]
    targets = 0.8 * np.eye(2)[labels[:3]] + 0.1
    assert float(smooth[0]) == pytest.approx(-(targets * logs).sum() / 3, rel=1e-5)
    with pytest.raises(ValueError, match="smoothing"):
        ImageClassification(smoothing=1.0)


@pytest.mark.parametrize(
    ("settings", "match"),
    [(dict(flip=2.0), "augment.flip is 2.0"), (dict(crop=(0.0, 1.0)), "scale is"),
     (dict(magnitude=31), "magnitude=31"), (dict(mixup=-1.0), "alpha is -1.0")],
)  # fmt: skip
def test_augmentations_that_there_are_not_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        Augment(**settings)


def test_every_picture_is_drawn_by_its_pass_and_not_by_its_place():
    """The example of a picture is a function of the noise alone."""
    examples = form_examples(None, np.zeros(4, int))
    changed = dataclasses.replace(EVERYTHING, mixup=0.0, cutmix=0.0, erase=1.0)
    examples.augment = changed
    draw = lambda seed: examples.draw(2, np.random.default_rng(seed)).once["pixel_values"]
    np.testing.assert_array_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1))


def test_the_classes_of_a_model_of_timm_are_in_its_file(tmp_path):
    config = TimmMixerConfig(
        architecture_name="mixer_s2_4", model_args=dict(num_blocks=1, embed_dim=4)
    )
    fitted = ImageClassification().fitted(config, NAMES)
    model = tj.from_config(fitted, head="image_classification", key=jax.random.key(0))
    tj.save_pretrained(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["label_names"] == ["blue", "red"]
    assert is_model(tmp_path / "config.json")  # which has no model_type
    assert tj.AutoConfig.from_pretrained(tmp_path).num_labels == 2
    assert dict(tj.AutoConfig.from_pretrained(tmp_path).id2label) in (
        {0: "blue", 1: "red"},
        {"0": "blue", "1": "red"},
    )


def test_what_a_page_of_errors_says_is_said(folder, tmp_path):
    """The rows of the page are patterns of messages that tests above match in part."""
    broken = tmp_path / "broken"
    for name, content in zip(NAMES, (encoded(next(pictures(1))[0]), b"no picture")):
        (file := broken / name / "0.png").parent.mkdir(parents=True)
        file.write_bytes(content)
    said = []
    narrow = tj.ViTConfig(**MODEL, num_channels=1)
    data = Table(train=str(broken), validation=str(broken))
    damaged = config_of(folder, tmp_path / "run", data=data)
    grey = config_of(folder, tmp_path / "run", model=narrow)
    any_size = tj.ResNetConfig(embedding_size=4, hidden_sizes=(4,), depths=(1,))
    no_size = config_of(folder, tmp_path / "run", model=any_size)
    no_label = config_of(
        folder, tmp_path / "run", data=Table(train=f"{folder}/train/*/*.png", label="kind")
    )
    other_size = config_of(folder, tmp_path / "run")
    data = dataclasses.replace(other_size.data, image_size=30)
    other_size = other_size.replace(data=data)
    alone = config_of(folder, tmp_path / "run", data=Table(train=f"{folder}/train/red/*.png"))
    flat = config_of(folder, tmp_path / "run", data=Table(train=f"{folder}/train/red"))
    for config in (damaged, grey, no_size, no_label, other_size, alone, flat):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - compared with the page
            fit(config)
        said.append(str(error.value))
    patterns = [".*".join(map(re.escape, row.split("..."))) for row in rows_of("images")]
    for pattern in patterns:
        assert any(re.fullmatch(pattern, one, re.DOTALL) for one in said), (pattern, said)
    for one in said:
        assert any(re.fullmatch(pattern, one, re.DOTALL) for pattern in patterns), one
