"""What a stack computes, in our own words: frozen descriptions into which every family translates.

One slot holds one value: a rotary position is `rotary=Rotary(base=1e4)`, never a flag beside a
number. Nothing here has parameters; `nn/` builds modules from these records. `Execution` is the
one record that says *how* a model is run, which changes speed and memory and never the result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from transformers_jax.graph import FULL, Mask, Nodes

Sizes = Mapping[str, int]


# ---------------------------------------------------------------- initial values


@dataclass(frozen=True)
class Draw:
    """How one parameter is drawn: normal with `scale` as deviation (before what lies beyond `cut`
    deviations is cut off), uniform within +-scale, the constant `scale`, or `scale` times an
    orthogonal matrix or a table of sinusoids."""

    kind: Literal["normal", "uniform", "constant", "orthogonal", "sinusoids"]
    scale: float
    cut: float | None = None


ZEROS, ONES = Draw("constant", 0.0), Draw("constant", 1.0)


@dataclass(frozen=True)
class Initial:
    """A family's rule for weight matrices: normal(std); those that write into the residual stream
    (`out`, `down`) may have a deviation of their own (GPT-2 section 2.3). Nothing is drawn beyond
    `cut` deviations."""

    std: float = 0.02
    residual: float | None = None
    cut: float | None = None

    def draw(self, role: str, sizes: Sizes) -> Draw:
        """How the weight called `role` (`query`, `up`, `table`, ...) of these sizes is drawn."""
        if self.residual is not None and role in ("out", "down"):
            return Draw("normal", self.residual, self.cut)
        return Draw("normal", self.std, self.cut)


@dataclass(frozen=True)
class InitialT5(Initial):
    """T5's rule: unscaled attention, hence queries smaller by sqrt(K) (Mesh TensorFlow; T5 v1)."""

    factor: float = 1.0

    def draw(self, role: str, sizes: Sizes) -> Draw:
        width = sizes["embed"]
        inner = sizes.get("heads", 1) * sizes.get("kv", 1)
        std = {
            "query": (width * sizes.get("kv", 1)) ** -0.5,
            "out": inner**-0.5,
            "down": sizes.get("mlp", 1) ** -0.5,
            "table": 1.0,
        }.get(role, width**-0.5)
        return Draw("normal", self.factor * std)


@dataclass(frozen=True)
class InitialXavier(Initial):
    """Glorot and Bengio 2010, as torch.nn.Transformer draws it; embeddings are normal(D^-0.5)
    so that the scaled embedding has unit variance (Vaswani et al. 2017, section 3.4)."""

    def draw(self, role: str, sizes: Sizes) -> Draw:
        width = sizes["embed"]
        if role == "table":
            return Draw("normal", width**-0.5)
        if role in ("up", "down", "gate"):
            fans = width + sizes["mlp"]
        else:  # torch draws query, key and value as one matrix of 3 D rows
            fans = 2 * width if role == "out" else 4 * width
        return Draw("uniform", math.sqrt(6.0 / fans))


# ---------------------------------------------------------------- norms and positions


@dataclass(frozen=True)
class LayerNorm:
    """(x - mean) / sqrt(variance + eps) * scale + shift (Ba et al. 2016)."""

    eps: float = 1e-5
    shift: bool = True


@dataclass(frozen=True)
class RMSNorm:
    """x / sqrt(mean square + eps) * scale (Zhang and Sennrich 2019)."""

    eps: float = 1e-6


Norm = LayerNorm | RMSNorm


@dataclass(frozen=True)
class LinearScaling:
    """Positions divided by `factor` (Chen et al. 2023, position interpolation)."""

    factor: float


@dataclass(frozen=True)
class DynamicScaling:
    """The base grows once positions pass `original` ("NTK-aware"; as in transformers)."""

    factor: float
    original: int


@dataclass(frozen=True)
class YarnScaling:
    """Interpolates slow frequencies, keeps fast ones, and warms the scores (Peng et al. 2023)."""

    factor: float
    original: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


