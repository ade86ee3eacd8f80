"""Proteins: sequences folded into atoms, and atoms as text.

sequences.py   letters, and chains that are joined, as the arguments of a model
folding.py     `fold`: proteins of sequences
pdb.py         `to_pdb`: the text of a PDB file
"""
