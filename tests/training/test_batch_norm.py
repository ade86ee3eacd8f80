"""Training with batch norm is that of PyTorch: losses and running statistics, whole and in
micro-batches, on one device and on several. `make_batch_norm.py` makes what PyTorch computes."""

import json

import jax
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

import transformers_jax as tj
from tests.training.make_batch_norm import (
    CLASSES,
    COUNTED,
    CUTS,
    FILE,
    MODEL,
    RATE,
    batches,
)
from transformers_jax.nn.image.batch_norm import STATISTICS, norms_of
from transformers_jax.nn.param import flatten, params, trained_axes
from transformers_jax.optim import AdamW, Constant
from transformers_jax.training.state import init_state
from transformers_jax.training.step import make_step


def small(**execution):
    """A stack of two layers behind the stem."""
    names = {str(n): str(n) for n in range(CLASSES)}
    sizes = dict(embedding_size=4, hidden_sizes=(4,), depths=(2,), id2label=names)
    config = tj.ResNetConfig(layer_type="basic", **sizes)
    return tj.from_config(config, head="image_classification", key=jax.random.key(0), **execution)


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def of_torch():
    return np.load(FILE)


def trained(model, optimizer=None, objective=tj.supervised, mesh=None, count=None, **settings):
    """(losses, the model behind some steps)."""
    optimizer = optax.sgd(RATE) if optimizer is None else optimizer
    step = make_step(model, objective, optimizer, clip=None, mesh=mesh, **settings)
    state, losses = init_state(model, optimizer, jax.random.key(0), mesh=mesh), []
    for images, labels in [*batches()][:count]:
        state, metrics = step(state, {"pixel_values": images, "labels": labels})
        losses.append(float(metrics["loss"]))
    return losses, tj.bind(model, state.params)


def statistics(model):
    """Those of all norms by their paths."""
    every = flatten(params(model))
    return {path: x for path, x in every.items() if path.split(".")[-1] in STATISTICS}


def moved(before, after):
    """The norms of which a statistic has changed."""
    pairs = zip(statistics(before).items(), statistics(after).values())
    return {path.rsplit(".", 1)[0] for (path, old), new in pairs if np.any(old != new)}


@pytest.mark.parametrize("cut", CUTS)
def test_steps_of_training_are_those_of_pytorch(cut, of_torch, tmp_path):
    model = tj.from_pretrained(MODEL)
    losses, after = trained(model, accumulate=cut)
    np.testing.assert_allclose(losses, of_torch[f"losses/{cut}"], rtol=2e-5)
    after.save_pretrained(tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    counted = [name for name in written if name.endswith(COUNTED)]
    assert len(counted) == (len(of_torch.files) - len(CUTS)) // len(CUTS)
    for name in counted:
        # batch means near 0 are sums of terms of either sign: their rounding is that of the terms
        expected = of_torch[f"{name}/{cut}"]
        np.testing.assert_allclose(written[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
        assert written[name].dtype == expected.dtype
    other = of_torch[f"losses/{CUTS[0] + CUTS[1] - cut}"]
    assert np.abs(losses - other).max() > 1e-2  # the control: batches that are cut otherwise


def test_stored_statistics_stay(model):
    losses, after = trained(model, statistics="stored", count=2)
    assert moved(model, after) == set()
    assert abs(losses[1] - trained(model, count=2)[0][1]) > 1e-3


def test_a_mesh_has_the_statistics_of_its_whole_batch(on_eight_devices):
    program = """
        import json, numpy as np
        from tests.training.test_batch_norm import small, statistics, trained
        from transformers_jax.shard import make_mesh

        mesh = make_mesh({"fsdp": 2, "tensor": 4})
        losses, after = trained(small(mesh=mesh), mesh=mesh, accumulate=3, count=2)
        counted = {path: np.asarray(x).tolist() for path, x in statistics(after).items()}
        print(json.dumps([losses, counted]))
    """
    theirs, counted = json.loads(on_eight_devices(program).stdout.splitlines()[-1])
    losses, after = trained(small(), accumulate=3, count=2)
    np.testing.assert_allclose(theirs, losses, rtol=2e-5)
    for path, value in statistics(after).items():
        np.testing.assert_allclose(counted[path], value, rtol=1e-4, atol=1e-5, err_msg=path)


def test_the_model_that_is_evaluated_has_the_stored_statistics(model):
    images, labels = next(batches())
    after = trained(model, count=1)[1]
    whole = after(pixel_values=images, labels=labels)
    alone = after(pixel_values=images[:1])  # of a batch of one, whose own statistics are others
    np.testing.assert_allclose(alone.logits[0], whole.logits[0], rtol=1e-4, atol=1e-5)


def test_what_is_frozen_keeps_its_statistics(model):
    build = lambda *freeze: AdamW(peak=RATE, schedule=Constant(0), freeze=freeze).build(
        trained_axes(model), 5
    )
    every = set(norms_of(model))
    first = {name for name in every if not name.startswith("stack.")}
    assert moved(model, trained(model, build(), count=1)[1]) == every
    frozen = trained(model, build("embed.*"), count=1)[1]
    assert moved(model, frozen) == every - first
    with pytest.raises(ValueError, match=r"some layers of .* are frozen and others are not"):
        make_step(model, tj.supervised, build("stack.stage_0.layers.0.*"))


def test_a_step_that_is_left_out_changes_no_statistics(model):
    step = dict(on_nonfinite="skip", nan_at=1, count=1)
    assert moved(model, trained(model, **step)[1]) == set()


def test_optimizers_see_no_statistics(model):
    """Weight decay would shrink them, and the norm of the gradient would count them."""
    decayed = trained(model, optax.adamw(1e-3, weight_decay=0.5), count=1)[1]
    plain = trained(model, count=1)[1]
    for path, value in statistics(plain).items():
        np.testing.assert_array_equal(statistics(decayed)[path], value, err_msg=path)


def test_recomputing_layers_counts_a_batch_once(model):
    one = trained(model, count=2)
    again = trained(small(remat="full"), count=2)
    np.testing.assert_allclose(again[0], one[0], rtol=1e-5)
    for path, value in statistics(one[1]).items():
        np.testing.assert_allclose(statistics(again[1])[path], value, rtol=1e-4, atol=1e-5)


def test_a_norm_that_the_loss_does_not_read_keeps_its_statistics(model):
    def of_the_stem(model, batch, key):
        hidden = model(pixel_values=batch["pixel_values"], output_hidden_states=True).hidden_states
        total, count = (hidden[0] ** 2).sum(), np.float32(hidden[0].size)
        return total / count, {"loss": (total, jax.numpy.asarray(count))}

    assert moved(model, trained(model, objective=of_the_stem, count=1)[1]) == {
        "embed.stem.first.norm"
    }


def test_one_number_for_a_channel_has_no_variance(model):
    batch = {"pixel_values": np.ones((1, 3, 4, 4), np.float32), "labels": np.array([1])}
    for kind in ("batch", "stored"):
        optimizer = optax.sgd(RATE)
        step = make_step(model, tj.supervised, optimizer, statistics=kind)
        state = init_state(model, optimizer, jax.random.key(0))
        if kind == "batch":
            with pytest.raises(ValueError, match=r"no variance .*\(statistics='stored'\)"):
                step(state, batch)
        else:  # the advice is right
            assert np.isfinite(step(state, batch)[1]["loss"])
    with pytest.raises(ValueError, match="expected 'batch' or 'stored'"):
        make_step(model, tj.supervised, optimizer, statistics="running")
