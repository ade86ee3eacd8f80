"""Configs of runs are saved and loaded; misspelt names are refused with the nearest one."""

import dataclasses
import json
from pathlib import Path

import optax
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Data
from transformers_jax.flags import Misuse, override
from transformers_jax.objectives import OBJECTIVES, MaskedLM, NextSentence
from transformers_jax.optim import OPTIMIZERS, SCHEDULES, WSD, AdamW, Cosine, Muon
from transformers_jax.spec import Execution
from transformers_jax.training import config as configs
from transformers_jax.training.config import Evaluation, TrainConfig


def flagged(*arguments):
    return override(TrainConfig(), arguments, "pretrain")


def test_a_config_is_the_same_after_json():
    config = TrainConfig(model=tj.LlamaConfig(hidden_size=32), steps=7, schedule_steps=9)
    records = [*(kind() for kind in OBJECTIVES.values()), NextSentence(MaskedLM(rate=0.2))]
    chosen = [config.replace(objective=record) for record in records]
    chosen += [config.replace(optimizer=kind()) for kind in OPTIMIZERS.values()]
    chosen += [
        config.replace(optimizer=AdamW(schedule=kind(), freeze=("embed.*",), rates=(("*", 0.5),)))
        for kind in SCHEDULES.values()
    ]
    for config in chosen:
        text = json.dumps(configs.to_dict(config))
        assert configs.from_dict(json.loads(text)) == config


def test_unknown_keys_are_all_reported_with_the_nearest_name():
    with pytest.raises(ValueError, match="unknown key") as caught:
        configs.from_dict({"stepz": 3, "data": {"batchs": 4}, "mesh": []})
    message = str(caught.value)
    assert "'stepz'; did you mean 'steps'?" in message
    assert "'data.batchs'; did you mean 'data.batch'?" in message
    assert "mesh must be an object" in message
    with pytest.raises(ValueError, match="n_leyer") as caught:
        configs.from_dict({"stepz": 3, "model": {"model_type": "gpt2", "n_leyer": 3}})
    assert "stepz" in str(caught.value)


def test_a_kind_that_is_none_is_refused_at_every_depth():
    for values, message in (
        ({"kind": "nonsense"}, "unknown key 'kind'"),
        ({"mesh": {"kind": "nonsense"}}, "mesh.kind 'nonsense' is unknown"),
        ({"optimizer": {"kind": "AdamV"}}, "optimizer.kind 'AdamV' is unknown; did you mean"),
    ):
        with pytest.raises(ValueError, match=message):
            configs.from_dict(values)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("Cosine(floor=2.0)", r"Cosine has no field 'floor'; it has warmup, from_zero, final"),
        ("AdamW(weight_deca=0.1)", "AdamW has no field 'weight_deca'; did you mean 'weight_decay'"),
        ("TrainConfig(stepz=3)", "TrainConfig has no field 'stepz'; did you mean 'steps'"),
        ("GPT2Config(n_leyer=2)", "GPT2Config has no field 'n_leyer'; did you mean 'n_layer'"),
        ("TrainConfig(optimizer='AdamW')", r"not the text 'AdamW': write AdamW\(\), the record"),
    ],
)
def test_a_field_that_a_record_does_not_have_is_named_with_the_file(tmp_path, made, message):
    file = tmp_path / "a.py"
    names = "AdamW, Cosine"
    file.write_text(
        f"from transformers_jax import GPT2Config\nfrom transformers_jax.optim import {names}\n"
        "from transformers_jax.training.config import TrainConfig\n"
        f"def config():\n    return {made}\n"
    )
    with pytest.raises(ValueError, match=f"a.py: .*{message}"):
        configs.load(file)
    file.write_text("def config():\n    return len(3)\n")  # what is no record's field stays
    with pytest.raises(TypeError, match="object of type 'int'"):
        configs.load(file)


DOORS = {  # the settings of a run, and what each of the three ways to say them is told
    "data.rows": ("pack", "'stream', 'crops', 'packed', .*did you mean 'packed'"),
    "resume": ("no", "'auto', 'strict'"),
    "trackers": (["wandbb"], "did you mean 'wandb'"),
    "steps": (True, ""),
    "seed": (-1, "seed .-1. must be from 0"),
    "clip": (-1.0, "clip .-1.0. must be above 0, or None"),
    "dtype": ("float31", "dtype 'float31' is not a floating-point"),
    "remat": ("al", "remat='al'"),
    "compute_dtype": ("int8", "int8"),
    "mesh.data": (0, "mesh.data .0. must be at least 1, or -1"),
    "evaluation.every": (-1, "evaluation.every .-1. must be at least 0"),
    "sample.temperature": (0.0, "sample.temperature .0.0. must be positive"),
    "optimizer.schedule.warmup": ("x", ""),
    "stochastic_depth": (1.0, "drop_path"),
}


