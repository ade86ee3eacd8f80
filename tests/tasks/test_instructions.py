"""Answers of conversations: which tokens are learned, and packed rows that do not mix."""

import functools
import json
import shutil

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.test_tokens import corpus_of
from transformers_jax import cli
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer
from transformers_jax.nn.loss import IGNORED
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import Instruction
from transformers_jax.tasks.figures import cell

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TALK = [
    {"role": "user", "content": "one?"}, {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "two?"}, {"role": "assistant", "content": "no"},
]  # fmt: skip


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """The directory of a tiny GPT-2 of bytes, with a chat template."""
    folder = tmp_path_factory.mktemp("decoder")
    tokenizer = train_tokenizer("byte", [], 260, roles=("eos",))
    tokenizer.chat_template = TEMPLATE
    config = tj.GPT2Config(
        vocab_size=tokenizer.max_id + 1, n_positions=128, n_embd=16, n_layer=1, n_head=2,
        eos_token_id=tokenizer.special_id("eos"), bos_token_id=None,
    )  # fmt: skip
    tj.save_pretrained(tj.from_config(config, head="causal_lm", key=jax.random.key(0)), folder)
    tokenizer.save(folder)
    return folder


def learned(corpus, number=0):
    """(the whole text, the text that is learned) of a conversation."""
    tokens = corpus.train.examples[number].tokens
    ids, labels = tokens["input_ids"], tokens["labels"]
    assert (labels[labels != IGNORED] == ids[labels != IGNORED]).all()
    decode = corpus.tokenizer.decode
    return decode(ids), decode(ids[labels != IGNORED])


def test_the_answers_of_messages_are_learned_and_nothing_else(decoder):
    corpus = corpus_of(decoder, [{"messages": TALK}], Instruction())
    whole, answers = learned(corpus)
    assert whole == corpus.tokenizer.chat(TALK)
    assert answers == "yes\nno\n"
    shared = [{"from": "human", "value": "one?"}, {"from": "gpt", "value": "yes"}]
    assert learned(corpus_of(decoder, [{"conversations": shared}], Instruction()))[1] == "yes\n"


def test_a_prompt_and_a_response_are_written_by_the_template(decoder, tmp_path):
    records = [{"instruction": "add", "output": "done"}]
    whole, answers = learned(corpus_of(decoder, records, Instruction(system="Be short.")))
    assert whole == "<system>Be short.\n<user>add\n<assistant>done\n"
    assert answers == "done\n"
    plain = load_tokenizer(decoder)
    plain.chat_template = None
    tj.save_pretrained(tj.from_pretrained(decoder), tmp_path / "m")
    plain.save(tmp_path / "m")
    whole, answers = learned(corpus_of(tmp_path / "m", records, Instruction()))
    assert whole.startswith("add")
    assert answers.startswith("done")
    ids = corpus_of(tmp_path / "m", records, Instruction()).train.examples[0].tokens["labels"]
    assert ids[-1] == plain.special_id("eos")


def test_rows_are_cut_and_counted(decoder):
    corpus = corpus_of(decoder, [{"messages": TALK}], Instruction(), length=30)
    assert "1 of 1 conversations are cut to 30 tokens" in "\n".join(corpus.notes)
    with pytest.raises(ValueError, match=r"t\[0\] has \d+ tokens, and rows have 30 at most"):
        corpus_of(decoder, [{"messages": TALK}], Instruction(), length=30, too_long="error")
    with pytest.raises(ValueError, match="no token is left of the answers"):
        corpus_of(decoder, [{"messages": TALK}], Instruction(), length=5)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "no message is of the assistant"),
        ({"messages": [{"role": "user"}]}, "expected messages"),
        ({"messages": []}, "expected messages"),
        ({"prompt": "a"}, "name the column of their answers with --data.label"),
    ],
)
def test_a_record_that_is_no_conversation_is_refused(decoder, record, words):
    with pytest.raises(ValueError, match=words):
        corpus_of(decoder, [record], Instruction())


