"""What a run would be and cost, without a run."""

import dataclasses
from pathlib import Path

import pytest

from transformers_jax.runs.dry_run import dry_run
from transformers_jax.runs.fit import fit
from transformers_jax.runs.pretrain import main
from transformers_jax.training.config import load, to_dict
from transformers_jax.training.metrics import read
from transformers_jax.training.provenance import read_run


def test_a_dry_run_says_what_the_run_then_is_and_makes_nothing(small, without_pictures):
    found = dry_run(small)
    assert not Path(small.out).exists()
    assert fit(small).exit_code == 0
    run, last = read_run(Path(small.out)), read(Path(small.out) / "metrics.jsonl")[-1]
    assert to_dict(found.config) == to_dict(load(small.out))  # the vocabulary is known in both
    assert found.model.parameter_count == run["parameters"]
    assert (found.tokens_per_step, found.flops_per_step) == (
        *(run["tokens_per_step"],),
        run["flops_per_step"],
    )
    assert found.tokens == last["tokens"]
    assert found.flops == pytest.approx(last["flops"])
    four_bytes = 3 * 4 * run["parameters"]  # parameters and both moments of Adam
    assert found.memory.state >= four_bytes
    assert found.checkpoint >= four_bytes
    larger = small.replace(steps=9, data=dataclasses.replace(small.data, batch=64))
    again = dry_run(larger.replace(allow_change=("data.batch", "data")))
    assert again.start == 6
    assert found.memory.temporary < again.memory.temporary
    assert f"{run['parameters']:,} parameters" in str(found)


def test_a_dry_run_is_refused_as_the_run_would_be(small, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"longer than model\.n_positions"):
        dry_run(small.replace(data=dataclasses.replace(small.data, length=64)))
    out = tmp_path / "run"
    assert main(["configs/gpt2_124m.py", "--dry-run", f"--out={out}"]) == 1
    assert "'train.bin' is not a file; pass --data.path" in capsys.readouterr().err
    assert main(["configs/nano.py", "--dry-run", "--sweep", "seed=1,2"]) == 1
    assert "--dry-run is of one run" in capsys.readouterr().err
    assert not out.exists()


def test_configs_without_a_text_of_their_own_name_the_flag(tmp_path, capsys):
    paths = [path for path in Path("configs").glob("*.py") if "data.path" in path.read_text()]
    assert len(paths) >= 10
    for path in paths:
        assert main([str(path), f"--out={tmp_path / 'run'}"]) == 1
        assert "--data.path" in capsys.readouterr().err, path
