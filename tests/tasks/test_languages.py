"""Translation between named languages: tokens of sources and targets, and what is written first."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.data.test_tokenizer_classes import write
from tests.tasks.test_writing import numbers
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.models.plan import Plan
from transformers_jax.runs.recipe import finetune
from transformers_jax.tasks import Translation
from transformers_jax.training.vocabulary import of_languages

pytestmark = pytest.mark.usefixtures("without_pictures")
SIZES = dict(
    d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=32,
)  # fmt: skip
CASES = {
    "mbart": (tj.MBartConfig, "en_XX", "ro_RO", {"decoder_start_token_id"}),
    "mbart50": (tj.MBartConfig, "en_XX", "ro_RO", {"forced_bos_token_id"}),
    "m2m_100": (tj.M2M100Config, "en", "ro", {"forced_bos_token_id"}),
    "nllb": (tj.M2M100Config, "eng_Latn", "ron_Latn", {"forced_bos_token_id"}),
}


def task_of(name):
    return Translation(source_language=CASES[name][1], target_language=CASES[name][2])


@pytest.mark.parametrize("name", CASES)
def test_rows_have_the_tokens_of_both_languages_and_the_target_begins_with_its_own(name, tmp_path):
    _, source, target, settings = CASES[name]
    tokenizer = of_languages(write(name, tmp_path), task_of(name))
    codes = tokenizer.languages[source], tokenizer.languages[target]
    assert codes[0] in tokenizer.batch(["the cat"])["input_ids"]
    assert codes[1] in tokenizer.target.batch(["the cat"])["input_ids"]
    assert task_of(name).generation(tokenizer) == dict.fromkeys(settings, codes[1])
    assert Translation().generation(tokenizer) == {}  # which leaves the model's own


def test_a_run_between_languages_writes_and_exports_that_of_the_target(tmp_path):
    folder = write("mbart", tmp_path / "base")
    tokenizer = load_tokenizer(folder)
    config = tj.MBartConfig(vocab_size=tokenizer.max_id + 1, **SIZES)
    tj.save_pretrained(tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0)), folder)
    languages = dict(source_language="en_XX", target_language="ro_RO")
    run = finetune(
        folder, "translation", numbers(16), numbers(4), out=str(tmp_path / "run"), steps=1,
        epochs=None, per_epoch=0, every=1, batch=16, max_new_tokens=3, **languages,
    )  # fmt: skip
    code = tokenizer.languages["ro_RO"]
    assert run.model.generation_config["decoder_start_token_id"] == code
    saved = json.loads((run.folder / "model/generation_config.json").read_text())
    assert saved["decoder_start_token_id"] == code
    part = run.fitted.state
    assert int(part.step) == 1
    assert len(tj.predict(run.folder, [{"source": "the cat"}])) == 1


def test_the_token_of_the_language_stays_the_last_of_a_target(tmp_path):
    """mBART's targets end in </s> and their language; no second </s> is put behind it."""
    from tests.tasks.test_tokens import Table, of_python, read_task

    folder = write("mbart", tmp_path)
    tokenizer = of_languages(folder, task_of("mbart"))
    config = tj.MBartConfig(vocab_size=tokenizer.max_id + 1, **SIZES)
    model = Plan(config, "seq2seq_lm").build()
    with pytest.MonkeyPatch.context() as patch:
        table = {"train": of_python("t", numbers(3))}
        patch.setattr("transformers_jax.tasks.corpus.read_tables", lambda *_: table)
        corpus = read_task(Table(train="t"), task_of("mbart"), tokenizer, model)
    for example in corpus.train.examples:
        labels = example.target["labels"].tolist()
        assert labels[-2:] == [config.eos_token_id, tokenizer.languages["ro_RO"]]
        assert np.sum(np.equal(labels, config.eos_token_id)) == 1


def test_languages_that_there_are_not_are_refused(tmp_path):
    with pytest.raises(ValueError, match="belong together: name both"):
        Translation(target_language="ro_RO")
    wrong = Translation(source_language="en_XX", target_language="xx")
    with pytest.raises(ValueError, match=r"target_language: .*'xx' is none of its languages"):
        of_languages(write("mbart", tmp_path / "mbart"), wrong)
    with pytest.raises(ValueError, match=r"has no languages.*others are told by a prefix .T5."):
        of_languages(write("t5", tmp_path / "t5"), task_of("mbart"))
