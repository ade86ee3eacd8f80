"""The twenty amino acids: their atoms, where these are in rigid groups, and the arrays of both.

A residue is eight groups: its backbone (0), two that hold no atom here (1, 2), the oxygen (3), and
up to four of the side chain (4 to 7), each of which turns about the end of the one before.
Types are numbered as in AlphaFold: ARNDCQEGHILKMFPSTWYV, and 20 for any other, which has no atom.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from transformers_jax.arrays import Float, Int

GROUPS, ATOMS, WIDEST = 8, 37, 14
"""Rigid groups of a residue; kinds of atoms; the most atoms that a residue has."""

ATOM_NAMES = tuple(
    """
    N CA C CB O CG CG1 CG2 OG OG1 SG CD CD1 CD2 ND1 ND2 OD1 OD2 SD CE CE1 CE2 CE3 NE NE1 NE2
    OE1 OE2 CH2 NH1 NH2 OH CZ CZ2 CZ3 NZ OXT
    """.split()
)
"""Every atom of a residue, in the order of AlphaFold's 37."""

# One residue: its letter, its name, and the atoms along its side chain, of which each four that
# follow one another turn by an angle. Then its atoms: name, group, and place in Angstrom, in the
# frame of the group (ideal values, as released with AlphaFold 2; Jumper et al. 2021, supplement,
# table 2 and section 1.8.4).
TABLE = """
A ALA -
    N 0 -0.525 1.363 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.627 1.062 0, CB 0 -0.529 -0.774 -1.205
R ARG N-CA-CB-CG-CD-NE-CZ
    N 0 -0.524 1.362 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.626 1.062 0, CB 0 -0.524 -0.778 -1.209,
    CG 4 0.616 1.39 0, CD 5 0.564 1.414 0, NE 6 0.539 1.357 0, CZ 7 0.758 1.093 0,
    NH1 7 0.206 2.301 0, NH2 7 2.078 0.978 0
N ASN N-CA-CB-CG-OD1
    N 0 -0.536 1.357 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.625 1.062 0, CB 0 -0.531 -0.787 -1.2,
    CG 4 0.584 1.399 0, OD1 5 0.633 1.059 0, ND2 5 0.593 -1.188 0.001
D ASP N-CA-CB-CG-OD1
    N 0 -0.525 1.362 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 0.626 1.062 0, CB 0 -0.526 -0.778 -1.208,
    CG 4 0.593 1.398 0, OD1 5 0.61 1.091 0, OD2 5 0.592 -1.101 -0.003
C CYS N-CA-CB-SG
    N 0 -0.522 1.362 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 0.625 1.062 0, CB 0 -0.519 -0.773 -1.212,
    SG 4 0.728 1.653 0
Q GLN N-CA-CB-CG-CD-OE1
    N 0 -0.526 1.361 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.626 1.062 0, CB 0 -0.525 -0.779 -1.207,
    CG 4 0.615 1.393 0, CD 5 0.587 1.399 0, OE1 6 0.634 1.06 0, NE2 6 0.593 -1.189 -0.001
E GLU N-CA-CB-CG-CD-OE1
    N 0 -0.528 1.361 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.626 1.062 0, CB 0 -0.526 -0.781 -1.207,
    CG 4 0.615 1.392 0, CD 5 0.6 1.397 0, OE1 6 0.607 1.095 0, OE2 6 0.589 -1.104 -0.001
G GLY -
    N 0 -0.572 1.337 0, CA 0 0 0 0, C 0 1.517 0 0, O 3 0.626 1.062 0
H HIS N-CA-CB-CG-ND1
    N 0 -0.527 1.36 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.625 1.063 0, CB 0 -0.525 -0.778 -1.208,
    CG 4 0.6 1.37 0, ND1 5 0.744 1.16 0, CD2 5 0.889 -1.021 0.003, CE1 5 2.03 0.851 0.002,
    NE2 5 2.145 -0.466 0.004
I ILE N-CA-CB-CG1-CD1
    N 0 -0.493 1.373 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 0.627 1.062 0, CB 0 -0.536 -0.793 -1.213,
    CG1 4 0.534 1.437 0, CG2 4 0.54 -0.785 -1.199, CD1 5 0.619 1.391 0
L LEU N-CA-CB-CG-CD1
    N 0 -0.52 1.363 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.625 1.063 0, CB 0 -0.522 -0.773 -1.214,
    CG 4 0.678 1.371 0, CD1 5 0.53 1.43 0, CD2 5 0.535 -0.774 1.2
K LYS N-CA-CB-CG-CD-CE-NZ
    N 0 -0.526 1.362 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.626 1.062 0, CB 0 -0.524 -0.778 -1.208,
    CG 4 0.619 1.39 0, CD 5 0.559 1.417 0, CE 6 0.56 1.416 0, NZ 7 0.554 1.387 0
M MET N-CA-CB-CG-SD-CE
    N 0 -0.521 1.364 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.625 1.062 0, CB 0 -0.523 -0.776 -1.21,
    CG 4 0.613 1.391 0, SD 5 0.703 1.695 0, CE 6 0.32 1.786 0
F PHE N-CA-CB-CG-CD1
    N 0 -0.518 1.363 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 0.626 1.062 0, CB 0 -0.525 -0.776 -1.212,
    CG 4 0.607 1.377 0, CD1 5 0.709 1.195 0, CD2 5 0.706 -1.196 0, CE1 5 2.102 1.198 0,
    CE2 5 2.098 -1.201 0, CZ 5 2.794 -0.003 -0.001
P PRO N-CA-CB-CG-CD
    N 0 -0.566 1.351 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 0.621 1.066 0, CB 0 -0.546 -0.611 -1.293,
    CG 4 0.382 1.445 0, CD 5 0.477 1.424 0
S SER N-CA-CB-OG
    N 0 -0.529 1.36 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.626 1.062 0, CB 0 -0.518 -0.777 -1.211,
    OG 4 0.503 1.325 0
T THR N-CA-CB-OG1
    N 0 -0.517 1.364 0, CA 0 0 0 0, C 0 1.526 0 0, O 3 0.626 1.062 0, CB 0 -0.516 -0.793 -1.215,
    OG1 4 0.472 1.353 0, CG2 4 0.55 -0.718 -1.228
W TRP N-CA-CB-CG-CD1
    N 0 -0.521 1.363 0, CA 0 0 0 0, C 0 1.525 0 0, O 3 0.627 1.062 0, CB 0 -0.523 -0.776 -1.212,
    CG 4 0.609 1.37 0, CD1 5 0.824 1.091 0, CD2 5 0.854 -1.148 -0.005, NE1 5 2.14 0.69 -0.004,
    CE2 5 2.186 -0.678 -0.007, CE3 5 0.622 -2.53 -0.007, CZ2 5 3.283 -1.543 -0.011,
    CZ3 5 1.715 -3.389 -0.011, CH2 5 3.028 -2.89 -0.013
Y TYR N-CA-CB-CG-CD1
    N 0 -0.522 1.362 0, CA 0 0 0 0, C 0 1.524 0 0, O 3 0.627 1.062 0, CB 0 -0.522 -0.776 -1.213,
    CG 4 0.607 1.382 0, CD1 5 0.716 1.195 0, CD2 5 0.713 -1.194 -0.001, CE1 5 2.107 1.2 -0.002,
    CE2 5 2.104 -1.201 -0.003, CZ 5 2.791 -0.001 -0.003, OH 5 4.168 -0.002 -0.005
V VAL N-CA-CB-CG1
    N 0 -0.494 1.373 0, CA 0 0 0 0, C 0 1.527 0 0, O 3 0.627 1.062 0, CB 0 -0.533 -0.795 -1.213,
    CG1 4 0.54 1.429 0, CG2 4 0.533 -0.776 1.203
"""


