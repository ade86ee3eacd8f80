"""Checkpoints on disk: safetensors files, single or sharded with an index, read tensor by tensor.

Files that others made are opened only after `header` and the safetensors library have accepted
them. Where there are none, Flax's are read (`flax_msgpack`). Nothing here
ever unpickles. Writing streams one tensor at a time and is laid out as PyTorch's `save_pretrained`
lays it out, byte for byte.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.hub import flax_msgpack
from transformers_jax.hub.contents import STEMS, adapter_of_model, other_weights, pickle_message
from transformers_jax.hub.header import (
    CODES,
    MAX_HEADER,
    RANK,
    HeldTensor,
    Tensor,
    aligned_bytes,
    check_name,
    open_regular,
    parse_header,
    read_header,
)
from transformers_jax.hub.mxfp4 import unpacked
from transformers_jax.json_files import errors_of, json_text
from transformers_jax.publish import publish, publish_json
from transformers_jax.sizes import parse_bytes

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
COMPARED = 2**20  # bytes
_SHARD = r"{stem}-\d{{5}}-of-\d{{5}}\.safetensors"
_SAFE, _FLAX = ".safetensors", ".msgpack"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one or several files; nothing is in memory until it is read."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """{name: shape}, which `Table.check` compares."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def read(
        self,
        name: str,
        start: int = 0,
        stop: int | None = None,
        memory: np.ndarray | None = None,
    ) -> np.ndarray:
        """The tensor called `name`, or its rows `start` to `stop` along axis 0 (`Tensor.read`).

        Raises:
            ValueError: there is no such tensor, or the file has become shorter.
        """
        if name not in self.tensors:
            raise ValueError(f"{self.path} has no tensor {name!r}")
        return self.tensors[name].read(start, stop, memory)

    def with_values(self, values: Mapping[str, np.ndarray]) -> Checkpoint:
        """The checkpoint with these arrays in the place of its tensors of these names."""
        held = {name: HeldTensor.of(array, self.path) for name, array in values.items()}
        return replace(self, tensors={**self.tensors, **held})

    def same(self, one: str, other: str) -> bool:
        """Whether two tensors hold the same bytes, of which some megabytes at a time are read."""
        first, second = self.tensors[one], self.tensors[other]
        if (first.shape, first.dtype) != (second.shape, second.dtype):
            return False
        count = first.shape[0] if first.shape else 1
        run = count if first.transposed else max(1, count * COMPARED // max(1, first.nbytes))
        memory = [aligned_bytes(run * first.nbytes // max(1, count)) for _ in range(2)]
        return all(
            np.array_equal(
                first.read(n, min(n + run, count), memory[0]).reshape(-1).view(np.uint8),
                second.read(n, min(n + run, count), memory[1]).reshape(-1).view(np.uint8),
            )
            for n in range(0, count, run)
        )


def confined(path: Path, origin: Path) -> Path:
    """The resolved path of a file of a directory, which may be a link within it or the hub's cache:
    that keeps files as links from `snapshots/<revision>` to `blobs` of the same model.

    Raises:
        ValueError: a link that leads elsewhere: a checkpoint that links its vocabulary to a private
            file must not have it copied into what is published.
    """
    real, home = path.resolve(), origin.resolve()
    cached = [
        parent.parents[1] / "blobs"
        for parent in (home, *home.parents)
        if parent.parent.name == "snapshots" and parent.parents[1].name.startswith("models--")
    ]
    if not any(root in real.parents for root in (home, *cached)):
        raise ValueError(
            f"{path} is a link that leads out of its directory, to {real}; copy the file, or give "
            "its own path"
        )
    return real


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a .safetensors file, or a directory with `model.safetensors` or its index and shards,
    or, where it has neither, with `flax_model.msgpack` or its index and shards.

    Only headers are read. The offsets of every tensor are checked; files that an index names must
    be in the directory itself. Weights in MXFP4 are the tensors that they stand for.

    Raises:
        ValueError: no such file, not safetensors, or a file that is not to be trusted.
    """
    checkpoint = _opened(Path(path))
    return replace(checkpoint, tensors=unpacked(checkpoint.tensors, checkpoint.path))


def _opened(path: Path) -> Checkpoint:
    if not path.is_dir():
        if not path.exists():
            raise ValueError(f"{path} does not exist")
        if path.suffix in _PICKLES:
            raise ValueError(pickle_message(path))
        if path.name.endswith(".index.json"):
            return _open_index(path)
        if path.suffix == ".json":
            raise ValueError(f"{path} holds no weights; give its directory, {path.parent}")
        return Checkpoint(path, *_open_file(path, _FLAX if path.suffix == _FLAX else _SAFE))
    if (path / SINGLE).exists() and (problem := adapter_of_model(path)):
        raise ValueError(problem)
    named = [(_SAFE, f"{stem}{_SAFE}", f"{stem}{_SAFE}.index.json") for stem in STEMS]
    for suffix, single, index in (*named, (_FLAX, flax_msgpack.SINGLE, flax_msgpack.INDEX)):
        if os.path.lexists(path / single):
            return Checkpoint(path, *_open_file(_inside(path, single, suffix), suffix))
        if (path / index).exists():
            return _open_index(path / index)
    raise ValueError(other_weights(path) or _without_weights(path))


def _without_weights(folder: Path) -> str:
    """What a directory is that holds no weights of any kind, and what to do with it."""
    names = sorted(os.listdir(folder))
    others = [name for name in names if name.endswith(_SAFE)]
    hint = f"; give one of its files instead: {', '.join(others[:5])}" if others else ""
    if not others and "config.json" in names:
        hint = "; a config is enough for a new model: tj.from_config(path, key=jax.random.key(0))"
    if folder.parent.name == "snapshots":  # of the hub's cache
        hint += (
            ". Of a hub id only JSON, safetensors and tokenizer files are downloaded: if the hub "
            "shows weights of another kind, download them (hf download ID --local-dir DIR) and "
            "give DIR: the error then says how to convert them"
        )
    return f"{folder} has neither {SINGLE} nor {INDEX}{hint}"


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: what the header says, and how to get its values when it is due."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @staticmethod
    def of(array: np.ndarray) -> Entry:
        """An entry for an array that is in memory already."""
        return Entry(array.shape, array.dtype, lambda: array)


def save(
    entries: Mapping[str, Entry],
    directory: str | os.PathLike[str],
    *,
    max_shard_size: int | str = "50GB",
    metadata: Mapping[str, str] | None = None,
    owner: bool = True,
    stem: str = "model",
) -> list[Path]:
    """Writes tensors to `model.safetensors` (or of another stem), or to shards and an index;
    returns the files.

    One tensor at a time is in memory. Each file is written under a temporary name, flushed to disk,
    read back (the header) and renamed, so a reader finds the old checkpoint or the new one, whole.
    Files of an earlier save under these names are replaced or removed.

    A process that is not the `owner` only reads the entries, in the order in which they are
    written: tensors that lie on the devices of several processes are read by all of them at once.

    Units: `max_shard_size` is in bytes, or text like "5GB" (decimal).

    Raises:
        ValueError: a name or dtype that the format does not have, or a size that cannot be read.
    """
    from huggingface_hub import split_state_dict_into_shards_factory

    directory = Path(directory)
    for name, entry in entries.items():
        check_name(name)
        if np.dtype(entry.dtype) not in CODES:
            raise ValueError(f"tensor {name!r}: safetensors has no dtype {entry.dtype}")
    most = parse_bytes("max_shard_size", max_shard_size)
    notes = dict({"format": "pt"} if metadata is None else metadata)
    split = split_state_dict_into_shards_factory(
        dict(entries),
        get_storage_size=lambda entry: entry.nbytes,
        filename_pattern=stem + "{suffix}.safetensors",
        max_shard_size=most,
    )
    single, listing = f"{stem}{_SAFE}", f"{stem}{_SAFE}.index.json"
    shards = split.filename_to_tensors or {single: []}
    if not owner:
        for members in shards.values():
            for name in _order({key: entries[key] for key in members}):
                entries[name].read()
        return []
    directory.mkdir(parents=True, exist_ok=True)
    for name, members in shards.items():
        write_file(directory / name, {key: entries[key] for key in members}, notes)
    names = [*shards]
    if len(shards) > 1:
        total = {
            "total_parameters": sum(math.prod(entry.shape) for entry in entries.values()),
            "total_size": sum(entry.nbytes for entry in entries.values()),
        }
        index = {"metadata": total, "weight_map": split.tensor_to_filename}
        names.append(listing)
        publish_json(directory / listing, index, sort_keys=True)
    for stale in os.listdir(directory):
        known = stale in (single, listing) or re.fullmatch(_SHARD.format(stem=stem), stale)
        if stale not in names and known:
            (directory / stale).unlink()
    return [directory / name for name in names]


def _open_file(path: Path, suffix: str = _SAFE) -> tuple[dict[str, Tensor], dict[str, str]]:
    if suffix == _FLAX:
        return flax_msgpack.read_names(path), {"format": "flax"}
    return read_header(path)


def _open_index(path: Path) -> Checkpoint:
    with open_regular(path) as file:
        raw = file.read(MAX_HEADER + 1)
    with errors_of(path):
        index = parse_header(raw, "the index")
        shards = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(shards, dict) or any(not isinstance(v, str) for v in shards.values()):
            raise ValueError("the index needs a 'weight_map' from tensor names to file names")
        for name in shards:
            check_name(name)
    suffix = _FLAX if path.name == flax_msgpack.INDEX else _SAFE
    files = {n: _inside(path.parent, n, suffix, path) for n in sorted({*shards.values()})}
    if absent := [name for name, file in files.items() if not file.exists()]:
        raise ValueError(
            f"{path}: these shards are missing: {', '.join(absent)} ({len(absent)} of "
            f"{len(files)}); copy or download them into {path.parent}"
        )
    if suffix == _FLAX:
        shards = {flax_msgpack.torch_name(name): shard for name, shard in shards.items()}
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for shard, file in files.items():
        members, notes = _open_file(file, suffix)
        if twice := sorted(set(members) & set(tensors)):
            raise ValueError(f"{path}: tensor {twice[0]!r} is in two shards, also in {shard}")
        tensors |= members
        metadata |= notes
    expected = {name: files[shard] for name, shard in shards.items()}
    wrong = {*expected.items()} ^ {(name, tensor.path) for name, tensor in tensors.items()}
    if wrong:
        names = ", ".join(sorted({name for name, _ in wrong})[:10])
        raise ValueError(f"{path}: index and shards disagree about {names}")
    return Checkpoint(path.parent, tensors, metadata)


def _inside(directory: Path, name: str, suffix: str, index: Path | None = None) -> Path:
    """The file `name` of a directory, whose plain name must not lead out of it."""
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,250}}{re.escape(suffix)}", name):
        raise ValueError(
            f"{index or directory}: {name[:200]!r} is not a plain file name ending in {suffix}"
        )
    return confined(directory / name, directory)


def _order(entries: Mapping[str, Entry]) -> list[str]:
    """The names in the order of their bytes in a file."""
    return sorted(entries, key=lambda name: (-RANK[np.dtype(entries[name].dtype)], name))


def write_file(path: Path, entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> None:
    """Writes one safetensors file, as `save` writes each of its own."""
    order = _order(entries)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in order:
        entry, begin = entries[name], end
        end += entry.nbytes
        header[name] = {
            "dtype": CODES[np.dtype(entry.dtype)],
            "shape": list(entry.shape),
            "data_offsets": [begin, end],
        }
    text = json_text(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)

    def write(file: Any) -> None:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            # C order always: the bytes of a transposed view are not those of its shape.
            array = np.ascontiguousarray(entries[name].read()).reshape(entries[name].shape)
            if array.dtype != entries[name].dtype:
                raise ValueError(f"tensor {name!r}: {array.dtype}, not {entries[name].dtype}")
            file.write(array.reshape(-1).view(np.uint8).data)

    def check(draft: Path) -> None:
        read_back, notes = _open_file(draft)
        written = {name: (tensor.shape, tensor.dtype) for name, tensor in read_back.items()}
        expected = {name: (tuple(e.shape), np.dtype(e.dtype)) for name, e in entries.items()}
        if written != expected or notes != dict(metadata):
            raise ValueError(f"{draft}: the header read back is not the one written")

    publish(path, write, check)
