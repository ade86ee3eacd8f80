"""Models from configs and from checkpoints, and back to a directory that PyTorch reads."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import jax

from transformers_jax import shard
from transformers_jax.adapting import adapt
from transformers_jax.arrays import Key, check_key, to_dtype
from transformers_jax.embedding.plan import abstract, backbone, sentence_for, with_sentence
from transformers_jax.generation.options import FORCED, FROM_CONFIG, NAMES, UNSUPPORTED
from transformers_jax.graph import Mask
from transformers_jax.hub import transfer
from transformers_jax.hub.download import resolve
from transformers_jax.hub.files import Checkpoint, open_checkpoint
from transformers_jax.hub.table import Fill, Report
from transformers_jax.image_sizes import resampled
from transformers_jax.inputs.arguments import check_options
from transformers_jax.json_files import read_json
from transformers_jax.models import load_config
from transformers_jax.models.adapters.records import Adapter
from transformers_jax.models.base import Model, Plan, rebuilt
from transformers_jax.models.config import FamilyConfig, Frozen, freeze
from transformers_jax.models.masks import masks_of
from transformers_jax.nn import param, precision
from transformers_jax.nn.param import flatten, params
from transformers_jax.spec import Execution

log = logging.getLogger("transformers_jax")

Masking = Mask | Sequence[Mask] | Mapping[str, Mask | Sequence[Mask]] | None
"""What `mask` may be."""


# ---------------------------------------------------------------- new models


def from_config(
    config: FamilyConfig | Mapping[str, Any] | str | Path,
    *,
    key: Key,
    head: str | None = None,
    dtype: str = "float32",
    compute_dtype: str | None = None,
    mesh: Any = None,
    mask: Masking = None,
    attention: str = "auto",
    layers: Literal["stacked", "list"] = "stacked",
    unroll: bool | None = None,
    remat: str | None = None,
    pooling: str | None = None,
    adapter: Adapter | None = None,
    ignore: Iterable[str] = (),
    **overrides: Any,
) -> Model:
    """A new model, initialised as its paper does, every parameter born in its sharding.

    Args:
        head: a head ("causal_lm", ...), a Hugging Face class name, or None for `architectures[0]`.
        mask: replaces the mask of self-attention; where there are two stacks, {"encoder": ...,
            "decoder": ..., "cross": ...}, the last between the decoder's tokens and the encoder's
            (a single mask is the decoder's). A list has one mask per layer. `OWN` stands for the
            model's own: its family's, or what its directory keeps of the mask it was saved with.
        pooling: see `from_pretrained`.
        adapter: such as `LoRA(rank=8)`: what is added to the weights, and trained (`adapt`).
        overrides: fields of the config, by Hugging Face's names.

    Raises:
        ValueError: an unknown head, field or backend, or sizes that the mesh does not divide.
    """
    check_key(key)
    sentence = sentence_for(head, None, pooling)
    config = load_config(config, ignore=ignore, reader=head)
    check_options(overrides, vars(config))
    config = config.replace(**overrides)
    execution = Execution(attention, layers, unroll, remat, compute_dtype)
    plan = Plan(config, head_of(config, head), execution, masks_of(mask))
    plan = plan if sentence is None else with_sentence(plan, sentence)
    model = abstract(plan)
    placed = None if mesh is None else shard.shardings(param.axes(model), params(model), mesh)
    new = param.initialise(model, key, shardings=placed, dtype=to_dtype(dtype))
    new = finished(new, plan)
    return new if adapter is None else adapt(new, adapter, key=key)


def head_of(config: FamilyConfig, head: str | None) -> str:
    """The head of the family by a name; that of sentences follows a backbone."""
    return backbone(config) if head == "embedding" else config.head_named(head)


def finished(model: Model, plan: Plan) -> Model:
    """A model with stacked parameters as the plan lays them out."""
    model = model.with_layers(plan.execution.layers)
    return model if plan.uniform is plan else rebuilt(model, plan)


# ---------------------------------------------------------------- from checkpoints


class Untrained(ValueError):
    """A file has no weights for some parameters, and no key says that they may be drawn.

    Attributes:
        names: of the parameters.
    """

    def __init__(self, path: str | Path, names: Sequence[str]):
        self.names = ", ".join(names)
        super().__init__(
            f"{path} has no weights for {self.names}; give key=jax.random.key(seed) to draw them"
        )


@dataclass(frozen=True)
class Loaded:
    """What `from_pretrained(..., return_report=True)` returns: the model, how the file fits it, and
    the parameters that were drawn."""

    model: Model
    report: Report
    initialised: tuple[str, ...]


@overload
def from_pretrained(
    path: str | Path, *, return_report: Literal[True], **options: Any
) -> Loaded: ...
@overload
def from_pretrained(
    path: str | Path,
    *,
    head: str | None = None,
    num_labels: int | None = None,
    key: Key | None = None,
    strict: bool = True,
    dtype: str = "float32",
    compute_dtype: str | None = None,
    mesh: Any = None,
    mask: Mask | Mapping[str, Mask] | None = None,
    attention: str = "auto",
    layers: Literal["stacked", "list"] = "stacked",
    unroll: bool | None = None,
    remat: str | None = None,
    pooling: str | None = None,
    adapter: Adapter | None = None,
    ignore: Iterable[str] = (),
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    return_report: Literal[False] = False,
    trust_remote_code: bool = False,
    **overrides: Any,
) -> Model: ...
def from_pretrained(
    path: str | Path,
    *,
    head: str | None = None,
    num_labels: int | None = None,
    key: Key | None = None,
    strict: bool = True,
    dtype: str = "float32",
    compute_dtype: str | None = None,
    mesh: Any = None,
    mask: Masking = None,
    attention: str = "auto",
    layers: Literal["stacked", "list"] = "stacked",
    unroll: bool | None = None,
    remat: str | None = None,
    pooling: str | None = None,
    adapter: Adapter | None = None,
    ignore: Iterable[str] = (),
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    return_report: bool = False,
    trust_remote_code: bool = False,
    **overrides: Any,
) -> Model | Loaded:
    """A model from a directory, a .safetensors next to its config.json, or the hub.

    Args:
        head: a head ("sequence_classification", ...), a Hugging Face class name, or None for
            `architectures[0]`. A head that the file wholly lacks is drawn from `key`; rows of other
            heads are left out. Both are in the report and in one log line.
            "embedding" makes one vector of a row (docs/embeddings.md): as the modules.json of a
            directory of sentence-transformers says, otherwise by `pooling`.
        dtype: of the parameters: a floating-point type, or "auto" for what is stored.
        compute_dtype: of activations (default: that of the parameters). Softmax, norms and losses
            are always computed in float32.
        strict: everything else that is missing, unexpected or mis-shaped raises, all at once;
            with False it is only reported, and what is missing is drawn from `key`.
        mask: see `from_config`.
        layers: "stacked", or "list" for decoding loops.
        pooling: of head="embedding", for a directory without modules.json: "mean" (the default),
            "cls", "max", "mean_sqrt_len_tokens", "weightedmean" or "lasttoken" (the default for
            causal language models).
        adapter: such as `LoRA(rank=8)`: what is added to the weights, drawn from `key`, and
            trained (`adapt`).
        ignore: unknown keys of config.json to accept, by name.
        return_report: return a `Loaded(model, report, initialised)`.
        overrides: fields of the config, by Hugging Face's names. Positions of an `image_size` that
            the model was not trained at are resampled (`image_sizes`).

    Raises:
        ValueError: for files that do not fit or are not to be trusted (never unpickles, never runs
            code of a repository), with everything that is wrong in one message.
        ConnectionError: the hub cannot be reached, within seconds.
    """
    if trust_remote_code:
        raise ValueError("trust_remote_code=True is not supported: no code of a checkpoint is run")
    if key is not None:
        check_key(key)
    model_path = resolve(
        path,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
    )
    folder = model_path if model_path.is_dir() else model_path.parent
    if sentence := sentence_for(head, model_path, pooling, ignore):
        folder = folder / sentence.transformer
    config = load_config(folder, ignore=ignore, reader=head)
    check_options(overrides, vars(config))
    if num_labels is not None:
        overrides["num_labels"] = num_labels
    stored, config = config, config.replace(**overrides)
    if sentence is None:
        checkpoint = open_checkpoint(model_path)
    else:
        checkpoint, sentence = sentence.open(model_path)
    config = resolve_ties(config, checkpoint)
    execution = Execution(attention, layers, unroll, remat, compute_dtype)
    settings = generation_settings(folder, config)
    plan = Plan(config, head_of(config, head), execution, masks_of(mask), settings)
    plan = plan if sentence is None else with_sentence(plan, sentence, checkpoint)
    model = abstract(plan)
    leaves, table = flatten(params(model)), plan.table.fitting(checkpoint.shapes)
    shapes = {name: leaf.shape for name, leaf in leaves.items()}
    checkpoint = resampled(checkpoint, table, model, stored, overrides)
    try:
        report = table.check(checkpoint.shapes, shapes, strict=strict)
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}\n(strict=False with key=jax.random.key(0) takes what fits and draws "
            "the rest anew)"
        ) from None
    transfer.verify(checkpoint, report)
    report = report if strict else usable(report, table.fills(shapes))
    dtypes = {n: checkpoint.tensors[f.name].dtype for f in report.fills for n in f.row.ours}
    new = tuple(name for name in leaves if name not in dtypes)
    if key is None and (random := [name for name in new if not param.is_constant(model, name)]):
        raise Untrained(path, random)
    default = to_dtype("float32" if dtype == "auto" else dtype)
    placed = (
        {} if mesh is None else flatten(shard.shardings(param.axes(model), params(model), mesh))
    )
    held = precision.dtypes(model, default)
    targets = {
        name: jax.ShapeDtypeStruct(
            shape,
            dtypes.get(name, held[name]) if dtype == "auto" else held[name],
            sharding=placed.get(name),
        )
        for name, shape in shapes.items()
    }
    arrays = transfer.load(checkpoint, report, targets)
    constants = jax.random.key(0) if key is None else key
    for name in new:
        arrays[name] = param.draw(
            model, name, constants, targets[name].sharding, targets[name].dtype
        )
    announce(path, plan, report, new, warn=bool(new) and not return_report)
    model = finished(param.bind(model, param.unflatten(arrays)), plan)
    model = model if adapter is None else adapt(model, adapter, key=key)
    return Loaded(model, report, new) if return_report else model


def usable(report: Report, fills: Mapping[str, Fill]) -> Report:
    """Without strict, a parameter is loaded if all its tensors fit, and drawn anew otherwise: one
    layer of a stacked parameter cannot be drawn by itself."""
    wrong = {name for name, _, _ in report.misshaped}
    broken = {path for fill in report.fills if fill.name in wrong for path in fill.row.ours}
    broken |= {path for name in report.missing for path in fills[name].row.ours}
    whole = tuple(fill for fill in report.fills if broken.isdisjoint(fill.row.ours))
    return dataclasses.replace(report, fills=whole)


def resolve_ties(config: FamilyConfig, checkpoint: Checkpoint) -> FamilyConfig:
    """The config with what the tensors of the file say: which tables are tied
    (`FamilyConfig.resolved`), and numbers that config.json has not (`with_stored`)."""
    prefix = config.table("none").prefix

    def spelled(name: str) -> str | None:
        names = (name, name.removeprefix(prefix))  # which may be missing
        return next((each for each in names if each in checkpoint.tensors), None)

    def equal(first: str, second: str) -> bool | None:
        one, other = spelled(first), spelled(second)
        if one is None or other is None:
            return None
        return checkpoint.same(one, other)

    def read(name: str) -> Any:
        return None if (stored := spelled(name)) is None else checkpoint.read(stored)

    return config.resolved(equal).with_stored(read)


def generation_settings(folder: Path, config: FamilyConfig) -> Frozen:
    """generation_config.json, where special tokens that it lacks come from config.json."""
    file = folder / "generation_config.json"
    values = read_json(file) if file.exists() else older_settings(folder)
    for name in FROM_CONFIG if file.exists() else (*FROM_CONFIG, *FORCED):
        if values.get(name) is None and getattr(config, name, None) is not None:
            values[name] = getattr(config, name)
    values.pop("transformers_version", None)
    return freeze(values)


def older_settings(folder: Path) -> dict[str, Any]:
    """What config.json says of generation: all that there was before generation_config.json. Of a
    model with a text model or a decoder inside, what is said of the whole wins."""
    file, values = folder / "config.json", dict[str, Any]()
    whole = read_json(file, optional=True)
    for part in (whole.get("text_config"), whole.get("decoder"), whole):
        items = part.items() if isinstance(part, Mapping) else ()
        values |= {n: v for n, v in items if n in (*NAMES, *UNSUPPORTED) and v is not None}
    return values


def announce(path: Any, plan: Plan, report: Report, new: tuple[str, ...], *, warn: bool) -> None:
    """One log line: what was loaded, left out and drawn; a warning if anything was drawn, unless
    the caller gets the report."""
    text = f"loaded {plan.config.model_type} ({plan.head}) from {path}: {len(report.fills)} tensors"
    if report.left_out:
        text += f"; {len(report.left_out)} of other heads left out"
    if new:
        text += f"; newly initialised: {', '.join(new)}"
    log.log(logging.WARNING if warn else logging.INFO, text)
