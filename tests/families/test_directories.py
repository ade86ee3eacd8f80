"""Directories as people have them: files of 2019, stray keys, weights of other libraries."""

import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.families.test_round_trip import CASES
from transformers_jax.cli import main
from transformers_jax.inspection.conversion import convert
from transformers_jax.inspection.description import describe
from transformers_jax.models import FAMILIES, config_class

OLD = {  # what a config.json of 2019 holds besides the sizes (roberta-base, prot_bert, distilgpt2)
    "finetuning_task": None,
    "num_labels": 3,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_past": True,
    "pruned_heads": {},
    "torchscript": False,
    "use_bfloat16": False,
    "is_decoder": False,
    "vocab_size_or_config_json_file": -1,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}
MODERN = ("model_type", "architectures", "transformers_version", "dtype", "id2label", "label2id")


def directory(folder, case, **changes):
    """A case as a directory of its own; what is None is not said, and "" drops the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {**json.loads((CASES / case / "config.json").read_text()), **changes}
    values = {key: value for key, value in values.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(values))
    shutil.copy(CASES / case / "model.safetensors", folder)
    return folder


def of_2019(folder, case, **changes):
    """A case as a release of 2019 would have written its config.json."""
    directory(folder, case, **dict.fromkeys(MODERN))
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **OLD, **changes}))
    return folder


# ---------------------------------------------------------------- which family


@pytest.mark.parametrize(
    ("case", "architecture", "config"),
    [
        ("roberta-mlm", "RobertaForMaskedLM", tj.RobertaConfig),
        ("bert-mlm", "BertForMaskedLM", tj.BertConfig),
        ("gpt2", "GPT2LMHeadModel", tj.GPT2Config),
    ],
)
def test_the_family_follows_from_architectures_without_model_type(
    case, architecture, config, tmp_path
):
    folder = of_2019(tmp_path / "a", case, architectures=[architecture])
    read = tj.AutoConfig.from_pretrained(folder)
    assert type(read) is config
    assert read.num_labels == 3
    ids = np.array([[5, 6, 7]])
    expected = tj.from_pretrained(CASES / case)(input_ids=ids).logits
    assert np.array_equal(tj.from_pretrained(folder)(input_ids=ids).logits, expected)
    assert describe(folder).family == config.model_type
    convert(folder, tmp_path / "b")
    assert json.loads((tmp_path / "b" / "config.json").read_text())["model_type"]


def test_without_architectures_the_config_class_decides_the_family(tmp_path):
    folder = of_2019(tmp_path / "a", "roberta-mlm")
    with pytest.raises(ValueError, match="names no model_type and no class of a known family"):
        tj.from_pretrained(folder)
    assert type(tj.RobertaConfig.from_pretrained(folder)) is tj.RobertaConfig
    ids = np.array([[5, 6, 7]])
    expected = tj.from_pretrained(CASES / "roberta-mlm")(input_ids=ids).logits
    named = tj.from_pretrained(folder, head="RobertaForMaskedLM")
    assert np.array_equal(named(input_ids=ids).logits, expected)
    assert describe(folder, head="RobertaForMaskedLM").fits
    assert convert(folder, tmp_path / "b", head="RobertaForMaskedLM").head == "masked_lm"
    with pytest.raises(ValueError, match="does not fit"):  # the weights are named as RoBERTa's
        tj.from_pretrained(folder, head="BertForMaskedLM")


def test_the_family_in_the_file_overrides_the_config_class(tmp_path):
    folder = of_2019(tmp_path, "roberta-mlm", architectures=["RobertaForMaskedLM"])
    with pytest.raises(ValueError, match="is of roberta, not bert"):
        tj.BertConfig.from_pretrained(folder)
    two = of_2019(tmp_path / "two", "bert-mlm", architectures=["BertModel", "RobertaModel"])
    with pytest.raises(ValueError, match=r"\(architectures: BertModel, RobertaModel\)"):
        tj.AutoConfig.from_pretrained(two)


def test_a_class_of_hugging_faces_is_of_one_family():
    homes = [(name, f) for f in FAMILIES for name in config_class({"model_type": f}).HEADS]
    assert len(dict(homes)) == len(homes)


def test_pruned_heads_of_an_old_file_are_refused(tmp_path):
    folder = of_2019(tmp_path, "bert-mlm", pruned_heads={"0": [1]}, architectures=["BertModel"])
    with pytest.raises(ValueError, match=r"pruned_heads=.*only \{\}"):
        tj.from_pretrained(folder)


# ---------------------------------------------------------------- stray keys


def test_a_stray_key_is_accepted_by_name_wherever_a_directory_is_read(tmp_path, capsys):
    folder = directory(tmp_path / "a", "gpt2", house_style="x", floor=2)
    for read in (
        lambda **more: tj.from_pretrained(folder, **more),
        lambda **more: tj.AutoConfig.from_pretrained(folder, **more),
        lambda **more: describe(folder, **more),
        lambda **more: convert(folder, tmp_path / "b", overwrite=True, **more),
    ):
        with pytest.raises(ValueError, match=r"key 'house_style'.*--ignore house_style"):
            read()
        read(ignore=("house_style", "floor"))
    flags = ["--ignore", "house_style", "--ignore", "floor"]
    assert main(["inspect", str(folder), "--json", *flags]) == 0
    assert main(["convert", str(folder), str(tmp_path / "c"), *flags]) == 0
    assert main(["generate", str(folder), "--ids", "5 6", "--max-new-tokens", "1", *flags]) == 0
    assert main(["inspect", str(folder)]) != 0
    assert "unknown key 'house_style'" in capsys.readouterr().err
    assert "house_style" not in json.loads((tmp_path / "c" / "config.json").read_text())


def test_a_stray_key_of_one_side_is_accepted_too(tmp_path):
    values = json.loads((CASES / "encoder-decoder" / "config.json").read_text())
    values["decoder"]["floor"] = 3
    folder = directory(tmp_path, "encoder-decoder", decoder=values["decoder"])
    with pytest.raises(ValueError, match="unknown key 'floor'"):
        tj.from_pretrained(folder)
    assert tj.from_pretrained(folder, ignore=("floor",)).config.decoder


# ---------------------------------------------------------------- other weights

ADAPTER = {"base_model_name_or_path": "org/base", "task_type": "SEQ_CLS", "peft_type": "LORA"}
KINDS = {  # files next to config.json: what the error names, and what it says to do
    "adapter": (
        {"adapter_config.json": json.dumps(ADAPTER), "adapter_model.safetensors": ""},
        r"PEFT adapter of org/base \(adapter_config.json, adapter_model.safetensors\)",
        "peft.AutoPeftModelForSequenceClassification.from_pretrained('{0}').merge_and_unload()",
    ),
    "pytorch": ({"pytorch_model.bin": ""}, "may be a pickle", "weights_only=True"),
    "tensorflow": ({"tf_model.h5": ""}, "only the weights of TensorFlow", "from_tf=True"),
    "flax": ({"flax_model.msgpack": ""}, "only the weights of Flax", "from_flax=True"),
    "tensorflow 1": (
        {"bert_model.ckpt.index": "", "bert_model.ckpt.data-00000-of-00001": ""},
        "only a checkpoint of TensorFlow 1",
        "--tf_checkpoint {0}/bert_model.ckpt",
    ),
    "gguf": ({"model-q4.gguf": ""}, "only GGUF", "gguf_file='model-q4.gguf'"),
    "onnx": ({"onnx/model.onnx": ""}, "only an export for ONNX Runtime", "exported from"),
    "openvino": ({"openvino_model.bin": ""}, "only an export for OpenVINO", "exported from"),
    "training only": ({"training_args.bin": "", "optimizer.pt": ""}, "neither", "tj.from_config"),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flax"])
def test_unsupported_weight_formats_are_named_in_one_sentence(kind, tmp_path):
    files, what, advice = KINDS[kind]
    shutil.copy(CASES / "bert-mlm" / "config.json", tmp_path)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=what) as error:
        tj.from_pretrained(tmp_path)
    assert advice.format(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    if code := re.search(r'python -c "(.*)"', str(error.value)):
        compile(code[1], kind, "exec")  # the libraries are not here; what is typed is Python


def test_an_adapter_without_a_model_is_refused_as_one(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps(ADAPTER))
    (tmp_path / "adapter_model.safetensors").write_text("")
    for read in (tj.from_pretrained, tj.AutoConfig.from_pretrained, describe):
        with pytest.raises(ValueError, match="PEFT adapter of org/base"):
            read(tmp_path)


def test_an_adapter_next_to_a_model_is_not_ignored(tmp_path):
    folder = directory(tmp_path / "a", "bert-mlm")
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER))
    with pytest.raises(ValueError, match=r"as well as model\.safetensors.*without it") as error:
        tj.from_pretrained(folder)
    file = re.search(r"the file (\S+) is the model without it", str(error.value))[1]
    assert tj.from_pretrained(file).config.model_type == "bert"  # the advice


def test_missing_shards_are_named_and_counted(tmp_path):
    model = tj.from_pretrained(CASES / "bert-mlm")
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    shard = shards[0].rename(tmp_path / "aside")
    with pytest.raises(ValueError, match=f"missing: {shards[0].name} .1 of {len(shards)}.; copy"):
        tj.from_pretrained(tmp_path)
    shard.rename(shards[0])
    assert tj.from_pretrained(tmp_path).config == model.config.replace(
        architectures=("BertForMaskedLM",)
    )


TORCH = """
import pickle, sys, types
import numpy as np

