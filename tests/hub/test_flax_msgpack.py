"""Directories of Flax weights give the outputs that Flax's modules computed."""

import json
import os
import shutil
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from flax import serialization

import transformers_jax as tj
from transformers_jax.hub.files import open_checkpoint
from transformers_jax.nn.param import flatten

CASES = Path(__file__).parent / "flax"
NAMES = sorted(case.name for case in CASES.iterdir() if (case / "case.npz").exists())
HEADS = {"bert": "pretraining", "big-bird": "pretraining", "electra-tokens": "replaced_token"}
RNG = np.random.default_rng(0)
TREE = {
    "model": {
        "dense": {"kernel": RNG.normal(size=(3, 5)).astype(np.float32), "bias": np.arange(5.0)},
        "words": {"embedding": RNG.normal(size=(7, 3)).astype(ml_dtypes.bfloat16)},
        "norm": {"scale": np.ones(3, np.float16), "bias": np.zeros(3, np.float32)},
    },
    "one": np.float32(2.5),
}


def case(name):
    values = dict(np.load(CASES / name / "case.npz"))
    arguments = ("input_ids", "attention_mask", "decoder_input_ids")
    return {k: values.pop(k) for k in arguments if k in values}, values


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_of_flax_is_the_model_that_flax_computed(name):
    inputs, expected = case(name)
    model = tj.from_pretrained(CASES / name, head=HEADS.get(name), unroll=False)
    outputs = model(**inputs)
    assert expected
    for key, values in expected.items():
        valid = np.ones(values.shape[:2], bool)
        if "decoder_input_ids" not in inputs and values.shape[:2] == inputs["input_ids"].shape:
            valid = inputs["attention_mask"].astype(bool)  # values in padding do not matter
        ours = np.asarray(outputs[key])[valid]
        np.testing.assert_allclose(ours, values[valid], atol=2e-5, rtol=2e-5, err_msg=key)


def test_there_is_a_case_of_every_family_that_had_flax():
    kinds = {json.loads((CASES / n / "config.json").read_text())["model_type"] for n in NAMES}
    assert len(kinds) >= 18


def test_a_kernel_that_is_not_transposed_gives_another_model(tmp_path):
    """The control of the law above: square kernels fit either way round."""
    shutil.copytree(CASES / "t5", tmp_path / "t5")
    tree = serialization.msgpack_restore((tmp_path / "t5/flax_model.msgpack").read_bytes())
    own = tree["encoder"]["block"]["0"]["layer"]["0"]["SelfAttention"]
    own["q"]["kernel"] = own["q"]["kernel"].T
    (tmp_path / "t5/flax_model.msgpack").write_bytes(serialization.msgpack_serialize(tree))
    inputs, expected = case("t5")
    outputs = tj.from_pretrained(tmp_path / "t5", unroll=False)(**inputs)
    assert np.abs(np.asarray(outputs["logits"]) - expected["logits"]).max() > 1e-2


def test_what_is_read_of_flax_is_saved_as_safetensors_and_read_again(tmp_path):
    model = tj.from_pretrained(CASES / "gpt2")
    model.save_pretrained(tmp_path)
    again = flatten(tj.functional(tj.from_pretrained(tmp_path))[1])
    for path, leaf in flatten(tj.functional(model)[1]).items():
        assert np.asarray(leaf).tobytes() == np.asarray(again[path]).tobytes()
    shutil.copy(CASES / "gpt2/flax_model.msgpack", tmp_path)
    assert open_checkpoint(tmp_path).metadata == {"format": "pt"}  # safetensors win


def written(tree, folder):
    file = folder / "flax_model.msgpack"
    file.write_bytes(serialization.msgpack_serialize(jax.tree.map(np.asarray, tree)))
    return file