def changed(record, path, value):
    """A record with a field in it changed, which makes it and all around it anew."""
    name, _, rest = path.partition(".")
    new = changed(getattr(record, name), rest, value) if rest else value
    return dataclasses.replace(record, **{name: new})


@pytest.mark.parametrize("path", DOORS)
def test_a_setting_is_refused_alike_in_python_in_json_and_as_a_flag(path, tmp_path):
    value, message = DOORS[path]
    last = path.split(".")[-1]
    with pytest.raises(ValueError, match=message or last):
        changed(TrainConfig(), path, value)
    values = inner = configs.to_dict(TrainConfig())
    *outer, name = path.split(".")
    for part in outer:
        inner = inner[part]
    inner[name] = value
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=rf"config\.json: .*{message or last}"):
        configs.load(tmp_path / "config.json")
    text = value[0] if isinstance(value, list) else str(value)
    with pytest.raises(Misuse, match=message or last.replace("_", "-")):
        flagged(f"--{path.replace('_', '-')}={text}")


def test_what_is_wrong_in_a_file_is_reported_at_once():
    values = {"steps": True, "resume": "unknown", "data": {"rows": "pack"}, "optimizer": 3}
    values |= {"objective": {"kind": "Cosine"}, "model": "gpt2", "loss": {"z": "a"}}
    with pytest.raises(ValueError, match="rows should be") as caught:
        configs.from_dict(values)
    for part in ("optimizer must be an object", "'Cosine' is unknown", "model must be", "z should"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match=r"steps should be .* not True; resume should be"):
        configs.from_dict({"steps": True, "resume": "unknown"})


def test_a_key_that_comes_twice_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"steps": 3, "data": {"batch": 2, "batch": 4}}')
    with pytest.raises(ValueError, match=r"config\.json has the key 'batch' twice"):
        configs.load(tmp_path)
    (tmp_path / "config.json").write_text('{"steps": 3, "data": {"batch": 2}}')
    assert configs.load(tmp_path).data.batch == 2  # the control


@pytest.mark.parametrize("written", [2**31, -1, "1", True, 1.0])
def test_a_format_that_is_not_known_is_refused(written):
    with pytest.raises(ValueError, match=rf"is of format {written!r}.*go on with the release"):
        configs.from_dict({"format": written, "a_later_setting": 1})
    assert configs.from_dict({"format": configs.FORMAT}) == configs.from_dict({}) == TrainConfig()


def test_an_optimizer_of_optax_is_refused_with_what_takes_it(model):
    with pytest.raises(ValueError, match=r"config\.json cannot record.*AdamW.*tj\.make_step"):
        TrainConfig(optimizer=optax.adamw(1e-3))
    tj.make_step(model, tj.causal_lm, optax.adamw(1e-3))  # as advised


def test_flags_reach_every_record():
    config = flagged(
        "--steps=9", "--schedule_steps", "12", "--data.path", "a.txt", "--mesh.data", "2",
        "--model.n-layer=3", "--resume", "strict", "--allow-schedule-change", "--optimizer.b2=0.9",
    )  # fmt: skip
    assert (config.steps, config.schedule_steps, config.data.path) == (9, 12, "a.txt")
    assert (config.mesh.data, config.resume, config.optimizer.b2) == (2, "strict", 0.9)
    assert config.model == tj.GPT2Config(n_layer=3)
    assert config.allow_schedule_change
    assert flagged() == TrainConfig()


def test_flags_leave_what_they_cannot_say():
    config = TrainConfig(model=tj.LlamaConfig(hidden_size=32))
    assert config.model.rope_parameters
    assert override(config, ["--model.vocab-size=9"], "pretrain").model == config.model.replace(
        vocab_size=9
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stepz", "3"], "unknown flag --stepz; did you mean '--steps'"),
        (["--data.pth=a"], "unknown flag --data.pth; did you mean '--data.path'"),
        (["--model.n_leyer=3"], "unknown flag --model.n-leyer; did you mean '--model.n-layer'"),
        (["--optimizer", "adm"], "is none of AdamW, Adafactor, Lion, Muon"),
        (["--optimizer=maskedlm"], "--optimizer 'maskedlm' is none of AdamW"),
        (["--optimizer"], "--optimizer needs the name of a kind"),
        (["--optimizr", "Muon"], "did you mean '--optimizer'"),
        (["--optimizer.rounds=3"], "it is a setting of Muon (--optimizer Muon)"),
        (["--steps", "many"], "many"),
        (["--resume", "maybe"], "maybe"),
        (["--steps"], "--steps"),
        (["stray"], "stray"),
    ],
)
def test_flags_that_mean_nothing_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=r"\A[^\n]*\Z") as caught:
        flagged(*arguments)
    assert message in str(caught.value)


