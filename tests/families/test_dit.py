"""What is special about DiT: what each layer is conditioned on, files of diffusers, and what does
not fit."""

import json
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import transformers_jax as tj
from transformers_jax.inspection.description import positions
from transformers_jax.training.flops import flops_per_row

CASES = Path(__file__).parent.parent / "conformance" / "cases"
SMALL = dict(num_attention_heads=2, attention_head_dim=8, in_channels=1, num_layers=2)
SMALL |= dict(sample_size=8, patch_size=2, num_embeds_ada_norm=5)
KEY = jax.random.key(0)


def noisy(rows=3, **changes):
    """The arguments of a call."""
    rng = np.random.default_rng(0)
    call = {"hidden_states": rng.normal(size=(rows, 1, 8, 8)).astype(np.float32)}
    call |= {"timestep": np.full(rows, 7), "class_labels": np.full(rows, 2)}
    return {name: x for name, x in {**call, **changes}.items() if x is not None}


def moved(model):
    """The model, of which nothing is zero any more."""
    _, params = tj.functional(model)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(KEY, len(leaves))
    leaves = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]
    return tj.bind(model, jax.tree.unflatten(tree, leaves))


@pytest.fixture(scope="module")
def new():
    return tj.from_config(tj.DiTConfig(**SMALL), key=KEY)


@pytest.fixture(scope="module")
def model(new):
    return moved(new)


def test_a_new_model_does_not_look_at_other_tokens_nor_at_its_condition(new, model):
    """Every gate begins at zero (adaLN-Zero); the control is a model that has moved."""

    def reach(model):
        changed = noisy()
        changed["hidden_states"][:, :, :2, :2] += 1  # the first patch
        other = model(**changed).sample - model(**noisy()).sample
        step = model(**noisy(timestep=np.full(3, 900))).sample - model(**noisy()).sample
        return np.abs(other[:, :, 4:]).max(), np.abs(step).max()

    assert reach(new) == (0, 0)
    assert min(reach(model)) > 1e-4


@pytest.mark.parametrize("layer", [0, 1])
def test_each_layer_is_conditioned_by_embeddings_of_its_own(model, layer):
    apply, params = tj.functional(model)
    before = apply(params, **noisy()).sample
    table = params["embed"]["condition"]["classes"]
    params["embed"]["condition"]["classes"] = table.at[layer, 2].add(1.0)
    assert np.abs(apply(params, **noisy()).sample - before).max() > 1e-4
    params["embed"]["condition"]["classes"] = table.at[layer, 3].add(1.0)  # of another class
    np.testing.assert_array_equal(apply(params, **noisy()).sample, before)


@pytest.mark.parametrize("options", [dict(layers="list"), dict(remat="full"), dict(unroll=False)])
def test_the_way_of_execution_changes_nothing(model, options):
    other = tj.from_config(model.config, key=KEY, **options)
    if "layers" in options:
        other = model.with_layers("list")
    else:
        other = tj.bind(other, tj.functional(model)[1])
    np.testing.assert_allclose(other(**noisy()).sample, model(**noisy()).sample, atol=2e-6)


def test_the_number_behind_the_last_class_is_none(model):
    assert np.isfinite(model(**noisy(class_labels=np.full(3, 5))).sample).all()
    traced = jax.jit(lambda labels: model(**noisy(class_labels=labels)).sample)
    assert np.isfinite(traced(np.full(3, 5))).all()
    assert np.isnan(traced(np.full(3, 6))).all(), "never the row of another class"
    assert np.isnan(traced(np.full(3, -1))).all()


def test_channels_of_the_variance_have_no_loss():
    model = moved(tj.from_config(tj.DiTConfig(**SMALL, out_channels=2), key=KEY))
    out = model(**noisy(labels=np.ones((3, 1, 8, 8), np.float32)))
    assert out.sample.shape == (3, 2, 8, 8)
    np.testing.assert_allclose(out.loss, np.square(out.sample[:, :1] - 1).mean(), rtol=1e-5)


def test_it_learns_the_noise(new):
    step = tj.make_step(new, tj.supervised, optax.adam(1e-2))
    state = tj.init_state(new, optax.adam(1e-2), KEY)
    call = noisy(labels=noisy()["hidden_states"])
    losses = []
    for _ in range(30):
        state, figures = step(state, call)
        losses.append(float(figures["loss"]))
    assert losses[-1] < 0.3 * losses[0]


