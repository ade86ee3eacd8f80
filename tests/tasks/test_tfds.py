"""Data sets of TFDS as tables of tasks: directories that its own writer has made, with the features
of squad, conll2003, glue and wmt, read without TensorFlow."""

import json

import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import reviews
from transformers_jax.data.config import Table
from transformers_jax.data.tables import open_table
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer
from transformers_jax.models.plan import Plan
from transformers_jax.pretrained import head_of
from transformers_jax.tasks import (
    QuestionAnswering,
    SequenceClassification,
    Summarization,
    TokenClassification,
    Translation,
)
from transformers_jax.tasks.corpus import read_task

NER = "O B-PER I-PER B-ORG I-ORG B-LOC I-LOC B-MISC I-MISC".split()
TEXT = "the good film was fine"


def squad(f):
    answers = f.Sequence({"text": f.Text(), "answer_start": np.int32})
    texts = {name: f.Text() for name in ("id", "title", "context", "question")}
    return f.FeaturesDict({**texts, "answers": answers})


def conll2003(f):
    tags = {name: f.Sequence(f.ClassLabel(names=some)) for name, some in
            (("pos", ["NN", "VB"]), ("chunks", ["O", "B-NP"]), ("ner", NER))}  # fmt: skip
    return f.FeaturesDict({"tokens": f.Sequence(f.Text()), **tags})


def mrpc(f):
    label = f.ClassLabel(names=["not_equivalent", "equivalent"])
    texts = {"sentence1": f.Text(), "sentence2": f.Text()}
    return f.FeaturesDict({**texts, "label": label, "idx": np.int32})


def cnn_dailymail(f):
    return f.FeaturesDict({name: f.Text() for name in ("id", "article", "highlights", "publisher")})


def wmt16(f):
    return f.Translation(languages=("ro", "en"))


def answered(number, **answers):
    return {"id": str(number), "title": "t", "context": TEXT, "question": "what?",
            "answers": answers}  # fmt: skip


CONLL = {"tokens": ["a", "good", "film"], "pos": [0, 0, 1], "chunks": [0, 1, 1], "ner": [0, 1, 2]}
RECORDS = {
    squad: [
        answered(0, text=["good film", "film"], answer_start=[4, 9]),
        answered(1, text=[], answer_start=[]),
        answered(2, text=["fine"], answer_start=[18]),
    ],
    conll2003: [CONLL, {**CONLL, "ner": [3, 4, 0]}],
    mrpc: [
        {"sentence1": "a film", "sentence2": TEXT, "label": n % 2, "idx": n} for n in range(3)
    ] + [{"sentence1": "a", "sentence2": "b", "label": 0, "idx": -1}],
    cnn_dailymail: [
        {"id": "1", "article": TEXT, "highlights": "good film", "publisher": "x"}
    ] * 2,
    wmt16: [{"ro": "filmul bun", "en": "the good film"}] * 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """TFDS_DATA_DIR with these data sets, by their names."""
    import tensorflow_datasets as tfds

    from transformers_jax.data.python_docs.builder import quietly

    root = tmp_path_factory.mktemp("tfds")
    for features, records in RECORDS.items():

        class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")
            name = features.__name__
            pkg_dir_path = root
            made, rows = features, records

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=type(self).made(tfds.features))

            def _split_generators(self, manager):
                return {"train": self._generate_examples(), "validation": self._generate_examples()}

            def _generate_examples(self):
                return enumerate(self.rows)

        quietly(Made(data_dir=str(root), file_format="array_record").download_and_prepare)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(root))
        yield root


def corpus_of(folder, name, task, **settings):
    tokenizer, config = load_tokenizer(folder), tj.AutoConfig.from_pretrained(folder)
    model = Plan(config, head_of(config, task.head)).build()
    return read_task(Table(train=f"tfds:{name}", batch=1, **settings), task, tokenizer, model)


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writer")
    texts = [TEXT, "filmul bun", *(record["sentence"] for record in reviews(50))]
    tokenizer = train_tokenizer("unigram", texts, 300, roles=("pad", "eos", "unk"))
    config = tj.T5Config(
        vocab_size=tokenizer.max_id + 1, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2,
        eos_token_id=tokenizer.special_id("eos"),
    )  # fmt: skip
    folder.joinpath("config.json").write_text(json.dumps(config.to_dict()))
    tokenizer.save(folder)
    return folder


def by_key(records, name):
    return sorted(records, key=lambda record: str(record[name]))


def test_squad_is_questions_and_their_answers(prepared, encoder):
    corpus = corpus_of(encoder, "squad", QuestionAnswering())
    assert {*corpus.form.columns.items()} >= {("text", "question"), ("text_pair", "context")}
    pairs = zip(corpus.train.records.records, corpus.train.references)
    found = {record["id"]: references for record, references in pairs}
    assert found == {"0": [("good film", 4), ("film", 9)], "1": [], "2": [("fine", 18)]}
    assert corpus.task.allows_none
    assert len(corpus.evaluation[""].records) == 3


def test_conll2003_is_words_and_their_tags_in_the_order_of_the_data_set(prepared, encoder):
    corpus = corpus_of(encoder, "conll2003", TokenClassification(), label="ner")
    assert {*corpus.form.classes} >= {"O", "B-PER", "I-PER", "B-ORG", "I-ORG"}
    found = sorted(map(tuple, corpus.train.references))
    assert found == [("B-ORG", "I-ORG", "O"), ("O", "B-PER", "I-PER")]
    assert corpus.form.columns == {"text": "tokens", "label": "ner"}
    assert corpus_of(encoder, "conll2003", TokenClassification()).form.columns["label"] == "ner"


def test_glue_is_pairs_with_the_names_of_classes(prepared, encoder):
    table = open_table("tfds:mrpc", "data.train")["train"]
    assert by_key(table.records, "idx")[0] == {
        "sentence1": "a", "sentence2": "b", "label": "not_equivalent", "idx": -1,
    }  # fmt: skip
    corpus = corpus_of(encoder, "mrpc", SequenceClassification())
    assert corpus.form.classes == ("not_equivalent", "equivalent")
    assert sorted(corpus.train.references) == [0, 0, 0, 1]
    assert corpus.form.columns == {
        "text": "sentence1", "text_pair": "sentence2", "label": "label",
    }  # fmt: skip


def test_cnn_dailymail_is_articles_and_highlights(prepared, writer):
    corpus = corpus_of(writer, "cnn_dailymail", Summarization())
    assert corpus.form.columns == {"text": "article", "label": "highlights"}
    assert corpus.train.references == ["good film"] * 2


def test_wmt_is_a_column_for_each_language(prepared, writer):
    corpus = corpus_of(writer, "wmt16", Translation(), text="en", label="ro")
    assert corpus.train.references == ["filmul bun"] * 2
    example = corpus.train.examples[0]
    assert corpus.tokenizer.decode(example.tokens["input_ids"]).startswith("the good film")
    with pytest.raises(ValueError, match=r"has the columns 'en', 'ro', .* pass --data.text NAME"):
        corpus_of(writer, "wmt16", Translation())
