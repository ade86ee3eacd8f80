"""Pictures: reading, three ways of resizing, and the steps of each processor."""

import functools
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.processing import image_cases, pictures
from transformers_jax.processing.image import sizes, steps
from transformers_jax.processing.image.processor import image_processor
from transformers_jax.processing.image.read import read_image
from transformers_jax.processing.image.resize import resize

HERE = Path(__file__).parent
CLIP = {"image_processor_type": "CLIPImageProcessor"}
TIMM = {"image_processor_type": "TimmWrapperImageProcessor"}
VIT = {"image_processor_type": "ViTImageProcessor", "size": 12}


@functools.cache
def stored(name):
    """The arrays of a file of fixtures."""
    with np.load(HERE / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


# ---------------------------------------------------------------- resizing


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos", "nearest"])
@pytest.mark.parametrize("backend", ["torchvision", "tf-smooth", "tf-sharp"])
def test_resizing_equals_the_library_that_it_is_named_after(backend, mode):
    """1e-5 in floats and one level in uint8; torchvision's levels are met exactly."""
    wanted = stored("resized_torch" if backend == "torchvision" else "resized_tf")
    cases = [key for key in wanted if key.startswith(f"{backend}/{mode}/")]
    assert bool(cases) == (backend != "tf-sharp" or mode.startswith("bi"))
    for case in cases:
        name, kind = case.split("/")[2:]
        shape, size = pictures.SHAPES[name]
        image = pictures.floats(*shape) if kind == "float" else pictures.picture(*shape)
        sharp = backend.endswith("sharp")
        result = resize(image, size, mode, backend.split("-")[0], antialias=not sharp)
        assert result.dtype == wanted[case].dtype
        far = np.abs(result.astype(float) - wanted[case].astype(float)).max()
        assert far <= (1e-5 if kind == "float" else 0 if backend == "torchvision" else 1), case


def test_the_three_libraries_differ_where_nothing_is_smoothed():
    """The control of the test above: the fixtures tell one library from the other."""
    image = pictures.floats(31, 97)
    smooth = resize(image, (10, 24), "bilinear", "torchvision")
    sharp = resize(image, (10, 24), "bilinear", "tf", antialias=False)
    assert np.abs(smooth - sharp).max() > 0.1
    grown = [resize(pictures.floats(3, 2), (9, 7), "bicubic", b) for b in ("torchvision", "tf")]
    assert np.abs(grown[0] - grown[1]).max() > 0


@pytest.mark.parametrize("backend", ["pil", "torchvision", "tf"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_a_constant_picture_stays_constant(backend, mode):
    image = np.full((3, 23, 57), 200, np.uint8)
    assert np.abs(resize(image, (7, 91), mode, backend).astype(int) - 200).max() <= 1
    assert resize(image.astype(np.float32), (7, 91), mode, backend) == pytest.approx(200, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((4, 4), "bilinear", "cv2"), "expected one of pil, torchvision, tf"),
        (((4, 4), "cubic", "pil"), "expected one of nearest"),
        (((4, 4), "hamming", "tf"), "'pil' has"),
        (((0, 4), "bilinear", "pil"), "cannot become"),
    ],
)
def test_what_cannot_be_resized_says_why(arguments, words):
    with pytest.raises(ValueError, match=words):
        resize(pictures.picture(5, 6), *arguments)


@pytest.mark.parametrize(
    ("rule", "size", "result"),
    [
        (sizes.ShortestEdge(224), (100, 333), (224, 745)),
        (sizes.ShortestEdge(224), (333, 100), (745, 224)),
        (sizes.EdgesWithin(224, 300), (100, 333), (90, 300)),
        (sizes.EdgesWithin(10, 300), (10, 33), (10, 33)),
        (sizes.Within(50, 50), (100, 200), (25, 50)),
        (sizes.Within(200, 500), (100, 200), (200, 400)),
        (sizes.PatchBudget(16, 256), (480, 640), (224, 288)),
        (sizes.PatchBudget(16, 256), (16, 4000), (16, 4000)),
    ],
)
def test_a_rule_gives_the_size_that_the_reference_gives(rule, size, result):
    assert rule(*size) == result


# ---------------------------------------------------------------- whole processors


@pytest.mark.parametrize("case", image_cases.CASES)
def test_pixel_values_equal_those_of_transformers(case):
    keys = [key for key in stored("processed") if key.startswith(f"{case}/")]
    assert keys
    images = pictures.pillows()
    for key in keys:
        _, backend, name, argument = key.split("/")
        kind = case.split("-")[0]
        config = {"image_processor_type": f"{kind}ImageProcessor", **image_cases.CASES[case]}
        out = image_processor(config, backend=backend)(images[name])
        result = out[argument][(..., *[slice(None, None, 16)] * 2)]
        result = result if case in image_cases.LARGE else out[argument]
        assert result.dtype == stored("processed")[key].dtype
        np.testing.assert_allclose(result, stored("processed")[key], atol=1e-5, err_msg=key)


@pytest.mark.parametrize("case", image_cases.TIMM)
def test_pixel_values_equal_those_of_timm(case):
    config = {"image_processor_type": "TimmWrapperImageProcessor", **image_cases.TIMM[case]}
    keys = [key for key in stored("processed") if key.startswith(f"timm-{case}/")]
    assert keys
    for key in keys:
        image = pictures.pillows()[key.split("/")[2]].convert("RGB")
        result = image_processor(config)(image)["pixel_values"]
        np.testing.assert_allclose(result, stored("processed")[key], atol=1e-5, err_msg=key)


def test_settings_that_a_file_leaves_out_are_those_of_the_class():
    assert image_processor(CLIP) == image_processor(
        {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224}
    )
    assert image_processor({"image_mean": [0.5] * 3}, "swin").kind == "ViT"
    assert image_processor(VIT) != image_processor({**VIT, "resample": 3})


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("ViTImageProcessor", "pil"),
        ("ViTImageProcessorFast", "torchvision"),
        ("ViTFeatureExtractor", "pil"),
        ("DINOv3ViTImageProcessorFast", "torchvision"),
        ("DINOv3ViTImageProcessor", "torchvision"),
    ],
)
def test_the_class_says_the_library(name, backend):
    assert image_processor({"image_processor_type": name}).backend == backend
    assert image_processor({"image_processor_type": name}, backend="tf").backend == "tf"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**VIT, "do_resise": True}, "no 'do_resise'; did you mean 'do_resize'"),
        ({**VIT, "size": {"height": 3}}, r"the edges \['height'\]"),
        ({**VIT, "size": {"height": 3, "width": 0}}, "width=0"),
        ({**VIT, "resample": 9}, "expected one of 0 nearest"),
        ({**VIT, "data_format": "channels_last"}, "models take 'channels_first'"),
        ({**CLIP, "crop_size": {"shortest_edge": 4}}, "expected 'height' and 'width'"),
        ({"image_processor_type": "VideoMAEImageProcessor"}, "reads videos"),
        ({"image_processor_type": "Qwen2VLImageProcessor"}, "no known image processor"),
        (
            {"image_processor_type": "ConvNextImageProcessor", "size": {"max_height": 3}},
            "has 'short",
        ),
        ({"size": 12}, "no image_processor_type"),
        ({**TIMM, "crop_mode": "border"}, "'center' of a square and 'squash' are"),
        ({**TIMM, "input_size": [3, 8, 9]}, "'center' of a square"),
        ({**TIMM, "crop_pct": 1.5}, "a share above 0 and up to 1"),
        ({**TIMM, "input_size": [1, 8, 8]}, "1 channels; pictures are read as RGB"),
        ({**TIMM, "interpolation": "random"}, "expected one of nearest"),
    ],
)
def test_a_config_that_means_nothing_is_refused_by_name(config, words):
    with pytest.raises(ValueError, match=words):
        image_processor(config)


