"""The console script: `transformers-jax {pretrain,generate,inspect,convert,check-checkpoint,env}`.

flags.py       what may be typed, from the docstrings of the commands
commands.py    what each command does; everything heavy is imported by the command that needs it
texts.py       prompts in, texts out

What they share is here: a failure is one line on standard error and a status that is not zero;
`--debug`, anywhere, shows the traceback.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from transformers_jax.cli import commands
from transformers_jax.cli.flags import MISUSED, PROGRAM, make_parser
from transformers_jax.spelling import nearest

LONGEST = 1200  # characters of an error's one line
FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if debug := "--debug" in arguments:
        os.environ["TRANSFORMERS_JAX_TRACEBACK"] = "1"  # what pretrain reads
    # the library's warnings as one line each
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s", force=True)
    try:
        return run([argument for argument in arguments if argument != "--debug"])
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return FAILED
        return stop.code or 0
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, say `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except BaseException as error:  # Rust's panics, from tokenizers, are no Exception
        if debug:
            raise
        print(f"{PROGRAM}: error: {one_line(error)}", file=sys.stderr)
        return FAILED


def run(arguments: list[str]) -> int:
    """Chooses the command and runs it."""
    parser, known = make_parser()
    name = next((word for word in arguments if not word.startswith("-")), None)
    if name is not None and name not in known:
        hint = nearest(name, known)
        parser.error(f"unknown command {name!r}{hint}; there are {', '.join(known)}")
    if name == "pretrain" and arguments != ["pretrain", "--help"] and arguments[1:]:
        return commands.pretrain(arguments[1:])  # it has flags of its own, one for each setting
    options, unknown = parser.parse_known_args(arguments)
    if options.command is None:
        parser.print_help()
        return MISUSED
    if unknown:
        own, word = known[options.command], unknown[0].split("=")[0]
        flags = [flag for action in own._actions for flag in action.option_strings]
        kind = "flag" if word.startswith("-") else "argument"
        own.error(f"unknown {kind} {word}{nearest(word, flags)}")
    return options.run(options)


def one_line(error: BaseException) -> str:
    """The message of an error on one line; that of an unexpected error has its kind."""
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    text = text.replace(":; ", ": ")
    expected = isinstance(error, (ValueError, OSError, TypeError))
    text = text if expected and text else f"{type(error).__name__}: {text} (--debug shows where)"
    if isinstance(error, ImportError):
        text = f"{error} (see the extras in the README: train, viz)"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... (--debug shows all of it)"
