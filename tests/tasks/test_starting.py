"""Where a run of fine-tuning starts: a head of other classes, layers drawn anew, no weights."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.tasks.conftest import reviews
from transformers_jax.data.tokenizers import load_tokenizer
from transformers_jax.nn.param import flatten, params
from transformers_jax.runs.recipe import Recipe, finetune
from transformers_jax.training.initial import check_start, new_model, start_model

pytestmark = pytest.mark.usefixtures("without_pictures")
RECORDS = reviews(60)
MNLI = {0: "entailment", 1: "neutral", 2: "contradiction"}
BERT = dict(hidden_size=16, num_attention_heads=2, intermediate_size=32, max_position_embeddings=48)


def saved(folder, encoder, family=tj.BertConfig, head="sequence_classification", **settings):
    """A checkpoint of two layers and these classes, with the tokenizer of `encoder`."""
    tokenizer = load_tokenizer(encoder)
    sizes = dict(vocab_size=tokenizer.max_id + 1, num_hidden_layers=2, **BERT)
    config = family(**sizes, **settings)
    model = tj.from_config(config, head=head, key=jax.random.key(5))
    model = tj.bind(model, jax.tree.map(lambda x: x + 0.125, params(model)))  # biases too
    tj.save_pretrained(model, folder)
    tokenizer.save(folder)
    return model


def started(folder, classes, task="sequence_classification", **settings):
    """(parameters that a run with these classes starts from, what run.json says, what is said)."""
    said: list[str] = []
    config = Recipe(task, str(folder)).config().replace(seed=3, **settings)
    model = config.objective.fitted(config.model, classes)
    model, facts = start_model(config.replace(model=model), None, said.append)
    return flatten(params(model)), facts, said


def unlike(one, other):
    return {path for path in other if not np.array_equal(one.get(path), other[path])}


HEAD = {"head.classify.weight", "head.classify.bias"}


@pytest.mark.parametrize(
    ("names", "classes", "anew"),
    [
        (MNLI, ("no", "yes"), HEAD),
        (MNLI, ("a", "b", "c"), HEAD),  # as many, but others
        (MNLI, tuple(MNLI.values()), set()),
        ({0: "LABEL_0", 1: "LABEL_1"}, ("no", "yes"), set()),  # which names none
        ({0: "LABEL_0", 1: "LABEL_1"}, ("a", "b", "c"), HEAD),
    ],
)
def test_a_head_of_other_classes_is_drawn_anew_and_nothing_else(
    encoder, tmp_path, names, classes, anew
):
    own = flatten(params(saved(tmp_path, encoder, id2label=names)))
    found, facts, said = started(tmp_path, classes)
    assert unlike(found, own) == anew
    assert {*facts["drawn"]} == anew
    assert (len(said) == 2) == bool(anew)
    if anew:
        some = ", ".join(names.values())
        assert f"is of {len(names)} classes ({some}), and the data has {len(classes)} c" in said[1]
        again = started(tmp_path, classes)[0]
        new = tj.from_config(
            tj.AutoConfig.from_pretrained(tmp_path).replace(id2label=dict(enumerate(classes))),
            head="sequence_classification", key=jax.random.key(3),
        )  # fmt: skip
        for path in anew:
            assert np.array_equal(found[path], again[path])
            assert np.array_equal(found[path], flatten(params(new))[path])


def test_a_body_of_another_size_is_still_refused(encoder, tmp_path):
    saved(tmp_path, encoder, id2label=MNLI)
    config = Recipe("sequence_classification", str(tmp_path)).config()
    model = config.objective.fitted(config.model.replace(hidden_size=32), ("a", "b"))
    with pytest.raises(ValueError, match=r"do not fit this run's model \(.*hidden_size is 32"):
        start_model(config.replace(model=model), None, str)


def test_the_inner_part_of_a_head_stays(encoder, tmp_path):
    """Of RoBERTa's head the first matrix knows no classes."""
    own = saved(tmp_path, encoder, tj.RobertaConfig, id2label=MNLI)
    found, facts, _ = started(tmp_path, ("a", "b"))
    assert {*facts["drawn"]} == HEAD
    assert unlike(found, flatten(params(own))) == HEAD


def test_a_run_goes_on_from_a_run_of_other_classes(encoder, tmp_path):
    """Of a model of three classes, by the folder of the run that has made it."""
    saved(tmp_path / "run/model", encoder, id2label=MNLI)
    (tmp_path / "run/metrics.jsonl").touch()
    load_tokenizer(encoder).save(tmp_path / "run")
    labels = [dict(one, label=n % 4) for n, one in enumerate(RECORDS)]
    run = finetune(
        tmp_path / "run", "sequence_classification", labels, out=str(tmp_path / "b"), steps=1,
        epochs=None, per_epoch=0, final_batches=0, batch=16, length=16, keep_best=False,
    )  # fmt: skip
    facts = json.loads((run.folder / "run.json").read_text())["init_from"]
    assert {*facts["drawn"]} == HEAD
    config = json.loads((run.folder / "model/config.json").read_text())
    assert config["id2label"] == {"0": "0", "1": "1", "2": "2", "3": "3"}
    assert "newly initialised: head.classify" in (run.folder / "report.md").read_text()


# ---------------------------------------------------------------- drawn anew


