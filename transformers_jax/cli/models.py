"""The commands about models: convert, student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import DisallowNone, Positional, UseAppendAction, arg

from transformers_jax.cli import texts
from transformers_jax.cli.files import trained
from transformers_jax.json_files import json_text
from transformers_jax.training.exported import model_folder

Model = Annotated[Positional[str], arg(help="a directory, a run of pretraining, or a hub id")]
Ignored = Annotated[
    UseAppendAction[tuple[str, ...]],
    arg(help="accept this unknown key of config.json", metavar="KEY"),
]


def print_json(values: Any) -> None:
    """Prints values for programs."""
    print(json_text(values, indent=2))


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Write a checkpoint as PyTorch transformers writes it today, and say what changed.

    Weights are loaded strictly; nothing is unpickled.
    """

    source: Model
    target: Positional[str]
    """a new directory"""
    dtype: str = "auto"
    """of what is written; auto: as it is stored"""
    head: DisallowNone[str | None] = None
    """a head, or a Hugging Face class name; that of the config if not given"""
    ignore: Ignored = ()
    max_shard_size: str = "50GB"
    """such as 5GB"""
    seed: DisallowNone[int | None] = None
    """draw a head that the source lacks from this seed"""
    overwrite: bool = False
    """write into a directory that is not empty"""
    all: bool = False
    """list every change, not the first ten of a kind"""
    json: bool = False
    """what changed, as JSON"""

    def run(self) -> None:
        """Writes the checkpoint, and prints what changed."""
        from transformers_jax.inspection.conversion import convert

        with trained(self.source, "--seed 0 draws them"):
            done = convert(
                model_folder(self.source),
                self.target,
                head=self.head,
                dtype=self.dtype,
                max_shard_size=self.max_shard_size,
                key=None if self.seed is None else texts.random_key(self.seed),
                overwrite=self.overwrite,
                ignore=self.ignore,
            )
        if self.json:
            return print_json(done.to_dict())
        print(f"wrote {self.target}: {done.tensors} tensors, head {done.head}")
        print(f"files: {', '.join(done.files)}")
        changes = {
            "copied": done.copied,
            "renamed": [f"{old} -> {new}" for old, new in done.renamed],
            "changed dtype": [f"{name}: {old} -> {new}" for name, old, new in done.retyped],
            "not written (not part of this model)": done.dropped,
            "drawn anew": done.drawn,
            "config": [f"{name}: {old!r} -> {new!r}" for name, old, new in done.config],
        }
        for kind, lines in changes.items():
            if lines:
                print(f"{kind} ({len(lines)}):")
                shown = lines if self.all else lines[:10]
                print("\n".join(f"  {line}" for line in shown))
                if len(shown) < len(lines):
                    print(f"  and {len(lines) - len(shown)} more (--all)")
        if not any((done.renamed, done.retyped, done.dropped, done.drawn)):
            print("every tensor has the name and the dtype that it had")
        return None


@dataclass(frozen=True, kw_only=True)
class Student:
    """Write a model of some layers of another, with its tokenizer, to be distilled into."""

    teacher: Model
    target: Positional[str]
    """a new directory"""
    layers: tuple[int, ...]
    """of the teacher, counted from 0: 0 2 4"""

    def run(self) -> None:
        """Writes the student."""
        from transformers_jax.data.tokenizers import has_tokenizer, load_tokenizer
        from transformers_jax.hub.download import resolve
        from transformers_jax.pretrained import from_pretrained
        from transformers_jax.saving import save_pretrained
        from transformers_jax.student import student_of

        folder, target = resolve(model_folder(self.teacher)), Path(self.target).expanduser()
        if target.exists() and any(target.iterdir()):
            raise ValueError(f"{target} is not empty: choose another directory")
        student = student_of(from_pretrained(folder), self.layers)
        save_pretrained(student, target)
        if has_tokenizer(folder):
            load_tokenizer(folder).save(target)
        print(f"wrote {target}: {student.parameter_count:,} parameters")
