"""Pictures of what a model sees: `transformers-jax inspect MODEL --image FILE`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.laws.families.conftest import tiny  # noqa: F401
from tests.laws.families.test_modalities import inputs_of, same
from tests.vision.conftest import picture_files, vision_model  # noqa: F401
from transformers_jax.cli import main
from transformers_jax.inspection.images import draw_sight
from transformers_jax.inspection.measures import rollout
from transformers_jax.inspection.sight import sight

WHOLE = {"attention.png", "rollout.png", "distance.png", "filters.png"}
EVERY = WHOLE | {"positions.png", "windows.png"}
DRAWN = {
    "vit": WHOLE | {"positions.png"},
    "swin": {"windows.png", "distance.png", "filters.png"},
    "resnet": {"filters.png"},
}


def seen_by(tiny, family):  # noqa: F811
    model = tiny(family)
    return model, sight(model, inputs_of(model, labels=False))


@pytest.mark.parametrize("family", ["swin", "resnet"])
def test_what_a_family_has_is_drawn_and_what_not_is_said(family, tiny, tmp_path):  # noqa: F811
    drawn = draw_sight(seen_by(tiny, family)[1], tmp_path, family)
    assert {file.name for file in drawn.files} == DRAWN[family]
    assert {file.name for file in tmp_path.iterdir()} == DRAWN[family]
    assert drawn.missing.keys() == EVERY - DRAWN[family]
    sizes = {file.name: file.stat().st_size for file in drawn.files}
    assert all(2000 < size < 60_000 for size in sizes.values()), sizes


def test_maps_are_the_weights_that_a_call_gives(tiny):  # noqa: F811
    model, seen = seen_by(tiny, "deit")  # two tokens in front
    pixels = inputs_of(model)["pixel_values"]
    weights = [np.asarray(x) for x in model(pixels, output_attentions=True).attentions]
    assert seen.front == 2
    for layer, own in zip(weights, seen.maps, strict=True):
        same(own, layer[0, :, 0, 2:].reshape(-1, 3, 3))
    same(seen.rollout, rollout([x[:1] for x in weights])[0, 0, 2:].reshape(3, 3))
    assert [len(each) for each in seen.distances] == [4, 4]
    assert (np.concatenate(seen.distances) < np.hypot(8, 8)).all()  # of places of 3 x 3 patches


def test_without_a_class_token_all_patches_are_those_who_attend(tiny):  # noqa: F811
    model, seen = seen_by(tiny, "siglip2_vision_model")  # rows of patches, the first of 3 x 4
    inputs = {name: x[:1] for name, x in inputs_of(model).items()}
    weights = np.asarray(model(**inputs, output_attentions=True).attentions[0])
    assert (seen.grid, seen.front, seen.seen_from) == ((3, 4), 0, "all patches")
    same(seen.maps[0], weights[0].mean(1).reshape(-1, 3, 4))
    assert seen.positions.shape == (3, 3, 20)  # of the square on which they are learned


def test_masked_autoencoders_are_seen_with_nothing_hidden(tiny):  # noqa: F811
    model, seen = seen_by(tiny, "vit_mae")
    assert model.config.mask_ratio == 0.4
    assert seen.maps.shape == (2, 4, 3, 3)


def test_windows_attend_within_themselves(tiny):  # noqa: F811
    _, seen = seen_by(tiny, "swin")
    first, last = seen.windows
    assert (first.grid, last.grid, last.coarser) == ((6, 6), (3, 3), 2)
    for each in seen.windows:  # what is given is received, but for what lies beyond the grid
        assert each.maps.shape[1:] == each.grid
    np.testing.assert_allclose(first.maps.sum((1, 2)), 36, rtol=1e-5)
    assert (np.concatenate(seen.distances) <= np.hypot(4, 4)).all()


def test_a_picture_of_another_size_is_read_as_the_model_reads_it(tiny):  # noqa: F811
    model = tiny("vit")
    wide = np.random.default_rng(0).normal(size=(1, 3, 12, 20)).astype(np.float32)
    seen = sight(model, {"pixel_values": wide})
    assert (seen.grid, seen.picture.shape) == ((3, 5), (12, 20, 3))
    assert seen.positions.shape == (3, 5, 20)
    with pytest.raises(ValueError, match="do not fill"):
        sight(model, {"pixel_values": wide[..., :13]})


def test_models_that_read_no_pictures_are_refused(tiny):  # noqa: F811
    with pytest.raises(ValueError, match="whisper reads no pictures"):
        sight(tiny("whisper"), {})


def test_the_command_draws_a_picture(vision_model, picture_files, tmp_path, capsys):  # noqa: F811
    folder, (file, *_) = vision_model("vit"), picture_files[1]
    command = ["inspect", str(folder), "--image", str(file)]
    assert main([*command, "--out", str(tmp_path / "drawn")]) == 0
    assert {each.name for each in (tmp_path / "drawn").iterdir()} == DRAWN["vit"]
    said = capsys.readouterr()
    assert f"wrote {tmp_path / 'drawn' / 'rollout.png'}" in said.out
    assert "no windows.png: attention has no windows" in said.err
    assert main([*command, "--audio", "a.wav"]) == 1
    assert "--audio and --image exclude each other" in capsys.readouterr().err
    assert main(["inspect", str(folder / "config.json"), "--image", str(file)]) == 1
    assert "--image needs the weights of a model" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["text.png", "none.png"])
def test_a_picture_that_cannot_be_read_is_named(name, vision_model, tmp_path, capsys):  # noqa: F811
    (tmp_path / "text.png").write_text("no picture")
    command = ["inspect", str(vision_model("vit")), "--image", str(tmp_path / name)]
    assert main([*command, "--out", str(tmp_path / "drawn")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert str(tmp_path / name) in said.err
    assert not (tmp_path / "drawn").exists()


def test_figures_are_the_same_bytes_each_time(tiny, tmp_path):  # noqa: F811
    _, seen = seen_by(tiny, "resnet")
    one, two = (draw_sight(seen, tmp_path / name, "resnet").files for name in "ab")
    assert [x.read_bytes() for x in one] == [x.read_bytes() for x in two]
