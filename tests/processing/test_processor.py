"""`load_processor`: what the files of a folder say, and the way back to them."""

import importlib
import json
import re

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.processing import pictures, sounds

VIT = {"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 10}}
WAVES = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}


def test_a_folder_of_pictures(folder):
    processor = tj.load_processor(folder(VIT))
    out = processor(images=[pictures.picture(29, 41), pictures.picture(9, 8)])
    assert {name: array.shape for name, array in out.items()} == {"pixel_values": (2, 3, 12, 10)}
    assert processor.image_processor.backend == "pil"
    fast = tj.load_processor(folder(VIT), backend="torchvision")
    assert fast.image_processor.backend == "torchvision"


def test_a_folder_of_sound(folder):
    processor = tj.load_processor(folder(WAVES))
    assert processor.sampling_rate == 16000
    out = processor(audio=sounds.sound("brief"), sampling_rate=16000)
    assert out["input_values"].shape == (1, 777)
    with pytest.raises(ValueError, match="takes no images"):
        processor(images=pictures.picture(9, 8))
    with pytest.raises(ValueError, match=r"texts need a tokenizer: .* has no tokenizer"):
        processor(audio=sounds.sound("brief"), text="hm")


def test_version_five_holds_them_in_one_file(folder):
    nested = {"image_processor": VIT, "processor_class": "CLIPProcessor"}
    processor = tj.load_processor(folder(processor_config=nested))
    assert processor.image_processor.backend == "torchvision"
    assert processor.processor_class == "CLIPProcessor"
    sound = {"feature_extractor": WAVES, "processor_class": "Wav2Vec2Processor"}
    assert tj.load_processor(folder(processor_config=sound)).sampling_rate == 16000


def test_models_of_timm_say_it_in_their_config(tmp_path, caplog):
    model = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"input_size": [3, 9, 9]}}
    (tmp_path / "config.json").write_text(json.dumps(model))
    loaded = tj.load_processor(tmp_path, crop_pct=1.0, crop_mode="squash")
    assert loaded(images=pictures.picture(20, 30))["pixel_values"].shape == (1, 3, 9, 9)
    loaded.save(tmp_path / "saved")
    assert tj.load_processor(tmp_path / "saved").image_processor == loaded.image_processor
    assert not caplog.records
    tj.load_processor(tmp_path, backend="torchvision").save(tmp_path / "saved")
    assert "TimmWrapper chooses backend='torchvision'; pass it" in caplog.text
    with pytest.raises(ValueError, match="by 'crop_pc'; did you mean 'crop_pct'"):
        tj.load_processor(tmp_path, crop_pc=1.0)


@pytest.mark.parametrize("files", [{"config": VIT}, {"processor_config": {"image_processor": VIT}}])
def test_saving_gives_the_same_processor(files, folder, tmp_path):
    config = files.pop("config", None)
    loaded = tj.load_processor(folder(config, **files), do_rescale=False)
    loaded.save(tmp_path / "saved")
    again = tj.load_processor(tmp_path / "saved")
    assert again.image_processor == loaded.image_processor
    assert not again.image_processor.rescales
    plain = tj.load_processor(tmp_path)
    plain.save(tmp_path / "plain")
    for file in (tmp_path / "plain").iterdir():
        assert json.loads(file.read_text()) == json.loads((tmp_path / file.name).read_text())


PLAIN, NESTED = "preprocessor_config", "processor_config"


@pytest.mark.parametrize(
    ("config", "place", "backend", "name"),
    [
        (VIT, PLAIN, "torchvision", "ViTImageProcessorFast"),
        (VIT, PLAIN, "pil", "ViTImageProcessor"),
        ({"image_processor_type": "CLIPImageProcessorFast"}, PLAIN, "pil", "CLIPImageProcessor"),
        ({"feature_extractor_type": "CLIPFeatureExtractor"}, PLAIN, "torchvision", "CLIPImage"),
        (VIT, NESTED, "pil", "ViTImageProcessorPil"),
        (VIT, NESTED, "torchvision", "ViTImageProcessor"),
    ],
)
def test_saving_names_the_class_that_chooses_the_backend(
    config, place, backend, name, folder, tmp_path, caplog
):
    content = config if place == PLAIN else {"image_processor": config}
    loaded = tj.load_processor(folder(**{place: content}), backend=backend)
    loaded.save(tmp_path / "saved")
    assert tj.load_processor(tmp_path / "saved").image_processor == loaded.image_processor
    saved = json.loads((tmp_path / "saved" / f"{place}.json").read_text())
    saved = saved if place == PLAIN else saved["image_processor"]
    assert saved["image_processor_type"].startswith(name)
    assert not caplog.records


