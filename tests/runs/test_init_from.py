"""Runs that start from the weights of a checkpoint."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.tokenizers import load_tokenizer, train_tokenizer
from transformers_jax.models.electra_pretraining import make_replaced_token_detection
from transformers_jax.nn.param import flatten, params
from transformers_jax.objectives import MaskedLM, NextSentence, ReplacedToken, SpanCorruption
from transformers_jax.runs import pretrain
from transformers_jax.runs.card import write_card
from transformers_jax.runs.configured import configured
from transformers_jax.runs.fit import fit
from transformers_jax.runs.sweep import Start, make_points
from transformers_jax.training.config import TrainConfig, load, to_dict
from transformers_jax.training.initial import (
    check_tokenizer,
    start_model,
    weights_folder,
    with_checkpoint,
)
from transformers_jax.training.metrics import read

SIZES = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
BERT = tj.BertConfig(vocab_size=270, max_position_embeddings=32, **SIZES)
ELECTRA = tj.ElectraConfig(vocab_size=270, max_position_embeddings=32, embedding_size=8, **SIZES)
T5 = tj.T5Config(vocab_size=400, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)


def saved(folder, config, head, seed=5, **special):
    """A checkpoint with a tokenizer of bytes."""
    model = tj.from_config(config, head=head, key=jax.random.key(seed))
    model.save_pretrained(folder)
    train_tokenizer("byte", [], 0, **special).save(folder)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A GPT-2 with more words than its tokenizer has."""
    folder = tmp_path_factory.mktemp("gpt2")
    config = tj.GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=32, vocab_size=260)
    saved(folder, config, "causal_lm")
    return folder


def started(config):
    """The model that a config starts with, what run.json says of it, and what was printed."""
    said: list[str] = []
    config = with_checkpoint(config, Path("none"))
    model, facts = start_model(config, None, said.append)
    return model, facts, said


def equal(model, other, *, except_for=()):
    one, two = flatten(params(model)), flatten(params(other))
    return [n for n in two if n not in except_for and not np.array_equal(one[n], two[n])] == []


def losses(folder):
    return {line["step"]: line["loss_hex"] for line in read(Path(folder) / "metrics.jsonl")}


def test_a_run_starts_from_weights_and_goes_on_without_them(
    checkpoint, small, tmp_path, without_pictures
):
    """The weights, the model and the tokenizer are the checkpoint's; the folder knows where from,
    and continues bit by bit when the checkpoint is gone."""
    source = tmp_path / "source"
    shutil.copytree(checkpoint, source)
    (source / "generation_config.json").write_text('{"top_k": 7}')
    flags = ["--init-from", str(source), "--model.resid-pdrop=0.3"]
    run = lambda out, *more: configured(
        small, [*flags, f"--out={tmp_path / out}", *more], "pretrain"
    )
    whole = run("whole")
    assert (whole.model.vocab_size, whole.model.resid_pdrop) == (260, 0.3)
    assert whole.data.tokenizer == str(source)
    assert fit(whole).exit_code == 0
    assert fit(run("halves", "--steps=3")).exit_code == 0
    shutil.rmtree(source)
    assert fit(run("halves")).exit_code == 0
    assert losses(tmp_path / "halves") == losses(tmp_path / "whole")
    settings = [tmp_path / out / "model/generation_config.json" for out in ("whole", "halves")]
    assert settings[0].read_text() == settings[1].read_text()
    assert json.loads(settings[0].read_text())["top_k"] == 7
    record = json.loads((tmp_path / "halves/run.json").read_text())
    assert (record["resumed"], record["init_from"]["path"]) == (1, str(source))
    assert f"| started from | {source} |" in (tmp_path / "halves/report.md").read_text()
    card = write_card(tmp_path / "halves").read_text()
    assert f"trained from the weights of {source}" in card
    other = run("halves").replace(init_from="elsewhere")
    with pytest.raises(ValueError, match=r"init_from was '.*source' and is 'elsewhere'"):
        fit(other)