def test_flags_choose_kinds_with_settings_of_their_own():
    base = TrainConfig(optimizer=AdamW(peak=1.0, schedule=Cosine(warmup=7)))
    of = lambda *flags: override(base, flags, "pretrain")
    chosen = of("--optimizer.schedule.decay=0.3", "--optimizer.schedule", "wsd", "--steps=9")
    assert chosen.optimizer == AdamW(peak=1.0, schedule=WSD(decay=0.3))
    assert of("--optimizer=Muon", "--optimizer.rounds=3").optimizer == Muon(rounds=3)
    assert of("--optimizer", "adamw").optimizer == base.optimizer  # which it is already
    assert of("--optimizer=lion", "--optimizer=Muon").optimizer == Muon()  # the last one counts
    for name in ("MaskedLM", "masked_lm", "masked-lm"):
        objective = of("--objective", name, "--objective.rate", "0.2").objective
        assert objective == MaskedLM(rate=0.2)
    names = {name: kind for kinds in (OBJECTIVES, OPTIMIZERS) for name, kind in kinds.items()}
    for name, kind in names.items():  # as config.json names them
        field = "objective" if name in OBJECTIVES else "optimizer"
        assert type(getattr(of(f"--{field}={name}"), field)) is kind


def test_help_shows_the_kinds_and_the_settings_of_the_chosen_one(capsys):
    with pytest.raises(SystemExit):
        flagged("--optimizer", "muon", "--help")
    text = capsys.readouterr().out
    for name in ("--objective KIND", "--optimizer KIND (now Muon)", *OBJECTIVES, *SCHEDULES):
        assert name in text
    assert "--optimizer.rounds" in text


def test_values_that_make_no_run_are_refused():
    for change in (
        {"steps": 0},
        {"save_every": 0},
        {"schedule_steps": 0},
        {"epochs": 0},
        {"batch_warmup": ((0, 4),)},
        {"length_warmup": ((10, 100),)},
        {"data": dict(eval_fraction=1.0)},
        {"data": dict(batch=0)},
        {"seed": 2**63},
        {"seed": -1},
        {"watchdog": -1.0},
        {"evaluation": dict(batches=0)},
        {"evaluation": dict(every=-1)},
        {"evaluation": dict(final_batches=-1)},
    ):
        records = {"data": Data, "evaluation": Evaluation}
        with pytest.raises(ValueError, match=r"must|expected|divide"):
            TrainConfig(**{k: records[k](**v) if k in records else v for k, v in change.items()})


BY_HAND = """from transformers_jax import TrainConfig
def config(): return TrainConfig({})"""


def test_files_without_a_config_are_refused(tmp_path):
    for name, content, message in (
        ("a.py", "x = 1", "no function config"),
        ("b.py", "def config(): return 3", "returned int, not a TrainConfig"),
        ("c.json", "{", "not JSON"),
        ("d.py", BY_HAND.format("optimizer=3"), r"d\.py: TrainConfig: optimizer should be"),
        ("e.py", BY_HAND.format("steps=True"), r"e\.py: TrainConfig: steps should be"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=message):
            configs.load(tmp_path / name)
    with pytest.raises(ValueError, match=r"does not exist.*did you mean '.*a\.py'"):
        configs.load(tmp_path / "aa.py")


@pytest.mark.parametrize("path", sorted(Path("configs").rglob("*.py")), ids=str)
def test_the_configs_of_the_project_can_be_read_and_have_a_lab_note(path):
    written = configs.to_dict(configs.load(path))
    assert configs.to_dict(configs.from_dict(written)) == written
    note = Path(path).read_text().split('"""')[1]
    for word in ("Source:", "Command:", "Hardware:", "Time:", "Result:"):
        assert word in note, f"{path} lacks {word}"


def test_nano_has_at_most_a_million_parameters():
    model = configs.load("configs/nano.py").model.replace(vocab_size=256)
    assert model.build("none", Execution()).parameter_count < 1_000_000


def test_what_decides_a_step_is_in_the_identity_of_a_run():
    config = TrainConfig()
    assert configs.identity(config) == configs.identity(config.replace(steps=5, out="b"))
    for change in (
        {"seed": 1},
        {"model": tj.GPT2Config(n_layer=2)},
        {"data": dataclasses.replace(config.data, batch=8)},
        {"accumulate": 2},
    ):
        assert configs.identity(config) != configs.identity(config.replace(**change))