@pytest.mark.parametrize(
    ("config", "backend"),
    [(VIT, "tf"), ({"image_processor_type": "DINOv3ViTImageProcessor"}, "pil")],
)
def test_a_backend_that_no_class_chooses_is_warned_of(config, backend, folder, tmp_path, caplog):
    loaded = tj.load_processor(folder(config), backend=backend)
    assert not caplog.records
    loaded.save(tmp_path / "saved")
    assert f"backend={backend!r}; pass it to load_processor again" in caplog.text
    again = tj.load_processor(tmp_path / "saved", backend=backend)
    assert again.image_processor == loaded.image_processor


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "has neither preprocessor_config.json .* where the model came from$"),
        ({"video_preprocessor_config": {}, "preprocessor_config": VIT}, "a processor of videos"),
        ({"processor_config": {"video_processor": {}}}, "a processor of videos"),
        ({"processor_config": {"patch_size": 14}}, "processor_config.json holds no processor"),
        ({"preprocessor_config": {"padding": 3}}, "says what it is a processor of"),
        ({"preprocessor_config": {**VIT, "siez": 3}}, "no 'siez'; did you mean 'size'"),
    ],
)
def test_a_folder_that_says_nothing_is_refused(files, words, folder):
    with pytest.raises(ValueError, match=words):
        tj.load_processor(folder(**files))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ({}, ValueError, "nothing to process"),
        ({"audio": np.zeros(9)}, ValueError, "takes no audio"),
        ({"images": [], "text": "a"}, ValueError, "holds no picture"),
        ({"text": "a"}, ValueError, "has no tokenizer"),
        ({"images": pictures.picture(9, 8), "padding": True}, TypeError, "an option of texts"),
        ({"images": pictures.picture(9, 8), "sampling_rate": 8000}, ValueError, "of audio"),
        ({"images": [], "return_tensors": "np"}, TypeError, "the arrays are NumPy's"),
        ({"text": "a", "suffix": "b"}, ValueError, "suffix is of PaliGemma"),
    ],
)
def test_a_call_that_means_nothing_is_refused(call, error, words, folder):
    with pytest.raises(error, match=words):
        tj.load_processor(folder(VIT))(**call)


def test_loading_starts_no_backend_and_names_itself(folder):
    assert "ImageProcessor(kind='ViT'" in repr(tj.load_processor(folder(VIT)))
    with pytest.raises(AttributeError, match=r"tj.load_processor"):
        tj.AutoProcessor  # noqa: B018


def test_pictures_with_maps_have_labels(folder):
    beit = {"image_processor_type": "BeitImageProcessor", "size": {"height": 8, "width": 6}}
    processor = tj.load_processor(folder(beit))
    image, classes = pictures.picture(16, 24), np.ones((16, 24), int)
    out = processor(images=[image], segmentation_maps=[classes])
    assert {name: a.shape for name, a in out.items()} == {
        "pixel_values": (1, 3, 8, 6),
        "labels": (1, 8, 6),
    }
    with pytest.raises(ValueError, match="1 images and 2 segmentation_maps"):
        processor(images=[image], segmentation_maps=[classes, classes])


def test_a_new_model_has_its_processor_made_as_the_message_says(tmp_path):
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    vit = tj.ViTConfig(**sizes, image_size=16, patch_size=8)
    waves = tj.Wav2Vec2Config(
        **sizes, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        conv_dim=(8,), conv_kernel=(10,), conv_stride=(5,),
    )  # fmt: skip
    call = {"vit": {"images": pictures.picture(9, 8)}, "wav2vec2": {"audio": sounds.sound("brief")}}
    for config in (vit, waves):
        folder = tmp_path / config.model_type
        model = tj.from_config(config, head="none", key=jax.random.key(0))
        tj.save_pretrained(model, folder)
        with pytest.raises(ValueError, match="has neither") as error:
            tj.load_processor(folder)
        advice = re.search(r"(Readers\(.*\)), by ([\w.]+)$", str(error.value))
        names = vars(importlib.import_module(advice[2]))
        eval(advice[1], {**names, "model": model, "folder": folder})
        model.check(tj.load_processor(folder)(**call[config.model_type]))


