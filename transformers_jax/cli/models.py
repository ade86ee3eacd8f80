"""The commands about models: generate, inspect, convert, student."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import DisallowNone, Positional, UseAppendAction, arg

from transformers_jax.cli import texts
from transformers_jax.cli.files import naming, trained
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
            new = texts.until_end(model, row[width if continues else 1 :])
            text = texts.continued(tokenizer, before, new)
            if self.json:
                print(json_text({"prompt": prompt, "text": text}))
            else:
                heading = f"--- {number + 1}/{count}\n" if count > 1 else ""
                print(f"{heading}{prompt if continues else ''}{text}")


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a checkpoint or a config is: tables, graphs, attention maps.

    Exits with 1 if a checkpoint does not fit its family.
    """

    model: Annotated[
        Positional[str],
        arg(help="a directory, a config.json, a run of pretraining, or a hub id"),
    ]
    head: DisallowNone[str | None] = None
    """show the model with this head; that of the config if not given"""
    ignore: Ignored = ()
    out: DisallowNone[str | None] = None
    """draw the attention graphs as PNG files into this folder"""
    text: DisallowNone[str | None] = None
    """draw the attention maps over this text, too"""
    ids: DisallowNone[str | None] = None
    """the text as token ids, such as '5 17 3'"""
    target: DisallowNone[str | None] = None
    """what the decoder of an encoder-decoder reads"""
    audio: DisallowNone[str | None] = None
    """draw this recording as the model hears it, and where in it each of its tokens is"""
    image: DisallowNone[str | None] = None
    """draw what the model sees in this picture: attention over it, rollout, filters, ..."""
    json: bool = False
    """the description as JSON"""

    def run(self) -> None:
        """Prints the description; draws what is to be drawn."""
        from transformers_jax.inspection import tables
        from transformers_jax.inspection.description import describe, to_json

        if self.text is not None and self.ids is not None:
            raise ValueError("--text and --ids exclude each other; give one of them")
        if self.target is not None and self.text is None and self.ids is None:
            raise ValueError("--target is what is decoded from a --text or --ids; give one of them")
        source = texts.model_source(self.model)
        description = describe(source, head=self.head, name=self.model, ignore=self.ignore)
        drawn: list[Path] = []
        given = (self.out, self.audio, self.image, self.text, self.ids)
        draws = any(flag is not None for flag in given)
        out = Path(self.out or f"inspect-{Path(self.model).resolve().name.split('.')[0]}")
        if draws and description.fits:  # before the tables, under which an error would be lost
            drawn = self.draw(source, out)
        if self.json:
            print(to_json(description))
        else:
            tables.show(description, tables.console())
        if draws and not description.fits:
            drawn = self.draw(source, out)
        for path in drawn:
            print(f"wrote {path}", file=sys.stderr if self.json else sys.stdout)
        if not description.fits:
            wrong = ", ".join(f"{len(names)} {kind}" for kind, names in description.report.items())
            raise ValueError(f"{self.model} does not fit {description.architecture}: {wrong}")

    def draw(self, source: Any, out: Path) -> list[Path]:
        """The graphs of a model and, over a text, its attention maps, as PNG files."""
        import jax
        import numpy as np

        import transformers_jax as tj
        from transformers_jax.inspection import pictures
        from transformers_jax.inspection.description import find_config, head_of
        from transformers_jax.models.base import Plan

        config, weights = find_config(source, ignore=self.ignore, head=self.head)
        head = head_of(config, self.head)
        if self.audio is not None or self.image is not None:
            return self.draw_raw(weights, out)
        if self.text is None and self.ids is None:
            return pictures.draw_graphs(Plan(config, head).build(), out)
        head = "none" if head == "multiple_choice" else head
        key = jax.random.key(0)  # of a head that the file lacks; attention does not depend on it
        if weights is None:
            print("these weights are random: a config has none", file=sys.stderr)
            model = tj.from_config(config, head=head, key=key)
        else:
            name = config.architecture(head)
            model = tj.from_pretrained(weights, head=name, key=key, ignore=self.ignore)
        if "input_ids" not in model.arguments():
            raise ValueError(f"{config.model_type} reads no tokens; leave --text and --ids out")
        if "pixel_values" in model.arguments():
            raise ValueError(
                f"{config.model_type} reads pixel_values along with tokens, which no flag gives; "
                "leave --text and --ids out, or inspect its text tower alone"
            )
        if self.target is not None and not model.is_encoder_decoder:
            raise ValueError(f"--target: {config.model_type} has no encoder; give all as the text")
        tokenizer = texts.read_tokenizer(source) if self.ids is None else None
        ids = texts.read_by(model, tokenizer, self.ids or self.text or "")
        spell = lambda row: [pictures.show_token(texts.decode(tokenizer, [token])) for token in row]
        inputs: dict[str, Any] = dict(input_ids=np.array([ids]))
        labels = {"stack": spell(ids)}
        if model.is_encoder_decoder:
            answer = texts.decoder_ids(model, inputs, tokenizer, self.target)
            inputs["decoder_input_ids"] = np.array([answer])
            labels = {"encoder": spell(ids), "decoder": spell(answer)}
        fields = model(**inputs, output_attentions=True)
        title = f"{Path(self.model).name} ({config.model_type})"
        graphs = pictures.draw_graphs(model, out, labels)
        return [*graphs, *pictures.draw_maps(fields, out, labels, title)]

    def draw_raw(self, weights: Any, out: Path) -> list[Path]:
        """What the model hears of a recording, or sees in a picture, as PNG files."""
        import transformers_jax as tj
        from transformers_jax.inspection.images import draw_image
        from transformers_jax.inspection.sounds import draw_sound

        given = {"--audio": self.audio, "--image": self.image, "--text": self.text or self.ids}
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise ValueError(f"{' and '.join(names)} exclude each other; give one of them")
        if weights is None:
            raise ValueError(f"{names[0]} needs the weights of a model: name its directory")
        processor = tj.load_processor(weights)
        with trained(self.model, "leave --head out, or name a model that has them"):
            model = tj.from_pretrained(weights, head=self.head, ignore=self.ignore)
        try:
            if self.audio is not None:
                return draw_sound(model, processor, self.audio, out)
            files, missing = draw_image(model, processor, self.image, out)
        except ValueError as error:
            of_flag = str(error).startswith("--")  # of the model, whatever the file
            text = str(error) if of_flag else naming(self.audio or self.image, error)
            raise ValueError(text) from None
        for name, reason in missing.items():
            print(f"no {name}: {reason}", file=sys.stderr)
        return files


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
