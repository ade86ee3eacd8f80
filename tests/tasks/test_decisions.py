"""Tasks that learn to act: how episodes are read, what is predicted, and whole runs."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Table
from transformers_jax.data.generated import TABLES
from transformers_jax.data.generated.cartpole import records
from transformers_jax.data.tables import of_python
from transformers_jax.models.plan import Plan
from transformers_jax.optim import AdamW
from transformers_jax.runs.evaluate import main
from transformers_jax.runs.fit import fit
from transformers_jax.runs.predictions import evaluate
from transformers_jax.tasks import Generalist, OfflineRL, TrajectoryTokens
from transformers_jax.tasks.episodes import COLUMNS
from transformers_jax.tasks.rows import Form
from transformers_jax.training.config import Evaluation, Sample, TrainConfig

SIZES = dict(
    state_dim=4, act_dim=2, hidden_size=16, max_ep_len=500, n_positions=15, n_layer=1, n_head=2,
    action_tanh=False,
)  # fmt: skip
TRANSFORMER = tj.DecisionTransformerConfig(**SIZES)
DECODER = tj.GPT2Config(n_positions=35, n_embd=16, n_layer=1, n_head=2)


@pytest.fixture(scope="module")
def episodes():
    return sorted(records("validation"), key=lambda one: one["return"])[:12]


def read(task, table, model=TRANSFORMER):
    """The rows of a table, and those that are trained on."""
    found = of_python("train", table)
    form = Form(Table(), None, Plan(model, task.head).build(), task.columns(Table(), found))
    rows = task.read(form, found)
    return rows, task.used(rows, None)[0], task.learned(rows, form)


def run(folder, table, model, task, steps, **settings):
    names = []
    for name, some in (("train", table), ("validation", table[:3])):
        names.append(folder.parent / f"{name}.jsonl")
        names[-1].write_text("\n".join(map(json.dumps, some)))
    return fit(
        TrainConfig(
            model=model,
            objective=task,
            data=Table(train=str(names[0]), validation=str(names[1]), batch=4),
            optimizer=AdamW(peak=3e-3),
            steps=steps,
            schedule_steps=4,
            evaluation=Evaluation(batches=9, every=4),
            sample=Sample(count=0),
            save_every=2,
            out=str(folder),
            **settings,
        )
    )


def test_windows_are_parts_of_episodes_with_what_is_still_returned(episodes):
    rows, trained, task = read(OfflineRL(context=5), episodes)
    assert len(rows) == 12
    assert rows.references == [one["return"] for one in episodes]
    lengths = [len(one["states"]) for one in episodes]
    assert len(trained) == sum(-(-length // 5) for length in lengths)
    one = rows.examples[3].once
    np.testing.assert_allclose(one["states"], np.array(episodes[3]["states"][:5]), rtol=1e-6)
    assert one["returns_to_go"][:, 0].tolist() == [lengths[3] - n for n in range(5)]
    assert one["actions"].argmax(-1).tolist() == episodes[3]["actions"][:5]
    assert (one["asked"], one["timesteps"].tolist()) == (lengths[3], [0, 1, 2, 3, 4])
    draws = [trained.examples.draw(0, np.random.default_rng(n)).once for n in range(40)]
    assert {x["timesteps"][0] for x in draws} <= {*range(lengths[0])}
    short = next(x for x in draws if not x["attention_mask"].all())
    real = short["attention_mask"].sum()
    assert short["returns_to_go"][:real, 0].tolist() == [*range(real, 0, -1)]
    assert not short["states"][real:].any()
    assert task.discrete
    assert task.return_scale == max(lengths)


def test_scaling_becomes_a_part_of_the_weights_and_comes_out_again(episodes):
    *_, task = read(OfflineRL(context=5), episodes)
    model = tj.from_config(TRANSFORMER, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    batch = {"states": draw(2, 5, 4), "actions": draw(2, 5, 2), "returns_to_go": draw(2, 5, 1)}
    batch |= {"timesteps": np.tile(np.arange(5), (2, 1)), "number": np.array([0, 1])}
    scaled = model(**task.inputs(batch))
    del batch["number"]
    raw = task.finished(model, None)
    out = raw(**batch)
    np.testing.assert_allclose(out.action_preds, scaled.action_preds, atol=1e-4)
    mean, deviation = (np.array(x) for x in (task.state_mean, task.state_deviation))
    states = scaled.state_preds * deviation + mean
    np.testing.assert_allclose(out.state_preds, states, atol=1e-4)
    returns = scaled.return_preds * task.return_scale
    np.testing.assert_allclose(out.return_preds, returns, rtol=1e-3, atol=1e-4)
    again = tj.functional(task.equipped(raw))[1]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), again, tj.functional(model)[1]
    )
    assert np.abs(model(**batch).action_preds - scaled.action_preds).max() > 1e-3  # the control


def test_padding_and_rows_that_fill_a_batch_are_not_predicted():
    task, model = OfflineRL(), tj.from_config(TRANSFORMER, key=jax.random.key(0))
    batch = {"states": np.zeros((3, 5, 4), np.float32), "actions": np.zeros((3, 5, 2), np.float32)}
    batch |= {"returns_to_go": np.ones((3, 5, 1), np.float32), "timesteps": np.zeros((3, 5), int)}
    batch["attention_mask"] = np.array([[1, 1, 1, 0, 0], [1] * 5, [1] * 5])
    _, figures = task.minimise(model, {**batch, "number": np.array([0, 1, -100])}, None)
    assert figures["loss"][1] == figures["accuracy"][1] == 3 + 5
    squared = OfflineRL(discrete=False).minimise(model, {**batch, "number": np.arange(3)}, None)
    assert squared[1]["loss"][1] == 13


def test_a_run_acts_is_continued_exactly_and_evaluated(episodes, tmp_path, capsys):
    train = lambda name, steps: run(
        tmp_path / name, episodes, TRANSFORMER, OfflineRL(context=5), steps
    )
    whole = train("whole", 4)
    train("parts", 2)
    parts = train("parts", 4)
    files = [one.folder / "model/model.safetensors" for one in (whole, parts)]
    assert files[0].read_bytes() == files[1].read_bytes()
    last = [line for line in whole.metrics if "eval_return" in line][-1]
    assert last["eval_return_error"] >= abs(last["eval_return"] - last["eval_asked"]) - 1e-6
    own = tj.rollout(
        tj.from_pretrained(whole.folder / "model"),
        "cartpole",
        [one["return"] for one in episodes[:3]],
        seeds=range(3),
        context=5,
    )
    assert own.mean == pytest.approx(last["eval_return"])
    figures = evaluate(whole.folder, episodes[:3], target_return=500.0)
    assert figures["asked"] == 500
    data = str(tmp_path / "validation.jsonl")
    out = str(tmp_path / "metrics.json")
    asked = ["--target-return", "501"]
    command = ["--model", str(whole.folder), "--data", data, "--out", out]
    assert main([*command, *asked]) == 1
    assert "returns 1 to 500: ask for a return in between" in capsys.readouterr().err
    assert main([*command, "--environment", "gymnasium:CartPole-v1"]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["return"] == last["eval_return"]
    kind = json.loads((tmp_path / "metrics.figure.json").read_text())
    assert (kind["kind"], kind["across"], kind["up"]) == ("scatter", "asked", "obtained")


def test_episodes_are_texts_of_a_decoder(episodes, tmp_path):
    rows, _, task = read(TrajectoryTokens(context=5, bins=8), episodes, DECODER)
    codes = task.codes
    one = rows.examples[2].tokens["input_ids"]
    assert len(one) == 5 * codes.per_step
    chosen = one[codes.before :: codes.per_step] - codes.chosen.start
    assert chosen.tolist() == episodes[2]["actions"][:5]
    assert one.max() < codes.size == 6 * 8 + 2
    fitted = run(tmp_path / "run", episodes, DECODER, TrajectoryTokens(context=5, bins=8), 2)
    assert fitted.model.config.vocab_size == codes.size
    figures = evaluate(fitted.folder, episodes[:2])
    assert figures["asked"] == np.mean([one["return"] for one in episodes[:2]])
    assert figures["return"] >= 1


@pytest.mark.slow
def test_one_model_reads_pictures_texts_and_episodes(tmp_path):
    vision = tj.CLIPVisionConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=8, intermediate_size=8,
        num_hidden_layers=1, num_attention_heads=1,
    )  # fmt: skip
    text = tj.LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    model = tj.LlavaConfig(vision_config=vision, text_config=text, vision_feature_layer=0)
    config = TrainConfig(
        model=model,
        objective=Generalist(context=3, text_length=20, bins=4, target_return=100.0),
        data=Table(train="generated:generalist", tokenizer="byte", batch=24),
        optimizer=AdamW(peak=3e-3),
        steps=2,
        schedule_steps=4,
        evaluation=Evaluation(batches=9, every=4),
        sample=Sample(count=0),
        out=str(tmp_path / "run"),
    )
    first = fit(config)
    last = [line for line in first.metrics if "eval_loss" in line][-1]
    assert {f"eval_{n}" for n in ("bits_per_token", "caption_accuracy", "return")} <= last.keys()
    assert last["eval_asked"] == 100
    fit(config.replace(steps=4))
    fit(config.replace(steps=4, out=str(tmp_path / "whole")))
    files = [tmp_path / name / "model/model.safetensors" for name in ("run", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()
    model = tj.from_pretrained(tmp_path / "run/model")
    assert model.config.transformers_jax is None  # a text is one document
    assert model.config.vocab_size == 260 + 6 * 4 + 2
    figures = evaluate(tmp_path / "run", TABLES["generalist"]("validation")[:9])
    assert {"bits_per_token", "caption_accuracy", "action_accuracy", "return"} <= {*figures}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"states": [[0.0] * 3] * 4}, r"states have the shape \(4, 3\); expected \(steps, 4\)"),
        ({"states": "none"}, "'states' holds no numbers of each step"),
        ({"states": [[0.0] * 4, [0.0] * 3]}, "vectors of one length"),
        ({"states": [[0.0, 0.0, 0.0, float("nan")]] * 4}, "expected a list of finite numbers"),
        ({"actions": [0, 1, 2, 0]}, "actions are 0 to 2; expected whole numbers 0 to 1"),
        ({"actions": [0.0, 1.0, 0.5, 0.0]}, "expected whole numbers 0 to 1, as act_dim"),
        ({"actions": [[0.0]] * 4}, r"actions have the shape \(4, 1\); expected \(steps, 2\)"),
        ({"rewards": [1.0] * 3}, "one of each at every step; it has .*'rewards': 3"),
    ],
)
def test_an_episode_that_is_none_is_refused_by_its_place(episodes, change, error):
    good = {"states": [[0.0] * 4] * 4, "actions": [0] * 4, "rewards": [1.0] * 4}
    with pytest.raises(ValueError, match=error) as raised:
        read(OfflineRL(context=5), [good, {**good, **change}])
    assert str(raised.value).startswith("train[1]: ")
    read(OfflineRL(context=5), [good])


def test_settings_and_tables_that_do_not_fit_are_refused(episodes):
    with pytest.raises(ValueError, match="6\\) are 18 tokens, and the model has 15 positions"):
        read(OfflineRL(context=6), episodes)
    with pytest.raises(ValueError, match="6\\) are 42 tokens, 7 a step, and the model has 35"):
        read(TrajectoryTokens(context=6), episodes, DECODER)
    long = tj.DecisionTransformerConfig(**{**SIZES, "max_ep_len": 5})
    with pytest.raises(ValueError, match=r"a model whose max_ep_len is \d+ reads it"):
        read(OfflineRL(context=5), episodes, long)
    with pytest.raises(ValueError, match="none of 'rewards', 'reward': a record is an episode"):
        read(OfflineRL(), [{"states": [[0.0] * 4], "actions": [0]}])
    mixed = [
        {"states": [[0.0] * 4], "actions": actions, "rewards": [1.0]}
        for actions in ([0], [[0.0, 1.0]])
    ]
    with pytest.raises(ValueError, match="of others vectors; give one kind"):
        read(OfflineRL(context=5), mixed)
    with pytest.raises(ValueError, match="train a Decision Transformer"):
        read(TrajectoryTokens(context=5), mixed[1:], DECODER)
    with pytest.raises(ValueError, match="must be at least 1"):
        OfflineRL(context=0)
    assert {*COLUMNS} == {"states", "actions", "rewards"}
