"""Tables of pictures: folders, tar shards, Parquet, TFDS; and pictures that are damaged."""

import io
import json
import tarfile
import time

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from tests.data.test_sources import prepare
from transformers_jax.data.damaged import check_pictures
from transformers_jax.data.pictures import Picture, in_column
from transformers_jax.data.tables import hold_out, of_python, open_table, stored
from transformers_jax.data.threads import in_threads


def png(seed):
    """(the bytes of a picture, its pixels)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue(), pixels.transpose(2, 0, 1)


def write(folder, names):
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(seed)[0])
    return folder


def labels(records):
    return [record.get("label") for record in records.records]


def test_the_folders_of_a_folder_are_classes(tmp_path):
    table = open_table(str(write(tmp_path, ["cat/a.png", "cat/b.PNG", "dog/c.png"])), "data.train")
    assert list(table) == ["train"]
    assert labels(table["train"]) == ["cat", "cat", "dog"]
    assert np.array_equal(table["train"].records[2]["image"].read(), png(2)[1])
    by_pattern = open_table(f"{tmp_path}/*/*.png", "data.train")["train"]
    assert labels(by_pattern) == ["cat", "dog"]


def test_folders_that_are_all_splits_are_splits(tmp_path):
    names = ["train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "test/dog/d.png"]
    table = open_table(str(write(tmp_path, names)), "data.train")
    assert {split: labels(rows) for split, rows in table.items()} == {
        "test": ["dog"],
        "train": ["cat", "dog"],
        "validation": ["cat"],
    }
    one = open_table(str(tmp_path / "train"), "data.train")["train"]
    assert labels(one) == ["cat", "dog"]


def test_a_class_may_be_called_train_and_pictures_may_have_no_class(tmp_path):
    table = open_table(str(write(tmp_path / "a", ["train/a.png", "car/test.png"])), "data.train")
    assert labels(table["train"]) == ["car", "train"]
    table = open_table(str(write(tmp_path / "b", ["val1.png", "val2.png"])), "data.train")
    assert labels(table["train"]) == [None, None]
    (tmp_path / "b" / "README.md").write_text("about")
    assert "README.md" in open_table(str(tmp_path / "b"), "data.train")["train"].note
    (tmp_path / "b" / "boxes.csv").write_text("a,b")
    with pytest.raises(ValueError, match=r"beside them .*boxes\.csv.*'FOLDER/\*\*/\*\.jpg'"):
        open_table(str(tmp_path / "b"), "data.train")


# ---------------------------------------------------------------- tar shards


def shard(path, members, mode="w"):
    with tarfile.open(path, mode) as file:
        for name, content in members:
            content = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


SAMPLES = [
    ("x/0001.png", png(1)[0]),
    ("x/0001.cls", "3"),
    ("x/0001.json", json.dumps({"width": 7})),
    ("x/0002.txt", "two\n"),
    ("x/0002.png", png(2)[0]),
]


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")]
)
def test_neighbours_of_one_name_are_a_record(name, mode, tmp_path):
    shard(tmp_path / name, SAMPLES, mode)
    table = open_table(str(tmp_path / name), "data.train")["train"]
    assert len(table) == 2
    first, second = table.records
    assert (first["label"], first["width"], second["text"]) == (3, 7, "two\n")
    assert np.array_equal(first["image"].read(), png(1)[1])
    assert np.array_equal(second["image"].read(), png(2)[1])
    assert table.places[1].endswith("x/0002")
    assert (first["image"].content is None) == (mode == "w")


def test_shards_are_split_by_their_names(tmp_path):
    shard(tmp_path / "train-0.tar", SAMPLES)
    shard(tmp_path / "train-1.tar", SAMPLES[:3])
    shard(tmp_path / "val-0.tar", SAMPLES[3:])
    table = open_table(str(tmp_path), "data.train")
    assert {split: len(rows) for split, rows in table.items()} == {"train": 3, "validation": 1}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([*SAMPLES, ("x/0002.pyd", b"1")], r"x/0002\.pyd is \.pyd; samples"),
        ([("a.png", png(1)[0]), ("a.jpg", png(1)[0])], "two of 'image'"),
        ([("a.cls", "1"), ("a.json", '{"label": 2}')], "has 'label', which another member"),
        ([("a.json", "[1]")], "holds list, not a JSON object"),
        ([], "is empty"),
    ],
)
def test_a_shard_that_is_none_of_pictures_is_refused(members, words, tmp_path):
    shard(tmp_path / "a.tar", members)
    with pytest.raises(ValueError, match=words):
        open_table(str(tmp_path / "a.tar"), "data.train")


def test_a_shard_that_was_cut_off_is_named(tmp_path):
    shard(tmp_path / "a.tar", SAMPLES)
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:3000])
    with pytest.raises(ValueError, match=r"a\.tar is no tar file"):
        open_table(str(tmp_path / "a.tar"), "data.train")


# ---------------------------------------------------------------- data sets


def test_parquet_with_bytes_holds_pictures(tmp_path):
    values = [{"bytes": png(n)[0], "path": f"{n}.png"} for n in range(3)]
    columns = {"image": values, "raw": [png(n)[0] for n in range(3)], "label": [0, 1, 0]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    table = open_table(str(tmp_path / "a.parquet"), "data.train")["train"]
    for number, record in enumerate(table.records):
        for name in ("image", "raw"):
            assert np.array_equal(record[name].read(), png(number)[1])
    assert table.records[2]["image"].name.endswith("row 2, image (2.png)")


def test_pictures_of_pillow_are_pictures():
    opened = Image.open(io.BytesIO(png(4)[0]))
    table = of_python("rows", [{"image": opened, "label": "a"}])
    assert np.array_equal(table.records[0]["image"].read(), png(4)[1])
    with pytest.raises(ValueError, match="neither text nor a picture"):
        of_python("rows", [{"image": b"\xff\xfe\x00"}])


def test_pictures_of_python_are_stored_so_that_a_run_can_be_continued(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMERS_JAX_CACHE", str(tmp_path))
    encoded, pixels = png(1)
    (tmp_path / "a.png").write_bytes(encoded)
    given = [pixels, pixels[0], encoded, Picture("a.png", tmp_path / "a.png")]
    records = of_python("train", [{"image": one} for one in given]).records
    assert all(isinstance(record["image"], Picture) for record in records)
    again = open_table(stored("train", [{"image": one} for one in given]), "train")["train"]
    read = [in_column(record["image"], "here", "image").read() for record in again.records]
    for number in (0, 2, 3):
        assert np.array_equal(read[number], pixels)
    assert np.array_equal(read[1], np.tile(pixels[:1], (3, 1, 1)))
    assert again.records[3]["image"] == str(tmp_path / "a.png")
    with pytest.raises(TypeError, match="a record holds object, for which JSON has no word"):
        stored("train", [{"image": object()}])


def test_pictures_of_tfds_need_no_tensorflow(tmp_path, monkeypatch):
    import sys

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for seed in range(3):
        (tmp_path / f"{seed}.png").write_bytes(png(seed)[0])
    rows = [{"image": str(tmp_path / f"{n}.png"), "label": n % 2} for n in range(3)]
    features = lambda f: {"image": f.Image(), "label": f.ClassLabel(names=["no", "yes"])}
    prepare(tmp_path, features, rows)
    table = open_table("tfds:small", "data.train")["train"]
    assert table.classes == {"label": ("no", "yes")}
    made = {record["image"].read().tobytes(): record["label"] for record in table.records}
    assert made == {png(n)[1].tobytes(): ("no", "yes")[n % 2] for n in range(3)}
    assert "tensorflow" not in sys.modules


# ---------------------------------------------------------------- damage, and what is held out


def test_damaged_pictures_are_named_and_counted(tmp_path):
    write(tmp_path, [f"cat/{n}.png" for n in range(9)])
    whole = (tmp_path / "cat/3.png").read_bytes()
    (tmp_path / "cat/3.png").write_bytes(whole[:60])
    (tmp_path / "cat/5.png").write_bytes(b"")
    table = open_table(str(tmp_path), "data.train")["train"]
    with pytest.raises(ValueError, match=r"2 of 9 pictures .*3\.png.*5\.png.*'skip'"):
        check_pictures(table, "image")
    kept, wrong = check_pictures(table, "image", "skip")
    assert len(kept) == 7
    assert len(wrong) == 2
    assert "left out, 2 of 9 pictures cannot be read" in kept.note
    assert check_pictures(kept, "image") == (kept, [])
    with pytest.raises(ValueError, match="expected 'error' or 'skip'"):
        check_pictures(table, "image", "drop")
    with pytest.raises(ValueError, match="holds str, not a picture"):
        check_pictures(table, "label")


def test_threads_keep_the_order_and_give_the_first_error():
    done = []

    def read(number):
        time.sleep(0.002 * (number % 3))
        done.append(number)
        if number in (5, 7):
            raise ValueError(f"number {number}")
        return number

    assert in_threads(read, range(5)) == [*range(5)]
    done.clear()
    with pytest.raises(ValueError, match="number 5"):
        in_threads(read, range(500))
    assert len(done) < 100


def test_equal_pictures_are_held_out_together(tmp_path):
    folder = write(tmp_path, [f"cat/{n}.png" for n in range(20)])
    for n in range(20):
        (folder / f"cat/copy{n}.png").write_bytes(png(n)[0])
    parts = hold_out(open_table(str(folder), "data.train")["train"], 0.3)
    held = [{str(record["image"]) for record in rows.records} for rows in parts.values()]
    assert sum(map(len, held)) == 20
    assert not held[0] & held[1]
