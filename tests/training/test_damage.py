"""A damaged checkpoint is refused or proven equal; every format and every mesh reads the same."""

import dataclasses
import json
import re
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.states import damage, newest, same, state, write
from transformers_jax import cli
from transformers_jax.json_files import with_digest
from transformers_jax.training import recorded, snapshot
from transformers_jax.training.checkpoint import Checkpoints, checksums
from transformers_jax.training.recorded import find_steps, read_record, verify_step


@pytest.fixture
def saved(tmp_path):
    return write(tmp_path / "c")


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def two(tmp_path):
    """Steps 4 and 6, and a function that restores step 6."""
    folder = tmp_path / "c"
    checkpoints = Checkpoints(folder)
    for step in (4, 6):
        checkpoints.save(state(step), {"note": step})
    checkpoints.close()
    shutil.copytree(folder / "6", tmp_path / "whole")

    def restore():
        for name in ("6", "6.damaged"):
            shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder / "6")

    return folder, restore


def equal_or_refused(folder):
    """ "equal" or "refused" of what is read after damage; an assertion fails where it is silent."""
    command = all(leaf.good for leaf in verify_step(folder / "6").values())
    (restored, meta), messages, _ = newest(folder)
    assert (meta["step"] == 6) == command  # what the command calls ok, and that alone, goes on
    assert not re.search(r"zarr|tensorstore|Error|Errno", "".join(messages)), messages
    if meta["step"] == 6:
        assert same(restored, state(6))
        assert meta["note"] == 6
        return "equal"
    assert same(restored, state(4))
    assert len(messages) == 1
    return "refused"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of orbax
def test_no_flipped_bit_in_any_file_is_read_silently(two):
    folder, restore = two
    generator = np.random.default_rng(0)
    outcomes = []
    for number in range(50):
        restore()
        all_files = files(folder / "6")
        file = all_files[number % len(all_files)]
        content = bytearray(file.read_bytes())
        bit = int(generator.integers(8 * len(content)))
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)
        outcomes.append(equal_or_refused(folder))
    assert outcomes.count("refused") >= 10  # the control: it is damage
    assert len(outcomes) == 50


@pytest.mark.parametrize("word", ["np.ndarray", "value_type", "skip_deserialize", "params", "2"])
def test_the_list_of_arrays_is_read_by_the_command_as_by_a_run(two, word):
    """Of which neither needs the kinds of the leaves: a run says itself what it reads."""
    folder, restore = two
    file = folder / "6" / "state" / "_METADATA"
    outcomes = []
    for bit in range(0, 8 * len(word), 3):
        restore()
        content = bytearray(file.read_bytes())
        content[content.index(word.encode()) + bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)
        outcomes.append(equal_or_refused(folder))
    assert ("equal" if word == "np.ndarray" else "refused") in outcomes


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of orbax
@pytest.mark.parametrize("kind", ["truncated", "deleted", "zeroed"])
def test_no_file_can_be_lost_silently(two, kind):
    folder, restore = two
    outcomes = []
    for name in [path.relative_to(folder) for path in files(folder / "6")]:
        restore()
        file = folder / name
        if kind == "deleted":
            file.unlink()
        else:
            content = file.read_bytes()
            file.write_bytes(content[:-1] if kind == "truncated" else bytes(len(content)))
        outcomes.append(equal_or_refused(folder))
    assert "refused" in outcomes


def test_a_changed_metadata_file_is_detected(saved):
    file = saved / "6" / "meta" / "metadata"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "note": 7}))
    restored, messages, _ = newest(saved)
    assert restored[1]["step"] == 4
    assert "meta/metadata changed on disk" in messages[0]


def test_a_damaged_step_is_moved_aside_for_inspection(saved):
    damage(saved, 6)
    newest(saved)
    assert (saved / "6.damaged").is_dir()
    assert newest(saved)[1] == []
    checkpoints = Checkpoints(saved)
    checkpoints.save(state(6), {})
    checkpoints.wait()
    assert checkpoints.steps() == [4, 6]


@pytest.mark.parametrize("name", ["[glob]*", "a%20b #1; c?", "back\\slash {~} ü"])
def test_folders_of_any_name_are_written_and_read(name, tmp_path):
    folder = write(tmp_path / name / "c", steps=(2, 4))
    restored, messages, steps = newest(folder)
    assert same(restored[0], state(4))
    assert (messages, steps) == ([], [2, 4])
    for step in steps:
        assert set(verdicts(folder, step).values()) == {"ok"}
    damage(folder, 4)
    assert verdicts(folder, 4)["params.w"] == "changed"


def test_a_step_that_is_written_or_removed_meanwhile_is_not_called_damaged(saved, monkeypatch):
    step = saved / "8.orbax-checkpoint-tmp"
    (step / "state").mkdir(parents=True)
    assert [path.name for path in find_steps(saved)] == ["4", "6"]
    with pytest.raises(ValueError, match="is being written, or its writing was interrupted"):
        find_steps(step)
    monkeypatch.setattr(recorded, "read_record", lambda path: (shutil.rmtree(path), read(path))[1])
    read = read_record
    assert verify_step(saved / "4") is None  # an older one, that the run has removed


def verdicts(folder, step):
    return {name: leaf.verdict for name, leaf in verify_step(folder / str(step)).items()}


