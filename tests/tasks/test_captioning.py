"""Texts about pictures: what is read and learned of a record, and what is written."""

import json
import shutil

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.vision.models import make_model, write_pictures
from transformers_jax.data.config import Table
from transformers_jax.data.damaged import NothingRead
from transformers_jax.data.evaluated import evaluation_batches
from transformers_jax.data.generated import TABLES
from transformers_jax.data.tables import of_python
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.nn.param import params
from transformers_jax.optim import AdamW
from transformers_jax.runs.answering import opened
from transformers_jax.runs.fit import fit
from transformers_jax.runs.predictions import records_of
from transformers_jax.tasks import Captioning, images
from transformers_jax.training.config import Evaluation, Sample, TrainConfig

FEW = ("described", "llava", "idefics")
KINDS = (*FEW, *(pytest.param(k, marks=pytest.mark.slow)
         for k in ("blip", "blip_2", "blip_2_t5", "paligemma")))  # fmt: skip
PROMPTS = ("a photo of", "a", "photo", "a", "a", "photo of")
CAPTIONS = ("a cat", "a red fox", "dog", "photo of dog", "a cat .", "red")


class Made(dict):
    """The folders of models by kind, made when they are needed."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __missing__(self, kind):
        self[kind] = make_model(self.folder / kind, kind)
        return self[kind]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writers")
    return Made(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return list(map(str, write_pictures(tmp_path_factory.mktemp("shown") / "all", 6)))


@pytest.fixture(scope="module")
def table(pictures):
    columns = {"image": pictures, "prompt": PROMPTS, "caption": CAPTIONS}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def batches_of(folder, records, **settings):
    """(the model with its task, batches of four rows, of which the last has two to fill it)."""
    answering = opened(str(folder), None, None, {"batch": 4, **settings})
    rows, form = answering.read(records_of(records, "records"), answered=True)
    return answering, evaluation_batches(answering.part(rows, form), "records")


@pytest.mark.parametrize("kind", KINDS)
def test_the_caption_and_its_end_alone_are_learned(kind, models, table):
    answering, batches = batches_of(models[kind], table)
    assert isinstance(answering.task, Captioning)
    words = answering.tokenizer.inner
    last = batches[-1]
    answering.model.check(answering.task.inputs(last))
    for batch in batches:
        for number, labels in zip(batch["number"], batch["labels"]):
            if number < 0:
                assert (labels == -100).all()
                continue
            learned = [words.id_to_token(n) for n in labels[labels != -100].tolist()]
            end = [] if kind == "blip_2_t5" and learned[0] == "[CLS]" else ["[SEP]"]
            said = [word for word in learned if word not in ("[CLS]", "[SEP]")]
            assert said == CAPTIONS[number].split()
            assert learned[-1:] == end or learned[-1] == "[SEP]"
    if "input_ids" in last and kind != "blip_2_t5":
        ids, count = last["input_ids"][0], last["prompt_tokens"][0]
        assert (last["labels"][0][:count] == -100).all()
        read = [words.id_to_token(n) for n in ids[:count].tolist()]
        assert read[-1] == ("\n" if kind == "paligemma" else PROMPTS[4])


# a prompt of Idefics in tj.caption says itself where the picture stands, and the tokenizer of this
# BLIP-2 ends every text, also a prompt that a caption follows
ALIKE = ("described", "llava", "blip", "blip_2_t5", "paligemma")


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.slow
def test_what_is_predicted_is_what_the_function_for_captions_writes(kind, models, table):
    asked = [{n: x for n, x in one.items() if n != "caption"} for one in table[:3]]
    found = tj.predict(str(models[kind]), asked, max_new_tokens=4)
    model, processor = tj.from_pretrained(models[kind]), tj.load_processor(models[kind])
    for one, said in zip(asked, found, strict=True):
        prompt = one["prompt"] if kind != "llava" else f"<image>\n{one['prompt']}"
        options = dict(processor=processor, prompt=prompt, max_new_tokens=4)
        text = tj.caption(model, one["image"], **options)[0]
        if kind in ("described", "blip"):
            text = text.removeprefix(one["prompt"]).strip()
        assert said["text"] == text


@pytest.mark.parametrize("kind", FEW)
def test_rows_that_fill_up_a_batch_count_nothing(kind, models, table):
    answering, batches = batches_of(models[kind], table)
    measured = answering.task.measure(answering.model, batches[-1])[0]["loss"]
    whole = {n: x[:2] for n, x in batches[-1].items()}
    alone = answering.task.measure(answering.model, whole)[0]["loss"]
    np.testing.assert_allclose(measured, alone, rtol=1e-5)
    assert np.isfinite(measured).all()


def test_each_word_looks_at_the_picture_before_it(models, pictures):
    prompt = "a <image> dog <image> fox"
    record = {"image": pictures[:2], "prompt": prompt, "caption": "red"}
    answering, batches = batches_of(models["idefics"], [record])
    given = answering.task.inputs(batches[0])
    words = [answering.tokenizer.inner.id_to_token(n) for n in given["input_ids"][0].tolist()]
    looks = np.asarray(given["image_attention_mask"][0]).tolist()
    seen = dict(zip(words, looks))
    assert (seen["a"], seen["dog"], seen["fox"], seen["red"]) == ([0, 0], [1, 0], [0, 1], [0, 1])
    loss = lambda batch: float(answering.task.minimise(answering.model, batch, None)[0])
    other = {**batches[0], "pixel_values": batches[0]["pixel_values"][:, ::-1].copy()}
    assert abs(loss(batches[0]) - loss(other)) > 1e-5


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        (
            "idefics",
            {"prompt": "a <image> b"},
            r"records\[0\]: each image needs one <image>.* 1 <image> and 2 images$",
        ),
        ("described", {}, "reads one with a text"),
        ("llava", {"image": []}, r"records\[0\]: 'image' is empty"),
        ("llava", {"image": None}, "holds nothing, not a picture"),
        ("described", {"image": 0, "caption": " "}, r"records\[0\]: the caption is empty"),
        ("described", {"image": 0, "prompt": "<image> a"}, r"records\[0\]: .* leave it out"),
        ("blip", {"image": 0, "prompt": "<image> a"}, r"records\[0\]: .* leave it out"),
        ("blip_2", {"image": 0, "prompt": "<image> a"}, r"records\[0\]: .* leave it out"),
    ],
)
def test_records_that_fit_no_model_are_refused_by_their_place(
    kind, change, match, models, pictures
):
    record = {"image": pictures[:2], "prompt": "a", "caption": "red", **change}
    record["image"] = pictures[0] if record["image"] == 0 else record["image"]
    with pytest.raises(ValueError, match=match):
        batches_of(models[kind], [record])


def test_a_record_is_left_out_one_of_whose_pictures_cannot_be_read(models, pictures):
    one = {"image": pictures[:2], "prompt": "a", "caption": "red"}
    broken = {**one, "image": [pictures[0], "none.png"]}
    answering = opened(str(models["llava"]), None, None, {"damaged": "skip"})
    rows, _ = answering.read(of_python("some", [broken, one, broken, one]), answered=False)
    assert [*rows.records.left_out] == [0, 2]
    assert [*rows.records.places] == ["some[1]", "some[3]"]
    assert len(rows.examples) == 2
    assert "some[0], picture 1 (none.png)" in rows.records.note
    with pytest.raises(NothingRead, match="left out, 1 of 2 pictures cannot be read") as error:
        answering.read(of_python("some", [broken]), answered=False)
    assert [*error.value.left_out] == [0]


def test_as_many_pictures_stand_in_each_row_of_llava(models, pictures):
    one = {"image": pictures[:2], "prompt": "a", "caption": "red"}
    with pytest.raises(
        ValueError, match=r"records\[1\]: 'image' has 1 pictures, and the first record 2"
    ):
        batches_of(models["llava"], [one, {**one, "image": pictures[:1]}])
    answering, batches = batches_of(models["llava"], [one, one])
    answering.model.check(answering.task.inputs(batches[0]))


def test_who_says_how_long_rows_are_is_told(models, pictures, tmp_path):
    folder = shutil.copytree(models["llava"], tmp_path / "llava")
    record = {"image": pictures[0], "prompt": "a " * 20, "caption": "red"}
    file = folder / "tokenizer_config.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "model_max_length": 16}))
    with pytest.raises(ValueError, match=r"rows have 16 at most \(model_max_length .* 32\)"):
        batches_of(folder, [record])
    with pytest.raises(ValueError, match=r"data.length \(30\) is more than 16 .* raise it there"):
        batches_of(folder, [record], length=30)
    with pytest.raises(ValueError, match=r"rows have 8 at most \(--data.length\): raise it to 16"):
        batches_of(folder, [record], length=8)
    with pytest.raises(ValueError, match=r"rows have 32 at most \(the model reads no more"):
        batches_of(models["llava"], [{**record, "prompt": "a " * 30}])
    file.write_text(json.dumps({**said, "model_max_length": 32}))  # as the first message says
    batches_of(folder, [record])


def test_a_run_from_random_weights_writes_and_is_continued_exactly(tmp_path):
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    encoder = tj.ViTConfig(**sizes, image_size=16, patch_size=8, num_channels=1)
    decoder = GPT2Config(n_positions=16, n_embd=16, n_layer=1, n_head=2, add_cross_attention=True)
    config = TrainConfig(
        model=tj.VisionEncoderDecoderConfig(encoder=encoder, decoder=decoder),
        objective=Captioning(),
        data=Table(train=str(tmp_path / "t.jsonl"), tokenizer="bpe", vocab_size=280, batch=4),
        optimizer=AdamW(peak=1e-2),
        steps=4,
        save_every=2,
        evaluation=Evaluation(every=4),
        sample=Sample(count=0),
        out=str(tmp_path / "run"),
    )
    records = TABLES["two_pictures"]("validation")[:12]
    lines = [{"image": one["image"][0].tolist(), "caption": one["answer"]} for one in records]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    whole = fit(config)
    model = tj.from_pretrained(tmp_path / "run" / "model")
    assert model.config.decoder.vocab_size == 280
    assert model.config.eos_token_id == model.config.decoder.eos_token_id is not None
    said = tj.predict(tmp_path / "run", [{"image": lines[0]["image"]}])
    assert set(said[0]) == {"text"}
    fit(config.replace(steps=2, schedule_steps=4, out=str(tmp_path / "two")))
    again = fit(config.replace(schedule_steps=4, out=str(tmp_path / "two")))
    same = lambda a, b: np.testing.assert_array_equal(a, b)
    jax.tree.map(same, params(whole.model), params(again.model))


def test_the_tokens_of_a_picture_are_counted_once_for_a_table(models, pictures, monkeypatch):
    """They follow from the shapes of the whole model, which take a moment."""
    counted = []
    known = images.tokens_of
    monkeypatch.setattr(images, "tokens_of", lambda *given: counted.append(1) or known(*given))
    batches_of(models["described"], [{"image": pictures[0], "caption": "a cat"}] * 12)
    assert len(counted) < 6