def test_packed_and_padded_conversations_have_the_same_loss(decoder, tmp_path):
    draw = np.random.default_rng(0)
    records = [
        {"prompt": f"{a}+{b}=", "response": str(a + b)}
        for a, b in draw.integers(0, 50, (64, 2)).tolist()
    ]
    losses = {}
    for rows in ("packed", "padded"):
        run = finetune(
            decoder, "instruction", records[:48], records[48:], out=str(tmp_path / rows),
            epochs=1, learning_rate=1e-12, rows=rows, length=100, batch=2, every=1000, per_epoch=0,
        )  # fmt: skip
        losses[rows] = run.metrics["loss"]
        assert run.model.plan.mask is None
    assert losses["packed"] == pytest.approx(losses["padded"], rel=1e-5)


def test_a_prediction_is_what_the_model_writes_behind_a_prompt(decoder, tmp_path):
    model, tokenizer = tj.from_pretrained(decoder), load_tokenizer(decoder)
    talk = [{"messages": TALK}, {"messages": TALK[:3]}, {"messages": TALK[:1]}]
    found = tj.predict(decoder, talk, task="instruction", max_new_tokens=5)
    for record, one in zip(talk, found):
        asked = record["messages"][: 1 if len(record["messages"]) == 1 else 3]
        ids = tokenizer.encode(tokenizer.chat(asked, add_generation_prompt=True))
        written = np.asarray(tj.generate(model, [ids], max_new_tokens=5))[0, len(ids) :]
        assert one == {"text": tokenizer.decode(written, skip_special_tokens=True).strip()}
    assert found[0] == found[1]  # the last answer is not read
    prompts = [{"prompt": "two?"}, {"prompt": "a longer one?"}]
    found = tj.predict(decoder, prompts, task="instruction", max_new_tokens=2)
    assert len(found) == 2
    texts = [one["prompt"] for one in prompts]  # the task is that of the head
    assert tj.predict(decoder, texts, max_new_tokens=2) == found


def test_figures_of_a_table_are_those_of_the_answers(decoder):
    records = [{"prompt": f"{n}+1=", "response": str(n + 1)} for n in range(5)]
    figures = tj.evaluate(decoder, records, task="instruction", batch=2)
    corpus = corpus_of(decoder, records, Instruction())
    model, total, count = tj.from_pretrained(decoder), 0.0, 0
    for example in corpus.train.examples:
        sums = tj.causal_lm(model, {k: v[None] for k, v in example.tokens.items()}, None)[1]
        total, count = total + float(sums["loss"][0]), count + float(sums["loss"][1])
    assert figures["loss"] == pytest.approx(total / count, rel=1e-5)


ADDED = [{"prompt": f"{a}+{a}=", "response": str(2 * a)} for a in range(24)]


def test_answers_of_evaluations_are_written_behind_the_prompts(decoder, tmp_path):
    run = finetune(
        decoder, "instruction", ADDED, ADDED[:12], out=str(tmp_path / "run"), epochs=None, steps=2,
        per_epoch=0, every=2, batch=8, learning_rate=1e-3, written=5, max_new_tokens=6,
    )  # fmt: skip
    prompts = [{"prompt": record["prompt"]} for record in ADDED[:5]]
    found = tj.predict(run.folder, prompts)
    right = [one["text"] == record["response"] for one, record in zip(found, ADDED)]
    assert run.metrics["exact_match"] == pytest.approx(np.mean(right))
    assert {"rougeL", "loss"} <= run.metrics.keys()
    shown = json.loads((run.folder / "figure.json").read_text())
    assert {row[1] for row in shown["rows"]} == {cell(one["text"]) for one in found}
    assert {row[2] for row in shown["rows"]} == {record["response"] for record in ADDED[:5]}
    assert all("=" in row[0] for row in shown["rows"])
    assert tj.evaluate(run.folder, ADDED[:12])["exact_match"] == run.metrics["exact_match"]


def test_the_last_answer_of_a_conversation_is_the_one_that_is_written(decoder):
    corpus = corpus_of(decoder, [{"messages": TALK}], Instruction(written=1))
    assert corpus.train.references == ["no"]
    assert Instruction().writes is False


