"""The model that a run begins with: drawn from its seed, or with the weights of a checkpoint.

`init_from` names a checkpoint of the config's family. `config.model` says what is trained, and
must hold the weights: more words are added to them, any other size is theirs. Heads that the
checkpoint lacks are drawn from the seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from transformers_jax import shard
from transformers_jax.adapting import adapt
from transformers_jax.arrays import to_dtype
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokenizers import has_tokenizer
from transformers_jax.hub.download import resolve
from transformers_jax.json_files import json_or_empty
from transformers_jax.models import load_config
from transformers_jax.models.adapters.records import Probe, PromptTuning
from transformers_jax.models.base import Model, rebuilt
from transformers_jax.models.electra_pretraining import (
    GENERATOR,
    generator_config,
    make_replaced_token_detection,
    replaced_token_plan,
)
from transformers_jax.models.frozen import freeze, thaw
from transformers_jax.models.masks import masks_of
from transformers_jax.models.plan import Plan
from transformers_jax.nn.param import (
    axes,
    bind,
    draw,
    flatten,
    initialise,
    params,
    unflatten,
)
from transformers_jax.pretrained import (
    Loaded,
    from_config,
    generation_settings,
    head_of,
)
from transformers_jax.spec import Execution
from transformers_jax.tasks import Task
from transformers_jax.training.config import TrainConfig, from_dict
from transformers_jax.training.exported import exported_step, model_folder
from transformers_jax.training.redrawn import of_top_layers, redrawn, stacks_of
from transformers_jax.training.vocabulary import of_languages
from transformers_jax.training.weights import Weights, check_family, model_options, weights_of

Say = Callable[[str], None]
"""Prints a line."""

PAIR, EMBEDDING = "replaced_token_detection", "embedding"
GENERATION = "generation_config.json"


def abstract_model(config: TrainConfig) -> Model:
    """The model of a run without arrays."""
    target = config.objective
    mask = masks_of(target.mask(config.data.rows == "packed"))
    execution = Execution(remat=config.remat, drop_path=config.stochastic_depth)
    if target.head != PAIR:
        plan = Plan(config.model, head_of(config.model, target.head), execution, mask)
        return (target.planned(plan) if isinstance(target, Task) else plan).build()
    return replaced_token_plan(
        config.model, target.fraction, target.weight, execution, mask
    ).build()


def draw_model(config: TrainConfig, mesh: Mesh | None) -> Model:
    """The model of a run, every parameter drawn from the seed, in its sharding."""
    target = config.objective
    options: dict[str, Any] = dict(
        key=jax.random.key(config.seed), mesh=mesh, **model_options(config)
    )
    if target.head == PAIR:
        family: Any = config.model  # others than ELECTRA's are refused there
        model: Model = make_replaced_token_detection(
            family, fraction=target.fraction, weight=target.weight, **options
        )
    elif target.head == EMBEDDING:
        model = abstract_model(config)
        placed = None if mesh is None else shard.shardings(axes(model), params(model), mesh)
        dtype = to_dtype(config.dtype)
        model = initialise(model, options["key"], shardings=placed, dtype=dtype)
    else:
        model = from_config(config.model, head=target.head, **options)
    return _with_depth(model, config)


def _with_depth(model: Model, config: TrainConfig) -> Model:
    if not config.stochastic_depth:
        return model
    return bind(model.abstract(drop_path=config.stochastic_depth), params(model))


def with_task(model: Model, task: Any, tokenizer: Tokenizer | None) -> Model:
    """The model with the settings of generation that a task has."""
    settings = {} if tokenizer is None or not isinstance(task, Task) else task.generation(tokenizer)
    if not settings:
        return model
    values = freeze({**thaw(model.plan.generation), **settings})
    return rebuilt(model, dataclasses.replace(model.plan, generation=values))


def with_generation(model: Model, run: Path) -> Model:
    """The model with the settings of generation of the checkpoint that a run began with."""
    if not (run / GENERATION).is_file():
        return model
    plan = dataclasses.replace(model.plan, generation=generation_settings(run, model.config))
    return bind(plan.build(), params(model))


# ---------------------------------------------------------------- from a checkpoint


def with_checkpoint(config: TrainConfig, run: Path, *, always: bool = False) -> TrainConfig:
    """The config with the model and the tokenizer of the checkpoint that it starts from.

    That is for a config whose model is the default, and its tokenizer too if that is the default;
    with `always`, whatever it has. A run that has begun in the folder `run` knows both from its
    config.json: the checkpoint is not read again.

    Raises:
        ValueError: a checkpoint of another family, or none.
    """
    unnamed = config.model == TrainConfig().model
    if config.init_from is None or not (always or unnamed):
        return config
    begun = json_or_empty(run / "config.json")
    tokenizer: str | None
    if begun.get("init_from") == config.init_from:
        before = from_dict(begun, str(run / "config.json"))
        model, tokenizer = before.model, before.data.tokenizer
    else:
        folder = weights_folder(config.init_from)
        model = load_config(folder, reader=type(config.model)).part(config.objective.head)
        tokenizer = config.init_from if has_tokenizer(folder) else None
    if not unnamed:
        check_family(config.init_from, model, config.model)
    data = config.data
    if tokenizer is not None and (always or data.tokenizer == type(data)().tokenizer):
        data = dataclasses.replace(data, tokenizer=tokenizer)
    return config.replace(model=model, data=data)


def weights_folder(path: str) -> Path:
    """The folder of a checkpoint: a directory, that of the model that a run has exported, or what
    the hub has; of ELECTRA's pair, that of the discriminator.

    Raises:
        ValueError: there is none, or a file is named.
    """
    if (file := Path(path).expanduser()).is_file():
        raise ValueError(
            f"init_from: {path} is a file; give the folder with the weights, --init-from "
            f"{file.parent}"
        )
    folder = resolve(model_folder(path))
    inner = folder / "discriminator"
    return folder if (folder / "config.json").is_file() or not inner.is_dir() else inner


def check_tokenizer(config: TrainConfig, tokenizer: Tokenizer | None, say: Say) -> None:
    """Says loudly that the text has other tokens than those that the weights were trained on."""
    assert config.init_from is not None
    folder = weights_folder(config.init_from)
    if tokenizer is None or not has_tokenizer(folder):
        return
    if of_languages(folder, config.objective).fingerprint != tokenizer.fingerprint:
        say(
            f"WARNING: the tokenizer is not that of {config.init_from}, whose embeddings belong to "
            "other tokens; leave --data.tokenizer out for its own"
        )


def sources(config: TrainConfig) -> dict[str, Weights]:
    """{"": the weights that a run starts from}; of ELECTRA's pair, those of the discriminator, and
    "generator", if there is one in the folder or next to it.

    Raises:
        ValueError: another family, or a generator of another width than the objective's.
    """
    assert config.init_from is not None
    name, folder = config.init_from, weights_folder(config.init_from)
    target: Any = config.objective
    model: Any = config.model
    if target.head != PAIR:
        return {"": weights_of(name, folder, target.head, model)}
    found = {"": weights_of(name, folder, "replaced_token", model)}
    beside = folder.parent if folder.name == "discriminator" else folder
    if (beside / "generator" / "config.json").is_file():
        small: Any = generator_config(model, target.fraction)
        second = weights_of(name, beside / "generator", "masked_lm", small)
        own: Any = second.own
        if own.hidden_size != small.hidden_size:
            raise ValueError(
                f"init_from: the generator in {second.folder} is {own.hidden_size} wide, and "
                f"--objective.fraction {target.fraction} makes it {small.hidden_size}; pass "
                f"--objective.fraction {own.hidden_size / model.hidden_size:g}"
            )
        found["generator"] = second
    return found


def check_start(config: TrainConfig) -> None:
    """Raises ValueError for a checkpoint that the run cannot start from; reads no weights."""
    if config.reinitialise_layers:
        of_top_layers(abstract_model(config), config.reinitialise_layers)
    for weights in sources(config).values():
        weights.check()


def start_model(config: TrainConfig, mesh: Mesh | None, say: Say) -> tuple[Model, dict[str, Any]]:
    """The model of a run with the weights of its checkpoint, and what run.json says about them.

    Raises:
        ValueError: weights that the config's model cannot hold.
    """
    top = config.reinitialise_layers
    layers = of_top_layers(abstract_model(config), top) if top else {}
    found = sources(config)
    loaded = {name: weights.load(config, mesh) for name, weights in found.items()}
    first, generator = loaded[""], loaded.get("generator")
    model, drawn = first.model, [*first.initialised]
    if config.objective.head == EMBEDDING:
        model = _pooled(config, model)
        drawn = [path for path in drawn if path in flatten(params(model))]
    if config.objective.head == PAIR:
        model, more = _pair(config, mesh, model, generator)
        drawn += more
    tensors = sum(len(part.report.fills) for part in loaded.values())
    left_out = sum(len(part.report.left_out) for part in loaded.values())
    added = found[""].words
    whose = exported_step(config.init_from or "")
    parts = [f"starting from {config.init_from}{whose}: {tensors} tensors"]
    parts += [f"{left_out} of other heads left out"] if left_out else []
    parts += [f"newly initialised: {', '.join(drawn)}"] if drawn else []
    parts += [f"added rows for words up to {added:,}"] if added else []
    if layers:
        model = redrawn(model, layers, jax.random.key(config.seed))
        stacks = " and ".join(stacks_of(layers))
        parts += [f"re-initialised the top {top} layer{'s' * (top > 1)} of {stacks}"]
        drawn += [path for path in layers if path not in drawn]
    say("; ".join(parts))
    if note := found[""].head_note:
        say(note)
    where = str(found[""].folder.resolve())  # of a model on the hub, its commit is in it
    facts = {"path": config.init_from, "folder": where, "tensors": tensors, "drawn": drawn}
    if top:
        facts["reinitialised_layers"] = top
    return _with_depth(model, config), facts


def new_model(config: TrainConfig, mesh: Mesh | None, run: Path, say: Say) -> Model:
    """A model of which every weight is drawn; with `from_scratch` it is read from the checkpoint
    what model that is. `run` is the folder of a run that goes on, or of a new one."""
    model = draw_model(config, mesh)
    if not config.from_scratch or (run / GENERATION).is_file():
        return with_generation(model, run)
    assert config.init_from is not None
    say(f"from scratch: the model of {config.init_from}, its weights drawn from seed {config.seed}")
    return with_generation(model, weights_folder(config.init_from))


def _pooled(config: TrainConfig, model: Model) -> Model:
    """The model with the modules of its run, and without the pooler of its family, of which no
    vector is made."""
    whole, values = abstract_model(config.replace(model=model.config)), flatten(params(model))
    return bind(whole, unflatten({path: values[path] for path in flatten(params(whole))}))


def with_adapter(config: TrainConfig, model: Model, drawn: Sequence[str]) -> Model:
    """The model with the adapter of a run, which trains as a whole what the checkpoint lacked."""
    adapter: Any = config.adapter
    if drawn and not adapter.modules_to_save and not isinstance(adapter, Probe):
        rows = [row for row in model.plan.table.rows if {*row.ours} & {*drawn}]
        names = {row.theirs.rpartition(".")[0] for row in rows}
        adapter = dataclasses.replace(adapter, modules_to_save=tuple(sorted(names)))
    if isinstance(adapter, PromptTuning) and adapter.is_text and adapter.tokenizer is None:
        tokenizer = str(weights_folder(str(config.init_from)))
        adapter = dataclasses.replace(adapter, tokenizer=tokenizer)
    return adapt(model, adapter, key=jax.random.key(config.seed))


def random_features(config: TrainConfig, drawn: Sequence[str]) -> str:
    """What is wrong with the features of a probe: layers that no one has trained; "" if nothing."""
    if not isinstance(config.adapter, Probe):
        return ""
    inside = [p for p in drawn if not any(fnmatch(p, own) for own in config.adapter.paths)]
    if not inside:
        return ""
    return (
        f"the last layer reads what {', '.join(inside)} give, which the checkpoint lacks and the "
        "seed draws: the probe is of random features of the hidden states"
    )


def _pair(
    config: TrainConfig, mesh: Mesh | None, discriminator: Model, loaded: Loaded | None
) -> tuple[Model, list[str]]:
    """ELECTRA's pair, and the paths of what is drawn: a generator, where none was loaded."""
    whole, values = abstract_model(config), flatten(params(discriminator))
    drawn = []
    if loaded is not None:
        values |= _of_generator(loaded.model, values)
        drawn = [f"{GENERATOR}{path}" for path in loaded.initialised]
    missing = [path for path in flatten(params(whole)) if path not in values]
    placed = {} if mesh is None else flatten(shard.shardings(axes(whole), params(whole), mesh))
    key, dtype = jax.random.key(config.seed), to_dtype(config.dtype)
    for path in missing:
        values[path] = draw(whole, path, key, placed.get(path), dtype)
    return bind(whole, unflatten(values)), [*drawn, *missing]


def _of_generator(generator: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """The generator's own parameters, by their paths in the pair; its embeddings are those of the
    discriminator, `values`.

    Raises:
        ValueError: they are others.
    """
    ours = {}
    for path, x in flatten(params(generator)).items():
        if not path.startswith("embed."):
            ours[f"{GENERATOR}{path}"] = x
        elif path.startswith("embed.project."):
            ours[f"{GENERATOR}{path.removeprefix('embed.')}"] = x
        elif path not in values or not jnp.array_equal(x, values[path]):
            raise ValueError(
                f"init_from: {path} of the generator is not that of the discriminator, and the two "
                "share their embeddings; leave the folder of the generator out to draw a new one"
            )
    return ours