# ---------------------------------------------------------------- reading


def as_file(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def png(image):
    return as_file(image, "PNG")


def test_a_picture_is_the_same_from_wherever_it_comes(tmp_path):
    image = pictures.pillows()["rgb"]
    content = png(image)
    (tmp_path / "a.png").write_bytes(content)
    array = np.asarray(image)
    for source in (
        image,
        content,
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        {"bytes": content, "path": None},
        {"path": str(tmp_path / "a.png")},
        array,
        array.transpose(2, 0, 1),
        array.astype(np.int64),
    ):
        assert np.array_equal(read_image(source), array.transpose(2, 0, 1))
    batch = np.stack([array, array[::-1]])
    two = image_processor(VIT)(batch)["pixel_values"]
    assert np.array_equal(two, image_processor(VIT)([array, array[::-1]])["pixel_values"])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_files_are_turned_upright_and_pictures_of_pillow_are_not(orientation):
    content = pictures.turned(orientation)
    wanted = stored("processed")[f"turned/{orientation}"]
    assert np.array_equal(read_image(content).transpose(1, 2, 0)[::6, ::6], wanted)
    opened = Image.open(io.BytesIO(content))
    assert np.array_equal(read_image(opened), pictures.picture(29, 41))


def test_sixteen_bits_become_the_nearest_level():
    deep = np.linspace(0, 65535, 35, dtype=np.uint16).reshape(5, 7)
    levels = np.rint(deep / 257)
    assert np.array_equal(read_image(png(Image.fromarray(deep)))[0], levels)
    assert np.array_equal(read_image(Image.fromarray(deep), rgb=False)[0], levels)


@pytest.mark.parametrize("kind", ["TIFF", None])
def test_thirty_two_bits_are_levels_where_none_is_above_255(kind):
    """Pillow's mode "I" says no white; that of 16 bits would make black of levels."""
    levels = pictures.picture(5, 7, 1)[0].astype(np.int32)
    for values, wanted in (
        (levels, levels),
        (levels * 0, levels * 0),
        (levels * 0 + 255, levels * 0 + 255),
        (levels * 257, levels),
        (levels * 0 + 256, levels * 0 + 1),
    ):
        image = Image.fromarray(values)
        assert image.mode == "I"
        assert np.array_equal(read_image(as_file(image, kind) if kind else image)[0], wanted)
    for values in (levels - 300, levels + 65536):
        image = Image.fromarray(values)
        with pytest.raises(ValueError, match="mode 'I'; scale them to levels from 0 to 255"):
            read_image(as_file(image, kind) if kind else image)


def test_a_dark_file_of_sixteen_bits_stays_dark():
    """Of PGM files Pillow makes mode "I" too, and these do say their white."""
    content = b"P5 2 1 65535 " + np.array([100, 200], ">u2").tobytes()
    assert Image.open(io.BytesIO(content)).mode == "I"
    assert read_image(content)[0].tolist() == [[0, 1]]


def test_one_transparent_level_of_a_grey_file_is_white(tmp_path):
    grey = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    grey.save(tmp_path / "a.png", transparency=5)
    wanted = np.where(np.asarray(grey) == 5, 255, np.asarray(grey))
    assert (read_image(tmp_path / "a.png") == wanted).all()
    assert (read_image(tmp_path / "a.png", white=False) == np.asarray(grey)).all()


def test_transparency_is_laid_on_white():
    clear = np.zeros((6, 5, 4), np.uint8)
    assert (read_image(clear) == 255).all()
    assert (read_image(clear.astype(np.float32)) == 1).all()
    assert (read_image(Image.fromarray(clear, mode="RGBA")) == 255).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_the_transparent_colour_of_a_file_is_laid_on_white(kind, tmp_path):
    """As the reference does it, which keeps the colour in RGB and then lays it on white. Its
    processors of torchvision decode files without it."""
    clear = pictures.pillows()["transparent"]
    (tmp_path / "a").write_bytes(as_file(clear, kind))
    config = {**CLIP, **image_cases.CASES["CLIP-plain"]}
    for backend, name in (("pil", "transparent"), ("torchvision", "palette")):
        result = image_processor(config, backend=backend)(tmp_path / "a")["pixel_values"]
        wanted = stored("processed")[f"CLIP-plain/{backend}/{name}/pixel_values"]
        np.testing.assert_allclose(result, wanted, atol=1e-5)
    plain = np.asarray(clear.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(read_image(tmp_path / "a", rgb=False), plain)  # ViT's, and others
    assert not image_processor(TIMM).white


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (3.5, "is a float; expected a path"),
        (b"no picture", "image is no picture that can be read"),
        ("nowhere.png", "nowhere.png does not exist"),
        ({"image": 1}, "expected 'bytes' or 'path'"),
        (np.zeros((3, 4, 3), np.uint8), "may both be channels"),
        (np.zeros((5, 4, 2), np.uint8), "neither the first nor the last axis"),
        (np.zeros((4, 5, 6, 7, 3), np.uint8), "has shape"),
        (np.full((3, 8, 8), np.nan), "not finite"),
        (np.full((3, 8, 8), 300), "levels from 0 to 255"),
        (np.zeros((3, 8, 8), bool), "has dtype bool"),
        (np.full((4, 8, 8), 200.0), "alpha channel lie between"),
    ],
)
def test_what_is_no_picture_says_what_was_expected(source, words):
    with pytest.raises(ValueError, match=words):
        read_image(source)