class Residue(NamedTuple):
    """An amino acid."""

    letter: str
    name: str
    chain: tuple[str, ...]
    atoms: dict[str, tuple[int, tuple[float, ...]]]

    @property
    def angles(self) -> int:
        """How many angles its side chain has."""
        return max(len(self.chain) - 3, 0)


class Tables(NamedTuple):
    """What is known of each of the 21 types, as arrays.

    Attributes:
        frames: of each group, in that of the group before it; zero where there is none.
        group: of each atom.
        place: of each atom in the frame of its group.
        exists: which of 14 atoms there are.
        to_37, to_14: the number of each of 14 atoms among 37, and back; 0 where there is none.
        exists_37: which of 37 atoms there are.
    """

    frames: Float[np.ndarray, "21 8 4 4"]
    group: Int[np.ndarray, "21 14"]
    place: Float[np.ndarray, "21 14 3"]
    exists: Float[np.ndarray, "21 14"]
    to_37: Int[np.ndarray, "21 14"]
    to_14: Int[np.ndarray, "21 37"]
    exists_37: Float[np.ndarray, "21 37"]


def _read() -> tuple[Residue, ...]:
    found: list[Residue] = []
    for line in TABLE.strip().splitlines():
        if not line.startswith(" "):
            letter, name, chain = line.split()
            found.append(Residue(letter, name, tuple(chain.split("-") if chain != "-" else ()), {}))
            continue
        for atom in line.strip().rstrip(",").split(", "):
            name, group, *place = atom.split()
            found[-1].atoms[name] = (int(group), tuple(map(float, place)))
    return tuple(found)


