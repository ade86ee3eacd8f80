"""Direct preference optimisation: TRL's figures and gradient, a frozen reference, exact resume."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import transformers_jax as tj
from tests.tasks.test_tokens import corpus_of
from transformers_jax.data.packing import assemble
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.nn.loss import IGNORED
from transformers_jax.nn.param import flatten, params
from transformers_jax.objectives import means
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import DPO
from transformers_jax.tasks.base import TaskObjective
from transformers_jax.tasks.corpus import layout_of
from transformers_jax.training.state import init_state
from transformers_jax.training.step import make_step

FIXTURES = Path(__file__).parent / "dpo"
CASES = json.loads((FIXTURES / "cases.json").read_text())
PAIR = {"prompt": "say it", "chosen": " yes", "rejected": " no maybe"}
USER, ANSWER = {"role": "user", "content": "say it"}, {"role": "assistant", "content": "yes"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The directory of the model, its tokenizer without a chat template."""
    folder = tmp_path_factory.mktemp("plain")
    tokenizer = load_tokenizer(FIXTURES / "model")
    tokenizer.chat_template = None
    tj.save_pretrained(tj.from_pretrained(FIXTURES / "model"), folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def models():
    return [tj.from_pretrained(FIXTURES / name) for name in ("model", "reference")]


def task_of(case):
    return DPO(loss_type=case["settings"]["loss_type"], beta=case["settings"]["beta"])


def batch_of(corpus, empty=0):
    rows = [[example] for example in corpus.train.examples] + [[]] * empty
    return assemble(rows, layout_of(corpus))


def rows_of(batch, number):
    """(ids, learned ids) of the rows of the pair `number`."""
    rows = zip(batch["input_ids"][number], batch["attention_mask"][number], batch["labels"][number])
    return [
        (ids[mask > 0].tolist(), labels[labels != IGNORED].tolist()) for ids, mask, labels in rows
    ]


# ---------------------------------------------------------------- TRL


@pytest.mark.parametrize("name", CASES)
def test_the_rows_and_figures_are_those_of_trl(name, plain, models):
    case = CASES[name]
    where = FIXTURES / "model" if "messages" in name else plain
    corpus = corpus_of(where, case["records"], task_of(case))
    batch = batch_of(corpus, empty=1)
    theirs = zip(case["input_ids"], case["completion_mask"])
    theirs = [(np.array(ids), np.array(mask) > 0) for ids, mask in theirs]
    for number in range(2):
        for (ids, learned), (whole, mask) in zip(rows_of(batch, number), theirs[number::2]):
            assert learned == whole[mask].tolist()
            assert ids == whole[: len(ids)].tolist()
            assert (whole[len(ids) :] == 0).all()
    loss, sums = TaskObjective(corpus.task)(models[0], batch, None, models[1])
    figures = {key: float(x) for key, x in means(sums).items()}
    assert figures == pytest.approx(case["figures"], rel=1e-5)
    assert float(loss) == pytest.approx(case["figures"]["loss"], rel=1e-5)
    swapped = {**batch, "input_ids": batch["input_ids"][:, ::-1]}
    wrong, _ = TaskObjective(corpus.task)(models[0], swapped, None, models[1])
    assert float(wrong) != pytest.approx(case["figures"]["loss"], rel=1e-3)


def test_the_gradient_is_that_of_trl(plain, models):
    model, reference = models
    corpus = corpus_of(plain, CASES["texts-sigmoid"]["records"], DPO())
    batch, loss = batch_of(corpus), TaskObjective(corpus.task)

    @jax.jit
    def gradient(values):
        return jax.grad(lambda p: loss(tj.bind(model, p), batch, None, reference)[0])(values)

    ours = flatten(gradient(params(model)))
    theirs = flatten(params(tj.from_pretrained(FIXTURES / "gradient")))
    largest = max(float(abs(x).max()) for x in theirs.values())
    assert largest > 1e-3
    for path, x in theirs.items():
        assert np.allclose(ours[path], x, atol=1e-5 * largest, rtol=1e-5), path


def test_label_smoothing_is_the_expected_loss_of_labels_that_may_be_wrong():
    ratios, tokens = np.array([[1.0, -2.0], [-3.0, 0.5]]), np.array([[2, 3], [1, 1]])
    right, wrong = DPO().loss_of(ratios, tokens), DPO().loss_of(ratios[:, ::-1], tokens)
    smooth = DPO(label_smoothing=0.1).loss_of(ratios, tokens)
    assert np.allclose(smooth, 0.9 * right + 0.1 * wrong, rtol=1e-6)
    assert not np.allclose(smooth, right, rtol=1e-2)


# ---------------------------------------------------------------- laws


def test_a_model_that_is_its_reference_prefers_nothing(plain, models):
    corpus = corpus_of(plain, [PAIR], DPO())
    loss, sums = TaskObjective(corpus.task)(models[0], batch_of(corpus), None, models[0])
    assert float(loss) == pytest.approx(np.log(2), rel=1e-6)
    assert float(means(sums)["margin"]) == 0
    loss, _ = TaskObjective(corpus.task)(models[0], batch_of(corpus), None, models[1])
    assert float(loss) != pytest.approx(np.log(2), rel=1e-3)


def test_micro_batches_give_the_gradient_of_the_batch(plain, models):
    corpus = corpus_of(plain, [PAIR, CASES["texts-sigmoid"]["records"][1]], DPO(beta=1.0))
    batch, optimizer = batch_of(corpus), optax.sgd(0.1)
    after, norms = [], []
    for accumulate in (1, 2):
        step = make_step(
            models[0], TaskObjective(corpus.task), optimizer, accumulate=accumulate,
            reference=models[1], clip=None,
        )  # fmt: skip
        state, metrics = step(init_state(models[0], optimizer, jax.random.key(0)), batch)
        after.append(flatten(state.params))
        norms.append(float(metrics["gradient_norm"]))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert norms[0] > 1e-2
    assert all(
        np.allclose(after[0][path], after[1][path], rtol=1e-5, atol=1e-6) for path in after[0]
    )
    frozen = flatten(params(models[1]))
    assert all(not x.is_deleted() for x in frozen.values())


# ---------------------------------------------------------------- data


def test_a_template_writes_texts_and_messages_alike():
    texts = {"prompt": "say it", "chosen": "yes", "rejected": "no"}
    other = {"role": "assistant", "content": "no"}
    forms = [
        texts,
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [other]},
        {"chosen": [USER, ANSWER], "rejected": [USER, other]},
        {"prompt": "say it", "chosen": [USER, ANSWER], "rejected": [USER, other]},
    ]
    prints = {corpus_of(FIXTURES / "model", [form], DPO()).fingerprint for form in forms}
    assert len(prints) == 1
    system = corpus_of(FIXTURES / "model", [texts], DPO(system="well"))
    decode = system.tokenizer.decode
    ids, learned = rows_of(batch_of(system), 0)[0]
    assert decode(ids).startswith(
        "system" if "system" in decode(ids) else "<unk> : well <eos> user"
    )
    assert decode(learned) == "yes <eos>"


