"""The facts about a model, from its config and the headers of its file: no weight is read.

`describe` gives a `Description`, a plain record that `tables` shows and `to_dict` turns into JSON.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transformers_jax.embedding.directory import MODULES, read
from transformers_jax.hub.download import resolve
from transformers_jax.hub.files import Checkpoint, open_checkpoint
from transformers_jax.hub.table import Fill, Report
from transformers_jax.inspection.words import Layers, describe_layers, drawings
from transformers_jax.models.base import Model, Plan
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.embed import Embedder, FrameEmbedder, PatchEmbedder
from transformers_jax.nn.param import axes, flatten, params
from transformers_jax.nn.sinusoidal import Sinusoids
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

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON knows it."""
        return dataclasses.asdict(self)


# ---------------------------------------------------------------- finding things


def find_config(
    path: str | Path | FamilyConfig,
    *,
    ignore: Iterable[str] = (),
    head: str | None = None,
    **hub: Any,
) -> tuple[FamilyConfig, Path | None]:
    """The config of a path, and the folder or file with its weights, if there are any.

    A config alone will do: a directory without weights, or a .json file. `ignore` are unknown keys
    to accept; a class of Hugging Face's as `head` tells the family where the file does not.

    Raises:
        ValueError: nothing is there, or it is no model.
    """
    if isinstance(path, FamilyConfig):
        return path, None
    found = resolve(path, **hub)
    if found.suffix == ".json" and not found.name.endswith(".index.json"):
        return load_config(found, ignore=ignore, reader=head), None
    folder = found if found.is_dir() else found.parent
    config = load_config(folder, ignore=ignore, reader=head)
    names = [file.name for file in folder.iterdir()]
    kinds = ".safetensors .safetensors.index.json .msgpack .bin .pt .pth .ckpt .h5"
    weighty = tuple(kinds.split())
    return config, found if any(name.endswith(weighty) for name in names) else None


def head_of(config: FamilyConfig, head: str | None) -> str:
    """The head asked for; else that of the config; else the only one that there is."""
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
    config, where = find_config(path, ignore=ignore, head=head, **hub)
    checkpoint = None if where is None else open_checkpoint(where)
    if checkpoint is not None:
        config = resolve_ties(config, checkpoint)
    chosen = head_of(config, head)
    plan = Plan(config, chosen)
    model, parameters = plan.build(), params(plan.uniform.build())
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten(parameters).items()}
    report = check(config, chosen, shapes, checkpoint)
    layers = tuple(describe_layers(model))
    return Description(
        source=name or str(path),
        family=config.model_type,
        config_class=type(config).__name__,
        architecture=config.architecture(chosen),
        head=chosen,
        heads=tuple(dict.fromkeys(config.HEADS.values())),
        sizes=sizes(model),
        positions=positions(model),
        total=sum(int(np.prod(shape)) for shape in shapes.values()),
        parts=parts(shapes),
        stored=stored(checkpoint),
        file_bytes=0 if checkpoint is None else sum(t.nbytes for _, t in tensors(checkpoint)),
        layers=layers,
        drawings=drawings(model),
        weights=tuple(weights(config, chosen, model, shapes, report, checkpoint)),
        report=findings(report),
        fits=report.ok,
        modules=modules(where),
    )


def modules(where: Path | None) -> tuple[str, ...]:
    """What makes vectors of sentences behind the transformer of a directory."""
    if where is None or not (where / MODULES).is_file():
        return ()
    return tuple(map(str, read(where).steps))


def check(
    config: FamilyConfig,
    head: str,
    shapes: Mapping[str, tuple[int, ...]],
    checkpoint: Checkpoint | None,
) -> Report:
    """How file and model fit; without a file, every tensor as export would write it."""
    table = config.table(head)
    if checkpoint is None:
        return Report(fills=tuple(table.fills(shapes).values()))
    return table.check(checkpoint.shapes, shapes, strict=False)


def tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, Any]]:
    """(name, header entry) of every tensor in the file."""
    return ((name, tensor) for name, (_, tensor) in checkpoint.tensors.items())


def stored(checkpoint: Checkpoint | None) -> dict[str, int]:
    """How many numbers of each dtype a file holds."""
    found: Counter[str] = Counter()
    for _, tensor in () if checkpoint is None else tensors(checkpoint):
        found[str(tensor.dtype)] += int(np.prod(tensor.shape))
    return dict(found.most_common())


def findings(report: Report) -> dict[str, tuple[str, ...]]:
    """What is in the file and not in the model, and the reverse, by kind; empty kinds left out."""
    shapes = (f"{n}: got {list(a)}, expected {list(b)}" for n, a, b in report.misshaped)
    absent = (path for paths in report.absent.values() for path in paths)
    kinds: dict[str, Iterable[str]] = {
        "missing": report.missing,
        "unexpected": report.unexpected,
        "wrong shape": shapes,
        "several names for one tensor": (" = ".join(names) for names in report.repeated),
        "parameters without a row in the table": report.unfilled,
        "not in the file, to be drawn": absent,
        "left out (other heads)": report.left_out,
        "ignored": report.ignored,
    }
    return {kind: found for kind, names in kinds.items() if (found := tuple(names))}


