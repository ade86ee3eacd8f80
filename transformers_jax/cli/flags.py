"""The flags of every command. Hugging Face's names, with dashes."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

PROGRAM = "transformers-jax"
MISUSED = 2

GENERATION = """max_new_tokens min_new_tokens do_sample temperature top_k top_p num_beams
    num_return_sequences repetition_penalty no_repeat_ngram_size length_penalty""".split()


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message} ({self.prog} --help)", file=sys.stderr)
        raise SystemExit(MISUSED)


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of the commands by name."""
    import transformers_jax

    about = "Transformers in JAX: train them, load them, look into them."
    parser = Parser(PROGRAM, description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=transformers_jax.__version__)
    parser.add_argument("--debug", action="store_true", help="show tracebacks (with any command)")
    made = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands: dict[str, Parser] = {}

    for name, (text, more, add_flags) in COMMANDS.items():
        commands[name] = made.add_parser(
            name, help=text, description=f"{text}.", epilog=more, allow_abbrev=False
        )
        add_flags(commands[name])
    return parser, commands


def flags_of_pretrain(parser: Parser) -> None:
    """Only what is worth saying without a config."""
    parser.usage = f"{PROGRAM} pretrain CONFIG [--steps N] [--out DIR] [--data.path FILE] ..."
    parser.add_argument("config", help="a Python file with config(), or a run's config.json")


def flags_of_generate(parser: Parser) -> None:
    """Hugging Face's names, with dashes."""
    add = parser.add_argument
    add("model", help="a directory, a run of pretraining, or a hub id")
    add("--prompt", action="append", metavar="TEXT", help="may be given several times")
    add("--ids", action="append", metavar="'5 17 3'", help="a prompt as token ids")
    for name in ("max_new_tokens", "min_new_tokens", "top_k", "num_beams", "num_return_sequences"):
        add(flag(name), type=int, metavar="N")
    for name in ("temperature", "top_p", "repetition_penalty", "length_penalty"):
        add(flag(name), type=float, metavar="X")
    add("--no-repeat-ngram-size", type=int, metavar="N")
    add("--do-sample", action="store_true", help="draw tokens instead of taking the likeliest")
    add("--seed", type=int, default=0, help="of --do-sample; same seed, same text (default 0)")
    add("--dtype", default="float32", help="of the parameters: float32, bfloat16, auto, ...")
    add_ignore(parser)
    add("--json", action="store_true", help="a JSON object a line: prompt, text")


def flags_of_inspect(parser: Parser) -> None:
    """What to look at, and where pictures go."""
    add = parser.add_argument
    add("model", help="a directory, a config.json, a run of pretraining, or a hub id")
    add("--head", help="look at the model with this head (default: that of the config)")
    add_ignore(parser)
    add("--out", metavar="DIR", help="draw the attention graphs as PNG files into DIR")
    add("--text", metavar="TEXT", help="draw the attention maps over this text, too")
    add("--ids", metavar="'5 17 3'", help="the text as token ids")
    add("--target", metavar="TEXT", help="what the decoder of an encoder-decoder reads")
    add("--json", action="store_true", help="the description as JSON")


def flags_of_convert(parser: Parser) -> None:
    """What may change on the way."""
    add = parser.add_argument
    add("source", help="a directory, a run of pretraining, or a hub id")
    add("target", help="a new directory")
    add("--dtype", default="auto", help="of what is written (default: as it is stored)")
    add("--head", help="a head, or a Hugging Face class name (default: that of the config)")
    add_ignore(parser)
    add("--max-shard-size", default="50GB", metavar="SIZE", help="such as 5GB (default 50GB)")
    add("--seed", type=int, help="draw a head that the source lacks from this seed")
    add("--overwrite", action="store_true", help="write into a directory that is not empty")
    add("--all", action="store_true", help="list every change, not the first ten of a kind")
    add("--json", action="store_true", help="what changed, as JSON")


def add_ignore(parser: Parser) -> None:
    """Keys of config.json that no field knows."""
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="KEY",
        help="accept this unknown key of config.json; may be given several times",
    )


