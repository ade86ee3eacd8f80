"""A run that was stopped computes the bits of one that was not, from every checkpoint: dropout,
accumulation, packed rows, a mixture, and the end of a pass in between."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Data
from transformers_jax.objectives import MaskedLM
from transformers_jax.optim import AdamW, Constant
from transformers_jax.runs.fit import fit
from transformers_jax.training.checkpoint import Checkpoints, checksums
from transformers_jax.training.config import Evaluation, Sample, TrainConfig
from transformers_jax.training.metrics import read

STEPS = 14

pytestmark = pytest.mark.usefixtures("without_pictures")


def losses(folder):
    return {line["step"]: line["loss_hex"] for line in read(Path(folder) / "metrics.jsonl")}


def state_of(run):
    return checksums({"params": run.state.params, "opt": run.state.opt, "key": _key(run.state)})


def _key(state):
    return jax.random.key_data(state.key)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two sources, one of them read for several epochs; everything random is on."""
    folder = tmp_path_factory.mktemp("resume")
    for name, count in (("long", 300), ("short", 12)):
        texts = [f"{name} {n}: " + "the words of a document. " * (1 + n % 4) for n in range(count)]
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in texts)
        )
    return TrainConfig(
        model=tj.BertConfig(
            num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=24,
            max_position_embeddings=64, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
        ),
        objective=MaskedLM(),
        data=Data(
            mixture=(f"{folder}/long.jsonl=0.5", f"{folder}/short.jsonl=0.5"),
            tokenizer="wordpiece", vocab_size=90, length=48, batch=4, rows="packed", window=8,
        ),
        optimizer=AdamW(peak=1e-3, schedule=Constant(warmup=2), average=0.9),
        steps=STEPS,
        accumulate=2,
        stochastic_depth=0.1,
        evaluation=Evaluation(every=5, batches=2),
        sample=Sample(count=0),
        save_every=3,
        keep=10,
        log_every=100,
        out=str(folder / "whole"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(config):
    run = fit(config)
    assert max(line["epoch"] for line in run.metrics) > 1, "the case needs the end of a pass"
    return run


def test_every_checkpoint_leads_to_the_same_bits(config, whole, tmp_path):
    expected, final = losses(config.out), state_of(whole)
    assert len(set(expected.values())) == STEPS
    steps = Checkpoints(Path(config.out) / "checkpoints").steps()
    assert steps == [3, 6, 9, 12, 14]
    for step in steps[:-1]:
        out = tmp_path / f"from-{step}"
        shutil.copytree(config.out, out)
        for later in steps[steps.index(step) + 1 :]:
            shutil.rmtree(out / "checkpoints" / str(later))
        run = fit(config.replace(out=str(out)))
        assert losses(out) == expected
        assert state_of(run) == final


def test_an_incomplete_checkpoint_changes_the_losses(config, whole, tmp_path):
    """The control: a checkpoint without the position in the data."""
    out = tmp_path / "elsewhere"
    shutil.copytree(config.out, out)
    for later in (9, 12, 14):
        shutil.rmtree(out / "checkpoints" / str(later))
    from transformers_jax.training import prepare

    real = prepare.Position.from_json
    try:
        prepare.Position.from_json = lambda values: dataclasses.replace(
            real(values), parts=tuple(prepare.Stream.start.fget(_Two()).parts)
        )
        fit(config.replace(out=str(out)))
    finally:
        prepare.Position.from_json = real
    assert losses(out)[7] != losses(config.out)[7]


class _Two:
    parts = (None, None)


def test_the_position_in_the_data_takes_less_than_a_kilobyte(config, whole):
    step = Path(config.out) / "checkpoints"
    meta = Checkpoints(step).meta(14)
    assert len(json.dumps(meta["position"])) < 1000
    assert set(meta["progress"]) == {"tokens", "places", "best", "worse"}


def test_another_number_of_devices_reads_the_same_rows(config, whole):
    """Rows are decided before they are dealt out."""
    from transformers_jax.data.corpus import load_corpus
    from transformers_jax.data.tokenizers import load_tokenizer
    from transformers_jax.training.resolve import make_stream
    from transformers_jax.training.vocabulary import vocabulary_of

    corpus = load_corpus(config.data, tokenizer=load_tokenizer(config.out))
    one, two = (make_stream(config, corpus, vocabulary_of(corpus.tokenizer, 200)) for _ in range(2))
    first, position = one.batch(one.start, 4)
    second, _ = one.batch(position, 4)
    both, _ = two.batch(two.start, 8)
    np.testing.assert_array_equal(
        both["input_ids"], np.concatenate([first["input_ids"], second["input_ids"]])
    )
