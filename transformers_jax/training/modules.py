"""The modules of a run of embeddings: those of the directory that it starts from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from transformers_jax.embedding.directory import MODULES, texts_in
from transformers_jax.json_files import json_or_empty
from transformers_jax.tasks import Embedding
from transformers_jax.training.config import TrainConfig, from_dict
from transformers_jax.training.initial import weights_folder


def with_modules(config: TrainConfig, run: Path) -> TrainConfig:
    """The config whose task of embeddings has the modules of the directory that it starts from. A
    run that has begun knows them from its config.json.

    Raises:
        ValueError: modules that are not known, or a pooling beside them.
    """
    target = config.objective
    if config.init_from is None or not isinstance(target, Embedding) or target.modules:
        return config
    begun = json_or_empty(run / "config.json")
    if begun.get("init_from") == config.init_from:
        before = from_dict(begun, str(run / "config.json")).objective
        texts = before.modules if isinstance(before, Embedding) else ()
    else:
        folder = weights_folder(config.init_from)
        found = texts_in(folder) if (folder / MODULES).is_file() else {}
        texts = tuple(found.items())
    return config.replace(objective=dataclasses.replace(target, modules=texts))
