"""The zoo: one file per family, named by Hugging Face's `model_type`, and found by that name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from transformers_jax.models.config import FamilyConfig, nearest

FAMILIES = {
    "bert": "bert:BertConfig",
    "gpt2": "gpt2:GPT2Config",
    "llama": "llama:LlamaConfig",
    "t5": "t5:T5Config",
}
MODULES = {
    "Translator": "torch_modules:TransformerConfig",
    "torch.nn.Transformer": "torch_modules:TorchTransformerConfig",
    "torch.nn.MultiheadAttention": "torch_modules:TorchAttentionConfig",
}


def config_class(values: Mapping[str, Any]) -> type[FamilyConfig]:
    """The config class of a config.json's content, by its `model_type` or its `module`.

    Raises:
        ValueError: an unknown family; the nearest and all supported ones are named.
    """
    known, key = (FAMILIES, "model_type") if "module" not in values else (MODULES, "module")
    name = values.get(key)
    if name not in known:
        raise ValueError(
            f"{key} {name!r} is not supported{nearest(str(name), known)}; "
            f"supported are {', '.join(sorted(FAMILIES))} and the modules {', '.join(MODULES)}"
        )
    file, attribute = known[name].split(":")
    return getattr(importlib.import_module(f"transformers_jax.models.{file}"), attribute)