@dataclass(frozen=True)
class Llama3Scaling:
    """Long wavelengths divided by `factor`, short ones kept, smooth between (Llama 3.1)."""

    factor: float
    low: float
    high: float
    original: int


@dataclass(frozen=True)
class LongScaling:
    """Each pair's speed divided by a factor of its own; `long` ones once positions pass
    `original`, with scores warmed by `warmth` (LongRoPE, Ding et al. 2024)."""

    short: tuple[float, ...]
    long: tuple[float, ...]
    original: int
    warmth: float = 1.0


Scaling = LinearScaling | DynamicScaling | YarnScaling | Llama3Scaling | LongScaling


@dataclass(frozen=True)
class Rotary:
    """Queries and keys turn by angles proportional to position (Su et al. 2021).

    `fraction` of each head turns (GPT-NeoX: 0.25); the rest is left alone. The numbers i and
    i + R/2 of the R that turn are a pair, or, `interleaved`, 2i and 2i + 1 (RoFormer, GPT-J).
    With `values` the values turn as well (RoFormer).
    """

    base: float = 10000.0
    fraction: float = 1.0
    scaling: Scaling | None = None
    interleaved: bool = False
    values: bool = False


@dataclass(frozen=True)
class Buckets:
    """T5's learned bias per bucket of the distance and head (Raffel et al. 2019, 2.1)."""

    buckets: int = 32
    far: int = 128
    directed: bool = False  # True in decoders: all buckets are spent on the past
    rows: int | None = None  # of the table, where it has more than there are buckets (MPNet)
    summaries: bool = False  # whether summaries have a table of their own, by distances of blocks


@dataclass(frozen=True)
class Alibi:
    """A bias linear in the distance, steeper for later heads (Press et al. 2021)."""


@dataclass(frozen=True)
class RelativeTable:
    """A table of vectors of relative positions that a stack learns and its layers project
    (`Disentangled`): so many rows, normalised or not."""

    rows: int
    norm: Norm | None = None


@dataclass(frozen=True)
class Disentangled:
    """A layer's terms between content and relative position (He et al. 2020, section 3.1).

    Attributes:
        reach: the distance that reads the first or the last row of the stack's table; as many
            buckets on either side.
        far: None where each distance has a row; otherwise distances beyond reach / 2 share rows in
            steps of the logarithm up to this one (He et al. 2021).
        terms: "key": queries meet positions as keys; "query": keys meet positions as queries.
        shared: whether positions are projected by the weights of the content.
        bias: which projections of positions have one, if they are not shared.
        dropout: of the table, for each layer anew.
    """

    reach: int
    far: int | None = None
    terms: tuple[str, ...] = ("key", "query")
    shared: bool = False
    bias: tuple[str, ...] = ("key", "query")
    dropout: float = 0.0

    def __post_init__(self):
        if self.far is not None and not 1 <= self.reach // 2 < self.far - 1:
            raise ValueError(
                f"buckets ({self.reach}) of relative positions: half of them must be at least 1 "
                f"and less than the farthest position ({self.far}) - 1"
            )


@dataclass(frozen=True)
class Additive:
    """score = v . tanh(query + key), in place of the scaled product (Bahdanau et al. 2014, 3.1);
    v is a layer's own."""


@dataclass(frozen=True)
class Counted:
    """A key counts `times` times in the softmax where the query's tag `query` and the key's tag
    `key` are above 0: log(times) is added to the score (BigBird, whose random blocks may be one
    block several times)."""

    times: int
    query: str
    key: str


ScoreSpec = Buckets | Alibi | RelativeTable | Disentangled | Additive | Counted
"""What is added to the scores or takes their place, learned by the stack for all layers or by each
layer."""


@dataclass(frozen=True)
class Summaries:
    """More keys: the normalised sum of every `block` consecutive tokens (Guo et al. 2022, 3.2)."""

    block: int
    norm: Norm


