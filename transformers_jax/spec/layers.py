"""What a layer is made of: residual branches, each of which holds an operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from transformers_jax.graph import Block as SameBlock
from transformers_jax.graph import Mask, Where
from transformers_jax.sizes import check_count, check_rate
from transformers_jax.spec.norm import Norm
from transformers_jax.spec.operation import OpSpec, ResidualSpec
from transformers_jax.spec.position import Additive, Kernel


@dataclass(frozen=True)
class Summaries:
    """More keys: the normalised sum of every `block` consecutive tokens (Guo et al. 2022, 3.2).
    They carry the tag `summary`."""

    tags: ClassVar[frozenset[str]] = frozenset({"summary"})
    cached: ClassVar[bool] = False
    """Whether a token that is written needs no further keys: those of its cache are enough."""

    block: int
    norm: Norm


@dataclass(frozen=True)
class Recurrence:
    """More keys: the tokens again, as memory. Rows are cut into segments of `size` tokens; what a
    token hears of segments before its own is memory, through whose states no gradient goes (Dai et
    al. 2019, Transformer-XL, section 3.2). How far it reaches is the mask's. Memory carries the tag
    `memory`."""

    tags: ClassVar[frozenset[str]] = frozenset({"memory"})
    cached: ClassVar[bool] = True

    size: int

    def __post_init__(self):
        check_count("Recurrence.size", self.size)

    def parted(self, mask: Mask) -> Mask:
        """The edges of `mask` to tokens and to memory: each edge once, by its segment."""
        own = SameBlock(self.size)
        return mask & ((own & ~Where("memory")) | (~own & Where("memory")))


TOKENS = "tokens"
"""The stream of a stack's own tokens, where there are further ones."""

Placement = Literal["pre", "post", "both", "behind", "entry"]
Reads = Literal["stream", "block", "normed"]


@dataclass(frozen=True)
class Branch:
    """One residual branch of a block: x + dropout(op(norm(x))), or norm(x + dropout(op(x))), or
    x + norm(dropout(op(norm(x)))) with two norms, or x + norm(dropout(op(x))), or
    norm(x) + dropout(op(norm(x))).

    Attributes:
        name: in the paths of parameters; no two branches of a block have the same.
        op: what it computes.
        placement: of the norm: in front of the operation ("pre"), behind the sum ("post"), or one
            in front and one behind the operation ("both": Gemma 2), or behind the operation alone
            ("behind": Swin V2), or in front of the operation and of the stream that it joins
            ("entry": BLOOM's `apply_residual_connection_post_layernorm`).
        residual: how its result joins the stream (`nn.residual`); None: it is added.
        source: what the operation attends to: None for the stream itself, or the name of other
            tokens, with which the stack is called ("encoder").
        reads: "block" takes what entered the block in place of the stream: parallel residuals.
            "normed" takes what the first branch reads, behind its norm: parallel residuals that
            share a norm (GPT-J).
        zero_padding: padding is the zero vector behind it.
        stream: what it reads and its result joins: that of the tokens, or a further one of the
            stack (`StackSpec.streams`), such as that of pairs of tokens; the operation sees all.
    """

    name: str
    op: OpSpec
    norm: Norm | None = None
    placement: Placement = "pre"
    dropout: float = 0.0
    source: str | None = None
    reads: Reads = "stream"
    zero_padding: bool = False
    residual: ResidualSpec | None = None
    stream: str = TOKENS

    def __post_init__(self):
        for name, kind in (("placement", Placement), ("reads", Reads)):
            if (value := getattr(self, name)) not in get_args(kind):
                choices = ", ".join(map(repr, get_args(kind)))
                raise ValueError(f"{name} of the branch {self.name!r} is {value!r}; not {choices}")
        check_rate(f"dropout of the branch {self.name!r}", self.dropout)
        if self.reads == "normed" and self.norm is not None:
            raise ValueError(
                f"the branch {self.name!r} reads what the first branch has normalised, and has a "
                'norm of its own as well; leave the norm out, or let it read the "block"'
            )
        if self.source is None:
            return
        if not self.op.masks:
            raise ValueError(
                f"the branch {self.name!r} has the source {self.source!r}, and its operation "
                "attends to nothing; leave the source out, or choose one with a mask"
            )
        score = None if self._compares(self.op.score) else self.op.score
        present = {"rotary": self.op.rotary, "extend": self.op.extend, "score": score}
        present["relations"] = self.op.masks[1:]
        if refused := [name for name, value in present.items() if value]:
            raise ValueError(
                f"the branch {self.name!r} attends to {self.source!r}, and its {refused[0]} would "
                "not be computed there: rotations, further relations, further keys and scores of "
                "positions are those of self-attention; leave it out, or source=None"
            )

    @staticmethod
    def _compares(score: Any) -> bool:
        """Whether a score is of a query and a key alone, whatever these are computed from."""
        return isinstance(score, Kernel) or (isinstance(score, Additive) and not score.features)


Block = tuple[Branch, ...]
"""What one layer does: branches, in order."""

PARTS = ("", "_norm", "_norm_behind", "_residual")
"""What is kept of a branch, behind its name."""


def check_names(block: Block) -> None:
    """Raises ValueError for two branches of a name, which would share their parameters, and for a
    first branch that reads what the first branch reads."""
    parts = [branch.name + part for branch in block for part in PARTS]
    if duplicates := {part for part in parts if parts.count(part) > 1}:
        raise ValueError(
            f"two branches of a block are called {min(duplicates)!r}, under which their parameters "
            "are kept; give each a name of its own"
        )
    if block and block[0].reads == "normed":
        raise ValueError(
            f"the first branch of a block, {block[0].name!r}, reads what the first branch has "
            'normalised; let it read the "stream", and one behind it what it has "normed"'
        )
