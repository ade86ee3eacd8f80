"""A run that is killed while it writes any of its files is gone on with by the same command.

A kill leaves the folder as it was between two calls of the system, or in the midst of one: the
folder is copied at each call of a whole run that writes into it, with the file that was written
last once as it is and once cut. From each copy the same config goes on, to the same bits. Arrays
are written by TensorStore, whose calls Python does not see: real processes are killed at random
moments in tests/training/test_survival.py.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from transformers_jax.runs.fit import fit
from transformers_jax.training.config import Evaluation
from transformers_jax.training.metrics import read

CALLS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Recorder:
    """Copies a folder before each call that writes into it. Python's audit hooks stay for good, so
    that there is one, which does nothing without a recorder."""

    current = None

    def __init__(self, folder, copies):
        self.folder, self.copies, self.calls = folder, copies, []
        self.names, self.seen = [], set()  # of each copy: what was about to happen, its contents
        self.sizes = {}  # of the files that were opened to write: when they were looked at last
        self.busy = None
        self.lock = threading.RLock()

    def before(self, event, arguments):
        if event not in CALLS or self.busy == threading.get_ident():
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        paths = [Path(os.fsdecode(x)) for x in arguments[:2] if isinstance(x, (str, bytes, Path))]
        inside = [path for path in paths if path.is_relative_to(self.folder)]
        if not inside:
            return
        with self.lock:
            self.busy = threading.get_ident()
            try:
                self.copy(event, inside[0])
            finally:
                self.busy = None

    def copy(self, event, path):
        call = f"{event} {path.relative_to(self.folder)}"
        self.calls.append(call)
        self.keep(call)
        for file, before in list(self.sizes.items()):  # what was written since is cut
            size = file.stat().st_size if file.is_file() else 0
            if size > before:
                self.keep(f"half of {file.relative_to(self.folder)}", file, (before + size) // 2)
            self.sizes[file] = size
        if event == "open":
            self.sizes.setdefault(path, 0)

    def keep(self, what, cut=None, size=0):
        target = self.copies / str(len(self.names))
        with contextlib.suppress(shutil.Error, OSError):  # another thread removed a file meanwhile
            shutil.copytree(self.folder, target, ignore=shutil.ignore_patterns(".lock"))
            if cut is not None:
                os.truncate(target / cut.relative_to(self.folder), size)
            digest = hashlib.sha256()
            for file in sorted(target.rglob("*")):
                digest.update(str(file.relative_to(target)).encode())
                digest.update(file.read_bytes() if file.is_file() else b"")
            if digest.digest() not in self.seen:
                self.seen.add(digest.digest())
                self.names.append(what)
                return
        shutil.rmtree(target, ignore_errors=True)


def hook(event, arguments):
    if Recorder.current is not None:
        Recorder.current.before(event, arguments)


@pytest.fixture(scope="module")
def killed(text_file, tmp_path_factory, without_pictures):
    """(config, folder of the run that nothing happened to, what was copied)."""
    from tests.training.conftest import small as make

    home = tmp_path_factory.mktemp("killed")
    config = make.__wrapped__(text_file, home).replace(
        steps=3, schedule_steps=3, save_every=1, keep=2, keep_best=True,
        evaluation=Evaluation(every=2, batches=1),
    )  # fmt: skip
    (home / "copies").mkdir()
    recorder = Recorder(Path(config.out), home / "copies")
    sys.addaudithook(hook)
    Recorder.current = recorder
    try:
        fit(config)
    finally:
        Recorder.current = None
    return config, Path(config.out), recorder


def goes_on(killed, number):
    """Whether the same config goes on from a copy, to the same losses and the same model."""
    config, whole, recorder = killed
    names, folder = recorder.names, recorder.copies / str(number)
    fit(config.replace(out=str(folder)))
    for file in ("tokenizer.json", "model/model.safetensors", "model/config.json"):
        same = (folder / file).read_bytes() == (whole / file).read_bytes()
        assert same, f"{file} after a kill before {names[number]}"
    figures = lambda run: [(line["step"], line["loss_hex"]) for line in read(run / "metrics.jsonl")]
    assert figures(folder) == figures(whole), names[number]
    left = [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
    assert not left, f"{left} after a kill before {names[number]}"
    shutil.rmtree(folder)


def test_every_file_of_a_run_is_among_those_whose_writing_was_cut_short(killed):
    _, whole, recorder = killed
    calls, names = "\n".join(recorder.calls), "\n".join(recorder.names)
    for path in (*whole.iterdir(), *(whole / "model").iterdir()):
        if path.is_file() and path.name != ".lock":
            assert f"open {path.relative_to(whole)}" in calls or f".{path.name}." in calls, path
    for path in (whole / "checkpoints").iterdir():
        assert f"os.rename checkpoints/{path.name}.orbax-checkpoint-tmp" in calls
    for name in ("metrics.jsonl", ".tokenizer.json.", ".run.json.", "model/.model.safetensors."):
        assert f"half of {name}" in names


@pytest.mark.parametrize("share", [0.1, 0.35, 0.6, 0.85])
def test_a_kill_at_a_write_leaves_a_folder_that_goes_on(killed, share):
    goes_on(killed, round(share * (len(killed[2].names) - 1)))


@pytest.mark.slow
def test_a_kill_at_any_write_leaves_a_folder_that_goes_on(killed):
    """All states in an order that halves the gaps between those that were tried, for 40 seconds."""
    count, until, tried = len(killed[2].names), time.monotonic() + 40, set()
    shares = [0.0, 0.1, 0.35, 0.6, 0.85]
    tried |= {round(share * (count - 1)) for share in shares[1:]}
    gap = 1.0
    while time.monotonic() < until and gap * count > 0.5:
        gap /= 2
        for place in range(1, round(1 / gap) + 1, 2):
            number = min(count - 1, int(place * gap * count))
            if number not in tried and time.monotonic() < until:
                tried.add(number)
                goes_on(killed, number)
    assert len(tried) > 10
