"""The commands about models: generate, convert, student."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import DisallowNone, Positional, UseAppendAction, arg

from transformers_jax.cli import texts
from transformers_jax.cli.files import trained
from transformers_jax.generation.texts import until_end
from transformers_jax.json_files import json_text
from transformers_jax.runs.pretrain import keep_compiled_programs
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
class Generation:
    """The settings of `tj.generate` among the flags of `generate`, under their names there."""

    max_new_tokens: DisallowNone[int | None] = None
    min_new_tokens: DisallowNone[int | None] = None
    num_beams: DisallowNone[int | None] = None
    num_return_sequences: DisallowNone[int | None] = None
    no_repeat_ngram_size: DisallowNone[int | None] = None
    top_k: DisallowNone[int | None] = None
    temperature: DisallowNone[float | None] = None
    top_p: DisallowNone[float | None] = None
    repetition_penalty: DisallowNone[float | None] = None
    length_penalty: DisallowNone[float | None] = None
    do_sample: bool = False
    """draw tokens instead of taking the likeliest"""

    def settings(self) -> dict[str, Any]:
        """Those that were typed; the others are the model's own."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(Generation)}
        return {n: value for n, value in values.items() if value is not None and value is not False}


@dataclass(frozen=True, kw_only=True)
class Generate(Generation):
    """Continue prompts, or answer them, all as one batch.

    Without --prompt, every line of standard input is a prompt.
    """

    model: Model
    prompt: UseAppendAction[tuple[str, ...]] = ()
    """may be given several times"""
    ids: UseAppendAction[tuple[str, ...]] = ()
    """a prompt as token ids, such as '5 17 3'"""
    seed: int = 0
    """of --do-sample; same seed, same text"""
    dtype: str = "float32"
    """of the parameters: float32, bfloat16, auto, ..."""
    ignore: Ignored = ()
    json: bool = False
    """a JSON object a line: prompt, text"""

    def run(self) -> None:
        """Prints the prompts with what continues them, or the answers."""
        import jax.numpy as jnp
        import numpy as np

        import transformers_jax as tj

        if self.ids and self.prompt:
            raise ValueError("--ids and --prompt exclude each other; give all prompts as one kind")
        key = texts.random_key(self.seed) if self.do_sample else None
        keep_compiled_programs()
        folder = model_folder(self.model)
        tokenizer = None if self.ids else texts.read_tokenizer(folder)
        prompts = self.ids or self.prompt or texts.read_prompts()
        if not all(texts.encode(tokenizer, prompt) for prompt in prompts):
            raise ValueError("a prompt is empty; give at least one token")
        with trained(self.model, "it was not trained to continue texts"):
            model = tj.from_pretrained(folder, dtype=self.dtype, ignore=self.ignore)
        if raw := model.reading.source_raw:
            raise ValueError(
                f"{model.config.model_type} does not read text but {', '.join(raw)}, which no flag "
                f"gives; call tj.generate(model, {raw[0]}=...) in Python"
            )
        rows = [texts.read_by(model, tokenizer, prompt) for prompt in prompts]
        width, continues = max(map(len, rows)), not model.is_encoder_decoder
        fill = lambda row: (width - len(row), 0) if continues else (0, width - len(row))
        padding = model.config.pad_token_id or 0
        generated = tj.generate(
            model,
            input_ids=jnp.array([np.pad(row, fill(row), constant_values=padding) for row in rows]),
            attention_mask=jnp.array([np.pad([1] * len(row), fill(row)) for row in rows]),
            key=key,
            **self.settings(),
        )
        copies, count = self.num_return_sequences or 1, len(generated)
        for number, row in enumerate(np.asarray(generated).tolist()):
            prompt, before = prompts[number // copies], rows[number // copies] if continues else []
            new = until_end(model, row[width if continues else 1 :])
            text = texts.continued(tokenizer, before, new)
            if self.json:
                print(json_text({"prompt": prompt, "text": text}))
            else:
                heading = f"--- {number + 1}/{count}\n" if count > 1 else ""
                print(f"{heading}{prompt if continues else ''}{text}")


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