def like_new(folder, head, seed=3, **changes):
    """A model as it is drawn from the seed, of the sizes of a checkpoint."""
    config = tj.AutoConfig.from_pretrained(folder).replace(**changes)
    return flatten(params(tj.from_config(config, head=head, key=jax.random.key(seed))))


def test_the_layers_at_the_top_are_drawn_anew_and_the_rest_is_the_checkpoints(encoder, tmp_path):
    names = {0: "no", 1: "yes"}
    own = flatten(params(saved(tmp_path, encoder, id2label=names)))
    found, facts, said = started(tmp_path, ("no", "yes"), reinitialise_layers=1)
    new = like_new(tmp_path, "sequence_classification")
    layers = {path for path in own if path.startswith("stack.blocks.")}
    pooler = {path for path in own if path.startswith("pooler.")}
    assert pooler
    assert layers
    assert unlike(found, own) == layers | pooler == {*facts["drawn"]}
    for path in layers:
        assert np.array_equal(found[path][0], own[path][0])  # the lower of the two
        assert np.array_equal(found[path][1], new[path][1])
        assert not np.array_equal(found[path][1], own[path][1])
    assert all(np.array_equal(found[path], new[path]) for path in pooler)
    assert said[0].endswith("; re-initialised the top 1 layer of stack")
    assert facts["reinitialised_layers"] == 1
    assert not unlike(started(tmp_path, ("no", "yes"))[0], own)  # the control


def test_of_an_encoder_decoder_the_top_of_both_is_drawn(encoder, tmp_path):
    tokenizer = load_tokenizer(encoder)
    sizes = dict(d_model=16, d_kv=8, d_ff=32, num_layers=3, num_decoder_layers=2, num_heads=2)
    config = tj.T5Config(vocab_size=tokenizer.max_id + 1, **sizes)
    tj.save_pretrained(tj.from_config(config, head="seq2seq_lm", key=jax.random.key(1)), tmp_path)
    tokenizer.save(tmp_path)
    own = flatten(params(tj.from_pretrained(tmp_path)))
    found, _, said = started(tmp_path, (), "translation", reinitialise_layers=2)
    changed = {
        stack: {
            n
            for path in own
            if path.startswith(f"{stack}.blocks.")
            for n, (a, b) in enumerate(zip(found[path], own[path]))
            if not np.array_equal(a, b)
        }
        for stack in ("encoder", "decoder")
    }
    assert changed == {"encoder": {1, 2}, "decoder": {0, 1}}
    assert all(".blocks." in path for path in unlike(found, own))
    assert "re-initialised the top 2 layers of decoder and encoder" in said[0]


def test_from_scratch_only_the_sizes_are_the_checkpoints(encoder, tmp_path):
    saved(tmp_path, encoder, id2label=MNLI)
    config = Recipe("sequence_classification", str(tmp_path)).config()
    config = config.replace(seed=3, from_scratch=True)
    assert config.model.num_hidden_layers == 2
    assert config.data.tokenizer == str(tmp_path)
    said: list[str] = []
    model = new_model(config, None, tmp_path / "run", said.append)
    new = like_new(tmp_path, "sequence_classification")
    assert not unlike(flatten(params(model)), new)
    assert said == [f"from scratch: the model of {tmp_path}, its weights drawn from seed 3"]


def test_a_run_from_scratch_reads_no_weights_and_says_so(encoder, tmp_path):
    saved(tmp_path / "source", encoder, id2label=MNLI)
    (tmp_path / "source/model.safetensors").unlink()
    quick = dict(steps=2, schedule_steps=2, epochs=None, per_epoch=0, final_batches=0, batch=16)
    train = lambda steps: finetune(
        tmp_path / "source", "sequence_classification", RECORDS, out=str(tmp_path / "run"),
        from_scratch=True, length=16, keep_best=False, **{**quick, "steps": steps},
    )  # fmt: skip
    run = train(1)
    assert json.loads((run.folder / "config.json").read_text())["from_scratch"] is True
    assert "init_from" not in json.loads((run.folder / "run.json").read_text())
    assert "trained from scratch" in (run.folder / "model/README.md").read_text()
    assert "started from" not in (run.folder / "report.md").read_text()
    assert train(2).fitted.state.step == 2  # it goes on


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(reinitialise_layers=3), r"reinitialise_layers \(3\) is more than the 2 layers of st"),
        (dict(reinitialise_layers=-1), "reinitialise_layers .-1. must be at least 0"),
        (dict(reinitialise_layers=1, from_scratch=True), "leave reinitialise_layers out"),
        (dict(from_scratch=True, init_from=None), "from_scratch is of a checkpoint"),
        (dict(from_scratch=True, adapter=tj.LoRA()), "LoRA would leave as they are drawn"),
    ],
)
def test_what_cannot_be_drawn_is_refused(encoder, tmp_path, settings, words):
    saved(tmp_path, encoder)
    with pytest.raises(ValueError, match=words):
        check_start(Recipe("regression", str(tmp_path)).config().replace(**settings))


def test_layers_that_share_their_parameters_are_refused(encoder, tmp_path):
    saved(tmp_path, encoder, tj.AlbertConfig, embedding_size=8)
    with pytest.raises(ValueError, match=r"share their parameters; pass --from-scratch"):
        started(tmp_path, ("a", "b"), reinitialise_layers=1)
