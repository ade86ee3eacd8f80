"""Families of one tower, and of an encoder and a decoder: their hooks, and what is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from flax import nnx

from transformers_jax.hub.table import Row, Table, Tying, rows
from transformers_jax.models.base import by_name
from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.masks import by_stack
from transformers_jax.models.reading import WRITERS
from transformers_jax.models.shared.weight_rows import backbone, behind, layer, of_heads
from transformers_jax.models.wiring.network import Network
from transformers_jax.models.wiring.shift import ShiftRight
from transformers_jax.models.wiring.tower import Tower
from transformers_jax.nn.embed import Embedder, EmbedSpec, TokenEmbedder
from transformers_jax.nn.head import Head
from transformers_jax.nn.router_losses import BalanceLoss, RouterLosses
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Initial, StackSpec

Side = Literal["encoder", "decoder"]
SIDES: tuple[Side, Side] = ("encoder", "decoder")
SHARED = "shared.weight"  # the table of words that both sides read, in files
TABLES = {side: f"{side}.embed_tokens.weight" for side in SIDES}
UNUSED = "embed.unused"


class OneTower(FamilyConfig):
    """A family of one tower. It says what its tokens are (`embed`), what is computed of them
    (`spec`), how its heads answer (`head`), and what files call all that (`backbone`, `head_rows`).

    Class attributes:
        ROWS: the rows of tokens and stack, without the prefix of their names.
        POOLER: the layer (or norm) of the pooler in files.
    """

    ROWS: ClassVar[str]
    POOLER: ClassVar[str] = ""

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

    def reduce(self) -> Any:
        """What makes fewer vectors of the states (`Tower.reduce`)."""
        return None

    def head(self, head: str) -> Head:
        """The head of this name, which is not "none"."""
        raise NotImplementedError

    def routing(self, head: str) -> BalanceLoss | None:
        """The auxiliary loss of the routers of experts."""
        return None

    def build(self, head, execution, mask=None) -> Network:
        masks = by_stack(mask)
        cross = {"cross": masks["cross"]} if masks.get("cross") else {}
        stack = Stack(self.spec(masks.get("decoder"), **cross), execution)
        tower = Tower(self.embedder(head), stack, pooler=self.pooler(head), reduce=self.reduce())
        own = self.head_run_by(head, execution)
        return self.network({"stack": tower}, own, routing=self.routing(head))

    def network(self, towers: Mapping[str, Tower], head: Head | None, **options: Any) -> Network:
        """The network of its tower and this head."""
        return Network(towers, head, **options)

    def head_run_by(self, head: str, execution: Any) -> Head | None:
        """The head of a model that is run in this way; None for a bare backbone."""
        return None if head == "none" else self.head(head)

    # ------------------------------------------------------------ the table

    def backbones(self) -> tuple[str, ...]:
        """The same rows as other files cut their tensors."""
        return ()

    def pooler_rows(self, theirs: str) -> str:
        """The rows of the pooler, whose layer has this name in files."""
        return layer(theirs, "pooler")

    def backbone(self) -> str:
        """The rows of tokens and stack, where they depend on the config."""
        return self.ROWS

    def backbone_rows(self) -> tuple[Row, ...]:
        """The same as rows of the table."""
        return backbone(self.backbone(), self.spec().slots)

    def head_rows(self, head: str, tied: bool) -> str:
        """The rows of one head; `tied`: its output table is the embeddings."""
        return self.HEAD_ROWS.get(head, "")

    def table(self, head) -> Table:
        tied, prefix = self.tie_word_embeddings, self.prefix(head)
        texts = {name: self.head_rows(name, tied and name == head) for name in self.HEADS.values()}
        # a model without a head is saved without the prefix, its pooler included
        pooler = f"{'' if head == 'none' else prefix}{self.POOLER}"
        further = (
            *rows(self.pooler_rows(pooler) if self.POOLER else "", group="pooler"),
            *of_heads(texts, head),
        )
        table = Table(
            (*behind(prefix, self.backbone_rows()), *further),
            prefix=prefix,
            prefixes=(self.PREFIX, *self.PREFIXES.values()),
            aliases=self.ALIASES,
            ignore=self.IGNORE,
            # v4 shared the bias of untied words as well
            ties=self.ties if tied else tuple(replace(tie, separate=True) for tie in self.ties[1:]),
        )
        variants = (backbone(text, self.spec().slots) for text in self.backbones())
        return replace(
            table,
            variants=tuple(
                replace(table, rows=(*behind(prefix, body), *further)) for body in variants
            ),
        )


class EncoderDecoderFamily(FamilyConfig):
    """A family of an encoder and a decoder that attends to it.

    Class attributes:
        SINGLE: the heads for which there is one side only, and the side.
        OUTPUT: the output table in files.
    """

    SINGLE: ClassVar[dict[str, Side]] = {}
    OUTPUT: ClassVar[str] = "lm_head.weight"

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
        """The auxiliary losses of the routers of experts."""
        return None

    @property
    def shares_embeddings(self) -> bool:
        """Whether files hold token embeddings that both sides may share."""
        return True

    @property
    def separate_sides(self) -> tuple[str, ...]:
        """The sides with token embeddings of their own."""
        return self.own_words if self.shares_embeddings else SIDES

    @property
    def embedding_names(self) -> tuple[str, ...]:
        """The names in files of the shared, the encoder's and the decoder's token embeddings."""
        return tuple(self.PREFIX + name for name in (SHARED, *TABLES.values()))

    @property
    def ties(self):
        shared, _, decoder = self.embedding_names  # of a decoder without encoder, the second
        ties = (Tying(shared, self.OUTPUT), Tying(decoder, self.OUTPUT))
        return ties if self.shares_embeddings else ties[1:]

    def shared_row(self, head: str) -> str | None:
        """The parameter that the shared token embeddings fill; None where files have none."""
        if not self.shares_embeddings:
            return None
        if "encoder" not in self.separate_sides:
            return "embed.table"
        if "decoder" not in self.separate_sides:
            return "decoder_embed.table"
        return "head.table" if self.tie_word_embeddings and head == "seq2seq_lm" else UNUSED

    def separately_stored(
        self, same: Callable[[str, str], bool | None], candidates: Sequence[str]
    ) -> tuple[str, tuple[str, ...]]:
        """(the first of these embeddings that a file holds, which is the shared one; the sides
        whose embeddings are stored and differ from it). `same` is that of `resolved`."""
        usual, *tables = self.embedding_names
        shared = next((name for name in candidates if same(name, name)), usual)
        return shared, tuple(s for s, name in zip(SIDES, tables) if same(shared, name) is False)

    def to_dict(self):
        written = super().to_dict()
        written.pop("own_words", None)  # no key of the file: its tables show it
        return written

    # ------------------------------------------------------------ the table

    def side_rows(self, name: Side, ours: str, embed: str) -> str:
        """The rows of a side, whose stack and embeddings have these paths."""
        raise NotImplementedError

    def backbone_rows(self, head: str) -> tuple[Row, ...]:
        """The rows of both sides, or of the only one; without the token embeddings."""
        paths = {"encoder": ("encoder", "embed"), "decoder": ("decoder", "decoder_embed")}
        if (only := self.SINGLE.get(head)) is not None:
            paths = {only: ("stack", "embed")}
        parts: tuple[Row, ...] = ()
        for side, (ours, embed) in paths.items():
            layers = self.spec(side == "decoder").slots
            parts += backbone(self.side_rows(side, ours, embed), layers)  # type: ignore[arg-type]
        return parts

    def words_rows(self, head: str) -> str:
        """The rows of the token embeddings: of the shared ones, and of those of separate sides,
        such as a decoder without encoder; the others are copies, and ignored."""
        only, shared = self.SINGLE.get(head), self.shared_row(head)
        own = ("decoder",) if only == "decoder" else self.separate_sides
        text = "" if shared is None else f"{SHARED} | {'' if only in own else shared}"
        for side, name in TABLES.items():
            path = "embed.table" if side in ("encoder", only) else "decoder_embed.table"
            text += f"\n{name} | {path if side in own and only in (None, side) else ''}"
        return text

    def table(self, head) -> Table:
        prefix, only = self.prefix(head), self.SINGLE.get(head)
        body = (*rows(self.words_rows(head)), *self.backbone_rows(head))
        output = "" if self.tie_word_embeddings else f"{self.OUTPUT} | head.table"
        texts = dict(self.HEAD_ROWS) | {h: output for h in WRITERS if h in self.HEADS.values()}
        starts = {"", prefix, *self.PREFIXES.values()}
        absent = [side for side in SIDES if only not in (None, side)]
        shared, encoder, decoder = (prefix + name for name in (SHARED, *TABLES.values()))
        copies = (Tying(shared, encoder), Tying(shared, decoder), Tying(decoder, shared))
        return Table(
            (*behind(prefix, body), *of_heads(texts, head)),
            prefix=prefix,
            prefixes=tuple(self.PREFIXES.values()),
            ignore=(*self.IGNORE, *(f"{start}{side}.*" for side in absent for start in starts)),
            ties=(*(copies if self.shares_embeddings else ()), *self.ties),
        )

    # ------------------------------------------------------------ the model

    def mask_names(self, head):
        side = self.SINGLE.get(head)
        return super().mask_names(head) if side is None else ("encoder",) * (side == "encoder")

    def build(self, head, execution, mask=None) -> Network:
        side = self.SINGLE.get(head)
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
                self.embedder(True, shared=not self.separate_sides),
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
            output_of="encoder" if self.separate_sides == ("decoder",) else "decoder",
        )
