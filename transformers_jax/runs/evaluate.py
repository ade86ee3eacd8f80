"""The commands `evaluate` and `predict`: a model, a table, and figures or predictions."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from tyro.conf import DisallowNone, Positional, UseAppendAction, arg

from transformers_jax import flags
from transformers_jax.flags import Misuse
from transformers_jax.json_files import finite_or_null, json_or_empty, json_text
from transformers_jax.printing import print_line

OWN = ("task", "model", "data", "input", "out")  # fields that say nothing of how records are read
OF_TABLE = (
    "text text_pair audio image label negatives batch length encoding damaged resample".split()
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the records of a table are read: as of fine-tuning, unless it says otherwise. Its flags
    may be written as those of fine-tuning, as well: --data.length for --length."""

    ALIASES: ClassVar[Mapping[str, Sequence[str]]] = {"data": OF_TABLE}

    task: DisallowNone[str | None] = None
    """what the model does, where its run or its head does not say it"""
    text: DisallowNone[str | None] = None
    """the column of the text"""
    text_pair: DisallowNone[str | None] = None
    """the column of a second text"""
    audio: DisallowNone[str | None] = None
    """the column of recordings"""
    image: DisallowNone[str | None] = None
    """the column of pictures"""
    batch: DisallowNone[int | None] = None
    """rows that are computed together"""
    length: DisallowNone[int | None] = None
    """most tokens of a row"""
    encoding: DisallowNone[str | None] = None
    """of text files, as Python names it"""
    damaged: DisallowNone[Literal["error", "skip"] | None] = None
    """skip: records whose picture or recording cannot be read are named, counted and left out; a
    prediction is a line with the error"""
    resample: bool = False
    """recordings of another rate are made that of the processor"""
    reference: DisallowNone[str | None] = None
    """of dpo: the model that rewards are measured against, where no run says it"""
    target_return: DisallowNone[float | None] = None
    """of offline_rl: the return that is asked for, in place of that of each record"""
    environment: DisallowNone[str | None] = None
    """of offline_rl: where the model acts, cartpole or gymnasium:NAME"""

    def settings(self) -> dict[str, Any]:
        """Those that were typed."""
        return {
            name: value
            for name, value in vars(self).items()
            if value is not None and value is not False and value != () and name not in OWN
        }


@dataclass(frozen=True, kw_only=True)
class Evaluate(Reading):
    """Measure a model on the records of a table, by the metrics of its task."""

    model: str
    """a directory, a run of fine-tuning, or a hub id"""
    data: str
    """a file, folder or pattern of CSV, TSV, JSONL or Parquet, of pictures or tar shards of them,
    tfds:NAME, hf:NAME, or generated:NAME"""
    label: DisallowNone[str | None] = None
    """the column of what is to be predicted"""
    negatives: DisallowNone[str | None] = None
    """columns of texts that do not belong to the text (embeddings)"""
    out: str = "metrics.json"
    """the file of the figures"""
    shots: DisallowNone[int | None] = None
    """in_context: examples with their answers in front of each question"""
    examples: DisallowNone[str | None] = None
    """in_context: the table they are drawn from; by default the others of --data"""
    seed: DisallowNone[int | None] = None
    """in_context: of the choice of examples"""
    template: DisallowNone[str | None] = None
    """in_context: a question and its answer, such as 'Q: {question}\\nA: {answer}'"""
    separator: DisallowNone[str | None] = None
    """in_context: what stands between examples"""
    by: DisallowNone[Literal["likelihood", "generation"] | None] = None
    """in_context: how an answer is read"""
    max_new_tokens: DisallowNone[int | None] = None
    """in_context: most tokens of an answer that is written"""
    until: UseAppendAction[tuple[str, ...]] = ()
    """in_context: a string that ends an answer; may be given several times"""

    def run(self) -> None:
        """Prints the figures, and writes them; beside them what a report shows of the answers."""
        from transformers_jax.publish import publish_json
        from transformers_jax.runs.pictures import draw
        from transformers_jax.runs.predictions import measured
        from transformers_jax.runs.pretrain import keep_compiled_programs
        from transformers_jax.tasks.figures import Listing, to_json

        keep_compiled_programs()
        figures, shown = measured(self.model, self.data, task=self.task, **self.settings())
        figures = finite_or_null(figures)  # a correlation of equal predictions is NaN
        publish_json(Path(self.out), figures)
        if shown is not None:
            publish_json(Path(self.out).with_suffix(".figure.json"), to_json(shown))
            if not isinstance(shown, Listing):
                draw(shown, Path(self.out).with_suffix(".figure.png"))
        print_line(json_text(figures, indent=2))
        print_line(f"wrote {self.out}", error=True)


