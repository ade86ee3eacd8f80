"""The second, frozen model of a run: the reference of DPO, the teacher of distillation.

It is the model that the run starts from, where the objective says so and names no other: with an
adapter its arrays are those that the adapter stands over, without one those that the state was
copied from. The fingerprint of its weights is a setting of the run, so that a run is not continued
with another one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from transformers_jax.data.file_sums import file_sum
from transformers_jax.data.texts import digest
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokenizers import has_tokenizer, load_tokenizer
from transformers_jax.hub.download import resolve
from transformers_jax.hub.files import open_checkpoint
from transformers_jax.models import load_config
from transformers_jax.models.base import Model
from transformers_jax.models.masks import masks_of
from transformers_jax.models.plan import Plan
from transformers_jax.nn.param import flatten, params
from transformers_jax.objectives.distillation import DistilledText
from transformers_jax.objectives.losses import Loss
from transformers_jax.objectives.reference import WithReference
from transformers_jax.pretrained import from_pretrained, head_of, resolve_ties
from transformers_jax.training.config import TrainConfig, load
from transformers_jax.training.exported import model_folder
from transformers_jax.training.initial import Say, abstract_model, start_model, weights_folder

WEIGHTS = ("*.safetensors", "*.msgpack")


def starts_as_reference(config: TrainConfig) -> bool:
    """Whether the second model of the run is the one that it starts from."""
    objective = config.objective
    own = isinstance(objective, WithReference) and objective.own_start
    return own and config.starts and not objective.second


def _reading(config: TrainConfig) -> Any:
    """The objective, if it reads a second model; otherwise None."""
    return config.objective if isinstance(config.objective, WithReference) else None


def with_fingerprint(config: TrainConfig) -> TrainConfig:
    """The config with the fingerprint of the weights of the second model, if the objective reads
    one.

    Raises:
        ValueError: none is named, or there is none at that place.
    """
    if _reading(config) is None:
        return config
    files = [file for pattern in WEIGHTS for file in sorted(_folder(config).glob(pattern))]
    sums = digest("\n".join(file_sum(file) for file in files))
    changed: Any = dataclasses.replace(config.objective, fingerprint=sums)
    return config.replace(objective=changed)


def _folder(config: TrainConfig) -> Path:
    """The folder of the second model.

    Raises:
        ValueError: none is named, or there is none at that place.
    """
    objective: Any = config.objective
    name = objective.second or (config.init_from if starts_as_reference(config) else None)
    if not name:
        kind = type(objective).__name__
        more = "; or start the run from a checkpoint (init_from)" if objective.own_start else ""
        raise ValueError(
            f"{kind} reads a second model, its {objective.role}: name its directory, its run or "
            f"its hub id with --objective.{objective.role}{more}"
        )
    return weights_folder(name)


def abstract_reference(config: TrainConfig) -> Model | None:
    """The second model without arrays; None where the objective reads none.

    Raises:
        ValueError: its checkpoint lacks a part, such as the head.
    """
    objective = _reading(config)
    if objective is None:
        return None
    if starts_as_reference(config):
        return abstract_model(config)
    folder = _folder(config)
    family, checkpoint = load_config(folder, reader=objective.head), open_checkpoint(folder)
    mask = masks_of(objective.mask(config.data.rows == "packed"))
    family = resolve_ties(family, checkpoint)
    plan = Plan(family, head_of(family, objective.head), mask=mask)
    model = plan.build()
    shapes = {path: leaf.shape for path, leaf in flatten(params(model)).items()}
    report = plan.table.check(checkpoint.shapes, shapes, strict=False)
    if lacking := [*report.missing, *(path for some in report.absent.values() for path in some)]:
        raise ValueError(
            f"the {objective.role} {objective.second} lacks {', '.join(sorted(lacking)[:4])}: it "
            f"is to be a model that was trained with the head {objective.head!r}"
        )
    return model


def load_reference(
    config: TrainConfig, start: Model | None, mesh: Mesh | None, say: Say
) -> Model | None:
    """The second model of a run, or None where the objective reads none.

    Args:
        start: the model that the run starts from, without its adapter.
    """
    objective = _reading(config)
    if objective is None:
        return None
    if starts_as_reference(config):
        assert start is not None
        return start
    packed = config.data.rows == "packed"
    model = read_reference(objective, dtype=config.dtype, mask=objective.mask(packed), mesh=mesh)
    count = f"{model.parameter_count:,} parameters, which stay as they are"
    say(f"the {objective.role} is {objective.second}: {count}")
    return model


def read_reference(objective: Any, **options: Any) -> Model:
    """The second model that an objective names."""
    folder = weights_folder(objective.second)
    family = load_config(folder, reader=objective.head)
    model: Model = from_pretrained(folder, head=family.architecture(objective.head), **options)
    return model


def reference_of_run(config: TrainConfig, start: Model | None) -> Model:
    """The second model of a run that has ended, for more answers.

    Args:
        start: the model that the run started from, if it has been read.

    Raises:
        ValueError: it is not what it was.
    """
    objective: Any = config.objective
    if with_fingerprint(config).objective != objective:
        raise ValueError(
            f"the weights of {objective.second or config.init_from}, the {objective.role} of this "
            f"run, are not those that it had; name where they are now with {objective.role}="
        )
    if not starts_as_reference(config):
        return read_reference(objective)
    return start or start_model(config, None, lambda line: None)[0]


def check_reference(config: TrainConfig, model: Model, tokenizer: Tokenizer | None) -> None:
    """Raises ValueError for a second model that reads other tokens than the one that is trained."""
    objective: Any = config.objective
    if isinstance(objective, DistilledText) and config.loss != Loss():
        raise ValueError("loss: smoothing and the like are not of distillation; leave them out")
    if starts_as_reference(config):
        return
    folder, own = _folder(config), getattr(model.config, "vocab_size", 0)
    size = getattr(config.model, "vocab_size", 0)
    known = tokenizer is not None and has_tokenizer(folder)
    other = known and load_tokenizer(folder).fingerprint != tokenizer.fingerprint  # type: ignore[union-attr]
    if other or own != size:
        what = "another tokenizer" if other else f"a vocabulary of {own:,}, not {size:,}"
        raise ValueError(
            f"the {objective.role} {objective.second} has {what}: both models read the same "
            "tokens; start from a model of its vocabulary, or choose another"
        )


def weights_of(path: str) -> list[str]:
    """The SHA-256 of each file of weights of a directory or a run: its model, or its adapter."""
    where = Path(path).expanduser()
    config = load(where) if (where / "run.json").is_file() else None
    adapter = config is not None and config.adapter is not None and (where / "adapter").is_dir()
    folder = where / "adapter" if adapter else resolve(model_folder(path))
    return [file_sum(one) for pattern in WEIGHTS for one in sorted(folder.glob(pattern))]
