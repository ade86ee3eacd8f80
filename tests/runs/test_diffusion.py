"""Whole runs of masked and block diffusion: figures, samples, and the same bits again."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Data
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.objectives import BlockDiffusion, MaskedDiffusion
from transformers_jax.optim import AdamW, Constant
from transformers_jax.runs.fit import fit
from transformers_jax.training.checkpoint import checksums
from transformers_jax.training.config import Evaluation, Sample, TrainConfig

pytestmark = pytest.mark.usefixtures("without_pictures")
RECORDS = {"masked": MaskedDiffusion(readings=3), "blocks": BlockDiffusion(block=4, readings=3)}


@pytest.fixture(scope="module", params=RECORDS)
def trained(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusion")
    texts = [f"{n}: " + "the words of a text. " * (1 + n % 3) for n in range(120)]
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (folder / "text.jsonl").write_text("".join(lines))
    config = TrainConfig(
        model=tj.BertConfig(
            num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=24,
            max_position_embeddings=48, attention_probs_dropout_prob=0.0,
        ),
        objective=RECORDS[request.param],
        data=Data(
            path=str(folder / "text.jsonl"), tokenizer="byte", length=48, batch=4, rows="packed",
            window=8,
        ),
        optimizer=AdamW(peak=1e-3, schedule=Constant(warmup=2)),
        steps=6,
        accumulate=2,
        evaluation=Evaluation(every=3, batches=100),
        sample=Sample(prompt="the ", tokens=12, count=1),
        save_every=3,
        keep=3,
        out=str(folder / "run"),
    )  # fmt: skip
    return config, fit(config)


def figures(run):
    return [{n: line.get(n) for n in ("loss_hex", "eval_loss")} for line in run.metrics]


def test_bits_per_byte_are_the_bound(trained):
    _, run = trained
    last = run.metrics[-1]
    assert last["bits_per_byte"] == pytest.approx(last["eval_loss"] / math.log(2))
    assert 6 < last["bits_per_byte"] < 10  # a byte has 8 bits, of a uniform guess
    assert last["eval_batches"] >= 3


def test_a_run_goes_on_to_the_same_bits(trained, tmp_path):
    config, run = trained
    out = tmp_path / "again"
    shutil.copytree(run.folder, out)
    shutil.rmtree(out / "checkpoints" / "6")
    again = fit(config.replace(out=str(out)))
    assert figures(again) == figures(run)
    assert checksums({"p": again.state.params}) == checksums({"p": run.state.params})


def test_the_model_of_a_run_writes(trained):
    config, run = trained
    sample = (Path(run.folder) / "samples.txt").read_text()
    assert sample.startswith("the ")
    model, tokenizer = (
        tj.from_pretrained(run.folder / "model"),
        load_tokenizer(run.folder / "model"),
    )
    text = tj.revise(model, texts="the ", tokenizer=tokenizer, max_new_tokens=9)[0]
    assert text.startswith("the ")
    mask = tokenizer.special_id("mask")
    ids = np.array([[mask] * 8])
    steps = tj.revise(model, ids, mask_token_id=mask, return_dict_in_generate=True).steps
    early, late = np.asarray(steps)[0, :4], np.asarray(steps)[0, 4:]
    if isinstance(config.objective, BlockDiffusion):
        assert early.max() < late.min()
    else:
        assert sorted([*early, *late]) == list(range(1, 9))
