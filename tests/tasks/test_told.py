"""What a person is told of pictures and recordings that do not fit; the advice is typed as it is
given, and works."""

import json
import re
import struct
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import transformers_jax as tj
from transformers_jax import cli
from transformers_jax.data.config import Table
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.data.unknown import check_characters
from transformers_jax.processing.readers import Readers, new_processor, new_sound, with_settings
from transformers_jax.runs.evaluate import read_input
from transformers_jax.runs.recipe import configured
from transformers_jax.tasks import CTC, ImageClassification, SequenceClassification
from transformers_jax.tasks.corpus import read_task
from transformers_jax.training.initial import start_model
from transformers_jax.training.resolve import resolve

pytestmark = pytest.mark.usefixtures("without_pictures")
NAMES = ("bird", "cat", "dog")
CAPITALS = [*"ABCDEHLO", "|"]
SIZES = dict(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
)  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Each command in a folder of its own, without a cache on disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transformers_jax.runs.pretrain.keep_compiled_programs", lambda: None)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A model of pictures of 12 x 12 in patches of 6, with three classes."""
    folder = tmp_path_factory.mktemp("models") / "vit"
    config = tj.ViTConfig(**SIZES, image_size=12, patch_size=6, id2label=dict(enumerate(NAMES)))
    model = tj.from_config(config, head="image_classification", key=jax.random.key(0))
    tj.save_pretrained(model, folder)
    Readers(processor=new_processor(config)).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def ctc(tmp_path_factory):
    """A model of frames of 40 samples, whose characters are capitals."""
    folder = tmp_path_factory.mktemp("models") / "ctc"
    vocabulary = {one: n for n, one in enumerate(["<pad>", "<unk>", *CAPITALS])}
    config = tj.Wav2Vec2Config(
        **SIZES, vocab_size=len(vocabulary), conv_dim=(8,), conv_kernel=(40,), conv_stride=(40,),
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, feat_extract_norm="layer",
        do_stable_layer_norm=True, pad_token_id=0,
    )  # fmt: skip
    tj.save_pretrained(tj.from_config(config, head="ctc", key=jax.random.key(0)), folder)
    Readers(processor=new_sound(config, 4000)).save(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    named = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "bos_token": None, "eos_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return str(folder)


def draw(folder, classes, each=2):
    """A folder of pictures of some classes."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            levels = rng.integers(0, 255, (12, 12, 3)).astype(np.uint8)
            Image.fromarray(levels).save(folder / name / f"{number}.png")
    return str(folder)


def record(file, samples, rate=4000):
    """A WAV file of noise."""
    body = (np.random.default_rng(0).normal(size=samples) * 3000).astype("<i2").tobytes()
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    parts = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(body)) + body
    Path(file).write_bytes(b"RIFF" + struct.pack("<I", len(parts)) + parts)
    return str(file)


def error_of(capsys, *arguments):
    """The one line of a command that fails."""
    assert cli.main([*arguments]) == 1
    return capsys.readouterr().err.splitlines()[-1]


def advised(line, pattern):
    """The flags that a line says to type."""
    found = re.search(pattern, line)
    assert found, line
    return found[0].split()


def corpus_of(task, folder, head, **data):
    """What a run reads, up to its first step."""
    model = tj.from_pretrained(folder, head=head).abstract()
    table = Table(**data)
    tokenizer = load_tokenizer(folder) if "text" in task.reads else None
    processor = tj.load_processor(folder) if head == "ctc" else with_settings(folder)
    return read_task(table, task, tokenizer, model, processor=processor)


# ---------------------------------------------------------------- damage


def test_predict_and_evaluate_leave_out_pictures_as_their_error_says(vit, tmp_path, capsys):
    table = draw(tmp_path / "pictures", NAMES[:2])
    (tmp_path / "pictures/cat/1.png").write_bytes(b"no picture")
    predict = ["predict", vit, "--input", table, "--out", "out.jsonl"]
    line = error_of(capsys, *predict)
    assert re.search(r"1 of 4 pictures cannot be read: .*cat/1\.png", line)
    assert " object at " not in line
    skip = advised(line, r"--data\.damaged skip")
    assert cli.main([*predict, *skip]) == 0
    said = capsys.readouterr().err
    assert re.search(r"left out: .*cat/1\.png", said)
    assert "1 of 4 records could not be read" in said
    lines = [json.loads(one) for one in Path("out.jsonl").read_text().splitlines()]
    assert ["error" in one for one in lines] == [False, False, False, True]
    measured = ["evaluate", "--model", vit, "--data", table]
    assert advised(error_of(capsys, *measured), r"--data\.damaged skip") == skip
    assert cli.main([*measured, "--damaged", "skip"]) == 0  # either name of the flag
    said = capsys.readouterr().err
    assert "left out, 1 of 4 pictures cannot be read" in said
    assert "3 records; a figure of fewer than 10 says little" in said


def test_a_table_of_which_nothing_can_be_read_fails(vit, ctc, tmp_path, capsys):
    for model, name in ((vit, "none.png"), (ctc, "none.wav")):
        Path("t.jsonl").write_text(json.dumps({"image": name, "audio": name, "text": "A"}))
        predict = ["predict", model, "--input", "t.jsonl", "--out", f"{name}.jsonl"]
        line = error_of(capsys, *predict, "--damaged", "skip")
        assert re.search(f"none of the 1 records could be read: .*{name}", line)
        assert json.loads(Path(f"{name}.jsonl").read_text()).keys() == {"error"}
        with pytest.raises(ValueError, match="none of the 1 records could be read"):
            tj.predict(model, "t.jsonl", damaged="skip")


def test_recordings_of_another_rate_are_resampled_as_the_error_says(ctc, capsys):
    record("slow.wav", 4000, rate=8000)
    predict = ["predict", ctc, "--input", "slow.wav", "--out", "out.jsonl"]
    line = error_of(capsys, *predict, "--damaged", "skip")  # it is not damaged
    assert "slow.wav has 8000 samples a second" in line
    assert cli.main([*predict, *advised(line, r"--data\.resample")]) == 0
    assert json.loads(Path("out.jsonl").read_text()).keys() == {"text"}


def test_a_recording_is_named_that_is_too_short(ctc, capsys):
    short = {"audio": record("short.wav", 10), "text": "A"}
    long = {"audio": record("long.wav", 400), "text": "HELLOHELLOHELLO"}
    for one, words in (
        (short, r"line 1 \(short\.wav\): 10 samples are less than one frame, .* of 40 \(10 ms\)"),
        (long, r"line 1 \(long\.wav\): 15 symbols do not fit into the 10 frames"),
    ):
        Path("t.jsonl").write_text(json.dumps(one))
        assert re.search(words, error_of(capsys, "evaluate", "--model", ctc, "--data", "t.jsonl"))
    assert "less than one frame" in error_of(
        capsys, "predict", ctc, "--input", "short.wav", "--out", "o.jsonl"
    )
    Path("junk.wav").write_bytes(b"junk")
    line = error_of(capsys, "predict", ctc, "--input", "junk.wav", "--out", "o.jsonl")
    assert "junk.wav is no audio that can be read" in line
    assert " object at " not in line


# ---------------------------------------------------------------- inputs


def test_a_picture_is_predicted_and_what_no_model_reads_is_refused(vit, ctc, tmp_path, capsys):
    picture = f"{draw(tmp_path / 'pictures', NAMES[:1])}/bird/0.png"
    assert cli.main(["predict", vit, "--input", picture, "--out", "out.jsonl"]) == 0
    assert len(Path("out.jsonl").read_text().splitlines()) == 1
    line = error_of(capsys, "predict", ctc, "--input", picture, "--out", "o.jsonl")
    assert "holds pictures, and this model reads sound" in line
    with pytest.raises(ValueError, match="holds a recording, and this model reads text"):
        read_input(record("a.wav", 99), "utf-8", task=SequenceClassification())
    Path("a.pdf").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"a\.pdf is no table and no plain text"):
        read_input("a.pdf", "utf-8")


def test_pictures_of_another_size_are_trained_on_as_the_error_says(vit, tmp_path, capsys):
    table = draw(tmp_path / "pictures", NAMES[:2], each=3)
    run = ["finetune", "--task", "image_classification", "--model", vit, "--data.train", table]
    for size, fitting in ((4, 6), (10, 18), (30, 30)):
        line = error_of(capsys, *run, "--dry-run", "--data.image-size", str(size))
        assert f"become {size} x {size} pixels" in line
        assert "the model reads 12 x 12" in line
        words = advised(line, r"--data\.image-size \d+ --model\.image-size \d+")
        assert words[1] == words[3] == str(fitting)
        config = configured([*run[1:], *words], "finetune")
        config = resolve(config, tmp_path / "run", None, lambda line: None).config
        model, _ = start_model(config, None, lambda line: None)
        assert model.embed.position.shape[0] == 1 + (fitting // 6) ** 2


# ---------------------------------------------------------------- classes


def test_a_folder_without_classes_and_one_class_are_refused(vit, tmp_path):
    task = ImageClassification()
    flat = draw(tmp_path / "flat", [""], each=3)
    with pytest.raises(ValueError, match=r"none of 'label', .*: put the pictures .*flat/CLASS/1"):
        corpus_of(task, vit, "image_classification", train=flat)
    one = draw(tmp_path / "one", ["cat"])
    with pytest.raises(ValueError, match=r"one: there is one class alone, 'cat'"):
        corpus_of(task, vit, "image_classification", train=one)
    (tmp_path / "flat/cat").mkdir()
    (tmp_path / "flat/0.png").rename(tmp_path / "flat/cat/0.png")
    with pytest.raises(ValueError, match=r"1\.png has no 'label'.*: put the pictures"):
        corpus_of(task, vit, "image_classification", train=flat)


def test_classes_without_a_record_and_few_records_are_warned_of(vit, tmp_path):
    table = draw(tmp_path / "two", NAMES[1:], each=6)
    read = lambda train, **data: corpus_of(
        ImageClassification(), vit, "image_classification", train=train, **data
    )
    notes = "\n".join(read(table).notes)
    assert "WARNING: " in notes
    assert "tells 3 classes apart, and no record to train on is of bird:" in notes
    advice = r"WARNING: .*two, held out: \d records?; a figure of fewer than 10 says little: .*"
    assert re.search(advice + "--data.validation-fraction", notes)
    whole = read(draw(tmp_path / "three", NAMES, each=4), validation=str(tmp_path / "three"))
    assert "WARNING" not in "\n".join(whole.notes)


# ---------------------------------------------------------------- characters


def test_characters_that_the_vocabulary_lacks_are_counted(ctc, capsys):
    record("a.wav", 2000)
    texts = ["HELLO", "HELLO é", "éß OLE"]
    rows = [json.dumps({"audio": "a.wav", "text": text}) for text in texts]
    Path("t.jsonl").write_text("\n".join(rows))
    line = (
        "2 characters that the vocabulary lacks: 'é' (2), 'ß' (1); written as <unk> in 2 of 3 "
        "texts, the first at t.jsonl, line 2"
    )
    data = dict(train="t.jsonl", validation_fraction=0.0)
    assert f"WARNING: {line}" in corpus_of(CTC(), ctc, "ctc", **data).notes
    assert cli.main(["evaluate", "--model", ctc, "--data", "t.jsonl"]) == 0
    assert line in capsys.readouterr().err


def test_letters_of_the_other_case_are_told_and_both_advices_work(ctc, tmp_path, caplog):
    record("a.wav", 2000)
    made = lambda text: Path("t.jsonl").write_text(json.dumps({"audio": "a.wav", "text": text}))
    read = lambda folder: corpus_of(CTC(), folder, "ctc", train="t.jsonl", validation_fraction=0.0)
    made("hello")
    with pytest.raises(ValueError, match=r"line 1: .* no character of the text 'hello'") as error:
        read(ctc)
    advice = re.search(r'\(text\.(\w+)\(\)\), or set ("do_lower_case": true) in (\S+)$',
                       str(error.value))  # fmt: skip
    assert advice
    tj.load_processor(ctc)(audio=np.ones(400, np.float32), text="hello")
    assert "'l' (2)" in caplog.text
    made(getattr("hello", advice[1])())
    assert not [note for note in read(ctc).notes if "WARNING" in note]
    own = tmp_path / "own"
    own.mkdir()
    for file in Path(ctc).iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    said = json.loads((own / advice[3]).read_text())
    (own / advice[3]).write_text(json.dumps({**said, **json.loads(f"{{{advice[2]}}}")}))
    made("hello")
    assert not [note for note in read(str(own)).notes if "WARNING" in note]


def test_a_vocabulary_without_unknown_characters_names_the_text(ctc):
    from transformers_jax.data.tokenizers import train_tokenizer

    small = train_tokenizer("character", ["hello"], 32, ("pad",))
    with pytest.raises(ValueError, match=r"b: .*'x'.*does not occur"):
        check_characters(small, ["hello", "hex"], ["a", "b"])
    with pytest.raises(ValueError, match=r"a: .*'OLE'; it has small letters: .*text\.lower"):
        check_characters(small, ["OLE"], ["a"])
    assert check_characters(small, ["ole"], ["a"]) == []
    spaced = load_tokenizer(ctc)
    assert check_characters(spaced, ["A B", " "], ["a", "b"]) == []