# ---------------------------------------------------------------- blocks and stacks


@dataclass(frozen=True)
class AttentionSpec:
    """One attention: who hears whom (`mask`), with how many heads, told what about position.

    Attributes:
        heads, kv, kv_heads, value: H, K, G (default H) and U (default K).
        source, value_source: width of what keys (and values) are computed from, if not the stream.
        scale: multiplies q . k; default 1 / sqrt(K).
        bias: which projections have one, of query, key, value, out.
        relations: masks of further relations. Each has queries, keys and values of its own, and the
            messages of all are added before the output projection (Longformer).
        score: what positions add to the scores, learned by this layer; what the stack's score gives
            is handed to it. None: the stack's score, if any.
        extend: keys beyond those of the source, computed from it.
        projects: which of query, key, value and out have a matrix; what has none is taken as it is,
            cut into heads (values that are the source's own states: Bahdanau et al. 2014).
        norm: normalises queries and keys per head.
        softcap: scores become softcap * tanh(scores / softcap).
        sinks: a learned logit per head that takes weight and gives nothing.
        extra: keys appended after the projected ones: "learned" and/or "zero".
        padding: what places that are padding receive: what a token there would, or the mean of all
            values of the row (softmax over scores that are all the same large negative number).
        dropout: of the attention weights.
    """

    heads: int
    kv: int
    kv_heads: int | None = None
    value: int | None = None
    source: int | None = None
    value_source: int | None = None
    mask: Mask = FULL
    scale: float | None = None
    rotary: Rotary | None = None
    bias: tuple[str, ...] = ()
    relations: tuple[Mask, ...] = ()
    score: ScoreSpec | None = None
    extend: Summaries | None = None
    projects: tuple[str, ...] = ("query", "key", "value", "out")
    norm: Norm | None = None
    softcap: float | None = None
    sinks: bool = False
    extra: tuple[str, ...] = ()
    padding: Literal["as tokens", "mean"] = "as tokens"
    dropout: float = 0.0

    def __post_init__(self):
        if self.heads % self.groups:
            raise ValueError(
                f"heads ({self.heads}) must be a multiple of kv_heads ({self.groups}): "
                "each key/value head serves the same number of query heads"
            )

    @property
    def masks(self) -> tuple[Mask, ...]:
        """The masks of all relations."""
        return (self.mask, *self.relations)

    @property
    def groups(self) -> int:
        """G, the number of key/value heads."""
        return self.kv_heads or self.heads


@dataclass(frozen=True)
class FeedForward:
    """The token-wise phase: act(x up) down; gated: (act(x gate) * (x up)) down (Shazeer 2020)."""

    hidden: int
    activation: str = "gelu"
    gated: bool = False
    bias: bool = True
    dropout: float = 0.0  # of the activations


@dataclass(frozen=True)
class Experts:
    """Several feed-forward networks, of which each token is served by few (Shazeer et al. 2017).

    Attributes:
        count: E, how many there are.
        top: k, how many serve a token.
        ffn: what each of them computes.
        router: how scores become weights: "softmax" over all experts, the k largest of which are
            taken (Switch, Mixtral); "softmax_of_top", over the k that are taken (gpt-oss);
            "sigmoid", of each score alone (DeepSeek-V3).
        normalise: whether the weights of a token are divided by their sum.
        scale: multiplies the weights.
        bias: whether the router has one.
        capacity: how many tokens of a row an expert serves; those beyond, counted by choice and
            then by place, receive zero from it. None: all of them.
        jitter: with a key, what the router reads is multiplied by uniform(1 - jitter, 1 + jitter).
    """

    count: int
    top: int
    ffn: FeedForward
    router: Literal["softmax", "softmax_of_top", "sigmoid"] = "softmax"
    normalise: bool = False
    scale: float = 1.0
    bias: bool = False
    capacity: int | None = None
    jitter: float = 0.0

    def __post_init__(self):
        if not 1 <= self.top <= self.count:
            raise ValueError(
                f"top ({self.top}) must lie between 1 and the number of experts ({self.count})"
            )
        if self.capacity is not None and self.capacity < 1:
            raise ValueError(f"capacity ({self.capacity}) must be at least 1, or None for no limit")


