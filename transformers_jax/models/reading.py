"""What generation knows of a model before it begins: which masks read its tokens, and how they are
counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from transformers_jax.arrays import Array, Bool, Int
from transformers_jax.graph import Mask, attends_ahead
from transformers_jax.nn.embed.description import Placeholder, TagArgument
from transformers_jax.spec import Layout

WRITERS = ("causal_lm", "seq2seq_lm", "visual_question_answering")
"""The heads whose scores are those of the next token."""


@dataclass(frozen=True)
class Reading:
    """How a model reads the tokens that it continues.

    Attributes:
        writes: whether the model scores the next token, so that text can be continued.
        masks: of self-attention in the tower that writes.
        cross: between its tokens and those of the source.
        source: of self-attention in the source's tower.
        written: tags that the tower that writes gives its tokens itself.
        source_written: the same of the source's tower.
        layout: what gives the tokens these tags, before masks read them.
        vocabulary: how many tokens the model scores; None: not known.
        source_vocabulary: how many ids the source may hold; None where it is no text.
        positions: how many tokens a row may have: with a learned position, or as the config states;
            None: no limit.
        source_positions: the same of the source.
        source_raw: the arguments that hold a source that is no text.
        source_arguments: arguments with one value per token of the source, except its ids.
        counted: what positions number: the "tokens" of a row, or its "columns", padding included.
        blocks: whether the source is computed in blocks, so that the width of its rows matters.
        virtual: how many tokens the model itself puts in front of every row of a new cache.
        source_virtual: the same of rows of the source, among the states of its tower.
        beside: the arguments that are read together with a prompt, such as its images.
        placeholder: the token in whose place what is made of these stands.
        prompt: the ids of a prompt, where a call has none but something beside it.
        tag_arguments: the arguments that are tags of the prompt's tokens.
        rewinds: whether tokens can be taken back from its cache, and each row have a length of its
            own; not where one state stands for the whole past.
        by_length: whether tokens are read otherwise by how many there are (rotations of long
            texts): a prompt is read in one piece.
        anew: how many tokens a text may have before all of it is read anew, once; None: it is never
            (LongRoPE in Phi-3, whose cache would hold keys of two rotations).
    """

    writes: bool = False
    masks: tuple[Mask, ...] = ()
    cross: tuple[Mask, ...] = ()
    source: tuple[Mask, ...] = ()
    written: frozenset[str] = frozenset()
    source_written: frozenset[str] = frozenset()
    layout: Layout | None = None
    vocabulary: int | None = None
    source_vocabulary: int | None = None
    positions: int | None = None
    source_positions: int | None = None
    source_raw: tuple[str, ...] = ()
    source_arguments: tuple[str, ...] = ()
    counted: Literal["tokens", "columns"] = "tokens"
    blocks: bool = False
    virtual: int = 0
    source_virtual: int = 0
    beside: tuple[str, ...] = ()
    placeholder: Placeholder | None = None
    prompt: tuple[int, ...] = ()
    tag_arguments: tuple[TagArgument, ...] = ()
    rewinds: bool = True
    by_length: bool = False
    anew: int | None = None

    @property
    def looks_ahead(self) -> bool:
        """Whether tokens may attend to later ones: a prompt is then read in one piece."""
        return any(attends_ahead(mask, prefix=True) for mask in self.masks)

    def check_causal(self, what: str) -> None:
        """Scores of the next token come from those before it, or from a prefix: not in an encoder
        (BERT as it is stored) with the head of a decoder.

        Raises:
            ValueError: a mask under which a token attends to later ones.
        """
        if wrong := [mask for mask in self.masks if attends_ahead(mask, prefix=False)]:
            raise ValueError(
                f"{what} needs tokens that attend to those before them only, but under the mask "
                f"{wrong[0]} a token may attend to later ones; load the model with "
                "is_decoder=True, or with mask=tj.CAUSAL"
            )


class Columns(NamedTuple):
    """The columns of a text that are read next.

    Attributes:
        valid: which of them hold tokens; None: all.
        tokens: the number of each token in its row, padding left out.
        columns: the number of each column, of those that the caller knows of.
        tags: what masks compare.
    """

    valid: Bool[Array, "B T"] | None
    tokens: Int[Array, "B T"]
    columns: Int[Array, "b T"]
    tags: Mapping[str, Int[Array, "B T"]]
