"""What is recorded with a checkpoint, and whether its files still are what was saved.

Nothing here needs a model, and nothing here writes: a run may be examined while it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.json_files import digest_of, parse_json
from transformers_jax.training.checksums import checksum_on_host
from transformers_jax.training.disk import cause, line_of

FORMAT = 2
LACKING: dict[int, frozenset[str]] = {1: frozenset({"skipped"}), 2: frozenset()}
"""The fields of TrainState that checkpoints of a format do not have."""


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
    kind = "holds no checkpoint" if path.is_dir() else "does not exist"
    raise ValueError(f"{folder} {kind}; expected a run, its checkpoints, or one step")


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
        message = f"checkpoint {path}: meta/metadata cannot be read ({cause(error)})"
        raise Damaged(message) from error
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
        raise Damaged(f"checkpoint {path}: {name} cannot be read ({cause(error)})") from error
    if checksum_on_host(x) != record["checksums"][name]:
        raise Damaged(f"checkpoint {path}: damaged, {name} changed on disk")
    return x


def _read_array(path: Path, name: str) -> np.ndarray:
    import tensorstore

    base = {"driver": "ocdbt", "base": f"file://{path}/state/", "path": f"{name}/"}
    stored = tensorstore.open({"driver": "zarr", "kvstore": base}, read=True, open=True)
    return np.asarray(stored.result().read().result())


def verify_step(path: Path) -> dict[str, Leaf]:
    """{name: leaf} of the step at `path`, each read and compared with its checksum.

    A record that cannot be read is a leaf "meta".
    """
    try:
        record = read_record(path)
    except ValueError as error:
        return {"meta": Leaf("?", f"unreadable: {line_of(error)}")}
    leaves = {}
    for name, expected in record["checksums"].items():
        shape = record.get("arrays", {}).get(name, "?")
        try:
            x = _read_array(path, name)
        except Exception as error:
            leaves[name] = Leaf(shape, f"unreadable: {line_of(error)}")
        else:
            same = shape in ("?", spell(x)) and checksum_on_host(x) == expected
            leaves[name] = Leaf(spell(x), "ok" if same else "changed")
    return leaves
