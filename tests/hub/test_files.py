"""Checkpoints on disk: what is written, what is read, and what is refused."""

import json
import os
import pickle
import struct
import time
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as library

from transformers_jax.hub.files import Entry, confined, open_checkpoint, save
from transformers_jax.hub.header import MAX_HEADER, MAX_TENSORS

RNG = np.random.default_rng(0)


def entries(tensors):
    return {name: Entry.of(array) for name, array in tensors.items()}


def raw(header, data=b"", length=None):
    """A file with any header: a dict, or the bytes themselves."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


MANY = {
    "z.weight": RNG.normal(size=(3, 5)).astype(np.float32),
    "a.half": RNG.normal(size=(7,)).astype(np.float16),
    "a.bf16": RNG.normal(size=(2, 3)).astype(ml_dtypes.bfloat16),
    "ids": np.arange(11),
    "a.flag": np.array([True, False, True]),
    "scalar": np.float32(4.0).reshape(()),
    "empty": np.zeros((0, 5), np.float32),
    "byte": np.arange(3, dtype=np.uint8),
}


def test_a_file_is_byte_for_byte_what_the_reference_library_writes(tmp_path):
    library.save_file(MANY, tmp_path / "theirs.safetensors", {"format": "pt"})
    save(entries(MANY), tmp_path)
    theirs = (tmp_path / "theirs.safetensors").read_bytes()
    assert (tmp_path / "model.safetensors").read_bytes() == theirs
    save(entries(dict(reversed(MANY.items()))), tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == theirs


def test_what_is_read_is_what_was_written(tmp_path):
    save(entries(MANY), tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.metadata == {"format": "pt"}
    kinds = {name: (tensor.shape, tensor.dtype) for name, tensor in checkpoint.tensors.items()}
    assert kinds == {k: (v.shape, v.dtype) for k, v in MANY.items()}
    for name, array in MANY.items():
        values = checkpoint.read(name)
        assert values.ctypes.data % 64 == 0
        assert values.tobytes() == array.tobytes()
    np.testing.assert_array_equal(checkpoint.read("z.weight", 1, 3), MANY["z.weight"][1:3])
    with pytest.raises(ValueError, match="has no tensor 'nobody'"):
        checkpoint.read("nobody")


def test_float8_survives(tmp_path):
    array = np.arange(8).astype(ml_dtypes.float8_e4m3fn)
    save(entries({"w": array}), tmp_path)
    assert open_checkpoint(tmp_path).read("w").tobytes() == array.tobytes()


def test_a_transposed_view_is_written_in_the_order_of_its_shape(tmp_path):
    array = RNG.normal(size=(3, 5)).astype(np.float32)
    save(entries({"w": array.T, "strided": array[:, ::2]}), tmp_path)
    np.testing.assert_array_equal(open_checkpoint(tmp_path).read("w"), array.T)
    np.testing.assert_array_equal(open_checkpoint(tmp_path).read("strided"), array[:, ::2])


def test_shards_and_index_hold_what_one_file_holds(tmp_path):
    tensors = {f"l.{i}": np.full((5, 5), i, np.float32) for i in range(7)}
    files = save(entries(tensors), tmp_path, max_shard_size=250)
    assert [file.name for file in files] == [
        *(f"model-0000{n}-of-00004.safetensors" for n in (1, 2, 3, 4)),
        "model.safetensors.index.json",
    ]
    index = json.loads(files[-1].read_text())
    assert index["metadata"] == {"total_parameters": 175, "total_size": 700}
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.shapes == dict.fromkeys(tensors, (5, 5))
    np.testing.assert_array_equal(checkpoint.read("l.6"), tensors["l.6"])


def test_a_tensor_larger_than_a_shard_has_one_of_its_own(tmp_path):
    tensors = {name: np.ones(size, np.float32) for name, size in (("a", 2), ("b", 9), ("c", 3))}
    save(entries(tensors), tmp_path, max_shard_size=20)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert index["a"] == index["c"] != index["b"]  # as huggingface_hub splits them
    assert open_checkpoint(tmp_path).shapes == {"a": (2,), "b": (9,), "c": (3,)}


def test_a_save_replaces_the_files_of_the_one_before(tmp_path):
    tensors = {f"l.{i}": np.full((5,), i, np.float32) for i in range(3)}
    save(entries(tensors), tmp_path, max_shard_size="20B")
    save(entries(tensors), tmp_path)
    assert os.listdir(tmp_path) == ["model.safetensors"]
    save(entries(tensors), tmp_path, max_shard_size=20)
    assert "model.safetensors" not in os.listdir(tmp_path)
    assert len(os.listdir(tmp_path)) == 4


def test_a_save_that_fails_leaves_the_old_file(tmp_path):
    save(entries({"w": np.ones(3, np.float32)}), tmp_path)

    def fail():
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError):
        save({"w": Entry((3,), np.dtype("float32"), fail)}, tmp_path)
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert open_checkpoint(tmp_path).read("w").sum() == 3
    with pytest.raises(ValueError, match="complex128"):
        save(entries({"w": np.ones(3, np.complex128)}), tmp_path)


GOOD = {"a": tensor(0, 4), "b": tensor(4, 8)}
HOSTILE = {
    "empty file": (b"", "truncated"),
    "short length": (b"\x01\x02", "truncated"),
    "header longer than the file": (raw({}, length=1000), "truncated"),
    "header bomb": (raw({}, length=2**62), "truncated"),
    "header over the limit": (raw(b" " * (MAX_HEADER + 1)), "at most"),
    "not json": (raw(b"{nonsense"), "not JSON"),
    "not an object": (raw(b"[1, 2]"), "no JSON object"),
    "not utf-8": (raw(b'{"\xff\xfe": 1}'), "not UTF-8"),
    "deep nesting": (raw(b'{"a":' + b'[' * 100_000 + b']' * 100_000 + b"}"), "deeply"),
    "a million lists": (raw(b'{"a":[' + b"[]," * 10**6 + b"0]}"), "more than"),
    "duplicate name": (raw(b'{"a":%s,"a":%s}' % ((json.dumps(GOOD["a"]).encode(),) * 2),
                           bytes(4)), "'a' twice"),
    "too many tensors": (raw({f"t{n}": tensor(0, 0, (0,)) for n in range(MAX_TENSORS + 300)}),
                         "200000"),
    "overlap": (raw(GOOD | {"b": tensor(2, 6)}, bytes(8)), "invalid offset for tensor `b`"),
    "hole": (raw(GOOD | {"b": tensor(6, 10)}, bytes(10)), "invalid offset for tensor `b`"),
    "trailing bytes": (raw(GOOD, bytes(9)), "not fully covered"),
    "truncated data": (raw(GOOD, bytes(7)), "truncated"),
    "negative offset": (raw({"a": tensor(-4, 0)}, bytes(4)), "expected usize"),
    "reversed offsets": (raw({"a": tensor(4, 0)}, bytes(4)), "invalid offset for tensor `a`"),
    "wrong size": (raw({"a": tensor(0, 4, (2,))}, bytes(4)), "invalid shape, data type, or offset"),
    "negative shape": (raw({"a": tensor(0, 4, (-1, -1))}, bytes(4)), "expected usize"),
    "overflowing shape": (raw({"a": tensor(0, 4, (2**40, 2**40))}, bytes(4)), "overflow"),
    "huge shape times zero": (raw({"a": tensor(0, 0, (2**61, 0))}), "expected dtype, shape"),
    "float shape": (raw({"a": tensor(0, 4, (1.0,))}, bytes(4)), "expected usize"),
    "true as a length": (raw({"a": tensor(0, 4, (True,))}, bytes(4)), "expected usize"),
    "unknown dtype": (raw({"a": tensor(0, 4, dtype="F31")}, bytes(4)), "F31"),
    "missing field": (raw({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)), "missing field"),
    "extra field": (raw({"a": tensor(0, 4) | {"run": "me"}}, bytes(4)), "expected dtype, shape"),
    "metadata of numbers": (raw({"__metadata__": {"a": 1}} | GOOD, bytes(8)), "expected a string"),
    "name that climbs": (raw({"../../etc/x": tensor(0, 4)}, bytes(4)), "not a name"),
    "name with NUL": (raw({"a\0b": tensor(0, 4)}, bytes(4)), "not a name"),
    "lone surrogate": (raw(b'{"\\ud800":%s}' % json.dumps(tensor(0, 4)).encode(), bytes(4)),
                       "not a name"),
    "pickle": (pickle.dumps({"a": 1}) + bytes(64), "pickle"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_with_its_name_and_the_reason(kind, tmp_path):
    data, reason = HOSTILE[kind]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    start = time.process_time()
    with pytest.raises(ValueError, match=reason) as caught:
        open_checkpoint(tmp_path)
    assert str(path) in str(caught.value)
    assert time.process_time() - start < 1


def test_a_file_with_nothing_wrong_is_not_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(raw(GOOD, bytes(8)))
    assert open_checkpoint(tmp_path).shapes == {"a": (1,), "b": (1,)}


def test_a_name_with_a_star_is_a_name(tmp_path):
    save(entries({"encoder.layer.*.inv_freq": np.ones(2, np.float32)}), tmp_path)
    assert open_checkpoint(tmp_path).read("encoder.layer.*.inv_freq").sum() == 2


def canary(tmp_path):
    """A folder to attack from, and another model's weights next to it."""
    for name in ("victim", "model"):
        save(entries({"w": np.ones(3, np.float32)}), tmp_path / name)
    (tmp_path / "model" / "model.safetensors").unlink()
    return tmp_path / "model"