@pytest.mark.parametrize("largest", [2**30, 24])
def test_arrays_whole_or_in_chunks_are_read_by_pytorchs_names(largest, tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", largest)
    written(TREE, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    model = TREE["model"]
    expected = {
        "model.dense.weight": model["dense"]["kernel"].T,
        "model.dense.bias": model["dense"]["bias"],
        "model.words.weight": model["words"]["embedding"],
        "model.norm.weight": model["norm"]["scale"],
        "model.norm.bias": model["norm"]["bias"],
        "one": np.asarray(TREE["one"]),
    }
    kinds = {name: (tensor.shape, tensor.dtype) for name, tensor in checkpoint.tensors.items()}
    assert kinds == {name: (x.shape, x.dtype) for name, x in expected.items()}
    for name, values in expected.items():
        assert checkpoint.read(name).tobytes() == np.ascontiguousarray(values).tobytes(), name
        for start, stop in [(0, 1), (1, 3), (0, 0)] if values.ndim else ():
            rows = checkpoint.read(name, start, stop)
            assert rows.tobytes() == np.ascontiguousarray(values[start:stop]).tobytes(), name


def test_scalars_and_a_tree_as_init_gives_it_are_read_too(tmp_path):
    raw = serialization.msgpack_serialize({"params": {"one": np.float32(2.5)}})
    (tmp_path / "flax_model.msgpack").write_bytes(raw)
    assert open_checkpoint(tmp_path).read("one") == 2.5
    assert open_checkpoint(tmp_path / "flax_model.msgpack").read("one") == 2.5


def opened(folder):
    """The error about a directory; empty if it can be read to its last tensor."""
    try:
        checkpoint = open_checkpoint(folder)
        for name in checkpoint.tensors:
            checkpoint.read(name)
    except ValueError as error:
        return str(error)
    return ""


def test_any_truncated_or_changed_byte_is_refused_or_harmless(tmp_path):
    file = written({"a": TREE["model"]}, tmp_path)
    raw = file.read_bytes()
    for length in range(0, len(raw), 3):
        file.write_bytes(raw[:length])
        assert opened(tmp_path).startswith(f"{file}: ")
    errors = []
    for position in range(len(raw)):
        byte = (0x00, 0x7F, 0x91, 0xC1, 0xDF, 0xFF)[position % 6]
        file.write_bytes(raw[:position] + bytes([byte]) + raw[position + 1 :])
        errors.append(opened(tmp_path))
    assert all(str(file) in text for text in errors if text)
    assert sum(map(bool, errors)) > 100


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"conv": {"kernel": np.zeros((3, 4, 5))}}, "a kernel of a Linear has two sides"),
        ({"a": {"kernel": np.zeros((2, 2)), "scale": np.zeros(2)}}, "'a.weight' is there under"),
        ({"a": np.zeros(3, np.complex128)}, "'complex128', which is not known"),
        ({"a": 3}, "'a' is no array"),
        ({"a\\b": {"c": np.zeros(3)}}, "not a name that a tensor may have"),
    ],
)
def test_what_no_family_has_is_refused(tree, message, tmp_path):
    (tmp_path / "flax_model.msgpack").write_bytes(serialization.msgpack_serialize(tree))
    with pytest.raises(ValueError, match=message):
        open_checkpoint(tmp_path)


def test_shards_must_be_in_their_directory_and_match_their_index(tmp_path):
    folder = tmp_path / "llama"
    shutil.copytree(CASES / "llama", folder)
    index = folder / "flax_model.msgpack.index.json"
    first = "flax_model-00001-of-00002.msgpack"
    text = index.read_text()
    index.write_text(text.replace(first, "../" + first))
    with pytest.raises(ValueError, match=r"not a plain file name ending in \.msgpack"):
        open_checkpoint(folder)
    index.write_text(text.replace("model/norm/weight", "model/norm/other"))
    with pytest.raises(ValueError, match=r"disagree about .*model\.norm\."):
        open_checkpoint(folder)
    index.write_text(text)
    os.remove(folder / first)
    with pytest.raises(ValueError, match="these shards are missing"):
        open_checkpoint(folder)


def test_all_mismatches_between_weights_and_model_are_reported(tmp_path):
    shutil.copytree(CASES / "bert", tmp_path / "bert")
    tree = serialization.msgpack_restore((tmp_path / "bert/flax_model.msgpack").read_bytes())
    del tree["bert"]["pooler"]["dense"]["kernel"]
    tree["bert"]["stray"] = {"kernel": np.zeros((2, 2), np.float32)}
    written(tree, tmp_path / "bert")
    with pytest.raises(ValueError, match=r"(?s)bert\.pooler\.dense\.weight.*bert\.stray\.weight"):
        tj.from_pretrained(tmp_path / "bert")
