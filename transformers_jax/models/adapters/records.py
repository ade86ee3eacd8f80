"""The adapters as frozen records: values for the slot `adapter` of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from transformers_jax.models.frozen import Frozen
from transformers_jax.settings import Settings
from transformers_jax.sizes import check_count

ALL_LINEAR = "all-linear"

Names = str | tuple[str, ...]
"""A regular expression of whole names, or names of which each fits what ends with it."""

PairsOf = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Adapter(Settings):
    """What all adapters share. Fields have the names of PEFT's configs where these say it well."""

    modules_to_save: tuple[str, ...] = ()
    """parts of the model, by the ends of their names on disk, that are trained and saved as a
    whole, such as ("classifier",)"""
    file: Frozen = Frozen()
    """the adapter_config.json that it was read from, to be written as it was"""

    def __post_init__(self) -> None:
        for name in ("rank_pattern", "alpha_pattern"):
            if isinstance(pairs := getattr(self, name, None), Mapping):
                object.__setattr__(self, name, tuple(pairs.items()))
        for name in ("targets", "exclude", "feedforward", "parameters", "modules_to_save"):
            if isinstance(names := getattr(self, name, None), (set, frozenset)):
                object.__setattr__(self, name, tuple(sorted(names)))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class LoRA(Adapter):
    """Low-rank factors beside weights: W + alpha / rank * B A (Hu et al. 2022, section 4.1).

    Raises:
        ValueError: a rank below 1, or dropout, which is not computed here.
    """

    rank: int = 8
    alpha: float = 8
    """strength: the factors count alpha / rank"""
    targets: Names = ALL_LINEAR
    """which weights: names on disk ("q_proj": whatever ends with it), a regular expression of whole
    names, patterns of our own paths ("stack.layers.*.self.query"), or "all-linear": every one but
    those of embeddings and of the output embedding"""
    parameters: tuple[str, ...] = ()
    """tensors by the ends of their names ("experts.expert_0.wi.weight"): PEFT's
    `target_parameters`"""
    exclude: Names = ()
    layers: tuple[int, ...] | None = None
    """the numbers of the layers; None for all"""
    rslora: bool = False
    """the factors count alpha / sqrt(rank) (Kalajdzievski 2023, equation 5)"""
    dora: bool = False
    """magnitudes beside directions (Liu et al. 2024, section 4)"""
    rank_pattern: PairsOf = ()
    """(end of a name or regular expression, another rank); the first that fits counts"""
    alpha_pattern: PairsOf = ()
    bias: Literal["none", "all", "lora_only"] = "none"
    """which biases are trained as well"""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dropout and not self.file:
            raise ValueError(
                f"LoRA: dropout ({self.dropout}) in front of the factors is not computed: where "
                "weights are multiplied there is no key; the model's own dropout has one. Leave it "
                "out"
            )
        ranks = [("rank", self.rank), *((f"rank_pattern[{n!r}]", r) for n, r in self.rank_pattern)]
        if wrong := [f"{name} ({r}) must be at least 1" for name, r in ranks if not r >= 1]:
            raise ValueError("LoRA: " + "; ".join(wrong))
        if self.parameters and self.targets == ALL_LINEAR:
            object.__setattr__(self, "targets", ())

    def strength(self, rank: int, alpha: float) -> float:
        """What the product of the factors is multiplied with."""
        return alpha / (math.sqrt(rank) if self.rslora else rank)


@dataclass(frozen=True, kw_only=True)
class IA3(Adapter):
    """A learned scale for each output of some weights, and for each input of those of the
    feed-forward layers (Liu et al. 2022, section 3.3)."""

    targets: Names = ALL_LINEAR
    feedforward: Names = ()
    """those of the targets of which inputs are scaled"""
    exclude: Names = ()


@dataclass(frozen=True, kw_only=True)
class PromptTuning(Adapter):
    """Trained vectors in front of those of every row (Lester et al. 2021, section 2). In an encoder
    and a decoder they stand in front of the encoder's.

    Raises:
        ValueError: fewer than one token.
    """

    tokens: int = 20
    """how many"""
    init: str | tuple[int, ...] = "random"
    """how they begin: "random" numbers, the vectors of words that are drawn from the "vocabulary",
    or those of a text or of ids, cut or repeated to as many as there are"""
    tokenizer: str | None = None
    """what reads such a text: a directory, or a hub id; in a run, that of its checkpoint"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("PromptTuning.tokens", self.tokens)

    @property
    def is_text(self) -> bool:
        """Whether the tokens begin as those of a text."""
        return isinstance(self.init, str) and self.init not in ("random", "vocabulary")


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(Adapter):
    """Trained keys and values in front of those of every row, in each layer (Li and Liang 2021,
    section 4; of encoders Liu et al. 2022, P-tuning v2). In an encoder and a decoder they are the
    decoder's.

    Raises:
        ValueError: fewer than one token, or a `hidden` width without a projection.
    """

    tokens: int = 20
    """how many"""
    projection: bool = False
    """whether an MLP computes them while they are trained; files hold its result"""
    hidden: int | None = None
    """the width of that MLP; None: that of the keys of a layer"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("PrefixTuning.tokens", self.tokens)
        if self.hidden is not None:
            check_count("PrefixTuning.hidden", self.hidden)
            if not self.projection and not self.file:
                raise ValueError(
                    f"PrefixTuning: hidden={self.hidden} is the width of an MLP, and there is "
                    "none; set projection=True"
                )


@dataclass(frozen=True, kw_only=True)
class BitFit(Adapter):
    """Only the biases are trained (Ben Zaken et al. 2022)."""


@dataclass(frozen=True, kw_only=True)
class Freeze(Adapter):
    """All is trained but what these patterns fit: `*` crosses dots, layers have numbers
    ("embed.*", "stack.layers.0.*")."""

    paths: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Train(Adapter):
    """Only what these patterns fit is trained: `*` crosses dots, layers have numbers ("head.*")."""

    paths: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Probe(Train):
    """A linear probe: only the last layer of the head is trained, on what the frozen model says of
    a row (Alain and Bengio 2017).

    Raises:
        ValueError: a penalty that is negative, or of training by gradients.
    """

    paths: tuple[str, ...] = ("head.classify.*",)
    solver: Literal["exact", "gradient"] = "exact"
    """exact: features are computed once, and scikit-learn solves the layer for all rows; gradient:
    steps of the optimizer"""
    penalty: float | None = None
    """of the exact solution, which has the least mean loss + penalty / 2 * |W|^2; by default that
    of scikit-learn, C = 1"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty is not None and not 0 <= self.penalty < math.inf:
            raise ValueError(f"Probe: penalty ({self.penalty}) must be at least 0")
        if self.penalty is not None and self.solver == "gradient":
            raise ValueError(
                "Probe: penalty is of the exact solution; steps by gradients decay weights: "
                "--optimizer.weight-decay"
            )


AnyAdapter = LoRA | IA3 | PromptTuning | PrefixTuning | BitFit | Freeze | Train | Probe
ADAPTERS: tuple[Any, ...] = get_args(AnyAdapter)
"""The kinds of adapters."""
