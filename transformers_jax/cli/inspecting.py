"""The command inspect: what a checkpoint or a config is, as tables and pictures."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import DisallowNone, Positional, arg

from transformers_jax.cli import texts
from transformers_jax.cli.files import naming, trained
from transformers_jax.cli.models import Ignored


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
    new: DisallowNone[int | None] = None
    """let the model write so many tokens behind the text (or in answer to it), and draw what it
    attends to, and to which tokens each that it wrote is due"""
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
        if self.new is not None:
            self.check_new()
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

    def check_new(self) -> None:
        """Raises ValueError for --new without a text to be continued."""
        from transformers_jax.sizes import check_count

        check_count("--new", self.new)
        if self.text is None and self.ids is None:
            raise ValueError("--new is what is written behind a --text or --ids; give one of them")
        if self.target is not None:
            raise ValueError("--target and --new exclude each other: is it given, or written?")

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
        title = f"{Path(self.model).name} ({config.model_type})"
        if self.new is not None:
            from transformers_jax.inspection import written

            new = written.write(model, ids, self.new)
            print(f"written: {texts.continued(tokenizer, ids, new)}", file=sys.stderr)
            sides = {"stack": spell([*ids, *new]), "encoder": spell(ids), "decoder": spell(new)}
            graphs = pictures.draw_graphs(model, out, sides)
            return [*graphs, *written.draw_written(model, ids, new, out, spell, title)]
        inputs: dict[str, Any] = dict(input_ids=np.array([ids]))
        labels = {"stack": spell(ids)}
        if model.is_encoder_decoder:
            answer = texts.decoder_ids(model, inputs, tokenizer, self.target)
            inputs["decoder_input_ids"] = np.array([answer])
            labels = {"encoder": spell(ids), "decoder": spell(answer)}
        fields = model(**inputs, output_attentions=True)
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
