"""An encoder of audio and a decoder of text, of two families (Wang et al. 2021, Large-Scale Self-
and Semi-Supervised Learning for Speech Translation). Hugging Face model_type
"speech-encoder-decoder"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.encoder_decoder import EncoderDecoderConfig
from transformers_jax.models.output import Output
from transformers_jax.models.wav2vec2 import Wav2Vec2Config
from transformers_jax.models.wiring import Network

AUDIO = ("input_values", "input_features")


@dataclass(frozen=True, kw_only=True)
class SpeechEncoderDecoderConfig(EncoderDecoderConfig):
    """Two configs, each of a family of its own (or the content of its config.json). The encoder
    reads audio; the decoder attends to its states, or to the fewer ones of its adapter."""

    model_type = "speech-encoder-decoder"
    HEADS: ClassVar[Mapping[str, str]] = {"SpeechEncoderDecoderModel": "seq2seq_lm"}
    PADS_MASKED = False

    encoder: FamilyConfig = field(default_factory=Wav2Vec2Config)

    def build(self, head, execution, mask=None) -> Network:
        network = super().build(head, execution, mask)
        raw = network.towers["encoder"].embed.raw[0]
        if raw not in AUDIO:
            raise ValueError(
                f"encoder: {self.encoder.model_type} reads {raw}; an encoder of speech reads "
                f"{' or '.join(AUDIO)}, such as wav2vec2's, or is one of an encoder-decoder "
                "(model_type 'encoder-decoder')"
            )
        return SpeechNetwork(network.towers, network.head, shift=network.shift)


class SpeechNetwork(Network):
    """A network whose decoder attends to states that were projected; it gives those."""

    def _answer_of(self, outputs: Any, *arguments: Any, **show: Any) -> Output:
        out = super()._answer_of(outputs, *arguments, **show)
        if "encoder" not in outputs:  # a cache holds what was made of them
            return out
        states = self.states_of("encoder", outputs["encoder"])
        fields = dict(out) | {"encoder_last_hidden_state": states}
        return Output(**fields, loss_terms=out.loss_terms)