@pytest.mark.parametrize(
    "name",
    [
        "../victim/model.safetensors",
        "/etc/model.safetensors",
        "a/../../victim/model.safetensors",
        "..\\victim\\model.safetensors",
        "x\0.safetensors",
        "model.bin",
        "",
    ],
)
def test_an_index_names_plain_files_only(name, tmp_path):
    folder = canary(tmp_path)
    if name.startswith("/"):
        name = str(tmp_path / "victim" / "model.safetensors")
    index = {"weight_map": {"w": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="not a plain file name"):
        open_checkpoint(folder)


def test_a_link_out_of_the_directory_is_refused(tmp_path):
    folder = canary(tmp_path)
    (folder / "shard.safetensors").symlink_to(tmp_path / "victim" / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map":{"w":"shard.safetensors"}}')
    with pytest.raises(ValueError, match="link that leads out"):
        open_checkpoint(folder)
    (folder / "model.safetensors").symlink_to(tmp_path / "victim" / "model.safetensors")
    with pytest.raises(ValueError, match="link that leads out"):
        open_checkpoint(folder)


def test_the_links_of_the_hubs_cache_are_followed(tmp_path):
    model = tmp_path / "models--some--model"
    save(entries({"w": np.ones(3, np.float32)}), model / "blobs")
    (model / "blobs" / "model.safetensors").rename(model / "blobs" / "abc")
    (model / "snapshots" / "1").mkdir(parents=True)
    (model / "snapshots" / "1" / "model.safetensors").symlink_to("../../blobs/abc")
    assert open_checkpoint(model / "snapshots" / "1").read("w").sum() == 3


def test_the_links_of_a_folder_within_the_hubs_cache_are_followed(tmp_path):
    model = tmp_path / "models--some--model"
    folder = model / "snapshots" / "1" / "0_Transformer"
    folder.mkdir(parents=True)
    (model / "blobs").mkdir()
    (model / "blobs" / "abc").write_text("{}")
    (folder / "tokenizer.json").symlink_to("../../../blobs/abc")
    assert confined(folder / "tokenizer.json", folder) == (model / "blobs" / "abc").resolve()
    (folder / "vocab.txt").symlink_to("../../../../secret")
    with pytest.raises(ValueError, match="link that leads out of its directory"):
        confined(folder / "vocab.txt", folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda i: i["weight_map"].update(l9="model-00001-of-00002.safetensors"), "disagree"),
        (lambda i: i["weight_map"].pop("l0"), "disagree"),
        (lambda i: i["weight_map"].update(l0="model-00002-of-00002.safetensors"), "disagree"),
        (lambda i: i["weight_map"].update(l0="gone.safetensors"), "missing: gone.safetensors"),
        (lambda i: i.pop("weight_map"), "weight_map"),
        (lambda i: i["weight_map"].update(l0=3), "weight_map"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(change, reason, tmp_path):
    save(entries({f"l{i}": np.ones(5, np.float32) for i in range(4)}), tmp_path, max_shard_size=40)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=reason) as caught:
        open_checkpoint(tmp_path)
    assert path.name in str(caught.value)


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_never_opened_and_the_error_says_how_to_convert(tmp_path):
    trap = tmp_path / "trap"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(str(trap))))
    with pytest.raises(ValueError, match="weights_only=True"):
        open_checkpoint(folder)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary(str(trap))))
    with pytest.raises(ValueError, match="pickle"):
        open_checkpoint(folder)
    with zipfile.ZipFile(folder / "model.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary(str(trap))))
    with pytest.raises(ValueError, match="pickle"):
        open_checkpoint(folder)
    assert not trap.exists()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="not a regular file"):
        open_checkpoint(tmp_path)


def test_a_folder_without_weights_is_refused_with_the_expected_files(tmp_path):
    with pytest.raises(ValueError, match=r"neither model.safetensors nor"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no weights; give its directory"):
        open_checkpoint(tmp_path / "config.json")
    with pytest.raises(ValueError, match="does not exist"):
        open_checkpoint(tmp_path / "nothing")
    save(entries({"w": np.ones(3, np.float32)}), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "adapter.safetensors")
    with pytest.raises(ValueError, match=r"give one of its files instead: adapter"):
        open_checkpoint(tmp_path)
    assert open_checkpoint(tmp_path / "adapter.safetensors").shapes == {"w": (3,)}


def test_an_invalid_shard_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'5 apples'"):
        save(entries(MANY), tmp_path, max_shard_size="5 apples")
