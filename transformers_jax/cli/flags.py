"""What may be typed: every command, and its flags, from the docstrings of the commands.

A line of flags is their names and their value, and behind two spaces what they are for. A value is
N (an integer), X (a number), a|b (a choice, by default the first) or a name for a text. After it
stands =DEFAULT, ... (may be given several times), * or + (so many arguments) or ! (required). A
flag without a value is a switch.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from typing import Any, NoReturn

import transformers_jax
from transformers_jax.cli import commands

PROGRAM = "transformers-jax"
MISUSED = 2

COMMANDS = (
    commands.pretrain, commands.generate, commands.inspect, commands.convert, commands.tokenize,
    commands.runs, commands.report, commands.check_checkpoint, commands.env,
)  # fmt: skip
TYPES = {"N": int, "X": float}


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message} ({self.prog} --help)", file=sys.stderr)
        raise SystemExit(MISUSED)


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of the commands by name."""
    about = "Transformers in JAX: train, load and inspect them."
    parser = Parser(PROGRAM, description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=transformers_jax.__version__)
    parser.add_argument("--debug", action="store_true", help="show tracebacks (with any command)")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        about, lines, *end = inspect.getdoc(command).split("\n\n")  # type: ignore[union-attr]
        own = subparsers.add_parser(
            command.__name__.replace("_", "-"),
            help=about.rstrip("."),
            description=about,
            epilog="".join(end),
            allow_abbrev=False,
        )
        own.set_defaults(run=command)
        for line in lines.splitlines():
            names, options = _flags(line)
            for name in names:
                own.add_argument(name, **options)
    return parser, subparsers.choices


def _flags(line: str) -> tuple[list[str], dict[str, Any]]:
    """(names, their options of `add_argument`) of a line of a docstring."""
    left, _, text = line.partition("  ")
    *names, last = left.split(", ")
    name, _, value = last.partition(" ")
    names.append(name)
    value, _, default = value.partition("=")
    options: dict[str, Any] = {"help": text.strip()}
    if "|" in value:
        options["choices"] = choices = value.split("|")
        value, default = "", choices[0]
    if default:
        options |= {"default": default, "help": f"{text.strip()} (default {default})"}
    elif name.startswith("-") and not value:
        return names, {**options, "action": "store_true"}
    if value.endswith("..."):
        options |= {"action": "append", "default": []}
    elif value.endswith(("*", "+")):
        options["nargs"] = value[-1]
    elif value.endswith("!"):
        options["required"] = True
    metavar = value.rstrip(".*+!")
    return names, {**options, "type": TYPES.get(metavar, str), "metavar": metavar or None}
