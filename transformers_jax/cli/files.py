"""Files that a command reads one after the other, and the lines that it writes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from transformers_jax.json_files import json_or_empty, json_text, parse_json
from transformers_jax.printing import print_line
from transformers_jax.publish import publish_json

OF_READING = (
    "files",
    "input",
    "out",
    "batch",
    "on_error",
)  # fields that the answers do not depend on
Files = Annotated[Positional[tuple[str, ...]], arg(help="files, or directories of them")]


def found(files: Sequence[str], endings: Sequence[str]) -> list[Path]:
    """The files that are named, and those with these endings in the directories that are.

    Raises:
        ValueError: none is named, one does not exist, or a directory has none.
    """
    if not files:
        raise ValueError("name one or more files, or directories of them")
    every: list[Path] = []
    for name in files:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(
                p for p in path.rglob("*") if p.suffix.lower() in endings and p.is_file()
            )
            if not inside:
                raise ValueError(f"{path} has no file that ends in {', '.join(endings)}")
            every += inside
        elif path.is_file():
            every.append(path)
        else:
            raise ValueError(f"there is no file or directory {path}")
    return every


@contextlib.contextmanager
def trained(model: str, advice: str) -> Iterator[None]:
    """What reads a model here draws no weights that its files lack: the error says what else to
    do."""
    from transformers_jax.pretrained import Untrained

    try:
        yield
    except Untrained as error:
        raise ValueError(f"{model} has no weights for {error.names}: {advice}") from None


def naming(file: Any, error: ValueError) -> str:
    """The text of an error on one line, with the name of the file that it is about."""
    text = " ".join(str(error).split())
    return text if str(file) in text else f"{file}: {text}"


def _file_of(line: Mapping[str, Any]) -> Any:
    return line.get("file", line.get("text"))


def already(
    out: Path,
    files: Sequence[Any],
    of: Callable[[Mapping[str, Any]], Any] = _file_of,
    what: str = "files",
) -> int:
    """How many of the files (or texts, or records), from the first on, have a line in the output.

    Args:
        of: what a line is of: the name of its file, or its record.
        what: they are called.

    Raises:
        ValueError: it has lines of other files.
    """
    from transformers_jax.runs.evaluate import whole_lines

    done = whole_lines(out)
    text = out.read_text("utf-8").split("\n")[:done] if done else []
    read = [parse_json(line, f"{out}, line {n}") for n, line in enumerate(text, 1)]
    lines = [line if isinstance(line, Mapping) else {} for line in read]
    named = [of(line) for line in lines]
    name = lambda file: file if isinstance(file, Mapping) else str(file)
    if named != [name(file) for file in files[: len(named)]]:
        raise ValueError(f"{out} has lines of other {what}; choose another --out, or remove it")
    if done:
        failed = sum("error" in line for line in lines)
        more = f", {failed:,} of them with an error: remove {out} to read them again" * bool(failed)
        print_line(f"{done:,} of {len(files):,} {what} are in {out} already{more}", error=True)
    return done


def tell_failed(failed: int, every: int) -> None:
    """Says how many files could not be read.

    Raises:
        ValueError: none could.
    """
    from transformers_jax.data.damaged import count_failed

    advice = "without --on-error skip the command ends at the first"
    if said := count_failed(failed, every, "files", advice):
        print_line(said, error=True)


def made_with(command: Any) -> dict[str, Any]:
    """What the lines of a command are made with: its settings, and what weights they are."""
    from transformers_jax.data.texts import digest
    from transformers_jax.training.reference import weights_of

    settings = {name: x for name, x in vars(command).items() if name not in OF_READING}
    return {**settings, "weights": digest("\n".join(weights_of(command.model)))}


def check_made(out: Path, made: Mapping[str, Any], done: int) -> None:
    """Compares what the lines that are there were made with, and writes it beside them
    (OUT.made.json).

    Args:
        made: settings and what weights they are, by name.
        done: how many lines are there.

    Raises:
        ValueError: they were made with something else.
    """
    file = out.with_name(f"{out.name}.made.json")
    before, now = json_or_empty(file), parse_json(json_text(made), file)
    if done and before != now:
        other = [name for name in now if before.get(name) != now[name]]
        raise ValueError(
            f"{out} has lines that were made with other {', '.join(other) or 'settings'}; choose "
            "another --out, or remove it"
        )
    publish_json(file, now)
