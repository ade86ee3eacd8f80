"""The optimizers as frozen records: plain values, which a config file can hold.

All share settings of single parameters, by glob patterns over their names, where `*` crosses
dots, layers have numbers (`stack.layers.3.self.query`) and the last pattern that matches counts:
`decay` (another weight decay), `rates` (a factor of the learning rate) and `freeze` (no change).
`layer_decay` makes lower layers learn more slowly. `average` keeps a moving average of the
parameters, which is then what is evaluated, sampled and exported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optax
from optax import contrib

from transformers_jax.nn.param import unflatten
from transformers_jax.optim import transform
from transformers_jax.optim.layers import muon_sides, orthogonal_rms, per_layer
from transformers_jax.optim.leaves import Leaf, leaves
from transformers_jax.optim.schedules import Constant, Cosine, InverseRoot, Rate, Schedule
from transformers_jax.settings import Settings

TINY = float(np.finfo(np.float32).tiny)  # devices take what is smaller for 0

Range = tuple[Callable[[float], bool], str]
POSITIVE: Range = (lambda value: value > 0, "positive")
COUNT: Range = (lambda value: value >= 1, "at least 1")
FRACTION: Range = (lambda value: 0 <= value < 1, "from 0 to below 1")
PART: Range = (lambda value: 0 < value <= 1, "above 0, at most 1")
PLAUSIBLE: dict[str, Range] = {
    "peak": POSITIVE,
    "weight_decay": (lambda value: value >= 0, "at least 0"),
    "layer_decay": PART,
    "average": FRACTION,
    "b1": FRACTION,
    "b2": FRACTION,
    "momentum": FRACTION,
    "eps": (lambda value: value >= TINY, f"positive, at least {TINY:.2g} (the least float32)"),
    "exponent": PART,
    "clip": POSITIVE,
    "floor": POSITIVE,
    "smallest": COUNT,
    "rounds": COUNT,
    "rms": POSITIVE,
}
"""What the numbers of optimizers must be, by the names of their fields."""


@dataclass(frozen=True, kw_only=True)
class Optimization(Settings):
    """What all optimizers share."""

    peak: float
    """the learning rate at the top of the schedule"""
    schedule: Schedule
    """its shape over the steps"""
    weight_decay: float
    """of matrices, as a fraction of the learning rate; vectors do not decay"""
    decay: tuple[tuple[str, float], ...] = ()
    """(pattern, weight decay) of single parameters, e.g. (("embed.*", 0.0),)"""
    rates: tuple[tuple[str, float], ...] = ()
    """(pattern, factor of the learning rate) of single parameters"""
    freeze: tuple[str, ...] = ()
    """patterns of parameters that are not trained"""
    layer_decay: float = 1.0
    """layer n of a stack of L learns with layer_decay^(L - n) of the rate, embeddings and tables of
    relative positions with layer_decay^(L + 1), L being the depth of the stack that reads them (of
    the deepest, where several do), all else (heads, poolers, norms behind a stack, what leads from
    an encoder to a decoder) with the whole (Clark et al. 2020, ELECTRA, appendix B; exponents as in
    Bao et al. 2022, BEiT); 1 for none"""
    average: float = 0.0
    """decay of a moving average of the parameters, e.g. 0.999; 0 for none"""

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = [
            f"{name} ({value}) must be {words}"
            for name, value, good, words in self._checks()
            if not good
        ]
        if problems:
            raise ValueError(f"optimizer, {type(self).__name__}: " + "; ".join(problems))

    def _checks(self) -> list[tuple[str, Any, bool, str]]:
        ranges = [(name, *PLAUSIBLE[name]) for name in PLAUSIBLE if hasattr(self, name)]
        return [
            (name, getattr(self, name), good(getattr(self, name)), words)
            for name, good, words in ranges
        ]

    def direction(self, known: Mapping[str, Leaf]) -> optax.GradientTransformation:
        """From gradients to directions, before decay and rate, of the parameters `known`."""
        raise NotImplementedError

    def leaves(self, axes: Any) -> dict[str, Leaf]:
        """The settings of each parameter, by path: `leaves.leaves`."""
        return leaves(axes, self)

    def build(self, axes: Any, steps: int) -> transform.Optimizer:
        """The optimizer of parameters whose axis names are `axes`, over a schedule of `steps`.

        Raises:
            ValueError: a pattern that matches no parameter; a schedule that `steps` cannot hold.
        """
        known, rate = self.leaves(axes), self.schedule.rate(self.peak, steps)
        inner = optax.chain(self.direction(known), transform.applied(known, rate))
        inner, evaluated = self._averaging(inner, rate)
        return transform.optimizer(known, inner, rate, evaluated)

    def _averaging(
        self, inner: optax.GradientTransformation, rate: Rate
    ) -> tuple[optax.GradientTransformation, transform.Evaluated | None]:
        return transform.moving_average(inner, self.average) if self.average else (inner, None)


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimization):
    """AdamW (Loshchilov and Hutter 2019); only matrices decay."""

    peak: float = 6e-4
    schedule: Schedule = Cosine()
    weight_decay: float = 0.1
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8

    def direction(self, known: Mapping[str, Leaf]) -> optax.GradientTransformation:
        """Adam for every parameter."""
        return optax.scale_by_adam(self.b1, self.b2, self.eps)


@dataclass(frozen=True, kw_only=True)
class Adafactor(Optimization):
    """Adafactor (Shazeer and Stern 2018), as T5 was trained: no momentum, second moments of
    matrices as row and column means, updates relative to the size of the parameter."""

    peak: float = 1e-2
    schedule: Schedule = InverseRoot(10_000, "peak")
    weight_decay: float = 0.0
    exponent: float = 0.8
    """the second moment is kept by 1 - step^-exponent (section 7.2)"""
    eps: float = 1e-30
    """added to squared gradients"""
    clip: float = 1.0
    """largest root mean square of a parameter's update, before it is scaled (section 6)"""
    relative: bool = True
    """updates are multiplied by the root mean square of the parameter (section 8)"""
    floor: float = 1e-3
    """smallest root mean square that a parameter counts with"""
    smallest: int = 128
    """shortest side of a matrix whose second moment is factored"""

    def direction(self, known: Mapping[str, Leaf]) -> optax.GradientTransformation:
        """Factored second moments where they pay, whole ones elsewhere."""
        parts = [
            optax.scale_by_factored_rms(
                decay_rate=self.exponent, min_dim_size_to_factor=self.smallest, epsilon=self.eps
            ),
            optax.clip_by_block_rms(self.clip),
            *([optax.scale_by_param_block_rms(self.floor)] if self.relative else []),
        ]
        return per_layer(optax.chain(*parts), known)


