"""The commands about data and runs: tokenize, export, runs, report, check-checkpoint, env."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import DisallowNone, Positional, arg

from transformers_jax.cli.models import print_json
from transformers_jax.flags import Misuse
from transformers_jax.json_files import finite_or_null


@dataclass(frozen=True, kw_only=True)
class Tokenize:
    """Make a source token ids once, in a folder that data.path reads.

    Stopped, it goes on where it was, with the same arguments, or with --out alone, which makes anew
    what is damaged, too.
    """

    source: Positional[DisallowNone[str | None]] = None
    """a text, folder, pattern, .jsonl, .csv, .parquet, python_docs, tfds:NAME, hf:NAME"""
    tokenizer: DisallowNone[str | None] = None
    """a file or folder, or byte, character, bpe, wordpiece, unigram"""
    out: str
    """a new folder, or one that was begun"""
    field: str = "text"
    """of a record that holds the text"""
    documents: Literal["file", "paragraph", "line"] = "file"
    """what a document of a plain text is"""
    encoding: str = "utf-8"
    """of text files, as Python names it, such as latin-1"""
    objective: DisallowNone[str | None] = None
    """such as MaskedLM: special tokens, sentences, ends that it needs"""
    eos: bool = False
    """put the token eos behind every document"""
    sentences: bool = False
    """record where sentences start"""
    eval_fraction: float = 0.1
    """fraction of the documents held out for evaluation"""
    shard_size: str = "256MiB"
    """of ids"""
    vocab_size: int = 32768
    """of a tokenizer that is learned"""
    processes: int = 1
    """1 uses threads on all cores already"""

    def run(self) -> None:
        """Writes the token ids, and prints how many."""
        from transformers_jax.data import tokenize

        request = tokenize.begun(self.out) if self.source is None else self.request()
        if self.source is None and self != Tokenize(out=self.out, processes=self.processes):
            raise Misuse("a source is missing; only --out alone goes on with that of before")
        written = tokenize.tokenize(request, self.out, processes=self.processes)
        for split, count in written.tokens.items():
            print(f"{split}: {written.documents[split]:,} documents, {count:,} tokens")
        if written.encoded:
            speed = written.encoded / written.seconds
            print(f"{speed:,.0f} tokens/s; train with --data.path {self.out}")

    def request(self) -> Any:
        """What the flags say.

        Raises:
            ValueError: a flag that is missing, or a value that makes no sense.
        """
        from transformers_jax.data.tokenize import Request
        from transformers_jax.objectives import OBJECTIVES
        from transformers_jax.sizes import parse_bytes
        from transformers_jax.spelling import nearest

        if self.tokenizer is None:
            raise Misuse("--tokenizer is missing: a file or folder, or bpe, or another kind")
        name, objective = self.objective, None
        if name is not None:
            if name not in OBJECTIVES:
                hint = nearest(name, OBJECTIVES)
                known = ", ".join(OBJECTIVES)
                raise ValueError(f"--objective {name!r} is unknown{hint}; there are {known}")
            objective = OBJECTIVES[name]()
        settings = "source tokenizer field documents encoding eval_fraction vocab_size".split()
        return Request(
            **{name: getattr(self, name) for name in settings},
            eos=self.eos or (objective is not None and objective.ends(True)),
            sentences=self.sentences or (objective is not None and objective.sentences),
            shard_size=parse_bytes("shard_size", self.shard_size),
            roles=() if objective is None else objective.learned_roles(True),
            sentinels=0 if objective is None else objective.sentinels,
            modes=() if objective is None else objective.modes,
        )


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a saved step of a run, finished or not, as a model with its tokenizer and card; of a
    run that trains an adapter, as adapter/.

    The run is not touched, and may be going on. Every parameter is compared with its checksum; all
    else of a step is compared by check-checkpoint.
    """

    folder: Annotated[Positional[str], arg(name="run")]
    """the folder of a run"""
    out: str
    """a new directory"""
    step: DisallowNone[int | None] = None
    """a saved one; the newest whose parameters are intact if not given"""
    overwrite: bool = False
    """write into a directory that is not empty"""
    merge: bool = False
    """write the model with the adapter of the run merged into it, too, as model/"""

    def run(self) -> None:
        """Writes the model, and prints of which step it is."""
        import jax

        jax.config.update("jax_platforms", "cpu")  # an accelerator is for the run that goes on
        from transformers_jax.runs.export import export

        done = export(
            self.folder, self.out, step=self.step, overwrite=self.overwrite, merge=self.merge
        )
        for message in done.damaged:
            print(f"WARNING: {message}; passed over", file=sys.stderr)
        what = f"step {done.step:,} of {self.folder}, every parameter as it was saved"
        print(f"wrote {', '.join(map(str, done.folders))}: {what}")