def flag(name: str) -> str:
    """--max-new-tokens of max_new_tokens."""
    return "--" + name.replace("_", "-")


def flags_of_tokenize(parser: Parser) -> None:
    """What is read, what it becomes, and where it goes."""
    add = parser.add_argument
    add("source", help="a text, folder, pattern, .jsonl, .parquet, python_docs, tfds:NAME, hf:NAME")
    add("--tokenizer", required=True, metavar="PATH_OR_KIND",
        help="a file or folder of one, or byte, character, bpe, wordpiece, unigram")  # fmt: skip
    add("--out", required=True, metavar="DIR", help="a new folder, or one that was begun")
    add("--field", default="text", help="of a record that holds the text (default text)")
    add("--documents", default="file", choices=("file", "paragraph", "line"),
        help="what a document of a plain text is (default file)")  # fmt: skip
    add("--objective", metavar="NAME",
        help="such as MaskedLM: special tokens, sentences and ends that it needs")  # fmt: skip
    add("--eos", action="store_true", help="put the token eos behind every document")
    add("--sentences", action="store_true", help="keep where sentences start")
    add("--eval-fraction", type=float, default=0.1, metavar="X", help="held out (default 0.1)")
    add("--shard-size", default="256MiB", metavar="SIZE", help="of ids (default 256MiB)")
    add("--vocab-size", type=int, default=32768, metavar="N",
        help="of a tokenizer that is learned (default 32768)")  # fmt: skip
    add("--processes", type=int, default=1, metavar="N",
        help="1 (default) uses threads on all cores already")  # fmt: skip


def flags_of_runs(parser: Parser) -> None:
    """Where to look, and in which order to tell."""
    add = parser.add_argument
    add("folders", nargs="*", metavar="DIR", help="runs, or folders of runs (default: runs)")
    add("--sort", metavar="FIELD", help="such as eval_loss, step, parameters (default: when)")
    add("--json", action="store_true", help="all that is known, as JSON")


def flags_of_report(parser: Parser) -> None:
    """Which runs, and where the page goes."""
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="a run, or a folder of runs")
    add("--out", metavar="FILE", help="a page: .html (pictures inside) or .md (beside it)")
    add("--scaling", action="store_true", help="fit scaling laws to the runs instead")


def flags_of_env(parser: Parser) -> None:
    """Nothing to choose but the form."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def flags_of_check_checkpoint(parser: Parser) -> None:
    """Where to look."""
    parser.add_argument("folder", metavar="DIR", help="a run, its checkpoints, or one step")
    parser.add_argument("--json", action="store_true", help="as JSON: {step: {leaf: ...}}")


COMMANDS = {
    "pretrain": (
        "Train a model from a config, as python -m train.pretrain does",
        f"{PROGRAM} pretrain CONFIG --help lists every setting.",
        flags_of_pretrain,
    ),
    "generate": (
        "Continue prompts, or answer them, all as one batch",
        "Without --prompt, every line of standard input is a prompt.",
        flags_of_generate,
    ),
    "inspect": (
        "Show what a checkpoint or a config is: tables, graphs, attention maps",
        "Exits with 1 if a checkpoint does not fit its family.",
        flags_of_inspect,
    ),
    "convert": (
        "Write a checkpoint as PyTorch transformers writes it today, and say what changed",
        "Weights are loaded strictly; nothing is unpickled.",
        flags_of_convert,
    ),
    "tokenize": (
        "Make a source token ids once, in a folder that data.path reads",
        "Stopped, it goes on where it was, with the same arguments.",
        flags_of_tokenize,
    ),
    "runs": (
        "List runs of pretraining: how far they are, and how good",
        "",
        flags_of_runs,
    ),
    "report": (
        "Write a page about a run, or about several side by side",
        "Without --out: report.md in the folder of the one run, or report.html here.",
        flags_of_report,
    ),
    "check-checkpoint": (
        "Compare every leaf of the checkpoints of a run with what was saved",
        "Needs no model and writes nothing. Exits with 1 if anything is wrong.",
        flags_of_check_checkpoint,
    ),
    "env": ("Print versions, devices and folders, for a report of a bug", "", flags_of_env),
}
