"""Data sets that are prepared on the disk: TensorFlow Datasets and Hugging Face datasets.

Of TFDS only what needs no TensorFlow: array_record and Parquet, and features of text and numbers
(in tables, also pictures).
Nothing of TFDS is ever downloaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.data.records import Placed
from transformers_jax.data.texts import Source, Texts, text_of
from transformers_jax.extras import need

PLAIN_FEATURES = ("Text", "ClassLabel", "Scalar", "Tensor")
PICTURE = "Image"  # which is read as other pictures of tables are, not by TFDS
NESTED_FEATURES = ("Sequence", "FeaturesDict", "Translation")
SPLITS = ("train", "validation")

Tables = tuple[dict[str, Iterator[Placed]], dict[str, tuple[str, ...]]]
"""(records by split, classes by their names; the names of classes by number, of each column)."""


def open_tfds(name: str, field: str) -> Source:
    """NAME[/CONFIG][:VERSION] under TFDS_DATA_DIR or ~/tensorflow_datasets, or a version's folder.

    Raises:
        ValueError: it is not prepared there, or is in a form that needs TensorFlow.
    """
    folder, builder = _open_builder(name)
    ids = _holds_ids(builder, folder, field)

    def rows(split: str) -> Iterator[Any]:
        data = builder.as_data_source(split)
        for number in range(len(data)):
            value = data[number][field]
            where = f"{folder}, {split} {number}"
            yield np.asarray(value) if ids else text_of({field: value}, field, where)

    splits = _texts_of(builder.info.splits, rows, str(folder))
    return Source(f"tfds:{name}", splits, ids=ids, fingerprint=str(builder.info.full_name))


def _open_builder(name: str) -> tuple[Path, Any]:
    folder = _find_version(name)
    tfds = need("tensorflow_datasets", "train", "tfds:")
    try:
        return folder, tfds.builder_from_directory(str(folder))
    except Exception as error:  # TFDS has many of its own
        raise ValueError(f"{folder} is no prepared data set of TFDS: {error}") from None


def tfds_records(name: str) -> Tables:
    """The records of each split that is read, or of the one that is named: NAME[SPLIT].

    Raises:
        ValueError: as of `open_tfds`; there is no such split.
    """
    name, only = named_split(name)
    folder, builder = _open_builder(name)
    kinds = _check_form(builder, folder, (*PLAIN_FEATURES, *NESTED_FEATURES, PICTURE))
    skip = need("tensorflow_datasets", "train", "tfds:").decode.SkipDecoding
    encoded = {name: skip() for name, kind in kinds.items() if kind == PICTURE}
    options = {"decoders": encoded} if encoded else {}

    def rows(split: str) -> Iterator[Placed]:
        data = builder.as_data_source(split, **options)
        for number in range(len(data)):
            values = _named_classes(data[number], builder.info.features)
            yield f"{folder}, {split} {number}", values

    features = builder.info.features
    return _records_of(builder.info.splits, only, rows, str(folder)), _class_names(features)


def _named_classes(value: Any, feature: Any) -> Any:
    """A value of TFDS as plain Python: bytes as text, a class by its name (-1: None), and a picture
    as Hugging Face has it."""
    if isinstance(value, Mapping) and type(feature).__name__ == PICTURE:
        return value
    if isinstance(value, Mapping):
        features = getattr(feature, "feature", feature)  # of a sequence, those of its elements
        return {str(name): _named_classes(value[name], features[name]) for name in value}
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value):
        inner = getattr(feature, "feature", feature)
        return [_named_classes(one, inner) for one in value]
    value = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    if names := getattr(feature, "names", None):
        return names[value] if value >= 0 else None
    if isinstance(value, bytes) and type(feature).__name__ == PICTURE:
        return {"bytes": value, "path": None}
    return value.decode() if isinstance(value, bytes) else value


def _class_names(features: Any) -> dict[str, tuple[str, ...]]:
    """The names of classes by their numbers, of each column that holds classes or lists of them."""
    kinds = {name: getattr(features[name], "feature", features[name]) for name in features}
    return {name: tuple(kind.names) for name, kind in kinds.items() if getattr(kind, "names", None)}


def named_split(name: str) -> tuple[str, str]:
    """("glue/mnli", "validation_matched") of "glue/mnli[validation_matched]"."""
    matched = re.fullmatch(r"(.+)\[([\w-]+)\]", name)
    return (matched[1], matched[2]) if matched else (name, "")


def _records_of(
    splits: Collection[str], only: str, rows: Callable[[str], Iterator[Placed]], where: str
) -> dict[str, Iterator[Placed]]:
    """The records of the splits that are read; of one that is named, as "train".

    Raises:
        ValueError: there is no split of this name, or none to train on.
    """
    if not only:
        return {split: iter(some) for split, some in _texts_of(splits, rows, where).items()}
    if only not in splits:
        raise ValueError(f"{where} has no split {only}; it has {sorted(splits)}")
    return {"train": rows(only)}


def _texts_of(
    splits: Collection[str], rows: Callable[[str], Iterator[Any]], where: str
) -> dict[str, Texts]:
    """The splits that are read, of those that a data set has.

    Raises:
        ValueError: there is none to train on.
    """
    if "train" not in splits:
        raise ValueError(f"{where} has no split train; it has {sorted(splits)}")
    return {split: Texts(partial(rows, split)) for split in SPLITS if split in splits}


def _find_version(name: str) -> Path:
    """The folder of a version: the one named, or the newest."""
    if Path(name).expanduser().is_absolute():
        folder = Path(name).expanduser()
        if not (folder / "dataset_info.json").is_file():
            raise ValueError(f"{folder} has no dataset_info.json; give the folder of a version")
        return folder
    root = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    where, _, version = name.partition(":")
    versions = [p for p in (root / where).glob("*") if (p / "dataset_info.json").is_file()]
    if version:
        versions = [p for p in versions if p.name == version]
    if not versions:
        configs = sorted(p.name for p in (root / where).glob("*") if p.is_dir())
        hint = f" ({where} has {', '.join(configs)})" if configs else ""
        raise ValueError(
            f"tfds:{name} is not prepared under {root}{hint}; nothing is downloaded here. Prepare "
            f"it where TensorFlow is: tfds build {where} --file_format=array_record "
            f"--data_dir={root}, or set TFDS_DATA_DIR"
        )
    return max(versions, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)])


def _holds_ids(builder: Any, folder: Path, field: str) -> bool:
    """Whether a feature holds token ids; else it is text.

    Raises:
        ValueError: it is neither, or the data set is stored in a form that needs TensorFlow.
    """
    kinds = _check_form(builder, folder, PLAIN_FEATURES)
    features = builder.info.features
    if field not in features:
        raise ValueError(f"{folder} has no feature {field!r}; it has {sorted(features)}")
    shape, dtype = features[field].shape, np.dtype(features[field].np_dtype)
    ids = kinds[field] == "Tensor" and len(shape) == 1 and dtype.kind in "iu"
    if not ids and kinds[field] != "Text":
        raise ValueError(
            f"{folder}: {field!r} is {kinds[field]} of {dtype}{list(shape)}, neither text nor one "
            "row of integers"
        )
    return ids


def _check_form(builder: Any, folder: Path, known: Sequence[str]) -> dict[str, str]:
    """The kinds of the features by name.

    Raises:
        ValueError: the data set is stored in a form, or has features, that need TensorFlow.
    """
    form = getattr(builder.info.file_format, "value", builder.info.file_format)
    if form not in ("array_record", "parquet"):
        raise ValueError(
            f"{folder} is stored as {form}, which needs TensorFlow; convert it where TensorFlow "
            f"is: tfds convert_format --dataset_dir={folder} --out_file_format=array_record "
            "--out_dir=DIR"
        )
    kinds = {name: type(feature).__name__ for name, feature in builder.info.features.items()}
    for name, kind in kinds.items():
        if kind not in known:
            raise ValueError(
                f"{folder}: feature {name!r} is {kind}, which is not read here "
                f"({', '.join(known)} are); write its text where TensorFlow is, as a line "
                "of JSON each, and pass the .jsonl"
            )
    return kinds


def open_hf(name: str, field: str) -> Source:
    """A folder of `save_to_disk`, or NAME[:CONFIG], which the library fetches or has.

    Raises:
        ValueError: the extra `data` is missing, or there is no such data set, split or field.
    """
    parts = _load_hf(name)

    def rows(split: str) -> Iterator[str]:
        for number, row in enumerate(parts[split]):
            yield text_of(row, field, f"hf:{name}, {split} {number}")

    splits = _texts_of(parts, rows, f"hf:{name}")
    digest = "".join(str(getattr(parts[s], "_fingerprint", len(parts[s]))) for s in splits)
    return Source(f"hf:{name}", splits, fingerprint=digest)


def hf_records(name: str) -> Tables:
    """The records of each split that is read, or of the one that is named: NAME[SPLIT].

    Raises:
        ValueError: as of `open_hf`; there is no such split.
    """
    name, only = named_split(name)
    parts = _load_hf(name)

    def rows(split: str) -> Iterator[Placed]:
        features = parts[split].features
        for number, row in enumerate(parts[split]):
            yield f"hf:{name}, {split} {number}", _named_classes(row, features)

    features = next(iter(parts.values())).features
    return _records_of(parts, only, rows, f"hf:{name}"), _class_names(features)


def _load_hf(name: str) -> dict[str, Any]:
    """The splits of a data set, by name."""
    datasets = need("datasets", "data", "hf:")
    try:
        if Path(name).expanduser().is_dir():
            loaded = datasets.load_from_disk(str(Path(name).expanduser()))
        else:
            loaded = datasets.load_dataset(*name.split(":", 1))
    except Exception as error:  # the library has many of its own
        raise ValueError(f"hf:{name} cannot be loaded: {error}") from None
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
