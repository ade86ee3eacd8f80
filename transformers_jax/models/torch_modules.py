"""The 2017 Transformer (Vaswani et al.), and checkpoints of torch's own modules.

Post-norm (or pre-norm) encoder and decoder with sinusoidal positions and one embedding for source,
target and output. The weight names are those of `torch.nn.Transformer`, because people bring
checkpoints from their own PyTorch code; `config["module"]` says which module a directory holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from transformers_jax import spec
from transformers_jax.arrays import Array, is_traced
from transformers_jax.graph import CAUSAL, FULL, Dense, Mask, sequence, with_own
from transformers_jax.hub.table import Table, rows, slots
from transformers_jax.models.base import Model
from transformers_jax.models.masks import by_stack
from transformers_jax.models.output import Output
from transformers_jax.models.shared.blocks import BIASES, attention, block
from transformers_jax.models.shared.weight_rows import behind, feed_forward, norm
from transformers_jax.models.torch_attention import (
    ModuleConfig,
    check_mask,
    check_vectors,
    packed,
    read_masks,
)
from transformers_jax.models.wiring import Network, ShiftRight, Tower
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.head import LanguageModel
from transformers_jax.nn.noise import split_key
from transformers_jax.nn.operation import Source
from transformers_jax.nn.sinusoidal import Sinusoids
from transformers_jax.nn.stack import Stack

# ---------------------------------------------------------------- the configs


@dataclass(frozen=True, kw_only=True)
class TorchTransformerConfig(ModuleConfig):
    """The arguments of `torch.nn.Transformer`."""

    model_type = "torch.nn.Transformer"
    module = "torch.nn.Transformer"
    is_encoder_decoder = True
    HEADS = {"torch.nn.Transformer": "none"}

    d_model: int = 512
    nhead: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    dim_feedforward: int = 2048
    dropout: float = 0.1
    activation: str = "relu"
    layer_norm_eps: float = 1e-5
    norm_first: bool = False
    batch_first: bool = False
    bias: bool = True

    def spec(self, decoder: bool, own: Mask, cross: Mask) -> spec.StackSpec:
        """Blocks of (self, cross, ffn) or (self, ffn), each branch normalised before or after."""
        norm = spec.LayerNorm(self.layer_norm_eps, shift=self.bias)
        attend = attention(self, "d_model", "nhead", own)
        attend = replace(attend, bias=BIASES if self.bias else (), dropout=self.dropout)
        ffn = FeedForwardSpec(
            self.dim_feedforward, self.activation, bias=self.bias, dropout=self.dropout
        )
        placement: Literal["pre", "post"] = "pre" if self.norm_first else "post"
        other = cross if decoder else None
        one = block(attend, ffn, norm, placement, self.dropout, other)
        blocks = (one,) * (self.num_decoder_layers if decoder else self.num_encoder_layers)
        return spec.StackSpec(self.d_model, blocks, norm, initial=spec.InitialXavier())

    def build(self, head, execution, mask=None) -> Model:
        stacks = (
            Stack(self.spec(False, Dense("src_mask"), FULL), execution),
            Stack(self.spec(True, Dense("tgt_mask"), Dense("memory_mask")), execution),
        )
        return TorchTransformer(*stacks, self.batch_first)

    def table(self, head) -> Table:
        return Table(slots(self.backbone()))

    def backbone(self) -> str:
        """The rows of both stacks."""
        text = ""
        for side, last in (("encoder", 2), ("decoder", 3)):
            theirs, ours = f"{side}.layers.{{i}}", f"{side}.blocks.{{slot}}"
            text += packed(f"{theirs}.self_attn", f"{ours}.self", self.bias)
            text += norm(f"{theirs}.norm1", f"{ours}.self_norm", self.bias)
            if side == "decoder":
                text += packed(f"{theirs}.multihead_attn", f"{ours}.cross", self.bias)
                text += norm(f"{theirs}.norm2", f"{ours}.cross_norm", self.bias)
            text += feed_forward(theirs, f"{ours}.ffn", "linear1 linear2", self.bias)
            text += norm(f"{theirs}.norm{last}", f"{ours}.ffn_norm", self.bias)
            text += norm(f"{side}.norm", f"{side}.norm", self.bias)
        return text


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(TorchTransformerConfig):
    """The 2017 Transformer; defaults are the paper's base model (65M with 37000 tokens)."""

    model_type = "transformer"
    module = "Translator"
    HEADS = {"Translator": "seq2seq_lm"}

    vocab_size: int = 37000
    max_position_embeddings: int | None = None
    batch_first: bool = True
    pad_token_id: int | None = 0
    decoder_start_token_id: int | None = 1

    @property
    def stated_positions(self):
        return self.max_position_embeddings

    def build(self, head, execution, mask=None) -> Translator:
        masks, initial = by_stack(mask), spec.InitialXavier()
        encoder = self.spec(False, with_own(masks.get("encoder"), FULL), FULL)
        own, cross = with_own(masks.get("decoder"), CAUSAL), with_own(masks.get("cross"), FULL)
        embed = EmbedSpec(
            vocab=self.vocab_size,
            width=self.d_model,
            positions=Sinusoids(),
            scale=self.d_model**0.5,
            dropout=self.dropout,
            initial=initial,
        )
        embedder = TokenEmbedder(embed)
        towers = {
            "encoder": Tower(embedder, Stack(encoder, execution)),
            "decoder": Tower(
                embedder,
                Stack(self.spec(True, own, cross), execution),
                source="encoder",
                prefix="decoder_",
            ),
        }
        head = LanguageModel(self.vocab_size, self.d_model, initial, tied=True, shift=False)
        shift = ShiftRight(self.decoder_start_token_id, self.pad_token_id)
        return Translator(towers, head, shift=shift)

    def table(self, head) -> Table:
        words = rows("embedding.weight | embed.table")
        return Table((*words, *behind("transformer.", slots(self.backbone()))))


