"""T5 and its kin: words of each side, settings of older files, routers, summaries."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from transformers_jax.graph import sequence
from transformers_jax.models import config_class
from transformers_jax.models.base import Plan
from transformers_jax.nn.extend import SummaryBlocks
from transformers_jax.nn.param import flatten, params
from transformers_jax.objectives.losses import objective

CASES = Path(__file__).parent.parent / "conformance" / "cases"
ENCODER, DECODER = (f"{side}.embed_tokens.weight" for side in ("encoder", "decoder"))
IDS = np.random.default_rng(3).integers(3, 90, (2, 22)).astype(np.int32)


def stored(folder, words, **config):
    """A copy of the case t5-v1.0 whose tables of words are those named."""
    tensors = load_file(CASES / "t5-v1.0" / "model.safetensors")
    shape = tensors.pop("shared.weight").shape
    tensors |= {
        name: np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        for name, seed in words.items()
    }
    values = json.loads((CASES / "t5-v1.0" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **config}))
    save_file(tensors, folder / "model.safetensors")
    return tensors


@pytest.mark.parametrize(
    ("words", "reads"),
    [  # seeds of the tables in the file; those that encoder, decoder and output read
        ({"shared.weight": 1}, (1, 1, 1)),
        ({ENCODER: 2, DECODER: 3}, (2, 3, 2)),
        ({"shared.weight": 1, ENCODER: 2}, (2, 1, 1)),
        ({"shared.weight": 1, DECODER: 3}, (1, 3, 1)),
        ({"shared.weight": 1, ENCODER: 2, DECODER: 3}, (2, 3, 1)),
        ({"shared.weight": 1, ENCODER: 2, DECODER: 3, "lm_head.weight": 4}, (2, 3, 4)),
        ({DECODER: 3, "lm_head.weight": 4}, (3, 3, 4)),
    ],
)
def test_each_side_reads_its_own_embeddings_where_they_are_stored(words, reads, tmp_path):
    stored(tmp_path, words)
    model = tj.from_pretrained(tmp_path, head="seq2seq_lm")
    assert tables_of(model, tmp_path) == reads
    tj.save_pretrained(model, tmp_path / "again")
    again = tj.from_pretrained(tmp_path / "again", head="seq2seq_lm")
    assert tables_of(again, tmp_path) == reads


def tables_of(model, folder):
    """The seeds of the tables that encoder, decoder and output read."""
    first = load_file(folder / "model.safetensors")
    shape = next(x.shape for name, x in first.items() if "embed" in name or "shared" in name)
    draws = {n: np.random.default_rng(n).normal(size=shape).astype(np.float32) for n in range(1, 5)}
    output = model.token_table(model.output_of) if model.head.table is None else model.head.table
    tables = (model.token_table("encoder"), model.token_table("decoder"), output)
    name_of = lambda table: next(n for n, x in draws.items() if np.array_equal(x, table[...]))
    return tuple(name_of(table) for table in tables)


def test_a_classifier_loads_a_file_with_and_without_its_prefix(tmp_path):
    classifier = tj.from_pretrained(
        CASES / "t5-v1.0", head="token_classification", num_labels=3, key=jax.random.key(0)
    )
    tj.save_pretrained(classifier, tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    assert "transformer.shared.weight" in names
    assert "classifier.weight" in names
    bare = tj.from_pretrained(tmp_path, head="encoder")
    whole = tj.from_pretrained(CASES / "t5-v1.0", head="encoder")
    one, other = (model(input_ids=IDS).last_hidden_state for model in (bare, whole))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("family", "changes", "scales"),
    [
        ("t5", {}, True),
        ("t5", {"tie_word_embeddings": False}, False),
        ("t5", {"tie_word_embeddings": True, "scale_decoder_outputs": False}, False),
        ("longt5", {"tie_word_embeddings": False}, False),
        ("mt5", {"tie_word_embeddings": True}, False),
        ("umt5", {"tie_word_embeddings": False}, True),
        ("switch_transformers", {"tie_word_embeddings": False}, False),
        ("switch_transformers", {}, True),
    ],
)
def test_states_are_scaled_before_the_output_as_transformers_does(family, changes, scales):
    config = config_class({"model_type": family}).from_dict(changes)
    assert config.scale_decoder_outputs is scales
    written = config.to_dict()
    assert config.from_dict(written).to_dict() == written
    assert config.from_dict(written).scale_decoder_outputs is scales
    assert ("scale_decoder_outputs" in written) == (family in ("t5", "longt5"))


def test_untied_switch_keeps_all_four_tables():
    values = {
        "tie_word_embeddings": False,
        "num_layers": 2,
        "d_model": 12,
        "d_ff": 16,
        "num_heads": 2,
    }
    config = config_class({"model_type": "switch_transformers"}).from_dict(values)
    model = Plan(config, "seq2seq_lm").build()
    ours = {path: leaf.shape for path, leaf in flatten(params(model)).items()}
    words = [n for n in config.table("seq2seq_lm").fills(ours) if "block" not in n]
    assert {"shared.weight", ENCODER, DECODER, "lm_head.weight"} <= set(words)
    assert config.to_dict()["tie_word_embeddings"] is False


def test_every_nth_layer_has_experts():
    config = config_class({"model_type": "switch_transformers"})

    def kinds(**changes):
        blocks = config.from_dict(changes).spec(False).blocks
        return "".join(block[-1].name[0] for block in blocks)

    assert kinds(num_layers=6, num_sparse_encoder_layers=3) == "fefefe"
    assert kinds(num_layers=5, num_sparse_encoder_layers=1) == "fefff"
    assert kinds(num_layers=3, num_sparse_encoder_layers=3) == "eee"
    assert kinds(num_layers=4, encoder_sparse_step=3) == "feff"
    assert kinds(num_layers=3, num_sparse_encoder_layers=9) == "fff"


def test_only_models_with_experts_return_router_logits():
    for family, has_experts in (("t5", False), ("switch_transformers", True)):
        config = config_class({"model_type": family}).from_dict({"num_layers": 12})
        for head in ("seq2seq_lm", "encoder"):
            model = Plan(config, head).build()
            assert ("output_router_logits" in model.arguments()) == has_experts


@pytest.mark.parametrize(
    ("layers", "steps", "balanced"),
    [(2, (0, 0), False), (1, (2, 2), False), (2, (0, 2), True), (2, (1, 1), True)],
)
def test_experts_that_no_layer_has_need_no_balance(layers, steps, balanced):
    """A step of 0 is never, and of one layer the second is not there."""
    config = tj.SwitchTransformersConfig(
        vocab_size=32, d_model=12, d_kv=6, d_ff=16, num_heads=2, num_experts=2, num_layers=layers,
        num_decoder_layers=layers, encoder_sparse_step=steps[0], decoder_sparse_step=steps[1],
    )  # fmt: skip
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))
    ids = np.ones((2, 5), np.int32)
    loss, metrics = objective("seq2seq_lm")(model, {"input_ids": ids, "labels": ids}, None)
    assert np.isfinite(loss)
    assert ("cross_entropy" in metrics) == (model.routing is not None) == balanced
    assert ("output_router_logits" in model.arguments()) == balanced


def test_blocks_join_their_orphans_and_leave_padding_out():
    valid = np.array([[1] * 11, [1] * 7 + [0] * 4, [0] * 6 + [1] * 5, [1] * 3 + [0] * 8]) > 0
    blocks = SummaryBlocks(4)(sequence(11, valid=valid)).tag("block")
    assert blocks.tolist() == [
        [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0],  # one block ends in a token, and all join it
        [-1] * 11,
    ]


def test_tiles_compute_windows_and_summaries_as_the_whole_matrix_does():
    mask = np.ones((2, 22), np.int32)
    mask[1, 17:] = 0
    answers = []
    for how in ("reference", "tiled"):
        model = tj.from_pretrained(CASES / "longt5-tglobal", head="encoder", attention=how)
        answers.append(model(input_ids=IDS, attention_mask=mask).last_hidden_state)
    np.testing.assert_allclose(*(np.asarray(x)[mask > 0] for x in answers), rtol=2e-5, atol=2e-5)
    garbage = np.where(mask > 0, IDS, 7)
    again = model(input_ids=garbage, attention_mask=mask).last_hidden_state
    assert np.array_equal(np.asarray(again)[mask > 0], np.asarray(answers[1])[mask > 0])
    mask[:] = 1  # the control: unmasked padding is attended to
    whole = model(input_ids=IDS, attention_mask=mask).last_hidden_state
    assert not np.allclose(np.asarray(whole)[1, :10], np.asarray(answers[1])[1, :10], atol=1e-3)


def test_what_longt5_cannot_do_is_refused():
    with pytest.raises(ValueError, match="'transient_global': expected 'local' or 'transient-glo"):
        tj.LongT5Config(encoder_attention_type="transient_global")
    config = tj.LongT5Config(encoder_attention_type="transient-global")
    with pytest.raises(ValueError, match="compares document, but summaries"):
        Plan(config, "encoder", mask=tj.OWN & tj.Same("document")).build()


def test_training_keeps_experts_balanced():
    inputs = dict(np.load(CASES / "switch-router" / "inputs.npz"))
    batch = {n: jnp.asarray(x, jnp.int32) for n, x in inputs.items() if "generate" not in n}
    model = tj.from_pretrained(CASES / "switch-router", head="seq2seq_lm")
    whole = model(**batch, output_router_logits=True)
    loss, metrics = objective("seq2seq_lm")(model, batch, None)
    np.testing.assert_allclose(loss, whole.loss, rtol=1e-6)
    penalty, rows = metrics["loss"]["router_loss"]
    assert penalty / rows > 1e-4  # the control: without it this would be another loss
    assert rows == len(batch["input_ids"])
    words, count = metrics["cross_entropy"]
    np.testing.assert_allclose(words / count + penalty / rows, loss, rtol=1e-6)


def test_a_step_balances_experts_as_the_objective_does():
    model = tj.from_pretrained(CASES / "switch-router", head="seq2seq_lm")
    optimizer, ids = optax.sgd(0.1), np.ones((2, 5), np.int32)
    step = tj.make_step(model, objective("seq2seq_lm"), optimizer)
    state = tj.init_state(model, optimizer, jax.random.key(0))
    _, metrics = jax.eval_shape(step, state, {"input_ids": ids, "labels": ids})
    assert {"router_loss", "word_loss"} <= metrics.keys()