@dataclass(frozen=True, kw_only=True)
class Runs:
    """List runs of pretraining: how far they are, and how good."""

    folders: Positional[tuple[str, ...]] = ()
    """runs, or folders of runs; the folder runs if not given"""
    sort: DisallowNone[str | None] = None
    """such as eval_loss, step, parameters; when it was begun if not given"""
    json: bool = False
    """all that is known, as JSON"""

    def run(self) -> None:
        """Prints a line for each run."""
        from transformers_jax.runs import summary

        folders = list(self.folders) or ["runs"]
        if not self.folders and not Path("runs").is_dir():
            raise ValueError("there is no folder runs here; name the folders that hold runs")
        rows = [summary.summarise(folder) for folder in summary.find_runs(folders)]
        rows = summary.sort_runs(rows, self.sort)
        if self.json:
            print_json([finite_or_null(dataclasses.asdict(run)) for run in rows])
        elif rows:
            summary.show(rows)
        else:
            print(f"no run in {', '.join(folders)}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a page about a run, or about several side by side.

    Without --out: report.md in the folder of the one run, or report.html here.
    """

    runs: Positional[tuple[str, ...]]
    """a run, or a folder of runs"""
    out: DisallowNone[str | None] = None
    """a page: .html (pictures inside) or .md (pictures next to it)"""
    scaling: bool = False
    """fit scaling laws to the runs instead"""

    def run(self) -> None:
        """Writes the page."""
        from transformers_jax.runs import compare, scaling
        from transformers_jax.runs.report import write_report
        from transformers_jax.runs.summary import find_runs

        if not self.runs:
            raise ValueError("report is about a run: name its folder, or several")
        folders = find_runs(self.runs)
        if self.scaling:
            file = scaling.write_scaling(folders, Path(self.out or "scaling.md"))
        elif len(folders) == 1 and not self.out:
            file = write_report(folders[0])
        else:
            file = compare.write_page(folders, Path(self.out or "report.html"))
        print(f"wrote {file}")


@dataclass(frozen=True, kw_only=True)
class CheckCheckpoint:
    """Compare every leaf of the checkpoints of a run with what was saved.

    Needs no model and writes nothing. Exits with 1 if anything is wrong.
    """

    folder: Positional[str]
    """a run, its checkpoints, or one step"""
    all: bool = False
    """list every leaf, not only those that are damaged"""
    json: bool = False
    """as JSON: {step: {leaf: ...}}"""

    def run(self) -> None:
        """Prints a verdict for every step, and for every leaf that is damaged."""
        from transformers_jax.training.recorded import find_steps, verify_step

        steps = {path: verify_step(path) for path in find_steps(self.folder)}
        steps = {path: leaves for path, leaves in steps.items() if leaves is not None}
        wrong = [path for path, leaves in steps.items() if not all(x.good for x in leaves.values())]
        if self.json:
            dicts = lambda leaves: {name: leaf.to_dict() for name, leaf in leaves.items()}
            print_json({path.name: dicts(leaves) for path, leaves in steps.items()})
        for path, leaves in steps.items() if not self.json else ():
            print(f"{path}: {'damaged' if path in wrong else 'ok'}, {len(leaves)} leaves compared")
            shown = {name: leaf for name, leaf in leaves.items() if self.all or not leaf.good}
            width = max(map(len, shown), default=0)
            wide = max((len(leaf.array) for leaf in shown.values()), default=0)
            for name, leaf in shown.items():
                print(f"  {name:<{width}}  {leaf.array:<{wide}}  {leaf.verdict}")
        if wrong:
            names = ", ".join(path.name for path in wrong)
            several = f"steps {names} are" if len(wrong) > 1 else f"step {names} is"
            raise ValueError(f"{self.folder}: {several} damaged; --resume auto passes over them")


@dataclass(frozen=True, kw_only=True)
class Env:
    """Print versions, devices and folders, for a bug report."""

    json: bool = False
    """as JSON"""

    def run(self) -> None:
        """Prints them in sections."""
        from transformers_jax.inspection.environment import environment

        sections = environment()
        if self.json:
            return print_json(sections)
        width = max(len(name) for rows in sections.values() for name in rows)
        for section, rows in sections.items():
            print(f"{section}:" if rows else f"{section}: none")
            for name, value in rows.items():
                print(f"  {name:<{width}}  {value}")
        return None
