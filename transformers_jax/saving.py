"""A model as a directory that PyTorch's transformers read."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from transformers_jax import processes
from transformers_jax.embedding.plan import EmbeddingPlan, copy_tokenizer, write_modules
from transformers_jax.hub import files, transfer
from transformers_jax.models.base import Model, check_model, rebuilt
from transformers_jax.models.config import OWN_KEY, Frozen, freeze, thaw
from transformers_jax.models.masks import without, written
from transformers_jax.nn.param import flatten, params
from transformers_jax.pretrained import generation_settings
from transformers_jax.publish import publish_json
from transformers_jax.together import check_together

log = logging.getLogger("transformers_jax")


def masks_to_save(model: Model) -> Frozen | None:
    """What config.json says of the masks of a model; None where they are its family's own."""
    plan = model.plan
    masks = written(plan.masks, plan.config.mask_names(plan.head))
    if masks is None:
        return None
    own = dataclasses.replace(plan, config=without(plan.config), mask=None).build().stacks()
    same = all(stack.spec == own[name].spec for name, stack in model.stacks().items())
    return None if same else masks


def save_pretrained(
    model: Model,
    directory: str | Path,
    *,
    tokenizer: Any = None,
    max_shard_size: int | str = "50GB",
) -> None:
    """Writes config.json, generation_config.json and safetensors that PyTorch transformers loads.

    Names, layouts and the order of bytes are those of transformers v5; parameters keep their dtype.
    A mask that is not the family's own is saved in config.json, under a key that PyTorch ignores;
    one line says so. A model of sentences is written as a directory of sentence-transformers.
    If the devices of several processes hold the parameters, each of these calls this, and process 0
    writes.

    Args:
        tokenizer: what `tj.load_tokenizer` gives, to be written with the model.

    Raises:
        ValueError: a tokenizer that does not belong to the model (other special tokens, ids outside
            the vocabulary), or a model of sentences on several processes.
    """
    check_model(model, "save_pretrained")
    if model.plan.adapter is not None:
        raise ValueError(
            "this model has an adapter: tj.save_adapter(model, directory) writes it alone, and "
            "tj.save_pretrained(tj.merge_adapter(model), directory) a model with it"
        )
    if tokenizer is not None:
        check_together(model, tokenizer)
    folder, config, head = Path(directory), model.config, model.plan.head
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a model is saved in a directory")
    uniform, masks = model.plan.uniform, masks_to_save(model)
    whole = model if uniform is model.plan else rebuilt(model, uniform)
    values = flatten(params(whole.with_layers("stacked")))
    entries = transfer.export(model.plan.table, values, bare=head == "none")
    shared = not all(getattr(leaf, "is_fully_addressable", True) for leaf in values.values())
    if shared and isinstance(model.plan, EmbeddingPlan):
        raise ValueError("a model of sentences is saved by one process, which has all of it")
    if shared and not processes.is_first():
        files.save(entries, folder, max_shard_size=max_shard_size, owner=False)
        processes.wait_for_all("saved")
        return
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model.plan, EmbeddingPlan):
        entries, folder = write_modules(model, entries, folder)
    files.save(entries, folder, max_shard_size=max_shard_size, stem=config.WEIGHTS)
    dtype = jnp.dtype(next(iter(values.values())).dtype).name
    config = without(config).replace(**{OWN_KEY: masks})
    config.replace(architectures=(config.architecture(head),), dtype=dtype).save(folder)
    if masks is not None:
        log.warning(
            "%s keeps the mask %s for transformers_jax; PyTorch's transformers use the mask of %s",
            *(folder, thaw(masks["mask"]), config.model_type),
        )
    if head in ("causal_lm", "seq2seq_lm"):
        settings = model.generation_config or dict(generation_settings(folder, config))
        path = folder / "generation_config.json"
        publish_json(path, thaw(freeze(settings)), sort_keys=True)
    if tokenizer is not None:
        tokenizer.save(folder)
    elif isinstance(model.plan, EmbeddingPlan):
        copy_tokenizer(model.plan.sentence, folder)
    if shared:
        processes.wait_for_all("saved")
