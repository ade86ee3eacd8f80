"""Layers by number: freezing, learning rates and decay of stacked layers are those of a list."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.families.conftest import CONFIGS, HEADS
from tests.training.optim_cases import RECORDS, train
from transformers_jax.models.base import Plan
from transformers_jax.models.electra_pretraining import ReplacedTokenDetectionPlan
from transformers_jax.nn.layers import unstack
from transformers_jax.nn.param import axes, flatten, params, unflatten
from transformers_jax.optim import AdamW, Constant
from transformers_jax.spec import Execution

SIZES = dict(
    vocab_size=11, hidden_size=8, num_attention_heads=2, intermediate_size=10,
    max_position_embeddings=12,
)  # fmt: skip
T5 = dict(vocab_size=11, d_model=8, d_kv=4, d_ff=10, num_layers=3, num_decoder_layers=2)
MODELS = {
    "bert": lambda: (tj.BertConfig(**SIZES, num_hidden_layers=3), "masked_lm"),
    "modernbert": lambda: (
        tj.ModernBertConfig(**SIZES, num_hidden_layers=7, pad_token_id=0),
        "none",
    ),
    "albert": lambda: (
        tj.AlbertConfig(**SIZES, num_hidden_layers=4, num_hidden_groups=2, embedding_size=6),
        "none",
    ),
    "t5": lambda: (tj.T5Config(**T5, num_heads=2), "seq2seq_lm"),
}
FREEZE = ("embed.*", "*.layers.0.*", "*.layers.1.self.query")
SETTINGS = dict(
    freeze=FREEZE,
    decay=(("*.layers.1.*", 0.5),),
    rates=(("*.layers.[12].*", 0.25),),
    layer_decay=0.5,
)


def models(family):
    """The model with stacked layers, and with a list of them; no arrays."""
    config, head = MODELS[family]()
    plan = Plan(config, head)
    return plan.build(), dataclasses.replace(plan, execution=Execution(layers="list")).build()


def numbers(model, seed):
    """Random values, of different sizes in different layers so that mixing them shows."""
    rng = np.random.default_rng(seed)
    return {
        path: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32)
        for path, leaf in flatten(params(model)).items()
    }


def listed(model, flat):
    """Parameters of the stacked model as those of the list."""
    tree = unflatten(flat)
    for name, stack in model.stacks().items():
        tree[name] = unstack(tree[name], stack.spec)
    return flatten(tree)


def both(record, family, steps=2):
    """(start, after, averages) of the stacked model as a list, then of the list."""
    stacked, single = models(family)
    start, *every = (numbers(stacked, n) for n in range(steps + 1))
    whole = train(record.build(axes(stacked), 10), start, every)
    parts = train(
        record.build(axes(single), 10), listed(stacked, start), [listed(stacked, g) for g in every]
    )
    start = listed(stacked, start)
    return start, [listed(stacked, tree) for tree in whole], parts


def bits(x):
    return np.asarray(x).tobytes()


PAIRS = [("adamw", family) for family in MODELS]
PAIRS += [("muon", "bert"), ("lion", "t5"), ("adafactor", "t5"), ("schedule_free", "albert")]


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_a_stacked_model_is_trained_as_a_list_of_layers_is(name, family):
    settings = dict(SETTINGS, layer_decay=1.0) if family == "albert" else SETTINGS
    start, whole, parts = both(dataclasses.replace(RECORDS[name], **settings), family)
    for ours, theirs in zip(whole, parts):
        for path in theirs:
            np.testing.assert_allclose(ours[path], theirs[path], rtol=2e-5, atol=2e-6, err_msg=path)
    frozen = [p for p in start if p.startswith("embed.") or ".blocks.0." in p]
    frozen += [p for p in start if p.endswith(".blocks.1.self.query")]
    for tree in (*whole, *parts):
        moved = {path for path in start if bits(tree[path]) != bits(start[path])}
        assert moved == start.keys() - set(frozen)


def test_each_layer_has_its_own_rate_and_the_factors_are_those_of_the_papers():
    stacked, _ = models("bert")
    known = AdamW(layer_decay=0.5, rates=(("*.layers.2.*", 3.0),)).leaves(axes(stacked))
    assert known["stack.blocks.0.self.query"].rate == (0.125, 0.25, 1.5)
    assert known["embed.table"].rate == 0.0625
    assert known["head.bias"].rate == 1.0
    known = AdamW(layer_decay=0.5).leaves(axes(models("t5")[0]))  # each stack from its own top
    assert known["encoder.blocks.0.self.query"].rate == (0.125, 0.25, 0.5)
    assert known["decoder.blocks.0.self.query"].rate == (0.25, 0.5)
    assert known["embed.table"].rate == 0.0625
    slots = AdamW(freeze=("*.layers.3.*",)).leaves(axes(models("modernbert")[0]))
    frozen = {path: leaf.frozen for path, leaf in slots.items() if leaf.frozen}
    assert len({path.split(".")[2] for path in frozen}) == 1  # the slot that holds layer 3
    assert set(frozen.values()) <= {True, (True, False), (False, True)}


def test_a_step_moves_and_measures_only_the_layers_that_are_trained():
    config = tj.BertConfig(**SIZES, num_hidden_layers=3)
    stacked = tj.from_config(config, head="masked_lm", key=jax.random.key(0))
    record = AdamW(peak=1e-2, schedule=Constant(0), freeze=("embed.*", "*.layers.[01].*"))
    batch = {"input_ids": np.arange(10).reshape(2, 5), "labels": np.arange(10).reshape(2, 5)}
    results = []
    for model in (stacked, stacked.with_layers("list")):
        optimizer = record.build(axes(model), 20)
        step = tj.make_step(model, tj.supervised, optimizer)
        state, metrics = step(tj.init_state(model, optimizer, jax.random.key(1)), batch)
        flat = flatten(state.params)
        results.append((listed(stacked, flat) if model is stacked else flat, metrics))
    (ours, metrics), (theirs, listed_metrics) = results
    start = listed(stacked, flatten(params(stacked)))
    moved = {path for path in start if bits(ours[path]) != bits(start[path])}
    assert {path.split(".")[2] for path in moved if "blocks" in path} == {"2"}
    assert {path for path in start if bits(theirs[path]) != bits(start[path])} == moved
    norms = [float(values["gradient_norm"]) for values in (metrics, listed_metrics)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    for path in moved:
        np.testing.assert_allclose(ours[path], theirs[path], rtol=1e-3, atol=1e-5, err_msg=path)


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("bert", dict(freeze=("*.blocks.0.*",)), r"named by number: '\*\.layers\.0\.\*'"),
        ("bert", dict(rates=(("*.blocks.*.ffn.*", 1.0),)), r"'\*\.layers\.\*\.ffn\.\*'"),
        ("bert", dict(freeze=("*.layers.3.*",)), "numbered from 0 to 2"),
        ("bert", dict(freeze=("stack.layer.0.*",)), r"nearest are stack\.layers\.0\."),
        (
            "albert",
            dict(decay=(("*.layers.3.*", 0.0),)),
            "the 4 layers share .* layers.0, layers.1",
        ),
        ("albert", dict(layer_decay=0.9), "share their parameters"),
    ],
)
def test_a_pattern_that_means_something_else_than_it_looks_like_is_refused(
    family, settings, message
):
    for model in models(family):
        with pytest.raises(ValueError, match=message):
            AdamW(**settings).build(axes(model), 10)


def test_the_advice_of_the_messages_works():
    for model in models("bert"):
        for pattern in ("*.layers.0.*", "*.layers.*", "*.layers.*.ffn.*"):
            assert AdamW(freeze=(pattern,)).build(axes(model), 10).frozen is not None


def test_layers_without_numbers_cannot_decay_and_a_decay_is_a_fraction():
    with pytest.raises(ValueError, match=r"axes\(model\) of a model"):
        AdamW(layer_decay=0.5).build({"w": ("layers", "embed", "mlp")}, 10)
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"layer_decay .* above 0, at most 1"):
            AdamW(layer_decay=wrong)
    with pytest.raises(ValueError, match=r"layer_decay should be a finite number"):
        AdamW(layer_decay=float("nan"))


def known_of(model):
    return AdamW(layer_decay=0.5).leaves(axes(model))


# above a stack: poolers, the final norm, the projection from an encoder to a decoder
WHOLE = re.compile(
    r"(generator_)?head\.|pooler\.|contacts\.|(stack|encoder|decoder|generator_stack)\.norm\.|project\."
)
ZOO = [(name, head) for name in CONFIGS for head in dict.fromkeys((HEADS[name], "none"))]
ZOO = [pair for pair in ZOO if pair[0] != "albert" and pair[1] in CONFIGS[pair[0]]().HEADS.values()]


@pytest.mark.parametrize(("family", "head"), ZOO)
def test_only_parameters_above_a_stack_have_the_full_rate(family, head):
    known = known_of(Plan(CONFIGS[family](), head).build())
    for path, leaf in known.items():
        assert (leaf.rate == 1.0) == bool(WHOLE.match(path)), (path, leaf.rate)


def test_embeddings_and_position_tables_are_below_the_stack_that_reads_them():
    bart = known_of(Plan(CONFIGS["bart"](), "seq2seq_lm").build())  # 2 layers read 3 that write
    assert bart["embed.position"].rate == 0.5**3
    assert bart["decoder_embed.position"].rate == 0.5**4
    assert bart["embed.table"].rate == 0.5**4  # of both: by the deeper one
    t5 = known_of(Plan(CONFIGS["t5"](), "seq2seq_lm").build())
    assert t5["encoder.score.table"].rate == 0.5**3
    assert t5["decoder.score.table"].rate == t5["embed.table"].rate == 0.5**4
    both = CONFIGS["encoder_decoder"]()
    apart = known_of(Plan(both.replace(encoder=both.encoder.replace(num_hidden_layers=1))).build())
    assert apart["embed.table"].rate == 0.5**2
    assert apart["decoder_embed.table"].rate == 0.5**3
    pair = known_of(
        ReplacedTokenDetectionPlan(CONFIGS["electra"](), "replaced_token_detection").build()
    )
    assert pair["generator_project.weight"].rate == pair["embed.project.weight"].rate == 0.5**3
    assert {path.split(".")[0] for path, leaf in pair.items() if leaf.rate == 1.0} == {
        "head",
        "generator_head",
    }
