"""Reports, pages about several runs, samples and the model card, from the files of folders."""

import json
import math
import re

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.runs.folders import make_run
from transformers_jax.objectives.example import Example
from transformers_jax.runs import plots
from transformers_jax.runs.card import write_card
from transformers_jax.runs.compare import differing, shown, write_page
from transformers_jax.runs.page import to_html
from transformers_jax.runs.report import evaluations, write_report
from transformers_jax.runs.summary import summarise
from transformers_jax.training.config import Sample
from transformers_jax.training.metrics import thin
from transformers_jax.training.samples import draw_samples, marked, read_samples, save_samples

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs") / "one")
    seconds = {"steps": 90.0, "lost": 6.0, "input": 0.0, "other": 4.0}
    spent = {"goodput": 0.9, "total": 100.0, "seconds": seconds}
    (folder / "goodput.json").write_text(json.dumps(spent))
    write_report(folder)
    return folder


# ---------------------------------------------------------------- one run


def test_a_report_lists_command_settings_and_results(run):
    text = (run / "report.md").read_text()
    for word in (
        f"pretrain nano.py --out {run}", "120,576", "held-out bits per byte", "0123456789abcdef",
        "jax 0.", "| goodput | 90.0% |", "steps that had to be made again | 6.0 s | 6.0%",
        "![loss](loss.png)", "![curves](curves.png)", '"n_layer": 2', "text of step 20",
        f"pretrain {run}/config.json --out {run} --steps 120",
    ):  # fmt: skip
        assert word in text, word
    assert "waiting for data" not in text  # nothing is said of nothing
    assert text.count("```") % 2 == 0
    for name in ("loss.png", "curves.png"):
        assert (run / name).read_bytes().startswith(PNG)


def test_a_run_that_has_just_begun_has_a_report_too(tmp_path):
    folder = make_run(tmp_path / "new", done=0, state="running")
    text = write_report(folder).read_text()
    assert "0 of 60" in text
    assert "png" not in text


def test_evaluations_are_a_few_rows_and_the_last_is_one():
    lines = [{"step": n, "loss": 1.0, "memory": 5} for n in range(1, 101)]
    for line in lines[::2]:
        line["eval_loss"] = line["step"] / 10
    lines[98]["accuracy"] = 0.5
    rows = evaluations(lines).splitlines()
    assert 6 <= len(rows) - 2 <= 12
    assert rows[0] == "| step | loss | eval loss | accuracy |"
    assert rows[-1] == "| 99 | 1.0000 | 9.9000 | 50.0% |"
    assert evaluations(lines[1:2]) == ""


def test_every_metric_has_a_panel_even_an_unknown_one(run, tmp_path):
    lines = [{"step": n, "loss": 1.0, "router_entropy": n, "loss_hex": "0x1"} for n in (1, 2)]
    lines += [{"step": 3, "loss": 1.0, "gradient_norm": math.nan, "finite": True}]
    assert plots.plot_curves(lines, tmp_path / "c.png") == ["router_entropy"]
    assert plots.plot_curves([{"step": 1, "loss": 1.0}], tmp_path / "none.png") == []
    assert not (tmp_path / "none.png").exists()


def test_a_figure_that_was_measured_once_has_no_panel(tmp_path):
    lines = [{"step": n, "loss": 1.0, "gradient_norm": n} for n in (1, 2)]
    lines[-1]["bits_per_byte/final"] = 2.0
    assert plots.plot_curves(lines, tmp_path / "c.png") == ["gradient_norm"]


def test_held_out_losses_on_other_batches_are_curves_of_their_own():
    lines = [{"step": n, "eval_loss": 1.0, "eval_batches": 2 if n < 3 else 9} for n in range(5)]
    parts = plots.on_the_same([*lines, {"step": 5, "loss": 1.0}], "eval_loss")
    assert [[line["step"] for line in part] for part in parts] == [[0, 1, 2], [3, 4]]


def test_smoothing_keeps_a_constant_and_thinning_keeps_the_mean():
    assert np.allclose(plots.smooth(np.full(100, 3.0)), 3.0)  # an average from zero would start low
    y = thin(np.arange(10_000.0), 100)
    assert len(y) == 100
    assert y.mean() == pytest.approx(4999.5)
    noisy = np.random.default_rng(0).normal(size=5000)
    assert plots.smooth(noisy)[1000:].std() < 0.2 < noisy.std()


# ---------------------------------------------------------------- several runs


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return [
        make_run(folder / "high"),
        make_run(folder / "low", level=1.0, state="failed", config={"optimizer": {"peak": 3e-4}}),
    ]


