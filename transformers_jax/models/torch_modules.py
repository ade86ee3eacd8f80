"""The 2017 Transformer (Vaswani et al.), and checkpoints of torch's own modules.

Post-norm (or pre-norm) encoder and decoder with sinusoidal positions and one embedding for source,
target and output. The weight names are those of `torch.nn.Transformer`, because people bring
checkpoints from their own PyTorch code; `config["module"]` says which module a directory holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.arrays import Array, Float
from transformers_jax.graph import CAUSAL, FULL, Dense, Mask, connect, sequence
from transformers_jax.hub.table import Table, rows, slots
from transformers_jax.models.base import Model
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.output import Output
from transformers_jax.models.rows import HEADS_IN, HEADS_OUT, dense, norm
from transformers_jax.models.wiring import Seq2Seq, split_key
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.attention import Attention
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
from transformers_jax.nn.head import LanguageModel
from transformers_jax.nn.stack import Stack

ALL_BIASES = ("query", "key", "value", "out")


# ---------------------------------------------------------------- the configs


@dataclass(frozen=True, kw_only=True)
class ModuleConfig(FamilyConfig):
    """A config without a model_type: `module` names a class of PyTorch code."""

    module: ClassVar[str]
    UNUSED = frozenset({"module"})

    def to_dict(self) -> dict[str, Any]:
        fields = super().to_dict()
        shared = {"model_type", "architectures", "is_encoder_decoder", "tie_word_embeddings"}
        ids = ("bos_token_id", "eos_token_id", "pad_token_id")
        shared |= {name for name in ids if fields[name] is None}
        return {"module": self.module, **{k: v for k, v in fields.items() if k not in shared}}

    def architecture(self, head: str) -> str:
        return self.module


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
        placed = dict(placement="pre" if self.norm_first else "post", dropout=self.dropout)

        def attention(mask: Mask) -> spec.AttentionSpec:
            return spec.AttentionSpec(
                heads=self.nhead,
                kv=self.d_model // self.nhead,
                mask=mask,
                bias=ALL_BIASES if self.bias else (),
                dropout=self.dropout,
            )

        ffn = spec.FeedForward(
            self.dim_feedforward, self.activation, bias=self.bias, dropout=self.dropout
        )
        block = [spec.Branch("self", attention(own), norm, **placed)]
        if decoder:
            block.append(spec.Branch("cross", attention(cross), norm, **placed))
        block.append(spec.Branch("ffn", ffn, norm, **placed))
        depth = self.num_decoder_layers if decoder else self.num_encoder_layers
        return spec.StackSpec(
            self.d_model, depth, (tuple(block),), norm, initial=spec.InitialXavier()
        )

    def build(self, head, execution, mask=None) -> TorchTransformer:
        stacks = (
            Stack(self.spec(False, Dense("src_mask"), FULL), execution),
            Stack(self.spec(True, Dense("tgt_mask"), Dense("memory_mask")), execution),
        )
        return TorchTransformer(*stacks, self.batch_first)

    def table(self, head) -> Table:
        return Table(slots(self.backbone(""), 1))

    def backbone(self, prefix: str) -> str:
        """The rows of both stacks."""
        text = ""
        for side, last in (("encoder", 2), ("decoder", 3)):
            theirs, ours = f"{prefix}{side}.layers.{{i}}", f"{side}.blocks.{{slot}}"
            text += packed(f"{theirs}.self_attn", f"{ours}.self", self.bias)
            text += norm(f"{theirs}.norm1", f"{ours}.self_norm", self.bias)
            if side == "decoder":
                text += packed(f"{theirs}.multihead_attn", f"{ours}.cross", self.bias)
                text += norm(f"{theirs}.norm2", f"{ours}.cross_norm", self.bias)
            bias = "" if self.bias else None
            text += dense(f"{theirs}.linear1", f"{ours}.ffn.up", bias=bias)
            text += dense(f"{theirs}.linear2", f"{ours}.ffn.down", "d f -> f d", bias=bias)
            text += norm(f"{theirs}.norm{last}", f"{ours}.ffn_norm", self.bias)
            text += norm(f"{prefix}{side}.norm", f"{side}.norm", self.bias)
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

    def build(self, head, execution, mask=None) -> Translator:
        masks = mask if isinstance(mask, Mapping) else {"decoder": mask}
        encoder = Stack(self.spec(False, masks.get("encoder") or FULL, FULL), execution)
        decoder = Stack(self.spec(True, masks.get("decoder") or CAUSAL, FULL), execution)
        initial = spec.InitialXavier()
        embed = EmbedSpec(
            vocab=self.vocab_size,
            width=self.d_model,
            positions="sinusoids",
            scale=self.d_model**0.5,
            dropout=self.dropout,
            initial=initial,
        )
        words = LanguageModel(self.vocab_size, self.d_model, initial, tied=True, shift=False)
        start, pad = self.decoder_start_token_id, self.pad_token_id
        return Translator(TokenEmbedder(embed), encoder, decoder, words, start, pad)

    def table(self, head) -> Table:
        text = "embedding.weight | embed.table" + self.backbone("transformer.")
        return Table(slots(text, 1))


@dataclass(frozen=True, kw_only=True)
class TorchAttentionConfig(ModuleConfig):
    """The arguments of `torch.nn.MultiheadAttention`."""

    model_type = "torch.nn.MultiheadAttention"
    module = "torch.nn.MultiheadAttention"
    HEADS = {"torch.nn.MultiheadAttention": "none"}

    embed_dim: int = 512
    num_heads: int = 8
    dropout: float = 0.0
    bias: bool = True
    add_bias_kv: bool = False
    add_zero_attn: bool = False
    kdim: int | None = None
    vdim: int | None = None
    batch_first: bool = False

    @property
    def separate(self) -> bool:
        """Whether query, key and value projections are three tensors."""
        widths = (self.kdim or self.embed_dim, self.vdim or self.embed_dim)
        return widths != (self.embed_dim, self.embed_dim)

    def build(self, head, execution, mask=None) -> TorchAttention:
        extra = (("learned", self.add_bias_kv), ("zero", self.add_zero_attn))
        attention = spec.AttentionSpec(
            heads=self.num_heads,
            kv=self.embed_dim // self.num_heads,
            source=self.kdim,
            value_source=self.vdim,
            bias=ALL_BIASES if self.bias else (),
            extra=tuple(name for name, wanted in extra if wanted),
            dropout=self.dropout,
        )
        core = Attention(attention, self.embed_dim, spec.InitialXavier())
        return TorchAttention(core, self.batch_first)

    def table(self, head) -> Table:
        text = packed("", "attention", self.bias, self.separate)
        if self.add_bias_kv:
            text += "\nbias_k | attention.extra_key | 1 1 (h k) -> h k"
            text += "\nbias_v | attention.extra_value | 1 1 (h k) -> h k"
        return Table(rows(text))


def packed(theirs: str, ours: str, bias: bool, separate: bool = False) -> str:
    """torch.nn.MultiheadAttention packs query, key and value into `in_proj_weight`."""
    theirs = f"{theirs}." if theirs else ""
    fused = [f"{ours}.{role}" for role in ("query", "key", "value")]
    if separate:
        text = "".join(
            f"\n{theirs}{name}_proj_weight | {path} | {HEADS_OUT}"
            for name, path in zip("qkv", fused)
        )
    else:
        text = f"\n{theirs}in_proj_weight | {' '.join(fused)} | (n h k) d -> n d h k"
    if bias:
        paths = " ".join(f"{path}_bias" for path in fused)
        text += f"\n{theirs}in_proj_bias | {paths} | (n h k) -> n h k"
    return text + dense(f"{theirs}out_proj", f"{ours}.out", HEADS_IN, "" if bias else None)


# ---------------------------------------------------------------- the models


class Translator(Seq2Seq):
    """The 2017 Transformer over ids. Also takes `source_ids`, `source_mask` and `target_ids`."""

    ALIASES: ClassVar[Mapping[str, str]] = {
        "source_ids": "input_ids",
        "source_mask": "attention_mask",
        "target_ids": "decoder_input_ids",
    }

    def __call__(self, **inputs: Any) -> Output:
        return super().__call__(**{self.ALIASES.get(k, k): v for k, v in inputs.items()})

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


class TorchTransformer(Model):
    """`torch.nn.Transformer`: vectors in, vectors out; masks are True where there is no edge."""

    is_encoder_decoder = True

    def __init__(self, encoder: Stack, decoder: Stack, batch_first: bool):
        self.encoder, self.decoder, self.batch_first = encoder, decoder, batch_first

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
        S, T, heads = src.shape[1], tgt.shape[1], self.encoder.spec.pattern[0][0].op.heads
        keys = split_key(key, 2)
        source = sequence(S, valid=_valid(src_key_padding_mask))
        pairs = {"src_mask": _edges(src_mask, S, S, heads)}
        memory = self.encoder(src.astype(self.dtype), source, pairs=pairs, key=keys[0]).x
        target = sequence(T, valid=_valid(tgt_key_padding_mask))
        heard = sequence(S, valid=_valid(memory_key_padding_mask))
        pairs = {
            "tgt_mask": _edges(tgt_mask, T, T, heads),
            "memory_mask": _edges(memory_mask, T, S, heads),
        }
        x = tgt.astype(self.dtype)
        options = dict(pairs=pairs, source=memory, source_nodes=heard, key=keys[1])
        output = self.decoder(x, target, **options).x
        if not self.batch_first:
            memory, output = jnp.swapaxes(memory, 0, 1), jnp.swapaxes(output, 0, 1)
        return Output(memory=memory, output=output)

    def check(self, inputs: Mapping[str, Any]) -> None:
        width = self.encoder.spec.width
        for name in ("src", "tgt"):
            if name not in inputs:
                raise ValueError(f"give {name}: Float[B T {width}]")
            if np.ndim(inputs[name]) != 3 or np.shape(inputs[name])[-1] != width:
                shape = np.shape(inputs[name])
                raise ValueError(f"{name} has shape {shape}; expected 3 axes, the last of {width}")
        for name, value in inputs.items():
            floats = name.endswith("mask") and np.asarray(value).dtype != bool
            if floats and not np.isin(np.asarray(value), (0, -np.inf)).all():
                raise ValueError(
                    f"{name} must be boolean (True: no edge) or hold 0 and -inf; "
                    "an additive bias is not implemented for torch.nn.Transformer"
                )


class AdditiveMask(ScoreRule):
    """A float mask of torch: a number per (row, head, query, key), added to the scores."""

    def __eq__(self, other):
        return isinstance(other, AdditiveMask)

    def __hash__(self):
        return hash(AdditiveMask)

    def __call__(self, params, q, k, qn, kn):
        rows_, columns = qn.tag("index"), kn.tag("index")
        taken = jnp.take_along_axis(params, rows_[:, None, :, None], axis=2)
        return jnp.take_along_axis(taken, columns[:, None, None, :], axis=3)


class TorchAttention(Model):
    """`torch.nn.MultiheadAttention`, with the weights of every head. Here `key` is an input."""

    def __init__(self, attention: Attention, batch_first: bool):
        self.attention, self.batch_first = attention, batch_first

    def forward(
        self, query, key, value, key_padding_mask=None, attn_mask=None, noise=None
    ) -> Output:
        inputs = (query, key, value)
        if not self.batch_first:
            inputs = tuple(jnp.swapaxes(x, 0, 1) for x in inputs)
        q, k, v = (jnp.asarray(x).astype(self.dtype) for x in inputs)
        op, more = self.attention.spec, len(self.attention.spec.extra)
        T, S = q.shape[1], k.shape[1]
        score, allowed = None, np.ones((1, T, S), bool)
        if attn_mask is not None and attn_mask.dtype == bool:
            allowed = _edges(attn_mask, T, S, op.heads)
        elif attn_mask is not None:
            bias = jnp.asarray(attn_mask).reshape(-1, 1 if attn_mask.ndim == 2 else op.heads, T, S)
            allowed = ~jnp.all(jnp.isneginf(bias), axis=1)
            bias = jnp.pad(jnp.maximum(bias, -1e30), ((0, 0), (0, 0), (0, 0), (0, more)))
            score = Score(AdditiveMask(), bias.astype(jnp.float32))
        wide = ((0, 0), (0, more))
        valid = _valid(key_padding_mask)
        keys = sequence(
            S + more, valid=None if valid is None else jnp.pad(valid, wide, constant_values=True)
        )
        pairs = {"attn_mask": jnp.pad(allowed, ((0, 0), *wide), constant_values=True)}
        edges = connect(Dense("attn_mask"), sequence(T), keys, pairs)
        attended = self.attention(
            q, edges, source=k, value_source=v, score=score, key=noise, with_weights=True
        )
        output = attended.x if self.batch_first else jnp.swapaxes(attended.x, 0, 1)
        return Output(output=output, weights=attended.weights)


def _valid(padding: Array | None) -> Array | None:
    """torch marks padding (True, or -inf); here valid keys are marked."""
    if padding is None:
        return None
    padding = jnp.asarray(padding)
    return ~padding if padding.dtype == bool else ~jnp.isneginf(padding)


def _edges(mask: Float[Array, "T S"] | None, T: int, S: int, heads: int) -> Array:
    """torch's mask (True or -inf: no edge; 2-D, or 3-D with a matrix per row and head) as edges."""
    if mask is None:
        return np.ones((1, T, S), bool)
    allowed = _valid(mask)
    if allowed.ndim == 2:
        return allowed[None]
    allowed = allowed.reshape(-1, heads, T, S)
    return allowed[:, 0]
