"""Longformer (Beltagy et al. 2020). Hugging Face model_type "longformer".

RoBERTa in which most tokens attend to a window and to the few tokens that are global, which attend
to all. Global tokens have queries, keys and values of their own: a second relation between tokens.
`attentions` are one matrix per layer, [B H T S], the rows of global tokens being those of that
relation; Hugging Face gives the window's diagonals and `global_attentions` separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Int
from transformers_jax.graph import FULL, Mask, Near, Strided, Where, with_own
from transformers_jax.graph.layouts import with_global
from transformers_jax.models.roberta import RobertaConfig
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.models.shared.weight_rows import HEADS_OUT, S, dense
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import TagArgument, TokenEmbedder
from transformers_jax.spec import Layout, StackSpec

GLOBAL = Where("global", of="query")
REAL = Where("real", of="query")  # padding attends to nothing, as in the reference

GLOBAL_BY_TASK: dict[str, Literal["first", "question", "choice"]] = {
    "sequence_classification": "first",
    "question_answering": "question",
    "multiple_choice": "choice",
}


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
    PREFIX = "longformer."
    HEADS = heads_of("Longformer", "none", "masked_lm", *CHOOSING)
    classifier_dropout: ClassVar[None] = None  # type: ignore[misc]  # the reference has no such

    vocab_size: int = 30522
    attention_window: tuple[int, ...] | int = 512
    attention_dilation: tuple[int, ...] | int = 1
    sep_token_id: int | None = 2

    def __post_init__(self):
        super().__post_init__()
        self.lists()  # checked

    def lists(self) -> tuple[tuple[int, ...], ...]:
        """The window and the dilation of each layer."""
        names = ("attention_window", "attention_dilation")
        return tuple(per_layer(self, name, "num_hidden_layers") for name in names)

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        if values.get("attention_mode") in ("tvm", "sliding_chunks"):  # the authors' engines
            values["attention_mode"] = "longformer"
        return values

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        if set(self.lists()[1]) == {1}:
            del values["attention_dilation"]
        return values

    def spec(self, mask=None, cross=None):
        """RoBERTa's blocks with two relations: a window and the global tokens; global to all."""
        return windowed(super().spec(cross=cross), mask, *self.lists())

    def embedder(self, head):
        tag = TagArgument("global_attention_mask", "global", self.default_global(head))
        return TokenEmbedder(replace(self.embed(), tags=(tag,)))

    def default_global(self, head: str) -> DefaultGlobal:
        """Which tokens are global where the caller does not say (section 3.1: by task)."""
        return DefaultGlobal(GLOBAL_BY_TASK.get(head), self.sep_token_id)

    def backbone(self):
        return super().backbone() + relation("encoder.layer.{i}.attention.self", f"{S}.self")


def per_layer(config: Any, name: str, count: str) -> tuple[int, ...]:
    """A field that may be one number for all of the layers, of which there are as many as the field
    `count` says.

    Raises:
        ValueError: another count of numbers, one that is not positive, or an odd window.
    """
    value, layers = getattr(config, name), getattr(config, count)
    values = (value,) * layers if isinstance(value, int) else value
    even = "even " if name == "attention_window" else ""
    if len(values) != layers or min(values) < 1 or (even and any(v % 2 for v in values)):
        raise ValueError(
            f"{type(config).__name__}: {name} {list(values)}: expected a positive {even}number, or "
            f"one for each of the {layers} layers ({count})"
        )
    return values


def windowed(
    stack: StackSpec, mask: Mask | None, windows: Sequence[int], dilations: Sequence[int]
) -> StackSpec:
    """The stack with attention in two relations: tokens attend to the window of their layer and to
    the global tokens; global tokens, with projections of their own, to all."""
    blocks = []
    for (attend, feed), window, step in zip(stack.blocks, windows, dilations):
        near = local(window // 2, step) | Where("global")
        relations = (REAL & GLOBAL & with_own(mask, FULL),)
        own = REAL & ~GLOBAL & with_own(mask, near)
        assert isinstance(attend.op, AttentionSpec)
        op = replace(attend.op, mask=own, relations=relations)
        blocks.append((replace(attend, op=op), feed))
    return replace(stack, blocks=tuple(blocks), layout=GlobalTokens())


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
    """The tokens that are global by default: none; the first; the question, which is before the
    first separator; or the choice, which is behind the first two."""

    part: Literal["first", "question", "choice"] | None = None
    separator: int | None = None

    def __call__(self, ids: Int[Array, "B T"] | None, shape: tuple[int, int]) -> Array | np.ndarray:
        index = np.arange(shape[1], dtype=np.int32)[None]
        if self.part == "first":
            return (index == 0).astype(np.int32)
        if self.part is None or ids is None:
            return np.zeros_like(index)
        first = jnp.argmax(ids == self.separator, axis=1)[:, None]
        is_global = index < first if self.part == "question" else index > first + 1
        return is_global.astype(jnp.int32)

    def check(self, ids: Int[Array, "... T"]) -> None:
        """Raises ValueError for a row in which separators do not mark the end of the question."""
        if self.part in ("question", "choice"):
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
