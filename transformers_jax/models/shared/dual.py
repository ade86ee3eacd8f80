"""Families of a tower for texts and one for images, whose rows a head compares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from transformers_jax.hub.table import BACKBONE, Table, rows
from transformers_jax.models import FAMILIES
from transformers_jax.models.composite import CompositeConfig
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import by_stack
from transformers_jax.models.shared.standard import StandardTower
from transformers_jax.models.shared.weight_rows import layer, nested
from transformers_jax.models.wiring import DualEncoder, Network
from transformers_jax.nn.head import Contrastive, SequenceClassification
from transformers_jax.nn.pooling import Name, Pooling
from transformers_jax.spec import Initial


class Side(NamedTuple):
    """The names of a tower and of its projection in files, and of what is projected in outputs;
    what the tower reads, and families that do."""

    tower: str
    projection: str
    field: str
    raw: str
    example: str


SIDES = {
    "text": Side(
        "text_model", "text_projection.weight", "text_embeds", "input_ids", "bert or roberta"
    ),
    "vision": Side(
        "vision_model", "visual_projection.weight", "image_embeds", "pixel_values", "vit"
    ),
}
COMPARED = ("logit_scale", "logit_bias", *(side.projection for side in SIDES.values()))
"""The names in files of what compares the rows of two towers."""
CLASSIFIER = "image_classification"
"""The head for which there is the tower of images only."""


@dataclass(frozen=True, kw_only=True)
class DualTower(StandardTower):
    """One of the two towers, as a family of its own; nothing but attention has dropout."""

    FIXED = {"dropout": 0.0}
    # no fields here
    hidden_dropout_prob: ClassVar[float] = 0.0  # type: ignore[misc]
    attention_probs_dropout_prob: ClassVar[float] = 0.0  # type: ignore[misc]

    attention_dropout: float = 0.0

    @property
    def modality(self) -> str:
        """Which of the two it is: "text" or "vision", as in "clip_text_model"."""
        return self.model_type.split("_")[-2]

    def attend(self, mask):
        return replace(super().attend(mask), dropout=self.attention_dropout)

    def prefix(self, head):
        return f"{SIDES[self.modality].tower}."

    def table(self, head) -> Table:
        others = [f"{side.tower}.*" for name, side in SIDES.items() if name != self.modality]
        own = SIDES[self.modality].projection if head == "projection" else ""
        beside = [name for name in COMPARED if name != own]
        ignore = ("*.position_ids", "classifier.*", *others, *beside)
        return replace(super().table(head), ignore=ignore)


@dataclass(frozen=True, kw_only=True)
class DualConfig(CompositeConfig):
    """The configs of the two towers, and of the head that compares them. An image is classified by
    the tower of images alone.

    Class attributes:
        POOLED: the vector of an image that is classified.
    """

    PARTS = ("text_config", "vision_config")
    POOLED: ClassVar[Pooling | Name] = "mean of all"

    text_config: FamilyConfig
    vision_config: FamilyConfig

    @classmethod
    def from_dict(cls, values, *, ignore=()):
        """The older `text_config_dict` and `vision_config_dict` replace the whole config of a
        tower: what they leave out has the family's default, as in the reference."""
        values = dict(values)
        for name in cls.PARTS:
            if (older := values.pop(f"{name}_dict", None)) is not None:
                values[name] = {"model_type": cls.usual(name), **older}
        return super().from_dict(values, ignore=ignore)

    @classmethod
    def usual(cls, name: str) -> str:
        """The model_type of the family's own towers."""
        return f"{cls.model_type}_{name.removesuffix('_config')}_model"

    @classmethod
    def read(cls, name, values, ignore=()):
        """A tower of which no family is said is the family's own, as in the reference; a family
        without towers of its own has to say it."""
        if "model_type" not in values and cls.usual(name) in FAMILIES:
            values = {"model_type": cls.usual(name), **values}
        return super().read(name, values, ignore)

    @property
    def initial(self) -> Initial:
        """The rule of the head's first weights."""
        raise NotImplementedError

    @property
    def towers(self) -> dict[str, FamilyConfig]:
        """The configs of the towers by their names."""
        return {"text": self.text_config, "vision": self.vision_config}

    def compare(self, text: int, vision: int) -> Contrastive:
        """The head that compares rows of towers of these widths."""
        raise NotImplementedError

    def compare_rows(self) -> str:
        """The rows of that head."""
        raise NotImplementedError

    def mask_names(self, head):
        return ("vision",) if head == CLASSIFIER else tuple(self.towers)

    def build(self, head, execution, mask=None) -> Network:
        masks = by_stack(mask, "vision" if head == CLASSIFIER else "text")
        if head == CLASSIFIER:
            tower = self.vision_config.build("none", execution, masks.get("vision")).last
            return Network({"stack": tower}, self.classifier(tower.stack.spec.width))
        towers = {
            name: inner.build("none", execution, masks.get(name)).last
            for name, inner in self.towers.items()
        }
        for name, tower in towers.items():
            if tower.pooler is None or SIDES[name].raw not in tower.embed.arguments:
                raise ValueError(
                    f"{name}_config: {self.towers[name].model_type} makes no vector of "
                    f"{SIDES[name].raw}; expected a family whose model without a head has a pooler "
                    f"and reads {SIDES[name].raw}, such as {SIDES[name].example}"
                )
        return DualEncoder(towers, self.compare(*(t.stack.spec.width for t in towers.values())))

    def classifier(self, width: int) -> SequenceClassification:
        """The head of classes of an image."""
        return SequenceClassification(
            width, self.num_labels, self.initial, pooling=self.POOLED, problem=self.problem_type
        )

    def table(self, head) -> Table:
        if head == CLASSIFIER:
            own = self.vision_config.table("none")
            every = (*own.rows, *rows(layer("classifier", "head.classify"), group=head))
            ignore = (*own.ignore, *COMPARED)
            return replace(own, rows=every, prefix="", prefixes=(), ignore=ignore)
        every, aliases = rows(self.compare_rows()), ()
        for name, inner in self.towers.items():
            parts = {"embed": f"{name}_embed", "stack": name, "pooler": f"{name}_pooler"}
            own = nested(inner.table("none"), f"{SIDES[name].tower}.", parts, bare=True)
            every += tuple(row for row in own.rows if row.group in (BACKBONE, "pooler"))
            aliases += own.aliases
        return Table(every, aliases=aliases, ignore=("*.position_ids", "classifier.*"))


@dataclass(frozen=True, kw_only=True)
class ProjectedDualConfig(DualConfig):
    """Two towers whose rows are projected into a space that they share (CLIP)."""

    projection_dim: int = 512
    logit_scale_init_value: float = 2.6592

    def compare(self, text, vision):
        scale = self.logit_scale_init_value
        return Contrastive(text, vision, self.projection_dim, self.initial, scale)

    def compare_rows(self):
        return "logit_scale | head.scale" + "".join(
            f"\n{side.projection} | head.{name}.weight | e d -> d e" for name, side in SIDES.items()
        )
