"""Distillation: the terms of DistilBERT, MiniLM and TinyBERT, and students that learn by them."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import reviews, write
from tests.tasks.test_tokens import corpus_of
from transformers_jax.cli import main as command
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.nn.param import flatten, params
from transformers_jax.objectives import means
from transformers_jax.objectives.distillation import DistilledCausalLM, DistilledMaskedLM
from transformers_jax.runs.finetune import main
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import Distillation
from transformers_jax.tasks.base import TaskObjective
from transformers_jax.tasks.corpus import read_task

FIXTURES = Path(__file__).parent / "distillation"
ALL = dict(attention_weight=0.7, layers=(0, 2), teacher="teacher")
HEADS = {"classes": "sequence_classification", "words": "masked_lm"}
WEIGHTS = {"kl_loss": 5.0, "label_loss": 2.0, "cosine_loss": 1.0, "attention_loss": 0.7}


@pytest.fixture(scope="module")
def figures():
    return dict(np.load(FIXTURES / "figures.npz"))


def models_of(kind):
    return [tj.from_pretrained(FIXTURES / f"{kind}-{one}") for one in ("student", "teacher")]


def objective_of(kind, **settings):
    settings = {**ALL, **settings}
    words = kind == "words"
    return DistilledMaskedLM(**settings) if words else TaskObjective(Distillation(**settings))


def batch_of(kind, figures):
    start = f"{kind}/batch/"
    batch = {n.removeprefix(start): x for n, x in figures.items() if n.startswith(start)}
    batch = {name: x.astype(np.int32) for name, x in batch.items()}
    return batch if kind == "words" else {**batch, "number": np.arange(3, dtype=np.int32)}


def sums_of(kind, model, teacher, figures, change=lambda batch: batch, **settings):
    """The figures of a batch."""
    objective = objective_of(kind, **settings)
    run = jax.jit(lambda batch: means(objective(model, batch, None, teacher)[1]))
    return {name: float(x) for name, x in run(change(batch_of(kind, figures))).items()}


def shaped(kind, model, teacher, figures, **settings):
    """Traces the objective, computing nothing."""
    objective, batch = objective_of(kind, **settings), batch_of(kind, figures)
    return jax.eval_shape(lambda: objective(model, batch, None, teacher)[0])


def gradient_of(objective, model, batch, teacher):
    @jax.jit
    def gradient(values):
        loss = lambda p: objective(tj.bind(model, p), batch, None, teacher)
        return jax.grad(loss, has_aux=True)(values)

    grads, sums = gradient(params(model))
    return flatten(grads), {name: float(x) for name, x in means(sums).items()}


# ---------------------------------------------------------------- PyTorch


@pytest.mark.parametrize("kind", ["words", pytest.param("classes", marks=pytest.mark.slow)])
def test_terms_and_gradient_are_those_of_pytorch(kind, figures):
    (model, teacher), batch = models_of(kind), batch_of(kind, figures)
    ours, found = gradient_of(objective_of(kind), model, batch, teacher)
    for name, weight in WEIGHTS.items():
        assert found[name] == pytest.approx(weight * float(figures[f"{kind}/{name}"]), rel=1e-5)
    theirs = flatten(params(tj.from_pretrained(FIXTURES / f"{kind}-gradient")))
    largest = max(float(abs(x).max()) for x in theirs.values())
    for path, x in theirs.items():
        assert np.allclose(ours[path], x, atol=1e-5 * largest, rtol=1e-4), path


def test_terms_of_a_classifier_are_those_of_pytorch(figures):
    model, teacher = models_of("classes")
    found = sums_of("classes", model, teacher, figures)
    for name, weight in WEIGHTS.items():
        assert found[name] == pytest.approx(weight * float(figures[f"classes/{name}"]), rel=1e-5)
    other = sums_of("classes", model, teacher, figures, layers=(1, 2))
    assert other["cosine_loss"] != pytest.approx(found["cosine_loss"], rel=1e-3)


def test_the_squared_difference_of_attention_is_that_of_pytorch(figures):
    model, teacher = models_of("classes")
    settings = dict(attention_loss="mse", attention_weight=1.0)
    found = sums_of("classes", model, teacher, figures, **settings)
    assert found["attention_loss"] == pytest.approx(float(figures["classes/squared"]), rel=1e-5)


# ---------------------------------------------------------------- laws


@pytest.mark.parametrize("kind", ["classes", pytest.param("words", marks=pytest.mark.slow)])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(kind, figures):
    teacher, batch = models_of(kind)[1], batch_of(kind, figures)
    alone = objective_of(kind, label_weight=0.0, layers=(0, 1, 2))
    grads, found = gradient_of(alone, teacher, batch, teacher)
    assert found["loss"] == pytest.approx(0, abs=1e-5)
    assert max(float(abs(x).max()) for x in grads.values()) < 1e-4
    crossed = objective_of(kind, label_weight=0.0, layers=(0, 1, 1))
    grads, found = gradient_of(crossed, teacher, batch, teacher)
    assert found["loss"] > 1e-2
    assert max(float(abs(x).max()) for x in grads.values()) > 1e-2


def test_padding_and_empty_rows_count_for_nothing(figures):
    def longer(batch):
        batch = {n: np.concatenate([x, np.zeros_like(x[:1])]) for n, x in batch.items()}
        batch["labels"][-1] = batch["number"][-1] = -100
        wide = ("input_ids", "attention_mask")
        return batch | {name: np.pad(batch[name], ((0, 0), (0, 2))) for name in wide}

    found = sums_of("classes", *models_of("classes"), figures)
    again = sums_of("classes", *models_of("classes"), figures, longer)
    assert again == pytest.approx(found, rel=1e-5)


def test_next_tokens_are_distilled_where_they_are_read():
    config = tj.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    models = [tj.from_config(config, head="causal_lm", key=jax.random.key(n)) for n in range(2)]
    ids = np.random.default_rng(0).integers(0, 20, (2, 8)).astype(np.int32)
    objective = DistilledCausalLM(teacher="t", cosine_weight=0.0)
    loss, sums = jax.jit(lambda: objective(models[0], {"input_ids": ids}, None, models[1]))()
    ours, theirs = (np.asarray(model(input_ids=ids[:, :-1]).logits) for model in models)
    logs = [jax.nn.log_softmax(x / 2) for x in (ours, theirs)]
    kl = 4 * (np.exp(logs[1]) * (logs[1] - logs[0])).sum(-1).mean()
    hard = -np.take_along_axis(jax.nn.log_softmax(ours), ids[:, 1:, None], -1).mean()
    assert float(loss) == pytest.approx(float(5 * kl + 2 * hard), rel=1e-5)
    assert sums["loss"].keys() == {"kl_loss", "label_loss"}


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": (0,)}, "must name, for each of the 2 layers of the student, one of the 3"),
        ({"layers": (0, 3)}, r"layers \(0, 3\) must name"),
    ],
)
def test_a_map_of_layers_that_there_are_not_is_refused(settings, words, figures):
    model, teacher = models_of("classes")
    with pytest.raises(ValueError, match=words):
        shaped("classes", model, teacher, figures, **settings)


def test_models_that_cannot_be_compared_are_refused(figures):
    teacher = models_of("classes")[1]
    for change, words in [
        ({"hidden_size": 12}, r"are 12 and 8 wide, and .* set objective\.cosine_weight to 0"),
        (
            {"num_attention_heads": 4},
            r"have 4 and 2 heads, .* set objective\.attention_weight to 0",
        ),
        ({"id2label": {0: "a", 1: "b"}}, "the student has 2 classes or tokens and the teacher 3"),
    ]:
        config = teacher.config.replace(num_hidden_layers=1, **change)
        model = tj.from_config(config, head=HEADS["classes"], key=jax.random.key(0))
        with pytest.raises(ValueError, match=words):
            shaped("classes", model, teacher, figures, layers=())


def test_weights_and_temperature_are_checked():
    for settings in ({"temperature": 0.0}, {"kl_weight": -1.0}):
        with pytest.raises(ValueError, match="must be at least 0 and not all 0, and the temp"):
            Distillation(**settings)


# ---------------------------------------------------------------- students


def test_a_student_has_the_layers_of_its_teacher(tmp_path):
    teacher = models_of("words")[1]
    ids = np.arange(1, 9)[None]
    same = tj.student_of(teacher, layers=(0, 1, 2))
    assert (same(input_ids=ids).logits == teacher(input_ids=ids).logits).all()
    student = tj.student_of(teacher, layers=(2,))
    ours, theirs = flatten(params(student)), flatten(params(teacher))
    layered = [path for path in ours if ".blocks." in path]
    assert layered
    assert all((ours[path][0] == theirs[path][2]).all() for path in layered)
    assert all((ours[path] == theirs[path]).all() for path in ours.keys() - {*layered})
    tj.save_pretrained(teacher, tmp_path / "teacher")
    assert (
        command(["student", f"{tmp_path}/teacher", f"{tmp_path}/student", "--layers", "0", "2"])
        == 0
    )
    assert tj.from_pretrained(tmp_path / "student").config.num_hidden_layers == 2
    for layers in ((), (3,), (-1,)):
        with pytest.raises(ValueError, match="expected some of the 3 layers"):
            tj.student_of(teacher, layers=layers)


# ---------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def teacher(encoder, tmp_path_factory):
    """The directory of a classifier of two layers."""
    folder = tmp_path_factory.mktemp("teacher")
    config = tj.AutoConfig.from_pretrained(encoder)
    config = config.replace(num_hidden_layers=2, id2label={0: "neg", 1: "pos"})
    model = tj.from_config(config, head=HEADS["classes"], key=jax.random.key(0))
    tj.save_pretrained(model, folder)
    load_tokenizer(encoder).save(folder)
    return folder


def test_a_classifier_is_distilled_by_the_command(encoder, teacher, tmp_path, capsys):
    train, held_out = (
        write(tmp_path / "a.jsonl", reviews(64)),
        write(tmp_path / "b.jsonl", reviews(32, 1)),
    )
    flags = f"""--task distillation --model {encoder} --objective.teacher {teacher}
        --data.train {train} --data.validation {held_out} --epochs 2 --batch 16
        --learning-rate 1e-2 --data.rows padded --data.length 16 --out {tmp_path}/run""".split()
    assert main(flags) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    evaluated = [line for line in lines if "eval_accuracy" in line]
    assert len(evaluated) == 2
    for name in ("kl_loss", "label_loss", "cosine_loss", "agreement"):
        assert f"eval_{name}" in evaluated[-1]
    assert evaluated[-1]["eval_cosine_loss"] < evaluated[0]["eval_cosine_loss"]
    shown = json.loads((tmp_path / "run/figure.json").read_text())
    assert (shown["kind"], shown["names"]) == ("confusion", ["neg", "pos"])
    (one,) = tj.predict(tmp_path / "run", ["a lovely film"])
    assert one.keys() == {"label", "score", "scores"}
    best = max(line["eval_accuracy"] for line in evaluated)
    assert tj.evaluate(tmp_path / "run/model", held_out)["accuracy"] == best
    capsys.readouterr()


def test_classes_are_those_of_the_teacher_in_their_order(encoder, teacher):
    config = tj.AutoConfig.from_pretrained(teacher)
    turned = config.replace(id2label={0: "pos", 1: "neg"})
    task = Distillation(teacher="t")
    records = [{"text": "a fine film", "label": "neg"}, {"text": "a book", "label": "pos"}]

    def corpus(config, records=records):
        reference = tj.from_config(config, head=HEADS["classes"], key=jax.random.key(0)).abstract()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "transformers_jax.tasks.corpus.read_task",
                lambda *parts: read_task(*parts, reference),
            )
            patch.setattr("tests.tasks.test_tokens.read_task", lambda *p: read_task(*p, reference))
            return corpus_of(encoder, records, task)

    assert corpus(config).form.classes == ("neg", "pos")
    assert corpus(turned).form.classes == ("pos", "neg")
    assert [one.once["labels"] for one in corpus(turned).train.examples] == [1, 0]
    with pytest.raises(ValueError, match="has the classes fair, which the teacher does not have"):
        corpus(config, [*records, {"text": "a plot", "label": "fair"}])


def test_a_teacher_that_is_none_is_refused(encoder, tmp_path):
    with pytest.raises(ValueError, match="reads a second model, its teacher: name its directory"):
        finetune(encoder, "distillation", reviews(40), out=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"lacks head.* trained with the head 'sequence_cl"):
        finetune(encoder, "distillation", reviews(40), out=str(tmp_path / "run"), batch=8,
                 teacher=str(encoder))  # fmt: skip


@pytest.mark.slow
def test_text_is_distilled(encoder, tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join(one["sentence"] for one in reviews(400)))
    run = finetune(
        encoder, "masked_lm_distillation", str(tmp_path / "text.txt"), teacher=str(encoder),
        out=str(tmp_path / "run"), epochs=1, batch=8, length=16,
    )  # fmt: skip
    assert {"kl_loss", "label_loss", "cosine_loss", "accuracy"} <= run.metrics.keys()
