"""The families of `train.gallery` that see: a digit somewhere on noise, and what names it."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import transformers_jax as tj
from transformers_jax.data.generated.digits import records
from transformers_jax.graph import sequence
from transformers_jax.inspection.images import draw_sight, draw_tiles, enlarged, over
from transformers_jax.inspection.sight import sight

SIDE, DIGIT, PATCH = 32, 16, 4
PATCHES = (SIDE // PATCH) ** 2
COVERED = 12  # pixels of the side of a square
PAD, START, END, IMAGE = 0, 1, 2, 13
"""The digit n is the token n + 3."""


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """(Float[N 16 16] from 0 to 1, Int[N]): the digits of scikit-learn, and which they are."""
    some = records("train")
    images = np.stack([record["image"] for record in some]).astype(np.float32) / 255
    return images.repeat(2, 1).repeat(2, 2), np.array([record["label"] for record in some])


def pictures(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Float[N 3 32 32]: for each label a digit of some colour somewhere on noise."""
    images, classes = digits()
    made = rng.normal(0, 0.3, (len(labels), 3, SIDE, SIDE))
    for picture, label in zip(made, labels):
        digit = images[rng.choice(np.flatnonzero(classes == label))]
        top, left = PATCH * rng.integers(0, (SIDE - DIGIT) // PATCH + 1, 2)
        colour = rng.uniform(0.5, 2, (3, 1, 1))
        picture[:, top : top + DIGIT, left : left + DIGIT] += colour * (2 * digit - 0.5)
    return made.astype(np.float32)


def batch(kind: str, seed: int, rows: int = 16) -> dict[str, Any]:
    """The arguments of a call: a pure function of the seed."""
    rng = np.random.default_rng(seed)
    rows = 10 if kind.startswith("compares") else rows  # each digit once: no two texts are the same
    labels = rng.permutation(rows) % 10
    return arguments(kind, pictures(rng, labels), labels, rng)


def arguments(
    kind: str, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """The arguments of a call with these pictures."""
    rows = len(labels)
    start, end = np.full((rows, 1), START), np.full((rows, 1), END)
    text = np.concatenate([start, labels[:, None] + 3, end], axis=1)
    unread = lambda count: np.full((rows, count), -100)
    if kind == "names":
        return {"pixel_values": images, "labels": labels}
    if kind == "restores":
        return {"pixel_values": images, "noise": rng.random((rows, PATCHES)).astype(np.float32)}
    if kind == "compares":
        return {"pixel_values": images, "input_ids": text}
    if kind == "compares rows of patches":
        return {**in_rows(images), "input_ids": text}
    if kind == "writes":
        return {"pixel_values": images, "labels": text[:, 1:]}
    if kind == "attends":  # to the images of a row
        seen = np.ones((rows, 2, 1), np.int64)
        images = images[:, None]
    else:  # reads images among words
        start = np.concatenate([start, np.full((rows, int(kind)), IMAGE)], axis=1)
    ids = np.concatenate([start, text[:, 1:2]], axis=1)
    targets = np.concatenate([unread(start.shape[1]), text[:, 1:2]], axis=1)
    inputs = {"pixel_values": images, "input_ids": ids, "labels": targets}
    return inputs | {"image_attention_mask": seen} if kind == "attends" else inputs


def in_rows(images: np.ndarray) -> dict[str, Any]:
    """Pictures as rows of their patches."""
    side = SIDE // PATCH
    parts = images.transpose(0, 2, 3, 1).reshape(-1, side, PATCH, side, PATCH, 3).swapaxes(2, 3)
    return {
        "pixel_values": parts.reshape(len(images), PATCHES, -1),
        "spatial_shapes": np.full((len(images), 2), side),
        "pixel_attention_mask": np.ones((len(images), PATCHES), np.int64),
    }


@dataclass(frozen=True)
class Shown:
    """What is trained for a family, and drawn.

    Attributes:
        config: makes the config.
        head: of the model.
        kind: of batches (`batch`).
        figure: the file of `draw_sight`, without its ending; "words": the graph of the decoder over
            four patches and four words; "looks": what its word attends to; "latents": what each
            latent attends to; "covered": where the digit must not be covered (`falls`).
        steps: of training; 0: weights are as they are first drawn.
    """

    config: Callable[[], Any]
    head: str
    kind: str
    figure: str
    steps: int = 150


TOWER: dict[str, Any] = dict(
    hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96
)
DRAWN: dict[str, Any] = dict(initializer_range=0.1)
"""Weights of narrow layers, which that of the families, for widths of hundreds, leaves too small to
learn anything in some hundred steps."""
DINO: dict[str, Any] = {n: x for n, x in TOWER.items() if n != "intermediate_size"}
STILL: dict[str, Any] = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
IMAGES: dict[str, Any] = dict(image_size=SIDE, patch_size=PATCH)
SEEN = {**TOWER, **IMAGES}
NARROW = {**SEEN, **DRAWN}
TEXT: dict[str, Any] = {**TOWER, "vocab_size": 14, "max_position_embeddings": 3}
TEXT_IDS: dict[str, Any] = dict(pad_token_id=PAD, bos_token_id=START, eos_token_id=END)
WORDS: dict[str, Any] = {**TEXT, "max_position_embeddings": 80, **TEXT_IDS}
STAGES: dict[str, Any] = dict(image_size=SIDE, patch_size=PATCH, depths=(2, 2))
TEN: dict[str, Any] = dict(num_labels=10)
NAMES = "image_classification"


def _llama() -> Any:
    return tj.LlamaConfig(**WORDS)


def _gpt2() -> Any:
    return tj.GPT2Config(
        vocab_size=14, n_positions=8, n_embd=48, n_layer=1, n_head=3, add_cross_attention=True,
        **DRAWN,
    )  # fmt: skip


def _idefics() -> Any:
    return tj.IdeficsConfig(
        **WORDS, **DRAWN, use_resampler=False, cross_layer_interval=1, vision_config=NARROW,
        alpha_initializer="ones",
    )  # fmt: skip


def _blip_2() -> Any:
    words = dict(vocab_size=14, hidden_size=48, ffn_dim=96, word_embed_proj_dim=48)
    layers = dict(num_hidden_layers=1, num_attention_heads=3, dropout=0.0, init_std=0.1)
    return tj.Blip2Config(
        vision_config=NARROW, qformer_config=tj.Blip2QFormerConfig(**TOWER, **STILL, **DRAWN),
        text_config=tj.OPTConfig(**words, **layers, max_position_embeddings=16, **TEXT_IDS),
        num_query_tokens=4, image_token_index=IMAGE, **DRAWN,
    )  # fmt: skip


def _perceiver() -> Any:
    return tj.PerceiverConfig(
        architectures=("PerceiverForImageClassificationFourier",), image_size=SIDE, num_latents=4,
        d_latents=48, num_self_attends_per_block=2, num_self_attention_heads=3,
        num_cross_attention_heads=1, qk_channels=48, v_channels=48,
        attention_probs_dropout_prob=0.0, **DRAWN,
    ).replace(**TEN)  # fmt: skip


def _captioner() -> Any:
    return tj.VisionEncoderDecoderConfig(
        encoder=tj.ViTConfig(**NARROW), decoder=_gpt2(), decoder_start_token_id=START,
        pad_token_id=PAD, eos_token_id=END,
    )  # fmt: skip


def _clip() -> Any:
    return tj.CLIPConfig(
        text_config=tj.CLIPTextConfig(**TEXT, eos_token_id=END),
        vision_config=tj.CLIPVisionConfig(**SEEN), projection_dim=32,
    )  # fmt: skip


def _paligemma() -> Any:
    text = tj.GemmaConfig(**WORDS, num_key_value_heads=1, head_dim=16)
    vision = tj.SiglipVisionConfig(**SEEN, vision_use_head=False)
    return tj.PaliGemmaConfig(text_config=text, vision_config=vision, image_token_index=IMAGE)


def _siglip2() -> Any:
    vision = tj.Siglip2VisionConfig(**TOWER, patch_size=PATCH, num_patches=PATCHES)
    return tj.Siglip2Config(text_config=tj.Siglip2TextConfig(**TEXT), vision_config=vision)


SHOWN: dict[str, Shown] = {
    "vit": Shown(lambda: tj.ViTConfig(**SEEN).replace(**TEN), NAMES, "names", "rollout"),
    "deit": Shown(lambda: tj.DeiTConfig(**SEEN).replace(**TEN), NAMES, "names", "attention"),
    "beit": Shown(
        lambda: tj.BeitConfig(**SEEN, use_relative_position_bias=True).replace(**TEN),
        NAMES, "names", "distance",
    ),
    "dinov2": Shown(
        lambda: tj.Dinov2Config(**DINO, **IMAGES, mlp_ratio=2).replace(**TEN),
        NAMES, "names", "attention",
    ),
    "dinov2_with_registers": Shown(
        lambda: tj.Dinov2WithRegistersConfig(**DINO, **IMAGES, mlp_ratio=2).replace(**TEN),
        NAMES, "names", "rollout",
    ),
    "dinov3_vit": Shown(lambda: tj.DINOv3ViTConfig(**SEEN), "none", "names", "attention"),
    "vit_mae": Shown(
        lambda: tj.ViTMAEConfig(
            **SEEN, decoder_hidden_size=48, decoder_num_hidden_layers=1,
            decoder_num_attention_heads=3, decoder_intermediate_size=96,
        ),
        "pretraining", "restores", "positions", steps=0,
    ),
    "swin": Shown(
        lambda: tj.SwinConfig(
            **STAGES, embed_dim=24, num_heads=(2, 4), window_size=4
        ).replace(**TEN),
        NAMES, "names", "windows",
    ),
    "swinv2": Shown(
        lambda: tj.Swinv2Config(
            **STAGES, **DRAWN, embed_dim=24, num_heads=(2, 4), window_size=4
        ).replace(**TEN),
        NAMES, "names", "windows", steps=400,
    ),
    "convnext": Shown(
        lambda: tj.ConvNextConfig(
            **STAGES, **DRAWN, hidden_sizes=(24, 48), num_stages=2, layer_scale_init_value=1.0
        ).replace(**TEN),
        NAMES, "names", "covered", steps=400,
    ),
    "convnextv2": Shown(
        lambda: tj.ConvNextV2Config(
            **STAGES, **DRAWN, hidden_sizes=(24, 48), num_stages=2
        ).replace(**TEN),
        NAMES, "names", "covered", steps=400,
    ),
    "resnet": Shown(
        lambda: tj.ResNetConfig(
            embedding_size=16, hidden_sizes=(16, 32), depths=(1, 1), layer_type="basic"
        ).replace(**TEN),
        NAMES, "names", "covered", steps=400,
    ),
    "clip": Shown(_clip, "contrastive", "compares", "attention"),
    "siglip": Shown(
        lambda: tj.SiglipConfig(
            text_config=tj.SiglipTextConfig(**TEXT), vision_config=tj.SiglipVisionConfig(**SEEN)
        ),
        "contrastive", "compares", "attention",
    ),
    "siglip2": Shown(_siglip2, "contrastive", "compares rows of patches", "attention"),
    "blip": Shown(
        lambda: tj.BlipConfig(
            text_config=tj.BlipTextConfig(**TEXT, **STILL),
            vision_config=tj.BlipVisionConfig(**SEEN), projection_dim=32,
        ),
        "contrastive", "compares", "rollout",
    ),
    "vision-text-dual-encoder": Shown(
        lambda: tj.VisionTextDualEncoderConfig(
            text_config=tj.BertConfig(**TEXT, **STILL, **DRAWN),
            vision_config=tj.ViTConfig(**NARROW), projection_dim=32,
        ),
        "contrastive", "compares", "rollout", steps=400,
    ),
    "vision-encoder-decoder": Shown(_captioner, "seq2seq_lm", "writes", "looks", steps=400),
    "llava": Shown(
        lambda: tj.LlavaConfig(
            text_config=_llama(), vision_config=tj.CLIPVisionConfig(**SEEN),
            image_token_index=IMAGE, vision_feature_layer=-1,
        ),
        "causal_lm", str(PATCHES), "words", steps=0,
    ),
    "paligemma": Shown(_paligemma, "causal_lm", str(PATCHES), "words", steps=0),
    "blip-2": Shown(_blip_2, "causal_lm", "4", "covered", steps=400),
    "idefics": Shown(_idefics, "causal_lm", "attends", "covered", steps=400),
    "perceiver": Shown(_perceiver, NAMES, "names", "latents", steps=400),
}  # fmt: skip


def falls(model: Any, kind: str, image: np.ndarray, label: int) -> np.ndarray:
    """Float[8 8]: by how much the logarithm of the probability of a label is less where the square
    around a patch is covered (Zeiler & Fergus 2013, section 4.2)."""
    side, beyond = SIDE // PATCH, (COVERED - PATCH) // 2
    images = image.repeat(PATCHES + 1, 0)
    for number, covered in enumerate(images[1:]):
        top, left = (PATCH * n for n in divmod(number, side))
        rows, columns = (slice(max(0, n - beyond), n + PATCH + beyond) for n in (top, left))
        covered[:, rows, columns] = 0
    labels = np.full(len(images), label)
    given = arguments(kind, images, labels, np.random.default_rng(0))
    logits = np.asarray(model(**given).logits, np.float64)
    if kind != "names":  # the word of the label, before it is read
        logits, label = logits[:, 0 if kind == "writes" else -2], label + 3
    scores = logits[:, label] - np.log(np.exp(logits).sum(-1))
    return (scores[0] - scores[1:]).reshape(side, side)


def draw(name: str, model: Any, path: Path) -> None:
    """Writes the figure of a family, of a digit that was in no batch."""
    shown = SHOWN[name]
    if shown.figure == "words":
        labels = ["p0", "p1", "p2", "p3", "the", "digit", "is", "3"]
        prefix = np.array([[1, 1, 1, 1, 1, 1, 1, 0]])  # of PaliGemma: the picture and the prompt
        mask = model.stack.masks("self")[0]
        nodes = sequence(len(labels), tags={"prefix": prefix})
        mask.plot(nodes, labels=labels, title=f"{name}: {mask}").savefig(path, dpi=80)
        return
    rng, label = np.random.default_rng((7, 7)), 3
    image = pictures(rng, np.array([label]))
    picture = image[0].transpose(1, 2, 0)
    picture = (picture - picture.min()) / np.ptp(picture)
    if shown.figure == "latents":
        given = arguments(shown.kind, image, np.array([label]), rng)
        weights = model(**given, output_attentions=True).cross_attentions[0]
        heats = np.asarray(weights)[0].mean(0).reshape(-1, SIDE, SIDE)
        tiles = [[enlarged(picture, 192), *(over(picture, heat, 192) for heat in heats)]]
        columns = ("read", *(f"latent {number}" for number in range(len(heats))))
        draw_tiles(tiles, f"{name}: the pixels to which each latent attends", path, ("",), columns)
        return
    if shown.figure in ("looks", "covered"):
        if shown.figure == "covered":
            heat = np.maximum(falls(model, shown.kind, image, label), 0)
            title = f"{name}: fall of the score of {label} where {COVERED} x {COVERED} are covered"
        else:
            given = arguments(shown.kind, image, np.array([label]), rng)
            weights = model(**given, output_attentions=True).cross_attentions[-1]
            heat = np.asarray(weights)[0, :, 0, 1:].mean(0).reshape(SIDE // PATCH, -1)
            title = f"{name}: cross-attention of the word {label}"
        tiles = [[enlarged(picture, 192), over(picture, heat, 192)]]
        draw_tiles(tiles, title, path, ("",), ("read", shown.figure))
        return
    image = image[:, None] if shown.kind == "attends" else image
    inputs = in_rows(image) if "rows" in shown.kind else {"pixel_values": image}
    with tempfile.TemporaryDirectory() as made:
        files = {file.stem: file for file in draw_sight(sight(model, inputs), Path(made), name)[0]}
        path.write_bytes(files[shown.figure].read_bytes())
