"""Runs the shell blocks of a page as they stand there:  python -m tests.docs.commands PAGE FOLDER

bash reads every line and expands it; the programs that it finds are stand-ins, which write down
their arguments. What they name is then run in this process, so that programs are compiled once, in
an empty folder with small files and models under the names that the page uses.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import jax

import transformers_jax as tj
from tests.runs.folders import make_run
from transformers_jax import cli
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.training import config as run_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
SMALLER = {
    "--steps 4000": "--steps 8",
    "--kills 50": "--kills 1",
    "--epochs 5": "--epochs 1",
    "train.dates --out runs/dates": "train.dates --out runs/dates --steps 2",
    "train.gallery --out docs/gallery": "train.gallery vit --steps 1 --out docs/gallery",
    "--max-new-tokens 64": "--max-new-tokens 4",
    "--vocab-size 32000": "--vocab-size 400",
    "--vocab-size 8000": "--vocab-size 400",
}
"""What stands in a page, and what is run in its place, to save time."""

SIZES = {
    "n_layer": 1, "num_hidden_layers": 1, "num_layers": 1, "encoder_layers": 1, "decoder_layers": 1,
    "num_decoder_layers": 1, "n_head": 4, "num_attention_heads": 4, "num_heads": 4,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_key_value_heads": 4,
    "n_embd": 64, "hidden_size": 64, "d_model": 64, "embedding_size": 64, "d_kv": 16, "d_ff": 64,
    "intermediate_size": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "head_dim": 16,
}  # fmt: skip
"""The sizes of every model of a config, as far as its family has them."""


def blocks(page: Path) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```(?:bash|sh)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def lines(block: str) -> list[str]:
    """The command lines of a block; those that end in a backslash are joined by bash."""
    return [line for line in re.split(r"(?<!\\)\n", block) if line.strip()]


def small(path: str) -> run_config.TrainConfig:
    """The config of a file under configs/, of a size that is trained in a second."""
    config = run_config.load(ROOT / path)
    return config.replace(
        model=small_model(config.model),
        data=replace(config.data, path=_small_path(config.data.path), batch=8, length=32,
                     window=64, vocab_size=min(config.data.vocab_size, 600)),
        steps=4, schedule_steps=None, accumulate=1, save_every=2, log_every=1,
        evaluation=replace(config.evaluation, every=2, batches=2),
        sample=replace(config.sample, tokens=4, count=min(config.sample.count, 1)),
    )  # fmt: skip


def _small_path(path: str) -> str:
    return "text.txt" if path == "python_docs" else path


def small_model(config: tj.models.config.FamilyConfig) -> tj.models.config.FamilyConfig:
    """The config of a family with its sizes made small, also those of the configs that it holds."""
    changes: dict = {}
    for name in (f.name for f in fields(config)):
        value = getattr(config, name)
        if isinstance(value, tj.models.config.FamilyConfig):
            changes[name] = small_model(value)
        elif name in SIZES and value is not None:
            changes[name] = SIZES[name]
    return replace(config, **changes)


# ---------------------------------------------------------------- the files of a page


def write_files(folder: Path, page: str) -> None:
    """Everything that the page's commands read and no command before has made."""
    (folder / "notes.txt").write_text("A note of a few words, and another one.\n" * 200)
    pages = "\n\n".join(page.read_text() for page in PAGES)
    (folder / "text.txt").write_text(pages)
    records = [json.dumps({"text": f"Note {n}: " + "many words " * 20}) for n in range(80)]
    (folder / "notes.jsonl").write_text("\n".join(records))
    (folder / "books").mkdir()
    for name in ("a", "b"):
        with gzip.open(folder / f"books/{name}.jsonl.gz", "wt") as file:
            file.write("\n".join(records))
    for path in ROOT.glob("configs/**/*.py"):
        stand_in = folder / path.relative_to(ROOT)
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.write_text(
            f"from tests.docs.commands import small\n\n\n"
            f"def config():\n    return small({path.relative_to(ROOT).as_posix()!r})\n"
        )
    FILES.get(page, lambda folder: None)(folder)


