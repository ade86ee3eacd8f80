"""The zoo: one file per family, named by Hugging Face's `model_type`, and found by that name."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers_jax.hub.download import resolve
from transformers_jax.models.config import FamilyConfig
from transformers_jax.spelling import nearest

FAMILIES = {
    "albert": "albert:AlbertConfig",
    "bart": "bart:BartConfig",
    "bert": "bert:BertConfig",
    "big_bird": "big_bird:BigBirdConfig",
    "blenderbot": "blenderbot:BlenderbotConfig",
    "blenderbot-small": "blenderbot_small:BlenderbotSmallConfig",
    "camembert": "camembert:CamembertConfig",
    "deberta": "deberta:DebertaConfig",
    "deberta-v2": "deberta_v2:DebertaV2Config",
    "distilbert": "distilbert:DistilBertConfig",
    "electra": "electra:ElectraConfig",
    "encoder-decoder": "encoder_decoder:EncoderDecoderConfig",
    "gpt2": "gpt2:GPT2Config",
    "led": "led:LEDConfig",
    "llama": "llama:LlamaConfig",
    "m2m_100": "m2m_100:M2M100Config",
    "marian": "marian:MarianConfig",
    "mbart": "mbart:MBartConfig",
    "pegasus": "pegasus:PegasusConfig",
    "longformer": "longformer:LongformerConfig",
    "modernbert": "modernbert:ModernBertConfig",
    "mpnet": "mpnet:MPNetConfig",
    "nomic_bert": "nomic_bert:NomicBertConfig",
    "roberta": "roberta:RobertaConfig",
    "roformer": "roformer:RoFormerConfig",
    "mt5": "mt5:MT5Config",
    "longt5": "longt5:LongT5Config",
    "switch_transformers": "switch_transformers:SwitchTransformersConfig",
    "t5": "t5:T5Config",
    "umt5": "umt5:UMT5Config",
    "xlm-roberta": "xlm_roberta:XLMRobertaConfig",
    "xlm-roberta-xl": "xlm_roberta_xl:XLMRobertaXLConfig",
}
MODULES = {
    "RecurrentTranslator": "recurrent:RecurrentConfig",
    "Translator": "torch_modules:TransformerConfig",
    "torch.nn.Transformer": "torch_modules:TorchTransformerConfig",
    "torch.nn.MultiheadAttention": "torch_attention:TorchAttentionConfig",
}


def config_class(values: Mapping[str, Any]) -> type[FamilyConfig]:
    """The config class of a config.json's content, by its `model_type` or its `module`.

    Raises:
        ValueError: none is named, or an unknown family; up to three that are spelled alike and all
            supported ones are named.
    """
    known, key = (FAMILIES, "model_type") if "module" not in values else (MODULES, "module")
    name = str(values.get(key))
    if name not in known:
        what = f"{key} {name!r} is not supported{nearest(name, known, most=3)}"
        if values.get(key) is None:
            what = f"the config names no {key}, so that its family is unknown"
        raise ValueError(
            f"{what}; supported are {', '.join(sorted(FAMILIES))} and the modules "
            f"{', '.join(MODULES)}"
        )
    file, attribute = known[name].split(":")
    return getattr(importlib.import_module(f"transformers_jax.models.{file}"), attribute)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: the file is missing or is not a JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{path} does not exist; a model's directory holds a config.json"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}, not a JSON object")
    return values


def load_config(
    config: FamilyConfig | Mapping[str, Any] | str | Path,
    *,
    ignore: Iterable[str] = (),
    **hub: Any,
) -> FamilyConfig:
    """The config of a family: given as such, as the content of config.json, or as a directory.

    Raises:
        ValueError: an unknown family, unknown keys, or values that are not implemented.
    """
    if isinstance(config, FamilyConfig):
        return config
    if not isinstance(config, Mapping):
        path = resolve(config, **hub)
        config = read_json(path if path.suffix == ".json" else path / "config.json")
    return config_class(config).from_dict(config, ignore=ignore)
