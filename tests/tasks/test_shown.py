"""The configs of tables that are made on the spot: each runs, made small, by its command."""

import itertools
import json
from pathlib import Path

import jax
import pytest

import transformers_jax as tj
from transformers_jax.data import generated, python_docs
from transformers_jax.data.generated import docstrings, entities, facts, function_names, packages
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.runs import finetune as command
from transformers_jax.training.config import load

FOLDER = Path(__file__).parents[2] / "configs/finetune"
SCORES = {
    "packages": "eval_accuracy",
    "packages_modernbert": "eval_accuracy",
    "packages_lora": "eval_accuracy",
    "entities": "eval_f1",
    "facts": "eval_f1",
    "dates_lora": "eval_exact_match",
    "preference": "eval_accuracy",
    "preference_lora": "eval_accuracy",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The directories of a tiny GPT, a tiny ModernBERT and a tiny T5, by the name of a run; those
    that go on from the README's GPT, or train longer, stand for others."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("gpt", "modernbert", "dates")}
    texts = ["Return the name of a module, or raise ValueError.", "Where was Vainis born?"]
    words = train_tokenizer("wordpiece", texts * 4, 128, roles=("pad", "cls", "sep", "mask"))
    train_tokenizer("byte", [], 256).save(folders["gpt"])
    words.save(folders["modernbert"])
    dates = [record["source"] for record in generated.TABLES["dates"]("test")]
    characters = train_tokenizer("character", dates, 99, roles=("pad", "eos"))
    characters.save(folders["dates"])
    ids = {f"{role}_token_id": words.special_id(role) for role in ("pad", "cls", "sep")}
    size = dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8)
    gpt = tj.GPT2Config(vocab_size=256, n_positions=256, n_embd=8, n_layer=1, n_head=2)
    bert = tj.ModernBertConfig(
        vocab_size=words.max_id + 1, **size, **ids, classifier_pooling="mean"
    )
    t5 = tj.T5Config(vocab_size=99, d_model=8, d_kv=4, d_ff=8, num_heads=2, num_layers=1)
    drawn = (("gpt", gpt, "causal_lm"), ("modernbert", bert, "masked_lm"))
    for name, config, head in (*drawn, ("dates", t5, "seq2seq_lm")):
        model = tj.from_config(config, head=head, key=jax.random.key(0))
        tj.save_pretrained(model, folders[name])
    return {**folders, "docstrings": folders["gpt"], "modernbert_long": folders["modernbert"]}


@pytest.fixture(scope="module")
def small_tables():
    """The tables, of 16 records of some of the documentation."""
    some = [*itertools.islice(python_docs.modules(), 120)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(python_docs, "modules", lambda: iter(some))
        patch.setattr(python_docs, "documents", python_docs._docstrings)
        patch.setitem(facts.COUNTS, "train", 16)
        cached = [(packages, "_docstrings"), (entities, "_paragraphs")]
        cached += [(docstrings, "_functions"), (function_names, "_named")]
        for module, name in cached:
            found = getattr(module, name).__wrapped__()
            patch.setattr(module, name, lambda found=found: found)
        named = {load(FOLDER / f"{name}.py").data.train.partition(":")[2] for name in SCORES}
        for name in sorted(named):
            rows = generated.TABLES[name]("train")
            # for each split: of so few, the classes would not be the same
            few = rows[:: len(rows) // 16][:16]
            patch.setitem(generated.TABLES, name, lambda split, few=few: few)
        yield


@pytest.mark.parametrize("name", SCORES)
def test_a_config_runs_for_three_steps_by_its_command(name, models, small_tables, tmp_path):
    path = FOLDER / f"{name}.py"
    config = load(path)
    arguments = [str(path), "--epochs=1", "--data.batch=6"]
    if config.init_from is not None:
        start = next(
            folder for run, folder in models.items() if f"runs/{run}/" in f"{config.init_from}/"
        )
        arguments += ["--init-from", str(start)]
    arguments += ["--data.rows=padded"]
    assert command.main([*arguments, f"--out={tmp_path}/run"]) == 0
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert last["step"] == 3
    assert any(SCORES[name] in json.loads(line) for line in lines)
    assert {one for one in ("adapter", "model") if (tmp_path / "run" / one).is_dir()} == {
        *config.results
    }


@pytest.mark.parametrize("name", SCORES)
def test_a_config_says_its_command_and_what_was_measured(name):
    about = (FOLDER / f"{name}.py").read_text().split('"""')[1]
    assert f"python -m train.finetune configs/finetune/{name}.py" in about
    assert "generated:" in about
    for word in ("Hardware:", "Time:", "Result:"):
        assert word in about
