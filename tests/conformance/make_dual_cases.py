"""Makes cases of models of images with texts for which the public set has none: what PyTorch
computes.

python tests/conformance/make_dual_cases.py [CASE ...]       (needs the extra `parity`)
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

CASES = Path(__file__).parent / "cases"
ATOL, RTOL = 5e-5, 1e-5  # float32, other orders of summation
TOWER = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=20,
)
WORDS = dict(**TOWER, vocab_size=64, max_position_embeddings=12)
IMAGES = dict(**TOWER, image_size=12, patch_size=4)
SIGLIP = dict(
    text_config=dict(**WORDS, hidden_act="gelu"),
    vision_config=dict(**IMAGES, num_channels=1, layer_norm_eps=1e-5),
)
SIGLIP2 = dict(
    text_config=WORDS, vision_config=dict(**TOWER, num_channels=2, patch_size=3, num_patches=16)
)
BLIP = dict(
    text_config=dict(**WORDS, label_smoothing=0.2, is_decoder=True),
    vision_config={**IMAGES, "hidden_size": 12, "intermediate_size": 18},
    projection_dim=10,
    image_text_hidden_size=6,
)
WRITER = dict(model_type="bert", is_decoder=True, add_cross_attention=True)
CAPTIONS = dict(
    encoder=dict(model_type="vit", **{**IMAGES, "image_size": (8, 12), "qkv_bias": False}),
    decoder=dict(**{**WORDS, "hidden_size": 12}, **WRITER),
    decoder_start_token_id=1,
    pad_token_id=0,
    eos_token_id=2,
)
CHOSEN = {
    "blip": ("BlipModel", BLIP),
    "blip-retrieval": ("BlipForImageTextRetrieval", BLIP),
    "blip-question": ("BlipForQuestionAnswering", {**BLIP, "vision_config": IMAGES}),
    "vision-encoder-decoder-bert": ("VisionEncoderDecoderModel", CAPTIONS),
    "clip-classify": (
        "CLIPForImageClassification",
        dict(text_config=WORDS, vision_config=IMAGES, num_labels=5),
    ),
    "siglip-classify": ("SiglipForImageClassification", {**SIGLIP, "num_labels": 5}),
    "siglip-text": ("SiglipTextModel", SIGLIP["text_config"]),
    "siglip-vision": ("SiglipVisionModel", SIGLIP["vision_config"]),
    "siglip2-text": ("Siglip2TextModel", SIGLIP2["text_config"]),
    "siglip2-vision": ("Siglip2VisionModel", SIGLIP2["vision_config"]),
    "blip-text": ("BlipTextModel", {**BLIP["text_config"], "encoder_hidden_size": 12}),
    "blip-vision": ("BlipVisionModel", BLIP["vision_config"]),
    "siglip2": ("Siglip2Model", SIGLIP2),
    "siglip2-classify": ("Siglip2ForImageClassification", {**SIGLIP2, "num_labels": 3}),
}


def images_of(rng, config):
    """The arguments of images: pixels, or rows of patches with their shapes."""
    config = getattr(config, "vision_config", getattr(config, "encoder", config))
    if hasattr(config, "num_patches"):
        shapes = np.array([[3, 5], [1, 7], [9, 2]])
        mask = np.arange(19) < shapes.prod(1)[:, None]
        pixels = rng.normal(size=(3, 19, config.num_channels * config.patch_size**2))
        return {
            "pixel_values": pixels.astype(np.float32),
            "pixel_attention_mask": mask.astype(np.int64),
            "spatial_shapes": shapes,
        }
    size = config.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    size = (3, getattr(config, "num_channels", 3), *size)
    return {"pixel_values": rng.normal(size=size).astype(np.float32)}


def texts_of(rng, words):
    """The arguments of texts, of several lengths."""
    ids = rng.integers(5, words.vocab_size, (3, words.max_position_embeddings - 3))
    mask = np.arange(ids.shape[1]) < np.array([[9], [6], [7]])
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def inputs_of(rng, architecture, config):
    """The arguments of the call, and the flags beside them."""
    kwargs = {"output_hidden_states": True}
    if architecture.endswith("TextModel"):
        return texts_of(rng, config), kwargs
    inputs = images_of(rng, config)
    if architecture.endswith("VisionModel"):
        return inputs, kwargs
    if architecture.endswith("ForImageClassification"):
        return inputs | {"labels": rng.integers(0, config.num_labels, 3)}, kwargs
    if config.is_encoder_decoder:  # pads among labels are words, behind them is nothing
        labels = rng.integers(3, 60, (3, 7))
        labels[0, 5:], labels[1, 3] = -100, 0
        return inputs | {"labels": labels}, kwargs
    words = config.text_config
    inputs |= texts_of(rng, words)
    if architecture.endswith("QuestionAnswering"):
        labels = rng.integers(5, words.vocab_size, (3, 4))
        return inputs | {"labels": labels}, {"output_hidden_states": True}
    if "Retrieval" in architecture:
        return inputs, {"output_hidden_states": True}
    return inputs, {"return_loss": True}


def make(name, architecture, settings):
    """Config, weights, inputs and outputs of a tiny model, every parameter of which is random."""
    torch.manual_seed(0)
    rng, folder = np.random.default_rng(0), CASES / name
    cls = getattr(transformers, architecture)
    config = cls.config_class(**settings)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    inputs, kwargs = inputs_of(rng, architecture, config)
    result = model(**{key: torch.tensor(x) for key, x in inputs.items()}, **kwargs)
    outputs = {}
    for key, value in result.items():
        if isinstance(value, tuple):
            outputs |= {f"{key}_{n}": state for n, state in enumerate(value)}
        elif isinstance(value, torch.Tensor):
            outputs[key] = value
        elif hasattr(value, "items"):
            outputs |= {f"{key}.{n}": x for n, x in value.items() if isinstance(x, torch.Tensor)}
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **{k: x.detach().numpy() for k, x in outputs.items()})
    case = {
        "name": name,
        "family": config.model_type,
        "architecture": architecture,
        "library": "transformers",
        "forward": {"inputs": list(inputs), "kwargs": kwargs},
        "calls": [],
        "rtol": RTOL,
        "outputs": {key: {"atol": ATOL} for key in outputs},
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    for case in sys.argv[1:] or CHOSEN:
        make(case, *CHOSEN[case])
