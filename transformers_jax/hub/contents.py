"""What a directory holds where it holds no safetensors of a model, and what to do with that.

One sentence for each kind of file that people have: adapters, PyTorch's pickles, TensorFlow's and
Flax's weights, GGUF, ONNX and what other runtimes read. Nothing is opened but small JSON files.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

SINGLE = "model.safetensors"
ADAPTER = "adapter_config.json"
NO_WEIGHTS = (  # of training, beside the weights
    *("training_args.bin", "optimizer.*", "scheduler.*", "rng_state*", "scaler.pt"),
    "random_states_*",
)
TASKS = {  # PEFT's names, and the class that loads such an adapter with its model
    "CAUSAL_LM": "AutoPeftModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoPeftModelForSeq2SeqLM",
    "SEQ_CLS": "AutoPeftModelForSequenceClassification",
    "TOKEN_CLS": "AutoPeftModelForTokenClassification",
    "QUESTION_ANS": "AutoPeftModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoPeftModelForFeatureExtraction",
}


def other_weights(folder: Path) -> str | None:
    """A sentence about the weights in a directory that are no safetensors of a model: what is
    there, and what makes a directory that can be read of it. None: there are none."""
    names = sorted(os.listdir(folder))
    if (folder / "onnx").is_dir():
        names += [f"onnx/{name}" for name in sorted(os.listdir(folder / "onnx"))]
    names = [name for name in names if not any(fnmatch.fnmatch(name, p) for p in NO_WEIGHTS)]
    for patterns, tell in KINDS:
        if found := [n for n in names if any(fnmatch.fnmatch(n, p) for p in patterns.split())]:
            return tell(folder, found)
    return None


def adapter_beside(folder: Path) -> str | None:
    """A sentence about an adapter in the directory of a whole model; None where there is none."""
    if not (folder / ADAPTER).is_file():
        return None
    return (
        f"{folder} holds a PEFT adapter ({ADAPTER}) beside {SINGLE}, and which of the two is meant "
        f"is not told: the file {folder / SINGLE} is the model without it; {merge(folder)}"
    )


def pickle_message(path: Path) -> str:
    """Why a pickle is not opened, and what makes safetensors of it, all its shards included."""
    kin = sorted(path.parent.glob(f"{path.name.split('-0')[0]}-0*-of-*{path.suffix}"))
    paths = [str(each) for each in kin] if path in kin else [str(path)]
    return (
        f"{path} may be a pickle, which can run any code when it is opened, so it is not opened. "
        'If you trust it, convert it once where PyTorch is installed: python -c "import torch, '
        "safetensors.torch as s; s.save_file({k: v.clone().contiguous() for f in "
        f"{paths} for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}}, "
        f"'{path.with_name(SINGLE)}', metadata={{'format': 'pt'}})\""
    )


# ---------------------------------------------------------------- the kinds


def adapter(folder: Path, names: list[str]) -> str:
    """PEFT's adapters are differences to a model that lies elsewhere."""
    base = _small_json(folder / ADAPTER).get("base_model_name_or_path")
    of = f" of {base}" if isinstance(base, str) else ""
    return (
        f"{folder} holds a PEFT adapter{of} ({', '.join(names)}), which is no model by itself; "
        f"{merge(folder)}"
    )


def merge(folder: Path) -> str:
    """How an adapter and its model become one directory."""
    task = _small_json(folder / ADAPTER).get("task_type")
    cls = TASKS.get(task, "AutoPeftModel") if isinstance(task, str) else "AutoPeftModel"
    return (
        "to merge the two, once, where PyTorch and PEFT are installed: python -c "
        f"\"import peft; peft.{cls}.from_pretrained('{folder}').merge_and_unload()"
        f".save_pretrained('{_beside(folder, 'merged')}')\""
    )


def pickles(folder: Path, names: list[str]) -> str:
    """PyTorch's files."""
    return pickle_message(folder / names[0])


def tensorflow(folder: Path, names: list[str]) -> str:
    """Keras' file."""
    return _of_another_library(folder, names, "TensorFlow", "from_tf=True")


def flax(folder: Path, names: list[str]) -> str:
    """Flax's file."""
    return _of_another_library(folder, names, "Flax", "from_flax=True")


def tensorflow_1(folder: Path, names: list[str]) -> str:
    """The checkpoints of BERT's own release."""
    index = next((name for name in names if name.endswith(".index")), names[0])
    stem = index.removesuffix(".index")
    return (
        f"{folder} holds a checkpoint of TensorFlow 1 alone ({', '.join(names)}); convert it once "
        "where TensorFlow and transformers 4 are installed: transformers-cli convert --model_type "
        f"bert --tf_checkpoint {folder / stem} --config {folder / 'bert_config.json'} "
        f"--pytorch_dump_output {folder / 'pytorch_model.bin'}"
    )


def gguf(folder: Path, names: list[str]) -> str:
    """llama.cpp's files."""
    return (
        f"{folder} holds GGUF alone ({', '.join(names)}), weights that are quantised for llama.cpp "
        "as a rule; take the directory that it was made from, or, with what quantising cost, where "
        'PyTorch and gguf are installed: python -c "import transformers as t; '
        f"t.AutoModelForCausalLM.from_pretrained('{folder}', gguf_file='{names[0]}')"
        f".save_pretrained('{_beside(folder, 'unpacked')}')\""
    )


def exported(runtime: str) -> Callable[[Path, list[str]], str]:
    """Graphs for a runtime, from which no checkpoint is made again."""

    def tell(folder: Path, names: list[str]) -> str:
        return (
            f"{folder} holds an export for {runtime} alone ({', '.join(names)}), which is a graph "
            "and not a checkpoint; give the directory that it was exported from"
        )

    return tell


KINDS: tuple[tuple[str, Callable[[Path, list[str]], str]], ...] = (
    (f"{ADAPTER} adapter_model.*", adapter),
    ("openvino_model*.xml openvino_model*.bin", exported("OpenVINO")),
    ("pytorch_model*.bin *.pt *.pth *.pkl", pickles),
    ("tf_model*.h5 *.h5", tensorflow),
    ("flax_model*.msgpack *.msgpack", flax),
    ("*.ckpt.index *.ckpt.data-* *.ckpt.meta", tensorflow_1),
    ("*.bin *.ckpt", pickles),
    ("*.gguf", gguf),
    ("*.onnx onnx/*.onnx", exported("ONNX Runtime")),
    ("*.tflite", exported("TensorFlow Lite")),
    ("rust_model.ot", exported("rust-bert")),
)


def _of_another_library(folder: Path, names: list[str], library: str, flag: str) -> str:
    classes = _small_json(folder / "config.json").get("architectures") or ["AutoModel"]
    return (
        f"{folder} holds the weights of {library} alone ({', '.join(names)}); convert them once "
        f"where {library}, PyTorch and transformers 4 are installed: python -c "
        f"\"import transformers as t; t.{classes[0]}.from_pretrained('{folder}', {flag})"
        f".save_pretrained('{folder}')\""
    )


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f"{folder.resolve().name}-{what}")


def _small_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most a megabyte, or nothing."""
    try:
        if path.stat().st_size > 1 << 20:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
