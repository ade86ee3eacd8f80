"""The card of a fine-tuned model or adapter: what the hub reads, and what people do."""

import json

import pytest
from huggingface_hub import ModelCard

import transformers_jax as tj
from tests.runs.folders import make_run
from transformers_jax.data.config import Table
from transformers_jax.runs.card import type_of, write_card
from transformers_jax.runs.report import write_report
from transformers_jax.tasks import SequenceClassification, Summarization
from transformers_jax.training.config import TrainConfig, to_file
from transformers_jax.training.provenance import note_export, start_run

FIGURES = {"eval_accuracy": 0.75, "eval_f1_macro": 0.5, "eval_matthews": 0.25, "eval_batches": 9}
CLASSES = {"0": "no", "1": "yes"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that has fine-tuned on a table; its best step is not the last."""
    monkeypatch.setattr("transformers_jax.runs.report.plot_run", lambda folder: [])
    table = Table(train="/home/me/reviews.csv", validation="tfds:imdb[test]", batch=16)
    config = TrainConfig(
        objective=SequenceClassification(balanced=True), data=table, init_from="org/bert",
        model=tj.BertConfig(id2label=CLASSES), adapter=tj.LoRA(rank=4), seed=7,
    )  # fmt: skip
    folder = make_run(tmp_path / "run", steps=40, config=to_file(config))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 20, "eval_loss": 0.3, **FIGURES}) + "\n")
        file.write(json.dumps({"step": 40, "eval_loss": 0.4, "eval_accuracy": 0.5}) + "\n")
    about = {
        "objective": "sequence_classification",
        "model_type": "bert",
        "init_from": {"path": "org/bert"},
        "data": {"origin": "r: 8 records to train on, 2 held out", "columns": {"text": "review"}},
    }
    start_run(folder, "python -m train.finetune ...", about=about)
    note_export(folder, 20, "which has the highest eval_accuracy (0.7500)")
    return folder


def exported(folder, **content):
    folder.mkdir()
    for name, values in content.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    return folder


def test_the_card_of_a_model_holds_what_the_hub_reads(run):
    model = exported(run / "model", config={"architectures": ["BertForSequenceClassification"]})
    card = ModelCard.load(write_card(run, model))
    assert (card.data.library_name, card.data.base_model) == ("transformers", "org/bert")
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.license is None
    assert card.data.language is None
    assert {"bert", "sequence_classification"} <= {*card.data.tags}
    results = {one.metric_name: one for one in card.data.eval_results}
    assert results["accuracy"].metric_value == 0.75  # of the step that was exported
    assert results["f1_macro"].metric_type == "f1"
    assert results["matthews"].metric_type == "matthews_correlation"
    assert "batches" not in results
    assert results["loss"].metric_value == 0.3
    assert (results["accuracy"].dataset_name, results["accuracy"].dataset_type) == (
        "tfds:imdb[test]", "imdb[test]",
    )  # fmt: skip


def test_it_tells_people_data_settings_results_and_the_command(run):
    model = exported(run / "model", config={"architectures": ["BertForSequenceClassification"]})
    text = ModelCard.load(write_card(run, model)).text
    for line in (
        "| accuracy | 0.7500 |",
        "| held out | tfds:imdb[test] |",
        "| records | 8 records to train on, 2 held out |",
        "| text | review |",
        "| classes | no, yes |",
        "| batch | 16 |",
        "| seed | 7 |",
        "| objective | SequenceClassification(balanced=True) |",
        "| held-out loss | 0.3000 |",
        "python -m train.finetune ...",
        'tj.predict("path/to/this/folder", [{"review": "..."}], task="sequence_classification")',
        "transformers.BertForSequenceClassification.from_pretrained",
    ):
        assert line in text, line
    assert "adapter | LoRA(rank=4" in text
    assert "nats per token" not in text
    assert "## Evaluations" in write_report(run).read_text()


def test_the_card_of_an_adapter_is_pefts(run):
    card = ModelCard.load(write_card(run, exported(run / "adapter", adapter_config={
        "peft_type": "LORA"
    })))  # fmt: skip
    assert (card.data.library_name, card.data.base_model) == ("peft", "org/bert")
    assert "lora" in card.data.tags
    assert card.data.pipeline_tag == "text-classification"
    assert "A LORA adapter of a bert trained from the weights of org/bert" in card.text
    assert 'peft.PeftModel.from_pretrained(base, "path/to/this/folder")' in card.text
    assert (
        'tj.from_pretrained("org/bert", head="sequence_classification", key=jax.random.key(0), '
        "num_labels=2)"
    ) in card.text


def test_a_directory_as_base_is_told_to_people_and_not_to_the_hub(run):
    record = json.loads((run / "run.json").read_text())
    record["init_from"]["path"] = "/home/me/bert"
    (run / "run.json").write_text(json.dumps(record))
    card = ModelCard.load(write_card(run, exported(run / "model", config={})))
    assert card.data.base_model is None
    assert "from the weights of /home/me/bert" in card.text


def test_metrics_have_the_names_of_the_hub():
    assert [*map(type_of, ("rougeLsum", "f1", "f1_micro", "accuracy/final", "bleu"))] == [
        "rouge", "f1", "f1", "accuracy", "bleu",
    ]  # fmt: skip
    assert Summarization().scored