def test_a_page_shows_several_runs_side_by_side(pair, tmp_path):
    write_page(pair, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| optimizer.peak | 0.001 | 0.0003 |" in text
    assert "- low: failed: the loss is nan" in text
    assert "| out |" not in text
    assert "## Samples of high" in text
    assert (tmp_path / "page-loss.png").read_bytes().startswith(PNG)
    assert differing([summarise(pair[0])] * 2, ["a", "b"]) == "Nothing but the folder."


@pytest.mark.parametrize(
    ("value", "text"),
    [("\n", '"\\n"'), ("Return ", '"Return "'), ("", '""'), ("a b", "a b"), (0.5, "0.5")],
)
def test_text_that_is_not_visible_is_escaped_in_a_table(value, text):
    assert shown(value) == text


def test_runs_of_different_tokenizers_are_compared_by_bytes(tmp_path, monkeypatch):
    runs = [make_run(tmp_path / name) for name in "abc"]
    drawn = {}
    monkeypatch.setattr(plots, "save_figure", lambda figure, file: drawn.update(figure=figure))

    def axes(count):
        write_page(runs[:count], tmp_path / "page.md")
        return drawn["figure"].axes[0]

    assert "nats per token" in axes(2).get_ylabel()
    for run in runs:
        (run / "tokenizer.json").write_text(run.name)
    assert "bits per byte" in axes(2).get_ylabel()
    held_out = axes(2).lines[2].get_ydata()
    np.testing.assert_allclose(held_out, 1.5)
    bare = (runs[2] / "metrics.jsonl").read_text().replace("bits_per_byte", "other")
    (runs[2] / "metrics.jsonl").write_text(bare)
    assert [len(line.get_ydata()) for line in axes(3).lines[6:]] == [0, 0, 0]
    assert "left out: c" in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize("count", [1, 2])
def test_a_page_of_html_needs_no_other_file(pair, count, tmp_path):
    write_page(pair[:count], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    links = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert links
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert "<table>" in page


def test_text_of_a_model_is_escaped_in_html(tmp_path):
    text = "```text\n<script>alert(1)</script>\n```\n\n<script>alert(2)</script>\n"
    assert "<script>" not in to_html(text, tmp_path, "<script>")


def test_a_page_about_nothing_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no run to report on .*not a run"):
        write_page([tmp_path / "empty"], tmp_path / "a.html")
    with pytest.raises(ValueError, match=r"expected a name that ends in .html or .md"):
        write_page([tmp_path / "empty"], tmp_path / "a.pdf")


def test_a_broken_run_is_listed_with_the_good_ones(pair, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "metrics.jsonl").write_bytes(b"\x00\xff\x00")
    (bad / "config.json").write_text("{")
    write_page([*pair, bad], tmp_path / "page.md")
    assert "bad: broken: config.json cannot be read" in (tmp_path / "page.md").read_text()


# ---------------------------------------------------------------- samples and the exported model


class Words:
    """A tokenizer whose words are w0, w1, ..."""

    def decode(self, ids):
        return " ".join(f"w{i}" for i in ids)

    def save(self, folder):
        (folder / "tokenizer.json").write_text("{}")


def test_a_decoder_continues_its_prompt(model):
    prompt, two = np.array([0, 5, 7]), Sample(count=2, tokens=50)
    texts = draw_samples(model, "causal_lm", two, prompt=prompt, seed=3)
    assert all(text.startswith("0 5 7 ") for text in texts)
    assert max(len(text.split()) for text in texts) <= 16  # it has no more positions
    assert texts == draw_samples(model, "causal_lm", two, prompt=prompt, seed=3)
    assert draw_samples(model, "causal_lm", Sample(count=0), prompt=prompt) == []
    assert draw_samples(model, "replaced_token", two, prompt=prompt) == []


def test_an_encoder_fills_gaps_and_changes_nothing_else():
    config = tj.BertConfig(
        vocab_size=31, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    labels = np.array([-100, 4, -100, 6, -100], np.int32)
    example = Example({"input_ids": np.array([2, 1, 5, 1, 3], np.int32), "labels": labels})
    for head in ("masked_lm", "pretraining"):
        model = tj.from_config(config, head=head, key=jax.random.key(0))
        (text,) = draw_samples(
            model, head, Sample(), prompt=labels, examples=[example], tokenizer=Words()
        )
        inputs, target, filled, correct = (line.split()[1:] for line in text.splitlines())
        assert inputs == "w2 w1 w5 w1 w3".split()
        assert target == "w2 w4 w5 w6 w3".split()
        assert [filled[n] for n in (0, 2, 4)] == ["w2", "w5", "w3"]
        assert correct == [str((filled[1] == "w4") + (filled[3] == "w6")), "of", "2"]


def test_an_encoder_decoder_answers():
    config = tj.T5Config(vocab_size=31, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))
    example = Example(
        {"input_ids": np.array([5, 6, 30, 1], np.int32)},
        {"decoder_input_ids": np.array([0, 30, 7], np.int32),
         "labels": np.array([30, 7, 1], np.int32)},
    )  # fmt: skip
    (text,) = draw_samples(
        model, "seq2seq_lm", Sample(count=1), prompt=np.array([1]), examples=[example]
    )
    inputs, target, output = text.splitlines()
    assert inputs == "input:   5 6 30 1"
    assert target == "target:  30 7 1"
    assert 1 <= len(output.split()) - 1 <= 14


def test_samples_of_every_step_are_saved_and_the_newest_is_in_samples_txt(tmp_path):
    assert save_samples([], tmp_path, 5) is None
    save_samples(["one", "two\nlines"], tmp_path, 500)
    save_samples(["later"], tmp_path, 1000)
    assert (tmp_path / "samples/000500.txt").exists()
    assert (tmp_path / "samples.txt").read_text() == "later\n"
    assert read_samples(tmp_path) == {500: ["one", "two\nlines"], 1000: ["later"]}


def test_a_sample_on_a_screen_has_a_title_and_an_end():
    assert marked("one\n\n  two", "sample 1 of 2, step 500").splitlines() == [
        "sample 1 of 2, step 500", "| one", "|", "|   two",
    ]  # fmt: skip


def test_an_exported_model_has_a_model_card(tmp_path, model):
    from huggingface_hub import ModelCard

    run = make_run(tmp_path / "run")
    folder = run / "model"
    tj.save_pretrained(model, folder)
    card = ModelCard.load(write_card(run))
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-generation"
    assert {"gpt2", "causal_lm", "jax"} <= set(card.data.tags)
    assert card.data.license is None
    for word in ("120,576", "2.2494", "0123456789abcdef", f"--out {run}", "GPT2LMHeadModel"):
        assert word in card.text, word
    assert "without a tokenizer" in card.text
    assert tj.from_pretrained(folder).parameter_count == model.parameter_count
    assert f"generate {run}" in write_report(run).read_text()
