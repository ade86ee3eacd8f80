"""Hugging Face's Auto classes: `from_pretrained` and `from_config` with a head chosen by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, overload

from transformers_jax.arrays import Key
from transformers_jax.models import load_config
from transformers_jax.models.base import Model, Plan, functional
from transformers_jax.models.config import HUB, FamilyConfig
from transformers_jax.models.encoder_decoder import READER, WRITER, EncoderDecoderConfig
from transformers_jax.models.vision_encoder_decoder import VisionEncoderDecoderConfig
from transformers_jax.models.vision_text_dual_encoder import VisionTextDualEncoderConfig
from transformers_jax.nn.param import bind, draw, flatten, params, unflatten
from transformers_jax.pretrained import Loaded, from_config, from_pretrained


class AutoConfig:
    """`AutoConfig.from_pretrained(path)`: the config of any family."""

    @staticmethod
    def from_pretrained(
        path: str | Path,
        *,
        ignore: Iterable[str] = (),
        family: type[FamilyConfig] = FamilyConfig,
        **options: Any,
    ) -> Any:
        """The config of a directory or a hub id; fields may be changed by name (`num_labels=3`).

        Raises:
            ValueError: what the directory holds is of another family than `family`; see
                `FamilyConfig.from_dict`.
        """
        hub = {name: options.pop(name) for name in HUB if name in options}
        config = load_config(path, ignore=ignore, reader=family, **hub)
        if family not in (FamilyConfig, type(config)):
            raise ValueError(
                f"{path} is of {config.model_type}, not {family.model_type}; "
                "tj.AutoConfig reads any"
            )
        return config.replace(**options)


class Auto:
    """`AutoModelForMaskedLM.from_pretrained(x)` is `from_pretrained(x, head="masked_lm")`.

    Args:
        heads: of which the first that a family has is taken.
        own: whether the head that the config names goes before it, where it is one of them.
    """

    def __init__(self, *heads: str, own: bool = False):
        self.heads, self.own = heads, own

    @overload
    def from_pretrained(
        self, path: str | Path, *, return_report: Literal[True], **options: Any
    ) -> Loaded: ...
    @overload
    def from_pretrained(
        self, path: str | Path, *, return_report: Literal[False] = False, **options: Any
    ) -> Model: ...
    def from_pretrained(self, path: str | Path, **options: Any) -> Model | Loaded:
        """See `transformers_jax.from_pretrained`."""
        hub = {name: options[name] for name in HUB if name in options}
        config = load_config(path, ignore=options.get("ignore", ()), **hub)
        return from_pretrained(path, head=self._head(config, options), **options)

    def from_config(self, config: Any, **options: Any) -> Model:
        """See `transformers_jax.from_config`."""
        config = load_config(config, ignore=options.get("ignore", ()))
        return from_config(config, head=self._head(config, options), **options)

    def _head(self, config: FamilyConfig, options: Mapping[str, Any]) -> str:
        if "head" in options:
            raise TypeError(
                f"head={options['head']!r} of a class that implies its head: leave it out, or call "
                "tj.from_pretrained (tj.from_config)"
            )
        available = set(config.HEADS.values())
        named = config.HEADS.get((config.architectures or ("",))[0])
        if self.own and named in self.heads:
            return named
        if heads := [head for head in self.heads if head in available]:
            return heads[0]
        raise ValueError(
            f"{config.model_type} has no head {self.heads[0]!r}; "
            f"it has {', '.join(sorted(available))}"
        )


AutoBackbone = Auto("backbone")
AutoModel = Auto("none", "contrastive", "trajectory")
AutoModelForCausalLM = Auto("causal_lm")
AutoModelForMaskedLM = Auto("masked_lm")
AutoModelForSeq2SeqLM = Auto("seq2seq_lm")
AutoModelForPreTraining = Auto(
    "pretraining", "replaced_token", "causal_lm", "seq2seq_lm", "masked_lm"
)
AutoModelForNextSentencePrediction = Auto("next_sentence")
AutoModelForSequenceClassification = Auto("sequence_classification")
AutoModelForTokenClassification = Auto("token_classification")
AutoModelForMultipleChoice = Auto("multiple_choice")
AutoModelForQuestionAnswering = Auto("question_answering")
AutoModelForTextEncoding = Auto("encoder", "none")
AutoModelForImageClassification = Auto(
    "image_classification", "image_classification_with_teacher", own=True
)
AutoModelForImageTextToText = Auto("causal_lm")
AutoModelForCTC = Auto("ctc")
AutoModelForAudioClassification = Auto("audio_classification", "sequence_classification")
AutoModelForAudioFrameClassification = Auto("audio_frame_classification")
AutoModelForAudioXVector = Auto("xvector")
AutoModelForMaskedImageModeling = Auto("masked_image_modeling")
AutoModelForSemanticSegmentation = Auto("semantic_segmentation")
AutoModelForSpeechSeq2Seq = Auto("seq2seq_lm")
AutoModelForImageTextRetrieval = Auto("image_text_retrieval")
AutoModelForVision2Seq = Auto("seq2seq_lm")
AutoModelForZeroShotImageClassification = Auto("contrastive")


class EncoderDecoderModel:
    """Encoder-decoders made of two families."""

    from_pretrained = staticmethod(from_pretrained)
    from_config = staticmethod(from_config)
    config: type[EncoderDecoderConfig] = EncoderDecoderConfig

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder: str | Path,
        decoder: str | Path,
        *,
        key: Key,
        dtype: str = "float32",
        **fields: Any,
    ) -> Model:
        """A model begun from two checkpoints (Rothe et al. 2020): the cross-attention,
        which the second lacks, is drawn from `key`.

        Args:
            fields: of the `EncoderDecoderConfig`, such as `decoder_start_token_id` and
                `pad_token_id`, which training needs.

        Raises:
            ValueError: a decoder that lacks more than cross-attention, or a family without it.
        """
        reader = from_pretrained(encoder, head="none", key=key, dtype=dtype)
        decoding: dict[str, Any] = dict(is_decoder=True, add_cross_attention=True)
        loose: dict[str, Any] = dict(strict=False, return_report=True, **decoding)
        writer = from_pretrained(decoder, head="causal_lm", key=key, dtype=dtype, **loose)
        lacks = [path for path in writer.initialised if ".cross" not in path]
        if lacks or writer.report.unexpected or writer.report.misshaped:
            raise ValueError(
                f"{decoder} does not fit a decoder: {', '.join(lacks) or 'nothing'} would have to "
                f"be drawn\n{writer.report}"
            )
        config = cls.config(encoder=reader.config, decoder=writer.model.config, **fields)
        sides = ((reader, READER), (writer.model, WRITER))
        return _joined(Plan(config, "seq2seq_lm", reader.execution).build(), sides, key, dtype)


class VisionEncoderDecoderModel(EncoderDecoderModel):
    """The same with an encoder of images."""

    config = VisionEncoderDecoderConfig


class VisionTextDualEncoderModel:
    """Dual encoders made of two families."""

    from_pretrained = staticmethod(from_pretrained)
    from_config = staticmethod(from_config)

    @staticmethod
    def from_vision_text_pretrained(
        vision: str | Path, text: str | Path, *, key: Key, dtype: str = "float32", **fields: Any
    ) -> Model:
        """A model begun from two checkpoints (Zhai et al. 2021, "LiT"): the projections are drawn
        from `key`.

        Args:
            fields: of the `VisionTextDualEncoderConfig`, such as `projection_dim`.

        Raises:
            ValueError: a family that makes no vector of an image, or of a text.
        """
        parts = {"vision": vision, "text": text}
        heads = {name: _tower_of(path, name) for name, path in parts.items()}
        towers = {
            name: from_pretrained(path, head=heads[name], key=key, dtype=dtype)
            for name, path in parts.items()
        }
        configs: dict[str, Any] = {f"{name}_config": tower.config for name, tower in towers.items()}
        config = VisionTextDualEncoderConfig(**configs, **fields)
        sides = tuple(
            (tower, {"embed": f"{name}_embed", "stack": name, "pooler": f"{name}_pooler"})
            for name, tower in towers.items()
        )
        execution = towers["vision"].execution
        return _joined(Plan(config, "contrastive", execution).build(), sides, key, dtype)


def _tower_of(path: str | Path, name: str) -> str:
    """The head that means the tower of a file: of a file of both towers, the class of its own."""
    config = load_config(path)
    inner = getattr(config, f"{name}_config", None)
    return "none" if inner is None else next(n for n, h in inner.HEADS.items() if h == "none")


def _joined(
    model: Any, sides: Iterable[tuple[Any, Mapping[str, str]]], key: Key, dtype: str
) -> Model:
    """A model with the parameters of others, each with the names of its parts in the whole; what
    none of them has is drawn."""
    parts = {ours[n]: x for side, ours in sides for n, x in functional(side)[1].items()}
    values = flatten(parts)
    for path in flatten(params(model)).keys() - values.keys():  # such as the bridge of two widths
        values[path] = draw(model, path, key, dtype=dtype)
    return bind(model, unflatten(values))
