"""Resampling of grids, and what the embedder of images makes of it: tokens in front, registers,
hidden patches, images of other sizes in a call and in a file."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.hub.files import Entry, open_checkpoint, save
from transformers_jax.nn.embed import GridPositions, PatchEmbedder, PatchSpec
from transformers_jax.nn.embed.patches import OFF_GRID
from transformers_jax.nn.grid import GridRows, Resampling, resample
from transformers_jax.nn.param import initialise

HERE = Path(__file__).parent
CASES = HERE.parent / "conformance" / "cases"
SPEC = PatchSpec((8, 12), (4, 4), 3, 6, positions=GridPositions(any_size=True))
CLOSE = dict(rtol=1e-5, atol=1e-6)  # float32, other orders of summation


def test_grids_are_resampled_as_torch_does():
    theirs = dict(np.load(HERE / "grid.npz"))
    points = theirs.pop("points")
    for name, expected in theirs.items():
        kernel, antialias, size = name.split("/")
        grid = tuple(map(int, size.split("x")))
        how = Resampling(kernel, bool(int(antialias)))
        for each in (points, jnp.asarray(points)):
            np.testing.assert_allclose(resample(each, grid, how), expected, **CLOSE)
    other = resample(points, (7, 7), Resampling("bicubic", True))
    assert np.abs(other - theirs["bicubic/0/7x7"]).max() > 1e-3  # the control


@pytest.mark.parametrize("front", [0, 1, 2])
def test_rows_of_no_point_stay_as_they_are(front):
    """A grid of 4 x 9 with no row in front has as many rows as one of 5 x 7 with one: the number in
    front decides, never the number of rows."""
    rng = np.random.default_rng(1)
    rows = GridRows((4, 9), front=front, behind=3)
    table = rng.normal(size=(rows.count, 5)).astype(np.float32)
    new = rows.resampled(table, (3, 6))
    assert new.shape == (front + 18 + 3, 5)
    np.testing.assert_array_equal(new[:front], table[:front])
    np.testing.assert_array_equal(new[-3:], table[-3:])
    points = table[front:-3].reshape(4, 9, 5)
    np.testing.assert_allclose(
        new[front:-3], resample(points, (3, 6), rows.how).reshape(18, 5), **CLOSE
    )
    assert rows.resampled(table, (4, 9)) is table


def embedder(**settings):
    """An embedder with random parameters, and its parameters drawn."""
    spec = replace(SPEC, **settings)
    return initialise(PatchEmbedder(spec), jax.random.key(0))


def tokens(embed, pixels, **inputs):
    """The vectors of images."""
    return embed({"pixel_values": pixels, **inputs}, dtype=jnp.float32)


@pytest.fixture
def pixels():
    return jax.random.normal(jax.random.key(1), (2, 3, 8, 12))


@pytest.mark.parametrize("front", [(), ("cls",), ("cls", "distillation")])
@pytest.mark.parametrize("registers", [None, 0, 3])
def test_registers_stand_between_the_tokens_in_front_and_the_patches(front, registers, pixels):
    embed = embedder(front=front, registers=registers)
    made = tokens(embed, pixels)
    count, more = len(front), registers or 0
    assert made.x.shape == (2, count + more + 6, 6) == (*embed.check({"pixel_values": pixels}), 6)
    positions = embed.position[...]
    assert positions.shape == (count + 6, 6)
    for number, name in enumerate(front):
        expected = getattr(embed, name)[...] + positions[number]
        np.testing.assert_allclose(made.x[:, number], jnp.stack([expected] * 2), **CLOSE)
    if more:  # without positions
        np.testing.assert_allclose(
            made.x[:, count : count + more], jnp.stack([embed.registers[...]] * 2), **CLOSE
        )
    patches = embed.project(pixels, jnp.float32).reshape(2, 6, 6)
    np.testing.assert_allclose(made.x[:, count + more :], patches + positions[count:], **CLOSE)
    places = [made.nodes.tag(name)[0] for name in ("row", "column")]
    before = [OFF_GRID] * (count + more)
    assert [list(place) for place in places] == [
        [*before, 0, 0, 0, 1, 1, 1],
        [*before, 0, 1, 2, 0, 1, 2],
    ]


def test_without_positions_patches_that_change_places_only_change_places(pixels):
    order = np.array([4, 2, 0, 5, 1, 3])
    parts = pixels.reshape(2, 3, 2, 4, 3, 4).transpose(0, 2, 4, 1, 3, 5).reshape(2, 6, 3, 4, 4)
    moved = parts[:, order].reshape(2, 2, 3, 3, 4, 4).transpose(0, 3, 1, 4, 2, 5)
    moved = moved.reshape(pixels.shape)
    plain, placed = embedder(positions=None), embedder()
    for embed, same in ((plain, True), (placed, False)):
        before, after = tokens(embed, pixels).x[:, 1:], tokens(embed, moved).x[:, 1:]
        assert np.allclose(before[:, order], after, **CLOSE) is same


def test_hidden_patches_are_one_vector_with_the_positions_of_each(pixels):
    embed = embedder(mask=True)
    hidden = np.zeros((2, 6), bool)
    hidden[0, 2] = hidden[1, 4] = True
    seen, made = tokens(embed, pixels).x, tokens(embed, pixels, bool_masked_pos=hidden).x
    behind = np.pad(hidden, ((0, 0), (1, 0)))
    np.testing.assert_array_equal(seen[~behind], made[~behind])
    positions = embed.position[...]
    expected = embed.hidden[...] + positions[np.array([3, 5])]
    np.testing.assert_allclose(made[behind], expected, **CLOSE)
    same = tokens(embed, pixels, bool_masked_pos=hidden.astype(np.int64)).x
    np.testing.assert_array_equal(same, made)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((2, 7), bool), r"expected \(2, 6\): one value for each of the 2 x 3 patches"),
        (np.zeros((2, 6)), "must hold booleans"),
        (np.full((2, 6), 2), r"\[0, 0\] is 2; expected 1 for a patch that is hidden"),
    ],
)
def test_what_says_nothing_of_the_patches_is_refused(value, words, pixels):
    with pytest.raises(ValueError, match=words):
        embedder(mask=True).check({"pixel_values": pixels, "bool_masked_pos": value})


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 8, 12, 3), r"channels stand in front: np.moveaxis\(pixel_values, -1, 1\)"),
        ((3, 8, 12), r"one image is pixel_values\[None\]"),
        ((0, 3, 8, 12), "give at least one image"),
        ((1, 3, 2, 12), "which patches of 4 x 4 do not fill"),
    ],
)
def test_images_that_are_none_are_refused_with_advice(shape, words):
    with pytest.raises(ValueError, match=words):
        embedder().check({"pixel_values": np.zeros(shape, np.float32)})
    advised = np.moveaxis(np.zeros((2, 8, 12, 3), np.float32), -1, 1)
    assert embedder().check({"pixel_values": advised}) == (2, 7)


@pytest.mark.parametrize("size", [(16, 12), (8, 8), (4, 20)])
def test_an_image_of_another_size_reads_resampled_positions(size):
    embed = embedder(registers=2)
    pixels = np.zeros((1, 3, *size), np.float32)
    grid = (size[0] // 4, size[1] // 4)
    made = tokens(embed, pixels).x
    assert made.shape[1:] == (3 + grid[0] * grid[1], 6)
    expected = embed.spec.position_rows.resampled(embed.position[...], grid)
    np.testing.assert_allclose(made[0, 3:], expected[1:], **CLOSE)  # of black images: nothing else


@pytest.mark.parametrize("size", [48, (16, 40)])
def test_a_file_of_another_size_is_resampled_where_a_size_is_given(size):
    folder = CASES / "vit-base"
    stored = tj.from_pretrained(folder, head="none")
    model = tj.from_pretrained(folder, head="none", image_size=size)
    height, width = (size, size) if isinstance(size, int) else size
    images = np.random.default_rng(0).normal(size=(2, 3, height, width)).astype(np.float32)
    expected = stored(pixel_values=images, interpolate_pos_encoding=True).last_hidden_state
    np.testing.assert_allclose(model(pixel_values=images).last_hidden_state, expected, atol=1e-5)


def shaken(folder, change):
    """The case vit-base in a folder, its table of positions changed."""
    shutil.copytree(CASES / "vit-base", folder)
    checkpoint = open_checkpoint(folder)
    arrays = {name: checkpoint.read(name) for name in checkpoint.tensors}
    arrays["embeddings.position_embeddings"] = change(arrays["embeddings.position_embeddings"])
    save({name: Entry.of(array) for name, array in arrays.items()}, folder)
    return folder


def test_a_file_that_does_not_fit_its_config_is_resampled_only_if_a_size_is_given(tmp_path):
    """The config says 4 x 4 patches; the file has 3 x 3, behind the class token."""
    path = shaken(tmp_path / "a", lambda table: table[:, :10])
    with pytest.raises(ValueError, match=r"position_embeddings: got \[1, 10, \d+\]"):
        tj.from_pretrained(path, head="none", num_labels=3)
    model = tj.from_pretrained(path, head="none", image_size=32)
    table = open_checkpoint(path).read("embeddings.position_embeddings")[0]
    expected = GridRows((3, 3), front=1).resampled(table, (4, 4))
    np.testing.assert_allclose(model.embed.position[...], expected, **CLOSE)
    assert json.loads((path / "config.json").read_text())["image_size"] == 32


@pytest.mark.parametrize("count", [16, 12])
def test_rows_that_are_no_square_behind_the_class_token_are_refused(tmp_path, count):
    """16 rows are no grid of 4 x 4 where one of them is the class token's."""
    path = shaken(tmp_path / "a", lambda table: table[:, :count])
    with pytest.raises(ValueError, match=rf"got \[1, {count}, \d+\], expected \[1, 37, \d+\]"):
        tj.from_pretrained(path, head="none", image_size=48)
