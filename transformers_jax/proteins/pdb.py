"""Atoms as the text of a PDB file, of which every column has its place."""

from __future__ import annotations

import string

import numpy as np

from transformers_jax.arrays import Bool, Float, Int
from transformers_jax.nn.folding.residues import ATOM_NAMES, RESIDUES

NAMES = (*(residue.name for residue in RESIDUES), "UNK")
CHAINS = string.ascii_uppercase + string.ascii_lowercase + string.digits
MOST_RESIDUES, MOST_ATOMS, FARTHEST = 9999, 99999, 9999.0
"""What the columns of the format hold."""


def pdb_text(
    types: Int[np.ndarray, " T"],
    places: Float[np.ndarray, "T 37 3"],
    exists: Bool[np.ndarray, "T 37"],
    factors: Float[np.ndarray, "T 37"],
    numbers: Int[np.ndarray, " T"],
    chains: Int[np.ndarray, " T"] | None = None,
) -> str:
    """The text of residues of these types, with the places of their atoms in Angstrom.

    Args:
        exists: which atoms there are.
        factors: a number for each atom, where the format has the temperature (here lDDT).
        numbers: of residues, as they are written.
        chains: the number of the chain of each residue, of which no linker is one.

    Raises:
        ValueError: more residues, atoms or chains than the format has columns for, or an atom that
            is too far away.
    """
    chains = np.zeros(len(types), int) if chains is None else chains
    _check(places, exists, numbers, chains)
    lines, serial = ["PARENT N/A"], 1
    for index, kind in enumerate(types):
        name, chain = NAMES[kind], CHAINS[chains[index]]
        place = f"{name:>3} {chain}{numbers[index]:>4}"
        for atom in np.flatnonzero(exists[index]):
            title = ATOM_NAMES[atom]
            shown = title if len(title) == 4 else f" {title}"
            at = "".join(f"{number:8.3f}" for number in places[index, atom])
            rest = f"{1.0:6.2f}{factors[index, atom]:6.2f}          {title[0]:>2}  "
            lines.append(f"ATOM  {serial:>5} {shown:<4} {place}    {at}{rest}")
            serial += 1
        last = index == len(types) - 1
        if last or chains[index + 1] != chains[index]:
            lines += [f"TER   {serial:>5}      {place}", *([] if last else ["PARENT N/A"])]
            serial += 1
    return "\n".join([*lines, "END", ""])


def _check(places, exists, numbers, chains) -> None:
    counts = {
        "residues": (int(np.max(numbers)), MOST_RESIDUES),
        "atoms": (int(np.sum(exists)), MOST_ATOMS),
        "chains": (int(np.max(chains)) + 1, len(CHAINS)),
    }
    for name, (count, most) in counts.items():
        if count > most:
            raise ValueError(f"a PDB file has columns for {most:,} {name}; {count:,} came")
    farthest = float(np.abs(places[exists > 0]).max(initial=0.0))
    if not farthest < FARTHEST:
        raise ValueError(
            f"an atom is {farthest:g} Angstrom away, and a PDB file has columns for less than "
            f"{FARTHEST:g}"
        )
