"""Export after import: the same bytes for files as transformers v5 writes them, as stored.

Files in older layouts are written under today's names; a second export equals the first.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import transformers_jax as tj

CASES = Path(__file__).parent.parent / "conformance" / "cases"
NAMES = sorted(path.parent.name for path in CASES.glob("*/case.json"))
OLDER = {  # and a case with the names of today
    "older-bert": "bert-base",
    "older-gpt2": "gpt2",
    "older-llama": "llama",
    "older-llama2": "llama",
    "older-t5": "t5-v1.0",
    "older-t5-v1.1": "t5-v1.1",
    "older-bart": "bart",
    "older-mt5": "mt5",
    "older-modernbert": "modernbert-mlm",
    "odd-tying": "llama",
    "older-clip": "clip",
    "older-llava": "llava",
    "older-llava-4.52": "llava",
    "older-clip-tower": "clip-vision-base",
    "older-wav2vec2": "wav2vec2-ctc",
    "runtime-nomic-bert": "nomic-bert-mlm",
    "older-esm": "esm-mlm",
    "runtime-esm-mlm": "esm-mlm",
    "older-opt": "opt",
    "older-bloom": "bloom",
    "older-gpt-neox": "gpt-neox",
    "runtime-gpt-neox": "gpt-neox",
    "older-gemma": "gemma",
    "older-gemma2": "gemma2",
    "older-stablelm": "stablelm",
    "older-gemma3": "gemma3-text",
    "older-mistral": "mistral",
    "older-qwen2": "qwen2",
    "older-mixtral": "mixtral",
    "runtime-mixtral": "mixtral",
    "runtime-qwen2-moe": "qwen2-moe",
    "runtime-qwen3-moe": "qwen3-moe",
    "older-gpt-oss": "gpt-oss",
    "gpt-oss-mxfp4": "gpt-oss",
    "runtime-deepseek-v3": "deepseek-v3",
    "runtime-swin": "swin-classify",
    "runtime-ast": "ast-classify",
    "runtime-vit": "vit-classify",
    "runtime-beit": "beit-classify",
    "runtime-beit-segment": "beit-segment",
    "runtime-dinov2": "dinov2-classify",
    "runtime-dinov2-swiglu": "dinov2-swiglu",
    "runtime-dinov3": "dinov3-backbone",
    "runtime-vit-mae": "vit-mae-pretraining",
}


def load(name, **options):
    case = json.loads((CASES / name / "case.json").read_text())
    return tj.from_pretrained(CASES / name, head=case["architecture"], dtype="auto", **options)


def tensors(folder):
    """{name: (dtype, shape, bytes)} of a saved model."""
    (path,) = Path(folder).glob("*.safetensors")
    with safe_open(path, "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return {name: (x.dtype, x.shape, x.tobytes()) for name, x in arrays.items()}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OLDER])
def test_export_after_import_is_the_same_file(name, tmp_path):
    load(name).save_pretrained(tmp_path)
    assert tensors(tmp_path) == tensors(CASES / name)


@pytest.mark.parametrize("name", OLDER)
def test_older_layouts_are_written_as_todays(name, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    model = load(name)
    model.save_pretrained(first)
    tj.from_pretrained(first, dtype="auto").save_pretrained(second)
    for file in ("model.safetensors", "config.json"):
        assert (first / file).read_bytes() == (second / file).read_bytes()
    blot = lambda folder: {re.sub(r"\d+", "#", name) for name in tensors(folder)}
    tied = {"lm_head.weight"} if name == "odd-tying" else set()
    assert blot(first) == blot(CASES / OLDER[name]) - tied


def test_a_changed_weight_changes_the_file(tmp_path):
    model = load("gpt2-base")
    _, params = tj.functional(model)
    params["stack"]["norm"]["scale"] = params["stack"]["norm"]["scale"] + 1
    tj.save_pretrained(tj.bind(model, params), tmp_path)
    assert tensors(tmp_path) != tensors(CASES / "gpt2-base")


@pytest.mark.parametrize(
    "name", ["bert-mlm", "gpt2", "llama-rope-yarn", "t5-v1.1", "nn-transformer", "vit-base"]
)
def test_the_config_is_written_back(name, tmp_path):
    theirs = json.loads((CASES / name / "config.json").read_text())
    load(name).save_pretrained(tmp_path)
    ours = json.loads((tmp_path / "config.json").read_text())
    known = {key: value for key, value in theirs.items() if key in ours}
    left_out = set(theirs) - set(ours) - {"transformers_version", "use_cache", "n_ctx"}
    assert left_out <= {
        *("add_cross_attention", "is_decoder", "pretraining_tp", "reorder_and_upcast_attn"),
        "encoder_stride",
        *(key for key in theirs if key.startswith("summary_") or key == "classifier_dropout"),
    }
    assert {key: ours[key] for key in known} == known


def test_weights_in_half_precision_survive_twice(tmp_path):
    model = tj.from_pretrained(CASES / "gpt2-base", dtype="bfloat16")
    model.save_pretrained(tmp_path / "a")
    again = tj.from_pretrained(tmp_path / "a", dtype="auto")
    assert again.dtype == "bfloat16"
    again.save_pretrained(tmp_path / "b")
    read = lambda part: (tmp_path / part / "model.safetensors").read_bytes()
    assert read("a") == read("b")


def test_a_list_of_layers_is_saved_like_a_stack(tmp_path):
    load("t5-v1.1", layers="list").save_pretrained(tmp_path)
    assert tensors(tmp_path) == tensors(CASES / "t5-v1.1")


def test_heads_that_are_not_requested_are_left_out_and_reported():
    loaded = load("bert-pretraining", return_report=True)
    assert not loaded.initialised
    bare = tj.from_pretrained(CASES / "bert-pretraining", head="none", return_report=True)
    assert any(name.startswith("cls.") for name in bare.report.left_out)
    assert np.isfinite(bare.model(input_ids=[[1, 2, 3]]).last_hidden_state).all()