def test_every_leaf_has_a_verdict_without_a_model(saved):
    assert set(verdicts(saved, 6).values()) == {"ok"}
    assert {"params.w", "opt.0.mu", "step", "key", "skipped"} <= set(verdicts(saved, 6))
    damage(saved, 6)
    after = verdicts(saved, 6)
    assert {name for name, verdict in after.items() if verdict != "ok"} == {"params.w"}
    shutil.rmtree(saved / "6" / "state")
    assert all(x.startswith("unreadable: ") for x in verdicts(saved, 6).values())
    (saved / "6" / "meta" / "metadata").unlink()
    assert list(verdicts(saved, 6)) == ["meta"]
    assert [path.name for path in find_steps(saved)] == ["4", "6"]
    assert find_steps(saved.parent / "c" / "4") == [saved / "4"]


# ---------------------------------------------------------------- formats, models, meshes


def rewrite(folder, change):
    file = folder / "meta" / "metadata"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(change(record)))


def test_the_first_format_is_read_and_a_later_one_is_refused_by_name(saved):
    import orbax.checkpoint as ocp

    checkpoints, old = Checkpoints(saved), snapshot.plain(state(6))
    del old["skipped"]
    sums = {name: int(value) for name, value in checksums(old).items()}
    meta = {"format": 1, "step": 8, "checksums": sums}
    what = ocp.args.Composite(state=ocp.args.StandardSave(old), meta=ocp.args.JsonSave(meta))
    checkpoints._handler.save(saved / "8", args=what)
    (restored, meta), messages, _ = newest(saved)
    assert (same(restored, state(6)), meta["format"], messages) == (True, 1, [])
    shutil.rmtree(saved / "8")

    def later(record):
        del record["digest"]
        return with_digest({**record, "format": 9})

    rewrite(saved / "4", later)
    with pytest.raises(ValueError, match=r"is of format 9, and this version reads 1, 2; continue"):
        checkpoints.meta(4)
    shutil.rmtree(saved / "6")
    with pytest.raises(ValueError, match="is of format 9"):
        newest(saved)
    assert (saved / "4").exists()


def test_a_different_model_is_reported_by_its_leaves_and_not_as_damage(saved):
    like = dataclasses.replace(state(0), params={"w": jnp.zeros((64, 127)), "c": jnp.zeros(5)})
    with pytest.raises(ValueError, match="of another model") as caught:
        Checkpoints(saved).newest(like, strict=False, say=print)
    for words in (
        "params.w was float32[64,128] and is float32[64,127]",
        "params.b was float32[5] and is not there",
        "params.c was not there and is float32[5]",
    ):
        assert words in str(caught.value)
    assert Checkpoints(saved).steps() == [4, 6]


MESHES = """
    import sys, numpy as np, jax, jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec as P
    from transformers_jax.training.checkpoint import Checkpoints
    from transformers_jax.training.recorded import verify_step
    from transformers_jax.training.state import TrainState

    numbers = np.random.default_rng(0).integers(0, 2**30, (64, 128), np.int32).view(np.float32)
    shapes = {"one": (1, 1), "two": (2, 1), "eight": (8, 1), "both": (2, 4)}

    def make_state(shape, step):
        mesh = jax.make_mesh(shape, ("fsdp", "tensor"), devices=jax.devices()[:np.prod(shape)])
        place = lambda x, *axes: jax.device_put(x, NamedSharding(mesh, P(*axes)))
        params = {"w": place(numbers, "fsdp", "tensor"), "b": place(numbers[0])}
        moments = {"mu": place(numbers.T, "tensor", "fsdp")}
        return TrainState(place(jnp.int32(step)), params, moments, place(jax.random.key(3)),
                          place(jnp.int32(0)))

    for number, (name, shape) in enumerate(shapes.items(), 1):
        checkpoints = Checkpoints(sys.argv[1], keep=9)
        checkpoints.save(make_state(shape, number), {})
        checkpoints.close()
    for number in range(1, 5):
        for name, shape in shapes.items():
            like = make_state(shape, 0)
            restored = checkpoints.restore(number, like)
            assert restored.params["w"].sharding == like.params["w"].sharding
            assert restored.params["w"].addressable_shards[0].data.size * np.prod(shape) == 64 * 128
            for x, y in ((restored.params["w"], numbers), (restored.opt["mu"], numbers.T)):
                assert np.asarray(x).tobytes() == y.tobytes(), (number, name)
            assert int(restored.step) == number
    print("equal", {leaf.verdict for leaf in verify_step(checkpoints.folder / "4").values()})
"""


def test_every_mesh_restores_what_every_mesh_saved_bit_by_bit(on_eight_devices, tmp_path):
    done = on_eight_devices(MESHES, tmp_path)
    assert done.stdout.split() == ["equal", "{'ok'}"]


def test_the_command_prints_a_verdict_on_every_step_and_sets_its_status(saved, capsys):
    run = saved.parent
    saved.rename(run / "checkpoints")
    assert cli.run(["check-checkpoint", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in lines] == ["ok, 7 leaves compared"] * 2
    assert cli.run(["check-checkpoint", str(run), "--all"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r" ok$", out, re.MULTILINE)) == 2 * 7
    assert re.search(r"params\.w +float32\[64,128\] +ok", out)
    damage(run / "checkpoints", 6)
    with pytest.raises(ValueError, match="step 6 is damaged"):
        cli.run(["check-checkpoint", str(run)])
    assert re.findall(r"^  (params\.w) .* changed$", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(ValueError, match="step 6 is damaged"):
        cli.run(["check-checkpoint", str(run), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["4"]["params.w"]["verdict"] == "ok"
    assert printed["6"]["params.w"] == {
        "shape": [64, 128],
        "dtype": "float32",
        "verdict": "changed",
    }
    assert cli.run(["check-checkpoint", str(run / "checkpoints" / "4")]) == 0
    with pytest.raises(ValueError, match="does not exist"):
        cli.run(["check-checkpoint", str(run / "nothing")])