@pytest.mark.parametrize(
    ("settings", "length", "words"),
    [
        (dict(written=1), dict(rows="packed"), "answers one prompt of a row"),
        (dict(written=1, max_new_tokens=120), {}, "the prompt has .* reads 128 at most"),
    ],
)
def test_prompts_that_cannot_be_answered_are_refused(decoder, settings, length, words):
    records = [{"messages": TALK}]
    with pytest.raises(ValueError, match=words):
        corpus_of(decoder, records, Instruction(**settings), **length)
    corpus_of(decoder, records * 2, Instruction(), **length)  # the control


# ---------------------------------------------------------------- how answers are written

ASKED = [{"prompt": f"{n}?"} for n in range(6)]


def test_tokens_are_drawn_where_a_temperature_or_top_p_is_given(decoder):
    of = functools.partial(tj.predict, decoder, ASKED, max_new_tokens=8, batch=2)
    likeliest = of()
    drawn = of(temperature=2.0)
    assert drawn == of(temperature=2.0, seed=0) != likeliest
    assert drawn != of(temperature=2.0, seed=1)
    assert of(top_p=0.9) != likeliest
    assert of(temperature=1e-6) == likeliest  # the control
    assert len({one["text"] for one in of(temperature=2.0)[:4]}) == 4  # batches are drawn apart


def test_a_model_whose_files_say_that_it_samples_takes_the_likeliest_tokens(decoder, tmp_path):
    shutil.copytree(decoder, tmp_path / "m")
    (tmp_path / "m/generation_config.json").write_text('{"do_sample": true, "temperature": 3.0}')
    with pytest.raises(ValueError, match="do_sample=True draws at random"):  # the control
        tj.generate(tj.from_pretrained(tmp_path / "m"), [[5]])
    of = functools.partial(tj.predict, records=ASKED, max_new_tokens=8)
    assert of(tmp_path / "m") == of(decoder)


def test_the_command_says_how_answers_are_written_and_goes_on_where_it_was(
    decoder, tmp_path, capsys
):
    table, out = tmp_path / "asked.jsonl", tmp_path / "answers.jsonl"
    table.write_text("".join(json.dumps(one) + "\n" for one in ASKED))
    line = ["predict", str(decoder), f"--input={table}", f"--out={out}", "--max-new-tokens=8"]
    line += ["--temperature=2", "--top-p=0.95", "--batch=2"]
    assert cli.main([*line, "--seed=3"]) == 0
    written = out.read_text()
    settings = dict(max_new_tokens=8, batch=2, temperature=2.0, top_p=0.95, seed=3)
    assert [*map(json.loads, written.splitlines())] == tj.predict(decoder, ASKED, **settings)
    out.write_text("".join(written.splitlines(keepends=True)[:3]))  # killed in the midst of it
    assert cli.main([*line, "--seed=3"]) == 0
    assert out.read_text() == written
    assert cli.main([*line, "--seed=4"]) == 1
    assert "has predictions of other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(seed=1), r"seed \(1\) is of tokens that are drawn.*: give temperature or top_p"),
        (dict(temperature=1.0, seed=2**63), "must fit in a signed 64-bit integer"),
        (dict(temperature=-1.0), "temperature"),
        (dict(top_p=1.5), "top_p"),
        (dict(max_new_tokens=-1), "max_new_tokens"),
        (
            dict(task="token_classification", temperature=1.0, seed=1),
            "temperature, seed: of texts that are written, and TokenClassification writes none; "
            "those that do are instruction, summarization, translation",
        ),
    ],
)
def test_how_answers_are_written_is_checked(decoder, settings, words):
    with pytest.raises(ValueError, match=words):
        tj.predict(decoder, ASKED, **settings)


def test_a_loss_is_of_no_tokens_that_are_drawn(decoder):
    with pytest.raises(ValueError, match="temperature and top_p are of texts"):
        tj.evaluate(decoder, ADDED[:2], temperature=1.0)
