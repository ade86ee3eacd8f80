"""Errors in a config are reported before the first step."""

import contextlib
import dataclasses
import pkgutil
from pathlib import Path

import pytest
from jax.sharding import AbstractMesh, AxisType

import transformers_jax as tj
from transformers_jax.objectives import MaskedLM, SpanCorruption
from transformers_jax.optim import AdamW
from transformers_jax.runs.dry_run import dry_run
from transformers_jax.runs.fit import fit, snake_case
from transformers_jax.training.config import MeshShape, at_stage
from transformers_jax.training.devices import check_batch
from transformers_jax.training.passes import rows_of_steps, steps_of


def test_a_batch_that_does_not_divide_is_refused_with_its_neighbours():
    mesh = AbstractMesh((2, 2, 1), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    with pytest.raises(ValueError, match=r"data.batch \(6\).*\(4\).*the nearest are 4 and 8"):
        check_batch(6, 1, mesh)
    with pytest.raises(ValueError, match=r"= 8; the nearest are 8 and 16"):
        check_batch(12, 2, mesh)
    check_batch(8, 2, mesh)


def changed(config, **changes):
    return config.replace(data=dataclasses.replace(config.data, **changes))


@contextlib.contextmanager
def refused(config, message):
    """Within this a run is refused, and leaves nothing: neither a folder nor the one around it."""
    folder = Path(config.out).parent / "runs" / "a"
    with pytest.raises(ValueError, match=message):
        yield config.replace(out=str(folder))
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 33}, "data.length: rows of 33 are longer than model.n_positions .32."),
        ({"batch": 2000}, "fewer than one batch of 2000; lower --data.batch"),
        ({"eval_fraction": 0.0001}, "evaluation ids are fewer than one row"),
        ({"mixture": ("python_docs=0.5", "README.md=0.4")}, "sum to 0.9"),
        ({"mixture": ("python_docs=0.5", "README.md")}, "1 of 2 sources a share"),
        ({"eval_sets": ("other",)}, "NAME=PATH"),
        ({"eval_sets": ("final=README.md",)}, "'final' is what the batches of the end"),
        ({"target_length": 9}, "CausalLM has one"),
    ],
)
def test_invalid_settings_of_the_data_are_reported(small, changes, message):
    with refused(small, message) as config:
        fit(changed(config, **changes))


ABSENT = {"wandb", "trackio"} - {m.name for m in pkgutil.iter_modules()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mesh": MeshShape(data=64)}, "needs 64 devices"),
        ({"model": tj.BertConfig(num_hidden_layers=1, vocab_size=256)}, "would learn to copy"),
        ({"objective": SpanCorruption()}, "head 'seq2seq_lm'"),
        ({"optimizer": AdamW(freeze=("nothing.*",))}, "nothing"),
        ({"accumulate": 3}, "the nearest are 3 and 6"),
        *(({"trackers": (name,)}, f"needs the package {name}") for name in sorted(ABSENT)),
    ],
)
def test_a_start_that_is_refused_leaves_no_folder(small, changes, message):
    with refused(small, message) as config:
        fit(config.replace(**changes))


def test_a_full_disk_is_found_before_anything_is_written(small, monkeypatch):
    monkeypatch.setattr("transformers_jax.training.disk.free", lambda folder: 10)
    with refused(small, "free") as config:
        fit(config)


def test_missing_special_tokens_of_an_objective_are_reported(small, tmp_path):
    ids = tmp_path / "ids.bin"
    ids.write_bytes(bytes([1, 0, 2, 0]) * 2000)
    config = changed(small, path=str(ids), tokenizer="none").replace(objective=MaskedLM())
    with pytest.raises(ValueError, match="MaskedLM needs the special token"):
        fit(config.replace(model=tj.BertConfig(num_hidden_layers=1, hidden_size=12)))


def test_a_model_without_the_head_of_the_objective_is_reported(small):
    with pytest.raises(ValueError, match="seq2seq_lm"):
        fit(changed(small, length=16).replace(objective=SpanCorruption()))


def test_names_of_records_in_the_report():
    assert [snake_case(n) for n in ("MaskedLM", "UL2", "FillInTheMiddle")] == [
        "masked_lm", "ul2", "fill_in_the_middle"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"vocab": 0}}, r"loss.vocab \(0\) must be at least 1"),
        ({"loss": {"vocab": -5}}, r"loss.vocab \(-5\) must be at least 1"),
        ({"loss": {"chunk": -1}}, r"loss.chunk \(-1\) must be at least 0"),
        ({"loss": {"vocab": 100}}, r"loss.vocab \(100\) must be from 256"),
        ({"loss": {"vocab": 10**6}}, r"loss.vocab \(1,000,000\) must be from 256.* to 256"),
        ({"data": {"eval_sets": ("final=README.md",)}}, "'final' is what the batches of the end"),
        ({"data": {"eval_fraction": 0.0001}}, "evaluation ids are fewer than one row"),
        ({"steps": 10**30}, r"steps \(10+\) must be at most 2\^31 - 1"),
        ({"steps": 2**40}, r"must be at most 2\^31 - 1"),
        ({"schedule_steps": 2**31}, r"schedule_steps \(2147483648\) must be at most 2\^31 - 1"),
        ({"epochs": 10**18}, r"epochs \(10+\) are more steps than a run may have"),
        ({"epochs": 2 * 10**7}, r"epochs \(20000000\) are [\d,]+ steps; at most"),
    ],
)
@pytest.mark.parametrize("ask", [fit, dry_run])
def test_a_start_and_a_dry_run_refuse_the_same_and_make_nothing(small, changes, message, ask):
    with refused(small, message) as config:
        records = {
            name: dataclasses.replace(getattr(config, name), **value)
            for name, value in changes.items()
            if isinstance(value, dict)
        }
        ask(config.replace(**{**changes, **records}))


@pytest.mark.parametrize("out", ["", "a\0b", "x" * 300, "README.md", "docs"])
@pytest.mark.parametrize("ask", [fit, dry_run])
def test_a_start_and_a_dry_run_refuse_the_same_folders(small, out, ask):
    with pytest.raises(ValueError, match=r"no folder|cannot make the folder|is not empty"):
        ask(small.replace(out=out, resume="never"))


@pytest.mark.parametrize("stages", [(), ((2, 3),), ((2, 3), (5, 1)), ((1, 7), (2, 2))])
def test_steps_and_rows_of_stages_are_those_of_a_loop(small, stages):
    config = small.replace(batch_warmup=stages)
    rows = [at_stage(stages, step, small.data.batch) for step in range(40)]
    for steps in (1, 2, 3, 6, 40):
        assert rows_of_steps(config.replace(steps=steps)) == sum(rows[:steps])
    for limit in range(1, 60):
        expected = next(n for n in range(41) if sum(rows[:n]) >= limit)
        assert steps_of(config, [limit]) == expected


@pytest.mark.parametrize("stages", [(), ((2, 3),), ((3, 7), (5, 2))])
def test_batches_that_end_with_a_window_are_steps_of_their_own(small, stages):
    """Rows in buckets: no batch holds rows of two windows, so that some are smaller."""
    config = small.replace(batch_warmup=stages)
    for groups in ([9], [9, 1], [8, 8, 3] * 2, [1] * 5):
        steps, left = 0, list(groups)
        while left:
            left[0] -= at_stage(stages, steps, config.data.batch)
            left, steps = (left if left[0] > 0 else left[1:]), steps + 1
        assert steps_of(config, groups) == steps
    assert steps_of(small, [1] * 5) > steps_of(small, [5])  # the control
