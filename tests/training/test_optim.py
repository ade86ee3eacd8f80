"""Optimizers: weight decay, schedules, and updates of stacked layers one by one."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training.optim_cases import (
    RECORDS,
    STACKED,
    gradients,
    train,
    tree,
    unstacked,
    unstacked_axes,
    with_state,
)
from transformers_jax.nn.matrices import is_matrix
from transformers_jax.nn.param import axes, flatten, params, unflatten
from transformers_jax.optim import (
    OPTIMIZERS,
    SCHEDULES,
    WSD,
    Adafactor,
    AdamW,
    Constant,
    Cosine,
    InverseRoot,
    Linear,
    Lion,
    Muon,
    ScheduleFreeAdamW,
    matrices,
)
from transformers_jax.settings import hints_of


@pytest.mark.parametrize("name", RECORDS)
def test_a_stacked_update_is_that_of_each_layer_by_itself(name):
    every = [gradients(step) for step in (1, 2, 3, 4)]
    stacked = train(RECORDS[name].build(tree(lambda a, s: a), 10), gradients(0), every)
    single = train(
        RECORDS[name].build(unflatten(unstacked_axes(unstacked(gradients(0)))), 10),
        unstacked(gradients(0)),
        [unstacked(g) for g in every],
    )
    for ours, theirs in zip(stacked, single):
        for path, leaf in unstacked(ours).items():
            np.testing.assert_allclose(leaf, theirs[path], rtol=2e-5, atol=2e-6, err_msg=path)


@pytest.mark.parametrize("name", ["adafactor", "muon"])
def test_optax_on_stacked_leaves_would_be_another_optimizer(name):
    """The control of the law above: without axis names, layers are mixed or not factored."""
    query = "stack.blocks.0.self.query"
    p, g = gradients(0)[query], gradients(1)[query]
    whole = {
        "adafactor": optax.adafactor(0.01, min_dim_size_to_factor=4, decay_rate=0.8),
        "muon": optax.contrib.muon(0.01, beta=0.95, consistent_rms=0.2),
    }[name]
    theirs, _ = jax.jit(whole.update)({"w": g}, whole.init({"w": p}), {"w": p})
    record = dataclasses.replace(RECORDS[name], weight_decay=0.0)
    built = record.build({"blocks": {"w": STACKED[query][0]}}, 10).transformation
    params = {"blocks": {"w": p}}
    ours, _ = jax.jit(built.update)({"blocks": {"w": g}}, jax.jit(built.init)(params), params)
    assert np.abs(ours["blocks"]["w"] - theirs["w"]).max() > 1e-3


OPTAX = {
    "adamw": (
        AdamW(peak=0.1, schedule=Constant(0), weight_decay=0.5),
        optax.adamw(0.1, b2=0.95, weight_decay=0.5, mask={"blocks": {"w": True, "b": False}}),
    ),
    "lion": (
        Lion(peak=0.1, schedule=Constant(0), weight_decay=0.5),
        optax.lion(0.1, weight_decay=0.5, mask={"blocks": {"w": True, "b": False}}),
    ),
    "adafactor": (
        Adafactor(peak=0.1, schedule=Constant(0), smallest=4),
        optax.adafactor(0.1, min_dim_size_to_factor=4),
    ),
    "muon": (
        Muon(peak=0.1, schedule=Constant(0), weight_decay=0.0),
        optax.contrib.muon(0.1, consistent_rms=0.2, adam_b2=0.95),
    ),
    "schedule_free": (
        ScheduleFreeAdamW(peak=0.1, schedule=Constant(0), weight_decay=0.0),
        optax.contrib.schedule_free_adamw(0.1, b1=0.9, b2=0.999),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_on_one_layer_it_is_the_optimizer_of_optax(name):
    record, theirs = OPTAX[name]
    rng = np.random.default_rng(0)
    draw = lambda: {
        "blocks": {
            "w": jnp.asarray(rng.normal(size=(5, 9)), jnp.float32),
            "b": jnp.asarray(rng.normal(size=9), jnp.float32),
        }
    }
    ours = record.build({"blocks": {"w": ("embed", "mlp"), "b": ("mlp",)}}, 10).transformation
    start, every = draw(), [draw() for _ in range(4)]

    def run(transformation):
        p, state = start, transformation.init(start)
        update = jax.jit(transformation.update)
        for g in every:
            updates, state = update(g, state, p)
            p = optax.apply_updates(p, updates)
        return p["blocks"]

    a, b = run(ours), run(theirs)
    for leaf in "w" if name == "muon" else "wb":  # vectors are NAdam's there
        np.testing.assert_allclose(a[leaf], b[leaf], atol=2e-5)
        assert np.abs(a[leaf] - start["blocks"][leaf]).max() > 0.02


def test_muon_trains_all_but_the_matrices_of_blocks_as_adamw_does():
    flat, every = gradients(0), [gradients(1), gradients(2)]
    settings = {"peak": 0.1, "schedule": Constant(0), "weight_decay": 0.3}
    muon, adam = (
        train(record(**settings).build(tree(lambda a, s: a), 10), flat, every)[0]
        for record in (Muon, AdamW)
    )
    for path in ("embed.table", "stack.blocks.0.self.query_bias"):
        np.testing.assert_array_equal(muon[path], adam[path])
    assert np.abs(muon["stack.blocks.0.ffn.up"] - adam["stack.blocks.0.ffn.up"]).max() > 0.01


def test_matrices_are_recognised_by_the_names_of_their_axes():
    assert is_matrix(("layers", "embed", "heads", "kv"))
    assert is_matrix(("vocab", "embed"))
    assert is_matrix(("layers", "experts", "embed", "mlp"))
    assert not is_matrix(("layers", "heads", "kv"))  # a bias, although it has three axes
    assert not is_matrix(("layers", "kv_heads", "kv"))
    assert not is_matrix(("layers", "embed"))


def test_biases_and_norms_of_a_model_do_not_decay(model):
    decays = flatten(matrices(axes(model)))
    vectors = {name for name, matrix in decays.items() if not matrix}
    assert all(name.endswith(("bias", "scale", "shift")) for name in vectors)
    assert decays["embed.table"]
    assert decays["stack.blocks.0.self.query"]


def test_muon_takes_the_matrices_of_blocks_and_no_others(model):
    built = Muon().build(axes(model), 10).transformation
    state_paths = with_state(built, params(model), "nu")
    assert "stack.blocks.0.self.query" not in state_paths
    assert {"embed.table", "stack.blocks.0.self.query_bias", "stack.norm.scale"} <= state_paths


def test_patterns_choose_decay_and_rate_and_the_last_one_counts():
    record = AdamW(decay=(("*", 0.3), ("embed.*", 0.0)), rates=(("*.query*", 0.5),))
    known = record.leaves(tree(lambda a, s: a))
    assert known["embed.table"].decay == 0.0
    assert known["stack.blocks.0.ffn.up"].decay == 0.3
    assert known["stack.blocks.0.self.query_bias"].rate == 0.5
    assert known["stack.blocks.0.self.out"].rate == 1.0
    plain = AdamW().leaves(tree(lambda a, s: a))
    assert (plain["embed.table"].decay, plain["stack.blocks.0.self.query_bias"].decay) == (0.1, 0)


def test_rates_scale_what_a_parameter_moves():
    def moved(**options):
        record = AdamW(peak=0.1, schedule=Constant(0), **options)
        built = record.build(tree(lambda a, s: a), 10)
        after, _ = train(built, gradients(0), [gradients(1)])
        return {path: np.asarray(after[path] - gradients(0)[path]) for path in after}

    whole, half = moved(), moved(rates=(("embed.*", 0.5),))
    np.testing.assert_allclose(half["embed.table"], whole["embed.table"] / 2, atol=1e-6)
    other = "stack.blocks.0.self.out"
    np.testing.assert_array_equal(half[other], whole[other])


@pytest.mark.parametrize("name", RECORDS)
def test_frozen_parameters_keep_their_bits_and_have_no_state(name):
    record = dataclasses.replace(RECORDS[name], freeze=("embed.*", "*.query"))
    built = record.build(tree(lambda a, s: a), 10)
    start = gradients(0)
    start["embed.table"] = start["embed.table"].at[0, 0].set(-0.0)
    after, evaluated = train(built, start, [gradients(1), gradients(2)])
    for values in (after, evaluated):
        for path in ("embed.table", "stack.blocks.0.self.query"):
            assert np.asarray(values[path]).tobytes() == np.asarray(start[path]).tobytes()
        assert np.abs(values["stack.blocks.0.ffn.up"] - start["stack.blocks.0.ffn.up"]).max() > 1e-3
    state_paths = with_state(built.transformation, unflatten(start))
    assert not any(path.startswith("embed.") or path.endswith(".query") for path in state_paths)
    assert "stack.blocks.0.ffn.up" in state_paths
    assert flatten(built.frozen)["embed.table"]
    assert AdamW().build(tree(lambda a, s: a), 10).frozen is None


def test_a_pattern_that_matches_nothing_is_an_error_with_the_nearest_paths():
    for field, value in (
        ("decay", (("embd.*", 0.0),)),
        ("rates", (("embd.*", 1.0),)),
        ("freeze", ("embd.*",)),
    ):
        with pytest.raises(ValueError, match=rf"{field}: 'embd.\*' matches .*embed.table"):
            AdamW(**{field: value}).build(tree(lambda a, s: a), 10)


NUMBERS = [
    (record, field.name)
    for record in (*OPTIMIZERS.values(), *SCHEDULES.values())
    for field in dataclasses.fields(record)
    if hints_of(record)[field.name] in (int, float, int | float)
]


@pytest.mark.parametrize(("record", "field"), NUMBERS)
def test_no_number_of_an_optimizer_or_schedule_is_negative(record, field):
    with pytest.raises(ValueError, match=rf"{field} \(-1"):
        record(**{field: -1})
    default = getattr(record(), field)
    assert getattr(record(**{field: default}), field) == default


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        *((record, "eps", 0.0) for record in (AdamW, Adafactor, Muon, ScheduleFreeAdamW)),
        (AdamW, "eps", 1e-46),  # 0 in float32
        (Adafactor, "clip", 0.0), (Adafactor, "floor", 0.0), (Adafactor, "exponent", 1.5),
        (Adafactor, "smallest", 0), (Muon, "rounds", 0), (Muon, "rms", 0.0),
        (Muon, "momentum", 1.0),
    ],
)  # fmt: skip
def test_numbers_that_stop_or_spoil_a_step_are_refused(record, field, value):
    with pytest.raises(ValueError, match=rf"{record.__name__}: {field} \("):
        record(**{field: value})


def test_invalid_values_are_reported_at_once():
    with pytest.raises(ValueError, match=r"peak \(0\) must be positive; b1 \(1.0\) must be from"):
        AdamW(peak=0, b1=1.0)
    with pytest.raises(ValueError, match="is an average itself"):
        ScheduleFreeAdamW(average=0.9)
    with pytest.raises(ValueError, match="fraction of the peak"):
        Cosine(final=2.0)
    with pytest.raises(ValueError, match="do not fit into 10 steps"):
        WSD(warmup=5, decay=0.8).rate(1.0, 10)


def test_the_average_is_that_of_the_parameters_so_far():
    built = AdamW(peak=0.1, schedule=Constant(0), average=0.9).build({"w": ("embed",)}, 10)
    p, iterates = {"w": jnp.ones(3)}, []
    state = built.transformation.init(p)
    np.testing.assert_array_equal(built.averaged(state, p)["w"], p["w"])
    for n in range(5):
        updates, state = built.transformation.update({"w": jnp.full(3, 0.1 * n)}, state, p)
        p = optax.apply_updates(p, updates)
        iterates.append(np.asarray(p["w"]))
    weights = 0.9 ** np.arange(4, -1, -1)
    expected = (weights[:, None] * np.array(iterates)).sum(0) / weights.sum()
    np.testing.assert_allclose(jax.jit(built.averaged)(state, p)["w"], expected, rtol=1e-6)
    assert np.abs(expected - iterates[-1]).max() > 0.01


def test_schedule_free_is_evaluated_at_the_mean_of_its_iterates():
    built = ScheduleFreeAdamW(peak=0.1, schedule=Constant(0)).build({"w": ("embed",)}, 10)
    theirs = optax.contrib.schedule_free_adamw(0.1, b1=0.9, b2=0.999)
    p = q = {"w": jnp.ones(3)}
    state, other = built.transformation.init(p), theirs.init(q)
    for n in range(5):
        g = {"w": jnp.asarray([0.1 * n, 0.2, -0.3])}
        updates, state = built.transformation.update(g, state, p)
        p = optax.apply_updates(p, updates)
        updates, other = theirs.update(g, other, q)
        q = optax.apply_updates(q, updates)
    expected = optax.contrib.schedule_free_eval_params(other, q)["w"]
    np.testing.assert_allclose(built.averaged(state, p)["w"], expected, atol=1e-5)
    assert np.abs(expected - q["w"]).max() > 0.01


@pytest.mark.parametrize("record", [*RECORDS.values(), AdamW(decay=(("a", 0.1),), freeze=("b",))])
def test_records_are_plain_values(record):
    values = json.loads(json.dumps(dataclasses.asdict(record)))
    schedule = type(record.schedule)(**values.pop("schedule"))
    pairs = {k: tuple(map(tuple, values.pop(k))) for k in ("decay", "rates")}
    again = type(record)(**values | pairs | {"freeze": tuple(values["freeze"])}, schedule=schedule)
    assert again == record
    assert hash(again) == hash(record)


def test_records_are_found_by_name():
    assert {name: record.__name__ for name, record in (OPTIMIZERS | SCHEDULES).items()} == {
        name: name for name in [*OPTIMIZERS, *SCHEDULES]
    }
    assert set(OPTIMIZERS.values()) == {type(record) for record in RECORDS.values()}
    assert {type(record().schedule) for record in OPTIMIZERS.values()} <= set(SCHEDULES.values())


def test_every_schedule_rises_to_its_peak_and_falls_as_it_says():
    cosine = Cosine(warmup=5, final=0.1).rate(2.0, 105)
    assert float(cosine(0)) == pytest.approx(0.4)
    assert float(cosine(4)) == pytest.approx(2.0)
    assert float(cosine(55)) == pytest.approx(1.1, abs=2e-3)
    assert float(cosine(105)) == float(cosine(10_000)) == pytest.approx(0.2)
    linear = Linear(warmup=5, final=0.2).rate(2.0, 105)
    assert [float(linear(n)) for n in (4, 55, 105, 999)] == pytest.approx([2.0, 1.2, 0.4, 0.4])
    wsd = WSD(warmup=5, decay=0.25, final=0.1).rate(2.0, 100)
    assert [float(wsd(n)) for n in (4, 40, 75)] == pytest.approx([2.0] * 3)
    assert float(wsd(81.25)) == pytest.approx(0.2 + 1.8 * 0.5)
    assert float(wsd(100)) == float(wsd(500)) == pytest.approx(0.2)
    root = InverseRoot(warmup=16).rate(2.0, 0)
    assert [float(root(n)) for n in (7, 15, 63)] == pytest.approx([1.0, 2.0, 1.0])
    t5 = InverseRoot(16, "peak").rate(2.0, 0)
    assert [float(t5(n)) for n in (0, 15, 63)] == pytest.approx([2.0, 2.0, 1.0])
    for schedule in (Cosine(warmup=9), Linear(warmup=9), WSD(warmup=9), Constant(9)):
        cut = schedule.rate(2.0, 4)  # its warm-up is longer than the run, and ends with it
        assert [float(cut(n)) for n in (0, 3, 4, 50)] == pytest.approx([0.5, 2.0, 2.0, 2.0])
    constant = Constant(4).rate(2.0, 10)
    assert [float(constant(n)) for n in (0, 3, 99)] == pytest.approx([0.5, 2.0, 2.0])
    zero = Linear(warmup=4, from_zero=True).rate(2.0, 8)  # transformers' lambda, step by step
    assert [float(zero(n)) for n in range(8)] == [0, 0.5, 1.0, 1.5, 2.0, 1.5, 1.0, 0.5]
    root = InverseRoot(warmup=16, from_zero=True).rate(2.0, 0)
    assert [float(root(n)) for n in (0, 8, 16, 64)] == pytest.approx([0.0, 1.0, 2.0, 1.0])