def test_files_are_those_of_diffusers(tmp_path):
    tj.from_pretrained(CASES / "dit").save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    ours, theirs = (json.loads((f / "config.json").read_text()) for f in (tmp_path, CASES / "dit"))
    assert {**ours, "_diffusers_version": theirs["_diffusers_version"]} == theirs


def test_files_of_several_shards_have_the_names_of_diffusers(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "diffusion_pytorch_model.safetensors.index.json").exists()
    np.testing.assert_array_equal(
        tj.from_pretrained(tmp_path)(**noisy()).sample, model(**noisy()).sample
    )
    model.save_pretrained(tmp_path)
    assert len([*tmp_path.iterdir()]) == 2, "earlier shards are removed"


def test_it_is_described_and_counted(model):
    assert positions(model) == "sinusoids of the places of 4 x 4 patches"
    assert flops_per_row(model, 16).others > 0


def test_it_has_as_many_parameters_as_in_the_paper():
    """675M with one embedding for all layers; here each of the 28 layers has its own."""
    from transformers_jax.models.base import Plan
    from transformers_jax.nn.param import flatten, params

    config = tj.DiTConfig(out_channels=8)
    leaves = flatten(params(Plan(config, "denoising").build()))
    count = {path: leaf.size for path, leaf in leaves.items()}
    repeated = sum(size for path, size in count.items() if ".condition." in path) * 27 / 28
    assert round((sum(count.values()) - repeated) / 1e6) == 675


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (dict(), "give hidden_states"),
        (noisy(timestep=None), r"give timestep, Int\[3\]: for each image how many steps"),
        (noisy(class_labels=None), r"give class_labels, Int\[3\]: .* or 5 for none"),
        (noisy(class_labels=np.array([0, 6, 1])), r"class_labels\[1\] is 6; .* 0 to 4, or 5 for"),
        (noisy(class_labels=np.array([0, 1, -1])), r"class_labels\[2\] is -1"),
        (noisy(timestep=np.array([0, -3, 1])), r"timestep\[1\] is -3; expected how many steps"),
        (noisy(timestep=np.zeros(3, np.float32)), "timestep must hold integers"),
        (noisy(timestep=np.zeros(2, int)), r"timestep has shape \(2,\); expected \(3,\)"),
        (noisy(hidden_states=np.zeros((3, 1, 9, 9), np.float32)), r"1 channels, 8, 8\), as"),
        (noisy(hidden_states=np.zeros((3, 1, 8, 8), int)), "must hold floating-point"),
        (noisy(labels=np.zeros((3, 1, 4, 4), np.float32)), "expected that of hidden_states"),
    ],
)
def test_what_does_not_fit_is_refused(model, call, error):
    with pytest.raises(ValueError, match=error):
        model(**call)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            dict(sample_size=9),
            r"sample_size \(9\) must be a multiple of patch_size \(2\).* 8 and 10",
        ),
        (dict(activation_fn="geglu"), "activation_fn='geglu'; expected 'gelu-approximate'"),
        (dict(norm_type="ada_norm"), "norm_type='ada_norm' is not implemented"),
        (dict(sample_sise=8), "did you mean 'sample_size'"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(fields, error):
    values = {"_class_name": "DiTTransformer2DModel", **SMALL, **fields}
    with pytest.raises(ValueError, match=error):
        tj.AutoConfig.from_pretrained(values)


def test_files_of_the_older_class_are_read():
    """As those that its authors released: the class was several models, told by the norm."""
    values = json.loads((CASES / "dit" / "config.json").read_text())
    older = {**values, "_class_name": "Transformer2DModel", "num_vector_embeds": None}
    older |= {"only_cross_attention": False, "attention_type": "default"}
    assert tj.AutoConfig.from_pretrained(older) == tj.AutoConfig.from_pretrained(values)
    with pytest.raises(ValueError, match="num_vector_embeds=7 is not implemented"):
        tj.AutoConfig.from_pretrained({**older, "num_vector_embeds": 7})
    with pytest.raises(ValueError, match="'Transformer2DModel' is not supported"):
        tj.AutoConfig.from_pretrained({**older, "norm_type": "ada_norm_single"})


def test_another_class_of_diffusers_is_named():
    with pytest.raises(ValueError, match="_class_name 'UNet2DModel' is not supported"):
        tj.AutoConfig.from_pretrained({"_class_name": "UNet2DModel"})
