"""What a step refuses to write, what it reports, and what is checked before a batch is sent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from transformers_jax.objectives.losses import objective

IDS = np.arange(4 * 12, dtype=np.int32).reshape(4, 12) * 7 % 37


def one_step(model, optimizer, batch=None, loss_function=tj.causal_lm, **options):
    """(parameters and optimizer before, after, metrics) of a step."""
    step = tj.make_step(model, loss_function, optimizer, **options)
    state = tj.init_state(model, optimizer, jax.random.key(0))
    before = [np.asarray(x) for x in jax.tree.leaves((state.params, state.opt))]
    state, metrics = step(state, {"input_ids": IDS} if batch is None else batch)
    return before, [np.asarray(x) for x in jax.tree.leaves((state.params, state.opt))], metrics


def unchanged(before, after):
    return all(a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True))


@pytest.fixture(scope="module")
def half(model):
    """The same model in float16."""
    values = jax.tree.map(lambda x: x.astype(jnp.float16), tj.functional(model)[1])
    return tj.bind(model, values)


def test_a_learning_rate_that_is_no_number_writes_nothing(model):
    before, after, metrics = one_step(model, optax.sgd(float("nan")))
    assert unchanged(before, after)
    assert not metrics["finite"]
    assert int(metrics["first_nonfinite"]) == 0
    assert np.isfinite(metrics["gradient_norm"])
    before, after, metrics = one_step(model, optax.sgd(1e-3))  # the control
    assert metrics["finite"]
    assert not unchanged(before, after)


def test_adam_in_float16_writes_nothing_that_is_not_finite(half):
    before, after, metrics = one_step(half, optax.adam(1e-3))  # eps of 1e-8 is zero in float16
    assert unchanged(before, after)
    assert not metrics["finite"]


def test_an_overflowing_second_moment_is_detected_where_parameters_stay_finite(half):
    loud = optax.chain(optax.scale(1e5), optax.scale_by_rms(eps=1e-3), optax.scale(-1e-4))
    before, after, metrics = one_step(half, loud, on_nonfinite="skip")
    assert unchanged(before, after)
    assert not metrics["finite"]
    assert int(metrics["skipped"]) == 1


OPTIMIZERS = {
    "reduce_on_plateau": optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()),
    "polyak_sgd": optax.polyak_sgd(max_learning_rate=0.1),
    "lbfgs": optax.lbfgs(),
    "backtracking": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15)),
    "momo": optax.contrib.momo(0.1),
    "sam": optax.contrib.sam(optax.sgd(5e-3), optax.sgd(1e-3), opaque_mode=True),
    "sophia": optax.contrib.sophia(1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_that_need_value_gradient_and_loss_function_get_them(name):
    """The value, the gradient and the function of the loss, over micro-batches as well."""
    x, y = np.arange(8, dtype=np.float32), 2 * np.arange(8, dtype=np.float32) + 1

    def squares(model, batch, key):
        errors = jnp.square(model(x=batch["x"]) - batch["y"])
        return errors.mean(), {"loss": (errors.sum(), jnp.float32(errors.size))}

    line = lambda params, x: params["slope"] * x + params["offset"]
    optimizer = OPTIMIZERS[name]
    losses = []
    for accumulate in (1, 2):
        step = tj.make_step(line, squares, optimizer, accumulate=accumulate, clip=None)
        values = {"slope": jnp.zeros(()), "offset": jnp.zeros(())}
        opt = jax.jit(optimizer.init)(values)  # arrays of their own, as `init_state` makes them
        state = tj.TrainState(jnp.int32(0), values, opt, jax.random.key(0))
        state, first = step(state, {"x": x, "y": y})
        _, second = step(state, {"x": x, "y": y})
        assert first["finite"]
        assert second["finite"]
        assert second["loss"] < first["loss"]
        losses.append([float(first["loss"]), float(second["loss"])])
    np.testing.assert_allclose(*losses, rtol=1e-5)


WRONG = {
    "a number": lambda loss: loss,
    "a list": lambda loss: [loss, {}],
    "no figures": lambda loss: (loss, {}),
    "only a mean": lambda loss: (loss, {"loss": loss}),
    "a loss of rows": lambda loss: (jnp.stack([loss, loss]), {"loss": (loss, loss)}),
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", WRONG)
def test_an_error_about_an_objective_names_the_expected_return_value(model, kind, accumulate):
    def mine(model, batch, key):
        return WRONG[kind](tj.causal_lm(model, batch, key)[0])

    with pytest.raises(
        TypeError, match=r"the objective mine returned .*expected \(loss, metrics\)"
    ):
        one_step(model, optax.sgd(0.1), loss_function=mine, accumulate=accumulate)


def test_the_advice_for_an_objective_works(model):
    def mine(model, batch, key):
        total, count = tj.causal_lm(model, batch, key)[1]["loss"]
        return total / count, {"loss": (total, count)}

    _, after, metrics = one_step(model, optax.sgd(0.1), loss_function=mine, accumulate=2)
    _, expected, _ = one_step(model, optax.sgd(0.1))
    assert metrics["finite"]
    for a, b in zip(after, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_batch_is_checked_before_it_is_sent_to_the_devices(model):
    labels = IDS.copy()
    labels[1, 4] = 37
    wrong = {"input_ids": IDS, "labels": labels}
    for loss_function in (tj.causal_lm, objective("causal_lm"), tj.supervised):
        with pytest.raises(ValueError, match=r"labels\[1, [34]\] is 37; expected -100"):
            one_step(model, optax.sgd(0.1), wrong, loss_function)
    with pytest.raises(ValueError, match=r"input_ids\[1, 4\] is 37, outside the vocabulary"):
        one_step(model, optax.sgd(0.1), {"input_ids": labels})
    # arrays on a device are not read: such a label gives NaN, which the step reports
    on_device = jax.tree.map(jnp.asarray, wrong)
    before, after, metrics = one_step(model, optax.sgd(0.1), on_device, on_nonfinite="skip")
    assert unchanged(before, after)
    assert not metrics["finite"]
    assert int(metrics["skipped"]) == 1


def test_rows_may_be_one_longer_than_the_positions(model):
    ids = np.arange(17, dtype=np.int32)[None]
    assert one_step(model, optax.sgd(0.1), {"input_ids": ids})[2]["finite"]
    with pytest.raises(ValueError, match="17 tokens, but the model has 16 positions"):
        one_step(model, optax.sgd(0.1), {"input_ids": np.arange(18, dtype=np.int32)[None]})


def test_what_has_one_row_for_all_is_in_every_micro_batch(model):
    tags = {"position": np.arange(12, dtype=np.int32)[None]}
    batch = {"input_ids": IDS, "tags": tags}
    _, after, _ = one_step(model, optax.sgd(0.1), batch, accumulate=2)
    _, expected, _ = one_step(model, optax.sgd(0.1))
    for a, b in zip(after, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    wrong = {"input_ids": jnp.asarray(IDS), "labels": jnp.asarray(IDS[:2])}
    with pytest.raises(ValueError, match=r"labels has shape \(2, 11\), but .* has \(4, 11\)"):
        one_step(model, optax.sgd(0.1), wrong, accumulate=2)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_what_a_micro_batch_is_to_share_with_all_has_no_rows(accumulate):
    """In a batch for a custom function, too, whose arrays have no other meaning."""
    line = lambda params, x: params["slope"] * x

    def scaled(model, batch, key):
        errors = jnp.square(model(x=batch["x"]) - 1) * batch["scale"]
        return errors.mean(), {"loss": (errors.sum(), jnp.float32(errors.size))}

    def slope(accumulate, scale):
        step = tj.make_step(line, scaled, optax.sgd(0.1), accumulate=accumulate, clip=None)
        values = {"slope": jnp.zeros(())}
        state = tj.TrainState(jnp.int32(0), values, optax.sgd(0.1).init(values), jax.random.key(0))
        x = jnp.arange(4, dtype=jnp.float32)
        return float(step(state, {"x": x, "scale": jnp.float32(scale)})[0].params["slope"])

    assert slope(accumulate, 3) == pytest.approx(slope(1, 3))
    for rows in (1, 2):
        with pytest.raises(
            ValueError, match=rf"batch\['scale'\] has {rows} rows, not the 4 of"
        ) as e:
            slope(accumulate, [3] * rows)
        assert "Give 4 rows, or a number for the whole batch as an array of shape ()" in str(
            e.value
        )
    assert slope(accumulate, [3] * 4) == pytest.approx(slope(1, 3))
