"""Pictures and texts that find each other: trained, measured, continued, and used by names."""

import json

import jax
import numpy as np
import optax
import pytest
from PIL import Image

import transformers_jax as tj
from transformers_jax import cli
from transformers_jax.data import generated
from transformers_jax.data.config import Table
from transformers_jax.data.pictures import in_column
from transformers_jax.data.tables import of_python
from transformers_jax.embedding.zero_shot import zero_shot
from transformers_jax.models.composite import with_words, words_of
from transformers_jax.nn.norm import unit
from transformers_jax.objectives import ImageText
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.runs.fit import fit
from transformers_jax.tasks import ImageTextPairs, image_text
from transformers_jax.tasks.images import Pictures
from transformers_jax.tasks.rows import NUMBER, Rows
from transformers_jax.training.config import Evaluation, Sample, TrainConfig
from transformers_jax.training.limits import limits_of
from transformers_jax.training.resolve import resolve

COLOURS = {
    "red": (200, 30, 30), "green": (30, 180, 30), "blue": (40, 60, 220), "white": (230, 230, 230),
    "purple": (150, 30, 180), "yellow": (210, 200, 40),
}  # fmt: skip
SIZES = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
VISION = dict(**SIZES, image_size=16, patch_size=8)
TEXT = dict(**SIZES, max_position_embeddings=8)


def picture(colour, seed):
    """A square of a colour on a dark ground, with noise."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 40, size=(16, 16, 3))
    image[2:14, 2:14] = np.array(COLOURS[colour]) + rng.integers(-20, 20, size=3)
    return image.clip(0, 255).astype(np.uint8)


def pairs(split):
    count, first = {"train": (4, 0), "validation": (1, 50), "test": (1, 90)}[split]
    return [
        {"image": picture(colour, first + n), "caption": f"a {colour} square"}
        for n in range(count)
        for colour in COLOURS
    ]


MODELS = {
    "clip": lambda: tj.CLIPConfig(
        text_config=tj.CLIPTextConfig(**TEXT), vision_config=tj.CLIPVisionConfig(**VISION),
        projection_dim=12,
    ),
    "siglip": lambda: tj.SiglipConfig(
        text_config=tj.SiglipTextConfig(**TEXT), vision_config=tj.SiglipVisionConfig(**VISION)
    ),
    "siglip2": lambda: tj.Siglip2Config(
        text_config=tj.Siglip2TextConfig(**TEXT),
        vision_config=tj.Siglip2VisionConfig(**SIZES, patch_size=8, num_patches=4),
    ),
    "vision-text-dual-encoder": lambda: tj.VisionTextDualEncoderConfig(
        text_config=tj.BertConfig(**TEXT), vision_config=tj.ViTConfig(**VISION), projection_dim=12
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setitem(generated.TABLES, "colours", pairs)


def run(folder, kind="clip", objective=None, **settings):
    data = Table(train="generated:colours", tokenizer="bpe", vocab_size=300, batch=6)
    options = dict(
        model=MODELS[kind](),
        objective=objective or ImageTextPairs(),
        data=data,
        optimizer=AdamW(peak=5e-3, schedule=Cosine(warmup=0.1, final=0.1)),
        steps=4,
        evaluation=Evaluation(every=100),
        sample=Sample(count=0),
        out=str(folder),
    )
    return fit(TrainConfig(**{**options, **settings}))


def figures(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of CLIP that knows its colours and shapes."""
    folder = tmp_path_factory.mktemp("runs") / "clip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(generated.TABLES, "colours", pairs)
        run(folder, steps=60)
    return folder


def test_a_run_learns_which_text_belongs_to_a_picture(trained):
    last = [line for line in figures(trained) if "eval_recall@1" in line][-1]
    assert last["eval_recall@1"] >= 0.8, last  # by chance 0.17
    mean = (last["eval_text_to_image_recall@1"] + last["eval_image_to_text_recall@1"]) / 2
    assert last["eval_recall@1"] == pytest.approx(mean)
    assert last["eval_recall@10"] == 1.0
    report = (trained / "report.md").read_text()
    assert "rank of the picture that belongs to a text" in report
    assert (trained / "figure.png").is_file()
    evaluated = tj.evaluate(trained, "generated:colours[test]")
    assert evaluated["recall@1"] >= 0.8
    again = tj.evaluate(trained / "model", "generated:colours[test]")  # without the run
    assert again == pytest.approx(evaluated)


