"""The configs of the modules of sentence-transformers, as the steps of `nn/sentence.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def check_keys(
    where: Any,
    values: Mapping[str, Any],
    known: Mapping[str, Any],
    only: Mapping[str, Any],
    ignore: frozenset[str],
) -> None:
    """Every key is known and of its type, or has the only value that is implemented."""
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
        prefix = f"{where}: " if where else ""
        raise ValueError(prefix + "; ".join(problems))


# ---------------------------------------------------------------- the configs of the modules


FIELDS = {"module_input_name": str, "module_output_name": str}


def _ends(values: Mapping[str, Any]) -> dict[str, Any]:
    """Which field a module reads, and which it writes."""
    reads = values.get("module_input_name") or "sentence_embedding"
    writes = values.get("module_output_name") or reads
    names = ("sentence_embedding", "token_embeddings")
    for key, name in (("module_input_name", reads), ("module_output_name", writes)):
        if name not in names:
            raise ValueError(f"{key}={name!r}: expected one of {', '.join(names)}")
    return {"reads": reads, "writes": writes}


def _pool(values: Mapping[str, Any], ignore: frozenset[str]) -> Pool:
    known: dict[str, Any] = {"embedding_dimension": int, "word_embedding_dimension": int}
    known |= {"include_prompt": bool, **dict.fromkeys(FLAGS, bool), "pooling_mode": (str, list)}
    if wrong := [key for key in values if key.startswith("pooling_mode_") and key not in known]:
        raise ValueError(f"pooling mode {wrong[0]!r} is unknown; known are {', '.join(FLAGS)}")
    check_keys(None, values, known, {}, ignore)
    modes = values.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in FLAGS.items() if values.get(key)] or ["mean"]
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    included = values.get("include_prompt")
    return Pool(modes, included is None or included)


def _project(values: Mapping[str, Any], ignore: frozenset[str]) -> Project:
    known = {"in_features": int, "out_features": int, "bias": bool, "use_residual": bool, **FIELDS}
    check_keys(None, values, {**known, "activation_function": str}, {}, ignore)
    if missing := [key for key in ("in_features", "out_features") if key not in values]:
        raise ValueError(f"{' and '.join(missing)} missing")
    path = values.get("activation_function") or "torch.nn.modules.activation.Tanh"
    act = ACTIVATIONS.get(path.rpartition(".")[2]) if path.startswith("torch.nn.") else None
    if act is None:
        raise ValueError(
            f"activation_function={path!r} is unknown; known are, of torch.nn, "
            f"{', '.join(ACTIVATIONS)}"
        )
    return Project(
        width=values["in_features"],
        size=values["out_features"],
        act=act,
        bias=values.get("bias", True),
        residual=values.get("use_residual", False),
        **_ends(values),
    )


def _standardise(values: Mapping[str, Any], ignore: frozenset[str]) -> Standardise:
    check_keys(None, values, {"dimension": int}, {}, ignore)
    if "dimension" not in values:
        raise ValueError("dimension missing")
    return Standardise(values["dimension"])


def _normalise(values: Mapping[str, Any], ignore: frozenset[str]) -> Normalise:
    check_keys(None, values, FIELDS, {}, ignore)
    return Normalise(**_ends(values))


def _drop(values: Mapping[str, Any], ignore: frozenset[str]) -> Drop:
    check_keys(None, values, {"dropout": (int, float)}, {}, ignore)
    return Drop(float(values.get("dropout", 0.2)))


READERS: dict[str, Callable[[Mapping[str, Any], frozenset[str]], Step]] = {
    "Pooling": _pool,
    "Dense": _project,
    "Normalize": _normalise,
    "LayerNorm": _standardise,
    "Dropout": _drop,
}
