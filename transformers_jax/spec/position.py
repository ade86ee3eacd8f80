"""How positions enter attention: rotations, and what is added to the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers_jax.spec.norm import Norm


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
    """Interpolates slow frequencies, keeps fast ones, and scales the scores (Peng et al. 2023)."""

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
    """Each pair's frequency divided by a factor of its own; `long` ones once positions pass
    `original`, with scores multiplied by `attention_factor`^2 (LongRoPE, Ding et al. 2024)."""

    short: tuple[float, ...]
    long: tuple[float, ...]
    original: int
    attention_factor: float = 1.0


Scaling = LinearScaling | DynamicScaling | YarnScaling | Llama3Scaling | LongScaling


@dataclass(frozen=True)
class Rotary:
    """Queries and keys are rotated by angles proportional to position (Su et al. 2021).

    `fraction` of each head is rotated (GPT-NeoX: 0.25). The numbers i and i + R/2 of these R are a
    pair, or, `interleaved`, 2i and 2i + 1 (RoFormer, GPT-J).
    With `values` the values are rotated as well (RoFormer).
    `frequencies` are radians per position of each pair in place of those of the base, where files
    hold others (ESM, whose were rounded to float16).
    """

    base: float = 10000.0
    fraction: float = 1.0
    scaling: Scaling | None = None
    interleaved: bool = False
    values: bool = False
    frequencies: tuple[float, ...] | None = None

    def check(self, width: int) -> None:
        """Raises ValueError where heads of this width cannot be rotated so."""
        turned = int(width * self.fraction)
        if turned % 2:
            raise ValueError(
                f"a rotation turns pairs: kv ({width}) times the fraction ({self.fraction}) that "
                "is rotated must be an even number"
            )
        if self.frequencies is not None and len(self.frequencies) != turned // 2:
            raise ValueError(
                f"a rotation has {len(self.frequencies)} frequencies; {turned // 2} pairs of "
                f"numbers of each head are rotated (half of {turned}): give one for each"
            )
        if isinstance(scaling := self.scaling, LongScaling):
            short, long = len(scaling.short), len(scaling.long)
            if {short, long} != {turned // 2}:
                raise ValueError(
                    f"LongRoPE has {short} short factors and {long} long ones; {turned // 2} pairs "
                    f"of numbers of each head are rotated (half of {turned}): give one for each"
                )

    @property
    def by_length(self) -> bool:
        """Whether the longest row of a batch decides the rotation of all."""
        return isinstance(self.scaling, DynamicScaling | LongScaling)


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
    """A bias linear in the distance, steeper for later heads (Press et al. 2021).

    Attributes:
        signed: whether later keys than the query gain by their distance, instead of losing as
            earlier ones do: the bias is then linear in the position of the key (BLOOM). Under a
            causal mask only padding sees later keys.
        scale: multiplies the bias (Falcon: 1 / sqrt(K), as it does the products).
        rounded: whether slopes and their products with positions are rounded to bfloat16 (Falcon,
            whose released weights were trained with those).
    """

    signed: bool = False
    scale: float = 1.0
    rounded: bool = False


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
        terms: "key": queries times positions as keys; "query": keys times positions as queries.
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
    """score = v . act(query + key), in place of the scaled product; v is a layer's own.

    Attributes:
        leak: act is tanh where it is None (Bahdanau et al. 2014, section 3.1); else a rectifier
            that multiplies what is below 0 by it (Brody et al. 2021, GATv2, equation 7).
        features: (the name of a pair array [b T S F], F): act is of query + key + features W, with
            a matrix W of the layer's own.
    """

    leak: float | None = None
    features: tuple[str, int] | None = None


@dataclass(frozen=True)
class Kernel:
    """The weight of a key is phi(query) . phi(key) by the sum of these, phi(x) = elu(x) + 1, in
    place of the softmax of scaled products (Katharopoulos et al. 2020, section 3.2): its score is
    the logarithm. Along masks of `Full`, `Before` and `Same` time and memory are linear in the
    tokens (`nn.attend.linear`). No scale enters it."""


@dataclass(frozen=True)
class Counted:
    """A key counts `times` times in the softmax where the query's tag `query` and the key's tag
    `key` are above 0: log(times) is added to the score (BigBird, whose random blocks may be one
    block several times)."""

    times: int
    query: str
    key: str


@dataclass(frozen=True)
class EdgeFeatures:
    """A number per head that is learned from features of the edge between query and key, passed
    with a call as `pairs={name: ...}`: Float[b T S F] times a matrix (the pair bias of AlphaFold,
    Jumper et al. 2021, supplement 1.6.1), or Int[b T S], a category, by a table (the distances of
    Graphormer, Ying et al. 2021, section 3.1.2).

    Attributes:
        pairs: the name of the array.
        size: F, or how many categories there are.
    """

    pairs: str
    size: int
    categories: bool = False


class OwnScore:
    """A score that builds its module itself: a frozen record of one kind of attention.

    Attributes:
        pairs: the names of the pair arrays that it reads.
    """

    pairs: tuple[str, ...] = ()

    def build(self, attention: Any, initial: Any) -> Any:
        """The module of its parameters in a layer with this attention (`spec.OpSpec`): called, it
        gives a `nn.attend.Score`."""
        raise NotImplementedError


@dataclass(frozen=True)
class GridBias:
    """A number per head for each offset, down and across, between two patches of an image, and for
    pairs with the class token (Bao et al. 2021, BEiT); `grid` is that of the trained size."""

    grid: tuple[int, int]
    heads: int


@dataclass(frozen=True)
class GridRotary(Rotary):
    """Rotary positions of patches by the places of their centres, from -1 to 1 down and across: a
    half of the angles each (Simeoni et al. 2025, DINOv3). Other tokens are not rotated.

    Attributes:
        shift, jitter, rescale: with a key, places are shifted by up to `shift`, stretched by up to
            `jitter` down and across apart, and by up to `rescale` together.
    """

    shift: float | None = None
    jitter: float | None = None
    rescale: float | None = None


ScoreSpec = (
    Buckets
    | Alibi
    | RelativeTable
    | Disentangled
    | Additive
    | Kernel
    | Counted
    | EdgeFeatures
    | GridBias
    | OwnScore
)
"""What is added to the scores or takes their place, learned by the stack for all layers or by each
layer."""
