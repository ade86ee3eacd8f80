"""adapter_config.json of PEFT, as a record, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transformers_jax.models.adapters.records import (
    IA3,
    Adapter,
    BitFit,
    Freeze,
    LoRA,
    Names,
    PrefixTuning,
    Probe,
    PromptTuning,
    Train,
)
from transformers_jax.models.adapters.resolve import Resolved
from transformers_jax.models.frozen import Frozen, freeze, thaw
from transformers_jax.spelling import nearest

READ = {  # PEFT's names of the fields of our records
    LoRA: {
        "r": "rank",
        "lora_alpha": "alpha",
        "target_modules": "targets",
        "target_parameters": "parameters",
        "exclude_modules": "exclude",
        "layers_to_transform": "layers",
        "use_rslora": "rslora",
        "use_dora": "dora",
        "rank_pattern": "rank_pattern",
        "alpha_pattern": "alpha_pattern",
        "bias": "bias",
        "lora_dropout": "dropout",
        "modules_to_save": "modules_to_save",
    },
    IA3: {
        "target_modules": "targets",
        "feedforward_modules": "feedforward",
        "exclude_modules": "exclude",
        "modules_to_save": "modules_to_save",
    },
    PromptTuning: {"num_virtual_tokens": "tokens", "modules_to_save": "modules_to_save"},
    PrefixTuning: {
        "num_virtual_tokens": "tokens",
        "prefix_projection": "projection",
        "encoder_hidden_size": "hidden",
        "modules_to_save": "modules_to_save",
    },
    BitFit: {"modules_to_save": "modules_to_save"},
    Freeze: {"paths": "paths", "modules_to_save": "modules_to_save"},
    Train: {"paths": "paths", "modules_to_save": "modules_to_save"},
    Probe: {name: name for name in ("paths", "solver", "penalty", "modules_to_save")},
}
TYPES = {
    "LORA": LoRA,
    "IA3": IA3,
    "PROMPT_TUNING": PromptTuning,
    "PREFIX_TUNING": PrefixTuning,
    "BITFIT": BitFit,
    "FREEZE": Freeze,
    "TRAIN": Train,
    "PROBE": Probe,
}
"""The kinds by `peft_type`; PEFT has the first four."""

OF_NO_USE = frozenset(
    """auto_mapping base_model_name_or_path fan_in_fan_out inference_mode init_ia3_weights
    megatron_core peft_type peft_version qalora_group_size revision runtime_config task_type
    """.split()
)
"""What says where an adapter comes from, or how it began, and nothing of what it computes."""

BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")
"""`init_lora_weights` that leave the weights of the model as they are."""

OF_VIRTUAL_TOKENS = frozenset(
    """token_dim num_attention_heads num_layers num_transformer_submodules
    init_weights prompt_tuning_init prompt_tuning_init_text tokenizer_name_or_path tokenizer_kwargs
    """.split()
)
"""The sizes of virtual tokens, which their tensor has, and how they began."""

ELSEWHERE = {"P_TUNING": "virtual tokens that a network computes"}
"""Kinds of PEFT that are not read."""

STARTS = {"random": "RANDOM", "vocabulary": "SAMPLE_VOCAB"}
"""`prompt_tuning_init` by ours; a text is "TEXT"."""

TASKS = {
    "causal_lm": "CAUSAL_LM",
    "seq2seq_lm": "SEQ_2_SEQ_LM",
    "sequence_classification": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
    "question_answering": "QUESTION_ANS",
    "none": "FEATURE_EXTRACTION",
}
"""`task_type` by head."""


def record_of(values: Mapping[str, Any]) -> Adapter:
    """The record of an adapter_config.json.

    Raises:
        ValueError: another kind of adapter; a setting that is not computed here.
    """
    kind = values.get("peft_type")
    if kind not in TYPES:
        what = f" ({ELSEWHERE[kind]})" if kind in ELSEWHERE else ""
        hint = "" if kind in ELSEWHERE else nearest(str(kind), TYPES)
        raise ValueError(
            f"peft_type is {kind!r}{what}; read are {', '.join(map(repr, TYPES))}{hint}"
        )
    names = READ[TYPES[kind]]
    fields = {names[key]: value for key, value in values.items() if key in names}
    fields = {name: _plain(name, value) for name, value in fields.items() if value is not None}
    if values.get("init_lora_weights") not in BEGINNINGS:
        raise ValueError(
            f"init_lora_weights={values['init_lora_weights']!r} may change the weights of the "
            "model, which the file of the adapter does not hold; save it with PEFT's "
            "path_initial_model_for_weight_conversion"
        )
    known = {*names, *OF_NO_USE, "init_lora_weights"}
    if TYPES[kind] in (PromptTuning, PrefixTuning):
        known |= OF_VIRTUAL_TOKENS
        fields |= _start(values)
    used = {key: v for key, v in values.items() if key not in known and v not in (None, False, 0)}
    if wrong := [f"{key}={v!r}" for key, v in used.items() if v not in ({}, [], "none")]:
        raise ValueError(f"settings that are not computed here: {', '.join(wrong)}")
    return TYPES[kind](**fields, file=Frozen(values))  # type: ignore[no-any-return]


def _plain(name: str, value: Any) -> Any:
    if name in ("rank_pattern", "alpha_pattern"):
        return tuple(value.items())
    if name == "layers" and isinstance(value, int):
        return (value,)
    return freeze(value)


def values_of(adapter: Adapter, known: Resolved, head: str) -> dict[str, Any]:
    """The values of adapter_config.json: those that were read, or what PEFT needs to know."""
    kind = next(name for name, record in TYPES.items() if record is type(adapter))
    if same_as_read(adapter):
        values: dict[str, Any] = thaw(adapter.file)
        return values
    names = READ[type(adapter)]
    values = {key: thaw(freeze(getattr(adapter, field))) for key, field in names.items()}
    for key in ("rank_pattern", "alpha_pattern"):
        if key in values:
            values[key] = dict(map(tuple, values[key]))
    lists = ("exclude_modules", "modules_to_save", "target_parameters")
    for key in lists[1:2] if isinstance(adapter, (PromptTuning, PrefixTuning)) else lists:
        values[key] = values.get(key) or None
    if kind in ("LORA", "IA3"):
        values["target_modules"] = _modules(adapter.targets, known)  # type: ignore[attr-defined]
        linear = [target.sides.transposed for target in known.targets if not target.sides.table]
        values["fan_in_fan_out"] = any(linear)
    if isinstance(adapter, PromptTuning):
        values |= _start_of(adapter)
    if kind == "IA3":
        inner = [target.module for target in known.targets if target.scaled == "inputs"]
        feedforward = adapter.feedforward  # type: ignore[attr-defined]
        values["feedforward_modules"] = _ends(feedforward, inner) if inner else []
    saved = values["modules_to_save"] is not None
    task = TASKS.get(head) if saved or head.endswith("_lm") or head == "none" else None
    values |= {"peft_type": kind, "task_type": task, "inference_mode": True}
    return {**values, "base_model_name_or_path": None}


def same_as_read(adapter: Adapter) -> bool:
    """Whether an adapter is as the file says that it was read from."""
    return bool(adapter.file) and record_of(adapter.file) == adapter


def _start(values: Mapping[str, Any]) -> dict[str, Any]:
    """How a prompt began."""
    start = values.get("prompt_tuning_init", "RANDOM")
    if values["peft_type"] != "PROMPT_TUNING" or start == "RANDOM":
        return {}
    if start == "SAMPLE_VOCAB":
        return {"init": "vocabulary"}
    text = values.get("prompt_tuning_init_text")
    return {"init": text, "tokenizer": values.get("tokenizer_name_or_path")}


def _start_of(adapter: PromptTuning) -> dict[str, Any]:
    """The same as PEFT has it; ids are of no text."""
    text = {"prompt_tuning_init_text": adapter.init, "tokenizer_name_or_path": adapter.tokenizer}
    if adapter.is_text:
        return {"prompt_tuning_init": "TEXT", **text}
    return {"prompt_tuning_init": STARTS.get(str(adapter.init), "RANDOM"), **dict.fromkeys(text)}


def _modules(targets: Names, known: Resolved) -> Any:
    """`target_modules` of what is adapted as a module."""
    modules = [target.module for target in known.targets]
    return None if not targets else _ends(targets, modules)


def _ends(names: Names, modules: Iterable[str]) -> Any:
    """Ends of the names of modules, if they are such; else the names of all."""
    modules = sorted(modules)
    by_ends = not isinstance(names, str) and all(
        any(module == name or module.endswith(f".{name}") for name in names) for module in modules
    )
    return sorted(names) if by_ends else modules