def test_a_run_that_is_continued_has_the_bits_of_one_that_was_not(trained, tmp_path):
    hexes = lambda folder: [one["loss_hex"] for one in figures(folder) if "loss_hex" in one]
    settings = dict(schedule_steps=60)
    run(tmp_path / "parts", steps=3, **settings)
    run(tmp_path / "parts", steps=7, **settings)
    assert hexes(tmp_path / "parts") == hexes(trained)[:7]
    run(tmp_path / "other", steps=1, seed=1, **settings)
    assert hexes(tmp_path / "other")[0] != hexes(trained)[0]  # the control


def test_the_model_classifies_by_names_with_templates_as_the_command_does(
    trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(cli.answers, "keep_compiled_programs", lambda: None)
    for colour in COLOURS:
        Image.fromarray(picture(colour, 99)).save(tmp_path / f"{colour}.png")
    files, out = sorted(tmp_path.glob("*.png")), tmp_path / "found.jsonl"
    command = ["zero-shot", *files, "--model", trained / "model", "--labels", ",".join(COLOURS)]
    templates = ["a {} square", "a {}"]
    command += [f"--template={one}" for one in templates]
    assert cli.main([*map(str, command), "--out", str(out)]) == 0
    capsys.readouterr()
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert sum(one["label"] in one["file"] for one in found) >= 5
    model = tj.from_pretrained(trained / "model")
    processor = tj.load_processor(trained / "model")
    same = zero_shot(model, files, [*COLOURS], processor=processor, templates=templates)
    for one, probabilities in zip(found, same.probabilities):
        np.testing.assert_allclose([*one["scores"].values()], probabilities, atol=1e-5)
    # the ensemble is the mean of the vectors of unit length, made of unit length again
    texts = [[one.replace("{}", colour) for colour in COLOURS] for one in templates]
    read = lambda some: unit(model.get_text_features(**processor(text=some, padding=True))[
        "pooler_output"
    ])  # fmt: skip
    vectors = [read(some) for some in texts]
    images = unit(model.get_image_features(**processor(images=files)).pooler_output)
    cosines = images @ unit(sum(vectors) / 2).T
    np.testing.assert_allclose(same.logits, cosines * model.head.factor(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "kind",
    [
        "siglip",
        pytest.param("siglip2", marks=pytest.mark.slow),
        pytest.param("vision-text-dual-encoder", marks=pytest.mark.slow),
    ],
)
def test_other_dual_encoders_train_and_are_used(kind, tmp_path):
    run(tmp_path / "run", kind, steps=30, accumulate=2, objective=ImageTextPairs(chunk=3))
    steps = [line["loss"] for line in figures(tmp_path / "run") if "loss_hex" in line]
    assert np.mean(steps[-5:]) < 0.95 * steps[0]
    said = tj.predict(tmp_path / "run", pairs("test")[:3])
    assert [*said[0]] == ["text_embeds", "image_embeds", "similarity"]
    model = tj.from_pretrained(tmp_path / "run" / "model")
    processor = tj.load_processor(tmp_path / "run" / "model")
    images = [record["image"] for record in pairs("test")[:3]]
    texts = [record["caption"] for record in pairs("test")[:3]]
    found = zero_shot(model, images, texts, processor=processor, templates=["{}"])
    # by the command as by the engine, whose rows are filled up in its own way
    cosines = (np.diag(found.logits) - (model.head.offset() or 0)) / model.head.factor()
    np.testing.assert_allclose(cosines, [one["similarity"] for one in said], atol=1e-4)


def test_training_keeps_the_scale_of_clip_within_its_limit_and_calls_do_not():
    rng = np.random.default_rng(0)
    ids = rng.integers(2, 99, (3, 8))
    ids[:, -1] = 99
    batch = {"pixel_values": rng.normal(size=(3, 3, 16, 16)).astype(np.float32), "input_ids": ids}
    for kind, kept in (("clip", np.log(100)), ("siglip", 4.7)):
        config = MODELS[kind]()
        text = config.text_config.replace(vocab_size=100, eos_token_id=99)
        model = tj.from_config(
            config.replace(text_config=text), head="contrastive", key=jax.random.key(0)
        )
        params = tj.functional(model)[1]
        params["head"]["scale"] = jax.numpy.full_like(params["head"]["scale"], 4.7)
        model = tj.bind(model, params)
        assert float(model.head.factor()) == pytest.approx(np.exp(4.7))  # as the file says it
        step = tj.make_step(model, ImageText(), still := optax.sgd(0.0))
        state, _ = step(tj.init_state(model, still, jax.random.key(0)), batch)
        assert float(state.params["head"]["scale"]) == pytest.approx(kept)
        frozen = jax.tree.map(lambda x: True, params)
        assert limits_of(model, params, frozen) == {}
        assert set(limits_of(model, params, None)) == ({"head.scale"} if kind == "clip" else set())


def test_rows_that_fill_up_a_batch_are_no_negatives():
    rng = np.random.default_rng(0)
    text, image = (unit(rng.normal(size=(6, 5)).astype(np.float32)) for _ in range(2))
    for learned in ([7.0], [7.0, -3.0]):
        vectors = [text, image, np.tile(np.float32(learned), (6, 1))]
        known = np.array([1, 1, 0, 1, 1, 0], np.float32)[:, None]
        objective = ImageTextPairs().objective
        some = [x[known[:, 0] > 0] for x in vectors]
        expected = ImageText().of(some)[0]
        np.testing.assert_allclose(objective.of([*vectors, known])[0], expected, rtol=1e-6)
        whole = objective.of([*vectors, np.ones_like(known)])[0]
        assert abs(whole - expected) > 1e-3  # the control


def test_recall_is_of_all_records_and_both_ways():
    images = [picture("red", seed) for seed in (0, 1, 0)]  # the first one twice
    records = of_python("test", [{"image": one, "text": text} for one, text in zip(images, "abc")])
    examples = image_text.PairExamples.__new__(image_text.PairExamples)
    found = [in_column(one, "here", "image") for one in images]
    examples.pictures, examples.fingerprint = Pictures(found, None, None), ""
    rows = Rows(records, examples, np.arange(3), ["a", "b", "c"])
    east, north = np.eye(2)
    answers = {
        "text_embeds": np.array([east, east, 0.9 * east + 0.1 * north]),
        "image_embeds": np.array([east, north, east]),
    }
    ranks = image_text.both_ways(answers, rows)
    assert ranks == {"text_to_image": [1, 2, 1], "image_to_text": [1, 3]}
    measured = ImageTextPairs().metrics(answers, rows, None)
    assert measured["text_to_image_recall@1"] == pytest.approx(2 / 3)
    assert measured["image_to_text_recall@1"] == 0.5
    assert measured["recall@5"] == 1.0


def test_no_text_is_twice_in_a_batch_unless_it_may(tmp_path):
    texts = lambda batch: [tuple(row) for row in np.asarray(batch["input_ids"])]

    def first(objective):
        data = Table(train="generated:colours", tokenizer="bpe", vocab_size=300, batch=6)
        config = TrainConfig(
            model=MODELS["clip"](), objective=objective, data=data, steps=4,
            evaluation=Evaluation(every=100), sample=Sample(count=0), out=str(tmp_path),
        )  # fmt: skip
        resolved = resolve(config, tmp_path, None, print)
        return resolved.stream.batch(resolved.stream.start, 6, None)[0]

    batch = first(ImageTextPairs())
    real = [ids for ids, number in zip(texts(batch), batch[NUMBER]) if number >= 0]
    assert len({*real}) == len(real) > 3
    batch = first(ImageTextPairs(no_duplicates=False))
    assert len({*texts(batch)}) < 6


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (dict(data=dict(tokenizer="wordpiece")), "the text has no token .* finds its end"),
        (dict(kind="siglip", data=dict(length=6)), r"data.length \(6\): a text of siglip is its"),
        (dict(data=dict(text="image")), "'image' holds Picture"),
        (dict(data=dict(image="photo")), "has no column 'photo'"),
        (dict(objective=ImageTextPairs(chunk=4)), "chunk=4: 6 rows are compared"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, settings, match):
    kind = settings.get("kind", "clip")
    options = dict(train="generated:colours", tokenizer="bpe", vocab_size=300, batch=6)
    data = Table(**{**options, **settings.get("data", {})})
    with pytest.raises(ValueError, match=match):
        run(tmp_path / "run", kind, objective=settings.get("objective"), data=data)
    with pytest.raises(ValueError, match=r"chunk \(0\) must be at least 1"):
        ImageTextPairs(chunk=0)


def test_a_model_in_memory_is_asked_for_both_readers():
    model = tj.from_config(MODELS["clip"](), key=jax.random.key(0))
    with pytest.raises(ValueError, match="needs its tokenizer: pass tokenizer="):
        tj.evaluate(model, pairs("test"), task="image_text")


def test_a_vocabulary_is_that_of_the_part_which_has_one():
    clip = MODELS["clip"]()
    assert words_of(clip) is clip.text_config
    assert words_of(clip.text_config) is clip.text_config
    assert words_of(clip.vision_config) is None
    changed = with_words(clip, vocab_size=77, pad_token_id=5)
    assert (changed.text_config.vocab_size, changed.text_config.pad_token_id) == (77, 5)
    assert changed.vision_config == clip.vision_config
    assert clip.text_config.vocab_size != 77
