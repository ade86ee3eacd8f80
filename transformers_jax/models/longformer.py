"""Longformer (Beltagy et al. 2020). Hugging Face model_type "longformer".

RoBERTa in which most tokens attend to a window and to the few tokens that are global, which attend
to all. Global tokens have queries, keys and values of their own: a second relation between tokens.
`attentions` are one matrix per layer, [B H T S], the rows of global tokens being those of that
relation; Hugging Face gives the window's diagonals and `global_attentions` apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int
from transformers_jax.graph import FULL, Mask, Near, Strided, Where, given
from transformers_jax.graph.layouts import with_global
from transformers_jax.hub.table import Row, Tying
from transformers_jax.models.bert import BACKBONE
from transformers_jax.models.class_names import CHOOSING, heads_of
from transformers_jax.models.roberta import RobertaConfig
from transformers_jax.models.weight_rows import HEADS_OUT, S, backbone, dense
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import TagArgument, TokenEmbedder
from transformers_jax.spec import Layout, OpSpec, StackSpec

GLOBAL = Where("global", of="query")
REAL = Where("real", of="query")  # padding attends to nothing, as in the reference


@dataclass(frozen=True, kw_only=True)
class LongformerConfig(RobertaConfig):
    """The fields of a Longformer config.json; longformer-base-4096 (149M) has 50265 words, 4098
    positions, 1 type and eps 1e-5.

    `attention_window` counts both sides, one number or one per layer. `attention_dilation` (Beltagy
    et al. 2020, section 3.1) is a field of the authors' own files: the window of a layer then skips
    all but every so many-th token. Hugging Face's class does not read it.
    """

    model_type = "longformer"
    FIXED = {
        **RobertaConfig.FIXED,
        "attention_mode": "longformer",
        "autoregressive": False,
        "ignore_attention_mask": False,
    }
    UNUSED = frozenset({"onnx_export"})
    TIES = (
        Tying("longformer.embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
        *RobertaConfig.TIES[1:],
    )
    HEADS = heads_of("Longformer", "none", "masked_lm", *CHOOSING)
    LISTS: ClassVar[tuple[str, ...]] = ("attention_window", "attention_dilation")
    classifier_dropout: ClassVar[None] = None  # type: ignore[misc]  # the reference has no such

    vocab_size: int = 30522
    attention_window: tuple[int, ...] | int = 512
    attention_dilation: tuple[int, ...] | int = 1
    sep_token_id: int | None = 2

    def __post_init__(self):
        super().__post_init__()
        for name in self.LISTS:
            check_per_layer(self, name, self.per_layer(name), "num_hidden_layers")

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        if values.get("attention_mode") in ("tvm", "sliding_chunks"):  # the authors' engines
            values["attention_mode"] = "longformer"
        return values

    def per_layer(self, name: str) -> tuple[int, ...]:
        """A field that may be one number for all layers."""
        value = getattr(self, name)
        return (value,) * self.num_hidden_layers if isinstance(value, int) else value

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        if set(self.per_layer("attention_dilation")) == {1}:
            del values["attention_dilation"]
        return values

    def spec(self, mask=None, cross=None) -> StackSpec:
        """RoBERTa's blocks with two relations: a window and the global tokens; global to all."""
        plain, blocks = super().spec(cross=cross), []
        windows, dilations = (self.per_layer(name) for name in self.LISTS)
        for (attend, feed), window, step in zip(plain.blocks, windows, dilations):
            op = windowed(attend.op, mask, local(window // 2, step))
            blocks.append((replace(attend, op=op), feed))
        return replace(plain, blocks=tuple(blocks), layout=GlobalTokens())

    def embedder(self, head):
        tag = TagArgument("global_attention_mask", "global", self.default_global(head))
        return TokenEmbedder(replace(self.embed(), tags=(tag,)))

    def default_global(self, head: str) -> DefaultGlobal:
        """Which tokens are global where the caller does not say (section 3.1: by task)."""
        tasks = {
            "sequence_classification": "first",
            "question_answering": "before",
            "multiple_choice": "after",
        }
        return DefaultGlobal(tasks.get(head), self.sep_token_id)

    def backbone(self, prefix: str) -> tuple[Row, ...]:
        text = (BACKBONE + RELATION).replace("bert.", prefix)
        return backbone(text, self.spec().slots)


def check_per_layer(config: Any, name: str, values: tuple[int, ...], count: str) -> None:
    """Raises ValueError unless there is a positive number (of a window: an even one) for each of
    the layers, of which there are as many as the field `count` says."""
    layers = getattr(config, count)
    odd = name == "attention_window" and any(v % 2 for v in values)
    if len(values) != layers or odd or min(values) < 1:
        raise ValueError(
            f"{type(config).__name__}: {name} {list(values)}: expected a positive "
            f"{'even ' if name == 'attention_window' else ''}number, or one for each of "
            f"the {layers} layers ({count})"
        )


def windowed(attend: OpSpec, mask: Mask | None, near: Mask) -> AttentionSpec:
    """Attention in two relations: tokens attend to a window and to the global tokens; global
    tokens, with projections of their own, to all."""
    assert isinstance(attend, AttentionSpec)
    return replace(
        attend,
        mask=REAL & ~GLOBAL & given(mask, near | Where("global")),
        relations=(REAL & GLOBAL & given(mask, FULL),),
    )


def local(reach: int, step: int) -> Mask:
    """A window that reaches so many keys to either side, of which it takes each `step`-th."""
    near = Near(reach * step, reach * step)
    return near if step == 1 else near & Strided(step)


@dataclass(frozen=True)
class GlobalTokens(Layout):
    """Padding is no token, and never global."""

    tags = frozenset({"global", "real"})

    def __call__(self, nodes):
        return with_global(nodes)


@dataclass(frozen=True)
class DefaultGlobal:
    """The tokens that are global by default: none, the first, those before the first separator (a
    question), or those behind the first two (an answer to choose)."""

    place: str | None
    separator: int | None

    def __call__(self, ids: Int[Array, "B T"] | None, shape: tuple[int, int]) -> Array | np.ndarray:
        index = np.arange(shape[1], dtype=np.int32)[None]
        if self.place == "first":
            return (index == 0).astype(np.int32)
        if self.place is None or ids is None:
            return np.zeros_like(index)
        first = jnp.argmax(ids == self.separator, axis=1)[:, None]
        asked = index < first if self.place == "before" else index > first + 1
        return asked.astype(jnp.int32)

    def check(self, ids: Int[Array, "... T"]) -> None:
        """Raises ValueError for a row in which the separators do not tell where a question ends."""
        if self.place in ("before", "after"):
            counts = (np.asarray(ids) == self.separator).sum(-1)
            if wrong := [tuple(map(int, row)) for row in np.argwhere(counts != 3)]:
                row = ", ".join(map(str, wrong[0]))
                raise ValueError(
                    f"input_ids: row {row} holds {counts[wrong[0]]} separators "
                    f"{self.separator} (sep_token_id), expected 3, of which the first ends the "
                    "question; give global_attention_mask"
                )


def relation(theirs: str, ours: str) -> str:
    """The rows of the projections of global tokens."""
    return "".join(
        dense(f"{theirs}.{role}_global", f"{ours}.relations.0.{role}", HEADS_OUT, "(h k) -> h k")
        for role in ("query", "key", "value")
    )


RELATION = relation("bert.encoder.layer.{i}.attention.self", f"{S}.self")
