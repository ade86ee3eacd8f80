"""Fine-tuning from Python and by the command: one recipe, the engine's own guarantees."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import reviews, write
from transformers_jax import cli
from transformers_jax.flags import Misuse
from transformers_jax.runs import evaluate
from transformers_jax.runs import finetune as command
from transformers_jax.runs.predictions import predict
from transformers_jax.runs.recipe import ADAPTERS, Recipe, configured, finetune
from transformers_jax.runs.seeds import report_seeds
from transformers_jax.tasks import Regression, SequenceClassification
from transformers_jax.training.config import load

RECORDS = reviews(160)
QUICK = dict(learning_rate=1e-2, batch=32, rows="padded", length=16)


@pytest.fixture(scope="module")
def run(encoder, tmp_path_factory):
    """A model that has learned the reviews."""
    out = tmp_path_factory.mktemp("finetuned") / "run"
    return finetune(encoder, "sequence_classification", RECORDS, out=str(out), epochs=8, **QUICK)


def test_a_few_lines_give_a_model_its_figures_and_a_run(run):
    assert run.metrics["accuracy"] > 0.8
    assert {"loss", "f1", "matthews"} <= run.metrics.keys()
    config = json.loads((run.folder / "model/config.json").read_text())
    assert config["id2label"] == {"0": "neg", "1": "pos"}
    assert config["architectures"] == ["BertForSequenceClassification"]
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    evaluated = [line for line in lines if "eval_accuracy" in line]
    assert len(evaluated) == 8  # one after each epoch
    best = max(line["eval_accuracy"] for line in evaluated)
    assert run.metrics["accuracy"] == best
    report = (run.folder / "report.md").read_text()
    assert "eval accuracy" in report
    assert (
        f"transformers-jax finetune {run.folder}/config.json --out {run.folder} --epochs 16"
        in report
    )
    assert f"transformers-jax predict {run.folder} --input new.csv" in report
    card = (run.folder / "model/README.md").read_text()
    assert "| trained on | records in memory |" in card
    assert "/tables/" not in card
    shown = json.loads((run.folder / "figure.json").read_text())
    counts = np.array(shown["counts"])
    assert shown["names"] == ["neg", "pos"]
    assert np.trace(counts) / counts.sum() == best  # of the step that is exported
    assert shown["step"] == json.loads((run.folder / "run.json").read_text())["exported"]["step"]
    assert "![answers](figure.png)" in (run.folder / "report.md").read_text()


def test_the_exported_directory_answers_as_the_run_measured(run):
    model = tj.from_pretrained(run.folder / "model")
    tokenizer = tj.load_tokenizer(run.folder / "model")
    held_out = [r for r in RECORDS if r["sentence"]]
    batch = tokenizer.batch([r["sentence"] for r in held_out])
    predicted = [model.config.id2label[str(n)] for n in np.argmax(model(**batch).logits, -1)]
    right = np.mean([p == r["label"] for p, r in zip(predicted, held_out)])
    assert right > 0.8


def test_predictions_and_figures_come_from_the_run_its_model_and_the_command(run, tmp_path, capsys):
    texts = [{"sentence": record["sentence"]} for record in RECORDS[:50]]
    found = tj.predict(run.folder, texts)
    assert found == tj.predict(str(run.folder / "model"), texts, batch=32, length=16)
    assert np.mean([one["label"] == r["label"] for one, r in zip(found, RECORDS)]) > 0.8
    assert [sum(one["scores"].values()) for one in found] == pytest.approx([1] * 50)
    labels = [one["label"] for one in found]
    figures = tj.evaluate(run.folder, RECORDS[:50])
    assert figures["accuracy"] == np.mean([a == r["label"] for a, r in zip(labels, RECORDS)])

    table, out = write(tmp_path / "some.jsonl", texts), tmp_path / "predicted.jsonl"
    command_line = ["predict", str(run.folder), "--input", table, "--out", str(out)]
    assert cli.main(command_line) == 0
    whole = out.read_text()
    assert [json.loads(line)["label"] for line in whole.splitlines()] == labels
    cut = whole.splitlines(keepends=True)
    out.write_text("".join(cut[:20]) + cut[20][:9])  # killed in the midst of a line
    assert cli.main(command_line) == 0
    assert [json.loads(line)["label"] for line in out.read_text().splitlines()] == labels
    assert "20 of 50 predictions are in" in capsys.readouterr().out
    other = write(tmp_path / "some.jsonl", [*texts[:49], {"sentence": "another"}])
    assert cli.main([*command_line[:3], other, *command_line[4:]]) == 1  # as many records
    assert "has predictions of other records; choose another --out" in capsys.readouterr().err
    write(tmp_path / "some.jsonl", texts)
    assert cli.main([*command_line, "--length", "12"]) == 1
    assert "of other settings" in capsys.readouterr().err
    assert cli.main(["predict", str(run.folder / "model"), *command_line[2:]]) == 0  # its weights
    measured = ["--model", str(run.folder), "--data", write(tmp_path / "b.jsonl", RECORDS[:50])]
    assert evaluate.main([*measured, "--out", str(tmp_path / "metrics.json")]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text()) == figures
    shown = json.loads((tmp_path / "metrics.figure.json").read_text())
    assert np.sum(shown["counts"]) == 50
    assert (tmp_path / "metrics.figure.png").is_file()


def test_predictions_say_how_far_they_are_and_have_programs_of_a_few_widths(run, monkeypatch):
    from transformers_jax.data import evaluated
    from transformers_jax.runs import answering, predictions

    monkeypatch.setattr(predictions, "TOGETHER", 64)
    widths, lines = set(), []
    made = evaluated.evaluation_batches

    def seen(part, where):
        batches = made(part, where)
        widths.update(batch["input_ids"].shape for batch in batches)
        return batches

    monkeypatch.setattr(answering, "evaluation_batches", seen)
    texts = [{"text": " ".join(["the"] * (1 + n % 41))} for n in range(200)]
    settings = dict(length=0, rows="bucketed", batch=16, text="text")
    found = tj.predict(run.folder, texts, show=lines.append, **settings)
    assert lines[0] == "predicted 0 of 200 records"
    assert lines[1] == "predicted 16 of 200 records"
    assert lines[-1] == "predicted 200 of 200 records"
    assert widths == {(16, 32), (16, 48)}  # 48 is what the model reads
    again = [one["score"] for one in found[41:82]]
    assert [one["score"] for one in found[:41]] == pytest.approx(again, abs=1e-6)


def test_lines_of_a_text_are_predicted(run, tmp_path):
    (tmp_path / "a.txt").write_text("the good film\n\nthe bad film\n")
    out = tmp_path / "out.jsonl"
    assert (
        cli.main(
            ["predict", str(run.folder / "model"), f"--input={tmp_path}/a.txt", f"--out={out}"]
        )
        == 0
    )
    assert len(out.read_text().splitlines()) == 2


def test_texts_without_a_name_are_the_column_that_the_run_reads(run, tmp_path):
    """Also where the run names it; with another column of the same text nothing changes."""
    named = dict(text="review")
    records = [{"review": "a great film"}, {"review": "the sad book"}]
    found = predict(run.folder, [one["review"] for one in records], **named)
    assert found == predict(run.folder, records, **named)
    lines, out = tmp_path / "lines.txt", tmp_path / "out.jsonl"
    lines.write_text("a great film\nthe sad book\n")
    given = [str(run.folder), "--input", str(lines), "--out", str(out), "--text", "review"]
    assert cli.main(["predict", *given]) == 0
    assert [json.loads(line)["label"] for line in out.open()] == [one["label"] for one in found]


def test_what_cannot_be_predicted_is_refused(run, encoder, tmp_path, capsys):
    with pytest.raises(ValueError, match="the head 'masked_lm' of this model is that of no task"):
        tj.predict(encoder, ["a text"])
    with pytest.raises(TypeError, match="no setting 'batc'; did you mean 'batch'"):
        tj.predict(run.folder, ["a text"], batc=3)
    with pytest.raises(ValueError, match="needs its tokenizer: pass tokenizer="):
        tj.predict(run.model, ["a text"])
    out = tmp_path / "out.jsonl"
    out.write_text("{}\n" * 9)
    table = write(tmp_path / "some.jsonl", RECORDS[:3])
    assert cli.main(["predict", str(run.folder), "--input", table, "--out", str(out)]) == 1
    assert "has 9 lines and" in capsys.readouterr().err


def test_a_run_that_was_interrupted_ends_with_the_same_bits(encoder, tmp_path):
    def losses(name, *steps):
        for count in steps:
            settings = dict(epochs=None, steps=count, schedule_steps=6, seed=3, **QUICK)
            finetune(
                encoder, "sequence_classification", RECORDS, out=str(tmp_path / name),
                per_epoch=0, every=2, save_every=2, **settings,
            )  # fmt: skip
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss_hex"] for line in lines]

    whole = losses("whole", 6)
    assert losses("parts", 2, 6) == whole
    assert len(set(whole)) == 6


def test_the_runs_config_is_whole_and_continues_it(run):
    config = load(run.folder)
    assert isinstance(config.objective, SequenceClassification)
    assert (config.data.batch, config.data.length, config.optimizer.peak) == (32, 16, 1e-2)
    again = configured([str(run.folder / "config.json"), "--epochs", "9"], "finetune")
    assert again.epochs == 9
    assert again.objective == config.objective


def test_the_command_and_python_mean_the_same_run(encoder, tmp_path):
    table = write(tmp_path / "train.jsonl", RECORDS)
    arguments = ["--task", "sequence-classification", "--model", str(encoder)]
    arguments += ["--data.train", table, "--learning-rate=3e-4", "--batch", "8", "--epochs", "2"]
    arguments += ["--objective.balanced", "--optimizer.weight-decay", "0"]
    config = configured(arguments, "finetune")
    assert (config.epochs, config.data.batch, config.optimizer.peak) == (2, 8, 3e-4)
    assert config.objective == SequenceClassification(balanced=True)
    assert config.optimizer.schedule.first(200) == 20  # a tenth is warm-up
    assert config.keep_best


def test_a_number_of_steps_takes_the_place_of_passes(encoder, tmp_path):
    table = write(tmp_path / "train.jsonl", RECORDS)
    arguments = ["--task", "sequence-classification", "--model", str(encoder)]
    arguments += ["--data.train", table]
    of = lambda *more: configured([*arguments, *more], "finetune")
    length = lambda config: (config.steps, config.epochs, config.evaluation.per_epoch)
    assert length(of()) == (1000, 3, 1)
    assert length(of("--steps=4")) == (4, None, 0)
    assert length(of("--steps=4", "--epochs=2")) == (4, 2, 1)
    run = finetune(encoder, "sequence_classification", RECORDS, out=str(tmp_path / "run"), steps=2)
    assert run.fitted.metrics[-1]["step"] == 2


def test_tasks_of_text_read_the_same_flags(encoder, tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("the good film was fine\n" * 50)
    arguments = ["--task", "masked_lm", "--model", str(encoder), "--data.train", str(text)]
    config = configured([*arguments, "--data.text=body"], "finetune")
    assert (config.data.path, config.data.field) == (str(text), "body")
    assert config.data.tokenizer == str(encoder)


def test_tasks_of_text_are_called_from_python_as_those_of_tables(encoder, monkeypatch):
    def fit(config):
        assert (config.data.path, config.data.eval_path) == ("notes.txt", "more.txt")
        assert (config.data.field, config.epochs) == ("body", 2)
        raise KeyboardInterrupt

    monkeypatch.setattr("transformers_jax.runs.recipe.fit", fit)
    with pytest.raises(KeyboardInterrupt):
        finetune(encoder, "masked_lm", "notes.txt", "more.txt", text="body", epochs=2)
    with pytest.raises(TypeError, match=r"no setting 'fielt'; did you mean 'field'"):
        finetune(encoder, "masked_lm", "notes.txt", fielt="body")


def test_the_label_of_a_pretrained_head_stays_where_all_are_known(run, tmp_path):
    some = [dict(record, label="pos") for record in RECORDS[:40]] + RECORDS[40:60]
    again = finetune(
        run.folder, "sequence_classification", some, out=str(tmp_path / "run"), epochs=1, **QUICK
    )
    assert json.loads((again.folder / "config.json").read_text())["model"]["id2label"] == {
        "0": "neg", "1": "pos",
    }  # fmt: skip
    assert "drawn" not in (again.folder / "report.md").read_text()


def test_an_adapter_is_trained_saved_and_merged_and_continues_exactly(encoder, tmp_path):
    def train(name, steps, **more):
        settings = dict(epochs=None, steps=steps, schedule_steps=6, per_epoch=0, every=3, **QUICK)
        return finetune(
            encoder, "sequence_classification", RECORDS, out=str(tmp_path / name), save_every=3,
            adapter="lora", adapter__rank=2, **settings, **more,
        )  # fmt: skip

    whole = train("whole", 6, merge=True)
    train("parts", 3)
    parts = train("parts", 6)
    hexes = [
        [line["loss_hex"] for line in one.fitted.metrics if "loss_hex" in line]
        for one in (whole, parts)
    ]
    assert hexes[0] == hexes[1]
    trained = sum(x.size for x in jax.tree.leaves(whole.fitted.state.params))
    head = 16 * 16 + 16 + 16 * 2 + 2  # pooler and classifier, which the checkpoint lacks
    layers = 2 * (4 * (16 + 16) + 2 * (16 + 32))
    assert trained == head + layers
    assert {p.name for p in (whole.folder / "adapter").iterdir()} >= {"adapter_config.json"}
    saved = json.loads((whole.folder / "adapter/adapter_config.json").read_text())
    assert saved["r"] == 2
    texts = [{"sentence": record["sentence"]} for record in RECORDS[:20]]
    merged, apart = tj.predict(whole.folder / "model", texts), tj.predict(whole.folder, texts)
    scores = [[one["scores"]["pos"] for one in some] for some in (merged, apart)]
    assert np.allclose(*scores, atol=1e-5)
    step = json.loads((whole.folder / "run.json").read_text())["exported"]["step"]
    command_line = ["export", str(whole.folder), "--step", str(step), "--merge"]
    assert cli.main([*command_line, "--out", str(tmp_path / "exported")]) == 0
    for file in (
        "adapter/adapter_model.safetensors", "adapter/adapter_config.json",
        "model/model.safetensors", "model/config.json", "model/tokenizer.json",
    ):  # fmt: skip
        ours, theirs = ((f / file).read_bytes() for f in (tmp_path / "exported", whole.folder))
        assert ours == theirs, file
    assert "library_name: peft" in (tmp_path / "exported/adapter/README.md").read_text()
    with pytest.raises(ValueError, match=r"no model of its own; write one with .* --merge --out"):
        finetune(parts.folder, "sequence_classification", RECORDS, out=str(tmp_path / "next"))
    before = tj.from_pretrained(encoder)
    assert len({round(score, 6) for score in scores[0]}) > 1
    kept = tj.functional(tj.without_adapter(whole.model))[1]["stack"]["blocks"]
    for a, b in zip(
        jax.tree.leaves(kept), jax.tree.leaves(tj.functional(before)[1]["stack"]["blocks"])
    ):
        assert np.array_equal(a, b)  # the weights that the run started from


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task=regression", "--model=m", "--adapter=lara"], "none, lora.*did you mean 'lora'"),
        (["--model", "m"], "--task NAME is missing; tasks are sequence_classification"),
        (["--task", "regression"], "--model DIR_OR_ID is missing"),
        (["--task", "regresion", "--model", "m"], "did you mean 'regression'"),
    ],
)
def test_what_a_command_lacks_is_named(arguments, words):
    with pytest.raises(Misuse, match=words):
        configured(arguments, "finetune")


def test_a_config_takes_another_adapter_or_none():
    path = "configs/finetune/dates_lora.py"
    whole = configured([path, "--adapter", "none", "--learning-rate", "1e-3"], "finetune")
    assert (whole.adapter, whole.merge, whole.optimizer.peak) == (None, False, 1e-3)
    other = configured([path, "--adapter", "dora", "--adapter.rank", "3"], "finetune")
    assert other.adapter == dataclasses.replace(ADAPTERS["dora"], rank=3)
    assert other.merge
    with pytest.raises(Misuse, match="unknown flag --learning-rat; did you mean '--learning-rate'"):
        configured([path, "--learning-rat", "1e-3"], "finetune")


def test_an_unknown_setting_is_refused_with_the_nearest(encoder):
    with pytest.raises(TypeError, match="no setting 'learning_rat'; did you mean 'learning_rate'"):
        finetune(encoder, "regression", RECORDS, learning_rat=1)
    with pytest.raises(TypeError, match="takes the directory of a model, with its tokenizer"):
        finetune(tj.from_pretrained(encoder), "regression", RECORDS)


def test_nothing_is_left_of_a_run_that_is_refused(encoder, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(ValueError, match="'label' holds 'neg'; expected a number"):
        finetune(encoder, Regression(), RECORDS, out=str(out))
    assert not out.exists()


def test_the_help_of_a_config_lists_the_flags_of_the_command_too(encoder, capsys):
    with pytest.raises(SystemExit):
        command.main(["--task", "regression", "--model", str(encoder), "--help"])
    shown = capsys.readouterr().out
    for flag in ("--data.train", "--sweep ", "--sweep-jobs", "--dry-run", "--distributed"):
        assert flag in shown, flag


def test_seeds_are_runs_whose_figures_have_a_mean_and_a_deviation(tmp_path):
    for seed, accuracy in enumerate((0.5, 0.7, 0.9)):
        folder = tmp_path / f"seed={seed}"
        folder.mkdir()
        lines = [{"step": 1, "eval_accuracy": 0.1}, {"step": 2, "eval_accuracy": accuracy}]
        write(folder / "metrics.jsonl", lines)
        (folder / "run.json").write_text(json.dumps({"exported": {"step": 2, "why": "the best"}}))
    assert "| accuracy | 0.7000 | 0.2000 |" in report_seeds(tmp_path, 3)
    saved = json.loads((tmp_path / "seeds.json").read_text())
    assert saved["figures"]["accuracy"]["mean"] == pytest.approx(0.7)
    with pytest.raises(ValueError, match="holds 0 runs that differ in their seed"):
        report_seeds(tmp_path / "none", 2)
    assert command.main(["--task", "regression", "--seeds", "1"]) == 2


def test_the_command_says_how_it_is_used(capsys):
    assert command.main([]) == 2
    assert "--task NAME --model DIR_OR_ID" in capsys.readouterr().err
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "multi_label" in shown
    for name in vars(Recipe()):
        assert f"--{name.replace('_', '-')} " in shown, name
    assert command.main(["--task", "regression", "--help"]) == 0
    assert capsys.readouterr().out == shown
    assert Recipe().task is None
