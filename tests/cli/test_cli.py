"""The command line in processes of its own, and its functions in this process."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from transformers_jax import cli, flags

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/conformance/cases"
SENTENCES = ROOT / "tests/embedding/sentences"
GPT2, OLDER, T5 = CASES / "gpt2", CASES / "older-gpt2", CASES / "t5-v1.1"
CACHE = tempfile.mkdtemp(prefix="transformers_jax_test_")
ENVIRONMENT = {
    **os.environ,
    "TRANSFORMERS_JAX_CACHE": CACHE,
    "PYTHONPATH": str(ROOT),
    "JAX_PLATFORMS": "cpu",
    "COLUMNS": "100",
}


def run(*arguments, status=0, text="", **environment) -> tuple[str, str]:
    """stdout and stderr of a command in a process of its own; its exit status is checked."""
    command = [sys.executable, "-m", "transformers_jax", *map(str, arguments)]
    options = dict(text=True, capture_output=True, input=text, timeout=240)
    done = subprocess.run(command, env={**ENVIRONMENT, **environment}, **options)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr


@pytest.fixture(scope="module", autouse=True)
def _clean_up():
    yield
    shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(scope="module")
def with_tokenizer(tmp_path_factory) -> Path:
    """The small GPT-2 with a tokenizer: the words w0 ... w95."""
    import tokenizers

    folder = tmp_path_factory.mktemp("models") / "worded"
    shutil.copytree(GPT2, folder)
    model = tokenizers.models.WordLevel({f"w{i}": i for i in range(96)}, unk_token="w0")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}  # GPT-2's own would add <|endoftext|>
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_help_of_every_command_is_quick():
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # processor seconds
    for name in ("pretrain", "generate", "inspect", "convert", "check-checkpoint", "env"):
        begin = spent()
        out, _ = run(name, "--help")
        assert out.startswith("usage: transformers-jax")
        assert spent() - begin < 1.5


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from transformers_jax.cli import main; main(['generate', '--help']); "
        "print([m for m in ('jax', 'flax', 'numpy', 'rich', 'torch') if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True)
    assert process.stdout.decode().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generat", "x"], "did you mean 'generate'?"),
        (["generate", "x", "--max-new-token", "3"], "did you mean '--max-new-tokens'?"),
        (
            ["generate", "x", "--beam-size", "3"],
            "unknown flag --beam-size (transformers-jax generate --help)",
        ),
        (["generate"], "Missing from transformers-jax generate: MODEL"),
        (["inspect", "x", "more"], "Unrecognized options: more"),
        (["--json", "generate", "x"], "--json comes before the command"),
    ],
)
def test_misuse_is_one_line_that_names_the_nearest(arguments, words):
    out, err = run(*arguments, status=2)
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", "no/where/here"], "does not exist"),
        (["generate", GPT2, "--ids", "5 96"], "outside the vocabulary [0, 96)"),
        (["generate", GPT2, "--ids", "five"], "expected numbers"),
        (["generate", GPT2, "--prompt", "words"], "tokenizer.json"),
        (["convert", GPT2, GPT2], "is the source itself"),
        (["pretrain", "no_such_config.py"], "does not exist"),
    ],
)
def test_a_failure_is_one_line_and_a_status(arguments, words):
    _, err = run(*arguments, status=1)
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", GPT2, "--ids", "5", "--prompt", "x"], "--ids and --prompt exclude"),
        (["generate", GPT2, "--ids", "9" * 21], f"{'9' * 21} is no token id"),
        (["generate", GPT2, "--ids", str(2**32 + 5)], "4294967301 is no token id"),
        (["generate", GPT2, "--ids", "5", "--do-sample", "--seed", "9" * 20], f"--seed {'9' * 20}"),
        (["generate", CASES / "whisper", "--ids", "5"], r"does not read text but input_features"),
        (["inspect", CASES / "clip", "--ids", "5"], "clip reads pixel_values along with tokens"),
        (["inspect", GPT2, "--ids", "5", "--target", "4"], "--target: gpt2 has no encoder"),
        (["inspect", T5, "--target", "4"], "--target is what is decoded from"),
        (["inspect", GPT2, "--new", "4"], "--new is what is written behind a --text or --ids"),
        (["inspect", T5, "--ids", "4", "--new", "4", "--target", "5"], "--new exclude each other"),
        (["inspect", T5, "--ids", "4", "--new", "0"], "--new"),
        (["inspect", T5, "--ids", "4", "--text", "x"], "--text and --ids exclude each other"),
    ],
)
def test_what_would_be_dropped_or_does_not_fit_is_refused(arguments, words, here):
    with pytest.raises(ValueError, match=words):
        here(*arguments)


def test_help_behind_a_model_has_the_same_usage(capsys):
    for words in (["-h"], ["model", "-h"], ["model", "--json", "--help"]):
        with pytest.raises(SystemExit):
            cli.run(["generate", *words])
        assert capsys.readouterr().out.startswith(
            "usage: transformers-jax generate [-h] [OPTIONS] MODEL\n"
        )


def test_the_fields_of_a_command_are_its_flags(capsys):
    parse = lambda name, *words: flags.parse(cli.COMMANDS[name], words, name)
    tokenize = parse("tokenize", *"a.txt --tokenizer byte --out o --processes 2".split())
    assert (tokenize.source, tokenize.documents, tokenize.eval_fraction) == ("a.txt", "file", 0.1)
    assert (tokenize.processes, tokenize.vocab_size, tokenize.eos) == (2, 32768, False)
    with pytest.raises(ValueError, match=r"'page'.*'file', 'paragraph', 'line'"):
        parse("tokenize", *"a.txt --tokenizer byte --out o --documents page".split())
    with pytest.raises(ValueError, match="--tokenizer"):
        parse("tokenize", "a.txt", "--out", "o").request()
    generate = parse("generate", "m", "--ids", "5 6", "--ids", "7", "--top-p", "0.5", "--top_k=0")
    assert (generate.ids, generate.prompt) == (("5 6", "7"), ())
    assert generate.settings() == {"top_p": 0.5, "top_k": 0}
    assert parse("runs", "a", "b").folders == ("a", "b")
    with pytest.raises(SystemExit):
        parse("tokenize", "--help")
    assert "(default: 256MiB)" in capsys.readouterr().out


def test_debug_shows_the_traceback():
    _, err = run("inspect", "no/where/here", "--debug", status=1)
    assert "Traceback" in err


def test_generate_continues_prompts_and_lines(with_tokenizer, here):
    several = ["--prompt", "w5 w17", "--prompt", "w9", "--json"]
    output = here("generate", with_tokenizer, *several, "--max-new-tokens", 4)
    first, second = map(json.loads, output.splitlines())
    assert (first["prompt"], second["prompt"]) == ("w5 w17", "w9")
    ids = json.loads(here("generate", GPT2, "--ids", "5 17", "--max-new-tokens", 4, "--json"))
    assert [f"w{i}" for i in ids["text"].split()] == first["text"].split()
    lines, _ = run("generate", with_tokenizer, "--max-new-tokens", "4", text="w5 w17\n")
    assert lines == f"w5 w17{first['text']}\n"


def test_sampling_repeats_with_its_seed(here):
    command = ["generate", GPT2, "--ids", "5", "--do-sample", "--max-new-tokens", "12", "--seed"]
    once, again, other = (here(*command, seed) for seed in (3, 3, 4))
    assert once == again != other


def test_the_folder_of_a_run_is_read_as_its_model(with_tokenizer, tmp_path, here):
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "config.json").write_text('{"steps": 3, "model": {"model_type": "gpt2"}}')
    with pytest.raises(ValueError, match="has not ended; continue it with"):
        here("generate", tmp_path, "--prompt", "w5")
    assert "124,439,808" in here("inspect", tmp_path / "config.json")  # GPT-2 small
    shutil.copytree(with_tokenizer, tmp_path / "model")
    assert "13,632" in here("inspect", tmp_path)


def test_inspect_summarises_a_checkpoint():
    out, _ = run("inspect", T5)
    for words in ("T5ForConditionalGeneration", "37,216", "CAUSAL", "Full()", "■ · · ·",
                  "encoder.block.{0-1}.layer.0.SelfAttention.q.weight", "(h k) d -> d h k",
                  "layers 2, embed 24, heads 4, kv 8", "every tensor has its place"):  # fmt: skip
        assert words in out
    assert max(map(len, out.splitlines())) <= 120
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_inspect_as_json_maps_every_weight(here):
    out = here("inspect", OLDER, "--json")
    facts = json.loads(out)
    assert sum(weight["tensors"] for weight in facts["weights"]) == 28
    assert facts["total"] == sum(part["count"] for part in facts["parts"])
    assert len(facts["report"]["ignored"]) == 4


def test_inspect_of_a_config_needs_no_weights(tmp_path, here):
    shutil.copy(GPT2 / "config.json", tmp_path)
    out = here("inspect", tmp_path, "--head", "sequence_classification")
    assert "no weights here" in out
    assert "head.classify.weight" in out


@pytest.mark.parametrize(
    ("name", "head"),
    [("t5", "seq2seq_lm"), ("bert_mlm", "masked_lm"), ("electra", "replaced_token")],
)
def test_a_run_is_inspected_with_the_head_of_its_objective(name, head, here):
    facts = json.loads(here("inspect", ROOT / f"configs/python_docs/{name}.py", "--json"))
    assert facts["head"] == head


def test_inspect_shows_what_does_not_fit(tmp_path):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(GPT2 / "model.safetensors")
    tensors["stray"] = tensors.pop("transformer.ln_f.bias")
    save_file(tensors, tmp_path / "model.safetensors")
    shutil.copy(GPT2 / "config.json", tmp_path)
    out, err = run("inspect", tmp_path, status=1)
    assert "missing (1)\n  transformer.ln_f.bias" in out
    assert "unexpected (1)\n  stray" in out
    assert "does not fit GPT2LMHeadModel" in err


def test_inspect_draws_what_was_written_and_what_it_is_due_to(tmp_path, here):
    here("inspect", GPT2, "--ids", "5 17 3", "--new", "4", "--out", tmp_path / "gpt2")
    assert {f.name for f in (tmp_path / "gpt2").iterdir()} == {
        "graph-stack-self.png", "attentions.png", "attributions.png"
    }  # fmt: skip
    here("inspect", T5, "--ids", "5 17 3", "--new", "3", "--out", tmp_path / "t5")
    assert {f.name for f in (tmp_path / "t5").iterdir()} >= {
        "cross-attentions.png", "attributions.png", "decoder-attributions.png"
    }  # fmt: skip


def test_inspect_draws_graphs_and_maps_over_a_text(with_tokenizer, tmp_path, here):
    here("inspect", T5, "--ids", "5 17 3", "--out", tmp_path / "t5")
    here("inspect", with_tokenizer, "--text", "w5 w17 w3 w8", "--out", tmp_path / "gpt2")
    for name, files in {
        "gpt2": {"graph-stack-self", "attentions"},
        "t5": {"graph-encoder-self", "graph-decoder-self", "graph-decoder-cross",
               "encoder-attentions", "decoder-attentions", "cross-attentions"},
    }.items():  # fmt: skip
        pictures = {path.stem: path for path in (tmp_path / name).glob("*.png")}
        assert set(pictures) == files
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures.values())


def test_a_map_shows_weights_and_leaves_grey_what_has_no_edge():
    from transformers_jax.inspection.pictures import NO_EDGE, PIXELS, mosaic

    maps = np.array([[[[1.0, 0.0], [0.25, 0.75]]]])
    image = mosaic(maps)
    assert image.shape == (2 * PIXELS, 2 * PIXELS, 3)
    grey = np.array([int(NO_EDGE[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    np.testing.assert_allclose(image[0, -1], grey)
    dark = image[..., 0]
    assert dark[0, 0] < dark[-1, -1] < dark[-1, 0] < grey[0] + 0.1


def test_convert_modernises_names_and_says_so(with_tokenizer, tmp_path, here):
    shutil.copytree(OLDER, tmp_path / "old")
    shutil.copy(with_tokenizer / "tokenizer.json", tmp_path / "old")
    done = json.loads(here("convert", tmp_path / "old", tmp_path / "new", "--json"))
    assert ["wte.weight", "transformer.wte.weight"] in done["renamed"]
    assert done["copied"] == ["tokenizer.json"]
    assert len(done["dropped"]) == 4
    second = here("convert", tmp_path / "new", tmp_path / "again")
    assert "every tensor has the name and the dtype that it had" in second
    again, new = (tmp_path / name / "model.safetensors" for name in ("again", "new"))
    assert again.read_bytes() == new.read_bytes()


def test_convert_changes_the_dtype_and_splits(tmp_path, here):
    here("convert", GPT2, tmp_path / "half", "--dtype", "bfloat16", "--max-shard-size", "20KB")
    assert (tmp_path / "half/model.safetensors.index.json").exists()
    facts = json.loads(here("inspect", tmp_path / "half", "--json"))
    assert list(facts["stored"]) == ["bfloat16"]


def test_a_head_without_weights_is_drawn_from_a_seed_as_the_error_says(tmp_path, here):
    command = ["convert", GPT2, tmp_path / "new", "--head", "sequence_classification"]
    with pytest.raises(ValueError, match=r"has no weights for head\S+: --seed 0 draws them$"):
        here(*command)
    assert "drawn anew" in here(*command, "--seed", 0)


def test_convert_copies_the_modules_of_a_sentence_embedding_model(tmp_path, here):
    source, target = SENTENCES, tmp_path / "half"
    done = json.loads(here("convert", source, target, "--dtype", "bfloat16", "--json"))
    assert (done["head"], done["dropped"]) == ("embedding", [])
    assert ["2_Dense/linear.weight", "float32", "bfloat16"] in done["retyped"]
    folders = lambda root: {f.relative_to(root) for f in root.rglob("*") if f.is_file()}
    assert folders(target) == folders(source)
    facts = json.loads(here("inspect", target, "--json"))
    assert [step.partition("(")[0] for step in facts["modules"]][:2] == ["Pool", "Project"]
    without_head = json.loads(
        here("convert", source, tmp_path / "bare", "--head", "none", "--json")
    )
    assert "modules.json" not in without_head["files"]  # on request only the transformer is written


def test_convert_copies_no_file_from_elsewhere(tmp_path):
    from transformers_jax.hub.companions import copy_companions

    secret = tmp_path / "secret"
    secret.write_text("private")
    origin, target = tmp_path / "model", tmp_path / "copy"
    origin.mkdir(), target.mkdir()
    (origin / "vocab.txt").symlink_to(secret)
    with pytest.raises(ValueError, match="leads out of its directory"):
        list(copy_companions(origin, target))
    assert not any(target.iterdir())


def test_env_names_versions_and_hides_secrets():
    out, _ = run("env", "--json", HF_TOKEN="hf_secret")
    environment = json.loads(out)
    assert {"jax", "flax", "numpy"} <= set(environment["packages"])
    assert environment["devices"]["backend"] == "cpu"
    assert environment["variables"]["HF_TOKEN"] == "(set)"
    assert "hf_secret" not in out