def test_the_advice_of_messages_works(folder, tmp_path):
    """What errors about channels, levels and rates say to do."""
    waves = tj.load_processor(folder(WAVES))
    stereo = np.stack([sounds.sound("brief")] * 2, 1)
    with pytest.raises(ValueError, match=r"array\.mean\(1\)"):
        waves(audio=stereo)
    assert waves(audio=stereo.mean(1))["input_values"].shape == (1, 777)
    whole = (sounds.sound("brief") * 32767).astype(np.int16)
    with pytest.raises(ValueError, match="array / 32768"):
        waves(audio=whole)
    assert waves(audio=whole / 32768)["input_values"].shape == (1, 777)
    assert (
        waves(audio=whole / 32768, sampling_rate=8000, resample=True)["input_values"].size == 1554
    )
    vit = tj.load_processor(folder(VIT))
    shares = pictures.floats(20, 30, 3)
    with pytest.raises(ValueError, match="pass do_rescale=False"):
        vit(images=shares)
    scaled = tj.load_processor(folder(VIT), do_rescale=False)(images=shares)["pixel_values"]
    assert np.abs(scaled).max() < 1.1
    deep = np.full((20, 30), 65535, np.uint16)
    with pytest.raises(ValueError, match=r"\(array // 257\)"):
        vit(images=deep)
    with pytest.raises(ValueError, match="pass do_convert_rgb=True"):
        vit(images=(deep // 257).astype("uint8"))
    grey = tj.load_processor(folder(VIT), do_convert_rgb=True)
    assert grey(images=(deep // 257).astype("uint8"))["pixel_values"].max() == pytest.approx(1)


SQUARE = {"height": 224, "width": 224}
CLIP_LEVELS = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
RELEASED = {  # what the files of released models hold: of version 4.20 on, by their model
    "clip-vit-base-patch32": (
        {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True}
        | {"feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": 224}
        | CLIP_LEVELS,
        (3, 224, 224),
    ),
    "vit-mae-base": (
        {"do_normalize": True, "do_resize": True, "feature_extractor_type": "ViTFeatureExtractor"}
        | {"resample": 2, "size": 224},
        (3, 224, 224),
    ),
    "deit-base": (
        {"crop_size": 224, "do_center_crop": True, "resample": 3, "size": 256}
        | {"feature_extractor_type": "DeiTFeatureExtractor"},
        (3, 224, 224),
    ),
    "beit-base": (
        {"crop_size": 224, "do_center_crop": False, "reduce_labels": True, "size": 224}
        | {"feature_extractor_type": "BeitFeatureExtractor", "resample": 2},
        (3, 224, 224),
    ),
    "convnext-tiny-224": (
        {"crop_pct": 0.875, "feature_extractor_type": "ConvNextFeatureExtractor", "size": 224},
        (3, 224, 224),
    ),
    "dinov2-base": (
        {"crop_size": SQUARE, "do_center_crop": True, "do_convert_rgb": True, "resample": 3}
        | {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}},
        (3, 224, 224),
    ),
    "dinov3-vits16": (
        {"crop_size": None, "data_format": "channels_first", "default_to_square": True}
        | {"device": None, "disable_grouping": None, "do_center_crop": None, "do_pad": None}
        | {"image_processor_type": "DINOv3ViTImageProcessorFast", "input_data_format": None}
        | {"resample": 2, "return_tensors": None, "size": SQUARE},
        (3, 224, 224),
    ),
    "blip-captioning": (
        {"image_processor_type": "BlipImageProcessor", "do_pad": True, "size_divisor": 32}
        | {"size": {"height": 384, "width": 384}, "processor_class": "BlipProcessor"},
        (3, 384, 384),
    ),
    "vision-perceiver-fourier": (
        {"crop_size": 256, "do_center_crop": True, "do_normalize": True, "do_resize": True}
        | {"feature_extractor_type": "PerceiverFeatureExtractor", "resample": 3, "size": 224},
        (3, 224, 224),
    ),
    "idefics-9b": (
        {"image_num_channels": 3, "image_size": 224, "processor_class": "IdeficsProcessor"}
        | {"image_processor_type": "IdeficsImageProcessor"},
        (3, 224, 224),
    ),
    "paligemma-3b": (
        {"image_processor_type": "SiglipImageProcessor", "image_seq_length": 256}
        | {"do_convert_rgb": None, "processor_class": "PaliGemmaProcessor", "size": SQUARE},
        (3, 224, 224),
    ),
    "siglip2-naflex": (
        {"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 256}
        | {"do_convert_rgb": None, "patch_size": 16, "processor_class": "Siglip2Processor"},
        (256, 768),
    ),
}


@pytest.mark.parametrize("name", RELEASED)
def test_the_files_of_released_models_are_read(name, folder):
    config, shape = RELEASED[name]
    processor = tj.load_processor(folder(config))
    image = pictures.picture(60, 90).transpose(1, 2, 0)
    assert processor(images=image)["pixel_values"].shape == (1, *shape)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (
            {"chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor"}
            | {"feature_size": 128, "hop_length": 160, "mel_filters": [[0.0]], "n_fft": 400}
            | {"n_samples": 480000, "nb_max_frames": 3000, "padding_value": 0.0}
            | {"processor_class": "WhisperProcessor", "sampling_rate": 16000},
            (1, 128, 3000),
        ),
        ({"do_normalize": True, "feature_size": 1, "padding_value": 0, **WAVES}, (1, 777)),
        (
            {"feature_extractor_type": "ASTFeatureExtractor", "max_length": 1024, "mean": -4.27}
            | {"num_mel_bins": 128, "sampling_rate": 16000, "std": 4.57},
            (1, 1024, 128),
        ),
    ],
    ids=["whisper-large-v3", "wav2vec2-base", "ast"],
)
def test_the_files_of_released_models_of_sound_are_read(config, shape, folder):
    (array,) = tj.load_processor(folder(config))(audio=sounds.sound("brief")).values()
    assert array.shape == shape