def test_weights_make_a_difference(checkpoint, small):
    """The control: the same config without them begins elsewhere."""
    config = small.replace(init_from=str(checkpoint), model=TrainConfig().model)
    model, facts, said = started(config)
    assert equal(model, tj.from_pretrained(checkpoint))
    assert said == [f"starting from {checkpoint}: 16 tensors"]
    assert facts["drawn"] == []
    drawn = tj.from_config(model.config, head="causal_lm", key=jax.random.key(config.seed))
    assert not equal(drawn, model)


def test_in_python_a_model_that_is_given_must_hold_the_weights(checkpoint, small):
    config = small.replace(init_from=str(checkpoint))
    own = tj.AutoConfig.from_pretrained(checkpoint)
    assert equal(started(config.replace(model=own.replace(resid_pdrop=0.5)))[0],
                 tj.from_pretrained(checkpoint))  # fmt: skip
    for change, message in (
        ({"n_embd": 32}, r"do not fit this run's model \(model.n_embd is 32 and 16 there\)"),
        ({"n_layer": 2}, r"model.n_layer is 2 and 1 there\): missing \(12\): [^,]+, [^,]+, "
                         r"[^,]+ and 9 more$"),
        ({"n_positions": 64}, "model.n_positions is 64 and 32 there"),
        ({"vocab_size": 250}, "model.vocab_size is 250 and 260 there"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            started(config.replace(model=own.replace(**change)))


def test_words_may_be_added(checkpoint, small):
    config = configured(small, [f"--init-from={checkpoint}", "--model.vocab-size=300"], "pretrain")
    table = lambda model: np.asarray(flatten(params(model))["embed.table"])
    model = started(config)[0]
    assert table(model).shape == (300, 16)
    assert np.array_equal(table(model)[:260], table(tj.from_pretrained(checkpoint)))
    assert np.std(table(model)[260:]) > 0.01


def test_heads_are_drawn_where_they_are_missing(tmp_path):
    saved(tmp_path, BERT, "masked_lm", roles=("pad", "cls", "sep", "mask"))
    config = TrainConfig(init_from=str(tmp_path), objective=NextSentence())
    model, facts, said = started(config)
    assert facts["drawn"]
    assert said[0].endswith(f"newly initialised: {', '.join(facts['drawn'])}")
    assert all(path.startswith(("pooler", "head")) for path in facts["drawn"])
    source = tj.from_pretrained(tmp_path)
    assert np.array_equal(*(flatten(params(m))["embed.table"] for m in (model, source)))


def test_another_family_and_a_tokenizer_of_other_ids_are_refused(checkpoint, small, tmp_path):
    refused = lambda *flags: configured(small, [f"--init-from={checkpoint}", *flags], "pretrain")
    bert = small.replace(model=BERT, objective=MaskedLM())
    with pytest.raises(ValueError, match="is of the family gpt2, and the config's model of bert"):
        configured(bert, [f"--init-from={checkpoint}"], "pretrain")
    with pytest.raises(ValueError, match="does not exist"):
        configured(small, ["--init-from", str(tmp_path / "nowhere")], "pretrain")
    out = f"--out={tmp_path / 'run'}"
    with pytest.raises(ValueError, match=r"learned from this text.*as in --data.tokenizer DIR"):
        fit(refused(out, "--data.tokenizer=wordpiece"))
    big = tmp_path / "big"
    train_tokenizer("bpe", ["some text"], 300, sentinels=10).save(big)
    with pytest.raises(ValueError, match=r"does not fit model.vocab_size .260.*--model.vocab-size"):
        fit(refused(out, f"--data.tokenizer={big}"))


def test_another_tokenizer_that_fits_is_said(checkpoint, small):
    said: list[str] = []
    config = small.replace(init_from=str(checkpoint))
    for special in ((), ("pad",)):
        tokenizer = train_tokenizer("byte", [], 0, roles=special)
        check_tokenizer(config, tokenizer, said.append)
    assert len(said) == 1
    assert f"WARNING: the tokenizer is not that of {checkpoint}" in said[0]


@pytest.mark.parametrize(
    "layout",
    [
        "of a run",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("side by side", "alone")),
    ],
)
def test_the_pair_of_electra_is_started(tmp_path, layout):
    pair = make_replaced_token_detection(ELECTRA, key=jax.random.key(3), fraction=0.5)
    if layout == "side by side":
        pair.save_pretrained(tmp_path)
    else:
        for name, part in pair.exports().items():
            if name == "" or layout == "of a run":
                part.save_pretrained(tmp_path / name)
    config = TrainConfig(init_from=str(tmp_path), objective=ReplacedToken(fraction=0.5))
    model, facts, _ = started(config)
    drawn = {path for path in flatten(params(pair)) if path.startswith("generator_")}
    assert set(facts["drawn"]) == (drawn if layout == "alone" else set())
    assert equal(model, pair, except_for=facts["drawn"])
    if layout != "alone":
        with pytest.raises(
            ValueError, match=r"generator .* is 8 wide.*pass --objective.fraction 0.5"
        ):
            started(config.replace(objective=ReplacedToken(fraction=1.0)))


def test_an_encoder_decoder_is_started(tmp_path):
    source = saved(tmp_path, T5, "seq2seq_lm", roles=("pad", "eos"), sentinels=100)
    config = TrainConfig(init_from=str(tmp_path), objective=SpanCorruption())
    assert equal(started(config)[0], source)


ON_A_MESH = """
    import json, sys, numpy as np, transformers_jax as tj
    from transformers_jax.nn.param import flatten, params
    from transformers_jax.shard import make_mesh
    from transformers_jax.training.config import TrainConfig
    from transformers_jax.training.initial import start_model

    folder, found = sys.argv[1], {}
    own, whole = tj.AutoConfig.from_pretrained(folder), flatten(params(tj.from_pretrained(folder)))
    for words, axes in ((260, {"fsdp": 8}), (264, {"tensor": 2, "fsdp": 4})):
        config = TrainConfig(init_from=folder, model=own.replace(vocab_size=words))
        values = flatten(params(start_model(config, make_mesh(axes), str)[0]))
        alike = all(np.array_equal(np.asarray(x)[: len(whole[name])], whole[name])
                    for name, x in values.items())
        shard = values["embed.table"].addressable_shards[0].data
        found[words] = alike, shard.size / values["embed.table"].size
    print(json.dumps(found))
"""


@pytest.mark.slow
def test_weights_are_read_into_the_shards_of_a_mesh(checkpoint, on_eight_devices):
    """Also where words are added, because the mesh divides only the padded vocabulary."""
    found = json.loads(on_eight_devices(ON_A_MESH, checkpoint).stdout.splitlines()[-1])
    assert found == {"260": [True, 1 / 8], "264": [True, 1 / 8]}


def test_checkpoints_are_swept(checkpoint, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(checkpoint, second)
    grid = {"init_from": [str(checkpoint), str(second)]}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_dict(TrainConfig())))
    start = Start("pretrain", (str(file), "--data.batch=4"), pretrain.configure)
    one, two = make_points(start, grid, tmp_path / "sweep")
    assert one.identity != two.identity
    assert one.flags == (f"--init-from={checkpoint}",)


def test_a_runs_own_config_starts_the_same_run(checkpoint, small):
    config = with_checkpoint(
        small.replace(init_from=str(checkpoint), model=TrainConfig().model), Path("none")
    )
    file = Path(small.out).with_name("config.json")
    file.write_text(json.dumps(to_dict(config)))
    assert with_checkpoint(load(file), Path("none")) == config
    assert load_tokenizer(checkpoint).max_id == 255


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=rf"is a file; give the folder .* --init-from {tmp_path}"):
        weights_folder(str(tmp_path / "config.json"))
