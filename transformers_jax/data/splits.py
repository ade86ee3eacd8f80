"""Which files of a folder are trained on, and which are for evaluation: their names say so.

Files or folders whose names begin with train, validation (valid, val, dev) or test are splits, such
as train-00000-of-00002.parquet; or end so (wiki.train.txt), if one is to train on and another not.
Files of another kind beside them, such as a README.md beside JSON Lines, are left out, and named.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from transformers_jax.data.files import kind_of

EARLIER = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"}
NAMES = {**EARLIER, "dev": "validation", "test": "test"}
FIRST = re.compile(rf"({'|'.join(NAMES)})(?![a-z])")
LAST = re.compile(rf".*[-_. ]({'|'.join(NAMES)})$")
ABOUT = re.compile(r"readme|licen[sc]e|copying|notice|changelog|citation", re.IGNORECASE)
"""Names of files about a data set, which are none of its texts."""
SHOWN = 5  # files that a message names


def by_split(files: list[Path], path: str) -> tuple[dict[str, list[Path]], str]:
    """The files of each split, and what to say of those that are left out.

    A single file, the files of a pattern, and a folder in which no name is that of a split are all
    to train on. The files called test are a split only where there is no other.

    Raises:
        ValueError: some names are those of splits, and other files may be texts as well.
    """
    root = Path(path).expanduser()
    names = _names(files, root) if root.is_dir() else {}
    if not names:
        return {"train": files}, ""
    splits = {split: [f for f in names if names[f] == split] for split in [*names.values()]}
    others = [file for file in files if file not in names]
    kinds = {kind_of(file) for file in names}
    if doubtful := [one for one in others if kind_of(one) in kinds and not ABOUT.match(one.name)]:
        raise ValueError(
            f"{path} holds splits ({_listed([*names], root)}) and beside them "
            f"{_listed(doubtful, root)}: are those to be trained on? Call them train-... or take "
            f"them away; a pattern such as '{path.rstrip('/')}/**/*{doubtful[0].suffix}' trains on "
            "all that it fits"
        )
    tests = splits.pop("test") if "test" in splits and len(splits) > 1 else []
    notes = [
        (tests, "neither trained on nor evaluated (--data.eval-sets NAME=PATH does)"),
        (others, "left out, as their names are not those of splits"),
    ]
    said = [f"of {path}, {why}: {_listed(some, root)}" for some, why in notes if some]
    return splits, "; ".join(said)


def by_split_earlier(files: list[Path], path: str) -> dict[str, list[Path]]:
    """The files of each split as earlier versions had them, for the runs that these began: where
    not every name was that of a split, all were trained on."""
    root = Path(path).expanduser()
    if root.is_dir():
        first = [file.relative_to(root).parts[0] for file in files]
        names = [EARLIER.get(name.split(".")[0].split("-")[0], "") for name in first]
        if all(names) and "train" in names:
            return {split: [f for f, n in zip(files, names) if n == split] for split in [*names]}
    return {"train": files}


def check_trained(path: str, splits: Collection[str], setting: str) -> None:
    """Raises ValueError where a source has splits, and none to train on."""
    if "train" not in splits:
        raise ValueError(
            f"{path} has files for evaluation only ({', '.join(splits)}), by their names; call "
            f"those to train on train, or give it with --{setting}"
        )


def evaluated(splits: Collection[str]) -> str:
    """Which split a source of its own for evaluation is evaluated on."""
    return next(split for split in ("validation", "train", "test") if split in splits)


def _names(files: list[Path], root: Path) -> dict[Path, str]:
    """The split of each file that has one."""
    first = {file: split for file in files if (split := _split_of(file.relative_to(root)))}
    if "train" in first.values():
        return first
    last = {file: split for file in files if file not in first and (split := _at_end(file))}
    both = {**first, **last}
    return both if "train" in last.values() and len({*both.values()}) > 1 else first


def _split_of(file: Path) -> str:
    """By the first folder that is called so, else by the name of the file; "" by neither."""
    matches = (FIRST.match(part.lower()) for part in file.parts)
    return next((NAMES[match[1]] for match in matches if match), "")


def _at_end(file: Path) -> str:
    """By the end of the name, with or without the endings of its kind and packing; or ""."""
    name = file.name.lower()
    matches = (LAST.match(name.rsplit(".", count)[0]) for count in range(3))
    return next((NAMES[match[1]] for match in matches if match), "")


def _listed(files: list[Path], root: Path) -> str:
    names = [str(file.relative_to(root)) for file in files]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