def test_long_prompts_lose_their_beginning_and_answers_their_end(plain):
    long = {"prompt": "why not say it", "chosen": " yes . yes", "rejected": " no"}
    corpus = corpus_of(plain, [long], DPO(), length=6)
    decode = corpus.tokenizer.decode
    rows = [decode(ids) for ids, _ in rows_of(batch_of(corpus), 0)]
    assert rows == ["say it yes . yes <eos>", "say it no <eos>"]
    assert "cut to 6: the beginning of 1 prompts, the end of 0 answers" in "\n".join(corpus.notes)
    corpus = corpus_of(plain, [long], DPO(), length=3)
    rows = [decode(ids) for ids, _ in rows_of(batch_of(corpus), 0)]
    assert rows == ["it yes .", "it no <eos>"]
    assert "the end of 1 answers" in "\n".join(corpus.notes)
    with pytest.raises(ValueError, match=r"t\[0\] has 8 tokens, and rows have 6 at most"):
        corpus_of(plain, [long], DPO(), length=6, too_long="error")


def test_pairs_of_equal_answers_are_counted(plain):
    same = {"prompt": "say", "chosen": " yes", "rejected": " yes"}
    notes = "\n".join(corpus_of(plain, [PAIR, same], DPO()).notes)
    assert "of 1 pairs both answers are the same" in notes
    assert "none is cut" in notes
    apart = {"prompt": "say", "chosen": " yes yes no", "rejected": " yes yes yes"}
    notes = "\n".join(corpus_of(plain, [PAIR, apart], DPO()).notes)
    assert "are the same" not in notes
    notes = "\n".join(corpus_of(plain, [apart], DPO(), length=2).notes)  # as they are read
    assert "of 1 pairs both answers are the same" in notes
    with pytest.raises(ValueError, match=r"data.length \(1\) leaves no room for an answer"):
        corpus_of(plain, [apart], DPO(), length=1)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"chosen": "yes", "rejected": "no"}, r"t\[0\] has no prompt: the two answers have no"),
        ({**PAIR, "prompt": ""}, "has no prompt: it is empty"),
        ({**PAIR, "chosen": [ANSWER]}, "one answer is a text and the other are messages"),
        ({**PAIR, "prompt": [USER]}, "'prompt' holds .* expected a text"),
        ({"chosen": [ANSWER], "rejected": [USER]}, "begin with different messages"),
        ({"prompt": "say it", "chosen": " yes"}, "none of 'rejected': pass --data.text-pair NAME"),
    ],
)
def test_a_record_that_is_no_preference_is_refused(plain, record, words):
    with pytest.raises(ValueError, match=words):
        corpus_of(plain, [record], DPO())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beta": 0.0}, "must be above 0"),
        ({"label_smoothing": 0.5}, "below 0.5"),
        ({"label_smoothing": 0.1, "loss_type": "ipo"}, "of the sigmoid loss, not of ipo"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        DPO(**settings)


# ---------------------------------------------------------------- runs


def records(count):
    draw = np.random.default_rng(0)
    prompts = [" ".join(draw.choice(["say", "it", "well", "why"], 3)) for _ in range(count)]
    return [{"prompt": one, "chosen": " yes .", "rejected": " no maybe"} for one in prompts]


def run_of(model, out, **settings):
    return finetune(
        model, "dpo", records(24), records(8), out=str(out), epochs=2, batch=8, seed=1,
        learning_rate=3e-2, length=8, rows="padded", **settings,
    )  # fmt: skip


def losses(run):
    return [line["loss_hex"] for line in run.fitted.metrics]


@pytest.mark.parametrize("adapter", ["lora", pytest.param(None, marks=pytest.mark.slow)])
def test_a_run_learns_the_preference_and_goes_on_bit_for_bit(plain, tmp_path, adapter):
    whole = run_of(plain, tmp_path / "whole", adapter=adapter)
    first = whole.fitted.metrics[0]
    assert first["loss"] == pytest.approx(np.log(2), rel=1e-6)  # the reference is the model itself
    assert whole.metrics["loss"] < np.log(2)
    assert whole.metrics["accuracy"] == 1
    names = {"chosen_reward", "rejected_reward", "margin", "chosen_log_prob", "rejected_log_prob"}
    assert names <= whole.metrics.keys()
    shutil.copytree(whole.folder, tmp_path / "part")
    shutil.rmtree(tmp_path / "part" / "checkpoints" / "6")
    again = run_of(plain, tmp_path / "part", adapter=adapter)
    assert losses(again)[-3:] == losses(whole)[-3:]
    assert again.metrics == whole.metrics
    measured = tj.evaluate(whole.folder, records(8))
    assert measured["margin"] == pytest.approx(whole.metrics["margin"], rel=1e-4)
    (one,) = tj.predict(whole.folder, records(1))
    assert one["preferred"] == "chosen"
    assert one["margin"] == pytest.approx(one["chosen_reward"] - one["rejected_reward"], rel=1e-5)


def test_a_reference_of_its_own_is_recorded_and_no_other_continues_the_run(plain, tmp_path):
    reference = tmp_path / "reference"
    shutil.copytree(FIXTURES / "reference", reference)
    run = run_of(plain, tmp_path / "run", reference=str(reference))
    objective = json.loads((run.folder / "config.json").read_text())["objective"]
    assert objective["reference"] == str(reference)
    assert len(objective["fingerprint"]) == 16
    assert run.fitted.metrics[0]["loss"] != pytest.approx(np.log(2), rel=1e-4)
    model = run.folder / "model"
    there = tj.evaluate(str(model), records(8), task="dpo", reference=str(reference))
    assert there == pytest.approx(tj.evaluate(run.folder, records(8)), rel=1e-5)
    with pytest.raises(ValueError, match="name its directory with reference="):
        tj.evaluate(str(model), records(8), task="dpo")
    shutil.copyfile(FIXTURES / "model/model.safetensors", reference / "model.safetensors")
    with pytest.raises(ValueError, match=r"objective\.fingerprint was .* and is"):
        run_of(plain, tmp_path / "run", reference=str(reference))
    with pytest.raises(ValueError, match="are not those that it had"):
        tj.evaluate(run.folder, records(8))


def test_a_reference_that_reads_other_tokens_is_refused(plain, encoder, tmp_path):
    config = tj.GPT2Config(vocab_size=30, n_positions=24, n_embd=8, n_layer=1, n_head=2)
    tj.save_pretrained(tj.from_config(config, head="causal_lm", key=jax.random.key(0)), tmp_path)
    with pytest.raises(ValueError, match="has a vocabulary of 30, not 19: both models read"):
        run_of(plain, tmp_path / "run", reference=str(tmp_path))
