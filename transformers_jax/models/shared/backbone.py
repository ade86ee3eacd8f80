"""Encoders of images whose hidden states other models read, by the names of their stages."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.shared.standard import ImageTower
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn import head as heads
from transformers_jax.nn.image.pyramid import Neck

STAGE_NAMES = frozenset({"stage_names"})
"""A key that changes nothing: "stem", "stage1", ... of as many stages as there are."""


@dataclass(frozen=True, kw_only=True)
class BackboneFamily(OneTower):
    """A family with the head "backbone". Its stages are "stem", what enters the first, and
    "stage1" to the last, what leaves each; those of `out_features`, or of `out_indices`, are given
    out, or else the last."""

    UNUSED = STAGE_NAMES
    PREFIXES = {"backbone": ""}

    out_features: tuple[str, ...] | None = None
    out_indices: tuple[int, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        self.stages()  # refuse wrong ones before any work

    @property
    def stage_count(self) -> int:
        """How many stages there are behind the stem."""
        raise NotImplementedError

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of all stages."""
        return ("stem", *(f"stage{n}" for n in range(1, self.stage_count + 1)))

    def stages(self) -> tuple[int, ...]:
        """The numbers of the stages that are given out.

        Raises:
            ValueError: stages that there are not, that are out of order or twice, or names and
                numbers that contradict each other.
        """
        names, known = self.out_features, self.stage_names
        count = len(known)
        if names is not None and (unknown := [name for name in names if name not in known]):
            raise ValueError(
                f"{type(self).__name__}: out_features has {unknown[0]!r}; the stages are "
                f"{known[0]!r} to {known[-1]!r}"
            )
        by_name = None if names is None else tuple(known.index(name) for name in names)
        numbers = self.out_indices
        if numbers is not None and not all(-count <= n < count for n in numbers):
            raise ValueError(
                f"{type(self).__name__}: out_indices {numbers} must lie between {-count} and "
                f"{count - 1}"
            )
        by_number = None if numbers is None else tuple(n % count for n in numbers)
        if by_name is not None and by_number is not None and by_name != by_number:
            raise ValueError(
                f"{type(self).__name__}: out_features {names} and out_indices {numbers} are "
                "different stages; give one of them, and None for the other"
            )
        stages = by_number if by_name is None else by_name
        if stages is not None and list(stages) != sorted({*stages}):
            raise ValueError(
                f"{type(self).__name__}: the stages {names or numbers} must stand in the order of "
                "the layers, each once"
            )
        return (count - 1,) if stages is None else stages


@dataclass(frozen=True, kw_only=True)
class BackboneTower(BackboneFamily, ImageTower):
    """A tower of images whose stages are its layers."""

    reshape_hidden_states: bool = True

    @property
    def stage_count(self):
        return self.num_hidden_layers

    def feature_maps(
        self,
        normed: bool = False,
        last_normed: bool = False,
        patches_only: bool = False,
        neck: Neck | None = None,
    ) -> heads.FeatureMaps:
        """The head "backbone" (`FeatureMaps`)."""
        patches, last = self.patches(), self.num_hidden_layers
        stages = {n: normed or (last_normed and n == last) for n in self.stages()}
        return heads.FeatureMaps(
            stages, patches.in_front, patches.patch, self.reshape_hidden_states, patches_only, neck
        )
