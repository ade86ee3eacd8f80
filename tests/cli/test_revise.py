"""`transformers-jax revise`: texts with masks, in this process."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import cli
from transformers_jax.data.tokenizers import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer("byte", [], 256, roles=("mask", "pad"))


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("revised") / "bytes"
    config = tj.BertConfig(
        vocab_size=tokenizer.max_id + 1, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=40, initializer_range=0.3,
        pad_token_id=tokenizer.special_id("pad"), hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = tj.from_config(config, head="masked_lm", key=jax.random.key(0))
    tj.save_pretrained(model, folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture
def here(capsys, monkeypatch):
    monkeypatch.setattr(cli.revising, "keep_compiled_programs", lambda: None)

    def call(*arguments, status=0):
        assert cli.run(["revise", *map(str, arguments)]) == status
        return capsys.readouterr().out

    return call


def test_masks_of_texts_are_written(folder, tokenizer, here):
    prompts = ["a <mask><mask> d", "longer text"]
    command = [folder, "--prompt", prompts[0], "--prompt", prompts[1], "--max-new-tokens", 3]
    lines = [json.loads(line) for line in here(*command, "--json").splitlines()]
    expected = tj.revise(
        tj.from_pretrained(folder), texts=prompts, tokenizer=tokenizer, max_new_tokens=3
    )
    assert [line["text"] for line in lines] == expected
    assert [line["passes"] for line in lines] == [5, 3]
    assert here(*command).split() == "\n".join(expected).split()
    assert expected[1].startswith("longer text")
    fewer = [json.loads(line) for line in here(*command, "--json", "--steps", 2).splitlines()]
    assert [line["passes"] for line in fewer] == [2, 2]


def test_each_pass_is_shown(folder, here):
    out = here(folder, "--prompt", "ab", "--max-new-tokens", 3, "--show")
    gaps = [line.count("_") for line in out.splitlines()]
    assert gaps == [3, 2, 1, 0]
    assert out.splitlines()[0] == "   0  ab___"


def test_a_picture_of_the_passes_is_drawn(folder, tmp_path, here):
    out = tmp_path / "pictures" / "revised.png"
    said = here(folder, "--prompt", "a <mask> b", "--max-new-tokens", 30, "--out", out)
    assert said.splitlines()[-1] == f"wrote {out}"
    assert out.read_bytes()[:4] == b"\x89PNG"


def test_ids_are_texts_without_a_tokenizer(folder, tokenizer, here):
    mask = tokenizer.special_id("mask")
    command = [folder, "--ids", f"66 {mask} 67", "--ids", f"{mask}", "--mask-token-id", mask]
    first, second = here(*command).splitlines()
    row = np.array([[66, mask, 67]])
    expected = tj.revise(tj.from_pretrained(folder), row, mask_token_id=mask)
    assert first == " ".join(map(str, expected[0].tolist()))
    assert len(second.split()) == 1
    assert here(*command, "--show").splitlines()[0] == "   0  66 _ 67"


def test_a_seed_draws_the_same_text(folder, here):
    command = [folder, "--prompt", "", "--max-new-tokens", 9, "--do-sample", "--order", "random"]
    one = here(*command, "--seed", 1)
    assert one == here(*command, "--seed", 1) != here(*command, "--seed", 2)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--ids", "1 2"], "--ids need --mask-token-id N"),
        (["--ids", "1", "--prompt", "a"], "--ids and --prompt exclude each other"),
        (["--prompt", "a", "--mask-token-id", "3"], "--mask-token-id goes with --ids"),
        (["--prompt", "a", "--show", "--json"], "--show and --json exclude each other"),
        (["--prompt", "a"], "nothing to write"),
        (["--prompt", "a", "--prompt", "b", "--out", "x.png"], "of one --prompt"),
        (["--prompt", "a", "--out", "x.pdf"], "--out x.pdf: expected a .png file"),
        (["--prompt", "a", "--max-new-tokens", "99"], "the model has 40 positions"),
    ],
)
def test_what_cannot_be_is_refused(flags, words, folder, capsys, monkeypatch):
    monkeypatch.setattr(cli.revising, "keep_compiled_programs", lambda: None)
    with pytest.raises(ValueError, match=words):
        cli.run(["revise", str(folder), *flags])
