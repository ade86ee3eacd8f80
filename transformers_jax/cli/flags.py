"""What may be typed, as a table: every command, and its flags under Hugging Face's names."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

PROGRAM = "transformers-jax"
MISUSED = 2

GENERATION = """max_new_tokens min_new_tokens top_k num_beams num_return_sequences
    no_repeat_ngram_size temperature top_p repetition_penalty length_penalty do_sample""".split()
"""The settings of generation among the flags of `generate`."""

COMMANDS = {
    "pretrain": """Train a model from a config, as python -m train.pretrain does
        config                      a Python file with config(), or a run's config.json
        transformers-jax pretrain CONFIG --help lists every setting.
    """,
    "generate": """Continue prompts, or answer them, all as one batch
        model                       a directory, a run of pretraining, or a hub id
        --prompt TEXT...            may be given several times
        --ids '5 17 3'...           a prompt as token ids
        --max-new-tokens, --min-new-tokens, --num-beams, --num-return-sequences N
        --no-repeat-ngram-size, --top-k N
        --temperature, --top-p, --repetition-penalty, --length-penalty X
        --do-sample                 draw tokens instead of taking the likeliest
        --seed N=0                  of --do-sample; same seed, same text
        --dtype NAME=float32        of the parameters: float32, bfloat16, auto, ...
        --ignore KEY...             accept this unknown key of config.json
        --json                      a JSON object a line: prompt, text
        Without --prompt, every line of standard input is a prompt.
    """,
    "inspect": """Show what a checkpoint or a config is: tables, graphs, attention maps
        model                       a directory, a config.json, a run of pretraining, or a hub id
        --head NAME                 show the model with this head (default: that of the config)
        --ignore KEY...             accept this unknown key of config.json
        --out DIR                   draw the attention graphs as PNG files into DIR
        --text TEXT                 draw the attention maps over this text, too
        --ids '5 17 3'              the text as token ids
        --target TEXT               what the decoder of an encoder-decoder reads
        --json                      the description as JSON
        Exits with 1 if a checkpoint does not fit its family.
    """,
    "convert": """Write a checkpoint as PyTorch transformers writes it today, and say what changed
        source                      a directory, a run of pretraining, or a hub id
        target                      a new directory
        --dtype NAME=auto           of what is written; auto: as it is stored
        --head NAME                 a head, or a Hugging Face class name (default: the config's)
        --ignore KEY...             accept this unknown key of config.json
        --max-shard-size SIZE=50GB  such as 5GB
        --seed N                    draw a head that the source lacks from this seed
        --overwrite                 write into a directory that is not empty
        --all                       list every change, not the first ten of a kind
        --json                      what changed, as JSON
        Weights are loaded strictly; nothing is unpickled.
    """,
    "tokenize": """Make a source token ids once, in a folder that data.path reads
        source    a text, folder, pattern, .jsonl, .parquet, python_docs, tfds:NAME, hf:NAME
        --tokenizer PATH_OR_KIND!  a file or folder, or byte, character, bpe, wordpiece, unigram
        --out DIR!                  a new folder, or one that was begun
        --field NAME=text           of a record that holds the text
        --documents file|paragraph|line   what a document of a plain text is
        --objective NAME            such as MaskedLM: special tokens, sentences, ends that it needs
        --eos                       put the token eos behind every document
        --sentences                 record where sentences start
        --eval-fraction X=0.1       held out
        --shard-size SIZE=256MiB    of ids
        --vocab-size N=32768        of a tokenizer that is learned
        --processes N=1             1 uses threads on all cores already
        Stopped, it goes on where it was, with the same arguments.
    """,
    "runs": """List runs of pretraining: how far they are, and how good
        folders DIR*                runs, or folders of runs (default: runs)
        --sort FIELD                such as eval_loss, step, parameters (default: when)
        --json                      all that is known, as JSON
    """,
    "report": """Write a page about a run, or about several side by side
        runs RUN+                   a run, or a folder of runs
        --out FILE                  a page: .html (pictures inside) or .md (beside it)
        --scaling                   fit scaling laws to the runs instead
        Without --out: report.md in the folder of the one run, or report.html here.
    """,
    "check-checkpoint": """Compare every leaf of the checkpoints of a run with what was saved
        folder DIR                  a run, its checkpoints, or one step
        --json                      as JSON: {step: {leaf: ...}}
        Needs no model and writes nothing. Exits with 1 if anything is wrong.
    """,
    "env": """Print versions, devices and folders, for a report of a bug
        --json                      as JSON
    """,
}
"""command -> what it does; a line for each flag, or several alike: its name, its value, and behind
two spaces its help; then a sentence for the end of its help.

A value is N (an integer), X (a number), a|b (a choice, by default the first) or a name for a text.
After it stands =DEFAULT, ... (may be given several times), * or + (so many arguments) or
! (required). A flag without a value is a switch."""

TYPES = {"N": int, "X": float}


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message} ({self.prog} --help)", file=sys.stderr)
        raise SystemExit(MISUSED)


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of the commands by name."""
    import transformers_jax

    about = "Transformers in JAX: train, load and inspect them."
    parser = Parser(PROGRAM, description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=transformers_jax.__version__)
    parser.add_argument("--debug", action="store_true", help="show tracebacks (with any command)")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for command, table in COMMANDS.items():
        text, *lines = (line.strip() for line in table.strip().splitlines())
        end = lines.pop() if lines[-1].endswith(".") else ""
        own = subparsers.add_parser(
            command, help=text, description=f"{text}.", epilog=end, allow_abbrev=False
        )
        for line in lines:
            names, options = _flags(line)
            for name in names:
                own.add_argument(name, **options)
    return parser, subparsers.choices


def _flags(line: str) -> tuple[list[str], dict[str, Any]]:
    """(names, their options of `add_argument`) of a line of the table."""
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
