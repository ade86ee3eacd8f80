"""What is recorded with a checkpoint, and whether its files still are what was saved.

Nothing here needs a model, and nothing here writes: a run may be examined while it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformers_jax.json_files import digest_of, parse_json
from transformers_jax.training.checksums import checksum_on_host, names
from transformers_jax.training.disk import line_of, without_patterns

FORMAT = 2
LACKING: dict[int, frozenset[str]] = {1: frozenset({"skipped"}), 2: frozenset()}
"""The fields of TrainState that checkpoints of a format do not have."""


UNFINISHED = ".orbax-checkpoint-tmp"
"""Part of the name of a step that is being written."""


class Damaged(ValueError):
    """The files of a checkpoint are not what was saved."""


@dataclass(frozen=True)
class Leaf:
    """An array of a checkpoint, and whether it is intact.

    Attributes:
        array: "float32[64,128]", as stored or else as recorded; "?" if neither can be read.
        verdict: "ok", "changed" or "unreadable: ...".
    """

    array: str
    verdict: str

    @property
    def good(self) -> bool:
        """Whether it is what was saved."""
        return self.verdict == "ok"

    def to_dict(self) -> dict[str, Any]:
        """{"shape": [64, 128], "dtype": "float32", "verdict": "ok"}; None where not known."""
        dtype, _, shape = self.array.rstrip("]").partition("[")
        known = self.array != "?"
        sizes = [int(size) for size in shape.split(",") if size] if known else None
        return {"shape": sizes, "dtype": dtype if known else None, "verdict": self.verdict}


def find_steps(folder: str | Path) -> list[Path]:
    """The folders of steps, the oldest first, in a run, in its `checkpoints`, or of one step.

    Raises:
        ValueError: there are none.
    """
    path = Path(folder).expanduser().absolute()
    if is_step(path):
        return [path]
    for parent in (path / "checkpoints", path):
        if parent.is_dir() and (steps := [step for step in parent.iterdir() if is_step(step)]):
            return sorted(steps, key=lambda step: int(step.name))
    if UNFINISHED in path.name:
        raise ValueError(f"{folder} is being written, or its writing was interrupted")
    kind = "holds no checkpoint" if path.is_dir() else "does not exist"
    raise ValueError(f"{folder} {kind}; expected a run, its checkpoints, or one step")


def saved_steps(run: Path) -> list[int]:
    """The steps that a run has saved completely, the oldest first; [] if none."""
    try:
        return [int(path.name) for path in find_steps(run)]
    except (ValueError, OSError):
        return []


def is_step(path: Path) -> bool:
    """Whether this is the folder of a step, be it damaged; empty and foreign folders are not."""
    named = path.name.isascii() and path.name.isdigit() and str(int(path.name)) == path.name
    parts = ("state", "meta", "_CHECKPOINT_METADATA")
    return named and path.is_dir() and any((path / part).exists() for part in parts)


def spell(x: Any) -> str:
    """ "float32[64,128]" of an array."""
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"


def read_record(path: Path) -> dict[str, Any]:
    """The record of the step at `path`.

    Raises:
        Damaged: it cannot be read, or has been changed.
        ValueError: it is of a later format.
    """
    try:
        record = parse_json((path / "meta" / "metadata").read_bytes(), "the record")
        digest = record.pop("digest", None)
        version, has_sums = record["format"], isinstance(record["checksums"], dict)
    except Exception as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise Damaged(f"checkpoint {path}: damaged, meta/metadata {what}") from error
    intact = digest == digest_of(record)
    if version not in LACKING and intact:
        raise ValueError(
            f"checkpoint {path} is of format {version}, and this version reads "
            f"{', '.join(map(str, LACKING))}; continue with the version that wrote it"
        )
    first = version == 1 and digest is None and "arrays" not in record
    if not has_sums or not (intact or first):
        raise Damaged(f"checkpoint {path}: damaged, meta/metadata changed on disk")
    return record


def read_leaf(path: Path, record: dict[str, Any], name: str) -> np.ndarray:
    """An array of the step at `path`, once it is what was saved.

    Raises:
        Damaged: it cannot be read, or has changed since.
        ValueError: the step has no such array.
    """
    if name not in record["checksums"]:
        raise ValueError(f"checkpoint {path} is of another model: it has no {name}")
    try:
        x = _read_array(path, name)
    except Exception as error:
        raise Damaged(f"checkpoint {path}: damaged, {name} cannot be read") from error
    if checksum_on_host(x) != record["checksums"][name]:
        raise Damaged(f"checkpoint {path}: damaged, {name} changed on disk")
    return x


def _read_array(path: Path, name: str) -> np.ndarray:
    import tensorstore

    plain = without_patterns(path.parent) / path.name
    base = {"driver": "file", "path": f"{plain}/state/"}
    store = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
    stored = tensorstore.open({"driver": "zarr", "kvstore": store}, read=True, open=True)
    return np.asarray(stored.result().read().result())


def read_verified(
    path: Path,
    record: Mapping[str, Any],
    read: Callable[[Path], Any],
    checksums: Callable[[Any], Mapping[str, int]],
) -> Any:
    """What `read` gives of the step at a path, once every array is what was saved. A run continues
    from what passes here, and this is what `check-checkpoint` calls ok.

    Raises:
        Damaged: it cannot be read, or an array has changed or is missing.
    """
    try:
        tree = read(without_patterns(path.parent) / path.name)
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(f"checkpoint {path}: damaged, its arrays cannot be read") from error
    found = checksums(tree)
    wrong = sorted(name for name, sum_ in record["checksums"].items() if found.get(name) != sum_)
    if wrong:
        raise Damaged(f"checkpoint {path}: damaged, {', '.join(wrong)} changed on disk")
    return tree


def verify_step(path: Path) -> dict[str, Leaf] | None:
    """{name: leaf} of the step at `path`; None if the run has removed it meanwhile.

    What is damaged beside the arrays is a leaf too: "meta", the record, or "state/_METADATA",
    their list.
    """
    try:
        record = read_record(path)
        shapes = record.get("arrays", {})
        tree = read_verified(path, record, _on_host, lambda tree: tree[1])[0]
        return {name: Leaf(tree[name], "ok") for name in record["checksums"]}
    except ValueError as error:
        if not path.exists():
            return None
        if not isinstance(error, Damaged) or "meta/metadata" in str(error):
            return {"meta": Leaf("?", f"unreadable: {line_of(error)}")}
    leaves = {
        name: _verify(path, name, shapes.get(name, "?"), expected)
        for name, expected in record["checksums"].items()
    }
    if all(leaf.good for leaf in leaves.values()):
        leaves["state/_METADATA"] = Leaf("?", "unreadable: it does not list these arrays")
    return leaves


def _listed(path: Path) -> Any:
    """The tree of a step as state/_METADATA lists it, with zeros for arrays. Orbax reads the kinds
    of its leaves as well, which it does not need where it is told what to read, as a run does."""
    entries = parse_json((path / "state" / "_METADATA").read_bytes(), "the list of arrays")
    return _tree([entry["key_metadata"] for entry in entries["tree_metadata"].values()])


def _tree(keys: list[list[dict[str, Any]]]) -> Any:
    if keys == [[]]:
        return 0
    parts: dict[str, Any] = {}
    for first, *rest in keys:
        parts.setdefault(first["key"], []).append(rest)
    values = {key: _tree(rest) for key, rest in parts.items()}
    kinds = {first["key_type"] for first, *_ in keys}
    return [values[str(n)] for n in range(len(values))] if kinds == {1} else values


def _on_host(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """({name: "float32[64,128]"}, {name: checksum}) of the arrays of a step, read as a run does."""
    import orbax.checkpoint as ocp

    listed = _listed(path)
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), listed)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        what = ocp.args.PyTreeRestore(item=listed, restore_args=as_numpy)
        tree = checkpointer.restore(path / "state", args=what)
    arrays = dict(zip(names(tree), jax.tree.leaves(tree)))
    return (
        {name: spell(x) for name, x in arrays.items()},
        {name: checksum_on_host(x) for name, x in arrays.items()},
    )


def _verify(path: Path, name: str, shape: str, expected: int) -> Leaf:
    """One array of a damaged step."""
    try:
        x = _read_array(path, name)
    except Exception as error:
        missing = "NOT_FOUND" in str(error)
        return Leaf(shape, f"unreadable: a file is {'missing' if missing else 'damaged'}")
    same = shape in ("?", spell(x)) and checksum_on_host(x) == expected
    return Leaf(spell(x), "ok" if same else "changed")
