"""Families of a tower for texts and one for images, whose rows a head compares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from transformers_jax.hub.table import BACKBONE, Table, rows
from transformers_jax.models.composite import CompositeConfig
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import by_stack
from transformers_jax.models.shared.standard import StandardTower
from transformers_jax.models.shared.weight_rows import nested
from transformers_jax.models.wiring import DualEncoder
from transformers_jax.nn.head import Contrastive, Projected
from transformers_jax.spec import Initial


class Side(NamedTuple):
    """The names of a tower and of its projection in files, and of what is projected in outputs."""

    tower: str
    projection: str
    field: str


SIDES = {
    "text": Side("text_model", "text_projection.weight", "text_embeds"),
    "vision": Side("vision_model", "visual_projection.weight", "image_embeds"),
}


@dataclass(frozen=True, kw_only=True)
class DualTower(StandardTower):
    """One of the two towers, as a family of its own; nothing but attention has dropout."""

    FIXED = {"dropout": 0.0}
    # no fields here
    hidden_dropout_prob: ClassVar[float] = 0.0  # type: ignore[misc]
    attention_probs_dropout_prob: ClassVar[float] = 0.0  # type: ignore[misc]

    projection_dim: int = 512
    attention_dropout: float = 0.0
    initializer_factor: float = 1.0

    @property
    def modality(self) -> str:
        """Which of the two it is: "text" or "vision", as in "clip_text_model"."""
        return self.model_type.split("_")[-2]

    def attend(self, mask):
        return replace(super().attend(mask), dropout=self.attention_dropout)

    def head(self, head):
        size, initial = self.projection_dim, self.initial
        return Projected(self.hidden_size, size, initial, SIDES[self.modality].field)

    def prefix(self, head):
        return f"{SIDES[self.modality].tower}."

    def head_rows(self, head, tied):
        row = f"{SIDES[self.modality].projection} | head.projection.weight | e d -> d e"
        return row if head == "projection" else ""

    def table(self, head) -> Table:
        others = [side for name, side in SIDES.items() if name != self.modality]
        ignore = [name for side in others for name in (f"{side.tower}.*", side.projection)]
        return replace(super().table(head), ignore=("*.position_ids", *ignore, "logit_scale"))


@dataclass(frozen=True, kw_only=True)
class DualConfig(CompositeConfig):
    """The configs of the two towers, and of the head that compares them."""

    PARTS = ("text_config", "vision_config")

    text_config: FamilyConfig
    vision_config: FamilyConfig
    projection_dim: int = 512
    logit_scale_init_value: float = 2.6592
    initializer_factor: float = 1.0

    @classmethod
    def from_dict(cls, values, *, ignore=()):
        """The older `text_config_dict` and `vision_config_dict` replace the whole config of a
        tower: what they leave out has the family's default, as in the reference."""
        values = dict(values)
        for name in cls.PARTS:
            if (older := values.pop(f"{name}_dict", None)) is not None:
                kind = f"{cls.model_type}_{name.removesuffix('_config')}_model"
                values[name] = {"model_type": kind, **older}
        return super().from_dict(values, ignore=ignore)

    @property
    def initial(self) -> Initial:
        """The rule of the head's first weights."""
        raise NotImplementedError

    @property
    def towers(self) -> dict[str, FamilyConfig]:
        """The configs of the towers by their names."""
        return {"text": self.text_config, "vision": self.vision_config}

    def mask_names(self, head):
        return tuple(self.towers)

    def build(self, head, execution, mask=None) -> DualEncoder:
        masks = by_stack(mask, "text")
        towers = {
            name: inner.build("none", execution, masks.get(name)).last
            for name, inner in self.towers.items()
        }
        text, vision = (tower.stack.spec.width for tower in towers.values())
        scale = self.logit_scale_init_value
        compare = Contrastive(text, vision, self.projection_dim, self.initial, scale)
        return DualEncoder(towers, compare)

    def table(self, head) -> Table:
        every = rows("logit_scale | head.scale")
        for name, inner in self.towers.items():
            parts = {"embed": f"{name}_embed", "stack": name, "pooler": f"{name}_pooler"}
            own = nested(inner.table("none"), "", parts).rows
            every += rows(f"{SIDES[name].projection} | head.{name}.weight | e d -> d e")
            every += tuple(row for row in own if row.group == BACKBONE)
        return Table(every, ignore=("*.position_ids",))