class Tensor(np.ndarray):
    clone = np.ndarray.copy
    def contiguous(self):
        return np.ascontiguousarray(self)

def load(path, map_location, weights_only):
    return {k: v.view(Tensor) for k, v in np.load(path).items()}

def save_file(tensors, path, metadata):
    from safetensors.numpy import save_file as save
    save({k: np.asarray(v) for k, v in tensors.items()}, path, metadata)

torch = types.ModuleType("torch")
torch.load = load
sys.modules["torch"] = torch
import safetensors
safetensors.torch = types.ModuleType("safetensors.torch")
safetensors.torch.save_file = save_file
sys.modules["safetensors.torch"] = safetensors.torch
"""


def test_the_advice_about_pickles_converts_every_shard(tmp_path):
    """The advice of the error is followed, with a stand-in for PyTorch."""
    from safetensors.numpy import load_file

    folder = directory(tmp_path / "a", "bert-mlm")
    stored = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(stored)
    for number, part in enumerate((names[::2], names[1::2]), 1):
        with open(folder / f"pytorch_model-0000{number}-of-00002.bin", "wb") as file:
            np.savez(file, **{name: stored[name] for name in part})
    with pytest.raises(ValueError, match="may be a pickle") as error:
        tj.from_pretrained(folder)
    code = re.search(r'python -c "(.*)"', str(error.value))[1]
    subprocess.run([sys.executable, "-c", TORCH + code], check=True)
    again = load_file(folder / "model.safetensors")
    assert again.keys() == stored.keys()
    assert tj.from_pretrained(folder).plan.head == "masked_lm"


def test_a_config_without_weights_makes_a_new_model_as_the_error_says(tmp_path):
    shutil.copy(CASES / "bert-mlm" / "config.json", tmp_path)
    with pytest.raises(ValueError, match=r"tj\.from_config\(path, key=jax\.random\.key\(0\)\)"):
        tj.from_pretrained(tmp_path)
    assert tj.from_config(tmp_path, key=jax.random.key(0)).config.model_type == "bert"


def test_a_hub_id_without_safetensors_says_what_is_downloaded(tmp_path):
    folder = tmp_path / "models--a--b" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    shutil.copy(CASES / "bert-mlm" / "config.json", folder)
    with pytest.raises(ValueError, match="only JSON, safetensors and tokenizer files"):
        tj.from_pretrained(folder)
    own = directory(tmp_path / "a", "bert-mlm")
    (own / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has neither") as error:
        tj.from_pretrained(own)
    assert "hub id" not in str(error.value)  # the control: a directory of one's own


def test_byt5_is_t5_over_bytes_with_an_untied_output(tmp_path):
    """google/byt5-small's config.json, at another size, and its untied output."""
    from safetensors.numpy import load_file, save_file

    changes = dict(
        architectures=["T5ForConditionalGeneration"],
        gradient_checkpointing=False,
        tie_word_embeddings=False,
        tokenizer_class="ByT5Tokenizer",
        scale_decoder_outputs=None,
        dense_act_fn=None,
        is_gated_act=None,
    )
    folder = directory(tmp_path, "t5-v1.1", **changes)
    stored = load_file(folder / "model.safetensors")
    stored["lm_head.weight"] = stored["shared.weight"][::-1].copy()
    save_file(stored, folder / "model.safetensors")
    model = tj.from_pretrained(folder)
    assert not model.config.tie_word_embeddings
    inputs = dict(input_ids=[[5, 6, 7]], decoder_input_ids=[[0, 4]])
    states = model(**inputs, output_hidden_states=True).decoder_hidden_states[-1]
    expected = np.asarray(states) @ stored["lm_head.weight"].T
    np.testing.assert_allclose(model(**inputs).logits, expected, rtol=1e-4, atol=1e-4)