@dataclass(frozen=True)
class Conv:
    """act(dropout(W * x + b)) over `kernel` neighbouring tokens, in `groups` parts of the width.

    `mask` says which neighbours are heard, as in attention: not those of another document.
    """

    kernel: int
    groups: int = 1
    activation: str = "linear"
    mask: Mask = FULL
    dropout: float = 0.0

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"a convolution's kernel ({self.kernel}) must be odd: 1, 3, 5, ...")
        if self.mask.pairs:
            raise ValueError(
                f"a convolution hears its neighbours by their tags, but the mask {self.mask} reads "
                f"the pairs {', '.join(sorted(self.mask.pairs))}; give a mask without them"
            )


@dataclass(frozen=True)
class Branch:
    """One residual branch of a block: x + dropout(op(norm(x))), or norm(x + dropout(op(x))).

    `kind` names it in parameter paths; `self` attends within the stream, `cross` to the encoder.
    `reads="block"` takes what entered the block in place of the stream: parallel residuals.
    `blank`: padding is the zero vector behind it.
    """

    kind: Literal["self", "cross", "ffn", "experts", "conv"]
    op: AttentionSpec | FeedForward | Experts | Conv
    norm: Norm | None = None
    placement: Literal["pre", "post"] = "pre"
    dropout: float = 0.0
    reads: Literal["stream", "block"] = "stream"
    blank: bool = False


Block = tuple[Branch, ...]
"""What one layer does: branches, in order."""


class Layout:
    """What a family knows of its tokens beyond their places: tags that it writes, such as the
    number of a block. A frozen record; tags known while tracing stay NumPy arrays. The nodes that
    it is given carry `noise`, 1 in a call with a key."""

    tags: frozenset[str] = frozenset()

    def __call__(self, nodes: Nodes) -> Nodes:
        raise NotImplementedError


@dataclass(frozen=True)
class Segment:
    """Consecutive layers of a stack in which a pattern of blocks repeats.

    Attributes:
        first: the number of its first layer.
        slot: the number of its first slot; a slot is a place in a pattern, whose blocks are alike
            and share one array of parameters with a leading `layers` axis.
    """

    pattern: tuple[Block, ...]
    repeats: int
    first: int
    slot: int


