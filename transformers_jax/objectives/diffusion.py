"""Masked diffusion: a text of which a random share is hidden, at every share from none to all.

A model of masked words that can fill in any number of them writes whole texts: from nothing but
masks it reveals some, reads what is there, and reveals more (`generation/revise.py`). Its loss is a
bound of the probability of a text: with t the share that is hidden, uniform in (0, 1],

    -log p(x) <= E_t [ 1/t * sum over hidden i of -log p(x_i | what is not hidden) ]

which is the mean of -log p over all orders in which the tokens can be written, one after the other.

Sources: Sahoo et al. 2024 (MDLM), sections 3.3 to 3.5; Nie et al. 2025 (LLaDA), sections 2.1 and
2.2; Arriola et al. 2025 (block diffusion), sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Bool, Float, Int
from transformers_jax.graph import Before, Block, Mask, Same, Where
from transformers_jax.objectives.example import IGNORED, Corruption, Example

NOISED = "noised"
"""The tag that is 1 for the tokens of blocks that are written, and 0 for those that are read."""
READINGS = 4


@dataclass(frozen=True)
class MaskedDiffusion(Corruption):
    """Masked diffusion: a share of the tokens, drawn anew for each piece, is hidden.

    The share t is uniform in (0, 1]. Each token is hidden with probability t by itself, and its
    loss counts 1 / t; with `counted` ceil(t n) of the n tokens are hidden, and each counts n over
    their number, which has the same mean and varies less. The loss is the sum over all that is
    hidden by the number of tokens of the text: a bound of -log p, in nats per token.

    Consecutive pieces of a text have shares that lie evenly in (0, 1], so that a batch has all of
    them. Special tokens of the text are hidden like any other; nothing is put around it.

    Source: Nie et al. 2025, section 2.2 and its bound of fixed numbers of tokens, for evaluation;
    Sahoo et al. 2024 (shares that are spread evenly over a batch).
    """

    head: ClassVar[str] = "masked_lm"
    loss: ClassVar[str] = "masked_diffusion"
    roles: ClassVar[tuple[str, ...]] = ("mask",)
    spread: ClassVar[bool] = True

    counted: bool = False
    """hide a number of tokens that follows from the share, not each by itself"""
    readings: int = READINGS  # type: ignore[misc]
    """how many times held-out text is read, each time with other shares"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(self.readings >= 1, "at least one reading", readings=self.readings)

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece, vocabulary)
        hidden, labels, weights = self._noised(ids, len(ids), piece.turn, rng, vocabulary)
        return Example({"input_ids": hidden, "labels": labels, "weights": weights})

    def _noised(self, ids, block, turn, rng, vocabulary) -> tuple[Any, Any, Any]:
        """(the ids with masks, the labels: what they hide, the weight of each token's loss)."""
        share = rng.random() if turn is None else turn
        hidden, weights = noise(len(ids), block, share, rng, counted=self.counted)
        mask = np.int32(vocabulary.need("mask"))
        return np.where(hidden, mask, ids), np.where(hidden, ids, np.int32(IGNORED)), weights

    def room(self, length: int) -> int:
        return self.remaining(length, 0)


@dataclass(frozen=True)
class BlockDiffusion(MaskedDiffusion):
    """Block diffusion: blocks from left to right, each written by masked diffusion.

    -log p(x) is the sum over blocks of -log p(block | the blocks before it), each bounded as by
    `MaskedDiffusion`, with a share of its own. The model reads a text twice in one row: as it is,
    where each block attends to itself and to those before it, and with masks, where each attends to
    itself and to the blocks before it as they are. Blocks of one token make it an autoregressive
    model (exactly, with `counted`), one block as long as the row makes it masked diffusion.

    Source: Arriola et al. 2025, sections 3.1 (the bound) and 3.2 (the two copies and their
    mask).
    """

    copies: ClassVar[int] = 2

    block: int = 16
    """tokens of a block; the last of a text may be shorter"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect(self.block >= 1, "blocks of at least one token", block=self.block)

    def example(self, piece, rng, vocabulary, other) -> Example:
        ids = self.ids(piece, vocabulary)
        hidden, labels, weights = self._noised(ids, self.block, piece.turn, rng, vocabulary)
        tokens = {"input_ids": ids.copy(), "noised_ids": hidden, "labels": labels}
        return Example({**tokens, "weights": weights})

    def mask(self, packed: bool) -> Mask:
        mask = blockwise(self.block)
        return mask & Same("document") if packed else mask


def blockwise(block: int) -> Mask:
    """The mask of a text in blocks, and of a copy of it that is `NOISED`: a token attends to the
    blocks before its own as they are, and to its own in its own copy."""
    own = Block(block, "position")
    return Same(NOISED) & own | ~Where(NOISED) & Before("position") & ~own


def noise(
    count: int, block: int, turn: float, rng: np.random.Generator, *, counted: bool
) -> tuple[Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Which of `count` tokens are hidden, in blocks of `block`, and the weight of each.

    The blocks of a text have shares that lie evenly in (0, 1], in random order; `turn`, in [0, 1),
    says where they begin.
    """
    number: Int[np.ndarray, " n"] = np.arange(count) // block
    sizes = np.bincount(number)
    shares = 1 - (turn + rng.permutation(len(sizes)) / len(sizes)) % 1  # in (0, 1]
    drawn = rng.random(count)
    if not counted:
        return drawn < shares[number], (1 / shares[number]).astype(np.float32)
    hidden = np.ceil(shares * sizes)
    order = np.lexsort((drawn, number))  # block by block, the tokens of each in random order
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count) % block
    return rank < hidden[number], (sizes / hidden)[number].astype(np.float32)


def read_twice(batch: Mapping[str, Any]) -> dict[str, Any]:
    """What a model is called with: a batch without its weights; where it has `noised_ids`, text and
    noised text in one row, of which the second half has the labels.

    Raises:
        ValueError: two texts of different shapes.
    """
    inputs = {name: value for name, value in batch.items() if name != "weights"}
    if "noised_ids" not in inputs:
        return inputs
    ids, noised, labels = (inputs.pop(n) for n in ("input_ids", "noised_ids", "labels"))
    if np.shape(ids) != np.shape(noised):
        raise ValueError(
            f"batch['noised_ids'] {np.shape(noised)} must have the shape of batch['input_ids'] "
            f"{np.shape(ids)}: the same tokens, some of them hidden"
        )
    array: Any = np if isinstance(ids, np.ndarray) else jnp  # what is on the host stays there
    row = lambda first, second: array.concatenate([first, second], axis=1)
    tags = dict(inputs.pop("tags", {}))
    if "position" not in tags:
        tags["position"] = array.broadcast_to(array.arange(ids.shape[1], dtype="int32"), ids.shape)
    halves = {name: row(tag, tag) for name, tag in tags.items()}
    zeros = array.zeros_like(ids)
    twice = {name: row(value, value) for name, value in inputs.items()}
    return {
        **twice,
        "input_ids": row(ids, noised),
        "labels": row(array.full_like(labels, IGNORED), labels),
        "tags": {**halves, NOISED: row(zeros, array.ones_like(ids))},
    }
