"""Descriptions of checkpoints and configs: facts, tables and pictures.

description.py   the facts about a model and its file, as a plain record
words.py         layers, positions and masks in words
tables.py        that record on a terminal
pictures.py      graphs of attention, and attention maps, as PNG
written.py       a text that a model wrote: its attention, and what it is due to, as PNG
revised.py       a text whose masks were written pass by pass, as PNG
measures.py      rollout, distance of attention, similarity of positions, components of filters
sight.py         what a tower of images does with a picture, as arrays
images.py        that as PNG: the figures of the ViT paper
sounds.py        what a model hears of a recording, and where its tokens are, as PNG
conversion.py    a checkpoint written anew, and what changed by it
environment.py   versions, devices and folders, for bug reports
"""