@dataclass(frozen=True, kw_only=True)
class Lion(Optimization):
    """Lion (Chen et al. 2023): signs of a momentum; a rate 3 to 10 times below AdamW's, with as
    much more weight decay (section 5)."""

    peak: float = 1e-4
    schedule: Schedule = Cosine()
    weight_decay: float = 1.0
    b1: float = 0.9
    b2: float = 0.99

    def direction(self, known: Mapping[str, Leaf]) -> optax.GradientTransformation:
        """Signs for every parameter."""
        return optax.scale_by_lion(self.b1, self.b2)


@dataclass(frozen=True, kw_only=True)
class Muon(Optimization):
    """Muon (Jordan et al. 2024) for the matrices of the blocks; AdamW for embeddings, heads and
    vectors. Updates have AdamW's size, so that both share rate and decay (Liu et al. 2025)."""

    peak: float = 6e-4
    schedule: Schedule = Cosine()
    weight_decay: float = 0.1
    momentum: float = 0.95
    rounds: int = 5
    """of Newton and Schulz's iteration"""
    rms: float = 0.2
    """root mean square of an update at a learning rate of 1 (Liu et al. 2025, equation 4)"""
    b1: float = 0.9
    """b1, b2 and eps are those of AdamW"""
    b2: float = 0.95
    eps: float = 1e-8

    def direction(self, known: Mapping[str, Leaf]) -> optax.GradientTransformation:
        """Muon for matrices within blocks, Adam for everything else."""
        sides = functools.partial(muon_sides, known)
        muon = optax.chain(
            contrib.scale_by_muon(
                ns_steps=self.rounds, beta=self.momentum, weight_dimension_numbers=sides
            ),
            orthogonal_rms(self.rms, sides),
        )
        adam = optax.scale_by_adam(self.b1, self.b2, self.eps)
        rules = {p: "muon" if leaf.block and leaf.matrix else "adam" for p, leaf in known.items()}
        return optax.partition({"muon": muon, "adam": adam}, unflatten(rules))


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeAdamW(Optimization):
    """Schedule-free AdamW (Defazio et al. 2024): the mean of the iterates replaces the decay of
    the rate. What is evaluated is that mean, so there is no `average` besides it."""

    peak: float = 2.5e-3
    schedule: Schedule = Constant()
    weight_decay: float = 0.1
    b1: float = 0.9
    """how far gradients are taken towards the mean"""
    b2: float = 0.999
    eps: float = 1e-8

    def _checks(self):
        near = "positive: gradients must be taken near the mean"
        return [
            *super()._checks(),
            ("b1", self.b1, self.b1 > 0, near),
            ("average", self.average, self.average == 0, "0: this optimizer is an average itself"),
        ]

    def direction(self, known: Mapping[str, Leaf]) -> optax.GradientTransformation:
        """Adam without momentum for every parameter."""
        return optax.scale_by_rms(self.b2, self.eps, eps_in_sqrt=False, bias_correction=True)

    def _averaging(self, inner, rate):
        # optax weighs the iterate of its first step by the rate of step 1, and moves by that of 0
        return contrib.schedule_free(
            inner, lambda step: rate(step - 1), self.b1
        ), contrib.schedule_free_eval_params
