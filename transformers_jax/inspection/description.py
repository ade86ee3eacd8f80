"""The facts about a model, from its config and the headers of its file: no weight is read.

`describe` gives a `Description`, a plain record that `tables` shows and `to_json` writes.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers_jax.embedding.directory import MODULES, read
from transformers_jax.hub.download import resolve
from transformers_jax.hub.files import open_checkpoint
from transformers_jax.hub.fill import Fill
from transformers_jax.hub.header import Tensor
from transformers_jax.hub.table import Report
from transformers_jax.inspection.words import Layers, describe_layers, drawings
from transformers_jax.json_files import json_text
from transformers_jax.models.base import Model, Plan
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.embed import Embedder
from transformers_jax.nn.param import axes, flatten, params
from transformers_jax.pretrained import load_config, resolve_ties


@dataclass(frozen=True)
class Part:
    """Some of the parameters, and how many numbers they are."""

    name: str
    count: int


@dataclass(frozen=True)
class Weight:
    """One tensor of theirs (of each layer, if the name holds an index) and its parameters."""

    theirs: str
    tensors: int
    shape: tuple[int, ...]
    dtype: str | None
    ours: tuple[str, ...]
    layout: str
    our_shape: tuple[int, ...]
    axes: tuple[str, ...]
    group: str


@dataclass(frozen=True)
class Description:
    """Everything `inspect` shows."""

    source: str
    family: str
    config_class: str
    architecture: str
    head: str
    heads: tuple[str, ...]
    sizes: Mapping[str, int]
    positions: str
    total: int
    parts: tuple[Part, ...]
    stored: Mapping[str, int]  # dtype -> numbers in the file
    file_bytes: int
    layers: tuple[Layers, ...]
    drawings: Mapping[str, str]  # mask expression -> drawing
    weights: tuple[Weight, ...]
    report: Mapping[str, tuple[str, ...]]
    fits: bool
    modules: tuple[str, ...]  # behind the transformer, in a directory of sentence-transformers


# ---------------------------------------------------------------- from a path to a description


def find_config(
    path: str | Path | FamilyConfig,
    *,
    ignore: Iterable[str] = (),
    head: str | None = None,
    **hub: Any,
) -> tuple[FamilyConfig, Path | None]:
    """The config of a path, and the folder or file with its weights, if there are any.

    No weights are needed: a directory with a config will do, or a .json file. `ignore` are unknown
    keys to accept; a class of Hugging Face's as `head` decides the family where the file does not.

    Raises:
        ValueError: nothing is there, or it is no model.
    """
    if isinstance(path, FamilyConfig):
        return path, None
    model_path = resolve(path, **hub)
    if model_path.suffix == ".json" and not model_path.name.endswith(".index.json"):
        return load_config(model_path, ignore=ignore, reader=head), None
    folder = model_path if model_path.is_dir() else model_path.parent
    config = load_config(folder, ignore=ignore, reader=head)
    kinds = tuple(".safetensors .safetensors.index.json .msgpack .bin .pt .pth .ckpt .h5".split())
    return config, model_path if any(f.name.endswith(kinds) for f in folder.iterdir()) else None


def head_of(config: FamilyConfig, head: str | None) -> str:
    """The head by this name; without one that of the config, or the only one that there is."""
    if head is None and not config.architectures and "none" not in config.HEADS.values():
        head = next(iter(config.HEADS.values()))
    return config.head_named(head)


def describe(
    path: str | Path | FamilyConfig,
    *,
    head: str | None = None,
    name: str | None = None,
    ignore: Iterable[str] = (),
    **hub: Any,
) -> Description:
    """The facts about the model of a directory, a config (or its file), or a hub id.

    `name` is what the source is called in the description, `ignore` are unknown keys of its
    config.json to accept.

    A checkpoint that does not fit is described too: `fits` is false and `report` says why.

    Raises:
        ValueError: it is no model, or a file that is not to be trusted.
    """
    config, weights_path = find_config(path, ignore=ignore, head=head, **hub)
    checkpoint = None if weights_path is None else open_checkpoint(weights_path)
    if checkpoint is not None:
        config = resolve_ties(config, checkpoint)
    chosen = head_of(config, head)
    plan = Plan(config, chosen)
    model, parameters = plan.build(), params(plan.uniform.build())
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten(parameters).items()}
    table = config.table(chosen)
    if checkpoint is None:  # every tensor as export would write it
        fills = table.fills(shapes).values()
        if chosen == "none":  # which is saved without the prefix
            fills = [replace(f, name=table.bare(f.name, f.row.group)) for f in fills]
        report, tensors = Report(fills=tuple(fills)), {}
    else:
        report = table.check(checkpoint.shapes, shapes, strict=False)
        tensors = dict(checkpoint.tensors)
    stored: Counter[str] = Counter()
    for tensor in tensors.values():
        stored[str(tensor.dtype)] += math.prod(tensor.shape)
    modules: tuple[str, ...] = ()
    if weights_path is not None and (weights_path / MODULES).is_file():
        modules = tuple(map(str, read(weights_path).steps))
    return Description(
        source=name or str(path),
        family=config.model_type,
        config_class=type(config).__name__,
        architecture=config.architecture(chosen),
        head=chosen,
        heads=tuple(dict.fromkeys(config.HEADS.values())),
        sizes=sizes(model),
        positions=positions(model),
        total=sum(map(math.prod, shapes.values())),
        parts=parts(shapes),
        stored=dict(stored.most_common()),
        file_bytes=sum(tensor.nbytes for tensor in tensors.values()),
        layers=tuple(describe_layers(model)),
        drawings=drawings(model),
        weights=tuple(weights(report, model, shapes, tensors)),
        report=report.findings(),
        fits=report.ok,
        modules=modules,
    )


# ---------------------------------------------------------------- the model in words


def sizes(model: Model) -> dict[str, int]:
    """The sizes of the model by the names of its axes, and its depth."""
    lengths: dict[str, int] = {}
    for name, stack in model.stacks().items():
        lengths[f"{name} layers"] = stack.spec.depth
    shapes = flatten(params(model))
    for path, names in flatten(axes(model)).items():
        for axis, length in zip(names, shapes[path].shape):
            if axis != "layers":
                lengths.setdefault(axis, length)
    return lengths


def positions(model: Model) -> str:
    """What is added to the tokens about their positions, before the first layer."""
    first = getattr(model, "embed", None)
    every = [part for part in vars(model).values() if isinstance(part, Embedder)]
    each = every if first is None else [first]
    return "; ".join(dict.fromkeys(embed.describe() for embed in each)) or "nothing at the input"


def parts(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Part, ...]:
    """Numbers per part: stacks by the branches of their blocks, the rest by module."""
    counts: Counter[str] = Counter()
    for path, shape in shapes.items():
        module, *inner = path.split(".")
        if inner[0].startswith("stage_"):  # what all stages have of a kind is one part
            inner = inner[1:]
        if inner[:1] == ["blocks"]:
            kind = "norms" if inner[2].endswith("norm") else BRANCHES.get(inner[2], inner[2])
        else:
            kind = "final norm" if inner[0] == "norm" and module != "embed" else inner[0]
            kind = "between stages" if kind.startswith(("enter_", "leave_")) else kind
        counts[f"{module}: {kind}" if module in FIRST[:-1] else module] += math.prod(shape)
    order = lambda name: (*FIRST, name.split(":")[0]).index(name.split(":")[0])
    return tuple(Part(name, counts[name]) for name in sorted(counts, key=order))


FIRST = ("embed", "stack", "encoder", "decoder", "pooler")  # as a token meets them
BRANCHES = {"self": "self-attention", "cross": "cross-attention", "ffn": "feed-forward"}


# ---------------------------------------------------------------- weights


def weights(
    report: Report,
    model: Model,
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Tensor],
) -> Iterator[Weight]:
    """One record per row of the weight table, in the order of the file's rows."""
    names = flatten(axes(model))
    groups: dict[Any, list[Fill]] = {}
    for fill in report.fills:
        groups.setdefault((fill.row, fill.shape), []).append(fill)
    for (row, shape), fills in groups.items():
        first = row.ours[0]
        dtypes = {str(tensors[fill.name].dtype) for fill in fills if fill.name in tensors}
        yield Weight(
            theirs=brace([fill.name for fill in fills]),
            tensors=len(fills),
            shape=shape,
            dtype=", ".join(sorted(dtypes)) or None,
            ours=row.ours,
            layout=row.layout,
            our_shape=shapes[first],
            axes=names[first],
            group=row.group,
        )


def brace(names: list[str]) -> str:
    """Names that differ in their numbers as one: `h.{0-11}.ln_1.weight`."""
    split = [re.split(r"(\d+)", name) for name in names]  # every odd entry is a number
    if len(names) == 1 or len({tuple(words[::2]) for words in split}) > 1:
        return " ".join(names)
    pieces = []
    for column in zip(*split):
        distinct = list(dict.fromkeys(column))
        if len(distinct) == 1:
            pieces.append(distinct[0])
            continue
        numbers = [int(text) for text in distinct]
        run = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        inside = f"{numbers[0]}-{numbers[-1]}" if run else ",".join(distinct)
        pieces.append("{" + inside + "}")
    return "".join(pieces)


def to_json(description: Description) -> str:
    """The description as JSON text."""
    return json_text(dataclasses.asdict(description), indent=2)
