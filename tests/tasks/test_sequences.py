"""Classes, labels and numbers of texts: rows, losses and predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Table
from transformers_jax.data.packing import assemble
from transformers_jax.data.tables import of_python
from transformers_jax.data.tokenizer import Tokenizer
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.models.plan import Plan
from transformers_jax.nn.loss import IGNORED
from transformers_jax.pretrained import head_of
from transformers_jax.tasks import MultiLabel, Regression, SequenceClassification
from transformers_jax.tasks.base import TaskObjective, in_order
from transformers_jax.tasks.corpus import TaskPart, layout_of, read_task

TEXTS = ["the good film", "a bad book and a very sad plot", "it was fine", "awful story"]
TABLES = {
    SequenceClassification(): ["pos", "neg", "pos", "mixed"],
    MultiLabel(): ["a|b", "b", "", "c"],
    Regression(): [0.5, "2", 3, -1.25],
}


def corpus_of(encoder, task, labels, texts=TEXTS, **settings):
    """The rows of a table, and an abstract model for them."""
    records = [{"text": text, "label": label} for text, label in zip(texts, labels)]
    tokenizer = load_tokenizer(encoder)
    config = tj.AutoConfig.from_pretrained(encoder)
    model = Plan(config, head_of(config, task.head)).build()
    data = Table(train="t", validation_fraction=0, batch=2, **settings)
    with pytest.MonkeyPatch.context() as patch:
        table = {"train": of_python("t", records)}
        patch.setattr("transformers_jax.tasks.corpus.read_tables", lambda _: table)
        return read_task(data, task, tokenizer, model)


def model_for(encoder, corpus):
    config = corpus.task.fitted(tj.AutoConfig.from_pretrained(encoder), corpus.form.classes)
    config = config.replace(initializer_range=0.5)  # so that rows are answered unlike
    return tj.from_config(config, head=corpus.task.head, key=jax.random.key(3))


def batch_of(corpus, rows=6):
    """All examples in one batch, and empty rows."""
    examples = corpus.train.examples
    return assemble([[one] for one in examples] + [[]] * (rows - len(examples)), layout_of(corpus))


@pytest.mark.parametrize("task", TABLES, ids=lambda task: type(task).__name__)
def test_the_loss_is_that_of_the_models_own_head(encoder, task):
    """Empty rows count for nothing: the head alone is given the rows that there are."""
    corpus = corpus_of(encoder, task, TABLES[task])
    model = model_for(encoder, corpus)
    batch = batch_of(corpus)
    loss, sums = TaskObjective(corpus.task)(model, batch, None)
    own = {name: value[:4] for name, value in batch.items() if name != "number"}
    assert np.allclose(loss, model(**own).loss, rtol=1e-6)
    assert np.allclose(sums["loss"][0] / sums["loss"][1], loss, rtol=1e-6)
    wrong = {**own, "labels": own["labels"][::-1]}
    assert not np.allclose(loss, model(**wrong).loss, rtol=1e-3)  # the control


def test_class_weights_weigh_rows_as_pytorch_does(encoder):
    labels = TABLES[SequenceClassification()]
    task = SequenceClassification(class_weights=(("pos", 3.0),))
    corpus = corpus_of(encoder, task, labels)
    model, batch = model_for(encoder, corpus), batch_of(corpus)
    loss, _ = TaskObjective(corpus.task)(model, batch, None)
    inputs = corpus.task.inputs({name: value[:4] for name, value in batch.items()})
    logs = jax.nn.log_softmax(model(**inputs).logits)
    weights = np.where(np.array(labels) == "pos", 3.0, 1.0)
    picked = logs[np.arange(4), batch["labels"][:4]]
    assert np.allclose(loss, -(weights * picked).sum() / weights.sum(), rtol=1e-6)
    balanced = corpus_of(encoder, SequenceClassification(balanced=True), labels).task
    assert balanced.resolved == pytest.approx([4 / 3, 4 / 3, 4 / 6])
    with pytest.raises(ValueError, match="class_weights: the class 'poss' is unknown"):
        corpus_of(encoder, SequenceClassification(class_weights=(("poss", 1.0),)), labels)


def test_rows_hold_what_the_tokenizer_gives_and_notes_say_what_was_cut(encoder):
    corpus = corpus_of(encoder, SequenceClassification(), ["1", "0", "10", "2"], length=6)
    tokenizer = load_tokenizer(encoder)
    expected = tokenizer.batch(TEXTS, truncation=True, max_length=6, padding=False)["input_ids"]
    rows = [example.tokens["input_ids"].tolist() for example in corpus.train.examples]
    assert rows == [row.tolist() for row in expected]
    assert corpus.form.classes == ("0", "1", "2", "10")  # by size
    notes = "\n".join(corpus.notes)
    assert "text from 'text', label from 'label'" in notes
    assert "1 of 4 rows (25.0%) are cut to 6 tokens; the longest has 10" in notes
    assert "1 1 (25%)" in notes
    whole = corpus_of(encoder, SequenceClassification(), list("abab"))
    assert whole.form.length == 10
    assert "none is cut" in "\n".join(whole.notes)


def test_a_pair_has_token_types_and_the_longer_text_is_cut(encoder):
    records = [
        {"sentence1": "the film", "sentence2": "it was a very good story", "label": n}
        for n in (0, 1)
    ]
    tokenizer = load_tokenizer(encoder)
    config = tj.AutoConfig.from_pretrained(encoder)
    ids = {f"{role}_token_id": tokenizer.special_id(role) for role in ("pad", "cls", "sep")}
    ids |= {"bos_token_id": 0, "eos_token_id": 1}
    modern = tj.ModernBertConfig(vocab_size=config.vocab_size, num_hidden_layers=1, **ids)
    found, table = [], {"train": of_python("t", records)}
    for one in (config, modern):
        model = Plan(one, head_of(one, "sequence_classification")).build()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("transformers_jax.tasks.corpus.read_tables", lambda _: table)
            corpus = read_task(Table(length=8), SequenceClassification(), tokenizer, model)
        found.append(corpus.train.examples[0].tokens)
    assert found[0]["token_type_ids"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert tokenizer.decode(found[0]["input_ids"][1:3]) == "the film"
    assert [*found[1]] == ["input_ids"]  # the tokenizer has types, this model has none


def test_a_row_that_fills_up_a_batch_leaves_the_gradient_finite():
    ids = dict(pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2)
    size = dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8)
    config = tj.ModernBertConfig(vocab_size=16, classifier_pooling="mean", **size, **ids)
    model = tj.from_config(config, head="sequence_classification", key=jax.random.key(0))
    row = dict(input_ids=[[1, 5, 2]], attention_mask=[[1, 1, 1]], labels=[1], number=[0])
    none = dict(input_ids=[[0, 0, 0]], attention_mask=[[0, 0, 0]], labels=[-100], number=[-100])
    one = {name: np.array(value, np.int32) for name, value in row.items()}
    two = {name: np.array(value + none[name], np.int32) for name, value in row.items()}
    task, (apply, params) = SequenceClassification(), tj.functional(model)

    def gradients(batch):
        loss = lambda p: task.minimise(lambda key, **inputs: apply(p, **inputs), batch, None)[0]
        return jax.grad(loss)(params)

    assert task.inputs(two)["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    expected, found = jax.tree.leaves(gradients(one)), jax.tree.leaves(gradients(two))
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(expected, found))


def test_predictions_name_classes_with_their_scores(encoder):
    logits = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 3.0]])
    task = SequenceClassification()
    corpus = corpus_of(encoder, task, ["b", "c", "a", "a"])
    found = task.predictions({"logits": logits}, corpus.train, corpus.form)
    assert [one["label"] for one in found] == ["a", "b", "a", "c"]
    assert found[1]["score"] == pytest.approx(np.e / (np.e + 2))
    assert task.metrics({"logits": logits}, corpus.train, corpus.form)["accuracy"] == 0.25
    many = MultiLabel(threshold=0.9)
    corpus = corpus_of(encoder, many, TABLES[MultiLabel()])
    found = many.predictions({"logits": logits}, corpus.train, corpus.form)
    assert [one["labels"] for one in found] == [[], [], [], ["c"]]
    figures = MultiLabel(threshold=0.8).metrics({"logits": logits}, corpus.train, corpus.form)
    assert figures["subset_accuracy"] == 0.5


def test_answers_come_in_the_order_of_the_records_without_empty_rows(encoder):
    corpus = corpus_of(encoder, Regression(), [0.0, 1.0, 2.0, 3.0])
    batches = [
        {"number": np.array([2, 0, IGNORED]), "logits": np.array([[2.0], [0.0], [9.0]])},
        {"number": np.array([3]), "logits": np.array([[3.0]])},
    ]
    answers, rows = in_order(batches, corpus.train)
    assert answers["logits"].tolist() == [[0.0], [2.0], [3.0]]
    assert [float(x) for x in rows.references] == [0.0, 2.0, 3.0]
    assert rows.owners.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("task", "labels", "words"),
    [
        (SequenceClassification(), ["a", "", "b", "b"], r"t\[1\]: 'label' holds nothing"),
        (SequenceClassification(), ["a", [1], "b", "b"], r"t\[1\]: 'label' holds \[1\]"),
        (SequenceClassification(), ["a"] * 4, "there is one class alone, 'a'"),
        (Regression(), [1, "two", 3, 4], r"t\[1\]: 'label' holds 'two'; expected a number"),
        (Regression(), [1, float("nan"), 3, 4], r"t\[1\]: 'label' holds nan"),
        (MultiLabel(), [3, "a", "b", "c"], r"t\[0\]: 'label' holds 3; expected a list of labels"),
        (MultiLabel(), ["", "", "", ""], "no record has a label"),
    ],
)
def test_a_label_that_is_none_is_refused_with_its_place(encoder, task, labels, words):
    with pytest.raises(ValueError, match=words):
        corpus_of(encoder, task, labels)


def test_long_rows_are_refused_where_the_config_says_so(encoder):
    with pytest.raises(ValueError, match=r"t\[1\] has 10 tokens, and rows have 6 at most"):
        corpus_of(encoder, SequenceClassification(), list("abab"), length=6, too_long="error")
    with pytest.raises(
        ValueError, match=r"data.length \(99\) is more than this model reads \(48\)"
    ):
        corpus_of(encoder, SequenceClassification(), list("abab"), length=99)


def test_a_part_shuffles_every_pass_and_batches_rows_of_like_length(encoder):
    texts = [" ".join(["film"] * (1 + n % 40)) for n in range(64)]
    corpus = corpus_of(encoder, Regression(), list(range(64)), texts)
    part = corpus.part(corpus.train, 5)
    assert isinstance(part, TaskPart)
    passes = [[number for rows in part.rows(epoch, 0) for number in rows] for epoch in (0, 1)]
    orders = [[part.example(e, n).once["number"] for n in passes[e]] for e in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(64))
    assert orders[0] != orders[1]
    lengths = [len(part.example(0, n).tokens["input_ids"]) for n in passes[0]]
    assert all(abs(a - b) <= 1 for a, b in zip(lengths[::2], lengths[1::2]))


def test_the_gradient_of_an_empty_batch_is_zero(encoder):
    corpus = corpus_of(encoder, MultiLabel(), TABLES[MultiLabel()])
    model = model_for(encoder, corpus)
    like = [corpus.train.examples[0]]
    empty = assemble([[], []], layout_of(corpus), like)
    apply, params = tj.functional(model)
    loss = lambda params: TaskObjective(corpus.task)(
        lambda key=None, **inputs: apply(params, **inputs), empty, None
    )[0]
    for leaf in jax.tree.leaves(jax.grad(loss)(params)):
        assert not jnp.any(leaf)


def test_a_text_is_encoded_once_where_no_length_is_given(encoder, monkeypatch):
    """Only one that is longer than the model reads is encoded again, to be cut."""
    encoded: list[str] = []
    batch = Tokenizer.batch

    def counted(self, texts, *rest, **options):
        encoded.extend(texts)
        return batch(self, texts, *rest, **options)

    monkeypatch.setattr(Tokenizer, "batch", counted)
    task = SequenceClassification()
    corpus = corpus_of(encoder, task, TABLES[task])
    assert encoded == TEXTS
    assert corpus.form.length == max(len(one.tokens["input_ids"]) for one in corpus.train.examples)
    assert corpus.form.length == 10  # of the second text, with [CLS] and [SEP]
    long = [*TEXTS[:3], "film " * 99]
    corpus = corpus_of(encoder, task, TABLES[task], long)
    assert encoded == [*TEXTS, *long, long[3]]
    assert corpus.form.length == 48 == len(corpus.train.examples[3].tokens["input_ids"])
    assert "1 of 4 rows (25.0%) are cut to 48 tokens; the longest has 101" in " ".join(corpus.notes)
