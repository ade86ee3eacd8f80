"""classify, embed, zero-shot and caption, as people type them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.vision.models import IMAGE
from transformers_jax import cli
from transformers_jax.processing.readers import Readers, new_processor
from transformers_jax.vision.caption import arguments_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call(capsys, monkeypatch):
    """(status, stdout, stderr) of a command in this process."""
    monkeypatch.setattr(cli.answers, "keep_compiled_programs", lambda: None)

    def run(*arguments):
        status = cli.main(list(map(str, arguments)))
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_directory_is_classified_by_the_real_command(vision_model, picture_files, tmp_path):
    folder, files = picture_files
    out = tmp_path / "labels.jsonl"
    command = ["classify", folder, "--model", vision_model("vit"), "--top-k", 2, "--out", out]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment["TRANSFORMERS_JAX_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run(
        [sys.executable, "-m", "transformers_jax", *map(str, command), "--batch", "2"],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = lines(out)
    assert [line["file"] for line in found] == [str(file) for file in files]
    model = tj.from_pretrained(vision_model("vit"))
    processor = tj.load_processor(vision_model("vit"))
    for line, labels in zip(found, tj.classify(model, files, processor=processor, top_k=2)):
        assert [one["label"] for one in line["labels"]] == [one["label"] for one in labels]
        assert line["label"] == labels[0]["label"]
        assert line["score"] == pytest.approx(labels[0]["score"], rel=1e-4)


def test_an_interrupted_command_goes_on(vision_model, picture_files, tmp_path, call):
    folder, files = picture_files
    out = tmp_path / "labels.jsonl"
    command = ["classify", folder, "--model", vision_model("vit"), "--out", out, "--batch", 2]
    assert call(*command)[0] == 0
    whole = out.read_text()
    cut = "\n".join(whole.split("\n")[:3]) + '\n{"file": "ha'  # killed while it wrote
    out.write_text(cut)
    status, _, said = call(*command)
    assert status == 0
    assert "3 of 5 files are in" in said
    labels = [json.loads(line)["label"] for line in whole.splitlines()]
    assert [line["label"] for line in lines(out)] == labels
    status, _, said = call(*command, "--top-k", 1)
    assert status == 1
    assert "made with other top_k" in said
    status, _, said = call("classify", files[1], "--model", vision_model("vit"), "--out", out)
    assert "has lines of other files" in said


def test_a_corrupt_file_is_named_or_skipped(vision_model, picture_files, tmp_path, call):
    files = [*picture_files[1][:2]]
    bad = tmp_path / "bad.png"
    bad.write_bytes(files[0].read_bytes()[:70])
    out = tmp_path / "labels.jsonl"
    command = ["classify", files[0], bad, files[1], "--model", vision_model("vit"), "--out", out]
    status, _, said = call(*command)
    assert status == 1
    assert str(bad) in said
    assert "--on-error skip" in said
    assert said.count("\n") == 1
    status, _, said = call(*command, "--on-error", "skip")
    assert status == 0
    assert f"left out: {bad} is no picture" in said
    assert "1 of 3 files could not be read" in said
    found = lines(out)
    assert [sorted(line) for line in found][1] == ["error", "file"]
    assert [line.get("file") for line in found] == [str(x) for x in (files[0], bad, files[1])]
    status, _, said = call(*command, "--on-error", "skip")  # nothing is left to do
    assert status == 0
    assert f"1 of them with an error: remove {out} to read" in said
    assert lines(out) == found
    status, _, said = call("classify", bad, "--model", vision_model("vit"))
    assert status == 1
    assert str(bad) in said


def test_vectors_of_pictures_and_texts(vision_model, picture_files, tmp_path, call):
    folder, files = picture_files
    out = tmp_path / "vectors.jsonl"
    texts = ["a photo of a dog .", "red fox"]
    command = ["embed", folder, "--model", vision_model("clip"), "--out", out, "--normalize"]
    command += ["--text", texts[0], "--text", texts[1], "--batch", 3]
    assert call(*command)[0] == 0
    found = lines(out)
    assert [line.get("file", line.get("text")) for line in found] == [*map(str, files), *texts]
    model = tj.from_pretrained(vision_model("clip"))
    processor = tj.load_processor(vision_model("clip"))
    expected = tj.encode_images(model, files, processor=processor, normalize=True)
    vectors = np.array([line["vector"] for line in found])
    np.testing.assert_allclose(vectors[:5], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    whole = out.read_text().splitlines()
    out.write_text("\n".join(whole[:6]) + "\n")
    assert call(*command)[0] == 0
    assert [line.get("text") for line in lines(out)[5:]] == texts
    np.testing.assert_allclose(lines(out)[6]["vector"], vectors[6], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "{out}"], "give --pooling cls or --pooling mean"),
        (["--out", "{out}", "--text", "a"], "no tower of texts (--text); models of these families"),
        ([], "give --out FILE.jsonl"),
    ],
)
def test_vectors_that_there_are_none_of(
    arguments, words, vision_model, picture_files, tmp_path, call
):
    place = lambda word: word.format(out=tmp_path / "vectors.jsonl")
    status, _, said = call(
        "embed", picture_files[0], "--model", vision_model("vit"), *map(place, arguments)
    )
    assert status == 1
    assert words in said
    assert said.count("\n") == 1
    out = tmp_path / "pooled.jsonl"
    command = ["embed", picture_files[0], "--model", vision_model("vit"), "--out", out]
    assert call(*command, "--pooling", "cls")[0] == 0
    assert {len(line["vector"]) for line in lines(out)} == {16}


def test_classes_by_their_names(vision_model, picture_files, tmp_path, call):
    folder, files = picture_files
    out = tmp_path / "classes.jsonl"
    command = ["zero-shot", folder, "--model", vision_model("clip"), "--labels", "cat,red fox"]
    command += ["--template", "a photo of a {} .", "--template", "a {} .", "--batch", 2]
    assert call(*command, "--out", out)[0] == 0
    model = tj.from_pretrained(vision_model("clip"))
    processor = tj.load_processor(vision_model("clip"))
    templates = ("a photo of a {} .", "a {} .")
    found = tj.zero_shot(model, files, ["cat", "red fox"], processor=processor, templates=templates)
    assert [line["label"] for line in lines(out)] == list(found.names)
    scores = [list(line["scores"].values()) for line in lines(out)]
    np.testing.assert_allclose(scores, found.probabilities, rtol=1e-4)
    status, shown, _ = call(*command)
    assert status == 0
    assert shown.startswith(f"{files[0]}: {found.names[0]} 0.")


REFUSED = {
    "classify, of two towers": (["classify", "clip"], "no weights for head.*; or zero-shot --lab"),
    "zero-shot, of one": (
        ["zero-shot", "vit", "--labels", "cat,dog"],
        "is a vit, .*: blip, clip, siglip, siglip2, vision-text-dual-encoder; classify gives",
    ),
    "a label twice": (
        ["zero-shot", "clip", "--labels", "cat,cat"],
        "--labels cat,cat: .*each once",
    ),
    "a template without a place": (
        ["zero-shot", "clip", "--labels", "cat,dog", "--template", "cat"],
        "--template 'cat' has no {}",
    ),
    "pooled vectors of two towers": (
        ["embed", "clip", "--out", "{out}", "--pooling", "cls"],
        "--pooling cls: clip has vectors",
    ),
    "no label": (["classify", "vit", "--top-k", 0], "--top-k=0 must be"),
    "no token": (["caption", "described", "--max-new-tokens", 0], "--max-new-tokens=0 must be"),
    "captions of classes": (["caption", "vit"], "vit .* writes no texts about images; load BLIP"),
    "a token that is read as a word": (
        ["caption", "described", "--prompt", "<image> a"],
        "the prompt '<image> a' holds <image>, and vision-encoder-decoder .*: leave it out",
    ),
    "a token beside those of the queries": (
        ["caption", "blip_2", "--prompt", "<image> a"],
        "the prompt '<image> a' holds <image>, and blip-2 .*: leave it out",
    ),
    "no place of the image": (
        ["caption", "llava", "--prompt", "a photo", "--on-error", "skip"],
        "has 0 <image>, .* once, where the image stands, such as '<image> a photo'$",
    ),
    "two places of one image": (
        ["caption", "llava", "--prompt", "<image> a <image>"],
        "has 2 <image>, .* such as '<image> a'$",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_model_does_not_do_is_told_once(case, vision_model, picture_files, tmp_path, call):
    (command, kind, *flags), words = REFUSED[case]
    flags = [str(flag).format(out=tmp_path / "out.jsonl") for flag in flags]
    status, shown, said = call(command, picture_files[0], "--model", vision_model(kind), *flags)
    assert status == 1
    assert shown == ""
    assert re.search(words, said.strip()), said
    assert said.count("\n") == 1
    assert "key=" not in said


def test_what_such_errors_advise_is_read(vision_model, picture_files, call):
    file = picture_files[1][0]
    clip, vit = vision_model("clip"), vision_model("vit")
    assert call("zero-shot", file, "--model", clip, "--labels", "cat,dog")[0] == 0
    assert call("classify", file, "--model", vit)[0] == 0
    for kind, prompt in (("llava", "<image> a photo"), ("blip_2", "a")):
        model, processor = (
            tj.from_pretrained(vision_model(kind)),
            tj.load_processor(vision_model(kind)),
        )
        model.check(arguments_of(model, processor, prompt)([file]))


def test_a_head_that_the_checkpoint_was_trained_with_classifies(picture_files, tmp_path, call):
    config = tj.DeiTConfig(**IMAGE).replace(num_labels=2)
    model = tj.from_config(config, head="image_classification_with_teacher", key=jax.random.key(0))
    model.save_pretrained(tmp_path)
    Readers(processor=new_processor(config)).save(tmp_path)
    status, shown, said = call("classify", picture_files[1][0], "--model", tmp_path)
    assert (status, "LABEL_1" in shown) == (0, True), said


@pytest.mark.parametrize("kind", ["blip", "llava"])
def test_captions(kind, vision_model, picture_files, tmp_path, call):
    folder, files = picture_files
    out = tmp_path / "captions.jsonl"
    prompt = "<image> a photo" if kind == "llava" else "a photo"
    command = ["caption", folder, "--model", vision_model(kind), "--prompt", prompt]
    command += ["--max-new-tokens", 4, "--batch", 2, "--out", out]
    status, _, said = call(*command)
    assert status == 0, said
    model, processor = (
        tj.from_pretrained(vision_model(kind)),
        tj.load_processor(vision_model(kind)),
    )
    expected = tj.caption(model, files, processor=processor, prompt=prompt, max_new_tokens=4)
    assert [line["text"] for line in lines(out)] == expected


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "name one or more files"),
        (["no/such.png"], "there is no file or directory no/such.png"),
        ([ROOT / "configs"], "has no file that ends in .jpg"),
    ],
)
def test_files_that_there_are_none_of(files, words, vision_model, call):
    status, _, said = call("classify", *files, "--model", vision_model("vit"))
    assert status == 1
    assert words in said
