"""The zoo: one file per family, named by Hugging Face's `model_type`, and found by that name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers_jax.hub.contents import other_weights
from transformers_jax.hub.download import resolve
from transformers_jax.json_files import read_json
from transformers_jax.models.config import FamilyConfig
from transformers_jax.spelling import nearest

FAMILIES = {
    "albert": "albert:AlbertConfig",
    "audio-spectrogram-transformer": "audio_spectrogram_transformer:ASTConfig",
    "bart": "bart:BartConfig",
    "beit": "beit:BeitConfig",
    "bert": "bert:BertConfig",
    "big_bird": "big_bird:BigBirdConfig",
    "bloom": "bloom:BloomConfig",
    "blip": "blip:BlipConfig",
    "blip_text_model": "blip:BlipTextConfig",
    "blip_vision_model": "blip:BlipVisionConfig",
    "blenderbot": "blenderbot:BlenderbotConfig",
    "blenderbot-small": "blenderbot_small:BlenderbotSmallConfig",
    "blip-2": "blip_2:Blip2Config",
    "blip_2_qformer": "blip_2:Blip2QFormerConfig",
    "camembert": "camembert:CamembertConfig",
    "codegen": "codegen:CodeGenConfig",
    "convnext": "convnext:ConvNextConfig",
    "convnextv2": "convnextv2:ConvNextV2Config",
    "deberta": "deberta:DebertaConfig",
    "decision_transformer": "decision_transformer:DecisionTransformerConfig",
    "deepseek_v3": "deepseek_v3:DeepseekV3Config",
    "deit": "deit:DeiTConfig",
    "deberta-v2": "deberta_v2:DebertaV2Config",
    "clip": "clip:CLIPConfig",
    "clip_text_model": "clip:CLIPTextConfig",
    "clip_vision_model": "clip:CLIPVisionConfig",
    "dinov2": "dinov2:Dinov2Config",
    "dinov2_with_registers": "dinov2_with_registers:Dinov2WithRegistersConfig",
    "dinov3_vit": "dinov3_vit:DINOv3ViTConfig",
    "distilbert": "distilbert:DistilBertConfig",
    "electra": "electra:ElectraConfig",
    "encoder-decoder": "encoder_decoder:EncoderDecoderConfig",
    "esm": "esm:EsmConfig",
    "falcon": "falcon:FalconConfig",
    "gemma": "gemma:GemmaConfig",
    "gemma2": "gemma2:Gemma2Config",
    "gemma3_text": "gemma3:Gemma3TextConfig",
    "gpt2": "gpt2:GPT2Config",
    "granite": "granite:GraniteConfig",
    "gpt_oss": "gpt_oss:GptOssConfig",
    "gpt_neo": "gpt_neo:GPTNeoConfig",
    "gpt_neox": "gpt_neox:GPTNeoXConfig",
    "gptj": "gptj:GPTJConfig",
    "hubert": "hubert:HubertConfig",
    "led": "led:LEDConfig",
    "idefics": "idefics:IdeficsConfig",
    "llama": "llama:LlamaConfig",
    "llava": "llava:LlavaConfig",
    "m2m_100": "m2m_100:M2M100Config",
    "marian": "marian:MarianConfig",
    "mbart": "mbart:MBartConfig",
    "mistral": "mistral:MistralConfig",
    "olmo2": "olmo2:Olmo2Config",
    "openai-gpt": "openai_gpt:OpenAIGPTConfig",
    "opt": "opt:OPTConfig",
    "paligemma": "paligemma:PaliGemmaConfig",
    "pegasus": "pegasus:PegasusConfig",
    "perceiver": "perceiver:PerceiverConfig",
    "phi3": "phi3:Phi3Config",
    "qwen2": "qwen2:Qwen2Config",
    "phi": "phi:PhiConfig",
    "longformer": "longformer:LongformerConfig",
    "modernbert": "modernbert:ModernBertConfig",
    "mixtral": "mixtral:MixtralConfig",
    "mpnet": "mpnet:MPNetConfig",
    "nomic_bert": "nomic_bert:NomicBertConfig",
    "qwen3": "qwen3:Qwen3Config",
    "qwen2_moe": "qwen2_moe:Qwen2MoeConfig",
    "qwen3_moe": "qwen3_moe:Qwen3MoeConfig",
    "resnet": "resnet:ResNetConfig",
    "roberta": "roberta:RobertaConfig",
    "roformer": "roformer:RoFormerConfig",
    "siglip": "siglip:SiglipConfig",
    "siglip_text_model": "siglip:SiglipTextConfig",
    "siglip_vision_model": "siglip:SiglipVisionConfig",
    "siglip2": "siglip2:Siglip2Config",
    "siglip2_text_model": "siglip2:Siglip2TextConfig",
    "siglip2_vision_model": "siglip2:Siglip2VisionConfig",
    "mt5": "mt5:MT5Config",
    "longt5": "longt5:LongT5Config",
    "smollm3": "smollm3:SmolLM3Config",
    "speech-encoder-decoder": "speech_encoder_decoder:SpeechEncoderDecoderConfig",
    "stablelm": "stablelm:StableLmConfig",
    "starcoder2": "starcoder2:Starcoder2Config",
    "switch_transformers": "switch_transformers:SwitchTransformersConfig",
    "swin": "swin:SwinConfig",
    "swinv2": "swinv2:Swinv2Config",
    "t5": "t5:T5Config",
    "umt5": "umt5:UMT5Config",
    "vision-encoder-decoder": "vision_encoder_decoder:VisionEncoderDecoderConfig",
    "vision-text-dual-encoder": "vision_text_dual_encoder:VisionTextDualEncoderConfig",
    "vit": "vit:ViTConfig",
    "vit_mae": "vit_mae:ViTMAEConfig",
    "wav2vec2": "wav2vec2:Wav2Vec2Config",
    "whisper": "whisper:WhisperConfig",
    "xglm": "xglm:XGLMConfig",
    "xlm-roberta": "xlm_roberta:XLMRobertaConfig",
    "xlm-roberta-xl": "xlm_roberta_xl:XLMRobertaXLConfig",
}
MODULES = {
    "RecurrentTranslator": "recurrent:RecurrentConfig",
    "Translator": "torch_modules:TransformerConfig",
    "torch.nn.Transformer": "torch_modules:TorchTransformerConfig",
    "torch.nn.MultiheadAttention": "torch_attention:TorchAttentionConfig",
    "torch_geometric.nn.GAT": "gat:GatConfig",
    "torch_geometric.nn.GATConv": "gat:GatConvConfig",
    "torch_geometric.nn.GATv2Conv": "gat:GatV2ConvConfig",
    "torch_geometric.nn.TransformerConv": "graph_transformer:TransformerConvConfig",
    "GraphTransformer": "graph_transformer:GraphTransformerConfig",
}

DIFFUSERS = {"DiTTransformer2DModel": "dit:DiTConfig"}
"""Models of diffusers, by the `_class_name` of their files."""

OF_DIFFUSERS = {("Transformer2DModel", "ada_norm_zero"): "DiTTransformer2DModel"}
"""What diffusers called them until 2024, by the class and the `norm_type`."""

TIMM = {
    "mixer_": "timm_mixer:TimmMixerConfig",
    "vit_": "timm_vit:TimmViTConfig",
}
"""Files of timm, by how the name of their architecture begins."""

SWITCHED = {"esm": ("is_folding_model", "esmfold:EsmFoldingConfig")}
"""Families of which a key of the config, where it is true, makes another class."""

Reader = str | type[FamilyConfig] | None
"""What says a config's family beside the file: the name of a class of Hugging Face's (as in
`head=`), or the config class that reads it."""


def config_class(values: Mapping[str, Any], reader: Reader = None) -> type[FamilyConfig]:
    """The config class of a config.json's content, by its `model_type` or its `module`; in files of
    2019, which have neither, by the class in its `architectures`, or else by its `reader`.

    Raises:
        ValueError: none is named, or an unknown family; up to three that are spelled alike and all
            supported ones are named.
    """
    architecture = values.get("architecture")
    if architecture is not None and not values.keys() & {"model_type", "module"}:
        return timm_class(str(architecture))
    known, key = (FAMILIES, "model_type") if "module" not in values else (MODULES, "module")
    if "_class_name" in values and not values.keys() & {"model_type", "module"}:
        known, key = DIFFUSERS, "_class_name"
    family = values.get(key)
    family = OF_DIFFUSERS.get((str(family), str(values.get("norm_type"))), family)
    if family is None:
        family = family_of(values.get("architectures") or (), reader)
    name = str(family)
    if name not in known:
        problem = f"{key} {name!r} is not supported{nearest(name, known, most=3)}"
        if family is None:
            classes = ", ".join(map(str, values.get("architectures") or ())) or "none"
            problem = (
                f"the config names no model_type and no class of a known family (architectures: "
                f"{classes}), so that its family is unknown; say which it is by a class of the "
                "family, as in tj.from_pretrained(path, head='BertForMaskedLM') or "
                "tj.BertConfig.from_pretrained(path)"
            )
        raise ValueError(
            f"{problem}; supported are {', '.join(sorted(FAMILIES))} and the modules "
            f"{', '.join(MODULES)}"
        )
    switch, address = SWITCHED.get(name, ("", ""))
    return import_class(address if values.get(switch) else known[name])


def timm_class(architecture: str) -> type[FamilyConfig]:
    """The config class of an architecture of timm.

    Raises:
        ValueError: one that is not supported.
    """
    for start, address in TIMM.items():
        if architecture.startswith(start):
            return import_class(address)
    raise ValueError(
        f"architecture {architecture!r} of timm is not supported; supported are those whose names "
        f"begin with {' or '.join(map(repr, TIMM))}"
    )


def import_class(address: str) -> type[FamilyConfig]:
    """The config class at "file:class"."""
    file, attribute = address.split(":")
    return getattr(importlib.import_module(f"transformers_jax.models.{file}"), attribute)


def family_of(classes: Iterable[Any], reader: Reader = None) -> str | None:
    """The one family to which Hugging Face's classes of these names belong, or the reader's."""
    every = {name: import_class(address) for name, address in FAMILIES.items()}

    def families(names: Iterable[Any]) -> set[str]:
        return {family for family, cls in every.items() if any(n in cls.HEADS for n in names)}

    candidates = families(classes)
    if not candidates and isinstance(reader, str):
        candidates = families((reader,))
    if not candidates and isinstance(reader, type):
        candidates = {family for family, cls in every.items() if cls is reader}
    return candidates.pop() if len(candidates) == 1 else None


def families_with(head: str) -> list[str]:
    """The names of the families that have a head, such as "contrastive"."""
    every = ((name, import_class(address)) for name, address in sorted(FAMILIES.items()))
    return [name for name, family in every if head in family.HEADS.values()]


def load_config(
    config: FamilyConfig | Mapping[str, Any] | str | Path,
    *,
    ignore: Iterable[str] = (),
    reader: Reader = None,
    **hub: Any,
) -> FamilyConfig:
    """The config of a family: of a config, of the content of a config.json, or of a directory;
    `reader` says the family of a file that does not (`config_class`).

    Raises:
        ValueError: an unknown family, unknown keys, or values that are not implemented.
    """
    if isinstance(config, FamilyConfig):
        return config.part(reader)
    if not isinstance(config, Mapping):
        path = resolve(config, **hub)
        file = path if path.suffix == ".json" else path / "config.json"
        if path.is_dir() and not file.exists() and (what := other_weights(path)):
            raise ValueError(what)
        config = read_json(file, advice="a model's directory holds a config.json")
    return config_class(config, reader).from_dict(config, ignore=ignore).part(reader)
