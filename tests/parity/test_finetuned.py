"""PyTorch loads what fine-tuning leaves: models, adapters, tokenizers, names of classes. Runs where
the extra `parity` is; adapters, where PEFT is."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import encoder, reviews  # noqa: F401 - a fixture
from tests.tasks.test_instructions import decoder  # noqa: F401 - a fixture
from tests.tasks.test_writing import writer  # noqa: F401 - a fixture
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.runs.recipe import finetune

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", exc_type=ImportError)

QUICK = dict(steps=2, epochs=None, per_epoch=0, every=2, batch=8, learning_rate=1e-2)
REVIEWS = reviews(40)
TEXTS = [record["sentence"] for record in REVIEWS]
ENDS = "good bad ugly".split()
TABLES = {
    "sequence_classification": REVIEWS,
    "multi_label": [
        {"text": t, "labels": [word for word in t.split() if word in ("film", "book", "plot")]}
        for t in TEXTS
    ],
    "regression": [{"text": t, "label": len(t) / 10} for t in TEXTS],
    "token_classification": [
        {"tokens": t.split(), "ner_tags": ["B-W" if "o" in w else "O" for w in t.split()]}
        for t in TEXTS
    ],
    "question_answering": [
        {
            "question": "which film",
            "context": t,
            "answers": {"text": [t.split()[0]], "answer_start": [0]},
        }
        for t in TEXTS
    ],
    "multiple_choice": [{"context": t, "choices": ENDS, "label": len(t) % 3} for t in TEXTS],
}
AUTO = {
    "sequence_classification": "AutoModelForSequenceClassification",
    "multi_label": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "question_answering": "AutoModelForQuestionAnswering",
    "multiple_choice": "AutoModelForMultipleChoice",
    "instruction": "AutoModelForCausalLM",
    "translation": "AutoModelForSeq2SeqLM",
    "summarization": "AutoModelForSeq2SeqLM",
}
CLOSE = 1e-5


def theirs_of(folder, task):
    """The model and the tokenizer of a directory, as PyTorch's transformers load them."""
    kind = getattr(transformers, AUTO[task])
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def same_ids(tokenizer, folder, texts, pairs=None):
    """What PyTorch's tokenizer makes of the texts, which is what ours does."""
    theirs = tokenizer(texts, pairs, padding=True, return_tensors="np")
    ours = tj.load_tokenizer(folder).batch(texts, pairs)
    for name in ours:
        np.testing.assert_array_equal(theirs[name], ours[name], err_msg=name)
    assert all(not theirs[name].any() for name in theirs if name not in ours)  # types of one text
    decoded = tokenizer.batch_decode(theirs["input_ids"], skip_special_tokens=True)
    ids = np.asarray(ours["input_ids"])
    assert decoded == tj.load_tokenizer(folder).batch_decode(ids, skip_special_tokens=True)
    return {name: np.asarray(values) for name, values in ours.items()}


def same_outputs(model, theirs, inputs):
    with torch.no_grad():
        expected = theirs(**{name: torch.tensor(x, dtype=torch.long) for name, x in inputs.items()})
    actual = model(**inputs)
    names = [name for name in actual if "logits" in name]
    assert names
    for name in names:
        furthest = np.abs(np.asarray(actual[name]) - expected[name].numpy()).max()
        print(f"{type(theirs).__name__} {name}: {furthest:.1e}")
        assert furthest < CLOSE, name


@pytest.mark.parametrize("task", TABLES)
def test_pytorch_loads_an_encoder_that_was_fine_tuned(encoder, task, tmp_path):  # noqa: F811
    run = finetune(encoder, task, TABLES[task], out=str(tmp_path / "run"), **QUICK)
    folder = run.folder / "model"
    theirs, tokenizer = theirs_of(folder, task)
    second = None
    if task in ("question_answering", "multiple_choice"):
        second = [TEXTS[0]] * 6
    inputs = same_ids(tokenizer, folder, TEXTS[:6], second)
    if task == "multiple_choice":
        inputs = {name: x.reshape(2, 3, -1) for name, x in inputs.items()}
    same_outputs(run.model, theirs, inputs)
    config = json.loads((folder / "config.json").read_text())
    if task not in ("question_answering", "multiple_choice"):
        assert {str(n): name for n, name in theirs.config.id2label.items()} == config["id2label"]
    if task in ("sequence_classification", "multi_label", "regression"):
        assert theirs.config.problem_type == config["problem_type"] is not None
    expected = {"sequence_classification": {"neg", "pos"}, "token_classification": {"O", "B-W"}}
    assert {*theirs.config.id2label.values()} >= expected.get(task, set())


