"""One attention module, parameterised by its mask: encoders, decoders and encoder-decoders in JAX.

    import transformers_jax as tj
    model = tj.from_pretrained("path or hub id")
    out = model(input_ids=ids, attention_mask=mask)

Every name below is imported when it is first used: importing the package starts no backend, reads
no file and touches no network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "pretrained": "from_config from_pretrained save_pretrained",
    "auto": """AutoConfig AutoModel AutoModelForCausalLM AutoModelForMaskedLM AutoModelForSeq2SeqLM
        AutoModelForPreTraining AutoModelForNextSentencePrediction
        AutoModelForSequenceClassification AutoModelForTokenClassification
        AutoModelForMultipleChoice AutoModelForQuestionAnswering AutoModelForTextEncoding
        EncoderDecoderModel""",
    "models.base": "Model functional init_cache",
    "models.output": "Output",
    "models.albert": "AlbertConfig",
    "models.bart": "BartConfig",
    "models.bert": "BertConfig",
    "models.big_bird": "BigBirdConfig",
    "models.blenderbot": "BlenderbotConfig",
    "models.blenderbot_small": "BlenderbotSmallConfig",
    "models.camembert": "CamembertConfig",
    "models.deberta": "DebertaConfig",
    "models.deberta_v2": "DebertaV2Config",
    "models.distilbert": "DistilBertConfig",
    "models.electra": "ElectraConfig",
    "models.encoder_decoder": "EncoderDecoderConfig",
    "models.gpt2": "GPT2Config",
    "models.llama": "LlamaConfig",
    "models.m2m_100": "M2M100Config",
    "models.marian": "MarianConfig",
    "models.mbart": "MBartConfig",
    "models.longformer": "LongformerConfig",
    "models.modernbert": "ModernBertConfig",
    "models.pegasus": "PegasusConfig",
    "models.mpnet": "MPNetConfig",
    "models.recurrent": "RecurrentConfig",
    "models.roberta": "RobertaConfig",
    "models.roformer": "RoFormerConfig",
    "models.mt5": "MT5Config",
    "models.longt5": "LongT5Config",
    "models.switch_transformers": "SwitchTransformersConfig",
    "models.t5": "T5Config",
    "models.umt5": "UMT5Config",
    "models.xlm_roberta": "XLMRobertaConfig",
    "models.xlm_roberta_xl": "XLMRobertaXLConfig",
    "models.torch_modules": "TransformerConfig",
    "nn.param": "bind initialise",
    "nn.attention": "Attention",
    "nn.attend": "attend",
    "spec": "AttentionSpec",
    "graph": """CAUSAL FULL OWN Before Block Dense Edges Full Mask Near Nodes Same Scattered
        Strided Where connect sequence""",
    "shard": "make_mesh",
    "generation": "generate",
    "optim": "AdamW",
    "objectives": "causal_lm supervised",
    "objectives.pairs": "contrastive matryoshka",
    "embedding.encode": "encode similarity",
    "embedding.features": "features",
    "scoring": "score",
    "resize": "resize_embeddings",
    "data.config": "Data",
    "data.tokenizers": "load_tokenizer",
    "training.config": "TrainConfig",
    "training.fit": "fit",
    "training.state": "TrainState init_state make_step",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)

if TYPE_CHECKING:
    from transformers_jax.generation import generate as generate
    from transformers_jax.graph import (
        CAUSAL as CAUSAL,
    )
    from transformers_jax.graph import (
        FULL as FULL,
    )
    from transformers_jax.graph import (
        OWN as OWN,
    )
    from transformers_jax.graph import (
        Before as Before,
    )
    from transformers_jax.graph import (
        Block as Block,
    )
    from transformers_jax.graph import (
        Dense as Dense,
    )
    from transformers_jax.graph import (
        Edges as Edges,
    )
    from transformers_jax.graph import (
        Full as Full,
    )
    from transformers_jax.graph import (
        Mask as Mask,
    )
    from transformers_jax.graph import (
        Near as Near,
    )
    from transformers_jax.graph import (
        Nodes as Nodes,
    )
    from transformers_jax.graph import (
        Same as Same,
    )
    from transformers_jax.graph import (
        Scattered as Scattered,
    )
    from transformers_jax.graph import (
        Strided as Strided,
    )
    from transformers_jax.graph import (
        Where as Where,
    )
    from transformers_jax.graph import (
        connect as connect,
    )
    from transformers_jax.graph import (
        sequence as sequence,
    )
    from transformers_jax.models.base import Model as Model
    from transformers_jax.models.base import functional as functional
    from transformers_jax.models.output import Output as Output
    from transformers_jax.pretrained import (
        from_config as from_config,
    )
    from transformers_jax.pretrained import (
        from_pretrained as from_pretrained,
    )
    from transformers_jax.pretrained import (
        save_pretrained as save_pretrained,
    )


_OTHERWISE = {  # what Hugging Face's package has, and how it is said here
    "AutoTokenizer": "tj.load_tokenizer(path) reads a tokenizer",
    "Trainer": "tj.make_step makes the step of a loop of yours, and tj.fit runs pretraining",
    "TrainingArguments": "tj.TrainConfig has the settings of tj.fit",
    "pipeline": "load a model with tj.from_pretrained and a tokenizer with tj.load_tokenizer",
}


def _hint(name: str) -> str:
    from transformers_jax.spelling import nearest

    if name in _OTHERWISE:
        return f"; {_OTHERWISE[name]}"
    if name.endswith(("Tokenizer", "TokenizerFast")):
        return f"; {_OTHERWISE['AutoTokenizer']}"
    if not name.startswith("Auto") and ("For" in name or name.endswith("Model")):
        return f"; a class is the name of a head: tj.from_pretrained(path, head={name!r})"
    return nearest(name, __all__)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        hint = "" if name.startswith("_") else _hint(name)
        raise AttributeError(f"module 'transformers_jax' has no attribute {name!r}{hint}")
    value = getattr(importlib.import_module(f"transformers_jax.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