RESIDUES = _read()
LETTERS = "".join(one.letter for one in RESIDUES)
UNKNOWN = len(RESIDUES)
"""The type of a residue that is none of the twenty, X."""


@functools.cache
def tables() -> Tables:
    """The arrays of all types."""
    types = len(RESIDUES) + 1
    frames = np.zeros((types, GROUPS, 4, 4), np.float32)
    group, to_37 = (np.zeros((types, WIDEST), np.int32) for _ in range(2))
    place, exists = np.zeros((types, WIDEST, 3), np.float32), np.zeros((types, WIDEST), np.float32)
    to_14, exists_37 = np.zeros((types, ATOMS), np.int32), np.zeros((types, ATOMS), np.float32)
    for number, residue in enumerate(RESIDUES):
        frames[number] = _frames(residue)
        for atom, (name, (own, where)) in enumerate(residue.atoms.items()):
            wide = ATOM_NAMES.index(name)
            group[number, atom], place[number, atom], exists[number, atom] = own, where, 1
            to_37[number, atom], to_14[number, wide], exists_37[number, wide] = wide, atom, 1
    return Tables(frames, group, place, exists, to_37, to_14, exists_37)


def _frames(residue: Residue) -> Float[np.ndarray, "8 4 4"]:
    """The frames of a residue's groups: each turns about its first axis."""
    at = {name: np.array(where) for name, (_, where) in residue.atoms.items()}
    frames = np.zeros((GROUPS, 4, 4))
    frames[0] = frames[1] = np.eye(4)
    frames[2] = _frame(at["N"] - at["CA"], np.array([1.0, 0.0, 0.0]), at["N"])
    frames[3] = _frame(at["C"] - at["CA"], at["CA"] - at["N"], at["C"])
    for angle in range(residue.angles):
        before, first, second = (at[name] for name in residue.chain[angle : angle + 3])
        if angle == 0:
            frames[4] = _frame(second - first, before - first, second)
        else:  # the axis of the group before begins where its frame does
            frames[4 + angle] = _frame(second, np.array([-1.0, 0.0, 0.0]), second)
    return frames


def _frame(x_axis: np.ndarray, in_plane: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The matrix of the frame with this first axis and plane (Gram-Schmidt)."""
    first = x_axis / np.linalg.norm(x_axis)
    second = in_plane - (in_plane @ first) * first
    second = second / np.linalg.norm(second)
    frame = np.eye(4)
    frame[:3] = np.stack([first, second, np.cross(first, second), origin], -1)
    return frame
