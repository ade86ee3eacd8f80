"""A checkpoint loaded strictly and written anew, as PyTorch transformers writes it today.

Weights go through the model, so that what is written is what was understood; `Conversion` says what
differs from the source: names, dtypes, shapes, keys of the config, files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_jax.arrays import Key
from transformers_jax.embedding.directory import MODULES
from transformers_jax.embedding.plan import EmbeddingPlan
from transformers_jax.hub.companions import copy_companions
from transformers_jax.hub.download import resolve
from transformers_jax.hub.files import Checkpoint, open_checkpoint
from transformers_jax.inspection.description import head_of
from transformers_jax.json_files import read_json
from transformers_jax.pretrained import Loaded, from_pretrained, load_config
from transformers_jax.saving import save_pretrained


@dataclass(frozen=True)
class Conversion:
    """What `convert` wrote, and how that differs from what it read."""

    head: str
    files: tuple[str, ...]
    copied: tuple[str, ...]
    tensors: int
    renamed: tuple[tuple[str, str], ...]
    retyped: tuple[tuple[str, str, str], ...]  # name, dtype there, dtype here
    dropped: tuple[str, ...]  # names of the source that the model does not have
    drawn: tuple[str, ...]  # parameters that the source does not have
    config: tuple[tuple[str, Any, Any], ...]  # key, value there, value here

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON knows it."""
        return dataclasses.asdict(self)


def convert(
    source: str | Path,
    target: str | Path,
    *,
    head: str | None = None,
    dtype: str = "auto",
    max_shard_size: int | str = "50GB",
    key: Key | None = None,
    overwrite: bool = False,
    ignore: Iterable[str] = (),
) -> Conversion:
    """Writes the model of `source` to the directory `target`, with its tokenizer's files.

    A directory of sentence-transformers stays one, unless another head is requested. `ignore` are
    unknown keys of config.json to accept, which are not written.

    Raises:
        ValueError: the source does not fit its family or is not to be trusted; the target holds
            files already (`overwrite=True` replaces them) or is the source.
    """
    model_path, folder = resolve(source), Path(target)
    origin = model_path if model_path.is_dir() else model_path.parent
    if folder.exists() and folder.resolve() == origin.resolve():
        raise ValueError(f"{target} is the source itself; give another directory")
    check_target(folder, overwrite)
    sentences = head == "embedding" or (head is None and (origin / MODULES).is_file())
    config = None if sentences else load_config(origin, ignore=ignore, reader=head)
    chosen = "embedding" if config is None else head_of(config, head)
    loaded = from_pretrained(
        model_path,
        head=chosen if config is None else config.architecture(chosen),  # which decides the family
        dtype=dtype,
        key=key,
        ignore=ignore,
        return_report=True,
    )
    save_pretrained(loaded.model, folder, max_shard_size=max_shard_size)
    plan = loaded.model.plan
    inner = plan.sentence.transformer if isinstance(plan, EmbeddingPlan) else ""
    origin, written = origin / inner, folder / inner
    copied = tuple(copy_companions(origin, written))
    before, after = opened(model_path, loaded.model), opened(folder, loaded.model)
    pairs = names_in_both(loaded)
    dtypes = [(new, before.tensors[old].dtype, after.tensors[new].dtype) for old, new in pairs]
    return Conversion(
        head=chosen,
        files=tuple(sorted(path.name for path in folder.iterdir() if path.name not in copied)),
        copied=copied,
        tensors=len(after.tensors),
        renamed=tuple((old, new) for old, new in pairs if old != new),
        retyped=tuple((name, str(old), str(new)) for name, old, new in dtypes if old != new),
        dropped=tuple(name for name in before.tensors if name not in dict(pairs)),
        drawn=loaded.initialised,
        config=tuple(_changed_keys(origin, written)),
    )


def check_target(folder: Path, overwrite: bool) -> None:
    """Raises ValueError for a directory that holds files already, or is none."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a directory")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise ValueError(f"{folder} is not empty; give another directory, or --overwrite")


def opened(path: Path, model: Any) -> Checkpoint:
    """The tensors of a model, those of the modules behind a transformer included."""
    if isinstance(model.plan, EmbeddingPlan):
        return model.plan.sentence.open(path)[0]
    return open_checkpoint(path)


def names_in_both(loaded: Loaded) -> list[tuple[str, str]]:
    """(the name in the source, the name as it is written) of every tensor that was read."""
    table, bare = loaded.model.plan.table, loaded.model.plan.head == "none"
    return [
        (fill.name, table.bare(fill.canonical, fill.row.group) if bare else fill.canonical)
        for fill in loaded.report.fills
    ]


def _changed_keys(origin: Path, folder: Path) -> Iterator[tuple[str, Any, Any]]:
    """Keys of config.json that were or are not there, or have another value."""
    old, new = read_json(origin / "config.json"), read_json(folder / "config.json")
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield key, old.get(key), new.get(key)
