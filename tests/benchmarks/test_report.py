"""The benchmarks refuse sides that disagree, and report what they measured."""

from __future__ import annotations

import numpy as np
import pytest

import transformers_jax as tj
from benchmarks import bucketing, checkpoints, report, timed
from benchmarks.cases import all_cases, module_of
from transformers_jax.models import load_config
from transformers_jax.models.base import Plan


def figures(**changes):
    result = timed.Result("train nano", "tokens/s")
    result.rates = {"ours": 300.0, "eager": 100.0, "compiled": 150.0}
    result.ratios = {"ours": [1.0] * 3, "eager": [3.0] * 3, "compiled": [1.5, 2.0, 4.0]}
    result.cpu = {"ours": 1.0, "eager": 1.25, "compiled": 1.75}
    return {**vars(result), "best": result.best, "ratio": result.ratio, **changes}


def entry(**changes):
    about = {"machine": "a box", "torch": "2"}
    return {"figures": figures(**changes), "when": "2026-01-02 03:04", "load": 0.5, "about": about}


def test_ratio_is_the_median_pair_against_the_faster_side():
    assert (figures()["best"], figures()["ratio"]) == ("compiled", 2.0)


def test_sides_that_agree_are_timed_and_others_refused():
    assert timed.difference({"ours": [2.0, 1.0], "eager": [2.0, 1.001]}) == pytest.approx(5e-4)
    with pytest.raises(RuntimeError, match="eager answers"):
        timed.difference({"ours": [2.0, 1.0], "eager": [2.0, 1.1]})
    assert timed.difference({"ours": [], "eager": []}) == 0  # of tokens that are drawn
    assert timed.difference({"ours": [0.0], "eager": [0.0]}) == 0
    for wrong in (1.0, np.nan):
        with pytest.raises(RuntimeError):
            timed.difference({"ours": [0.0], "eager": [wrong]})


def test_report_names_what_ran_and_what_did_not():
    text = report.text(
        {"train nano": {"all cores": entry(failed={"sdpa": "no memory"}), "one core": entry()}},
        all_cases(),
    )
    assert "| **2.00** (1.50-4.00) | **1.25** |" in text
    assert "- train nano, sdpa: no memory" in text
    assert "has not been run" in text


def test_unknown_case_is_refused_with_the_known_ones():
    assert module_of("train nano").UNIT == "tokens/s"
    with pytest.raises(ValueError, match="there are train nano"):
        module_of("train micro")


def loads(**changes):
    usage = {"wall": 2.0, "cpu": 1.0, "peak": 3 * 2**20, "own": 2**20, "parameters": 7.0}
    usage |= {"returned wall": 0.5, "returned cpu": 0.25}
    return {
        "ours": [usage] * 3,
        "PyTorch": [{**usage, "wall": wall} | changes for wall in (1, 2, 4)],
    }


def test_loading_is_compared_round_by_round_and_only_of_the_same_bytes():
    figures = checkpoints.summary(loads()) | {"file": 5 * 2**20, "shards": 2}
    assert figures["ratios"]["wall"] == [0.5, 1.0, 2.0]
    text = report.text({"load t5-3b": {"all cores": {**entry(), "figures": figures}}}, [])
    assert "| t5-3b | 5 MiB in 2 | all is read | 2.00 s (1.00 s CPU) | 2.00 s" in text
    assert "| t5-3b | 5 MiB in 2 | it returns | 0.50 s (0.25 s CPU) | 0.50 s" in text
    assert "**1.00** (0.50-2.00)" in text
    with pytest.raises(RuntimeError, match="did not load the same"):
        checkpoints.summary(loads(parameters=8.0))


@pytest.mark.parametrize("name", checkpoints.LOADS)
def test_a_checkpoint_is_written_without_a_model_and_loads(name, tmp_path):
    setting = checkpoints.tiny(checkpoints.LOADS[name])
    checkpoints.write(setting | ({"shards": "2KB"} if "shards" in setting else {}), tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == (3 if "shards" in setting else 1)
    model = tj.from_pretrained(tmp_path, dtype="auto")
    assert model.dtype == setting["dtype"]
    assert model.plan.head == setting["head"]


SIZED = [case for case in all_cases() if "config" in module_of(case).CASES[case]]
SIZED = [case for case in SIZED if not case.startswith("long") or case.endswith("16k forward")]


@pytest.mark.parametrize("case", SIZED)
def test_the_models_that_are_timed_can_be_built(case):
    module = module_of(case)
    setting = module.CASES[case]
    config = load_config(setting["config"])
    head = module.head(setting) if hasattr(module, "head") else setting.get("loss", "none")
    assert Plan(config, head).build().parameter_count > 1e6
    length = setting.get("length", 1)
    assert length <= getattr(config, "max_position_embeddings", length)


TINY = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)


@pytest.mark.parametrize("case", ["finetune bert-base", "finetune gpt2 lora"])
def test_a_step_of_fine_tuning_lowers_the_loss_and_trains_what_it_says(case, tmp_path):
    module = module_of(case)
    setting = module.CASES[case]
    sizes = TINY if "bert" in case else dict(n_embd=16, n_layer=1, n_head=2)
    small = {**setting, "config": {**setting["config"], **sizes, "vocab_size": 40}, "length": 8}
    module.prepare(small, str(tmp_path))
    assert (tmp_path / "adapter").is_dir() == ("rank" in setting)
    side = module.ours(small, str(tmp_path), steps=4)
    assert len(side.answer) == 4
    assert side.answer[0] == side.answer[1] > side.answer[3]  # the first step has a rate of 0


def test_rows_of_like_length_answer_what_padded_ones_do():
    sizes = {**TINY, "max_position_embeddings": 512}
    figures = bucketing.measure(rounds=1, count=24, sizes=sizes, batch=8)
    assert 0.2 < figures["fill"]["padded"] < figures["fill"]["bucketed"] <= 1
    text = report.text({"bucketing": {"all cores": {**entry(), "figures": figures}}}, [])
    assert "| evaluate |" in text
    assert "padded to the longest" in text
    with pytest.raises(RuntimeError, match="predict: rows of like length"):
        bucketing.check("predict", {"bucketed": [{"score": 0.9}], "padded": [{"score": 0.8}]})


def test_pictures_are_reported_as_a_share_of_a_step():
    text = report.inputs({"images": {"resized": 200.0}, "step": 5.0})
    assert "| resized | 200 | 2.5% |" in text
