"""What pages of tasks say of errors is what the errors say: rows of "What goes wrong"."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.docs.test_docs import ROOT
from tests.vision.models import make_model
from transformers_jax.data.augment.settings import Augment
from transformers_jax.data.config import Data, Table
from transformers_jax.data.corpus import load_corpus
from transformers_jax.data.tables import of_python
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer
from transformers_jax.models.plan import Plan
from transformers_jax.pretrained import head_of
from transformers_jax.processing.readers import new_processor
from transformers_jax.runs.answering import opened
from transformers_jax.runs.predictions import records_of
from transformers_jax.tasks import TASKS, ImagePretraining
from transformers_jax.tasks.corpus import read_task
from transformers_jax.tasks.rows import Form
from transformers_jax.training.compatible import check_objective
from transformers_jax.training.config import TrainConfig

TEXT = "Ann is in Rome. Bob is not."
TEMPLATE = "{% for m in messages %}{{ loop.revindex }}{{ m.content }}{% endfor %}"
TALK = [{"role": role, "content": "a"} for role in ("user", "assistant")]


def question(answer, start):
    return {
        "question": "?",
        "context": TEXT,
        "answers": {"text": [answer], "answer_start": [start]},
    }


def choice(choices, label=0):
    return {"context": "a", "choices": choices, "label": label}


CASES = {
    "classification": [
        ("sequence_classification", [{"body": "a", "label": "good"}], {}),
        ("sequence_classification", [{"text": "a", "label": None}], {}),
        ("sequence_classification", [{"text": "a", "label": "good"}], {}),
        ("sequence_classification", [{"text": "a", "label": f"{n}"} for n in range(1200)], {}),
        ("sequence_classification", [{"text": "a", "label": x} for x in ("good", "bad")], {},
         [{"text": "a", "label": "goood"}]),
    ],
    "regression-and-pairs": [
        ("regression", [{"sentence1": "a", "score": "high"}], {}),
        ("regression", [{"sentence1": "a", "sentence2": "b", "score": 1}],
         {"text_pair": "sentence_2"}),
    ],
    "tokens": [
        ("token_classification", [{"tokens": ["a"] * 4, "tags": ["O"] * 3}], {}),
        ("token_classification",
         [{"text": "a b", "entities": [{"start": 90, "end": 93, "label": "PER"}]}], {}),
        ("token_classification", [{"tokens": ["a"], "tags": ["O"]}], {}),
        ("token_classification", [{"tokens": [], "tags": ["O"]}], {}),
    ],
    "question-answering": [
        ("question_answering", [question("rome", 10)], {}),
        ("question_answering", [{**question("Rome", 10), "answers": "Rome"}], {}),
        ("question_answering", [{"question": "?", "text": TEXT, "answers": []}], {}),
    ],
    "multiple-choice": [
        ("multiple_choice", [choice("it eats")], {}),
        ("multiple_choice", [choice(["a", "b"]), choice(["a", "b", "c"])], {}),
        ("multiple_choice", [choice(["a", "b"], 2)], {}),
    ],
    "writing": [("summarization", [{"text": "a", "summary": "b"}], {})],
    "instruction": [
        ("instruction", [{"prompt": "a", "reply": "b"}], {}),
        ("instruction", [{"messages": TALK[:1]}], {}),
        ("instruction", [{"messages": TALK * 2}], {}),
        ("instruction", [{"prompt": "a" * 40, "response": "b"}], {"length": 5}),
    ],
}  # fmt: skip
"""page -> (task, records, settings of the table, further records to evaluate)."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The directories of a tiny BERT and a tiny GPT-2."""
    found = {}
    for kind, head, config in (
        ("wordpiece", "masked_lm", tj.BertConfig),
        ("byte", "causal_lm", tj.GPT2Config),
    ):
        folder = found[head] = tmp_path_factory.mktemp(kind)
        roles = ("pad", "cls", "sep", "mask") if kind == "wordpiece" else ("eos",)
        tokenizer = train_tokenizer(kind, [TEXT], 80, roles)
        if kind == "byte":
            tokenizer.chat_template = TEMPLATE
        tokenizer.save(folder)
        sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
        if kind == "byte":
            sizes = dict(n_embd=8, n_layer=1, n_head=1)
        model = config(vocab_size=tokenizer.max_id + 1, **sizes)
        tj.save_pretrained(tj.from_config(model, head=head, key=jax.random.key(0)), folder)
    return found


