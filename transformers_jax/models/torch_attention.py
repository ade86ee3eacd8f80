"""`torch.nn.MultiheadAttention` as a model, and how torch's masks are read as graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import MASKED, Array, Bool
from transformers_jax.graph import Dense, connect, sequence
from transformers_jax.hub.table import Table, rows
from transformers_jax.inputs.arguments import dtype_of, holds
from transformers_jax.models.base import Model
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.output import Output
from transformers_jax.models.shared.blocks import BIASES
from transformers_jax.models.shared.weight_rows import HEADS_IN, HEADS_OUT, dense
from transformers_jax.nn.attend import Score, ScoreRule
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.param import param


@dataclass(frozen=True)
class AppendedSpec(AttentionSpec):
    """Attention whose keys have more behind them: one that is `learned`, and one of `zero`; its
    values are computed from a source of their own, of the width `value_source`."""

    appended: tuple[str, ...] = ()
    value_source: int | None = None

    def build(self, width, initial, source=None) -> AppendedAttention:
        return AppendedAttention(self, width, initial, source)


class AppendedAttention(Attention):
    """torch's `add_bias_kv` and `add_zero_attn`, and a source of values beside that of keys."""

    spec: AppendedSpec

    def __init__(self, attention: AppendedSpec, width: int, initial, source=None):
        super().__init__(attention, width, initial, source)
        sizes = {"embed": width, "heads": attention.heads}
        sizes |= {"kv_heads": attention.groups, "kv": attention.kv}
        of_values = {**sizes, "embed": attention.value_source or width}
        self.value = param("embed kv_heads kv", of_values, initial.draw("value", sizes))
        self.appended_key = self.appended_value = None
        if "learned" in attention.appended:
            draw = spec.Draw("normal", 1.0)
            self.appended_key = param("kv_heads kv", sizes, draw)
            self.appended_value = param("kv_heads kv", sizes, draw)

    def project(self, source, rotation=None):
        keys_from, values_from = source
        return self.keys_of(keys_from, rotation), self.values_of(values_from, rotation)

    def messages(self, q, k, v, edges, **options):
        for kind in self.spec.appended:
            k = self._append(k, self.appended_key if kind == "learned" else None)
            v = self._append(v, self.appended_value if kind == "learned" else None)
        return super().messages(q, k, v, edges, **options)

    def _append(self, x: Array, learned: nnx.Param | None) -> Array:
        """The keys or values with one more behind them: zeros where none is learned."""
        one = jnp.zeros(x.shape[2:]) if learned is None else learned[...]
        one = jnp.broadcast_to(one.astype(x.dtype), (x.shape[0], 1, *x.shape[2:]))
        return jnp.concatenate([x, one], 1)


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

    def head_named(self, head: str | None) -> str:
        return super().head_named(self.module if head is None else head)


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
        appended = (("learned", self.add_bias_kv), ("zero", self.add_zero_attn))
        attention = AppendedSpec(
            heads=self.num_heads,
            kv=self.head_width("embed_dim", "num_heads"),
            source=self.kdim,
            value_source=self.vdim or self.embed_dim,
            bias=BIASES if self.bias else (),
            appended=tuple(name for name, is_set in appended if is_set),
            dropout=self.dropout,
        )
        core = attention.build(self.embed_dim, spec.InitialXavier())
        return TorchAttention(core, self.batch_first)

    def table(self, head) -> Table:
        text = packed("", "attention", self.bias, self.separate)
        if self.add_bias_kv:
            text += "\nbias_k | attention.appended_key | 1 1 (h k) -> h k"
            text += "\nbias_v | attention.appended_value | 1 1 (h k) -> h k"
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


# ---------------------------------------------------------------- torch's masks


class AdditiveMask(ScoreRule):
    """A float mask of torch: a number per (row, head, query, key), added to the scores."""

    by_row = True

    def __eq__(self, other):
        return isinstance(other, AdditiveMask)

    def __hash__(self):
        return hash(AdditiveMask)

    def __call__(self, params, q, k, qn, kn, pairs):
        rows_, columns = qn.tag("index"), kn.tag("index")
        taken = jnp.take_along_axis(params, rows_[:, None, :, None], axis=2)
        return jnp.take_along_axis(taken, columns[:, None, None, :], axis=3)


