"""Tables of pictures: folders whose names are classes, and tar shards as WebDataset writes them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers_jax.data.files import kind_of
from transformers_jax.data.pictures import PICTURES, Picture
from transformers_jax.data.records import Placed
from transformers_jax.data.splits import ABOUT, NAMES
from transformers_jax.json_files import parse_json

TAR = frozenset((".tar", ".tgz"))
HIDDEN = ("thumbs.db", "desktop.ini")


def holds_pictures(file: Path) -> bool:
    """Whether a file is a picture, by its ending."""
    return kind_of(file) in PICTURES


def is_shard(file: Path) -> bool:
    """Whether a file is a tar file, packed or not, by its ending."""
    return kind_of(file) in TAR


# ---------------------------------------------------------------- folders


def folder_splits(files: list[Path], path: str) -> tuple[dict[str, list[Path]], str]:
    """The pictures of each split, and what to say of files that are left out.

    The folders right under `path` are splits if all are called so (train, validation, test), and
    classes otherwise.

    Raises:
        ValueError: files that may belong to the table and are no pictures.
    """
    root = Path(path).expanduser()
    others = [file for file in files if kind_of(file) not in PICTURES]
    if wrong := [f for f in others if not ABOUT.match(f.name) and f.name.lower() not in HIDDEN]:
        raise ValueError(
            f"{path} holds pictures and beside them {wrong[0]}, which is none by its ending; take "
            "it away, or give a pattern such as 'FOLDER/**/*.jpg'"
        )
    pictures = [file for file in files if kind_of(file) in PICTURES]
    note = f"of {path}, left out: {', '.join(str(f) for f in others)}" if others else ""
    if root.is_dir():
        first = [NAMES.get(file.relative_to(root).parts[0].lower(), "") for file in pictures]
        if all(first) and "train" in first:
            splits = {s: [f for f, n in zip(pictures, first) if n == s] for s in [*first]}
            return splits, note
    return {"train": pictures}, note


def folder_records(files: list[Path], path: str) -> Iterator[Placed]:
    """{"image": a picture, "label": the name of its folder} of each file; no label where the
    pictures lie in no folders of classes."""
    root = Path(path).expanduser()
    inside = [_folders(file, root) for file in files]
    first = {folders[:1] for folders in inside}
    split = len(first) == 1 and (*first.pop(), "")[0].lower() in NAMES and root.is_dir()
    for file, folders in zip(files, inside):
        record: dict[str, Any] = {"image": Picture(str(file), file)}
        if named := folders[1:] if split else folders:
            record["label"] = named[-1]
        yield str(file), record


def naming_classes(path: str) -> str:
    """What to do where the pictures of a folder or a pattern have no class, or need a text."""
    folder = path if Path(path).expanduser().is_dir() else "FOLDER"
    return (
        f"put the pictures of each class into a folder of its own ({folder}/CLASS/1.jpg), or write "
        "a table (.csv, .jsonl) with their paths in a column 'image'"
    )


def _folders(file: Path, root: Path) -> tuple[str, ...]:
    """The folders in which a picture is: below the table's, or of a pattern the last."""
    if root.is_dir():
        return file.relative_to(root).parts[:-1]
    return () if root.is_file() else file.parts[-2:-1]


# ---------------------------------------------------------------- tar shards


def shard_records(files: list[Path]) -> Iterator[Placed]:
    """The samples of tar files, of which each is the neighbouring members with one name up to its
    first dot: {"image": a picture, "label": of .cls, "text": of .txt, and what .json holds}.

    The pictures stay in the files, and are read there; those of packed files (.tar.gz) are kept in
    memory.

    Raises:
        ValueError: a damaged file, or a member of another kind.
    """
    for file in files:
        plain = file.suffix == ".tar"
        sample: dict[str, Any] = {}
        before = ""
        try:
            with tarfile.open(file) as opened:
                for member in opened:
                    if not member.isfile():
                        continue
                    folder, _, base = member.name.rpartition("/")
                    stem, _, kind = base.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    if key != before and sample:
                        yield f"{file}, {before}", sample
                        sample = {}
                    before = key
                    _add(sample, kind.lower(), opened, member, file, plain)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f"{file} is no tar file that can be read: {error}") from None
        if sample:
            yield f"{file}, {before}", sample


def _add(
    sample: dict[str, Any], kind: str, opened: Any, member: Any, file: Path, plain: bool
) -> None:
    """Adds a member of a tar file to the record that it is of."""
    where = f"{file}, {member.name}"
    content = lambda: opened.extractfile(member).read()
    if f".{kind.rpartition('.')[2]}" in PICTURES:
        name = "image" if "." not in kind else kind.rpartition(".")[0]
        value: Any = Picture(where, file, member.offset_data, member.size)
        value = value if plain else Picture(where, content=content())
    elif kind in ("cls", "cls.txt"):
        text = content().decode("utf-8", "replace").strip()
        name, value = "label", int(text) if text.removeprefix("-").isdigit() else text
    elif kind in ("txt", "text"):
        name, value = "text", content().decode("utf-8", "replace")
    elif kind == "json":
        held = parse_json(content(), where)
        if not isinstance(held, dict):
            raise ValueError(f"{where} holds {type(held).__name__}, not a JSON object")
        if twice := sorted(held.keys() & sample.keys()):
            raise ValueError(f"{where} has {twice[0]!r}, which another member of the sample has")
        sample.update(held)
        return
    else:
        raise ValueError(
            f"{where} is .{kind}; samples of pictures have a picture, .cls, .txt and .json"
        )
    if name in sample:
        raise ValueError(f"{where}: this sample has two of {name!r}")
    sample[name] = value
