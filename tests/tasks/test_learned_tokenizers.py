"""A task of a model that begins anew: its tokenizer is learned from its table."""

import dataclasses
import json
from pathlib import Path

import pytest

import transformers_jax as tj
from tests.tasks.conftest import reviews, write
from transformers_jax.data.config import Table
from transformers_jax.data.generated import dates, numbers
from transformers_jax.data.tables import of_python, open_table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.runs.fit import fit
from transformers_jax.tasks import Instruction, SequenceClassification, Translation
from transformers_jax.tasks.corpus import learn_tokenizer
from transformers_jax.training.config import Evaluation, Sample, TrainConfig, load
from transformers_jax.training.resolve import resolve
from transformers_jax.training.vocabulary import tokenizer_of


def config_of(folder, **changes):
    records = [{"source": numbers.in_words(n), "target": str(n)} for n in range(200, 264)]
    config = TrainConfig(
        model=tj.T5Config(d_model=8, d_kv=4, d_ff=8, num_heads=2, num_layers=1, dropout_rate=0.0),
        objective=Translation(max_new_tokens=4),
        data=Table(
            train=write(folder / "a.jsonl", records), tokenizer="character", batch=16, rows="padded"
        ),
        optimizer=AdamW(peak=1e-2, schedule=Linear(warmup=0)),
        steps=2,
        schedule_steps=4,
        evaluation=Evaluation(every=2, batches=1, final_batches=2),
        sample=Sample(count=0),
        out=str(folder / "run"),
    )
    return config.replace(**changes)


def test_a_run_learns_its_tokenizer_and_goes_on_with_it(tmp_path):
    first = fit(config_of(tmp_path))
    model = json.loads((tmp_path / "run/config.json").read_text())["model"]
    words = tj.load_tokenizer(tmp_path / "run/model")
    letters = {*"".join(numbers.in_words(n) + str(n) for n in range(200, 264))}
    assert model["vocab_size"] == words.max_id + 1 == len(letters) + 2  # padding, and the end
    roles = ("pad_token_id", "decoder_start_token_id", "eos_token_id")
    assert [model[name] for name in roles] == [
        words.special_id(role) for role in ("pad", "pad", "eos")
    ]
    ends = [line for line in first.metrics if "eval_exact_match/final" in line]
    assert [line["step"] for line in ends] == [2]
    assert ends[0]["eval_batches"] == 1
    parts = fit(config_of(tmp_path, steps=4))
    assert [line["step"] for line in parts.metrics if "eval_loss" in line] == [2, 4]
    assert [*tj.predict(parts.folder, [{"source": "two hundred"}])[0]] == ["text"]


def test_what_is_predicted_is_learned_where_it_is_text(tmp_path):
    data = Table(tokenizer="character")
    table = of_python("train", [{"sentence": "ab", "label": "x"}])
    assert learn_tokenizer(data, SequenceClassification(), table).max_id + 1 == 2 + 4
    table = of_python("train", [{"prompt": "ab", "response": "cd"}])
    assert learn_tokenizer(data, Instruction(), table).max_id + 1 == 4 + 2
    messages = [{"role": "u", "content": "ab"}]
    table = of_python("train", [{"messages": messages}])
    assert learn_tokenizer(data, Instruction(), table).encode("abu").tolist()


def test_a_tokenizer_that_is_learned_is_not_that_of_a_checkpoint(encoder, tmp_path):
    data = Table(train=write(tmp_path / "a.jsonl", reviews(40)), tokenizer="wordpiece", batch=8)
    task = SequenceClassification()
    config = TrainConfig(model=tj.BertConfig(), init_from=str(encoder), objective=task, data=data)
    with pytest.raises(ValueError, match=r"one that is learned \(wordpiece\) has other tokens"):
        resolve(config, tmp_path / "run", None, print)
    config = config.replace(init_from=None, data=dataclasses.replace(data, tokenizer=""))
    with pytest.raises(ValueError, match=r"or learn one from the table: --data\.tokenizer bpe"):
        tokenizer_of(config)
    config = config.replace(data=dataclasses.replace(data, tokenizer="bpe", vocab_size=280))
    resolved = resolve(config, tmp_path / "run", None, print).config.model
    assert resolved.vocab_size == 280
    assert resolved.pad_token_id == 0


@pytest.mark.parametrize("name", ["dates", "numbers"])
def test_no_token_of_the_configs_has_two_digits(name, tmp_path):
    config = load(Path(__file__).parents[2] / f"configs/finetune/{name}.py")
    table = open_table(config.data.train, "data.train")["train"]
    words = learn_tokenizer(config.data, config.objective, table)
    pieces = [piece.strip("#") for piece in words.inner.get_vocab()]
    assert not [piece for piece in pieces if piece.isdecimal() and len(piece) > 1]
    larger = dataclasses.replace(config.data, tokenizer="wordpiece", vocab_size=400)  # the control
    words = learn_tokenizer(larger, config.objective, table)
    assert [p for p in words.inner.get_vocab() if p.isdecimal() and len(p) > 1]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "zero"),
        (40, "forty"),
        (305, "three hundred and five"),
        (1_000, "one thousand"),
        (20_019, "twenty thousand and nineteen"),
        (999_921, "nine hundred and ninety-nine thousand nine hundred and twenty-one"),
    ],
)
def test_numbers_are_said_as_in_britain_and_in_america(number, said):
    assert numbers.in_words(number) == said
    assert numbers.in_words(number, " ") == said.replace(" and ", " ")


def test_a_day_and_a_number_are_in_one_split():
    for table in (dates, numbers):
        targets = {s: {r["target"] for r in table.records(s)} for s in ("train", "validation")}
        assert not targets["train"] & targets["validation"]
        assert len(targets["train"]) == len(table.records("train"))