def test_a_pipeline_of_pytorch_predicts_the_classes_that_we_do(encoder, tmp_path):  # noqa: F811
    kinds = {"sequence_classification": "text-classification", "token_classification": "ner"}
    for task, kind in kinds.items():
        run = finetune(encoder, task, TABLES[task], out=str(tmp_path / task), **QUICK)
        found = transformers.pipeline(kind, str(run.folder / "model"))(TEXTS[:4])
        ours = tj.predict(run.folder, TABLES[task][:4])
        if task == "sequence_classification":
            assert [one["label"] for one in found] == [one["label"] for one in ours]
            scores = [one["score"] for one in ours]
            np.testing.assert_allclose([one["score"] for one in found], scores, atol=CLOSE)


@pytest.mark.parametrize("rows", ["bucketed", "packed"])
def test_pytorch_loads_a_decoder_that_was_instructed(decoder, rows, tmp_path):  # noqa: F811
    table = [{"prompt": f"{t} ", "response": str(len(t))} for t in TEXTS]
    settings = dict(out=str(tmp_path / "run"), rows=rows, length=96, **QUICK)
    run = finetune(decoder, "instruction", table, **settings)
    folder = run.folder / "model"
    theirs, tokenizer = theirs_of(folder, "instruction")
    tokenizer.pad_token = tokenizer.eos_token
    alone = tokenizer(TEXTS[0], return_tensors="np")["input_ids"]
    np.testing.assert_array_equal(alone[0], tj.load_tokenizer(folder).encode(TEXTS[0]))
    same_outputs(run.model, theirs, {"input_ids": alone})
    messages = [{"role": "user", "content": "one?"}]
    options = dict(add_generation_prompt=True)
    written = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    assert written == tj.load_tokenizer(folder).chat(messages, **options)
    ids = torch.tensor(alone)
    greedy = dict(max_new_tokens=8, do_sample=False, eos_token_id=None)
    generated = theirs.generate(ids, pad_token_id=0, attention_mask=torch.ones_like(ids), **greedy)
    ours = tj.generate(run.model, alone, max_new_tokens=8, eos_token_id=None)
    np.testing.assert_array_equal(generated.numpy()[:, -8:], np.asarray(ours)[:, -8:])


def test_pytorch_loads_a_decoder_that_classifies_rows_with_padding(decoder, tmp_path):  # noqa: F811
    out = str(tmp_path / "run")
    run = finetune(decoder, "sequence_classification", REVIEWS, out=out, length=96, **QUICK)
    theirs, tokenizer = theirs_of(run.folder / "model", "sequence_classification")
    assert theirs.config.pad_token_id is not None
    tokenizer.pad_token_id = theirs.config.pad_token_id
    inputs = tokenizer(TEXTS[:6], padding=True, return_tensors="np")
    assert not inputs["attention_mask"].all()
    same_outputs(run.model, theirs, inputs)
    found = tj.predict(run.folder, [{"sentence": text} for text in TEXTS[:6]])
    scores = jax.nn.softmax(run.model(**inputs).logits, -1).max(-1)
    np.testing.assert_allclose([one["score"] for one in found], scores, atol=CLOSE)


@pytest.mark.parametrize("task", ["summarization", "translation"])
def test_pytorch_loads_an_encoder_decoder_and_writes_the_same(writer, task, tmp_path):  # noqa: F811
    names = {"summarization": ("text", "summary"), "translation": ("source", "target")}[task]
    table = [dict(zip(names, (f"one {n % 7}", f"{n % 7}"))) for n in range(40)]
    run = finetune(writer, task, table, out=str(tmp_path / "run"), **QUICK)
    folder = run.folder / "model"
    theirs, tokenizer = theirs_of(folder, task)
    inputs = same_ids(tokenizer, folder, ["one 3", "two one 5"])
    targets = same_ids(tokenizer, folder, ["3", "5 1"])
    same_outputs(run.model, theirs, {**inputs, "labels": targets["input_ids"]})
    tensors = {name: torch.tensor(x, dtype=torch.long) for name, x in inputs.items()}
    written = theirs.generate(**tensors, max_new_tokens=6, do_sample=False, num_beams=1)
    ours = np.asarray(tj.generate(run.model, **inputs, max_new_tokens=6))
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    assert texts == tj.load_tokenizer(folder).batch_decode(ours, skip_special_tokens=True)