def read_masks(
    mask: Array | None, padding: Array | None, T: int, S: int, heads: int
) -> tuple[Bool[Array, "b T S"], Bool[Array, "B S"] | None, Score | None]:
    """(edges, valid keys, what is added to the scores) of an attention mask and a padding mask.

    torch marks what is *not* attended to: True, or -inf in a float mask, whose other numbers are
    added to the scores.
    A mask is [T S], or [B * heads T S] with a matrix per row and head.
    """
    edges: Any = np.ones((1, T, S), bool)  # NumPy while every edge is there
    bias, valid = None, None
    if mask is not None:
        mask = jnp.asarray(mask)
        by_head = mask[None, None] if mask.ndim == 2 else mask.reshape(-1, heads, T, S)
        closed = by_head if mask.dtype == bool else jnp.isneginf(by_head)
        edges = ~closed.all(axis=1)
        if mask.dtype != bool:
            bias = jnp.maximum(by_head.astype(jnp.float32), MASKED)
        elif mask.ndim == 3:  # a graph is shared by all heads: what differs is left to the scores
            bias = jnp.where(closed, MASKED, 0.0).astype(jnp.float32)
    if padding is not None:
        padding = jnp.asarray(padding)
        valid = ~padding if padding.dtype == bool else ~jnp.isneginf(padding)
        if padding.dtype != bool:
            added = jnp.where(valid, padding, 0.0).astype(jnp.float32)[:, None, None, :]
            bias = (
                jnp.broadcast_to(added, (*added.shape[:2], T, S)) if bias is None else bias + added
            )
    return edges, valid, None if bias is None else Score(AdditiveMask(), bias)


def check_mask(name: str, value: Any, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Raises ValueError for a mask that is neither boolean nor float, or of another shape."""
    if not holds(value, jnp.bool_, jnp.floating):
        raise ValueError(
            f"{name} has dtype {dtype_of(value)}; torch's masks are boolean (True: no edge) or "
            "float (added to the scores, -inf: no edge)"
        )
    if np.shape(value) not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ValueError(f"{name} has shape {np.shape(value)}; expected {expected}")


def check_vectors(
    inputs: Mapping[str, Any], widths: Mapping[str, int], batch_first: bool
) -> tuple[int, list[int]]:
    """(how many rows the inputs of these names have, how many tokens each has).

    Raises:
        ValueError: another rank or width, unequal rows, or another number of values than keys.
    """
    first, shapes = 0 if batch_first else 1, {}
    for name, width in widths.items():
        shapes[name] = shape = np.shape(inputs.get(name, ()))
        if len(shape) != 3 or shape[-1] != width:
            raise ValueError(f"{name} has shape {shape}; expected 3 axes, the last of {width}")
    (name, shape), *others = shapes.items()
    for other, its in others:
        if its[first] != shape[first]:
            raise ValueError(
                f"{name} {shape} and {other} {its}: {shape[first]} rows and {its[first]} "
                f"(axis {first}); give as many"
            )
    if "value" in shapes and shapes["value"][:2] != shapes["key"][:2]:
        raise ValueError(
            f"key {shapes['key']} and value {shapes['value']}: expected a value for each key"
        )
    return shape[first], [its[1 - first] for its in shapes.values()]


# ---------------------------------------------------------------- the model


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
        op = self.attention.spec
        assert isinstance(op, AppendedSpec)
        more = len(op.appended)
        T, S = q.shape[1], k.shape[1]
        allowed, valid, score = read_masks(attn_mask, key_padding_mask, T, S, op.heads)
        wide = ((0, 0), (0, more))  # every query attends to the appended keys
        valid = None if valid is None else jnp.pad(valid, wide, constant_values=True)
        pairs = {"attn_mask": jnp.pad(allowed, ((0, 0), *wide), constant_values=True)}
        if score is not None:
            score = Score(score.rule, jnp.pad(score.params, ((0, 0), (0, 0), *wide)))
        keys = sequence(S + more, valid=valid)
        edges = connect(Dense("attn_mask"), sequence(T), keys, pairs)
        attended = self.attention(
            q, edges, source=(k, v), score=score, key=noise, with_weights=True
        )
        output = attended.x if self.batch_first else jnp.swapaxes(attended.x, 0, 1)
        return Output(output=output, weights=attended.weights)

    def check(self, inputs: Any, method: str = "forward") -> None:
        config: Any = self.config
        width = config.embed_dim
        widths = {"query": width, "key": config.kdim or width, "value": config.vdim or width}
        B, (T, S, _) = check_vectors(inputs, widths, self.batch_first)
        if "attn_mask" in inputs:
            check_mask("attn_mask", inputs["attn_mask"], ((T, S), (B * config.num_heads, T, S)))
        if "key_padding_mask" in inputs:
            check_mask("key_padding_mask", inputs["key_padding_mask"], ((B, S),))