@dataclass(frozen=True, kw_only=True)
class Predict(Reading):
    """Predict for each record of a table, or for each line of a text; a JSON object a line.

    What was interrupted goes on where it was, with the same command: what the predictions in FILE
    are of is in FILE.made.json beside them.
    """

    model: Annotated[Positional[str], arg(help="a directory, a run of fine-tuning, or a hub id")]
    input: str
    """a file, folder or pattern of CSV, TSV, JSONL or Parquet, of pictures or tar shards of them,
    tfds:NAME, hf:NAME or generated:NAME; one recording, for a model of sound; of other files, every
    line is a text"""
    out: str
    """the file of the predictions (.jsonl)"""
    max_new_tokens: DisallowNone[int | None] = None
    """most tokens of a text that is written"""
    temperature: DisallowNone[float | None] = None
    """of texts that are written: tokens are drawn, from scores that are divided by this"""
    top_p: DisallowNone[float | None] = None
    """of texts that are written: tokens are drawn from the likeliest, with this probability"""
    seed: DisallowNone[int | None] = None
    """of what is drawn, 0 by default; same seed, same texts"""

    def run(self) -> None:
        """Writes the predictions."""
        from transformers_jax.data.damaged import count_failed
        from transformers_jax.data.progress import live
        from transformers_jax.publish import publish_json
        from transformers_jax.runs.answering import opened
        from transformers_jax.runs.predictions import errors_in, predictions, records_of
        from transformers_jax.runs.pretrain import keep_compiled_programs

        keep_compiled_programs()
        out = Path(self.out).expanduser()
        answering = opened(self.model, self.task, None, self.settings())
        source = read_input(self.input, answering.data.encoding, answering.column, answering.task)
        records = records_of(source, "--input")
        done = whole_lines(out)
        if done > len(records):
            raise ValueError(
                f"{out} has {done:,} lines and {self.input} has {len(records):,} records: it is "
                "of another table; choose another --out"
            )
        made, now = out.with_name(f"{out.name}.made.json"), self._made(records, answering.task)
        before = json_or_empty(made)
        if done and before != now:
            other = [name for name, value in now.items() if before.get(name) != value]
            raise ValueError(
                f"{out} has predictions of {' and '.join(f'other {name}' for name in other)}; "
                "choose another --out, or remove it"
            )
        publish_json(made, now)
        if done:
            print_line(f"{done:,} of {len(records):,} predictions are in {out} already")
        say, errors = lambda line: print_line(line, error=True), list[str]()
        with out.open("a", encoding="utf-8") as file, live("predicting", say) as show:
            for some in predictions(answering, records, show, done):
                for error in errors_in(some):
                    errors.append(error)
                    say(f"left out: {error}")
                file.write("".join(json_text(one, ensure_ascii=False) + "\n" for one in some))
                file.flush()
        if said := count_failed(len(errors), len(records) - done, "records", "".join(errors[:1])):
            say(said)
        print_line(f"wrote {out}")

    def _made(self, records: Any, task: Any) -> dict[str, str]:
        """What the predictions are made of: files of weights, records, and settings."""
        from transformers_jax.data.tables import json_lines
        from transformers_jax.data.texts import digest
        from transformers_jax.training.reference import weights_of

        settings = {**self.settings(), "task": f"{task}"}
        settings.pop("damaged", None)  # what is there was made of records that can be read
        return {
            "weights": digest("\n".join(weights_of(self.model))),
            "records": digest(json_lines(records.records)),
            "settings": digest(json_text(settings, sort_keys=True)),
        }


def whole_lines(path: Path) -> int:
    """The whole lines of a file that is there; what a killed process left of one is removed.

    Raises:
        ValueError: a folder that is not there; a file that ends within a line and that no command
            has written.
    """
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; make it, or choose another")
    if not path.is_file():
        return 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        made = path.with_name(f"{path.name}.made.json")
        if not made.is_file():
            raise ValueError(
                f"{path} is a file of something else (there is no {made.name}); choose another "
                "--out"
            )
        with path.open("r+b") as file:
            file.truncate(whole)
    return content.count(b"\n")


def read_input(path: str, encoding: str, column: str = "text", task: Any = None) -> Any:
    """The path of a table; of a recording, that file as a record with one column; of a plain text,
    its lines as such records.

    Raises:
        ValueError: a picture or a recording for a task that reads none; a file that is no text, by
            its ending.
    """
    from transformers_jax.data.files import NO_TEXT, SOUNDS, kind_of, lines_of
    from transformers_jax.data.picture_files import holds_pictures, is_shard
    from transformers_jax.data.records import holds_records
    from transformers_jax.data.tables import EXPECTED, has_scheme

    file = Path(path).expanduser()
    if has_scheme(path) or not file.is_file() or holds_records(file):
        return path
    reads = ("text",) if task is None else task.reads
    if holds_pictures(file) or is_shard(file):
        _check_reads(file, "pictures", "images", reads)
        return path
    if kind_of(file) in SOUNDS:
        _check_reads(file, "a recording", "sound", reads)
        return [{column: str(file)}]
    if kind_of(file) in NO_TEXT:
        raise ValueError(
            f"--input: {file} is no table and no plain text, by its ending {kind_of(file)!r}; give "
            f"{EXPECTED}, or a text with an input in every line"
        )
    lines = (line.removesuffix("\n").removesuffix("\r") for line in lines_of(file, encoding))
    return [{column: line} for line in lines if line.strip()]


def _check_reads(file: Path, what: str, kind: str, reads: Sequence[str]) -> None:
    """Raises ValueError for a file of a kind that the task does not read."""
    reads = ["sound"] if "sound" in reads else reads  # its texts are those to be written
    if kind not in reads:
        raise ValueError(
            f"--input: {file} holds {what}, and this model reads {' and '.join(reads)}"
        )


def main(arguments: Sequence[str] | None = None, program: str = "python -m train.evaluate") -> int:
    """Evaluates; an error is one line. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        flags.parse(Evaluate, arguments, program).run()
    except Misuse as error:
        print_line(f"error: {error} ({program} --help)", error=True)
        return 2
    except (ValueError, OSError, TypeError) as error:
        print_line(f"error: {' '.join(str(error).split())}", error=True)
        return 1
    return 0