def test_the_order_of_channels_can_be_said():
    narrow = pictures.picture(3, 4, 3)  # 3 x 3 x 4
    first = image_processor(CLIP)(narrow, input_data_format="channels_first")["pixel_values"]
    last = image_processor(CLIP)(narrow.transpose(1, 2, 0), input_data_format="channels_last")
    assert np.array_equal(first, last["pixel_values"])
    with pytest.raises(ValueError, match="expected one of channels_first"):
        image_processor(CLIP)(narrow, input_data_format="CHW")


@pytest.mark.parametrize("source", [b"no picture at all", None, 3])
def test_messages_show_no_object_of_python(source):
    with pytest.raises(ValueError, match="image") as error:
        read_image(source)
    assert not re.search(r"<_io|object at|NoneType", str(error.value))


def test_a_damaged_file_is_named(tmp_path):
    whole = png(pictures.pillows()["rgb"])
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.png is no picture"):
        image_processor(VIT)([pictures.pillows()["rgb"], tmp_path / "cut.png"])


@pytest.mark.parametrize(
    ("config", "image", "words"),
    [
        (VIT, pictures.floats(8, 9, 3), "rescaled already; pass do_rescale=False"),
        (VIT, pictures.picture(8, 9, 1), "1 channels and the model's mean 3"),
        (
            {**CLIP, "do_rescale": False},
            pictures.picture(1, 9).astype(float) * 300,
            "cannot be resized by Pillow",
        ),
        (
            {**CLIP, "size": {"max_height": 3, "max_width": 3}},
            pictures.picture(40, 5000),
            "become 0",
        ),
    ],
)
def test_a_picture_that_does_not_fit_is_refused(config, image, words):
    with pytest.raises(ValueError, match=f"image 0: .*{words}"):
        image_processor(config)([image])


