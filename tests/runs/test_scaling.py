"""Scaling laws are recovered from curves that were generated with them."""

import functools
import itertools
import math
import re

import numpy as np
import pytest

from tests.runs.folders import make_run
from transformers_jax import cli
from transformers_jax.runs import scaling
from transformers_jax.runs.scaling import (
    best_size,
    fit_compute,
    fit_size_and_data,
    frontier,
    write_scaling,
)

TRUE = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}  # Hoffmann et al. 2022


@pytest.fixture(scope="module")
def runs():
    """(N, D, L) of five sizes and six amounts of data, by their law."""
    size, data = np.meshgrid(np.geomspace(4e7, 1e10, 5), np.geomspace(1e9, 5e11, 6))
    size, data = size.ravel(), data.ravel()
    loss = TRUE["E"] + TRUE["A"] / size ** TRUE["alpha"] + TRUE["B"] / data ** TRUE["beta"]
    return size, data, loss


def noisy(loss, seed):
    return loss * np.exp(0.003 * np.random.default_rng(seed).normal(size=loss.shape))


def test_exponents_of_exact_curves_are_recovered(runs):
    law = fit_size_and_data(*runs, resamples=0)
    for name, value in TRUE.items():
        assert law.values[name] == pytest.approx(value, rel=1e-3), name
    assert law.error < 1e-5
    assert law(runs[0], runs[1]) == pytest.approx(runs[2], rel=1e-5)


def test_intervals_hold_the_truth_and_noise_widens_them(runs):
    size, data, loss = runs
    law = fit_size_and_data(size, data, noisy(loss, 1), resamples=60)
    for name in ("alpha", "beta", "E"):
        low, high = law.intervals[name]
        assert low < law.values[name] < high
        assert low - 0.02 < TRUE[name] < high + 0.02, name
    louder = fit_size_and_data(size, data, noisy(noisy(loss, 1), 2), resamples=0)
    assert louder.error > 1.1 * law.error


def test_another_law_has_other_exponents(runs):
    """The control: the fit depends on the curves."""
    size, data, _ = runs
    law = fit_size_and_data(size, data, 0.5 + 20 / size**0.2 + 3000 / data**0.5, resamples=0)
    assert law.values["alpha"] == pytest.approx(0.2, rel=0.01)
    assert law.values["beta"] == pytest.approx(0.5, rel=0.01)
    assert law.values["E"] == pytest.approx(0.5, rel=0.02)


def test_an_outlier_is_outvoted(runs):
    size, data, loss = runs
    spoiled = np.where(np.arange(len(loss)) == 7, 2 * loss, loss)
    law = fit_size_and_data(size, data, spoiled, resamples=0)
    assert law.values["alpha"] == pytest.approx(TRUE["alpha"], rel=0.02)


@pytest.mark.parametrize(("floor", "power"), [(1.8, 0.15), (0.3, 0.05)])
def test_the_law_of_compute_is_recovered(floor, power):
    compute = np.geomspace(1e15, 1e21, 9)
    law = fit_compute(compute, floor + 300 * compute**-power, resamples=20)
    assert law.values["b"] == pytest.approx(power, rel=0.01)
    assert law.values["E"] == pytest.approx(floor, rel=0.03)
    assert law.intervals["b"][0] <= law.values["b"] * 1.001


def test_the_gradient_of_the_fit_is_that_of_its_curve():
    logs = np.random.default_rng(0).normal(size=(2, 7))
    at = np.array([0.3, -0.2, 0.5, 0.3, 0.7])
    _, slopes = scaling._predict(at, logs)
    for n in range(5):
        step = 1e-6 * np.eye(5)[n]
        rise = scaling._predict(at + step, logs)[0] - scaling._predict(at - step, logs)[0]
        assert slopes[n] == pytest.approx(rise / 2e-6, abs=1e-7)


def test_the_frontier_is_what_no_cheaper_run_beats():
    compute, loss = np.array([4.0, 1.0, 2.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.5, 2.0, 2.2])
    assert frontier(compute, loss) == [1, 3, 0]


