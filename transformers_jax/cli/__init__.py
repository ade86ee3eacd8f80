"""The console script: `transformers-jax COMMAND ...`.

generating.py  generate; its prompts.py (files of prompts) and chat.py (a conversation)
revising.py  revise
models.py    convert, student;  inspecting.py  inspect
pictures.py  classify, embed, zero-shot, caption
runs.py      tokenize, export, runs, report, check-checkpoint, env
media.py     transcribe;  folding.py  fold
serving.py   serve
texts.py     prompts in, texts out
files.py     files in, a line of JSON for each out; answers.py: of pictures

A command is a record: its fields are its arguments and flags, and `run` does what it does;
everything heavy is imported there. What commands share is here: a failure is one line on standard
error and a status that is not zero; `--debug`, anywhere, shows the traceback.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from transformers_jax import flags
from transformers_jax.cli import (
    folding,
    generating,
    inspecting,
    media,
    models,
    pictures,
    revising,
    runs,
    serving,
)
from transformers_jax.flags import Misuse
from transformers_jax.printing import from_interrupt, print_line, print_result, to_nowhere
from transformers_jax.runs import evaluate, finetune, pretrain
from transformers_jax.spelling import nearest

PROGRAM = "transformers-jax"
COMMANDS = {
    "generate": generating.Generate,
    "revise": revising.Revise,
    "serve": serving.Serve,
    "inspect": inspecting.Inspect,
    "convert": models.Convert,
    "student": models.Student,
    "transcribe": media.Transcribe,
    "fold": folding.Fold,
    "evaluate": evaluate.Evaluate,
    "predict": evaluate.Predict,
    "classify": pictures.Classify,
    "embed": pictures.Embed,
    "zero-shot": pictures.ZeroShot,
    "caption": pictures.Caption,
    "tokenize": runs.Tokenize,
    "export": runs.Export,
    "runs": runs.Runs,
    "report": runs.Report,
    "check-checkpoint": runs.CheckCheckpoint,
    "env": runs.Env,
}
TRAINING: Mapping[str, Any] = {"pretrain": pretrain, "finetune": finetune}
LONGEST = 1200  # characters of an error's one line
FAILED, MISUSED, PIPE_CLOSED = 1, 2, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status. Ctrl-C is left to `__main__`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if debug := "--debug" in arguments:
        os.environ["TRANSFORMERS_JAX_TRACEBACK"] = "1"  # what pretrain reads
    # the library's warnings as one line each
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s", force=True)
    try:
        status = run([argument for argument in arguments if argument != "--debug"])
        print_result()
        return status
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return FAILED
        return stop.code or 0
    except BrokenPipeError:  # the reader, say `head`, has had enough
        to_nowhere(sys.stdout)
        return PIPE_CLOSED
    except BaseException as error:  # Rust's panics, from tokenizers, are no Exception
        if debug or from_interrupt(error):
            raise
        print_line(f"{PROGRAM}: error: {one_line(error)}", error=True)
        return MISUSED if isinstance(error, Misuse) else FAILED


def run(arguments: list[str]) -> int:
    """Chooses the command and runs it."""
    name = next((word for word in arguments if not word.startswith("-")), None)
    if name is None:
        return show_help(arguments)
    program, place = f"{PROGRAM} {name}", arguments.index(name)
    before, rest = arguments[:place], arguments[place + 1 :]
    if before:
        raise Misuse(
            f"{' '.join(before)} comes before the command, where only --debug may be; the flags of "
            f"a command follow it ({PROGRAM} --help)"
        )
    if name in TRAINING:
        return TRAINING[name].main(rest, program)
    if name not in COMMANDS:
        known = [*TRAINING, *COMMANDS]
        raise Misuse(
            f"unknown command {name!r}{nearest(name, known)}; there are {', '.join(known)}"
        )
    try:
        command = flags.parse(COMMANDS[name], rest, program)
    except Misuse as error:
        raise Misuse(f"{error} ({program} --help)") from None
    command.run()
    return 0


def show_help(arguments: list[str]) -> int:
    """Prints the version, or the commands and their flags."""
    import transformers_jax

    if arguments[:1] == ["--version"]:
        print(transformers_jax.__version__)
        return 0
    print(f"usage: {PROGRAM} [--debug] COMMAND ...\n\nTransformers in JAX: train, load, inspect.\n")
    texts = {
        "pretrain": "Train a model from a config, as python -m train.pretrain does.",
        "finetune": "Fine-tune a model on a task, as python -m train.finetune does.",
    }
    texts |= {name: command.__doc__ or "" for name, command in COMMANDS.items()}
    for name, text in texts.items():
        print(f"  {name:<18}{text.splitlines()[0]}")
    print(
        f"\n{PROGRAM} COMMAND --help lists the flags of a command. With any of them:\n"
        "  --debug           shows tracebacks\n  --version         prints only the version"
    )
    return 0 if arguments else MISUSED


def one_line(error: BaseException) -> str:
    """The message of an error on one line; that of an unexpected error has its kind."""
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    text = text.replace(":; ", ": ")
    expected = isinstance(error, (ValueError, OSError, TypeError))
    text = text if expected and text else f"{type(error).__name__}: {text} (--debug shows where)"
    if isinstance(error, ImportError):
        text = f"{error} (see the extras in the README: train, viz)"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... (--debug shows all of it)"