SHARES = pictures.floats(20, 24, 3)
BEYOND = SHARES.copy()
BEYOND[0, 0, 0] = 1.0001


@pytest.mark.parametrize("more", [{}, {"do_resize": False}])
@pytest.mark.parametrize("backend", ["pil", "torchvision", "tf"])
def test_floats_that_are_no_levels_are_refused_by_every_backend(backend, more):
    """One value above 1, or below 0, does not make levels of what is rescaled already."""
    processor = image_processor({**VIT, **more}, backend=backend)
    levels = pictures.picture(20, 24).astype(np.float32)
    for values in (BEYOND, SHARES * 4.5 - 2, levels + 0.5, levels + 300, levels - 256):
        with pytest.raises(ValueError, match=r"image: floats from .* are not whole levels"):
            processor.one(values)
    with pytest.raises(ValueError, match="rescaled already; pass do_rescale=False"):
        processor.one(SHARES)
    whole = processor.one(pictures.picture(20, 24))
    assert np.abs(processor.one(levels) - whole).max() < 0.02  # a level is 2/255
    rounded = np.rint(levels + 0.3).clip(0, 255)  # as the message says it
    assert np.array_equal(processor.one(rounded), processor.one(levels))
    if backend != "pil":  # whose resizing takes levels or shares alone
        own = image_processor({**VIT, **more, "do_rescale": False}, backend=backend)
        assert own.one(BEYOND).shape == whole.shape


def test_pictures_of_many_sizes_are_padded_where_the_file_says_so():
    config = {**VIT, "size": {"shortest_edge": 6}, "do_normalize": False}
    images = [pictures.picture(6, 9), pictures.picture(12, 6)]
    with pytest.raises(ValueError, match="pass them one by one"):
        image_processor(config)(images)
    out = image_processor({**config, "do_pad": True})(images)["pixel_values"]
    assert out.shape == (2, 3, 12, 9)
    assert not out[0, :, 6:].any()
    assert not out[1, :, :, 6:].any()
    with pytest.raises(ValueError, match="larger pad_size"):
        image_processor({**config, "do_pad": True, "pad_size": 7})(images)


