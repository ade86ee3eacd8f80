"""What a directory without safetensors of a model holds instead, and how to convert it.

One sentence for each kind of file that people have: adapters, PyTorch's pickles, TensorFlow's and
Flax's weights, GGUF, ONNX and what other runtimes read. Nothing is opened but small JSON files.
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import Any

from transformers_jax.json_files import json_or_empty

SINGLE = "model.safetensors"
STEMS = ("model", "diffusion_pytorch_model")  # what transformers and diffusers call the weights
ADAPTER = "adapter_config.json"
NO_WEIGHTS = (  # of training, in the folder of the weights
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


_ANOTHER_LIBRARY = (
    "{{folder}} holds only the weights of {0} ({{names}}); convert them once where {0}, PyTorch "
    'and transformers 4 are installed: python -c "import transformers as t; '
    "t.{{architecture}}.from_pretrained('{{folder}}', {1}).save_pretrained('{{folder}}')\""
)
_EXPORT = (
    "{{folder}} holds only an export for {0} ({{names}}), which is a graph and not a checkpoint; "
    "give the directory that it was exported from"
)
KINDS = {  # patterns of file names, and what is said of the first kind that is there
    f"{ADAPTER} adapter_model.*": (
        "{folder} holds a PEFT adapter{of_base} ({names}), which is no model by itself: load the "
        "model, and tj.load_adapter(model, '{folder}') gives it the adapter; or {merging}"
    ),
    "openvino_model*.xml openvino_model*.bin": _EXPORT.format("OpenVINO"),
    "pytorch_model*.bin *.pt *.pth *.pkl": "{pickle}",
    "tf_model*.h5 *.h5": _ANOTHER_LIBRARY.format("TensorFlow", "from_tf=True"),
    "flax_model*.msgpack *.msgpack": _ANOTHER_LIBRARY.format("Flax", "from_flax=True"),
    "*.ckpt.index *.ckpt.data-* *.ckpt.meta": (  # BERT's own release
        "{folder} holds only a checkpoint of TensorFlow 1 ({names}); convert it once where "
        "TensorFlow and transformers 4 are installed: transformers-cli convert --model_type bert "
        "--tf_checkpoint {folder}/{stem} --config {folder}/bert_config.json --pytorch_dump_output "
        "{folder}/pytorch_model.bin"
    ),
    "*.bin *.ckpt": "{pickle}",
    "*.gguf": (
        "{folder} holds only GGUF ({names}), weights that are quantised for llama.cpp as a rule; "
        "take the directory that it was made from, or, with what quantising cost, where PyTorch "
        'and gguf are installed: python -c "import transformers as t; '
        "t.AutoModelForCausalLM.from_pretrained('{folder}', gguf_file='{first}')"
        ".save_pretrained('{sibling}-unpacked')\""
    ),
    "*.onnx onnx/*.onnx": _EXPORT.format("ONNX Runtime"),
    "*.tflite": _EXPORT.format("TensorFlow Lite"),
    "rust_model.ot": _EXPORT.format("rust-bert"),
}


def other_weights(folder: Path) -> str | None:
    """A sentence about the weights in a directory that are no safetensors of a model: what is
    there, and how to convert it to a directory that can be read. None: there are none."""
    names = sorted(os.listdir(folder))
    if (folder / "onnx").is_dir():
        names += [f"onnx/{name}" for name in sorted(os.listdir(folder / "onnx"))]
    names = [name for name in names if not any(fnmatch.fnmatch(name, p) for p in NO_WEIGHTS)]
    for patterns, sentence in KINDS.items():
        if files := [n for n in names if any(fnmatch.fnmatch(n, p) for p in patterns.split())]:
            return sentence.format_map(_facts(folder, files))
    return None


def adapter_of_model(folder: Path) -> str | None:
    """A sentence about an adapter in the directory of a whole model; None where there is none."""
    if not (folder / ADAPTER).is_file():
        return None
    return (
        f"{folder} holds a PEFT adapter ({ADAPTER}) as well as {SINGLE}, and it is not clear "
        f"which of the two to load: the file {folder / SINGLE} is the model without it; "
        f"{merging(folder)}"
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


def merging(folder: Path) -> str:
    """How an adapter and its model become one directory."""
    adapted = TASKS.get(str(_small_json(folder / ADAPTER).get("task_type")), "AutoPeftModel")
    return (
        "merge the two, once, where PyTorch and PEFT are installed: python -c "
        f"\"import peft; peft.{adapted}.from_pretrained('{folder}').merge_and_unload()"
        f".save_pretrained('{_sibling(folder)}-merged')\""
    )


def _facts(folder: Path, files: list[str]) -> dict[str, Any]:
    """The values of the fields in the sentences of `KINDS`."""
    base = _small_json(folder / ADAPTER).get("base_model_name_or_path")
    classes = _small_json(folder / "config.json").get("architectures")
    index = next((name for name in files if name.endswith(".index")), files[0])
    return {
        "folder": folder,
        "sibling": _sibling(folder),
        "names": ", ".join(files),
        "first": files[0],
        "stem": index.removesuffix(".index"),
        "architecture": classes[0] if isinstance(classes, list) and classes else "AutoModel",
        "of_base": f" of {base}" if isinstance(base, str) else "",
        "merging": merging(folder),
        "pickle": pickle_message(folder / files[0]),
    }


def _sibling(folder: Path) -> Path:
    """The directory's path, to which a suffix is appended for a directory next to it."""
    return folder.with_name(folder.resolve().name) if folder.name else folder.resolve()


def _small_json(file: Path) -> dict[str, Any]:
    """A JSON object of at most a megabyte, or nothing."""
    small = file.is_file() and file.stat().st_size <= 1 << 20
    return json_or_empty(file) if small else {}