def test_the_best_size_is_the_least_loss_at_its_compute(runs):
    law = fit_size_and_data(*runs, resamples=0)
    size, data = best_size(law, 1e21)
    assert 6 * size * data == pytest.approx(1e21)
    for factor in (0.8, 1.25):
        assert law(np.array(size), np.array(data)) < law(
            np.array(size * factor), np.array(data / factor)
        )


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda: fit_compute([1, 2, 2, 2], [4, 3, 3, 3]), "needs 4 runs or more"),
        (lambda: fit_size_and_data([1] * 6, [1, 2, 3, 4, 5, 6], [1] * 6), "6 runs, 1 sizes, 6 am"),
        (lambda: fit_compute([1, 2, 3, 4], [4, 3, 2, np.nan]), "L must be positive and finite"),
        (lambda: fit_compute([1, 2, 3], [4, 3]), "as many values of each"),
    ],
)
def test_fits_without_enough_data_are_refused(fit, message):
    with pytest.raises(ValueError, match=message):
        fit()


def test_runs_on_disk_give_a_page(tmp_path):
    runs = tmp_path / "runs"
    for size in (10_000, 40_000, 160_000):
        for steps in (20, 80, 320):
            level = 1.0 + 30 / size**0.4 + 8 / (64 * steps) ** 0.3
            more = {"eval_loss": level}
            make_run(runs / f"{size}-{steps}", steps, parameters=size, more=more)
    make_run(runs / "half", 60, done=30, state="stopped")
    out = tmp_path / "page" / "scaling.md"
    assert cli.main(["report", "--scaling", str(runs), "--out", str(out)]) == 0
    text = out.read_text()
    assert "# Scaling of 9 runs" in text
    assert "| alpha | 0.4" in text or "| alpha | 0.39" in text
    assert "half: stopped" in text
    assert "tokens per parameter" in text
    assert (out.parent / "scaling.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"no law can be fitted to 1 finished runs.*half: stopped"):
        write_scaling([runs / "10000-20", runs / "half"], out)


@pytest.mark.parametrize("tokenizers", [("characters", "subwords"), ("characters", "characters")])
def test_curves_of_different_tokenizers_are_fitted_in_bits_per_byte(
    tokenizers, tmp_path, monkeypatch
):
    """A token of three bytes has three times the loss of one of a byte, at the same bits per
    byte: the law is that of these, and one run that does not know them is left out."""
    for name in ("fit_compute", "fit_size_and_data"):  # intervals are not what this is about
        quick = functools.partial(getattr(scaling, name), resamples=0)
        monkeypatch.setattr(scaling, name, quick)
    runs, level = tmp_path / "runs", {}
    for number, (size, steps) in enumerate(itertools.product((10**4, 10**5, 10**6), (9, 99, 999))):
        bits = 1.0 + 30 / size**0.4 + 8 / (64 * steps) ** 0.3
        nats = bits * math.log(2) * (1, 3)[number % 2]
        folder = make_run(
            runs / f"{size}-{steps}", steps, parameters=size,
            more={"eval_loss": nats, "bits_per_byte": bits},
        )  # fmt: skip
        (folder / "tokenizer.json").write_text(tokenizers[number % 2])
        level[folder.name] = bits, nats
    bare = make_run(runs / "bare", 9, parameters=20_000, more={"bits_per_byte": None})
    (bare / "tokenizer.json").write_text(tokenizers[0])
    out = tmp_path / "scaling.md"
    assert cli.main(["report", "--scaling", str(runs), "--out", str(out)]) == 0
    text, by_bytes = out.read_text(), len({*tokenizers}) > 1
    assert ("loss (bits per byte)" in text) == by_bytes
    for name, figures in level.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
        assert f"| {figures[not by_bytes]:.4f} |" in row
    exponents = [
        float(re.search(rf"\| {name} \| ([\d.e-]+)", text)[1]) for name in ("alpha", "beta")
    ]
    assert (exponents == pytest.approx([0.4, 0.3], rel=0.02)) == by_bytes
    assert ("bare: bits_per_byte not known" in text) == by_bytes