def test_patches_that_a_row_does_not_hold_are_refused():
    config = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 4, "do_resize": False}
    config |= {"max_num_patches": 6}
    out = image_processor(config)([pictures.picture(8, 12), pictures.picture(4, 8)])
    assert out["pixel_values"].shape == (2, 6, 48)
    assert out["spatial_shapes"].tolist() == [[2, 3], [1, 2]]
    assert out["pixel_attention_mask"].sum(1).tolist() == [6, 2]
    for shape in ((3, 9), (8, 16), (8, 13)):
        with pytest.raises(ValueError, match="not 1 to 6 whole patches of 4 x 4"):
            image_processor(config)(pictures.picture(*shape))


def test_the_odd_row_of_zeros_is_before_in_pillow_and_after_in_torchvision():
    ones = np.ones((1, 2, 2), np.uint8)
    before, after = (steps.CenterCrop(3, 3, more)(ones)[0] for more in ("before", "after"))
    assert before.tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert after.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_reading_pictures_imports_no_jax():
    code = (
        "import sys; import transformers_jax.processing.image.processor, "
        "transformers_jax.processing.audio.processor; sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- maps of classes


BEIT = {"image_processor_type": "BeitImageProcessor", "size": {"height": 8, "width": 6}}


def test_a_map_of_classes_keeps_its_classes(tmp_path):
    """Resized as its picture is, by the nearest: no class that was not there before."""
    classes = np.kron([[1, 7], [0, 255]], np.ones((8, 12), int)).astype(np.uint8)
    palette = Image.fromarray(classes, mode="P")
    palette.putpalette([0] * 768)
    palette.save(tmp_path / "a.png")
    processor = image_processor(BEIT)
    labels = processor.labels([classes, tmp_path / "a.png", palette])
    wanted = np.kron([[1, 7], [0, 255]], np.ones((4, 3), int))
    assert labels.dtype == np.int64
    assert (labels == wanted).all()
    reduced = image_processor({**BEIT, "do_reduce_labels": True}).labels(classes)
    assert (reduced[0] == np.where(wanted % 255 == 0, 255, wanted - 1)).all()
    crop = image_processor({**BEIT, "do_center_crop": True, "crop_size": 4}).labels(classes)
    assert (crop[0] == wanted[2:6, 1:5]).all()


@pytest.mark.parametrize(
    ("config", "maps", "words"),
    [
        (VIT, np.zeros((4, 4), int), "takes no segmentation_maps"),
        (BEIT, np.zeros((4, 4)), r"map 0: float64 \[4, 4\]; expected whole numbers"),
        (BEIT, [b"no"], "map 0: no picture that can be read"),
        ({**BEIT, "do_resize": False}, [np.zeros((4, n), int) for n in (3, 4)], "one by one"),
    ],
)
def test_what_is_no_map_is_refused(config, maps, words):
    with pytest.raises(ValueError, match=words):
        image_processor(config).labels(maps)


def test_files_in_levels_of_grey_have_the_one_channel_of_the_model(tmp_path):
    from PIL import Image

    grey = {**VIT, "image_mean": [0.5], "image_std": [0.5]}
    processor = image_processor(grey)
    levels = np.random.default_rng(0).integers(0, 256, (9, 11)).astype(np.uint8)
    file, colour = tmp_path / "grey.png", tmp_path / "colour.png"
    Image.fromarray(levels).save(file)
    Image.fromarray(np.stack([levels] * 3, -1)).save(colour)
    by_file = processor([file])["pixel_values"]
    np.testing.assert_array_equal(by_file, processor([levels[None]])["pixel_values"])
    assert by_file.shape[1] == 1
    with pytest.raises(ValueError, match=r"mean 1; .*Image\.open\(file\)\.convert\('L'\)"):
        processor([colour])
    as_advised = processor([Image.open(colour).convert("L")])["pixel_values"]
    assert as_advised.shape == by_file.shape
