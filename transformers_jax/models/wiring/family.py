"""Families of one tower, and of an encoder and a decoder: their hooks, and what is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from flax import nnx

from transformers_jax.hub.table import Row
from transformers_jax.models.base import by_name
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import by_stack
from transformers_jax.models.weight_rows import backbone
from transformers_jax.models.wiring.network import Network
from transformers_jax.models.wiring.shift import ShiftRight
from transformers_jax.models.wiring.tower import Tower
from transformers_jax.nn.embed import Embedder, EmbedSpec, TokenEmbedder
from transformers_jax.nn.head import Head
from transformers_jax.nn.router_losses import RouterLosses
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Initial, StackSpec

Side = Literal["encoder", "decoder"]
SIDES: tuple[Side, Side] = ("encoder", "decoder")
UNUSED = "embed.unused"


class OneTower(FamilyConfig):
    """A family of one tower. It says what its tokens are (`embed`), what is computed of them
    (`spec`) and how its heads answer (`head`)."""

    def embed(self) -> Any:
        """How ids become vectors (`EmbedSpec`)."""
        raise NotImplementedError

    def embedder(self, head: str) -> Embedder:
        """What makes the tokens of a model with this head."""
        return TokenEmbedder(self.embed())

    @by_name
    def spec(self, mask: Any = None, cross: Any = None) -> StackSpec:
        """The stack under these masks; None for the family's own."""
        raise NotImplementedError

    def pooler(self, head: str) -> nnx.Module | None:
        """What makes one vector of a row in front of this head."""
        return None

    def head(self, head: str) -> Head | None:
        """The head of this name."""
        raise NotImplementedError

    def build(self, head, execution, mask=None) -> Network:
        masks = by_stack(mask)
        cross = {"cross": masks["cross"]} if masks.get("cross") else {}
        stack = Stack(self.spec(masks.get("decoder"), **cross), execution)
        tower = Tower(self.embedder(head), stack, pooler=self.pooler(head))
        return Network({"stack": tower}, self.head(head))


class EncoderDecoderFamily(FamilyConfig):
    """A family of an encoder and a decoder that attends to it.

    Class attributes:
        ALONE: the heads that one side answers alone, and the side.
        SHARED: the table of shared words in files.
        TABLES: the tables of words of either side.
    """

    ALONE: ClassVar[dict[str, Side]] = {}
    SHARED: ClassVar[str]
    TABLES: ClassVar[dict[Side, str]]

    d_model: int
    own_words: tuple[str, ...] = ()

    @property
    def initial(self) -> Initial:
        """The rule of first weights."""
        raise NotImplementedError

    def embed(self, decoder: bool) -> EmbedSpec:
        """How the ids of a side become vectors."""
        raise NotImplementedError

    def embedder(self, decoder: bool, **changes: Any) -> Embedder:
        """What makes the tokens of a side."""
        return TokenEmbedder(replace(self.embed(decoder), **changes))

    def spec(self, decoder: bool, own: Any = None, cross: Any = None) -> StackSpec:
        """The stack of a side under these masks; None for the family's own."""
        raise NotImplementedError

    def head(self, head: str) -> Head | None:
        """The head of this name."""
        raise NotImplementedError

    def shift(self, head: str) -> ShiftRight:
        """How decoder inputs are made where the caller gives none."""
        return ShiftRight(self.decoder_start_token_id, self.pad_token_id)

    def routing(self, head: str) -> RouterLosses | None:
        """What the routers of experts add to the loss."""
        return None

    @property
    def apart(self) -> tuple[str, ...]:
        """The sides that do not read the table of shared words."""
        return self.own_words

    def shared_row(self, head: str) -> str | None:
        """Which parameter of ours the table of shared words is; None where files have no such."""
        if "encoder" not in self.apart:
            return "embed.table"
        if "decoder" not in self.apart:
            return "decoder_embed.table"
        return "head.table" if self.tie_word_embeddings and head == "seq2seq_lm" else UNUSED

    def stored_apart(
        self, same: Callable[[str, str], bool | None], candidates: Sequence[str]
    ) -> tuple[str, tuple[str, ...]]:
        """The first of these tables that a file holds, which is the shared one, and the sides
        whose tables are stored and differ from it. `same` is that of `resolved`."""
        shared = next((name for name in candidates if same(name, name)), self.SHARED)
        sides = (side for side, name in self.TABLES.items() if same(shared, name) is False)
        return shared, tuple(sides)

    def to_dict(self):
        written = super().to_dict()
        written.pop("own_words", None)  # no key of the file, whose tables tell
        return written

    # ------------------------------------------------------------ the table

    def side_rows(self, name: Side, ours: str, embed: str) -> str:
        """The rows of a side, whose stack and embeddings stand at these paths."""
        raise NotImplementedError

    def backbone_rows(self, head: str) -> tuple[Row, ...]:
        """The rows of both sides, or of the one that answers alone; without the words."""
        paths = {"encoder": ("encoder", "embed"), "decoder": ("decoder", "decoder_embed")}
        if (alone := self.ALONE.get(head)) is not None:
            paths = {alone: ("stack", "embed")}
        parts: tuple[Row, ...] = ()
        for side, (ours, embed) in paths.items():
            layers = self.spec(side == "decoder").slots
            parts += backbone(self.side_rows(side, ours, embed), layers)  # type: ignore[arg-type]
        return parts

    def words_rows(self, head: str) -> str:
        """The rows of the tables of words: of the shared one, unless the only side has its own,
        and of those that are apart from it."""
        alone, own = self.ALONE.get(head), {"encoder": "embed.table"}
        own |= {} if alone else {"decoder": "decoder_embed.table"}
        shared = None if alone in self.apart else self.shared_row(head)
        text = "" if shared is None else f"{self.SHARED} | {shared}"
        for side, name in self.TABLES.items():
            if side in self.apart and side in own:
                text += f"\n{name} | {own[side]}"
        return text

    # ------------------------------------------------------------ the model

    def mask_names(self, head):
        side = self.ALONE.get(head)
        return super().mask_names(head) if side is None else ("encoder",) * (side == "encoder")

    def build(self, head, execution, mask=None) -> Network:
        side = self.ALONE.get(head)
        masks = by_stack(mask, side or "decoder")

        def stack(name: Side, **changes: Any) -> Stack:
            spec = self.spec(name == "decoder", masks.get(name), masks.get("cross"))
            return Stack(replace(spec, **changes), execution)

        if side is not None:
            decoder = side == "decoder"
            counted = {"counted": "columns"} if decoder else {}
            tower = Tower(self.embedder(decoder, **counted), stack(side, source_optional=decoder))
            return Network({"stack": tower}, self.head(head))
        unused = {"unused": True} if self.shared_row(head) == UNUSED else {}
        towers = {
            "encoder": Tower(self.embedder(False, **unused), stack("encoder")),
            "decoder": Tower(
                self.embedder(True, shared=not self.apart),
                stack("decoder"),
                source="encoder",
                prefix="decoder_",
            ),
        }
        return Network(
            towers,
            self.head(head),
            shift=self.shift(head),
            routing=self.routing(head),
            output_of="encoder" if self.apart == ("decoder",) else "decoder",
        )
