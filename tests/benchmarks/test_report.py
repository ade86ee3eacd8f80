"""The benchmarks refuse sides that disagree, and report what they measured."""

from __future__ import annotations

import pytest

from benchmarks import report, timed
from benchmarks.cases import all_cases, module_of


def figures(**changes):
    result = timed.Result("train nano", "tokens/s")
    result.rates = {"ours": 300.0, "eager": 100.0, "compiled": 150.0}
    result.ratios = {"ours": [1.0] * 3, "eager": [3.0] * 3, "compiled": [1.5, 2.0, 4.0]}
    result.cpu = {"ours": 1.0, "eager": 1.25, "compiled": 1.75}
    return {**vars(result), "best": result.best, "ratio": result.ratio, **changes}


def found(**changes):
    about = {"machine": "a box", "torch": "2"}
    return {"figures": figures(**changes), "when": "2026-01-02 03:04", "load": 0.5, "about": about}


def test_ratio_is_the_median_pair_against_the_faster_side():
    assert (figures()["best"], figures()["ratio"]) == ("compiled", 2.0)


def test_sides_that_agree_are_timed_and_others_refused():
    assert timed.difference({"ours": [2.0, 1.0], "eager": [2.0, 1.001]}) == pytest.approx(5e-4)
    with pytest.raises(RuntimeError, match="eager answers"):
        timed.difference({"ours": [2.0, 1.0], "eager": [2.0, 1.1]})


def test_report_names_what_ran_and_what_did_not():
    text = report.text(
        {"train nano": {"all cores": found(failed={"sdpa": "no memory"}), "one core": found()}},
        all_cases(),
    )
    assert "| **2.00** (1.50-4.00) | **1.25** |" in text
    assert "- train nano, sdpa: no memory" in text
    assert "has not been run" in text


def test_unknown_case_is_told_with_the_known_ones():
    assert module_of("train nano").UNIT == "tokens/s"
    with pytest.raises(ValueError, match="there are train nano"):
        module_of("train micro")
