"""Settings and labels that are given by mistake: each is refused in words, or does what it says."""

import json

import numpy as np
import pytest
from sklearn import linear_model as linear

import transformers_jax as tj
from tests.tasks.conftest import reviews
from transformers_jax.runs import evaluate
from transformers_jax.runs import finetune as command
from transformers_jax.runs.export import export
from transformers_jax.runs.recipe import Recipe, exported_metrics, finetune
from transformers_jax.runs.seeds import report_seeds
from transformers_jax.tasks import classes
from transformers_jax.tasks.linear import solve, usual_penalty
from transformers_jax.tasks.sequences import MultiLabel, Regression, SequenceClassification
from transformers_jax.training.config import to_file


def test_what_is_no_adapter_is_refused(encoder, tmp_path):
    """A class, or a dict, would train all parameters without a word."""
    for wrong in (tj.LoRA, {"rank": 8}):
        with pytest.raises(TypeError, match=r"expected a record, such as tj.LoRA\(rank=8\)"):
            finetune(encoder, "regression", reviews(9), adapter=wrong, out=str(tmp_path / "run"))


def test_a_setting_of_zero_is_not_the_default(encoder):
    for wrong, words in ((dict(batch=0), "data.batch"), (dict(learning_rate=0.0), "peak")):
        with pytest.raises(ValueError, match=words):
            Recipe("sequence_classification", str(encoder), **wrong).config()


@pytest.mark.parametrize("twice", [("1", "1.0"), ("01", "1", "2"), ("-1", "-1.0")])
def test_a_number_that_is_written_in_two_ways_is_not_two_classes(twice):
    with pytest.raises(ValueError, match="are the same number"):
        classes.learned(twice)
    assert classes.learned([*twice, "a"])  # names


def test_signs_make_no_numbers():
    assert classes.learned(["--1", "1"]) == ("--1", "1")
    assert classes.learned(["1", "-10", "9"]) == ("-10", "1", "9")


@pytest.mark.parametrize("threshold", [0.0, 1.0, 50.0])
def test_a_threshold_that_no_probability_reaches_is_refused(threshold):
    with pytest.raises(ValueError, match="lies between 0 and 1"):
        MultiLabel(threshold=threshold)


def _run(folder, seed, step):
    """The folder of a run that exported a step."""
    own = folder / f"seed={seed}"
    own.mkdir(parents=True)
    lines = [{"step": n, "eval_accuracy": 0.5, "eval_loss": n / 10 + seed} for n in (1, 2, 3)]
    (own / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (own / "run.json").write_text(json.dumps({"exported": {"step": step, "why": ""}}))
    return own


def test_figures_are_of_the_step_that_was_exported(tmp_path):
    """Of steps that are equally good the later is exported; without `keep_best` it is the last."""
    assert exported_metrics(_run(tmp_path, 0, 3)) == {"accuracy": 0.5, "loss": 0.3}


def test_seeds_of_an_earlier_command_do_not_count(tmp_path):
    for seed in range(3):
        _run(tmp_path, seed, 1)
    report_seeds(tmp_path, 2)
    saved = json.loads((tmp_path / "seeds.json").read_text())
    assert saved["runs"] == 2
    assert saved["figures"]["loss"]["mean"] == pytest.approx(0.6)


def test_the_seeds_of_a_config_are_reported_from_its_own_folder(encoder, tmp_path, monkeypatch):
    file = tmp_path / "own.py"
    file.write_text(
        "from transformers_jax.runs.recipe import Recipe\n\ndef config():\n    return Recipe("
        f"'regression', {str(encoder)!r}, out={str(tmp_path / 'own')!r}).config()\n"
    )
    seen = []
    monkeypatch.setattr(command, "run_command", lambda *given: 0)
    monkeypatch.setattr(
        "transformers_jax.runs.seeds.report_seeds", lambda *given: seen.append(given)
    )
    assert command.main([str(file), "--seeds", "2"]) == 0
    assert command.main([str(file), "--seeds", "2", "--out", "other"]) == 0
    assert seen == [(str(tmp_path / "own"), 2), ("other", 2)]


def test_seeds_and_a_sweep_exclude_each_other(capsys):
    assert command.main(["--task", "x", "--seeds", "2", "--sweep", "optimizer.peak=1e-3,1e-4"]) == 2
    assert "add seed=0,1 to --sweep" in capsys.readouterr().err


@pytest.mark.parametrize("count", [2, 3])
def test_the_usual_penalty_of_classes_is_that_of_scikit_learn(count):
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40, 4)), np.arange(40) % count
    theirs = linear.LogisticRegression(tol=1e-9, max_iter=9999).fit(x, y).predict_proba(x)
    task = SequenceClassification()
    probabilities = []
    for penalty in (usual_penalty(task, 40, count), 4 / 40):
        layer = solve(task, x, y, count, penalty, True)
        scores = np.exp(x @ layer.weight + layer.bias)
        probabilities.append(scores / scores.sum(1, keepdims=True))
    np.testing.assert_allclose(probabilities[0], theirs, atol=1e-5)
    assert np.abs(probabilities[1] - theirs).max() > 1e-3  # the control


def test_the_usual_penalty_of_labels_and_numbers_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    x, labels = draw.normal(size=(40, 4)), draw.random((40, 3)) > 0.5
    layer = solve(MultiLabel(), x, labels, 3, usual_penalty(MultiLabel(), 40, 3), True)
    theirs = linear.LogisticRegression(tol=1e-9, max_iter=9999).fit(x, labels[:, 0])
    np.testing.assert_allclose(layer.weight[:, 0], theirs.coef_[0], atol=1e-5)
    y = x.sum(1) + draw.normal(size=40)
    layer = solve(Regression(), x, y, 1, usual_penalty(Regression(), 40, 1), True)
    np.testing.assert_allclose(layer.weight[:, 0], linear.Ridge().fit(x, y).coef_, atol=1e-6)


def test_a_figure_that_is_no_number_is_null(tmp_path, monkeypatch):
    figures = {"pearson": float("nan"), "mean_squared_error": 3.5}
    monkeypatch.setattr(
        "transformers_jax.runs.predictions.measured", lambda *_, **__: (figures, None)
    )
    out = tmp_path / "metrics.json"
    assert evaluate.main(["--model", "m", "--data", "d", "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["pearson"] is None
    assert written["mean_squared_error"] == 3.5
    for seed in range(2):
        line = json.dumps({"step": 3, "eval_pearson": None, "eval_pearson_hex": "nan"})
        (_run(tmp_path, seed, 3) / "metrics.jsonl").write_text(line + "\n")
    assert "| pearson | nan |" in report_seeds(tmp_path, 2)
    assert json.loads((tmp_path / "seeds.json").read_text())["figures"]["pearson"]["mean"] is None


def test_a_saved_step_of_few_shot_is_no_classifier(encoder, tmp_path):
    config = Recipe("few_shot", str(encoder), out=str(tmp_path / "run")).config()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(json.dumps(to_file(config)))
    with pytest.raises(ValueError, match="the same command goes on to its end"):
        export(tmp_path / "run", tmp_path / "out")


def test_a_table_may_be_smaller_than_a_batch(encoder, tmp_path):
    few = reviews(5)
    out = str(tmp_path / "few")
    run = finetune(encoder, "sequence_classification", few, few, epochs=3, out=out, keep_best=False)
    assert (
        int(run.fitted.state.step) == 3
    )  # each pass is a batch of five, filled up with empty rows
    assert 0 <= run.metrics["accuracy"] <= 1
