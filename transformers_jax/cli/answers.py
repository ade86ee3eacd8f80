"""What the commands about pictures share: files in, a line of JSON for each of them out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from tyro.conf import DisallowNone

from transformers_jax.cli.files import (
    Files,
    already,
    check_made,
    found,
    made_with,
    naming,
    tell_failed,
)
from transformers_jax.json_files import json_text
from transformers_jax.printing import print_line
from transformers_jax.runs.pretrain import keep_compiled_programs
from transformers_jax.training.exported import model_folder

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
Line = dict[str, Any]
Inputs = Mapping[str, Any]


class Prepared(NamedTuple):
    """A model that is ready to answer.

    Attributes:
        read: makes its arguments of files.
        answer: makes a line of each row of them, without the name of the file.
        texts: makes lines of texts, where the command takes any.
    """

    read: Callable[[list[Any]], Inputs]
    answer: Callable[[Inputs], list[Line]]
    texts: Callable[[Sequence[str]], list[Line]] | None = None


@dataclass(frozen=True, kw_only=True)
class OfPictures:
    """A command that answers pictures, file by file."""

    files: Files
    model: str
    """a directory or a hub id"""
    out: DisallowNone[str | None] = None
    """a .jsonl file; the answers are printed without it"""
    batch: int = 16
    """pictures that are computed together"""
    on_error: Literal["stop", "skip"] = "stop"
    """skip: a file that cannot be read gets a line with its error, and the others are done"""
    dtype: str = "float32"
    """of the parameters: float32, bfloat16, auto, ..."""

    DOES: ClassVar[str]
    """what progress says"""

    def prepared(self) -> Prepared:
        """The model, read."""
        raise NotImplementedError

    def shown(self, line: Line) -> str:
        """The answer for people."""
        raise NotImplementedError

    def named(self) -> list[Path]:
        """The files."""
        return found(self.files, PICTURES)

    def texts(self) -> tuple[str, ...]:
        """Texts that are answered after the files."""
        return ()

    def run(self) -> None:
        """Answers the files, a batch at a time."""
        from transformers_jax.data.progress import live
        from transformers_jax.sizes import check_count

        check_count("--batch", self.batch)
        keep_compiled_programs()
        files, texts = self.named(), self.texts()
        out = None if self.out is None else Path(self.out).expanduser()
        done = 0
        if out is not None:
            done = already(out, [*files, *texts])
            check_made(out, made_with(self), done)
        failed = 0
        say = lambda line: print_line(line, error=True)
        if done < len(files) + len(texts):
            with live(self.DOES, say) as show, _lines(out, self.shown, len(files) > 1) as write:
                for some, count in self._answers(files, texts, done):
                    for line in some:
                        if "error" in line:
                            failed += 1
                            say(f"left out: {line['error']}")
                        write(line)
                    show(f"{self.DOES}: {count:,} of {len(files):,} files")
        tell_failed(failed, len(files) - done)
        if out is not None:
            print_line(f"wrote {out}")

    def _answers(
        self, files: list[Path], texts: Sequence[str], done: int
    ) -> Iterator[tuple[list[Line], int]]:
        """(the lines of some files or texts, how many files are answered)."""
        ready = self.prepared()
        for start in range(done, len(files), self.batch):
            some = files[start : start + self.batch]
            yield self._batch(some, ready, start > done), start + len(some)
        rest = texts[max(done - len(files), 0) :]
        if rest and ready.texts is not None:
            yield ready.texts(rest), len(files)

    def _batch(self, files: list[Path], ready: Prepared, fill: bool) -> list[Line]:
        """The lines of some files; with `fill`, computed with as many rows as those before."""
        from transformers_jax.vision.batches import filled

        errors: dict[Path, str] = {}
        try:
            inputs = ready.read(list(files))
        except ValueError:
            if self.on_error == "stop" and len(files) == 1:
                raise
            errors = dict(_errors(files, ready.read))
            if not errors:  # each can be read, but not all together
                raise
            if self.on_error == "stop":
                raise ValueError(
                    f"{next(iter(errors.values()))} (--on-error skip goes on with the others)"
                ) from None
            whole = [file for file in files if file not in errors]
            inputs = ready.read(list(whole)) if whole else {}
        answers = iter(
            ready.answer(filled(inputs, self.batch) if fill else inputs) if inputs else []
        )
        return [
            {"file": str(file)}
            | ({"error": errors[file]} if file in errors else next(answers))
            for file in files
        ]  # fmt: skip

    @property
    def folder(self) -> Path:
        """The folder of the model; of a run, that of what it has exported."""
        return model_folder(self.model)

    def check_head(self, config: Any, head: str, otherwise: str) -> None:
        """Raises ValueError for a family without a head; `otherwise` is what it does not do."""
        from transformers_jax.models import families_with

        heads = config.HEADS.values()
        if head not in heads:
            classifies = "; classify gives the labels that it was trained with"
            more = classifies * ("image_classification" in heads)
            raise ValueError(
                f"{self.model} is a {config.model_type}, which {otherwise}; models of these "
                f"families do: {', '.join(families_with(head))}{more}"
            )

    def processor(self) -> Any:
        """The processor of the model.

        Raises:
            ValueError: it takes no pictures.
        """
        import transformers_jax as tj

        loaded = tj.load_processor(self.folder)
        if loaded.image_processor is None:
            raise ValueError(f"{self.model} has no processor of images (preprocessor_config.json)")
        return loaded


def _errors(
    files: Sequence[Path], read: Callable[[list[Any]], Inputs]
) -> Iterator[tuple[Path, str]]:
    """The files that cannot be read, and why."""
    for file in files:
        try:
            read([file])
        except ValueError as error:
            yield file, naming(file, error)


@contextlib.contextmanager
def _lines(
    out: Path | None, shown: Callable[[Line], str], several: bool
) -> Iterator[Callable[[Line], None]]:
    """A function that writes a line to the file, or prints it for people."""
    if out is None:

        def show(line: Line) -> None:
            if "error" not in line:
                front = f"{line['file']}: " if several and "file" in line else ""
                print_line(f"{front}{shown(line)}")

        yield show
        return
    with out.open("a", encoding="utf-8") as file:

        def write(line: Line) -> None:
            file.write(json_text(line, ensure_ascii=False) + "\n")
            file.flush()

        yield write