@dataclass(frozen=True)
class StackSpec:
    """Layers, one after the other, then a norm.

    Attributes:
        blocks: what each layer does. Layers that repeat are found (`segments`) and compiled once.
        order: which layer's parameters each step uses, where that is not every layer once; all
            layers must be alike then (ALBERT applies one many times: (0, 0, 0, ...)).
        score: what positions add to the scores of every self-attention of the stack.
        layout: writes tags before the edges are drawn.
        dropout: of what leaves the final norm.
        layerdrop: with a key, how often a whole layer is left out (Fan et al. 2019, LayerDrop).
        alone: whether it may run without a source; its cross-attention is left out then (BART's
            decoder alone, whose files hold it all the same).
    """

    width: int
    blocks: tuple[Block, ...]
    final_norm: Norm | None = None
    order: tuple[int, ...] = ()
    score: ScoreSpec | None = None
    layout: Layout | None = None
    dropout: float = 0.0
    layerdrop: float = 0.0
    alone: bool = False
    initial: Initial = field(default_factory=Initial)

    def __post_init__(self):
        if not self.blocks:
            raise ValueError("a stack has at least one layer")
        if self.order and (len(set(self.blocks)) > 1 or max(self.order) >= len(self.blocks)):
            raise ValueError(
                f"order {self.order} needs layers that are all alike, and no more than the "
                f"{len(self.blocks)} there are"
            )

    @property
    def applied(self) -> tuple[Block, ...]:
        """The blocks in the order in which they are applied."""
        return tuple(self.blocks[n] for n in self.order) or self.blocks

    @property
    def depth(self) -> int:
        """How many blocks are applied."""
        return len(self.applied)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The stack as patterns that repeat, with as few slots as possible."""
        return segments_of(self.blocks)

    @property
    def slots(self) -> tuple[range, ...]:
        """For each slot the layers whose parameters it holds."""
        return tuple(
            range(s.first + n, s.first + len(s.pattern) * s.repeats, len(s.pattern))
            for s in self.segments
            for n in range(len(s.pattern))
        )


@functools.cache
def segments_of(blocks: tuple[Block, ...]) -> tuple[Segment, ...]:
    """The fewest slots in which these layers can be stored: patterns, each repeated in a row.

    Among equals the longest first segment wins, so that a remainder stands at the end.
    """
    kinds = {block: number for number, block in enumerate(dict.fromkeys(blocks))}
    layers = [kinds[block] for block in blocks]
    count = len(layers)
    # best[n]: ((slots, segments), pattern length, repeats) of the layers from n on
    best: list[tuple[tuple[int, int], int, int]] = [((0, 0), 0, 0)] * (count + 1)
    for first in reversed(range(count)):
        found = []
        for period in range(1, count - first + 1):
            end = first + period
            while end <= count:
                (slots, parts), *_ = best[end]
                repeats = (end - first) // period
                found.append(((period + slots, 1 + parts), -(end - first), period, repeats))
                if layers[end : end + period] != layers[first : first + period]:
                    break
                end += period
        cost, _, period, repeats = min(found)
        best[first] = cost, period, repeats
    segments, first, slot = [], 0, 0
    while first < count:
        _, period, repeats = best[first]
        segments.append(Segment(blocks[first : first + period], repeats, first, slot))
        first, slot = first + period * repeats, slot + period
    return tuple(segments)


REMAT = (
    "full",
    "dots",
    "attention",
    "ffn",
    "nothing_saveable",
    "everything_saveable",
    "dots_saveable",
    "checkpoint_dots",
    "dots_with_no_batch_dims_saveable",
    "checkpoint_dots_with_no_batch_dims",
)
"""What may be recomputed in the backward pass; beyond the first four, jax.checkpoint_policies."""


@dataclass(frozen=True)
class Execution:
    """How a model is run, as opposed to what it computes (without a key, at least).

    Attributes:
        attention: backend of `attend`, or "auto".
        layers: "stacked" parameters have a leading layers axis; with "list" each layer has its own
            tree, which is what decoding loops want.
        unroll: whether stacked layers are unrolled inside the trace (faster steps on a CPU)
            or scanned (compile time independent of depth); None chooses by platform.
        remat: what the backward pass recomputes: None (nothing), "full" (each block), "dots"
            (all but products of activations and parameters), "attention" or "ffn" (those branches
            alone), or the name of one of jax.checkpoint_policies, which says what of a block is
            kept. On a CPU memory is saved only where layers are scanned (`unroll=False`).
        compute: dtype of activations; None means that of the parameters; "mixed" means float32,
            with products of activations and parameters made from bfloat16 operands, forward and
            backward (1.6 times faster steps on CPUs with AVX-512-bf16).
        drop_path: stochastic depth (Huang et al. 2016): with a key, each row leaves out a branch
            of layer l of L (from 1) with probability drop_path * l / L.
    """

    attention: str = "auto"
    layers: Literal["stacked", "list"] = "stacked"
    unroll: bool | None = None
    remat: str | None = None
    compute: str | None = None
    drop_path: float = 0.0

    def __post_init__(self):
        for name, value, options in (
            ("layers", self.layers, ("stacked", "list")),
            ("remat", self.remat, (None, *REMAT)),
        ):
            if value not in options:
                raise ValueError(f"{name}={value!r}: expected one of {options}")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path ({self.drop_path}) must lie in [0, 1)")
