"""Tiny models in folders, with processor and tokenizer, and files of pictures."""

import json

import jax
import numpy as np
import tokenizers
from jax.flatten_util import ravel_pytree

import transformers_jax as tj
from tests.processing.pictures import picture
from transformers_jax.models.blip_2 import Blip2QFormerConfig, Blip2VisionConfig
from transformers_jax.models.idefics import IdeficsPerceiverConfig, IdeficsVisionConfig
from transformers_jax.nn.param import bind, params

SIZES = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
IMAGE = dict(**SIZES, image_size=16, patch_size=8)
WORDS = ("[PAD]", "[CLS]", "[SEP]", "<image>", "a", "photo", "of", "cat", "dog", "red", "fox", ".",
         "<fake_token_around_image>", "\n")  # fmt: skip
TOKENS = (*WORDS[:4], *WORDS[-2:])
SPECIAL = {"pad_token": "[PAD]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
IMAGES = {"do_resize": True, "size": {"height": 16, "width": 16}, "do_center_crop": False}
KINDS = {"vit": "ViTImageProcessor", "clip": "CLIPImageProcessor", "blip": "BlipImageProcessor",
         "described": "ViTImageProcessor", "llava": "CLIPImageProcessor",
         "blip_2": "BlipImageProcessor", "blip_2_t5": "BlipImageProcessor",
         "paligemma": "SiglipImageProcessor", "idefics": "IdeficsImageProcessor"}  # fmt: skip
OWN = {
    "llava": {"processor_class": "LlavaProcessor", "patch_size": 8, "image_token": "<image>",
              "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
    "blip_2": {"processor_class": "Blip2Processor", "num_query_tokens": 3},
    "blip_2_t5": {"processor_class": "Blip2Processor", "num_query_tokens": 3},
    "paligemma": {"processor_class": "PaliGemmaProcessor"},
    "idefics": {"processor_class": "IdeficsProcessor"},
}  # fmt: skip
"""What processor_config.json says."""
SAYS_MORE = ("blip_2", "blip_2_t5", "paligemma", "idefics")
"""Kinds whose first weights would repeat one token."""
MORE = {"paligemma": {"image_seq_length": 4}, "idefics": {"image_size": 16}}
"""What preprocessor_config.json says beside the size."""


def config_of(kind):
    """A config of a kind of model."""
    if kind == "vit":
        names = dict(enumerate(("cat", "dog", "red fox")))
        return tj.ViTConfig(**IMAGE).replace(id2label=names)
    if kind == "clip":
        text = dict(vocab_size=14, max_position_embeddings=16, eos_token_id=2, pad_token_id=0)
        towers = tj.CLIPTextConfig(**SIZES, **text), tj.CLIPVisionConfig(**IMAGE)
        return tj.CLIPConfig(text_config=towers[0], vision_config=towers[1], projection_dim=8)
    if kind == "blip":
        text = dict(vocab_size=14, max_position_embeddings=20, bos_token_id=1, sep_token_id=2)
        towers = tj.BlipTextConfig(**SIZES, **text), tj.BlipVisionConfig(**IMAGE)
        return tj.BlipConfig(text_config=towers[0], vision_config=towers[1])
    if kind == "described":
        options = dict(n_positions=20, n_embd=16, n_layer=1, n_head=2, add_cross_attention=True)
        decoder = tj.GPT2Config(vocab_size=14, **options)
        ends = dict(decoder_start_token_id=1, eos_token_id=2, pad_token_id=0)
        return tj.VisionEncoderDecoderConfig(encoder=tj.ViTConfig(**IMAGE), decoder=decoder, **ends)
    ids = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    if kind.startswith("blip_2"):
        text = tj.T5Config(
            vocab_size=14, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2,
            decoder_start_token_id=0, **ids,
        ) if kind == "blip_2_t5" else tj.OPTConfig(
            vocab_size=14, hidden_size=16, ffn_dim=24, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=32, word_embed_proj_dim=16, **ids,
        )  # fmt: skip
        towers = dict(
            vision_config=Blip2VisionConfig(**IMAGE), qformer_config=Blip2QFormerConfig(**SIZES)
        )
        return tj.Blip2Config(**towers, text_config=text, num_query_tokens=3, image_token_index=3)
    if kind == "paligemma":
        text = tj.GemmaConfig(**SIZES, vocab_size=14, num_key_value_heads=1, head_dim=8, **ids)
        vision = tj.SiglipVisionConfig(**IMAGE, vision_use_head=False)
        return tj.PaliGemmaConfig(
            vision_config=vision, text_config=text, image_token_index=3, **ids
        )
    if kind == "idefics":
        vision = IdeficsVisionConfig(**IMAGE)
        resampler = IdeficsPerceiverConfig(
            resampler_n_latents=3, resampler_depth=1, resampler_n_heads=2, resampler_head_dim=8
        )
        return tj.IdeficsConfig(
            **SIZES, vocab_size=14, vision_config=vision, perceiver_config=resampler,
            use_resampler=True, alpha_initializer="ones", **ids,
        )  # fmt: skip
    options = dict(vocab_size=14, num_key_value_heads=2, max_position_embeddings=32)
    return tj.LlavaConfig(
        vision_config=tj.CLIPVisionConfig(**IMAGE),
        text_config=tj.LlamaConfig(**SIZES, **options, eos_token_id=2, pad_token_id=0),
        image_token_index=3,
        vision_feature_layer=-1,
    )


HEADS = {"vit": "image_classification", "clip": "contrastive", "blip": "causal_lm",
         "described": "seq2seq_lm"}  # fmt: skip


def make_model(folder, kind):
    """Writes a model, its processor and, unless it is a ViT, its tokenizer."""
    model = tj.from_config(
        config_of(kind), head=HEADS.get(kind, "causal_lm"), key=jax.random.key(3)
    )
    if kind in SAYS_MORE:
        values, shaped = ravel_pytree(params(model))
        model = bind(model, shaped(0.4 * jax.random.normal(jax.random.key(4), values.shape)))
    tj.save_pretrained(model, folder)
    images = {**IMAGES, "image_processor_type": KINDS[kind], **MORE.get(kind, {})}
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    if kind in OWN:
        (folder / "processor_config.json").write_text(json.dumps(OWN[kind]))
    if kind != "vit":
        inner = tokenizers.models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token=".")
        tokenizer = tokenizers.Tokenizer(inner)
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        tokenizer.add_special_tokens(list(TOKENS))
        if kind not in ("llava", "paligemma", "idefics"):
            around = [("[CLS]", 1), ("[SEP]", 2)]
            tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
                single="[CLS] $A [SEP]", special_tokens=around
            )
        tokenizer.save(str(folder / "tokenizer.json"))
        said = {"tokenizer_class": "PreTrainedTokenizerFast", **SPECIAL}
        (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


def write_pictures(folder, count=5):
    """PNG files of different sizes, one in a folder below."""
    from PIL import Image

    (folder / "below").mkdir(parents=True)
    files = [folder / f"{n}.png" for n in range(count - 1)] + [folder / "below" / "last.png"]
    for n, file in enumerate(files):
        Image.fromarray(picture(20 + n, 31 - n, seed=n).transpose(1, 2, 0)).save(file)
    return sorted(files)


def pixels(count):
    """Pixel values of pictures."""
    return np.stack([picture(16, 16, seed=n) for n in range(count)]).astype(np.float32) / 255
