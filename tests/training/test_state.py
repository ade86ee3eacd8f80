"""One training step: what it computes, what it leaves unchanged, and nonfinite numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from transformers_jax.nn.param import axes, flatten, params
from transformers_jax.objectives import causal_lm
from transformers_jax.optim import AdamW, Constant, Cosine
from transformers_jax.training.guard import guarded
from transformers_jax.training.state import TrainState, init_state
from transformers_jax.training.step import make_step

IDS = np.arange(4 * 12).reshape(4, 12) * 7 % 37


@pytest.fixture(scope="module")
def optimizer(model):
    return AdamW(peak=1e-2, schedule=Cosine(warmup=2)).build(axes(model), 20)


@pytest.fixture(scope="module")
def step(model, optimizer):
    return make_step(model, causal_lm, optimizer.transformation, schedule=optimizer.schedule)


def new(model, optimizer) -> TrainState:
    return init_state(model, optimizer.transformation, jax.random.key(3))


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_steps_make_the_loss_smaller_and_compile_once(model, optimizer, step):
    state = new(model, optimizer)
    losses = []
    for _ in range(8):
        state, metrics = step(state, {"input_ids": IDS})
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0] - 0.3
    assert int(state.step) == 8
    assert step._cache_size() == 1


def test_the_models_own_arrays_outlive_the_steps(model, optimizer, step):
    before = leaves(params(model))
    state = new(model, optimizer)
    state, _ = step(state, {"input_ids": IDS})
    for a, b in zip(before, leaves(params(model))):
        np.testing.assert_array_equal(a, b)
    assert np.abs(leaves(state.params)[0] - before[0]).max() > 0


def test_the_metrics_include_learning_rate_and_gradient_norm(model, optimizer, step):
    _, metrics = step(new(model, optimizer), {"input_ids": IDS})
    assert float(metrics["learning_rate"]) == pytest.approx(5e-3)
    grads = jax.grad(lambda p: causal_lm(tj.bind(model, p), {"input_ids": IDS}, None)[0])
    squares = sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(grads(params(model))))
    assert float(metrics["gradient_norm"]) == pytest.approx(squares**0.5, rel=1e-4)


def test_micro_batches_make_the_same_step_as_one_batch(model, optimizer, step):
    labels = IDS.copy()
    labels[1, 3:] = -100  # micro-batches of different weight
    batch = {"input_ids": IDS, "labels": labels}
    parts = make_step(model, causal_lm, optimizer.transformation, accumulate=2)
    one, first = step(new(model, optimizer), batch)
    two, second = parts(new(model, optimizer), batch)
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-6)
    np.testing.assert_allclose(first["gradient_norm"], second["gradient_norm"], rtol=1e-5)
    for a, b in zip(leaves(one.opt), leaves(two.opt)):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_mean_of_means_gives_another_gradient(model):
    """The control of the test above: unequal weights matter."""
    labels = IDS.copy()
    labels[1, 3:] = -100
    rows = [{"input_ids": IDS[i::2], "labels": labels[i::2]} for i in (0, 1)]
    means = np.mean([float(causal_lm(model, row, None)[0]) for row in rows])
    whole = float(causal_lm(model, {"input_ids": IDS, "labels": labels}, None)[0])
    assert abs(means - whole) > 1e-4


def test_gradients_are_clipped_by_their_global_norm(model, optimizer):
    def moments(clip):
        step = make_step(model, causal_lm, optimizer.transformation, clip=clip)
        state, metrics = step(new(model, optimizer), {"input_ids": IDS})
        first = [np.ravel(x) for x in jax.tree.leaves(optax.tree.get(state.opt, "mu"))]
        return float(metrics["gradient_norm"]), np.concatenate(first)

    norm, free = moments(None)
    unclipped, clipped = moments(norm / 2)
    assert unclipped == pytest.approx(norm)
    np.testing.assert_allclose(clipped, free / 2, atol=1e-7)


def test_a_nonfinite_loss_leaves_the_state_unchanged(model, optimizer):
    def spoiled(model, batch, key):
        loss, _ = causal_lm(model, {"input_ids": batch["input_ids"]}, key)
        return loss * batch["factor"][0], {"loss": (loss * batch["factor"][0], jnp.float32(1))}

    step = make_step(model, spoiled, optimizer.transformation)
    start = leaves(new(model, optimizer).params)
    bad, metrics = step(new(model, optimizer), {"input_ids": IDS, "factor": np.float32([np.nan])})
    assert not bool(metrics["finite"])
    assert int(bad.step) == 0
    assert all((a == b).all() for a, b in zip(start, leaves(bad.params)))
    good, metrics = step(bad, {"input_ids": IDS, "factor": np.float32([1.0])})
    assert bool(metrics["finite"])
    assert int(good.step) == 1


@pytest.mark.parametrize("on_nonfinite", ["abort", "skip"])
def test_a_nonfinite_step_changes_no_bit(model, optimizer, on_nonfinite):
    step = make_step(model, causal_lm, optimizer, on_nonfinite=on_nonfinite, nan_at=2)
    state, metrics = step(new(model, optimizer), {"input_ids": IDS})
    assert (int(metrics["first_nonfinite"]), int(metrics["skipped"])) == (-1, 0)
    before = [leaf.tobytes() for leaf in leaves((state.params, state.opt))]
    state, metrics = step(state, {"input_ids": IDS})
    assert [leaf.tobytes() for leaf in leaves((state.params, state.opt))] == before
    assert not bool(metrics["finite"])
    assert int(metrics["first_nonfinite"]) == 0
    skips = on_nonfinite == "skip"
    assert (int(state.step), int(state.skipped)) == ((2, 1) if skips else (1, 0))
    state, metrics = step(state, {"input_ids": IDS})
    if skips:  # the schedule continues where it was: at the second update
        assert (int(state.step), int(state.skipped)) == (3, 1)
        assert float(metrics["learning_rate"]) == pytest.approx(float(optimizer.schedule(1)))
        assert [leaf.tobytes() for leaf in leaves((state.params, state.opt))] != before
    else:  # and an aborted step is made again, as spoiled as it was
        assert int(state.step) == 1


@pytest.mark.parametrize("branch", [True, False])
def test_both_ways_to_skip_an_update_are_the_same(branch):
    old = ({"a": jnp.array([1.0]), "b": jnp.array([-0.0, 1.0])}, {"best": jnp.array(jnp.inf)})
    change = lambda old, factor: ({**old[0], "b": old[0]["b"] * factor}, old[1])
    choose = jax.jit(
        lambda finite, factor, old: guarded(
            finite, lambda old: change(old, factor), old, branch=branch
        )
    )
    for finite, factor, expected in ((True, 2.0, -1), (False, 2.0, -1), (True, np.nan, 1)):
        new, good, first = choose(finite, factor, old)
        assert int(first) == expected
        assert bool(good) == (finite and np.isfinite(factor))
        unchanged = [a.tobytes() == b.tobytes() for a, b in zip(leaves(new), leaves(old))]
        assert unchanged == [True, not good, True]


def test_the_first_nonfinite_gradient_is_named():
    def apply(params, *, x, key):
        return params["b"] * x + params["a"] + params["c"] * 0

    def broken(model, batch, key):
        loss = model(x=batch["x"], key=key).sum()
        return loss, {"loss": (jnp.float32(1), jnp.float32(1))}

    values = {name: jnp.ones(()) for name in "abc"}
    built = AdamW(schedule=Constant(0)).build(dict.fromkeys("abc", ()), 5)
    state = TrainState(jnp.int32(0), values, built.transformation.init(values), jax.random.key(0))
    step = make_step(apply, broken, built)
    _, metrics = step(state, {"x": np.float32([1, np.inf])})
    assert int(metrics["first_nonfinite"]) == 1  # a has gradient 2, b an infinite one


def test_frozen_parameters_do_not_count_in_the_norm(model):
    frozen = AdamW(peak=1e-2, schedule=Constant(0), freeze=("embed.*",)).build(axes(model), 20)
    step = make_step(model, causal_lm, frozen)
    state, metrics = step(init_state(model, frozen, jax.random.key(3)), {"input_ids": IDS})
    grads = jax.grad(lambda p: causal_lm(tj.bind(model, p), {"input_ids": IDS}, None)[0])
    squares = {name: float((g**2).sum()) for name, g in flatten(grads(params(model))).items()}
    trained = sum(value for name, value in squares.items() if not name.startswith("embed."))
    assert float(metrics["gradient_norm"]) == pytest.approx(trained**0.5, rel=1e-4)
    assert trained < 0.99 * sum(squares.values())
    table = np.asarray(params(model)["embed"]["table"])
    assert np.asarray(state.params["embed"]["table"]).tobytes() == table.tobytes()
    with pytest.raises(ValueError, match="expected 'abort' or 'skip'"):
        make_step(model, causal_lm, frozen, on_nonfinite="ignore")


def test_any_transformation_of_optax_can_be_used(model):
    step = make_step(model, causal_lm, optax.adafactor(1e-2))
    state = init_state(model, optax.adafactor(1e-2), jax.random.key(0))
    state, metrics = step(state, {"input_ids": IDS})
    assert int(state.step) == 1
    assert "learning_rate" not in metrics


def test_activations_may_have_less_precision_than_parameters(model, optimizer):
    step = make_step(model, causal_lm, optimizer.transformation, compute_dtype="bfloat16")
    state, metrics = step(new(model, optimizer), {"input_ids": IDS})
    assert all(leaf.dtype == np.float32 for leaf in leaves(state.params))
    full, _ = causal_lm(model, {"input_ids": IDS}, None)
    assert 0 < abs(float(metrics["loss"] - full)) < 0.05


def test_a_plain_function_can_be_trained_too():
    def line(params, *, x, key):
        return params["slope"] * x

    def squares(model, batch, key):
        errors = (model(x=batch["x"], key=key) - batch["y"]) ** 2
        return errors.mean(), {"loss": (errors.sum(), jnp.float32(errors.size))}

    optimizer = AdamW(peak=0.1, schedule=Constant(0), weight_decay=0.0)
    built = optimizer.build({"slope": ()}, 50).transformation
    values = {"slope": jnp.zeros(())}
    state = TrainState(jnp.zeros((), jnp.int32), values, built.init(values), jax.random.key(0))
    step = make_step(line, squares, built)
    batch = {"x": np.arange(4.0, dtype=np.float32), "y": 2 * np.arange(4.0, dtype=np.float32)}
    for _ in range(100):
        state, _ = step(state, batch)
    assert float(state.params["slope"]) == pytest.approx(2.0, abs=0.05)
    with pytest.raises(ValueError, match="compute_dtype needs the Model"):
        make_step(line, squares, built, compute_dtype="bfloat16")


def test_the_repr_of_a_state_is_one_line_whatever_its_leaves_are(model, optimizer, step):
    state = new(model, optimizer)
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert repr(state) == f"TrainState(step=0, {count:,} parameters, skipped=0)"
    without_values = f"TrainState(step=int32[], {count:,} parameters, skipped=int32[])"
    assert repr(jax.eval_shape(lambda state: state, state)) == without_values
    shown = []
    jax.eval_shape(lambda state: shown.append(repr(state)), state)
    assert shown == [without_values]
    step(state, {"input_ids": IDS})  # takes over the memory of the state
    assert repr(state) == without_values.replace("[]", "[] (deleted)")
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    leaf_count = len(jax.tree.leaves(state.params))
    name = type(sharding).__name__
    shown = repr(jax.tree.map(lambda _: sharding, state))
    assert shown == f"TrainState(step={name}, {leaf_count} leaves, skipped={name})"