# ---------------------------------------------------------------- adapters


ADAPTERS = {
    "lora": tj.LoRA(rank=2),
    "dora": tj.LoRA(rank=2, dora=True),
    "rslora": tj.LoRA(rank=2, rslora=True, targets=("query", "value")),
    "ia3": tj.IA3(),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_peft_loads_the_adapter_of_a_classifier(encoder, name, tmp_path):  # noqa: F811
    peft = pytest.importorskip("peft")
    settings = dict(out=str(tmp_path / "run"), adapter=ADAPTERS[name], merge=True, **QUICK)
    run = finetune(encoder, "sequence_classification", REVIEWS, **settings)
    kind = transformers.AutoModelForSequenceClassification
    base = kind.from_pretrained(encoder, num_labels=2)
    theirs = peft.PeftModel.from_pretrained(base, run.folder / "adapter").eval()
    inputs = tj.load_tokenizer(encoder).batch(TEXTS[:6])
    inputs = {name: np.asarray(x) for name, x in inputs.items()}
    same_outputs(run.model, theirs, inputs)
    with theirs.disable_adapter(), pytest.raises(AssertionError):
        same_outputs(run.model, theirs, inputs)
    merged, tokenizer = theirs_of(run.folder / "model", "sequence_classification")
    same_outputs(run.model, merged, same_ids(tokenizer, run.folder / "model", TEXTS[:6]))
    assert merged.config.id2label == {0: "neg", 1: "pos"}


def test_peft_loads_the_adapter_of_a_decoder_and_of_an_encoder_decoder(
    decoder,  # noqa: F811
    writer,  # noqa: F811
    tmp_path,
):
    peft = pytest.importorskip("peft")
    table = [{"prompt": f"{t} ", "response": str(len(t))} for t in TEXTS]
    run = finetune(
        decoder, "instruction", table, out=str(tmp_path / "gpt"), adapter="lora", **QUICK
    )
    base = transformers.AutoModelForCausalLM.from_pretrained(decoder)
    theirs = peft.PeftModel.from_pretrained(base, run.folder / "adapter").eval()
    same_outputs(run.model, theirs, {"input_ids": np.arange(12).reshape(2, 6)})
    table = [{"source": f"one {n % 7}", "target": f"{n % 7}"} for n in range(40)]
    run = finetune(writer, "translation", table, out=str(tmp_path / "t5"), adapter="lora", **QUICK)
    base = transformers.AutoModelForSeq2SeqLM.from_pretrained(writer)
    theirs = peft.PeftModel.from_pretrained(base, run.folder / "adapter").eval()
    inputs = {"input_ids": np.arange(12).reshape(2, 6), "labels": np.arange(6).reshape(2, 3)}
    same_outputs(run.model, theirs, inputs)


@pytest.mark.parametrize("kind", ["bpe", "byte", "unigram", "wordpiece", "character"])
def test_the_tokenizers_that_a_run_learns_load_in_pytorch(kind, tmp_path):
    roles = ("pad", "unk", "cls", "sep", "eos") if kind == "wordpiece" else ("pad", "eos")
    tokenizer = train_tokenizer(kind, TEXTS, 400, roles=roles)
    config = tj.GPT2Config(vocab_size=tokenizer.max_id + 1, n_embd=8, n_layer=1, n_head=1)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    others = [" a  text\twith\nspaces ", "Grüße, 东京 🙂!", "don't [PAD] <pad>"]
    texts = TEXTS[:8] + others * (kind != "character")  # which refuses what it has not learned
    for text in texts:
        assert theirs(text)["input_ids"] == tokenizer.batch([text])["input_ids"][0].tolist()