def _write_model(folder: Path) -> None:
    config = tj.GPT2Config(vocab_size=256, n_positions=128, n_embd=16, n_layer=1, n_head=2)
    tj.save_pretrained(tj.from_config(config, head="causal_lm", key=jax.random.key(0)), folder)
    train_tokenizer("byte", [], 256).save(folder)


def _models(folder: Path) -> None:
    make_run(folder / "runs/gpt")
    prompts = [{"prompt": f"Note {n}: ", "id": n} for n in range(20)]
    (folder / "prompts.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in prompts))
    for name in ("gpt2", "old-checkpoint", "runs/gpt/model"):
        _write_model(folder / name)


def _runs(folder: Path) -> None:
    for name in ("a", "b"):
        make_run(folder / "runs" / name)
    make_run(folder / "sweeps/a")
    for size in (50_000, 200_000, 800_000):
        for steps in (60, 120, 240):
            level = 1.7 + 40 / size**0.34 + 41 / (64 * steps) ** 0.28
            config = {"model": {"model_type": "gpt2", "n_embd": size // 1000}}
            more = {"tokens": 64 * steps, "flops": 6 * size * 64 * steps}
            run = folder / f"runs/sizes/{size}-{steps}"
            make_run(run, steps, parameters=size, level=level, config=config, more=more)


FILES: dict[str, Callable[[Path], None]] = {
    "command-line": _models,
    "watching-runs": _runs,
}


# ---------------------------------------------------------------- running

STAND_IN = """#!/bin/sh
printf '%s\\0' "${0##*/}" "$@" >> "$COMMANDS"
printf '\\1' >> "$COMMANDS"
"""


def expand(line: str, bin: Path) -> list[list[str]]:
    """The programs that bash starts for a line, each with its arguments."""
    record = bin / "commands"
    record.write_text("")
    environment = {**os.environ, "PATH": f"{bin}:/usr/bin:/bin", "COMMANDS": str(record)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", line], env=environment, check=True)
    commands = record.read_text().split("\1")[:-1]
    return [command.split("\0")[:-1] for command in commands]


def execute(program: str, *arguments: str) -> None:
    """Does in this process what the command would do; raises if it fails."""
    if program == "pip":
        return check_requirements(arguments)
    if program == "transformers-jax":
        status = cli.main(arguments)
    elif program == "python" and arguments[0] == "-m":
        if arguments[1] == "pytest":  # what is running
            return None
        status = run_module(*arguments[1:])
    else:
        raise AssertionError(f"no stand-in for {program} {' '.join(arguments)}")
    assert not status, f"{program} {' '.join(arguments)} ended with the status {status}"


def run_module(module: str, *arguments: str) -> int | str | None:
    """Runs python -m MODULE ARGUMENTS; returns the exit status."""
    before, sys.argv = sys.argv, [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        return stop.code
    finally:
        sys.argv = before
    return 0


def check_requirements(arguments: tuple[str, ...]) -> None:
    """Asserts that `pip install -e ".[extra,...]"` names extras that there are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert arguments[:2] == ("install", "-e"), arguments
    for extra in re.fullmatch(r"\.\[([\w,]+)\]", arguments[2])[1].split(","):
        assert extra in project["optional-dependencies"], f"pyproject.toml has no extra {extra}"


def smaller(line: str) -> str:
    """The line with what takes long made small."""
    for before, after in SMALLER.items():
        line = line.replace(before, after)
    return line


def main(page: str, folder: str) -> None:
    """Runs every line of the page's blocks, in order, in the folder."""
    path, bin = Path(page), Path(folder, "bin")
    bin.mkdir()
    for program in ("python", "pip", "transformers-jax"):
        (bin / program).write_text(STAND_IN)
        (bin / program).chmod(0o755)
    with contextlib.chdir(folder):
        write_files(Path("."), path.stem)
        for line in (line for block in blocks(path) for line in lines(block)):
            commands = expand(smaller(line), bin)
            assert commands or line.lstrip().startswith("#"), f"{line} starts no program"
            for command in commands:
                print("+", *command, flush=True)
                execute(*command)


if __name__ == "__main__":
    main(*sys.argv[1:])
