"""Virtual tokens in runs: trained by the command, continued exactly, read again."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import encoder as encoder
from tests.tasks.conftest import reviews
from transformers_jax.runs import finetune as command
from transformers_jax.runs.recipe import finetune

RECORDS = reviews(96)
QUICK = dict(learning_rate=1e-1, batch=32, rows="padded", length=16, epochs=None, per_epoch=0)


@pytest.mark.parametrize(
    ("adapter", "count"),
    [("prompt", 4 * 16), pytest.param("prefix", 4 * 2 * 16, marks=pytest.mark.slow)],
)
def test_virtual_tokens_are_trained_saved_and_continue_exactly(encoder, tmp_path, adapter, count):
    def train(name, steps, **more):
        return finetune(
            encoder, "sequence_classification", RECORDS, out=str(tmp_path / name), steps=steps,
            schedule_steps=4, every=2, save_every=2, adapter=adapter, adapter__tokens=4, **QUICK,
            **more,
        )  # fmt: skip

    whole = train("whole", 4)
    train("parts", 2)
    parts = train("parts", 4)
    hexes = [
        [line["loss_hex"] for line in one.fitted.metrics if "loss_hex" in line]
        for one in (whole, parts)
    ]
    assert hexes[0] == hexes[1]
    head = 16 * 16 + 16 + 16 * 2 + 2  # pooler and classifier, which the checkpoint lacks
    assert sum(x.size for x in jax.tree.leaves(whole.fitted.state.params)) == head + count
    saved = json.loads((whole.folder / "adapter/adapter_config.json").read_text())
    assert saved["num_virtual_tokens"] == 4
    texts = [{"sentence": record["sentence"]} for record in RECORDS[:8]]
    scores = [one["scores"]["pos"] for one in tj.predict(whole.folder, texts)]
    tokenizer = tj.load_tokenizer(encoder)
    batch = tokenizer.batch([one["sentence"] for one in texts])
    logits = whole.model(**batch).logits
    positive = list(whole.model.config.id2label.values()).index("pos")
    np.testing.assert_allclose(scores, jax.nn.softmax(logits)[:, positive], atol=1e-5)
    assert not (whole.folder / "model").exists()
    with pytest.raises(ValueError, match="virtual tokens change none"):
        train("merged", 4, merge=True)


def test_the_command_begins_a_prompt_as_a_text(encoder, tmp_path):
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    arguments = f"--task sequence_classification --model {encoder} --data.train {table} "
    arguments += f"--adapter prompt --adapter.tokens 3 --out {tmp_path / 'run'}"
    more = ["--adapter.init", "good or bad", "--optimizer.peak", "1e-9"]
    more += ["--epochs", "1", "--data.batch", "64"]
    command.main([*arguments.split(), *more])
    file = tmp_path / "run/adapter/adapter_config.json"
    saved = json.loads(file.read_text())
    assert saved["prompt_tuning_init_text"] == "good or bad"
    ids = tj.load_tokenizer(encoder).batch(["good or bad"])["input_ids"][0][:3]
    base = tj.from_pretrained(encoder, head="sequence_classification", key=jax.random.key(0))
    model = tj.load_adapter(base, file.parent)
    vectors = jax.tree.leaves(tj.partition(model)[0]["virtual_adapter"])[0]
    words = base.token_table("stack")[np.array(ids)]
    np.testing.assert_allclose(vectors, words, atol=1e-7)
