"""Families of a vision tower and a text decoder, whose tokens for images are the tower's states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from flax import nnx

from transformers_jax.hub.table import BACKBONE, Table, rows
from transformers_jax.models import load_config
from transformers_jax.models.composite import CompositeConfig
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.weight_rows import nested
from transformers_jax.models.wiring import ImageText, OneTower, States
from transformers_jax.nn.embed import Placeholder, TokenEmbedder
from transformers_jax.spec import Initial

VISION = {"embed": "vision_embed", "stack": "vision", "pooler": "vision_pooler"}
"""The paths of the parts of the vision tower in the whole."""

IN_MEMORY = (  # names since 4.52, and of a vision tower in v4, as those on the hub
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^model\.(language_model|vision_tower|multi_modal_projector)\.", r"\1."),
    (r"^language_model\.(?!model\.|lm_head\.)", "language_model.model."),
    (r"^(vision_tower\.)vision_model\.", r"\1"),
)


def usual(values: Mapping[str, Any]) -> Any:
    """A field whose default is the config of this content."""
    return field(default_factory=lambda: load_config(values))


@dataclass(frozen=True, kw_only=True)
class ImageTextConfig(CompositeConfig):
    """The configs of the two towers, and the token in whose place an image's vectors stand.

    Class attributes:
        DEFAULTS: what the configs of the towers have where a config.json leaves it out.
        OF_THE_WHOLE: keys of the whole that files repeat in the towers, where they say nothing.
        ROWS: the rows of what brings images to the width of the text.
    """

    PARTS = ("vision_config", "text_config")
    DEFAULTS: ClassVar[Mapping[str, Mapping[str, Any]]]
    OF_THE_WHOLE: ClassVar[tuple[str, ...]] = ()
    ROWS: ClassVar[str]
    ALIASES = IN_MEMORY

    vision_config: FamilyConfig
    text_config: FamilyConfig
    image_token_index: int
    tie_word_embeddings: bool = False

    @classmethod
    def from_dict(cls, values, *, ignore=()):
        """What a tower's config leaves out has the family's default, as in the reference."""
        values = dict(values)
        for name in cls.PARTS:
            if isinstance(inner := values.get(name) or {}, Mapping):
                values[name] = cls.completed(name, dict(inner))
        return super().from_dict(values, ignore=ignore)

    @classmethod
    def completed(cls, name: str, inner: dict[str, Any]) -> dict[str, Any]:
        """The content of a tower's config.json, with the family's defaults if it is of the family's
        usual kind."""
        usual = cls.DEFAULTS[name]
        if inner.get("model_type", usual["model_type"]) == usual["model_type"]:
            inner = {**usual, **inner}
        if name == "vision_config":
            inner.pop("vocab_size", None)  # of the tower's own text tower
        return {key: value for key, value in inner.items() if key not in cls.OF_THE_WHOLE}

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.text_config, OneTower) or "causal_lm" not in self.words_heads:
            raise ValueError(
                f"text_config: {self.text_config.model_type} is no decoder with the head "
                "'causal_lm', such as llama or gemma"
            )
        tied = self.tie_word_embeddings or self.text_config.tie_word_embeddings
        if (self.tie_word_embeddings, self.text_config.tie_word_embeddings) != (tied, tied):
            object.__setattr__(self, "tie_word_embeddings", tied)
            object.__setattr__(
                self, "text_config", self.text_config.replace(tie_word_embeddings=tied)
            )

    @property
    def words_heads(self) -> set[str]:
        """The heads of the text's family."""
        return {*self.text_config.HEADS.values()}

    @property
    def vocab_size(self) -> int:
        """How many words the decoder knows."""
        return self.text_config.target_vocab

    @property
    def ties(self):
        return tuple(tie.renamed("language_model.{}".format) for tie in self.text_config.ties)

    def resolved(self, same):
        resolved = super().resolved(same)
        if resolved is self:
            return self
        return self.untied

    @property
    def untied(self) -> ImageTextConfig:
        """The same with an output table of its own."""
        text = self.text_config.replace(tie_word_embeddings=False)
        return self.replace(tie_word_embeddings=False, text_config=text)

    def side(self, tower):
        return self.text_config

    @property
    def initial(self) -> Initial:
        """The rule of first weights, that of the text."""
        rule: Initial = self.text_config.initial  # type: ignore[attr-defined]
        return rule

    def project(self, vision: int, text: int) -> nnx.Module:
        """What brings images of this width to the width of the text."""
        raise NotImplementedError

    def states(self) -> States:
        """Which states of the vision tower are an image."""
        return States()

    def embedder(self, embed: TokenEmbedder) -> TokenEmbedder:
        """The embedder of texts with places for images."""
        return embed.changed(placeholder=Placeholder(self.image_token_index))

    def build(self, head, execution, mask=None) -> ImageText:
        vision = self.vision_config.build("none", execution).last
        whole = self.text_config.build(head, execution, mask)
        text, states = whole.last, self.states()
        width = vision.stack.spec.width * len(states.layers or (0,))
        project = self.project(width, text.stack.spec.width)
        towers = {
            "vision": replace(vision, project=project, states=states),
            "stack": replace(text, embed=self.embedder(text.embed), placed="vision"),
        }
        return ImageText(towers, whole.head)

    def table(self, head) -> Table:
        vision = nested(self.vision_config.table("none"), "vision_tower.", VISION, bare=True)
        same = {part: part for part in ("embed", "stack", "pooler", "head")}
        text = nested(self.text_config.table(head), "language_model.", same)
        every = tuple(row for row in vision.rows if row.group in (BACKBONE, "pooler"))
        return Table(
            (*every, *rows(self.ROWS), *text.rows),
            aliases=(*self.ALIASES, *vision.aliases, *text.aliases),
            ignore=("*.position_ids", *vision.ignore, *text.ignore),
            ties=text.ties,
            computed=text.computed,
        )
