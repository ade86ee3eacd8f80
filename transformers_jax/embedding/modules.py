"""The configs of the modules of sentence-transformers, as the steps of `nn/sentence.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from transformers_jax.nn.sentence import Drop, Normalise, Pool, Project, Standardise, Step
from transformers_jax.spelling import nearest

FLAGS = {  # pooling_mode_* of older files, in the order in which they are put side by side
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = {  # classes of torch.nn, and what Hugging Face calls the function
    **{name: name.lower() for name in ("Tanh", "ReLU", "ReLU6", "GELU", "SiLU", "Sigmoid", "Mish")},
    "Identity": "linear",
    "Hardswish": "hardswish",
    "LeakyReLU": "leaky_relu",
}


FIELDS = dict(module_input_name=str, module_output_name=str)
KEYS: dict[str, dict[str, Any]] = {  # of the config of each kind of module, and their types
    "Pooling": dict(
        embedding_dimension=int,
        word_embedding_dimension=int,
        include_prompt=bool,
        pooling_mode=(str, list),
        **dict.fromkeys(FLAGS, bool),
    ),
    "Dense": dict(
        in_features=int,
        out_features=int,
        bias=bool,
        use_residual=bool,
        activation_function=str,
        **FIELDS,
    ),
    "Normalize": FIELDS,
    "LayerNorm": dict(dimension=int),
    "Dropout": dict(dropout=(int, float)),
}
REQUIRED = {"Dense": ("in_features", "out_features"), "LayerNorm": ("dimension",)}


def check_keys(
    values: Mapping[str, Any],
    known: Mapping[str, Any],
    ignore: frozenset[str],
    only: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Raises ValueError unless every key is known and of its type, or has the only value that is
    implemented."""
    problems = []
    for key, value in values.items():
        if key in ignore or value is None:
            continue
        if key in only:
            if value != only[key] and (only[key] is not None or value):
                problems.append(f"{key}={value!r} is not implemented, only {only[key]!r}")
        elif key not in known:
            near = nearest(key, (*known, *only))
            problems.append(f"unknown key {key!r}{near} (to accept it: ignore=({key!r},))")
        elif not isinstance(value, known[key]) or (known[key] is int and isinstance(value, bool)):
            problems.append(f"{key}={value!r} has the wrong type")
        elif known[key] is int and value < 1:
            problems.append(f"{key}={value!r} must be at least 1")
    if problems:
        raise ValueError("; ".join(problems))


def step_of(kind: str, values: Mapping[str, Any], ignore: frozenset[str]) -> Step:
    """The step that a module's config describes.

    Raises:
        ValueError: keys that are unknown or missing, or of values that are.
    """
    modes = [key for key in values if key.startswith("pooling_mode_") and key not in FLAGS]
    if kind == "Pooling" and modes:
        raise ValueError(f"pooling mode {modes[0]!r} is unknown; known are {', '.join(FLAGS)}")
    check_keys(values, KEYS[kind], ignore)
    if missing := [key for key in REQUIRED.get(kind, ()) if key not in values]:
        raise ValueError(f"{' and '.join(missing)} missing")
    return STEPS[kind](values)


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Which field a module reads, and which it writes."""
    reads = values.get("module_input_name") or "sentence_embedding"
    writes = values.get("module_output_name") or reads
    names = ("sentence_embedding", "token_embeddings")
    for key, name in zip(FIELDS, (reads, writes)):
        if name not in names:
            raise ValueError(f"{key}={name!r}: expected one of {', '.join(names)}")
    return {"reads": reads, "writes": writes}


def _pool(values: Mapping[str, Any]) -> Pool:
    modes = values.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in FLAGS.items() if values.get(key)] or ["mean"]
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    included = values.get("include_prompt")
    return Pool(modes, included is None or included)


def _project(values: Mapping[str, Any]) -> Project:
    path = values.get("activation_function") or "torch.nn.modules.activation.Tanh"
    act = ACTIVATIONS.get(path.rpartition(".")[2]) if path.startswith("torch.nn.") else None
    if act is None:
        raise ValueError(
            f"activation_function={path!r} is unknown; known are, of torch.nn, "
            f"{', '.join(ACTIVATIONS)}"
        )
    width, size = values["in_features"], values["out_features"]
    bias, residual = values.get("bias", True), values.get("use_residual", False)
    return Project(width, size, act, bias, residual, **_fields(values))


STEPS: dict[str, Callable[[Mapping[str, Any]], Step]] = {
    "Pooling": _pool,
    "Dense": _project,
    "Normalize": lambda values: Normalise(**_fields(values)),
    "LayerNorm": lambda values: Standardise(values["dimension"]),
    "Dropout": lambda values: Drop(float(values.get("dropout", 0.2))),
}
