"""Folding blocks: operations over residues and over pairs of them, and what makes atoms of them
(Jumper et al. 2021, AlphaFold; Lin et al. 2023, ESMFold).

rigid.py           motions of rigid bodies: rotations, quaternions, frames
attention.py       attention with a bias of pairs, along residues, rows or columns of pairs
multiplication.py  triangles of pairs, multiplied
transfer.py        what residues say to pairs, and a token-wise network over pairs
invariant.py       attention to points in frames, which no motion of the whole changes
structure.py       the module that moves frames, and the angles within a residue
residues.py        the twenty amino acids: their atoms, and where these are in their groups
atoms.py           atoms of frames and angles
trunk.py           the trunk, its distances, and what is read again
confidence.py      how sure the answer is
"""