# ---------------------------------------------------------------- the models


class Translates(Model):
    """A translator that takes `source_ids`, `source_mask` and `target_ids` as well."""

    ALIASES: ClassVar[Mapping[str, str]] = {
        "source_ids": "input_ids",
        "source_mask": "attention_mask",
        "target_ids": "decoder_input_ids",
    }

    def __call__(self, *positional: Any, **inputs: Any) -> Output:
        named = {self.ALIASES.get(name, name): value for name, value in inputs.items()}
        return super().__call__(*positional, **named)

    def translate(self, source_ids, source_mask=None, *, start: int, tokens: int) -> Array:
        """Greedy, without a stop: Int[B 1+tokens], the start token included."""
        return self.generate(
            input_ids=source_ids,
            attention_mask=source_mask,
            decoder_start_token_id=start,
            max_new_tokens=tokens,
            eos_token_id=None,
            fixed_width=True,
        )


class Translator(Translates, Network):
    """The 2017 Transformer over ids."""


class TorchTransformer(Model):
    """`torch.nn.Transformer`: vectors in, vectors out; masks are True where there is no edge."""

    is_encoder_decoder = True

    def __init__(self, encoder: Stack, decoder: Stack, batch_first: bool):
        self.encoder, self.decoder, self.batch_first = encoder, decoder, batch_first

    def applied_to(self):
        return {"encoder": "source", "decoder": "target"}

    def forward(
        self,
        src,
        tgt,
        src_mask=None,
        tgt_mask=None,
        memory_mask=None,
        src_key_padding_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        src_is_causal=False,
        tgt_is_causal=False,
        memory_is_causal=False,
        key=None,
    ) -> Output:
        src, tgt = (x if self.batch_first else jnp.swapaxes(x, 0, 1) for x in (src, tgt))
        config: Any = self.config
        S, T, heads = src.shape[1], tgt.shape[1], config.nhead
        keys = split_key(key, 2)
        edges, valid, score = read_masks(src_mask, src_key_padding_mask, S, S, heads)
        memory = self.encoder(
            src.astype(self.dtype),
            sequence(S, valid=valid),
            pairs={"src_mask": edges},
            scores={"self": score},
            key=keys[0],
        ).x
        own, valid, own_score = read_masks(tgt_mask, tgt_key_padding_mask, T, T, heads)
        cross, source_valid, score = read_masks(memory_mask, memory_key_padding_mask, T, S, heads)
        output = self.decoder(
            tgt.astype(self.dtype),
            sequence(T, valid=valid),
            pairs={"tgt_mask": own, "memory_mask": cross},
            sources={"encoder": Source(memory, sequence(S, valid=source_valid))},
            scores={"self": own_score, "encoder": score},
            key=keys[1],
        ).x
        if not self.batch_first:
            memory, output = jnp.swapaxes(memory, 0, 1), jnp.swapaxes(output, 0, 1)
        return Output(memory=memory, output=output)

    def check(self, inputs: Mapping[str, Any], method: str = "forward") -> None:
        config: Any = self.config
        widths = dict.fromkeys(("src", "tgt"), config.d_model)
        B, (S, T) = check_vectors(inputs, widths, self.batch_first)
        squares = {"src_mask": (S, S), "tgt_mask": (T, T), "memory_mask": (T, S)}
        paddings = {"src_": (B, S), "tgt_": (B, T), "memory_": (B, S)}
        for name, shape in squares.items():
            if name in inputs:
                check_mask(name, inputs[name], (shape, (B * config.nhead, *shape)))
                continue
            hint = name.replace("mask", "is_causal")
            value = inputs.get(hint)
            if is_traced(value) or value:  # a traced value may be True
                raise ValueError(f"{hint} is a hint about {name}: give it")
        for prefix, shape in paddings.items():
            name = f"{prefix}key_padding_mask"
            if name in inputs:
                check_mask(name, inputs[name], (shape,))