def message_of(folders, name, records, settings, more=()):
    """The error of a task that reads records."""
    task = TASKS[name]()
    folder = folders["causal_lm" if task.head == "causal_lm" else "masked_lm"]
    tokenizer, config = load_tokenizer(folder), tj.AutoConfig.from_pretrained(folder)
    if "prompt" in records[0]:
        tokenizer.chat_template = None
    tables = {"train": of_python("train", records)}
    tables |= {"validation": of_python("validation", more)} if more else {}
    try:
        model = Plan(config, head_of(config, task.head)).build()
        read_task(Table(train="train", **settings), task, tokenizer, model, tables=tables)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{name} reads {records[0]}")


def rows_of(page):
    """The messages in the first column of "What goes wrong"."""
    text = (ROOT / f"docs/tasks/{page}.md").read_text().partition("## What goes wrong")[2]
    cells = re.findall(r"^\| (.*?[^\\]) \|", text.partition("\n## ")[0], re.MULTILINE)
    return [cell[1:-1] for cell in cells if cell.startswith("`") and cell.endswith("`")]


@pytest.mark.parametrize("page", CASES)
def test_an_error_is_in_the_page_of_its_task(page, folders):
    compare(page, [message_of(folders, *case) for case in CASES[page]])


def compare(page, messages):
    """Each message is in a row of the page, and each row is of a message."""
    rows = rows_of(page)
    patterns = [".*".join(map(re.escape, row.split("..."))) for row in rows]
    for message in messages:
        assert any(re.fullmatch(one, message, re.DOTALL) for one in patterns), message
    for one, row in zip(patterns, rows):
        assert any(re.fullmatch(one, message, re.DOTALL) for message in messages), row


def test_an_error_of_text_is_in_its_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a few words\n")
    paths = ("none.txt", "*.md")
    compare(
        "domain-adaptation",
        [said(load_corpus, Data(tokenizer="byte", path=path)) for path in paths],
    )


def said(function, *arguments, **options):
    """The error of a call."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - compared with the page
        function(*arguments, **options)
    return str(error.value)


@pytest.mark.slow
def test_an_error_of_captions_is_in_its_page(tmp_path):
    two = [np.zeros((16, 16, 3), np.uint8)] * 2
    one = {"image": two, "prompt": "a", "caption": "red"}
    cases = [
        ("idefics", [{**one, "prompt": "a <image> b"}], {}),
        ("llava", [one, {**one, "image": two[:1]}], {}),
        ("described", [one], {}),
        ("described", [{**one, "image": two[0], "prompt": "<image> a"}], {}),
        ("llava", [{**one, "caption": "red " * 9}], {"length": 8, "too_long": "error"}),
        (
            "described",
            [{**one, "image": two[0], "caption": "red " * 9}],
            {"target_length": 8, "too_long": "error"},
        ),
    ]
    kinds = {kind: make_model(tmp_path / kind, kind) for kind, _, _ in cases}
    messages = []
    for kind, records, settings in cases:
        answering = opened(str(kinds[kind]), None, None, settings)
        messages.append(said(answering.read, records_of(records, "records"), answered=True))
    compare("captioning", messages)


def test_an_error_of_pretraining_on_pictures_is_in_its_page():
    image = dict(image_size=8, patch_size=2, num_channels=1)
    sizes = dict(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, **image
    )
    task = ImagePretraining()
    beit = Plan(config := tj.BeitConfig(**sizes), task.head).build()
    form = Form(Table(), None, beit, {"image": "image"}, processor=new_processor(config))
    records = of_python("train", [{"image": np.zeros((8, 8), np.uint8)}])
    trained = lambda config: said(
        check_objective, TrainConfig(model=config, objective=task, data=Table())
    )
    stride = tj.ViTConfig(**sizes)
    batch = {"pixel_values": np.zeros((1, 1, 8, 8), np.float32), "number": np.zeros(1, int)}
    hiding = tj.from_config(stride, head=task.head, key=jax.random.key(0))
    messages = [
        said(task.read, form, records),
        trained(tj.ConvNextConfig(hidden_sizes=(4,), depths=(1,), num_stages=1)),
        said(task.minimise, hiding, batch, None),
        said(ImagePretraining, masked=1.0),
        said(ImagePretraining, augment=Augment(mixup=1.0)),
        said(task.respond, None, {}),
    ]
    compare("image-pretraining", messages)