# ---------------------------------------------------------------- the model in words


def sizes(model: Model) -> dict[str, int]:
    """The sizes of the model by the names of its axes, and its depth."""
    found: dict[str, int] = {}
    for name, stack in model.stacks().items():
        found[f"{name} layers"] = stack.spec.depth
    shapes = flatten(params(model))
    for path, names in flatten(axes(model)).items():
        for axis, length in zip(names, shapes[path].shape):
            if axis != "layers":
                found.setdefault(axis, length)
    return found


def positions(model: Model) -> str:
    """What is added to the tokens about their place, before the first layer."""
    first = getattr(model, "embed", None)
    every = [part for part in vars(model).values() if isinstance(part, Embedder)]
    told = [_positions_of(embed) for embed in (every if first is None else [first])]
    return "; ".join(dict.fromkeys(told)) or "nothing at the input"


def _positions_of(embed: Any) -> str:
    if isinstance(embed, PatchEmbedder):
        rows, columns = embed.spec.grid
        return f"a learned table of {1 + rows * columns:,}, for {rows} x {columns} patches"
    count = embed.spec.positions
    if isinstance(embed, FrameEmbedder):
        return f"sinusoids of {count:,} positions"
    if isinstance(count, int):
        return f"a learned table of {count:,}"
    return "sinusoids" if isinstance(count, Sinusoids) else "nothing at the input"


def parts(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Part, ...]:
    """Numbers per part: stacks by the branches of their blocks, the rest by module."""
    found: Counter[str] = Counter()
    for path, shape in shapes.items():
        module, *inner = path.split(".")
        if inner[:1] == ["blocks"]:
            kind = "norms" if inner[2].endswith("norm") else BRANCHES.get(inner[2], inner[2])
        else:
            kind = "final norm" if inner[0] == "norm" and module != "embed" else inner[0]
        found[f"{module}: {kind}" if module in FIRST[:-1] else module] += int(np.prod(shape))
    place = lambda name: (*FIRST, name.split(":")[0]).index(name.split(":")[0])
    return tuple(Part(name, found[name]) for name in sorted(found, key=place))


FIRST = ("embed", "stack", "encoder", "decoder", "pooler")  # as a token meets them
BRANCHES = {"self": "self-attention", "cross": "cross-attention", "ffn": "feed-forward"}


# ---------------------------------------------------------------- weights


def weights(
    config: FamilyConfig,
    head: str,
    model: Model,
    shapes: Mapping[str, tuple[int, ...]],
    report: Report,
    checkpoint: Checkpoint | None,
) -> Iterator[Weight]:
    """One record per row of the weight table, in the order of the file's rows."""
    names = flatten(axes(model))
    tensors = {} if checkpoint is None else checkpoint.names
    dtypes = {name: str(dtype) for name, (_, dtype) in tensors.items()}
    bare = checkpoint is None and head == "none"
    groups: dict[Any, list[Fill]] = {}
    for fill in report.fills:
        groups.setdefault((fill.row, fill.shape), []).append(fill)
    for (row, shape), fills in groups.items():
        first = row.ours[0]
        kinds = {dtypes.get(fill.name) for fill in fills}
        theirs = [config.table(head).bare(f.name, row.group) if bare else f.name for f in fills]
        yield Weight(
            theirs=brace(theirs),
            tensors=len(fills),
            shape=shape,
            dtype=", ".join(sorted(k for k in kinds if k)) or None,
            ours=row.ours,
            layout=row.layout,
            our_shape=shapes[first],
            axes=names[first],
            group=row.group,
        )


def brace(names: list[str]) -> str:
    """Names that differ in their numbers as one: `h.{0-11}.ln_1.weight`."""
    split = [_numbers(name) for name in names]
    if len(names) == 1 or len({tuple(words[::2]) for words in split}) > 1:
        return " ".join(names)
    pieces = []
    for column in zip(*split):
        distinct = list(dict.fromkeys(column))
        if len(distinct) == 1:
            pieces.append(distinct[0])
        else:
            numbers = [int(text) for text in distinct]
            run = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            inside = f"{numbers[0]}-{numbers[-1]}" if run else ",".join(distinct)
            pieces.append("{" + inside + "}")
    return "".join(pieces)


def _numbers(name: str) -> list[str]:
    """Text and numbers in turn: every odd entry is a number."""
    return ["".join(group) for _, group in itertools.groupby(name, str.isdecimal)]


def to_json(description: Description) -> str:
    """The description as JSON text."""
    return json.dumps(description.to_dict(), indent=2)
