"""`fold`: the atoms of sequences, by a model that folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from transformers_jax.arrays import Float, Int
from transformers_jax.models.base import check_model
from transformers_jax.nn.folding.head import FoldingHead
from transformers_jax.proteins.pdb import pdb_text
from transformers_jax.proteins.sequences import batch_of, residues_of
from transformers_jax.publish import publish


@dataclass(frozen=True)
class Protein:
    """A folded protein; linkers between chains are left out.

    Attributes:
        types: of residues, as AlphaFold numbers them.
        places: of the 37 kinds of atoms, in Angstrom.
        exists: which of them each residue has.
        plddt: how sure each atom is, from 0 to 1.
        error: the expected error of residue j, in Angstrom, seen from residue i.
        ptm: the expected TM-score of the whole.
        chains, numbers: the chain of each residue, and its number there, from 1.
    """

    types: Int[np.ndarray, " T"]
    places: Float[np.ndarray, "T 37 3"]
    exists: Float[np.ndarray, "T 37"]
    plddt: Float[np.ndarray, "T 37"]
    error: Float[np.ndarray, "T T"]
    ptm: float
    chains: Int[np.ndarray, " T"]
    numbers: Int[np.ndarray, " T"]

    @property
    def mean_plddt(self) -> float:
        """The mean over atoms that there are; 0 without any."""
        return float((self.plddt * self.exists).sum() / max(self.exists.sum(), 1))

    def pdb(self) -> str:
        """The text of a PDB file, with lDDT where the format has the temperature."""
        parts = (self.types, self.places, self.exists, self.plddt, self.numbers, self.chains)
        return pdb_text(*parts)

    def save(self, path: str | Path) -> None:
        """Writes the PDB file."""
        publish(Path(path), self.pdb())


@overload
def fold(model: Any, sequences: str, *, num_recycles: int | None = None) -> Protein: ...
@overload
def fold(
    model: Any, sequences: Sequence[str], *, num_recycles: int | None = None
) -> list[Protein]: ...
def fold(
    model: Any, sequences: str | Sequence[str], *, num_recycles: int | None = None
) -> Protein | list[Protein]:
    """The atoms of a protein, or of several, which are computed together.

    Args:
        model: one that folds (head "protein_folding").
        sequences: letters of residues; the chains of a complex with ":" between them, which a
            linker joins.
        num_recycles: how often the model reads its own answer again; None: as its config says.

    Raises:
        ValueError: a model that does not fold, no sequence, or a letter that is no residue.
    """
    check_folds(model, "fold")
    several = [sequences] if isinstance(sequences, str) else list(sequences)
    if not several:
        raise ValueError("fold takes at least one sequence, such as 'MKTAYIAK'; none came")
    every = [residues_of(sequence) for sequence in several]
    options = {} if num_recycles is None else {"num_recycles": num_recycles}
    output = model(**batch_of(every), **options)
    answers = {name: np.asarray(output[name]) for name in FIELDS}
    places, found = wide_atoms(output), list[Protein]()
    for row, residues in enumerate(every):
        real = np.flatnonzero(residues.real)
        found.append(
            Protein(
                residues.types[real],
                places[row, real],
                answers["atom37_atom_exists"][row, real],
                answers["plddt"][row, real],
                answers["predicted_aligned_error"][row][np.ix_(real, real)],
                float(answers["ptm_of_rows"][row]),
                residues.chains[real],
                residues.numbers[real],
            )
        )
    return found[0] if isinstance(sequences, str) else found


def fold_inputs(sequences: str | Sequence[str]) -> dict[str, np.ndarray]:
    """The arguments of a call of a model that folds, for one sequence or several."""
    several = [sequences] if isinstance(sequences, str) else list(sequences)
    return batch_of([residues_of(sequence) for sequence in several])


FIELDS = ("atom37_atom_exists", "plddt", "predicted_aligned_error", "ptm_of_rows")


def check_folds(model: Any, name: str) -> None:
    """Raises ValueError for a model without a head that folds."""
    check_model(model, name)
    if not isinstance(getattr(model, "head", None), FoldingHead):
        raise ValueError(
            f"{name} takes a model that folds, such as EsmForProteinFolding; {model.plan.head!r} "
            f"of {model.config.model_type} came"
        )


def wide_atoms(output: Mapping[str, Any]) -> Float[np.ndarray, "B T 37 3"]:
    """The places of the last step, in the order of 37 kinds of atoms; zero where there is none."""
    places = np.asarray(output["positions"])[-1]
    order = np.asarray(output["residx_atom37_to_atom14"])
    wide = np.take_along_axis(places, order[..., None], axis=2)
    return wide * np.asarray(output["atom37_atom_exists"])[..., None]


def to_pdb(output: Mapping[str, Any]) -> list[str]:
    """The text of a PDB file for each protein of a model's output, with lDDT, from 0 to 1, where
    the format has the temperature; numbers of residues are `residue_index` + 1."""
    places, fields = wide_atoms(output), ("aatype", "atom37_atom_exists", "plddt", "residue_index")
    types, exists, plddt, index = (np.asarray(output[name]) for name in fields)
    return [
        pdb_text(*parts)
        for parts in zip(types, places, exists > 0.5, plddt, index + 1, strict=True)
    ]
