"""Sentences as vectors: models that return one vector per row, and what is done with vectors.

directory.py   modules.json and its kin: read, and written back unchanged
modules.py     the config of each kind of module
plan.py        a backbone with the head of `nn/sentence.py`, and its files
encode.py      texts to vectors, in batches of few shapes; similarity of vectors
features.py    the hidden states of one layer, without computing those above it
"""
