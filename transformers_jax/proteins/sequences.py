"""Sequences of residues as the arguments of a model that folds; chains are joined by a linker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transformers_jax.arrays import Bool, Int
from transformers_jax.data.classes.residues import check_residues
from transformers_jax.nn.folding.residues import LETTERS, UNKNOWN

BETWEEN = ":"
"""What parts the chains of a sequence."""
LINKER, GAP = "G" * 25, 512
"""Residues that join two chains, which have no atoms in the answer, and how much farther in the
chain the second one is (Lin et al. 2023, the released code)."""
ALLOWED = {*LETTERS, *"XBUZO"}
"""The amino acids, and letters for rare and doubtful ones, which are folded as unknown."""


class Residues(NamedTuple):
    """The residues of a sequence, linkers among them.

    Attributes:
        types: as AlphaFold numbers them.
        places: in the chain, as the model is told.
        chains: the number of the chain of each; -1 in a linker.
        numbers: of each within its chain, from 1.
    """

    types: Int[np.ndarray, " T"]
    places: Int[np.ndarray, " T"]
    chains: Int[np.ndarray, " T"]
    numbers: Int[np.ndarray, " T"]

    @property
    def real(self) -> Bool[np.ndarray, " T"]:
        """Which are of the sequence, and not of a linker."""
        return self.chains >= 0


def residues_of(sequence: str) -> Residues:
    """The residues of a sequence, whose chains stand between ":".

    Raises:
        ValueError: no residue, an empty chain, or a letter that stands for no residue.
    """
    chains = [chain.strip() for chain in sequence.split(BETWEEN)]
    parts: list[tuple[int, str]] = []
    for number, chain in enumerate(chains):
        where = f"chain {number + 1} of {len(chains)}: " if len(chains) > 1 else ""
        letters = "".join(chain.split())
        if not letters:
            raise ValueError(
                f"{where}a sequence has at least one residue, such as 'MKTAYIAK'; {sequence!r} came"
            )
        try:
            check_residues(letters, ALLOWED)
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None
        parts += ([(-1, LINKER)] if number else []) + [(number, letters)]
    joined = "".join(letters for _, letters in parts)
    chain = np.concatenate([np.full(len(letters), own) for own, letters in parts])
    places, begun = np.arange(len(joined)), np.maximum.accumulate(chain)
    types = np.array([LETTERS.find(letter) for letter in joined])
    numbers = np.concatenate([np.arange(len(letters)) + 1 for _, letters in parts])
    return Residues(
        np.where(types < 0, UNKNOWN, types).astype(np.int32),
        (places + GAP * begun).astype(np.int32),
        chain.astype(np.int32),
        numbers.astype(np.int32),
    )


def batch_of(every: Sequence[Residues]) -> dict[str, np.ndarray]:
    """The arguments of a call for several sequences, with padding behind the shorter ones."""
    width = max(len(one.types) for one in every)
    fill = lambda rows: np.stack([np.pad(row, (0, width - len(row))) for row in rows])
    return {
        "input_ids": fill([one.types for one in every]),
        "attention_mask": fill([np.ones(len(one.types), np.int32) for one in every]),
        "position_ids": fill([one.places for one in every]),
    }
