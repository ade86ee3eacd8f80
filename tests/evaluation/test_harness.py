"""lm-evaluation-harness drives our models, on tasks that are made here: no network, no PyTorch."""

import functools
import math
import sys
from pathlib import Path

import lm_eval
import lm_eval.tasks
import numpy as np
import pytest
from datasets import Dataset, DatasetDict

import transformers_jax as tj
from tests.evaluation import models
from tests.evaluation.models import reader
from transformers_jax.data.tokenizers import train_tokenizer
from transformers_jax.evaluation import harness
from transformers_jax.evaluation.writing import cut

QUESTIONS = [
    {"question": "the sky is", "choices": ["blue", "a very long answer"], "answer": 0},
    {"question": "grass is", "choices": ["red", "green", "blue"], "answer": 1},
    {"question": "two and two", "choices": ["are four", "are 5"], "answer": 0},
    {"question": "a cat", "choices": ["sings", "purrs"], "answer": 1},
]
COMMON = {
    "test_split": "test",
    "custom_dataset": lambda **_: DatasetDict({"test": Dataset.from_list(QUESTIONS)}),
    "doc_to_text": "Q: {{question}}\nA:",
}
CHOICES = {
    **COMMON,
    "task": "choices_here",
    "output_type": "multiple_choice",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
ANSWERS = {
    **COMMON,
    "task": "answers_here",
    "output_type": "generate_until",
    "doc_to_target": "{{choices[answer]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 6},
    "metric_list": [{"metric": "exact_match"}],
}
TEXTS = {
    **COMMON,
    "task": "texts_here",
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{question}}, and so on and on and on, beyond what the model reads at once",
    "metric_list": [{"metric": "byte_perplexity"}],
}


model = functools.partial(models.model, positions=64)  # fewer than the long documents have


def made(kind="gpt", **options):
    length = {} if kind == "gpt" else {"max_length": 64}
    return harness.Harness(model(kind), tokenizer=reader(), batch_size=4, **length, **options)


def evaluated(lm, *tasks):
    manager = lm_eval.tasks.TaskManager(include_defaults=False)
    found = lm_eval.simple_evaluate(
        lm, tasks=list(tasks), task_manager=manager, bootstrap_iters=0, log_samples=True
    )
    return found["results"], found["samples"]


def own_scores(kind, norm):
    """(the choice that is the likeliest, by its log-probability or that by its characters)."""
    chosen = []
    for one in QUESTIONS:
        source = f"Q: {one['question']}\nA:"
        pairs = [(source, f" {choice}") for choice in one["choices"]]
        scores = tj.score_continuations(model(kind), pairs, tokenizer=reader()).log_prob
        lengths = [len(choice) if norm else 1 for choice in one["choices"]]
        chosen.append(int(np.argmax(scores / lengths)))
    return chosen


@pytest.mark.parametrize("kind", ["gpt", "t5"])
def test_choices_are_scored_as_by_score_continuations(kind):
    results, samples = evaluated(made(kind), CHOICES)
    answers = [one["answer"] for one in QUESTIONS]
    for metric, norm in (("acc,none", False), ("acc_norm,none", True)):
        chosen = own_scores(kind, norm)
        assert results["choices_here"][metric] == np.mean(np.equal(chosen, answers))
    assert len(samples["choices_here"]) == len(QUESTIONS)
    assert "torch" not in sys.modules


def test_answers_are_written_up_to_what_ends_them():
    _, samples = evaluated(made(), ANSWERS)
    for sample in samples["answers_here"]:
        prompt = reader().encode(f"Q: {sample['doc']['question']}\nA:")
        ids = tj.generate(model(), prompt[None], max_new_tokens=6)[0]
        text = reader().decode(np.asarray(ids), skip_special_tokens=True)
        new = text[len(reader().decode(prompt)) :]
        assert sample["resps"][0][0] == cut(new, ["\n"])


def test_long_documents_are_read_in_windows():
    results, samples = evaluated(made(), TEXTS)
    total = size = 0
    for sample in samples["texts_here"]:
        text = sample["target"]
        ids = np.concatenate([[reader().special_id("eos")], reader().encode(text)])
        assert len(ids) > 65
        # windows of 65 ids, of which the model reads 64, and the last is only predicted
        first = tj.score_continuations(model(), [(ids[:1], ids[1:65])]).log_prob[0]
        count = len(ids) - 65
        rest = (ids[-65:-count], ids[-count:])
        total += first + tj.score_continuations(model(), [rest]).log_prob[0]
        size += len(text.encode())
    np.testing.assert_allclose(
        results["texts_here"]["byte_perplexity,none"], math.exp(-total / size), rtol=1e-5
    )


def test_an_encoder_decoder_writes_answers_too():
    _, samples = evaluated(made("t5"), ANSWERS)
    assert len(samples["answers_here"]) == len(QUESTIONS)
    assert all("\n" not in sample["resps"][0][0] for sample in samples["answers_here"])


def test_a_directory_is_a_model_of_the_harness_by_its_name(tmp_path):
    tj.save_pretrained(model(), tmp_path)
    reader().save(tmp_path)
    lm = lm_eval.api.registry.get_model("transformers_jax").create_from_arg_obj(
        {"pretrained": str(tmp_path)}, {"batch_size": 4}
    )
    assert lm.max_length == 64
    assert evaluated(lm, CHOICES)[0] == evaluated(made(), CHOICES)[0]
    assert lm.tokenizer_name == str(tmp_path).replace("/", "__")


def test_a_chat_is_written_by_the_template():
    tokenizer = train_tokenizer("byte", [], 260, roles=("pad", "eos"))
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    lm = harness.Harness(model(), tokenizer=tokenizer)
    talk = [{"role": "user", "content": "a"}]
    assert lm.apply_chat_template(talk) == "<user>a</><assistant>"
    talk.append({"role": "assistant", "content": "b "})
    assert lm.apply_chat_template(talk, add_generation_prompt=False) == "<user>a</><assistant>b"
    assert lm.chat_template(True) == tokenizer.chat_template


def test_what_the_harness_cannot_do_here_is_named():
    with pytest.raises(ValueError, match="JAX chooses the device"):
        made(device="cuda:0")
    with pytest.raises(ValueError, match=r"batch_size='auto'.*no size is searched for"):
        harness.Harness(model(), tokenizer=reader(), batch_size="auto")
    with pytest.raises(ValueError, match=r"give max_length=, such as 2048"):
        harness.Harness(model("t5"), tokenizer=reader())
    with pytest.raises(ValueError, match=r"tokenizer=tj\.load_tokenizer"):
        harness.Harness(model())
    encoder = Path(__file__).parent.parent / "conformance" / "cases" / "bert-mlm"
    with pytest.raises(ValueError, match="head 'masked_lm' came"):
        harness.Harness(tj.from_pretrained(encoder), tokenizer=reader())
    lm = made()
    with pytest.raises(ValueError, match=r"answer of 64 tokens leaves no room.*max_length=64"):
        lm._options({"max_gen_toks": 64})
