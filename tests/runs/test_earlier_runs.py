"""Runs that earlier releases have begun go on; see make_earlier_run.py."""

import json
import shutil
from pathlib import Path

import pytest

from tests.runs.make_earlier_run import TEXT, make_config
from transformers_jax.data.config import Data
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.texts import RULES
from transformers_jax.runs.fit import fit
from transformers_jax.training import config as configs
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.folder import check_same_run, with_added
from transformers_jax.training.metrics import read
from transformers_jax.training.recorded import read_record
from transformers_jax.training.resolve import _read_corpus

EARLIER = sorted((Path(__file__).parent / "earlier").iterdir())


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("stored", EARLIER, ids=lambda path: path.name)
def test_the_run_of_an_earlier_release_goes_on(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stored, "run")
    Path("text.txt").write_text(TEXT)
    own = configs.load("run")
    assert own == configs.from_dict(
        {**configs.to_dict(make_config(2)), "model": own.model.to_dict()}
    )
    fit(own.replace(steps=3))
    assert json.loads(Path("run/config.json").read_text())["format"] == configs.FORMAT
    lines = read("run/metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3]
    for name, value in json.loads((stored / "next.json").read_text()).items():
        assert lines[-1][name] == pytest.approx(value, rel=1e-4), name


def test_a_run_reads_what_it_read_by_the_rules_of_its_version(tmp_path):
    """A folder that is now split, or refused, and documents that are now cut."""
    for name in ("train.txt", "validation.txt", "README.md"):
        (tmp_path / name).write_text(f"text of {name} " * 20)
    config = TrainConfig(data=Data(path=str(tmp_path), tokenizer="byte"))
    roles = config.objective.learned_roles(False)
    begun = {rules: load_corpus(config.text, roles=roles, rules=rules) for rules in (2, RULES)}
    assert len({corpus.fingerprint for corpus in begun.values()}) == 2
    for more in ("", "more.txt"):
        if more:
            (tmp_path / more).write_text("more text")
            begun = {rules: load_corpus(config.text, roles=roles, rules=rules) for rules in (2,)}
        for corpus in begun.values():
            again = _read_corpus(config, None, {"data": corpus.fingerprint})
            assert again.fingerprint == corpus.fingerprint
    with pytest.raises(ValueError, match="holds splits"):  # which are none of the run's
        _read_corpus(config, None, {"data": "another"})


SAVED = read_record(EARLIER[-1] / "checkpoints" / "2")


def known(config):
    return config.replace(model=configs.load(EARLIER[-1]).model)


def test_a_setting_that_was_added_is_what_was_before_unless_it_is_set():
    """As if a release ago there had been no clip, no z and no eps."""
    config, added = known(make_config(3)), ("clip", "loss.z", "optimizer.eps", "data.window")
    saved = {**SAVED, "identity": {k: v for k, v in SAVED["identity"].items() if k not in added}}
    check_same_run(config, SAVED["data"], saved)
    with pytest.raises(ValueError, match=r"another run: clip was 1\.0 and is 2\.0"):
        check_same_run(config.replace(clip=2.0), SAVED["data"], saved)
    with pytest.raises(ValueError, match="seed was 0 and is 1"):  # the control
        check_same_run(config.replace(seed=1), SAVED["data"], saved)


@pytest.mark.parametrize("start", ["loss", "optimizer.schedule"])
def test_a_record_that_was_added_is_its_default(start):
    config = known(make_config(3))
    before = {k: v for k, v in SAVED["identity"].items() if not k.startswith(f"{start}.")}
    default = {
        "loss": SAVED["identity"],
        "optimizer.schedule": {**SAVED["identity"], "optimizer.schedule.warmup": 100},
    }
    assert with_added(before, config).items() >= default[start].items()
