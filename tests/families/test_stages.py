"""Image encoders of stages, and files of timm: what their sizes allow, and what is refused."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from transformers_jax.models import load_config
from transformers_jax.models.base import Plan
from transformers_jax.nn.param import axes, flatten, params
from transformers_jax.training.flops import flops_per_row

CASES = Path(__file__).parent.parent / "conformance" / "cases"
SWIN = dict(image_size=16, patch_size=2, embed_dim=8, depths=(2, 1), num_heads=(2, 4))


def images(*size):
    return np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)


def of(config, head="none"):
    return tj.from_config(config, head=head, key=jax.random.key(0))


def test_images_of_any_size_leave_their_grid_in_the_hidden_states():
    model = of(tj.SwinConfig(**SWIN, window_size=3))
    out = model(pixel_values=images(21, 14), output_hidden_states=True)
    assert [x.shape for x in out.hidden_states] == [(2, 77, 8), (2, 24, 16), (2, 24, 16)]
    assert [x.shape[2:] for x in out.reshaped_hidden_states] == [(11, 7), (6, 4), (6, 4)]
    state = tj.features(model, pixel_values=images(21, 14), layer=1)
    np.testing.assert_allclose(state, out.hidden_states[1], rtol=1e-5, atol=1e-6)


def test_what_stages_cannot_take_is_refused():
    swin = tj.SwinConfig(**SWIN, window_size=3)
    convnext = of(tj.ConvNextConfig(hidden_sizes=(6, 8), depths=(1, 1), num_stages=2))
    hiding = of(swin.replace(encoder_stride=4), "masked_image_modeling")
    hidden = np.zeros((2, 7 * 8), bool)
    for call, words in (
        (lambda: convnext(pixel_values=images(3, 8)), "less than one patch of 4 x 4; enlarge"),
        (lambda: convnext(pixel_values=images(4, 8)), "stage 2 of 2 has nothing left; enlarge"),
        (lambda: of(swin)(pixel_values=images(8, 8)[:, :1]), "3 channels, height, width"),
        (lambda: tj.from_config(swin, mask=tj.FULL, key=jax.random.key(0)), "leave the mask out"),
        (lambda: tj.SwinConfig(**{**SWIN, "num_heads": (3, 4)}), "divides its width"),
        (lambda: tj.ConvNextConfig(num_stages=3), "must be the number of"),
        (lambda: tj.ResNetConfig(depths=(1, 2)), "one number for each stage"),
        (lambda: tj.ResNetConfig(layer_type="wide"), "layer_type"),
        (lambda: tj.Swinv2Config.from_dict({"use_absolute_embeddings": True}), "not implemented"),
        (
            lambda: hiding(pixel_values=images(14, 16), bool_masked_pos=hidden),
            "give images that tokens of 4 x 4 fill",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert convnext(pixel_values=images(8, 8)).last_hidden_state.shape == (2, 8, 1, 1)


def test_stochastic_depth_grows_through_all_stages():
    spec = tj.SwinConfig(**SWIN, drop_path_rate=0.4).spec()
    assert [stage.stack.drop_path for stage in spec.stages] == [(0.0, 0.2), (0.4,)]


def test_flops_of_stages_are_those_of_their_grids():
    config = tj.ConvNextConfig(hidden_sizes=(6, 10), depths=(1, 2), num_stages=2, patch_size=2)
    flops = flops_per_row(of(config), 64)
    layer = lambda width: 2 * (8 * width**2 + 49 * width)
    assert flops.projections == 64 * layer(6) + 2 * 16 * layer(10) + 2 * 16 * 4 * 6 * 10
    assert flops.others == 64 * 2 * 3 * 2 * 2 * 6
    windows = flops_per_row(of(tj.SwinConfig(**SWIN, window_size=4)), 64)
    assert windows.attention == 4 * 16 * (2 * 64 * 8 + 16 * 16)


def test_statistics_of_batch_norm_are_stored_and_not_trained():
    model = Plan(tj.ResNetConfig(depths=(1, 1), hidden_sizes=(8, 12)), "none").build()
    fixed = {p.rsplit(".", 1)[1] for p, a in flatten(axes(model)).items() if not a.learned}
    assert fixed == {"mean", "variance", "count"}
    case = tj.from_pretrained(CASES / "resnet-classify")
    apply, values = tj.functional(case)
    loss = lambda p: apply(p, pixel_values=images(32, 32), labels=np.array([0, 3])).loss
    grads = flatten(jax.jit(jax.grad(loss))(values))
    moved = {path.rsplit(".", 1)[1] for path, g in grads.items() if np.abs(g).max() > 0}
    assert moved == {"weight", "scale", "shift", "bias"}
    assert {*flatten(params(case))} == {*grads}


# ---------------------------------------------------------------- timm


def folder_of(case, tmp_path, **changes):
    """A copy of a case, its config changed."""
    folder = tmp_path / case
    shutil.copytree(CASES / case, folder)
    values = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def test_files_of_timm_give_tokens_and_classes():
    stored = np.load(CASES / "vit-timm" / "inputs.npz")["x"]
    model = tj.from_pretrained(CASES / "vit-timm")
    out = model(x=stored)
    bare = tj.AutoModel.from_pretrained(CASES / "vit-timm")
    np.testing.assert_allclose(
        bare(pixel_values=stored).last_hidden_state, out.features, rtol=1e-5, atol=1e-6
    )
    labels = np.arange(len(stored)) % 7
    picked = jax.nn.log_softmax(out.logits)[np.arange(len(stored)), labels]
    np.testing.assert_allclose(model(x=stored, labels=labels).loss, -picked.mean(), rtol=1e-5)


def test_the_name_of_an_architecture_of_timm_says_its_sizes():
    values = {"architecture": "vit_small_r26_s32_224", "num_classes": 10}
    config = load_config(values)
    assert config.built["embed_dim"] == 384
    assert config.resnet.layers == (2, 2, 2, 2)
    assert config.embedder("none").rows.grid == (7, 7)
    assert config.to_dict() == values


def test_configs_of_timm_that_cannot_be_built_are_refused(tmp_path):
    args = json.loads((CASES / "vit-timm" / "config.json").read_text())["model_args"]
    for changes, words in (
        (dict(architecture="convit_tiny"), "begin with 'mixer_' or 'vit_'"),
        (dict(architecture="vit_giant_patch14_224"), "is not supported; supported are names"),
        (dict(model_args={**args, "embed_dims": 3}), "did you mean 'embed_dim'"),
        (dict(model_args={**args, "qk_norm": True}), "qk_norm=True is not implemented"),
        (dict(model_args={**args, "class_token": False}), "needs class_token=True"),
        (dict(model_args={**args, "num_heads": 3}), "must be a multiple of num_heads"),
    ):
        folder = folder_of("vit-timm", tmp_path, **changes)
        with pytest.raises(ValueError, match=words):
            tj.from_pretrained(folder)
        shutil.rmtree(folder)
    mixer = tj.from_pretrained(CASES / "mlp-mixer")
    with pytest.raises(ValueError, match="those of the patches of 32 x 32; resize the images"):
        mixer(x=images(40, 32))


def test_the_bias_that_layers_of_a_beit_backbone_share_is_read_by_its_older_name(tmp_path):
    """Of the rows of a backbone PyTorch writes this one alone with the prefix; v4 had none."""
    shared = "encoder.relative_position_bias.relative_position_bias_table"
    folder = shutil.copytree(CASES / "beit-backbone", tmp_path / "older")
    tensors = load_file(folder / "model.safetensors")
    tensors[shared] = tensors.pop(f"beit.{shared}")
    save_file(tensors, folder / "model.safetensors")
    both = folder, CASES / "beit-backbone"
    ours, theirs = (tj.functional(tj.from_pretrained(one))[1] for one in both)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
