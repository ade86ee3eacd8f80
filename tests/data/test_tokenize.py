"""The tokenize command: as in memory, with any number of processes, and after a kill."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from transformers_jax.cli import main
from transformers_jax.data.config import Data
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.token_folders import check_tokens
from transformers_jax.data.tokenize import Request, tokenize
from transformers_jax.data.tokenizers import train_tokenizer

OPTIONS = ["--tokenizer", "bpe", "--vocab-size", "300", "--documents", "line"]


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "lines.txt"
    path.write_text("".join(f"Document {n} says {n * n}. It Has two.\n" for n in range(60_000)))
    return str(path)


def content(folder):
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_a_folder_holds_what_a_run_would_encode(tmp_path, capsys):
    source = tmp_path / "t.txt"
    source.write_text("".join(f"Document {n}. It has Two.\n" for n in range(90)))
    out = tmp_path / "out"
    flags = [*OPTIONS, "--eos", "--sentences", "--shard-size", "1KB"]
    assert main(["tokenize", str(source), "--out", str(out), *flags]) == 0
    assert "tokens/s; train with --data.path" in capsys.readouterr().out
    settings = Data(path=str(source), tokenizer="bpe", vocab_size=300, documents="line")
    memory = load_corpus(settings, eos=True, sentences=True)
    disk = load_corpus(Data(path=str(out)), eos=True, sentences=True)
    assert disk.fingerprint == memory.fingerprint
    inner = load_corpus(Data(path=str(out / "train"), tokenizer="none", eval_fraction=0.1))
    assert inner.tokenizer.fingerprint == memory.tokenizer.fingerprint
    assert disk.bytes_per_token == memory.bytes_per_token
    np.testing.assert_array_equal(*(np.asarray(c.parts[0].tokens.ids) for c in (disk, memory)))
    assert main(["tokenize", str(source), "--out", str(out), *flags]) == 0  # nothing left to do
    assert main(["tokenize", str(source), "--out", str(out), *OPTIONS]) == 1
    assert "eos: True -> False" in capsys.readouterr().err


def test_processes_change_nothing(tmp_path):
    source = tmp_path / "t.txt"
    source.write_text("".join(f"Document {n}.\n" for n in range(900)))
    request = Request(str(source), "byte", documents="line")
    for count in (1, 2):
        tokenize(request, tmp_path / str(count), processes=count, say=lambda line: None)
    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_killed_and_run_again_it_writes_the_same_bytes(lines, tmp_path):
    command = [sys.executable, "-m", "transformers_jax", "tokenize", lines, *OPTIONS]
    command += ["--shard-size", "64KB", "--out"]
    subprocess.run([*command, str(tmp_path / "once")], check=True, capture_output=True)
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (killed / "train" / "shard-00002.json").exists():
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "validation" / "meta.json").exists()
    again = subprocess.run([*command, str(killed)], check=True, capture_output=True, text=True)
    assert "going on behind" in again.stderr or "done before" in again.stderr
    assert content(killed) == content(tmp_path / "once")
    check_tokens(killed / "train")


def test_folders_and_arguments_that_do_not_serve_are_refused(tmp_path):
    source = tmp_path / "t.txt"
    source.write_text("one\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("")
    with pytest.raises(ValueError, match="full holds a; give a new folder"):
        tokenize(Request(str(source), "byte"), tmp_path / "full")
    with pytest.raises(ValueError, match="at least 1"):
        tokenize(Request(str(source), "byte"), tmp_path / "new", processes=0)
    with pytest.raises(ValueError, match=r"bpee/tokenizer\.json does not exist"):
        tokenize(Request(str(source), "bpee"), tmp_path / "new")
    assert not (tmp_path / "new").exists()  # it is free for the right tokenizer
    with pytest.raises(ValueError, match="must lie in"):
        Request("a", "byte", eval_fraction=1.0)


def test_eos_of_a_tokenizer_without_one_is_told_as_the_flag(tmp_path, capsys):
    source, out = tmp_path / "t.txt", tmp_path / "out"
    source.write_text("some text")
    bare = tmp_path / "bare"
    train_tokenizer("byte", [], 256).save(bare)
    flags = ["tokenize", str(source), "--tokenizer", str(bare), "--out", str(out)]
    assert main([*flags, "--eos"]) == 1
    assert "the tokenizer " + str(bare) + " has none; leave --eos out" in capsys.readouterr().err
    assert main(flags) == 0


def test_tokens_of_another_tokenizer_are_told_how_they_are_made(tmp_path):
    source, out = tmp_path / "t.txt", tmp_path / "out"
    source.write_text("some text")
    assert main(["tokenize", str(source), "--tokenizer", "character", "--out", str(out)]) == 0
    other = tmp_path / "run"
    train_tokenizer("byte", [], 256).save(other)
    with pytest.raises(ValueError, match=f"`transformers-jax tokenize --tokenizer {other}`"):
        load_corpus(Data(path=str(out), tokenizer=str(other)))
